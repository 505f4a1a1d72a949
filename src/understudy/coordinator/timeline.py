"""A daemon's timeline: its periods of health, and the gaps of the hub among them as unknown."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from understudy.coordinator.nouns import Daemon, Hearing, Now, Period

UNKNOWN = "unknown"  # the state of a period in which no hub could hear
HUB = ""  # in place of a daemon's id: the period is a gap of the hub
_TROUBLES = ("down", "stuck", "late")  # shown however short they were, the worst first
_UP = frozenset({"healthy", "draining"})
_COUNTED = _UP | set(_TROUBLES)  # other states are announced or unknown: neither up nor down


class Uptime(Struct, frozen=True):
    """Parts of a stretch of time, in ms."""

    lasted: dict[str, int]  # by state, in the order of their first appearance

    @property
    def counted_ms(self) -> int:
        """The time that counts: neither unknown, nor asleep, paused, stopped or new."""
        return sum(ms for state, ms in self.lasted.items() if state in _COUNTED)

    @property
    def percent(self) -> float | None:
        """Of the time that counts, the part in which it was healthy or draining, cut to 0.01; None: of none."""
        counted = self.counted_ms
        up = sum(ms for state, ms in self.lasted.items() if state in _UP)
        return up * 10_000 // counted / 100 if counted else None


def gap_period(before: Hearing, now: Now) -> tuple[Period, ...]:
    """The time that a gap of the hub has taken; none where the clock was only set back."""
    return (Period(HUB, before.heard_at, UNKNOWN, now.wall),) if now.wall > before.heard_at else ()


def timeline(
    daemon: Daemon, ended: Sequence[Period], gaps: Sequence[Period], since_at: int, until_at: int
) -> list[Period]:
    """Its periods between two instants, oldest first, one beginning where the other ends; neighbours are not alike.

    `ended` are the periods before its present one, `gaps` those of the hub, oldest first. Nothing stands for the time
    before its first period.
    """
    present = Period(daemon.id, daemon.since_at or daemon.first_seen_at, daemon.state, until_at)
    before = (replace(period, to_at=min(period.to_at, present.from_at)) for period in ended)  # the clock was set back
    own = [*sorted((p for p in before if p.from_at < p.to_at), key=lambda period: period.from_at), present]
    end = Period(daemon.id, until_at, "", until_at)
    stretches: list[Period] = []
    for period, following in pairwise((*own, end)):
        from_at, to_at = max(period.from_at, since_at), min(period.to_at, following.from_at, until_at)
        if from_at < to_at:
            stretches += _with_gaps(replace(period, from_at=from_at, to_at=to_at), gaps)
    return _joined(stretches)


def _with_gaps(period: Period, gaps: Sequence[Period]) -> Iterator[Period]:
    at = period.from_at
    for gap in gaps[bisect_right(gaps, at, key=lambda gap: gap.to_at) :]:
        if gap.from_at >= period.to_at:
            break
        if gap.from_at > at:
            yield replace(period, from_at=at, to_at=gap.from_at)
        begin, at = max(at, gap.from_at), max(at, min(gap.to_at, period.to_at))
        yield replace(period, state=UNKNOWN, from_at=begin, to_at=at)
    if at < period.to_at:
        yield replace(period, from_at=at)


def _joined(stretches: list[Period]) -> list[Period]:
    joined: list[Period] = []
    for period in stretches:
        if joined and joined[-1].state == period.state and joined[-1].to_at == period.from_at:
            joined[-1] = replace(joined[-1], to_at=period.to_at)
        elif period.to_at > period.from_at:
            joined.append(period)
    return joined


def uptime_of(periods: Sequence[Period]) -> Uptime:
    """The time that each state lasted."""
    lasted: dict[str, int] = defaultdict(int)
    for period in periods:
        lasted[period.state] += period.to_at - period.from_at
    return Uptime(dict(lasted))


def bar(periods: Sequence[Period], since_at: int, until_at: int, parts: int) -> list[str]:
    """The state of each of so many equal parts: the worst trouble in it, else what lasted longest; "" where none is."""
    lasted: list[dict[str, int]] = [defaultdict(int) for _ in range(parts)]
    edges = [since_at + (until_at - since_at) * n // parts for n in range(parts + 1)]
    for period in periods:
        first = max(bisect_right(edges, period.from_at) - 1, 0)
        for n in range(first, parts):
            if edges[n] >= period.to_at:
                break
            lasted[n][period.state] += min(period.to_at, edges[n + 1]) - max(period.from_at, edges[n])
    return [_state_of(part) for part in lasted]


def _state_of(lasted: dict[str, int]) -> str:
    trouble = next((state for state in _TROUBLES if lasted.get(state)), "")
    return trouble or max(lasted, key=lambda state: lasted[state], default="")
