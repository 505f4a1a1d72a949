"""Waiting without sleeping blindly: ask again until it holds, or fail at a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(ask: Callable[[], T], *, within_s: float = 10.0, every_s: float = 0.01, what: str = "") -> T:
    """The first truthy answer of `ask`; AssertionError, with the last answer, after `within_s`."""
    deadline = time.monotonic() + within_s
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{what or 'it'} did not hold within {within_s} s: last {answer!r}"
        time.sleep(every_s)
    return answer
