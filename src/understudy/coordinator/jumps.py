"""Jumps of the wall clock: what waits for a while goes on waiting for what was left of it.

Silence and leases are counted in hearing time and need none of this. Pauses that are kept as wall instants (retries
of notices, delays of tasks, snoozes) are moved with the clock. Within a process a jump shows as a difference between
the wall clock and the process's own. At a start only a clock that is behind the last instant heard is known to have
been moved. One that is ahead may simply show time that passed, so pauses may end early, never late. What is too old by
such a clock is removed after a while only (`unsure_ms`), in which it may be put right. The hearing row says when that
while ends (`unsure_h`), because a hub that starts within it finds nothing odd: the last instant heard is as wrong.

Several hubs on one store share its wall clock, and each sees its jumps by itself. The first one moves the pauses and
books the jump in the hearing row (`moved_ms`) in the same transaction; the others subtract what is booked. A jump ahead
counts for no more than the time for which no hub heard. So a hub that stood still together with its own clock does not
take the time in which others went on for a jump.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from understudy.coordinator.hearing import GAP_MIN_MS
from understudy.coordinator.nouns import Hearing

AHEAD_BY_FAR_MS = 3_600_000
SURE_AFTER_MS = 86_400_000
AWAY_PARTS = 24  # a hub that was away for a day waits for an hour; one that was away for less than an hour, not at all


class Clocks(Struct, frozen=True):
    """Both clocks at one instant, in ms, and the jumps that were booked by then."""

    wall: int  # the store's
    mono: int  # this process's own
    moved_ms: int = 0


def jump_ms(before: Clocks | None, now: Clocks, hearing: Hearing) -> int:
    """By how much the wall clock was moved that no hub has booked, negative where it was set back.

    0: it was not, or by 2 s at most.
    """
    passed = now.wall - hearing.heard_at if hearing.heard_at else None
    if before is None:
        moved = min(passed or 0, 0)
    else:
        moved = (now.wall - before.wall) - (now.mono - before.mono) - (hearing.moved_ms - before.moved_ms)
        moved = moved if passed is None else min(moved, max(passed, 0))
    return moved if abs(moved) > GAP_MIN_MS else 0


def unsure_ms(before: Clocks | None, now: Clocks, hearing: Hearing, moved_ms: int) -> int:
    """The time for which nothing is removed for its age, because the clock was set ahead by far, or may have been.

    At a start nobody knows whether the time since the last instant heard has passed. The wait is a part of that time,
    so that a hub that is rarely there for long removes things too; and a hub that sleeps for moments never waits.
    """
    if before is not None:
        return SURE_AFTER_MS if moved_ms > AHEAD_BY_FAR_MS else 0
    away_ms = now.wall - hearing.heard_at if hearing.heard_at else 0
    return min(away_ms // AWAY_PARTS, SURE_AFTER_MS) if away_ms > AHEAD_BY_FAR_MS else 0


def doubted(before: Clocks | None, heard: Hearing, hearing: Hearing, now_h: int, unsure_ms: int) -> Hearing:
    """The row `heard` of this instant with the end of the wait, where one begins; the same one (`is`) where none does.

    `hearing` is the row of before. What was left of an earlier wait is left after an absence.
    """
    if not unsure_ms:
        return heard
    left_ms = hearing.unsure_h - (hearing.heard_at - hearing.gaps_ms) if before is None else 0
    return replace(heard, unsure_h=max(heard.unsure_h, now_h + max(unsure_ms, left_ms)))


def booked(hearing: Hearing, jump_ms: int) -> Hearing:
    """The row once the pauses were moved by a jump; the same one (`is`) where there was none."""
    return replace(hearing, moved_ms=hearing.moved_ms + jump_ms) if jump_ms else hearing
