"""The part of a hub whose store others share: it follows their events, and wakes long polls for their tasks.

Every second, and sooner after a hint, it reads the log of events behind its position. Every second, and after hints may
have been lost, it looks for each group of long polls whether there is something for them: not after each hint, because
the task behind it is mostly in somebody's hands already. From time to time it says that it runs. The feed of events is
fed by this alone, also with what this hub itself has written, so that everybody sees events in one order. While nobody
is shown events, only their places and names are read, and less often: a busy log costs a hub little then.

A log that ends before the position of this hub is not the one it was: an older copy of the store was restored, or a
standby was promoted that had not received everything. Then the hub begins anew, and so do those who follow it. Doubt:
where as many events as were lost have been written before the next look, nothing shows that. So keys are looked at
again after each time in which the store could not be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from understudy.api.hub import Hub
from understudy.api.waiting import Group
from understudy.clock import Clock
from understudy.coordinator.nouns import Deployment
from understudy.coordinator.starts import SEEN_EVERY_MS, lately
from understudy.errors import UnderstudyError
from understudy.hub.batch import Committed
from understudy.hub.operation import Operation
from understudy.hub.settled import Settled
from understudy.hub.starts import RecordStart, SeeHub
from understudy.runtime.hub.hints import Hints, hint_of
from understudy.store.base import EventFilter, Reader, SignallingStore, Store, StoredEvent, Versioned
from understudy.store.queries import HUBS_SEEN

LOOK_EVERY_S = 1.0
DUE_PART = 0.9  # so that a look that comes a little early is not the next one but one
PAUSE_S = 0.02  # between two looks, however many hints come
EVENTS_A_LOOK, NAMES_A_LOOK = 500, 2_000
PAUSE_UNREAD_S = 0.1  # between two looks while nobody is shown events: so late a revoked key is known to be one
GROUPS_A_LOOK = 100
HUBS_A_LOOK = 100
BEGIN_TRIES = 250  # some five seconds: a transaction that stays open longer does not keep a hub from starting


class Others:
    """Used on the event loop only, except where it says so."""

    def __init__(
        self,
        hub: Hub,
        store: Store,
        start_id: str,
        decide: Callable[[Operation], Awaitable[Any]],
        read: Callable[[Callable[[Reader], Any]], Awaitable[Any]],
        on_trouble: Callable[[Exception], None],
        on_misfit: Callable[[str], None],
    ) -> None:
        """`decide` and `read` are the hub's own, which count as nobody's requests.

        `on_misfit` is called once, with the reason for which this version must not use the store any more.
        """
        self._hub = hub
        self._decide = decide
        self._read = read
        self._store = store
        self._start_id = start_id
        self._on_trouble = on_trouble
        self._on_misfit = on_misfit
        self._is_misfit = False
        self._hints = Hints(store, start_id) if isinstance(store, SignallingStore) else None
        self._stop_listening: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop
        self._start: RecordStart
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._settled = Settled(0)
        self._seen_mono = 0
        self._tasks_due_at = 0.0  # of the loop's clock: when long polls are looked at again
        self._has_failed = False  # a look, since the last one that was well
        self._namesakes: dict[str, int] = {}  # other starts under the name of this hub, and when they were last seen
        self._has_namesake = False
        self._is_over = False
        hub.feed.is_followed = True

    async def start(self, start: RecordStart) -> None:
        """Find the position, then follow; StoreError if the store cannot be read. `start` is that of this hub."""
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._settled = Settled(await self._newest_id())
        for _ in range(BEGIN_TRIES):
            await self._look_at_gap()
            if not self._settled.is_beginning:
                break
            await asyncio.sleep(PAUSE_S)
        self._hub.feed.follow((), self._settled.last_id)
        if isinstance(self._store, SignallingStore):
            self._stop_listening = self._store.listen(self._signalled)
        self._task = self._loop.create_task(self._run())

    async def _newest_id(self) -> int:
        newest = await self._read(lambda reader: reader.list_events(EventFilter(limit=1)))
        return int(newest[-1].id) if newest else 0

    async def stop(self) -> None:
        """Follow no more."""
        self._is_over = True
        self._woken.set()
        if self._task is not None:
            await self._task
            await self._loop.run_in_executor(None, self._stop_listening)

    def look_at(self, committed: Committed) -> None:
        """After a commit of this hub: what it has to do with others, and its own events."""
        left = self._hub.waiting.wake(committed.ready)
        live = tuple(stored for stored in committed.events if stored.event.live_only)
        if live:
            self._hub.feed.publish(Committed((), live, now=committed.now))
        if len(live) < len(committed.events):
            self._woken.set()
        if self._hints is not None and (left or len(live) < len(committed.events)):
            self._hints.add(left)

    # ---- what the others say

    def _signalled(self, payload: str) -> None:
        """From a thread of the store."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._take_hint, payload)

    def _take_hint(self, payload: str) -> None:
        hint = hint_of(payload)
        if hint is None:
            self._tasks_due_at = 0.0
            self._woken.set()
        elif hint.start_id != self._start_id:
            for needs, waiting_for, count in hint.ready:
                self._hub.waiting.wake_for((needs, waiting_for), count)
            self._woken.set()

    # ---- looks

    async def _run(self) -> None:
        while not self._is_over:
            self._woken.clear()
            is_more = False
            try:
                is_more = await self._look()
            except UnderstudyError as trouble:  # the store fails: it is said once, and tried again
                self._has_failed = True
                self._on_trouble(trouble)
            except Exception as bug:  # noqa: BLE001 - the outermost place of a task that must not end by itself
                self._on_trouble(bug)
                await asyncio.sleep(LOOK_EVERY_S)
            await asyncio.sleep(PAUSE_S if is_more or self._hub.feed.is_read else PAUSE_UNREAD_S)
            if not is_more:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._woken.wait()

    async def _look(self) -> bool:
        """Everything once → whether the next look is due at once."""
        await self._look_at_gap()
        groups = self._groups_due()
        wanted, (events, found, last_id) = await self._events_and_tasks(groups)
        if last_id < self._settled.last_id:
            await self._begin_anew()
        elif not self._settled.is_beginning:
            self._hub.feed.follow(self._settled.take(events), self._settled.last_id)
        for group, count in found:
            self._hub.waiting.wake_group(group, count)
        if self._has_failed:
            self._has_failed = False
            self._hub.feed.doubt()
        await self._say_that_it_runs()
        return self._settled.is_at_gap or len(events) == wanted.limit

    async def _begin_anew(self) -> None:
        """Unless no event is gone, and only the counter of places is behind: the next event puts that right."""
        newest_id = await self._newest_id()
        if newest_id >= self._settled.last_id:
            return
        lost = f"it ends at {newest_id}, and this hub has read it up to {self._settled.last_id}"
        self._settled = Settled(newest_id)
        self._hub.feed.begin_anew()
        said = f"Part of the event log is gone: {lost}. Was an older copy of the store put in its place?"
        self._hub.log.emit("critical", "Hub", said)

    async def _events_and_tasks(self, groups: list[tuple[Group, int]]) -> tuple[EventFilter, _Seen]:
        """The events behind the position, and the tasks for each group.

        A reader that has begun to follow while only names were read is shown them whole.
        """
        while True:
            wanted = self._wanted()
            seen: _Seen = await self._read(partial(_seen, wanted, groups))
            if self._wanted() == wanted or not wanted.names_only:
                return wanted, seen

    def _wanted(self) -> EventFilter:
        after_id = self._settled.last_id or -1
        if self._hub.feed.is_read:
            return EventFilter(after_id=after_id, limit=EVENTS_A_LOOK)
        return EventFilter(after_id=after_id, limit=NAMES_A_LOOK, names_only=True)

    def _groups_due(self) -> list[tuple[Group, int]]:
        now = self._loop.time()
        if now < self._tasks_due_at:
            return []
        self._tasks_due_at = now + LOOK_EVERY_S * DUE_PART
        return self._hub.waiting.groups(GROUPS_A_LOOK)

    async def _look_at_gap(self) -> None:
        if self._settled.wants_open:
            self._settled.note_open(await self._read(lambda reader: reader.open_batches()))
        if self._settled.is_at_gap:
            self._settled.let_go(await self._read(lambda reader: reader.open_batches()))

    async def _say_that_it_runs(self) -> None:
        mono = self._hub.clock.mono_ms()
        if mono - self._seen_mono >= SEEN_EVERY_MS:
            await self._look_at_version()
            if not await self._decide(SeeHub(self._start_id)):  # an older copy of the store does not know this hub
                await self._decide(self._start)
            await self._look_for_namesakes()
            self._seen_mono = mono

    async def _look_for_namesakes(self) -> None:
        """Say once that another hub has this one's name: whose calls of takeover are whose is known by it."""
        seen: list[Deployment] = await self._read(_hubs_seen(self._hub.clock))
        before = self._namesakes
        self._namesakes = {
            row.version_id: row.seen_at
            for row in seen
            if row.name == self._start.name and row.version_id != self._start_id
        }
        runs = any(before.get(start_id, at) < at for start_id, at in self._namesakes.items())  # not an earlier life
        if runs and not self._has_namesake:
            self._has_namesake = True
            said = "each of them cuts the calls of takeover of the other when it starts: set UNDERSTUDY_HUB_NAME"
            self._hub.log.emit("critical", "Hub", f"Another hub that runs is named {self._start.name} too; {said}")

    async def _look_at_version(self) -> None:
        """A hub of another version may have changed the schema, or somebody has restored an older copy."""
        if self._is_misfit or not isinstance(self._store, Versioned):
            return
        if why := await self._loop.run_in_executor(None, self._store.misfit):
            self._is_misfit = True
            self._on_misfit(why)


def _hubs_seen(clock: Clock) -> Callable[[Reader], list[Deployment]]:
    return lambda reader: reader.find(HUBS_SEEN, *lately(reader.now_ms(clock)), limit=HUBS_A_LOOK)


_Seen = tuple[list[StoredEvent], list[tuple[Group, int]], int]


def _seen(wanted: EventFilter, groups: list[tuple[Group, int]], reader: Reader) -> _Seen:
    """The events, the tasks for each group, and how far the log goes, if not further than these events."""
    events = reader.list_events(wanted)
    tasks = [(group, _tasks_for(reader, group, most)) for group, most in groups]
    return events, tasks, events[-1].id if events else reader.last_event_id()


def _tasks_for(reader: Reader, group: Group, most: int) -> int:
    """The number of claimable tasks for a group, counted up to those who wait."""
    provides, names = group
    count = len(reader.claimable(provides, most))
    return min(count + len(reader.reserved({group: most})), most) if names else count
