"""Jumps of the wall clock: what waits for a while goes on waiting for what was left of it.

Silence and leases are counted in hearing time and need none of this. Pauses that are kept as wall instants (retries
of notices, delays of tasks, snoozes) are moved with the clock. Within a process a jump shows in what two clocks say
passed; at a start only a clock that is behind the last instant heard is known to have been moved. A clock that is
ahead by then may as well be time that passed, so pauses may end early, never late.
"""

from __future__ import annotations

from msgspec import Struct

from understudy.coordinator.hearing import GAP_MIN_MS
from understudy.coordinator.nouns import Hearing


class Clocks(Struct, frozen=True):
    """Both clocks at one instant, in ms."""

    wall: int
    mono: int


def jump_ms(before: Clocks | None, now: Clocks, hearing: Hearing) -> int:
    """By how much the wall clock was moved, negative where it was set back; 0: it was not, or by 2 s at most."""
    if before is None:
        moved = min(now.wall - hearing.heard_at, 0) if hearing.heard_at else 0
    else:
        moved = (now.wall - before.wall) - (now.mono - before.mono)
    return moved if abs(moved) > GAP_MIN_MS else 0
