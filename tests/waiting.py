"""Waiting without sleeping blindly: ask again until it holds, or fail at a deadline.

The ordinary suite must pass on a machine that is busy with something else, so it judges no time: each limit is
given `PATIENCE_S` more. `make soak` runs the same tests with `TESTS_TIMED=1`, and then every limit is as it stands.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 0.0 if os.environ.get("TESTS_TIMED") == "1" else 30.0


def eventually(ask: Callable[[], T], *, within_s: float = 10.0, every_s: float = 0.01, what: str = "") -> T:
    """The first truthy answer of `ask`; AssertionError, with the last answer, after `within_s` and the patience."""
    deadline = time.monotonic() + allowed_s(within_s)
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{what or 'it'} did not hold within {within_s} s: last {answer!r}"
        time.sleep(every_s)
    return answer


def allowed_s(limit_s: float) -> float:
    """What may pass before `limit_s` counts as missed."""
    return limit_s + PATIENCE_S
