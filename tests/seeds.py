"""The seed of everything random in the suite: `TESTS_SEED=7 make test` tries other examples and worlds than 0 does."""

from __future__ import annotations

import os

SEED = int(os.environ.get("TESTS_SEED") or 0)


def header() -> str:
    """What a report of a failure must name, so that somebody else sees it too."""
    hashes = os.environ.get("PYTHONHASHSEED") or "random"
    return f"seed: TESTS_SEED={SEED} (hypothesis, simulated worlds, fuzzing), PYTHONHASHSEED={hashes}"
