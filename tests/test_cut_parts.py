"""Loops and logins of a heartbeat: kept whole where they are ordinary, else as far as they fit."""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.wire.daemons import cut_parts
from understudy.wire.limits import PART_BYTES_MAX, PARTS_BYTES_MAX, PARTS_MAX, TAG_CHARS_MAX


def test_ordinary_parts_are_kept_whole() -> None:
    loops: dict[str, Any] = {f"loop-{n}": {"agoSec": 1.25, "limitSec": 600} for n in range(PARTS_MAX)}
    assert cut_parts(loops) == loops
    assert (cut_parts(None), cut_parts({})) == (None, {})


def test_parts_are_kept_as_far_as_they_fit_together() -> None:
    many: dict[str, Any] = {f"a{n}": "x" * 1_000 for n in range(PARTS_MAX)}
    kept = cut_parts(many)
    assert kept is not None
    assert list(kept) == list(many)[: len(kept)]
    assert PARTS_BYTES_MAX - 1_100 < len(msgspec.json.encode(kept)) < PARTS_BYTES_MAX + 100


def test_a_part_that_is_too_long_hides_none_after_it() -> None:
    parts: dict[str, Any] = {"a": "x" * PART_BYTES_MAX, "n" * (TAG_CHARS_MAX + 1): 1, "b": "ok"}
    assert cut_parts(parts) == {"b": "ok"}
