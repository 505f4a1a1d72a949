"""One running hub: engine, writer, alarm, readers, feeds; started and stopped as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from understudy.api.event_feed import EventFeed
from understudy.api.hub import HubPulse, Recipient
from understudy.api.waiting import Waiting
from understudy.clock import Clock
from understudy.config.policy import HubInputs
from understudy.errors import StoreError, UnavailableError, UnderstudyError
from understudy.hub.alarm_loop import LOOK_EVERY_MS as ALARM_LOOKS_EVERY_MS
from understudy.hub.alarm_loop import Alarm
from understudy.hub.batch import Committed, Engine
from understudy.hub.calls import CutCalls
from understudy.hub.counting import Commits, Counted
from understudy.hub.keys import environment_keys_of
from understudy.hub.operation import Operation
from understudy.hub.starts import EndHub, RecordStart
from understudy.hub.tally import Tally
from understudy.hub.views import View
from understudy.ids import IdMaker
from understudy.log import Log
from understudy.runtime.event_lines import log_events
from understudy.runtime.hub.lanes import Lanes
from understudy.runtime.hub.loops import STOP_WITHIN_S, Deliverers, HubLoop, hub_loop
from understudy.runtime.hub.others import Others
from understudy.runtime.hub.reading import ReaderPool
from understudy.runtime.hub.store_watch import StoreVoice, StoreWatch
from understudy.runtime.hub.writer import Writer
from understudy.runtime.transport import Transport
from understudy.runtime.troubles import Troubles
from understudy.runtime.wiring import Wiring
from understudy.store.base import Reader, Store, WatchedStore

T = TypeVar("T")
ALARM_STOP_WITHIN_S = 10.0
GOODBYE_WITHIN_S = 2.0


class HubRuntime:
    """Everything that runs while a hub serves."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: IdMaker,
        log: Log,
        version: str,
        given: HubInputs,
    ) -> None:
        self.clock = clock
        self.ids = ids
        self.policy = policy = given.policy
        self.log = log
        self.version = version
        self.name = ""
        self.start_id = ids.uuid()
        self.shown_name = given.settings.hub_name
        self.is_draining = False
        self.is_misfit = False  # its version does not go together with the store any more
        self._end: Callable[[], None] = lambda: None  # called to stop by itself
        self.started_at = clock.now_ms()
        self._started_mono = clock.mono_ms()
        self.store = store
        self._voice = StoreVoice(clock, log)
        self._watch = StoreWatch(store, clock, log)
        engine = Engine(store, clock, ids, policy)
        self._troubles = troubles = Troubles(log, self._store_failed)
        self._wiring = wiring = Wiring(given, clock, log, troubles, is_shared=store.is_shared)
        self.writer = (Lanes if engine.runs_beside_itself else Writer)(engine, troubles.bug)
        self.tally = Tally()
        self.alarm = Alarm(engine, troubles.alarm, self.tally)
        self.waiting = Waiting()
        self.feed = EventFeed()
        self._given = given
        self._environment_keys = environment_keys_of(given.environment_keys)
        settings = given.settings
        self._transport = transport = Transport(ca_file=settings.ca_file, user_agent=f"understudy/{version}")
        self.alarm_loop = HubLoop("alarm", self.alarm.step, self.writer, transport, troubles.alarm)
        self.deliverers = Deliverers(wiring.deliveries(), self.writer, transport)
        watchdog = wiring.watchdog(self._alarm_is_silent_for_ms, self.deliverers.longest_pause_ms)
        self._ping = hub_loop(watchdog, self.writer, transport) if watchdog is not None else None
        self._takeover: HubLoop | None = None
        self._reading = ReaderPool(clock)
        self._others = self._made_others() if store.is_shared else None
        self._commits = Commits()

    def _made_others(self) -> Others:
        """They are asked for by no client: nothing of it counts as a request."""

        def read(fn: Callable[[Reader], Any]) -> Awaitable[Any]:
            return self._reading.look("", partial(self._read, fn))

        return Others(
            self, self.store, self.start_id, self.writer.decide, read, self._on_others_trouble, self._on_misfit
        )

    async def start(self, fingerprint: str, host: str, name: str = "") -> None:
        """Start the threads and write this start down; StoreError if the store cannot be written."""
        self.name = name or host
        self.writer.start(asyncio.get_running_loop())
        self.writer.after_commit(self._after_commit)
        start = RecordStart(self.start_id, self.version, fingerprint, host, self.name)
        await self.writer.decide(start)
        await asyncio.get_running_loop().run_in_executor(None, self.deliverers.start)
        self.alarm_loop.start()
        if self._others is not None:
            await self._others.start(start)
        self._watch.start()
        if self._ping is not None:
            self._ping.start()
        await self._start_takeover(f"hub/{self.name}")

    async def _start_takeover(self, worker_id: str) -> None:
        """Settle the calls of an earlier life in any case; run the loop only if an owner switched it on."""
        await self.writer.decide(CutCalls(worker_id))
        loop = self._wiring.takeover(worker_id)
        if loop is None:
            return
        thread = hub_loop(loop, self.writer, self._transport)

        def look_at(committed: Committed) -> None:
            if loop.is_concerned(committed):
                thread.wake()

        self.writer.after_commit(look_at)
        self.feed.elsewhere.add(look_at)
        self._takeover = thread
        thread.start()

    def decide(self, operation: Operation) -> Awaitable[Any]:
        """The operation's answer, durable."""
        self.tally.requests += 1
        return self.writer.ask(operation)

    def ask(self, operation: Operation, recipient: Recipient) -> None:
        """The same for one who is called back."""
        self.tally.requests += 1
        self.writer.ask_for(operation, recipient)

    def missed_a_sign(self) -> None:
        """A sign of life could not be taken by this hub's own fault: for a while nobody's silence counts."""
        if self.writer.engine.go_deaf():
            self._troubles.refused_a_sign()

    async def view(self, show: Callable[[View], T], key_id: str = "") -> T:
        """The result of a view, read off the event loop, in the queue of this key; "" is the hub itself."""
        self.tally.requests += 1
        return await self._reading.look(key_id, partial(self._show, show))

    async def search(self, key_id: str, show: Callable[[View], T]) -> T:
        """The result of a view that may have to read everything, in the queue of searches."""
        self.tally.requests += 1
        return await self._reading.search(key_id, partial(self._show, show))

    def _show(self, show: Callable[[View], T], within_ms: int) -> T:
        def shown(reader: Reader) -> T:
            wall = reader.now_ms(self.clock)
            redactor = self.log.redactor
            return show(View(reader, wall, self.policy, redactor, self._environment_keys, self.start_id))

        return self._read(shown, within_ms)

    def _read(self, fn: Callable[[Reader], T], within_ms: int) -> T:
        try:
            return self.store.read(fn, within_ms)
        except StoreError as error:
            self._store_failed(error)
            raise

    def _after_commit(self, committed: Committed) -> None:
        """All that follows a batch.

        `one_loop/hub.py` has its own version: no other hub has to hear of it there, and no thread watches the
        store's files.
        """
        self.tally.committed(int(self.writer.commit_ms))
        failed = next((answer for answer in committed.answers if isinstance(answer, StoreError)), None)
        self._commits.look_at(committed, has_failed=failed is not None)
        if failed is None:
            self._voice.works()
        else:
            self._store_failed(failed)
        if self.alarm.look_at(committed):
            self.alarm_loop.wake()
        if self._others is not None:
            self._others.look_at(committed)
        else:
            self._tell(committed)
        log_events(self.log, committed)

    def _tell(self, committed: Committed) -> None:
        """Those who wait and follow; the only hub of its store has nobody else to hear of."""
        if committed.ready:
            self.waiting.wake(committed.ready)
        if committed.events:
            self.feed.publish(committed)

    def pulse(self) -> HubPulse:
        """The state of its alarm and its commits now."""
        return HubPulse(self.writer.commit_ms, self._since_ring_ms(), self.alarm.lag_ms, self.alarm.next_at)

    def counted(self) -> Counted:
        """All that this process has counted since its start."""
        alarm, writer = self.alarm, self.writer
        return self._commits.counted(alarm.beats, alarm.rings, writer.sizes, writer.commits_ms, alarm.lags_ms)

    def is_turning(self) -> bool:
        """True if the alarm goes on, even if the store fails: a restart by a supervisor helps only if it does not."""
        return self.alarm_loop.since_step_ms() <= 2 * ALARM_LOOKS_EVERY_MS

    def _since_ring_ms(self) -> int:
        return self.clock.mono_ms() - self.alarm.last_ring_mono

    def _alarm_is_silent_for_ms(self) -> int:
        """Since the alarm rang; a hub that has just started has some time to ring for the first time."""
        return min(self._since_ring_ms(), self.clock.mono_ms() - self._started_mono)

    def drain(self) -> None:
        """Be ready no more, and begin no call that the end would cut; everything else goes on."""
        self.is_draining = True
        if self._takeover is not None:
            self._takeover.stop()

    def release_waiters(self) -> None:
        """Let every long poll and stream end, so that the server can stop; what is asked is still answered."""
        self.drain()
        self.waiting.close()
        self.feed.close()

    async def stop(self) -> None:
        """Commit what is queued, end the threads, close the store."""
        self.release_waiters()
        self.writer.is_stopping = True
        loop = asyncio.get_running_loop()
        if self._ping is not None:
            self._ping.stop()
        if self._others is not None:
            await self._others.stop()
        await loop.run_in_executor(None, self._watch.stop)
        if self._takeover is not None:
            self._takeover.stop()
            await loop.run_in_executor(None, self._takeover.join, STOP_WITHIN_S)
        self.alarm_loop.stop()
        await loop.run_in_executor(None, self.alarm_loop.join, ALARM_STOP_WITHIN_S)
        await loop.run_in_executor(None, self.deliverers.stop)
        await self._say_goodbye()
        await self.writer.stop()
        await loop.run_in_executor(None, self._reading.close)
        self.store.close()

    async def _say_goodbye(self) -> None:
        """To the other hubs, and to those who ask later; a store that fails is not waited for."""
        with suppress(UnderstudyError, TimeoutError):
            async with asyncio.timeout(GOODBYE_WITHIN_S):
                await self.writer.decide(EndHub(self.start_id))

    def _store_failed(self, error: BaseException) -> None:
        """Said once, and not beside the watch, which knows more of lost and damaged files."""
        if not (isinstance(self.store, WatchedStore) and self.store.trouble()):
            self._voice.failed(error)

    def _on_misfit(self, why: str) -> None:
        self.is_misfit = True
        self.log.emit("critical", "Hub", f"This hub ends: {why}")
        self._end()

    def end_by(self, end: Callable[[], None]) -> None:
        """Have `end` called when this hub has to stop by itself; now, if it found that out while it started."""
        self._end = end
        if self.is_misfit:
            end()

    def _on_others_trouble(self, trouble: BaseException) -> None:
        if isinstance(trouble, StoreError):
            self._store_failed(trouble)
        elif not isinstance(trouble, UnavailableError):  # an overloaded hub looks again a second later
            self.log.emit("critical", "Hub", f"The other hubs could not be followed: {trouble!r}")
