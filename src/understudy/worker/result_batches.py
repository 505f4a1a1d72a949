"""The results of the next request: fewer after a failure, those last that fail alone. None is ever dropped.

A request may fail because of the hub, the line or one of its results (a firewall refuses what it contains), and nobody
says which. So after a failure the next request has half as many, down to one; a result that failed alone lets the
others go first, and is sent alone from then on. It pauses only once something else got through after it had failed:
an absent hub delays nothing. So a failure that may be the hub's absence counts only after a later sign of the hub.
A result may also be too large for the line. If it has used up its time although the hub was heard afterwards, it gets
more time; if that does not help either, less of it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from understudy.backoff import Backoff
from understudy.clock import Clock
from understudy.worker.results import RunResult, wire_form

BATCH_MAX = 100
BATCH_BYTES_MAX = 6 << 20  # the hub takes 8 MiB
ALONE_MS_FIRST, ALONE_MS_MAX = 1_000, 600_000
TIMEOUT_MS = 15_000  # for a request
DOUBLED_MAX = 3  # how often, for a lone result that needs more
NEWS_MIN = 2  # failures of its own: one may have been the end of an absence of the hub


class _Lone:
    """A result that failed although nothing else was in its request."""

    def __init__(self, pauses: Backoff) -> None:
        self.pauses = pauses
        self.until_ms = 0  # mono: it is not sent before
        self.was_passed = False  # another result got through after it had failed
        self.is_open = False  # whether its last failure was its own shows when the hub is heard again
        self.failures = 0  # of its own
        self.was_slow = False  # its last request used up its time; the hub was not heard since then
        self.slow = 0  # how often it did, and the hub was heard afterwards
        self.must_be_cut = False  # the longest time is not enough either
        self.is_reported = False  # to the owner

    @property
    def timeout_ms(self) -> int:
        """The time for its next request."""
        return TIMEOUT_MS << min(self.slow, DOUBLED_MAX)


class ResultBatches:
    """The order and number of the results that wait for the hub."""

    def __init__(self, clock: Clock, jitter: Callable[[], float]) -> None:
        self.count_max = BATCH_MAX
        self.is_nowhere_reported = False  # to the owner: nothing at the hub's address takes results
        self._lone: dict[str, _Lone] = {}  # by name, that of the longest wait first
        self._clock = clock
        self._jitter = jitter

    def next(self, results: Mapping[str, RunResult]) -> list[RunResult]:
        """The oldest results that fit one request, at least one; else one that failed alone; [] if all pause."""
        others = (result for name, result in results.items() if name not in self._lone)
        return self._fitting(others) or [results[name] for name in self._due(results)[:1]]

    def pause_ms(self, results: Mapping[str, RunResult]) -> int:
        """The time until one of them may be sent; 0: now."""
        if any(name not in self._lone for name in results) or not results:
            return 0
        first_ms = min(self._lone[name].until_ms for name in results)
        return max(0, first_ms - self._clock.mono_ms())

    def got_through(self) -> None:
        """A result was accepted: the next request may carry more; what failed alone before it pauses."""
        self.count_max = min(BATCH_MAX, self.count_max + 1)
        self.is_nowhere_reported = False
        for lone in self._lone.values():
            lone.was_passed = True
        self.heard()

    def heard(self) -> None:
        """A sign of the hub: what others have passed and what failed before that failed by itself."""
        for lone in self._lone.values():
            lone.must_be_cut = lone.must_be_cut or (lone.was_slow and lone.slow >= DOUBLED_MAX)
            lone.slow, lone.was_slow = lone.slow + lone.was_slow, False
            if lone.was_passed and lone.is_open:
                self._hold(lone)

    def timeout_ms(self, batch: list[RunResult]) -> int:
        """The time for a request of these."""
        lone = self._lone.get(batch[0].name)
        return lone.timeout_ms if lone is not None else TIMEOUT_MS

    def was_slow(self, batch: list[RunResult]) -> None:
        """The time of this request was used up: if the hub is heard next, its only result needs more time."""
        if (lone := self._lone_in(batch)) is not None:
            lone.was_slow = True

    def must_cut(self, batch: list[RunResult]) -> bool:
        """True, once, if its only result is too large for the line."""
        lone = self._lone_in(batch)
        if lone is None or not lone.must_be_cut:
            return False
        lone.must_be_cut = False
        return True

    def _lone_in(self, batch: list[RunResult]) -> _Lone | None:
        return self._lone.get(batch[0].name) if len(batch) == 1 else None

    def failed(self, batch: list[RunResult], *, is_refused: bool, may_be_away: bool) -> bool:
        """Nothing came of this request → whether its only result is news for the owner: once for each.

        `is_refused`: the answer was a refusal of what was sent. `may_be_away`: it may be the same whatever is sent.
        """
        if len(batch) > 1:
            self.count_max = len(batch) // 2
            return False
        name = batch[0].name
        lone = self._lone.pop(name, None) or _Lone(Backoff(ALONE_MS_FIRST, ALONE_MS_MAX, self._jitter))
        self._lone[name] = lone  # behind all others
        if lone.was_passed and not may_be_away:
            self._hold(lone)
        else:
            lone.is_open = True
        is_news = not lone.is_reported and (is_refused or max(lone.failures, lone.slow) >= NEWS_MIN)
        lone.is_reported = lone.is_reported or is_news
        return is_news

    def forget(self, name: str) -> None:
        """This result is settled."""
        self._lone.pop(name, None)

    def _hold(self, lone: _Lone) -> None:
        lone.is_open = False
        lone.failures += 1
        lone.until_ms = self._clock.mono_ms() + lone.pauses.next_ms()

    def _fitting(self, results: Iterable[RunResult]) -> list[RunResult]:
        batch: list[RunResult] = []
        size = 0
        for result in results:
            size += len(msgspec.json.encode(wire_form(result)))
            if batch and (size > BATCH_BYTES_MAX or len(batch) >= self.count_max):
                break
            batch.append(result)
        return batch

    def _due(self, results: Mapping[str, RunResult]) -> list[str]:
        now_ms = self._clock.mono_ms()
        return [name for name, lone in self._lone.items() if name in results and lone.until_ms <= now_ms]
