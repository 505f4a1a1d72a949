"""Hearing time: silence and leases are counted only while a hub could hear (docs/adr/0006-hearing-time.md).

Theory of operation
-------------------
`h = wall − gaps_ms`. One row of the store says when a hub last heard (`heard_at`) and how much is not counted
(`gaps_ms`). Each transaction compares the wall clock with the row before any rule sees the time:

1. Up to 2 s have passed: the hub was there. The row is written again at most every WRITE_EVERY_MS; the alarm listens
   once a second while anything is watched or leased, so that a hub without requests is no gap.
2. More than 2 s have passed: no hub ran, or it was stopped or frozen, or the clock was set ahead. All of it is a gap:
   `h` stands where it stood, and `resumed_h` says from when on a grace period counts (health.py).
3. The clock was set back: the difference is taken out in the same way, so `h` never goes back. Up to 2 s this is done
   without an event and without a grace period.
4. Nothing is watched or leased (`idle`): nobody needs to be heard, nothing is a gap and nothing has to be written. The
   first lease or watched daemon ends this (`awake`).
5. The hub refuses signs of life by its own fault, as with a full disk: it is deaf, and what passes is a gap (`deaf`).
   The batch bounds this, because a true alarm must not wait without limit. Several hubs share the row, and what one of
   them hears counts for all: a daemon that is refused by one soon beats again, and reaches another.

6. The host may put the hub to sleep, and wakes it for each request. Before that the hub has promised when it will
   listen next (`promised`), and its host wakes it then. Until 2 s after that instant all time counts as heard. A broken
   promise is a gap that begins at `heard_at`. No promise is later than the nearest deadline, so none is slept through.

So the hub's own absence, and any jump of its clock, makes no false alarm and loses no deadline. Deadlines of leases and
health are stored in `h`; for people `at_wall` turns them into wall time, and daemons get durations.

Doubts. A step of the clock by less than 2 s ahead looks like time that passed: it counts as silence. A host that is
down and back before the promised instant heard nothing meanwhile, and nobody knows it; so promises are short beside
the silence that matters. A hub that is busy for 1 to 2 s may or may not have counted that as silence. The row belongs
to the store and not to a hub: of several hubs on one store, one that hears nothing for lack of a network still counts
time for all.
"""

from __future__ import annotations

from msgspec.structs import replace

from understudy.clock import iso
from understudy.coordinator.changes import Change, Event, make_event
from understudy.coordinator.nouns import Hearing, Now

GAP_MIN_MS = 2_000
SUSPECT_DAEMONS = 3
SUSPECT_AGAIN_MS = 600_000
# Half of how often the alarm listens: a batch just before that must not make the next one look like a gap,
# so WRITE_EVERY_MS + one listening distance + its lateness stays below GAP_MIN_MS.
WRITE_EVERY_MS = 500


def hear(hearing: Hearing, wall: int) -> tuple[Hearing, Now, Event | None]:
    """The hearing row after this instant, the time for the rules, and the gap if there was one.

    The same row comes back (`is`) when nothing needs to be written.
    """
    passed = wall - hearing.heard_at
    if not hearing.heard_at or (hearing.idle and passed >= 0):
        return _idle(hearing, wall, passed)
    if 0 <= passed <= GAP_MIN_MS or _is_promised(hearing, wall):
        after = replace(hearing, heard_at=wall) if passed >= WRITE_EVERY_MS else hearing
        return after, Now(wall, wall - hearing.gaps_ms, hearing.resumed_h), None
    gaps_ms = hearing.gaps_ms + passed
    resumed_h = wall - gaps_ms
    after = replace(hearing, heard_at=wall, gaps_ms=gaps_ms, resumed_h=resumed_h)
    event = Event(
        wall,
        "warning",
        "hub.gap",
        "TaskCoordinator",
        f"Nothing was heard for {abs(passed) / 1000:.1f} s: silence is not counted",
        {"fromAt": iso(hearing.heard_at), "toAt": iso(wall), "gapSec": passed / 1000},
    )
    if abs(passed) <= GAP_MIN_MS:  # a small step back of the wall clock: corrected, not worth a word
        return replace(after, resumed_h=hearing.resumed_h), Now(wall, resumed_h, hearing.resumed_h), None
    return after, Now(wall, resumed_h, resumed_h), event


def deaf(hearing: Hearing, wall: int, *, others_may_hear: bool = False) -> tuple[Hearing, Now, Event | None]:
    """The same while the hub refuses signs of life by its own fault: it hears nothing, so what passes is a gap.

    Where others may hear, what they hear counts: nothing is written before they have been silent for 2 s, and until
    then this hub grants leases by the common time and judges silence by the last instant heard (`silence_h`). Short
    gaps of this kind are not reported.
    """
    passed = wall - hearing.heard_at
    said_from_ms = 2 * GAP_MIN_MS if others_may_hear else GAP_MIN_MS
    if not hearing.heard_at or hearing.idle or not (0 <= passed <= said_from_ms or _is_promised(hearing, wall)):
        return hear(hearing, wall)
    if others_may_hear and passed <= GAP_MIN_MS:
        return hearing, Now(wall, wall - hearing.gaps_ms, hearing.resumed_h), None
    gaps_ms = hearing.gaps_ms + passed
    h = wall - gaps_ms
    return replace(hearing, heard_at=wall, gaps_ms=gaps_ms, resumed_h=h), Now(wall, h, h), None


def silence_h(hearing: Hearing, now: Now) -> int:
    """The hearing instant until which a deaf hub knows who was silent: the last one at which any hub heard."""
    return min(now.h, hearing.heard_at - hearing.gaps_ms)


def _idle(hearing: Hearing, wall: int, passed: int) -> tuple[Hearing, Now, Event | None]:
    """Nobody needs to be heard: nothing is a gap, but the count never goes back, whatever the wall clock does."""
    back_ms = min(passed, 0) if hearing.heard_at else 0
    is_written = back_ms or passed >= WRITE_EVERY_MS
    after = replace(hearing, heard_at=wall, gaps_ms=hearing.gaps_ms + back_ms) if is_written else hearing
    return after, Now(wall, wall - after.gaps_ms, hearing.resumed_h), None


def _is_promised(hearing: Hearing, wall: int) -> bool:
    """True if a hub that sleeps on purpose is not missed yet."""
    return hearing.heard_at <= wall <= hearing.promised_at + GAP_MIN_MS and hearing.promised_at > 0


def promised(hearing: Hearing, now: Now, within_ms: int) -> Hearing:
    """The row with the promise to listen within so many ms; an earlier one that is still to be kept stays."""
    at = now.wall + max(within_ms, 0)
    if now.wall < hearing.promised_at:
        at = min(at, hearing.promised_at)
    return hearing if at == hearing.promised_at else replace(hearing, promised_at=at)


def promised_anew(hearing: Hearing, now: Now, within_ms: int) -> Change[Hearing]:
    """The same by the alarm, which is there to keep it: the one before has been kept."""
    return Change(replace(hearing, promised_at=now.wall + max(within_ms, 0)))


def awake(hearing: Hearing, now: Now) -> Hearing:
    """From here on something is watched or leased: count what is heard."""
    return replace(hearing, idle=0, heard_at=now.wall)


def rest(hearing: Hearing, now: Now) -> Hearing:
    """From here on nothing is watched or leased: what is not heard is no gap."""
    return replace(hearing, idle=1, heard_at=now.wall)


def at_wall(now: Now, h: int) -> int:
    """The wall instant of a hearing instant: now + what remains."""
    return now.wall + (h - now.h)


def may_suspect(hearing: Hearing, now: Now) -> bool:
    """True if the last event of this kind is long ago."""
    return now.h - hearing.suspect_h >= SUSPECT_AGAIN_MS


def suspected(hearing: Hearing, silent: int, now: Now) -> Change[Hearing] | None:
    """Daemons that fell silent within 30 s: from three on the hub or network is suspect, which makes one more event."""
    if silent < SUSPECT_DAEMONS or not may_suspect(hearing, now):
        return None
    message = f"{silent} daemons fell silent within 30 s: hub or network suspect"
    event = make_event(now, "hub.suspect", message, {"daemons": silent}, level="warning")
    return Change(replace(hearing, suspect_h=now.h), (), (event,))
