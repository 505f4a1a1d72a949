"""The alarm: one loop that sleeps until the nearest deadline, and looks at what is due.

`look_at` announces an earlier deadline. It may be called by another thread than the one that takes the steps, and
there is no lock. No announcement is lost: one that came before a ring is forgotten only then, and the ring reads all
deadlines from the store after that; a later one shortens the pause or wakes the loop. One that is not before the
nearest that was announced is no news: the loop is up by then, and its ring finds both.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from understudy.coordinator.hearing import hear
from understudy.coordinator.nouns import Hearing, Now
from understudy.coordinator.retention import purge_plan
from understudy.coordinator.samples import Sample
from understudy.errors import StoreDownError, StoreError, UnavailableError
from understudy.hub.alarm import GoIdle, RingAlarm
from understudy.hub.batch import Committed, Engine
from understudy.hub.counting import TIMES_MS, Spread
from understudy.hub.queue_depth import Depth, queue_depth
from understudy.hub.retention import PurgeRows
from understudy.hub.starts import LogMinute, PromiseToListen, RecordHearing
from understudy.hub.steps import Effect, Read, Steps
from understudy.hub.tally import Counts, Tally
from understudy.store.base import Deadlines, Reader

LISTEN_EVERY_MS = 1_000
CROWD_MS = 5  # between rings while one deadline comes after the other: they share a commit
LOOK_EVERY_MS = 60_000
PURGE_EVERY_MS = 600_000
PURGE_PAUSE_MS = 20
COUNTED_MAX = 1_000_000  # tasks of each kind, for a plot
NEVER = 1 << 62


class Alarm:
    """Rings when a deadline has come, at the latest every 60 s; to be woken when an earlier deadline appears."""

    def __init__(self, engine: Engine, on_trouble: Callable[[Exception], None], tally: Tally | None = None) -> None:
        self._engine = engine
        self._tally = tally or Tally()
        self._clock = engine.clock
        self._on_trouble = on_trouble
        self._next_mono = 0
        self._announced_mono = self._promised_mono = NEVER
        self._purge_mono = 0
        self._purges: list[tuple[str, int]] = []
        self._minute_mono = self._clock.mono_ms()
        self._is_watching = True
        self._left: frozenset[tuple[str, int]] = frozenset()  # the nearest deadlines that had come after the last ring
        self.lag_ms = 0
        self.next_at = 0
        self.last_ring_mono = 0
        self.beats = 0  # since the start of the hub, as all below
        self.rings = 0
        self._reported = (0, 0)  # beats and rings until the last minute was reported
        self.lags_ms = Spread(TIMES_MS)

    def look_at(self, committed: Committed) -> bool:
        """After a commit; whether it brought an earlier deadline, so that the next step is due now."""
        is_news = False
        now = committed.now
        waits = [h - now.h for h in (committed.deadline_h,) if h]
        waits += [at - now.wall for at in (committed.available_at,) if at]
        for stored in committed.events:
            if not stored.id and stored.event.name == "heartbeat.recorded" and stored.event.component == "Queue API":
                self.beats += 1
        if committed.deadline_h and not self._is_watching:
            self._is_watching = is_news = True
        if waits and (mono := self._clock.mono_ms() + min(waits)) < self._announced_mono:
            self._announced_mono = mono
            is_news = is_news or mono < self._next_mono
        return is_news

    def purge_later(self, ms: int) -> None:
        """Remove nothing before so many ms have passed: a hub that starts very often would remove all the time."""
        self._purge_mono = self._clock.mono_ms() + ms

    def step(self) -> Steps:
        """Do what is due; how many ms may pass until the next step. If anything fails, the next looks at everything."""
        try:
            return (yield from self._do_what_is_due())
        except Exception:
            self._next_mono = 0
            raise

    def _do_what_is_due(self) -> Steps:
        mono = self._clock.mono_ms()
        if self._engine.store.is_shared:
            yield from self._look_for_others(mono)
        if mono >= min(self._next_mono, self._announced_mono):
            yield from self._ring(mono)
            yield from self._promise()
        elif self._engine.sleeps_ms and mono >= self._promised_mono:
            yield from self._promise()
        elif self._is_watching and not self._engine.sleeps_ms:
            yield RecordHearing()
        if mono - self._minute_mono >= LOOK_EVERY_MS:
            yield from self._log_minute(mono)
        is_more = yield from self._purge_a_little(mono)
        return min(self.pause_ms(), PURGE_PAUSE_MS) if is_more else self.pause_ms()

    def _promise(self) -> Generator[Effect, Any, None]:
        """A hub that may be put to sleep is listening now, and says that it will be there again for the next step."""
        if self._engine.sleeps_ms:
            self._promised_mono = NEVER
            pause_ms = self.pause_ms()
            yield PromiseToListen(pause_ms)
            self._promised_mono = self._clock.mono_ms() + pause_ms

    def _log_minute(self, mono: int) -> Generator[Effect, Any, None]:
        """Write the last minute down; what cannot be written is in the next try."""
        depth, wall = yield Read(lambda reader: (queue_depth(reader, limit=COUNTED_MAX), reader.now_ms(self._clock)))
        (beats, rings), reported, counts = self._reported, (self.beats, self.rings), self._tally.take()
        try:
            yield LogMinute(reported[1] - rings, self._sample(depth, wall, reported[0] - beats, counts))
        except Exception as trouble:
            self._tally.give_back(counts)
            if _hits_all(trouble):
                raise
            self._on_trouble(trouble)
        else:
            self._reported = reported
        self._minute_mono = mono

    @staticmethod
    def _sample(depth: Depth, wall: int, beats: int, counts: Counts) -> Sample:
        """The last minute in numbers; which minute that was, its transaction decides."""
        oldest_ms = max(wall - depth.oldest_at, 0) if depth.oldest_at else 0
        counted = (counts.requests, counts.commits, counts.commit_ms, counts.commit_max_ms)
        return Sample(0, depth.waiting, depth.leased, oldest_ms, beats, *counted)

    def pause_ms(self) -> int:
        """Milliseconds until the next step, as far as is known now."""
        until = max(min(self._next_mono, self._announced_mono, self._promised_mono) - self._clock.mono_ms(), 0)
        is_awake = (self._is_watching or self._engine.store.is_shared) and not self._engine.sleeps_ms
        return min(until, LISTEN_EVERY_MS if is_awake else self._engine.sleeps_ms or LOOK_EVERY_MS)

    def _ring(self, mono: int) -> Generator[Effect, Any, None]:
        self.lag_ms = max(mono - min(self._next_mono, self._announced_mono), 0) if self._next_mono else 0
        self.lags_ms.add(self.lag_ms)
        self._announced_mono = NEVER  # before the reading below, which may miss what is announced from here on
        while (yield RingAlarm()):
            pass
        self.rings += 1
        self.last_ring_mono = mono
        deadlines, now = yield Read(lambda reader: (reader.next_deadlines(), self._now(reader)))
        if not _is_watched(deadlines):
            self._is_watching = False  # before GoIdle: a later commit with a deadline makes it true again
            if not (yield GoIdle()):
                self._is_watching = True
        ahead = _ahead(deadlines, now)
        left, self._left = self._left, frozenset(each for each, wait in ahead.items() if wait <= 0)
        waits = [max(wait, self._least_ms(left, each)) for each, wait in ahead.items()]
        pause_ms = max(min([*waits, LOOK_EVERY_MS]), 0)
        self._next_mono = self._clock.mono_ms() + pause_ms
        self.next_at = now.wall + pause_ms

    def _least_ms(self, left: frozenset[tuple[str, int]], deadline: tuple[str, int]) -> int:
        """The least pause before the ring for it. One that stays after two rings has a row that nobody can judge."""
        if self._engine.is_deaf or deadline in left:
            return LISTEN_EVERY_MS
        return CROWD_MS if left else 0

    def _look_for_others(self, mono: int) -> Generator[Effect, Any, None]:
        """Deadlines that another hub has set: it may be gone before they come, and nobody announces them here.

        It may also be gone when the last of them is over, and before it could say that nobody needs to be heard.
        """
        deadlines, hearing, wall = yield Read(
            lambda reader: (reader.next_deadlines(), _hearing(reader), reader.now_ms(self._clock))
        )
        waits = _ahead(deadlines, hear(hearing, wall)[1]).values()
        self._announced_mono = min(self._announced_mono, *(mono + wait for wait in waits), NEVER)
        self._is_watching = self._is_watching or _is_watched(deadlines) or not hearing.idle

    def _now(self, reader: Reader) -> Now:
        """The time as a batch would see it at this moment."""
        return hear(_hearing(reader), reader.now_ms(self._clock))[1]

    def _purge_a_little(self, mono: int) -> Generator[Effect, Any, bool]:
        """One portion of what retention removes, so that no deadline waits for it; whether there is more."""
        if mono < self._engine.unsure_until_mono:
            self._purges.clear()  # their bounds are of that clock
            return False  # by a clock that is far ahead, everything would be too old
        if mono >= self._purge_mono:
            wall = yield Read(lambda reader: reader.now_ms(self._clock))
            self._purge_mono = mono + PURGE_EVERY_MS
            self._purges = purge_plan(self._engine.policy, wall)
        if self._purges:
            try:
                is_more = yield PurgeRows(*self._purges[-1])
            except Exception as trouble:
                if _hits_all(trouble):
                    raise
                self._on_trouble(trouble)  # rows that cannot be removed must not keep the rest
                is_more = False
            if not is_more:
                self._purges.pop()
            return bool(self._purges)
        return False


def _ahead(deadlines: Deadlines, now: Now) -> dict[tuple[str, int], int]:
    """Each of them, and the time until then in ms."""
    heard = {"lease": deadlines.lease_h, "health": deadlines.health_h, "directive": deadlines.directive_h}
    ahead = {(kind, h): h - now.h for kind, h in heard.items() if h}
    if deadlines.available_at:
        ahead["available", deadlines.available_at] = deadlines.available_at - now.wall
    return ahead


def _hearing(reader: Reader) -> Hearing:
    (hearing,) = reader.load_many(Hearing, (1,)) or [Hearing()]
    return hearing


def _hits_all(trouble: Exception) -> bool:
    """True if other requests of the time would fail as well; else it is about what was asked alone."""
    return isinstance(trouble, UnavailableError) and (
        isinstance(trouble, StoreDownError) or not isinstance(trouble, StoreError)
    )


def _is_watched(deadlines: Deadlines) -> bool:
    """True if somebody has to be heard."""
    return bool(deadlines.lease_h or deadlines.health_h or deadlines.directive_h)
