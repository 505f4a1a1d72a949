"""Timelines of daemons, read from a snapshot: what the bars and timelines of every page are drawn from."""

from __future__ import annotations

from collections import defaultdict

from understudy.coordinator.nouns import Daemon, Period
from understudy.coordinator.timeline import HUB, bar, timeline
from understudy.hub.views import View
from understudy.store.queries import PERIODS, PERIODS_OF

DAY_MS = 86_400_000
PERIODS_MAX = 20_000  # that are read at once, the latest ones
GAPS_SHOWN_MAX = 200  # of the hub, the longest ones
GAPS_OF_ALL_MAX = 24  # where they stand in the timeline of every daemon
STRETCHES_MAX = 48  # of a bar; more are too thin to be seen
PARTS = 144  # that a bar is divided into where there are more: ten minutes of a day


def periods(view: View, daemon: Daemon, since_at: int) -> list[Period]:
    """The periods of one daemon from an instant until now, oldest first; the hub's gaps are `unknown`."""
    ended, gaps = (view.reader.find(PERIODS_OF, key, since_at, limit=PERIODS_MAX) for key in (daemon.id, HUB))
    return timeline(daemon, ended, _longest(gaps, GAPS_SHOWN_MAX), since_at, view.now.wall)


class Timelines:
    """The periods of any daemon from an instant until now: one short read, however many daemons there are."""

    def __init__(self, view: View, since_at: int) -> None:
        self._since_at, self._until_at = since_at, view.now.wall
        self._ended: dict[str, list[Period]] = defaultdict(list)
        for period in view.reader.find(PERIODS, since_at, limit=PERIODS_MAX):
            self._ended[period.daemon_id].append(period)
        self._gaps = _longest(self._ended.pop(HUB, []), GAPS_OF_ALL_MAX)

    def of(self, daemon: Daemon) -> list[Period]:
        """Its periods, oldest first; the hub's longest gaps are `unknown`."""
        return timeline(daemon, self._ended.get(daemon.id, ()), self._gaps, self._since_at, self._until_at)

    def count_max(self, daemon: Daemon) -> int:
        """The most periods that it can have: its own ones, of which each gap may divide one."""
        return len(self._ended.get(daemon.id, ())) + 1 + 2 * len(self._gaps)


def stretches(periods: list[Period], since: int, until: int) -> list[Period]:
    """The exact periods, the last one to the end of the bar; in equal parts where they would be too many to be seen."""
    periods = [*periods[:-1], *(Period(one.daemon_id, one.from_at, one.state, until) for one in periods[-1:])]
    if len(periods) <= STRETCHES_MAX:
        return periods
    edges = [since + (until - since) * n // PARTS for n in range(PARTS + 1)]
    parts = zip(bar(periods, since, until, PARTS), edges[:-1], edges[1:], strict=True)
    return [Period("", from_at, state, to_at) for state, from_at, to_at in parts if state]


def _longest(gaps: list[Period], most: int) -> list[Period]:
    """So many of them, in the order of time."""
    longest = sorted(gaps, key=lambda gap: gap.from_at - gap.to_at)[:most]
    return sorted(longest, key=lambda gap: gap.from_at)
