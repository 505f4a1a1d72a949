"""A running hub without threads: the same engine, alarm, deliveries, takeover and watchdog, on one event loop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, TypeVar

from understudy.api.event_feed import EventFeed
from understudy.api.hub import HubPulse
from understudy.api.waiting import Waiting
from understudy.clock import Clock
from understudy.config.policy import HubInputs
from understudy.coordinator.nouns import Deployment, Hearing
from understudy.errors import StoreError, UnavailableError
from understudy.hub.alarm_loop import PURGE_EVERY_MS, Alarm
from understudy.hub.batch import Committed, Engine
from understudy.hub.calls import CutCalls
from understudy.hub.counting import SIZES, TIMES_MS, Commits, Counted, Spread
from understudy.hub.keys import environment_keys_of
from understudy.hub.operation import Operation
from understudy.hub.outbox import ReclaimNotices
from understudy.hub.starts import RecordStart
from understudy.hub.steps import Read, Steps
from understudy.hub.tally import Tally
from understudy.hub.views import View
from understudy.ids import IdMaker
from understudy.log import Log
from understudy.runtime.event_lines import log_events
from understudy.runtime.one_loop.turns import Host, Turn, Turns
from understudy.runtime.troubles import Troubles
from understudy.runtime.wiring import Loop, Wiring
from understudy.store.base import Reader, Store
from understudy.store.queries import DEPLOYMENTS

T = TypeVar("T")
STOP_WITHIN_S = 2.0


class OneLoopHub:
    """Everything that runs while a hub serves; used on the event loop only."""

    dice: Callable[[], float] = staticmethod(random.random)

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: IdMaker,
        log: Log,
        version: str,
        given: HubInputs,
        host: Host,
        *,
        sleeps_ms: int = 0,
    ) -> None:
        """`sleeps_ms`: for so long at most the host may forget this hub, and start it again at the bell."""
        self.clock = clock
        self.ids = ids
        self.policy = policy = given.policy
        self.log = log
        self.version = version
        self.start_id = ids.uuid()
        self.shown_name = given.settings.hub_name
        self.is_draining = False
        self.started_at = clock.now_ms()
        self.store = store
        self.waiting = Waiting()
        self.feed = EventFeed()
        self.tally = Tally()
        self.troubles = Troubles(log, self._store_failed)
        self.engine = Engine(store, clock, ids, policy, sleeps_ms=sleeps_ms)
        self.alarm = Alarm(self.engine, self.troubles.alarm, self.tally)
        self.turns = Turns(self, clock, host)
        self._given = given
        self._environment_keys = environment_keys_of(given.environment_keys)
        self._started_mono = clock.mono_ms()
        self._commits, self._sizes, self._commits_ms = Commits(), Spread(SIZES), Spread(TIMES_MS)
        self._commit_ms = 0
        self._has_failed = False
        self._after: list[Callable[[Committed], None]] = []
        self.alarm_turn = self._turn("alarm", self.alarm.step, self.troubles.alarm)
        self._deliveries: list[Turn] = []

    # ---- start and end

    async def start(self, fingerprint: str, host: str, name: str = "") -> None:
        """Settle what an earlier life left, and make the first step of every loop; StoreError if it cannot write."""
        wiring = Wiring(self._given, self.clock, self.log, self.troubles, is_shared=False)
        self._plan_removal()
        await self._note_start(fingerprint, host, name or host)
        worker_id = f"hub/{name or host}"
        await self.decide(CutCalls(worker_id))
        while await self.decide(ReclaimNotices()):
            pass
        self.turns.add(self.alarm_turn)
        self._deliveries = [turn for loop in wiring.deliveries().values() if (turn := self._add(loop))]
        self._add(wiring.watchdog(self._alarm_is_silent_for_ms, self._longest_pause_ms))
        self._add(wiring.takeover(worker_id))
        self.turns.ring()

    def _turn(self, name: str, step: Callable[[], Steps], on_trouble: Callable[[BaseException], None]) -> Turn:
        return Turn(name, step, on_trouble, self.dice)

    def _plan_removal(self) -> None:
        """Retention once in each ten minutes of the wall clock, however often the hub is started in them."""
        heard_at = next((row.heard_at for row in self.store.read(lambda reader: reader.load_many(Hearing, (1,)))), 0)
        now = self.clock.now_ms()
        if heard_at // PURGE_EVERY_MS == now // PURGE_EVERY_MS:
            self.alarm.purge_later(PURGE_EVERY_MS - now % PURGE_EVERY_MS)

    async def _note_start(self, fingerprint: str, host: str, name: str) -> None:
        """Write the start down, unless it is the same hub as the last time: it may be started many times an hour."""
        last = self.store.read(lambda reader: reader.find(DEPLOYMENTS, limit=1))
        if last and _is_same(last[0], self.version, fingerprint, host):
            self.start_id = last[0].version_id
        else:
            await self.decide(RecordStart(self.start_id, self.version, fingerprint, host, name))
            for sentence in self._given.notes:
                self.log.emit("warning", "Hub", sentence)

    def _add(self, loop: Loop | None) -> Turn | None:
        """Have its steps made, and the next one after each commit that concerns it."""
        if loop is None:
            return None
        turn = self.turns.add(self._turn(loop.name, loop.step, loop.on_trouble))
        self.after_commit(lambda committed: self.turns.wake(turn) if loop.is_concerned(committed) else None)
        return turn

    def ring(self) -> list[asyncio.Task[None]]:
        """Make every step that is due → all that is under way."""
        return self.turns.ring()

    def release_waiters(self) -> None:
        """Let every long poll and stream end; what is asked is still answered."""
        self.is_draining = True
        self.waiting.close()
        self.feed.close()

    async def stop(self) -> None:
        """Let those go who wait, and what is under way end; close the store."""
        self.release_waiters()
        await self.turns.stop(STOP_WITHIN_S)
        self.store.close()

    # ---- for the API, and for the steps

    async def decide(self, operation: Operation) -> Any:
        """The operation's answer, durable; raises what it was refused with."""
        if self.turns.is_over and not operation.is_last_word:
            raise UnavailableError("The hub is stopping")
        self.tally.requests += 1
        began = self.clock.mono_ms()
        committed = self.engine.run([operation])
        self._note(committed, self.clock.mono_ms() - began)
        answer = committed.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def view(self, show: Callable[[View], T], key_id: str = "") -> T:
        """The result of a read, made at once."""
        self.tally.requests += 1
        return self.store.read(lambda reader: show(self._view(reader)))

    def _view(self, reader: Reader) -> View:
        wall = reader.now_ms(self.clock)
        return View(reader, wall, self.policy, self.log.redactor, self._environment_keys, self.start_id)

    async def search(self, key_id: str, show: Callable[[View], T]) -> T:
        """The same: there is nobody else who could do it."""
        return await self.view(show, key_id)

    def read(self, effect: Read) -> Any:
        """The part of the store that a step wants to see."""
        return self.store.read(effect.show)

    def missed_a_sign(self) -> None:
        """A sign of life could not be taken by this hub's own fault: for a while nobody's silence counts."""
        if self.engine.go_deaf():
            self.troubles.refused_a_sign()

    def pulse(self) -> HubPulse:
        """The state of its alarm and its commits now."""
        since_ring_ms = self.clock.mono_ms() - self.alarm.last_ring_mono
        return HubPulse(float(self._commit_ms), since_ring_ms, self.alarm.lag_ms, self.alarm.next_at)

    def counted(self) -> Counted:
        """All that this process has counted since its start."""
        alarm = self.alarm
        return self._commits.counted(alarm.beats, alarm.rings, self._sizes, self._commits_ms, alarm.lags_ms)

    # ---- after a commit

    def after_commit(self, listener: Callable[[Committed], None]) -> None:
        """Have it called after each commit."""
        self._after.append(listener)

    def _note(self, committed: Committed, took_ms: int) -> None:
        self._commit_ms = took_ms
        self.tally.committed(took_ms)
        self._sizes.add(len(committed.answers))
        self._commits_ms.add(took_ms)
        failed = next((answer for answer in committed.answers if isinstance(answer, StoreError)), None)
        self._commits.look_at(committed, has_failed=failed is not None)
        self._say_whether_it_works(failed)
        if self.alarm.look_at(committed):
            self.turns.wake(self.alarm_turn)
        if committed.ready:
            self.waiting.wake(committed.ready)
        if committed.events:
            self.feed.publish(committed)
        log_events(self.log, committed)
        for listener in self._after:
            listener(committed)

    def _say_whether_it_works(self, failed: StoreError | None) -> None:
        """Once when it begins to fail, and once when it works again."""
        if failed is not None:
            self._store_failed(failed)
        elif self._has_failed:
            self._has_failed = False
            self.log.emit("info", "Store", "The store works again")

    def _store_failed(self, failed: BaseException) -> None:
        if not self._has_failed:
            self._has_failed = True
            self.log.emit("critical", "Store", f"{failed}")

    # ---- signs of life

    def _alarm_is_silent_for_ms(self) -> int:
        now = self.clock.mono_ms()
        return min(now - self.alarm.last_ring_mono, now - self._started_mono)

    def _longest_pause_ms(self) -> int:
        return max((self.turns.since_step_ms(turn) for turn in self._deliveries), default=0)


def _is_same(last: Deployment, version: str, fingerprint: str, host: str) -> bool:
    return (last.package_version, last.config_fingerprint, last.host) == (version, fingerprint, host)
