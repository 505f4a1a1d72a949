"""A stop that an owner announced: a note beside the daemon, written before the signal that ends it.

The daemon says it with its last beat, so the hub keeps quiet about the silence that follows. A start leaves the note
alone: it may be about the stop of this very start. The life that used it removes it, as does the command that wrote it.
"""

from __future__ import annotations

import contextlib

import msgspec
from msgspec import Struct

from understudy.daemon.home import Home
from understudy.private import write_durably
from understudy.wire.foreign_json import parsed

FRESH_MS = 600_000  # a note is about the stop that comes next, not about one that never came
NOTE_BYTES_MAX = 1_024


class PlannedStop(Struct, frozen=True):
    """The length of an announced stop (0: until the next start), and the instant of its announcement."""

    for_ms: int
    at: int


def announce(home: Home, for_ms: int, now_ms: int) -> None:
    """Leave the note for the daemon that is about to be stopped."""
    write_durably(home.planned, msgspec.json.encode(PlannedStop(for_ms, now_ms)))


def announced_ms(home: Home, now_ms: int) -> int | None:
    """The length in ms of the stop that was just announced; None if there is none. Never an error."""
    try:
        with home.planned.open("rb") as file:
            note: PlannedStop = parsed(file.read(NOTE_BYTES_MAX), PlannedStop)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return note.for_ms if note.for_ms >= 0 and abs(now_ms - note.at) <= FRESH_MS else None


def withdraw(home: Home) -> None:
    """Remove the note: it was used, or its stop is over."""
    with contextlib.suppress(OSError):
        home.planned.unlink(missing_ok=True)
