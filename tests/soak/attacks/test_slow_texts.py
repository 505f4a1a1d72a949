"""A text that a stranger made to be slow is cleaned in a moment: it holds the interpreter for so long."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from understudy.api.endpoint import Request
from understudy.api.tasks import RESULT
from understudy.clock import SystemClock
from understudy.hub.keys import Caller
from understudy.ids import IdMaker
from understudy.redact import Redactor
from understudy.redact.redactor import RULES
from understudy.wire.limits import RESULT_BYTES_MAX

pytestmark = pytest.mark.soak
SIZE = 128 << 10
WITHIN_S = 0.3  # of processor time; a quarter of that was measured, machines differ
PIECES = (
    "eyJ",
    "eyJ-",
    "eyJeyJhbGci.",
    "curl -u ",
    "jwt",
    "token: ",
    "--",
    "x-api",
    'password":"',
    "-----BEGIN PRIVATE KEY-----\n",
)


def test_no_hint_repeated_takes_long(report: Callable[[str], None]) -> None:
    redactor = Redactor(["correct horse battery staple"])
    hints = {hint for rule in RULES for hint in rule.hints}
    pieces = {*PIECES, *(hint + end for hint in hints for end in ("", " ", "="))}
    slowest = (0.0, "")
    for piece in sorted(pieces):
        text = piece * (SIZE // len(piece))
        begun = time.process_time()
        redactor.clean(text)
        slowest = max(slowest, (time.process_time() - begun, piece))
    report(f"128 KiB of the slowest, {slowest[1]!r}: {slowest[0]:.2f} s")
    assert slowest[0] < WITHIN_S, slowest


BODY_SIZE = RESULT_BYTES_MAX - 100
HOLDS_MS = 50  # of the event loop, by any request
MADE = (
    *(("", piece) for piece in ("a", "é", "\n", "a.", "\x1b[1m", "eyJ", "Bearer ", "sk-ant-a ")),
    ("", "-----BEGIN PRIVATE KEY-----"),
    ("-----BEGIN PRIVATE KEY-----\n", "A" * 16 + "\n"),
    ('password="', "a"),
    ("password='", "\\'"),
    ('{\\"token\\": \\"a1b2c3d4', "e\\\\n5"),
    ("password=", "a1"),
    ("Bearer ", "a1"),
    ("eyJ", "eyJ-"),
)


def held_ms(work: Callable[[], object]) -> tuple[float, str]:
    """The longest call of C within `work`, in processor time: nothing else of this process runs meanwhile."""
    begun, longest = 0.0, (0.0, "")

    def note(_: object, event: str, called: object) -> None:
        nonlocal begun, longest
        if event == "c_call":
            begun = time.thread_time()
        elif event == "c_return":
            longest = max(longest, ((time.thread_time() - begun) * 1000, getattr(called, "__qualname__", "")))

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return longest


def reported(text: str) -> Request:
    """A result of an old daemon: the hub cleans it."""
    body = msgspec.json.encode({"success": True, "output": text})
    ids = IdMaker(SystemClock())
    caller = Caller("key", frozenset({"work"}))
    return Request(caller, {"task_id": "task-1"}, {}, body, 0, ids, redactor=Redactor(["correct horse battery"]))


@pytest.mark.parametrize(("first", "piece"), MADE)
def test_no_text_of_8_mb_holds_the_loop(first: str, piece: str, report: Callable[[str], None]) -> None:
    on_wire = len(json.dumps(piece, ensure_ascii=False).encode()) - 2
    text = first + piece * ((BODY_SIZE - 2 * len(first)) // on_wire)
    took, called = held_ms(partial(RESULT.make, reported(text)))
    report(f"8 MiB of {piece!r} behind {first!r}: at most {took:.0f} ms in one call, {called}")
    assert took < HOLDS_MS, called
