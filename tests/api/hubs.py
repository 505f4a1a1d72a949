"""Hubs for the contract's tests: a real server on a real socket, in this process, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import cache, partial
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from starlette import routing

from tests.api.wire import ADMIN, NOTHING, OWNER, Answer, Client
from tests.hearing import LISTENED, heard_meanwhile
from tests.stores import new_store
from understudy.api.auth import Keys, RateLimit
from understudy.api.connections import Connections
from understudy.api.context import Api
from understudy.api.protocol import LimitedProtocol
from understudy.clock import Clock, ManualClock
from understudy.config.policy import HubInputs
from understudy.config.shown import SettingShown
from understudy.config.table import Settings
from understudy.coordinator.nouns import Policy
from understudy.errors import StoreError
from understudy.hub.alarm_loop import LISTEN_EVERY_MS, LOOK_EVERY_MS
from understudy.ids import IdMaker
from understudy.log import Log
from understudy.notify.base import ChannelSettings
from understudy.runtime.hub.runtime import HubRuntime
from understudy.runtime.hub.server import server_of
from understudy.runtime.stepper import RETRY_MS_FIRST
from understudy.store.base import Store
from understudy.store.sqlite import SqliteStore

T = TypeVar("T")
ENVIRONMENT = {"UNDERSTUDY_API_KEY": OWNER, "ADMIN_API_KEY": ADMIN}
UNHARMED = ("is_shared", "commit", "confirm", "close", "listen", "signal")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

# Each hub compiles the same hundred paths, and a session has thousands of hubs.
routing.compile_path = cache(routing.compile_path)


class LoopThread:
    """One event loop for all hubs of a session: starting a thread a test would cost more than the test."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="hubs", daemon=True)
        self._thread.start()

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.begin(work).result(120)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(60)
        self.loop.close()


class KeptStore:
    """A store that outlives the hubs on it."""

    def __init__(self) -> None:
        self._store = new_store()
        self._lock = threading.Lock()  # the thread of the hubs closes it, or that of the test
        self._hubs = 0
        self._is_over = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def opened(self) -> None:
        """One more hub works on it."""
        with self._lock:
            self._hubs += 1

    def close(self) -> None:
        """Not yet: the next hub goes on with it."""
        with self._lock:
            self._hubs -= 1
            self._close_if_over()

    def close_for_good(self) -> None:
        """Once the last hub on it has ended."""
        with self._lock:
            self._is_over = True
            self._close_if_over()

    def _close_if_over(self) -> None:
        if self._is_over and not self._hubs:
            self._store.close()


class SharedSqlite:
    """A store in memory that several hubs use at once, without hints: each looks by itself."""

    is_shared = True

    def __init__(self) -> None:
        self._store = SqliteStore(None)
        self._writing = threading.Lock()
        self.read = self._store.read

    def transaction(self, fn: Any, *, alone: bool = True) -> Any:
        with self._writing:
            return self._store.transaction(fn, alone=alone)

    def close(self) -> None:
        """The others go on with it."""


class SignallingSqlite(SharedSqlite):
    """The same with hints, as a database carries them: to all who listen, the sender included."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners: list[Callable[[str], None]] = []
        self.sent: list[str] = []

    def signal(self, payload: str) -> None:
        self.sent.append(payload)
        for listener in tuple(self._listeners):
            listener(payload)

    def listen(self, on_signal: Callable[[str], None]) -> Callable[[], None]:
        self._listeners.append(on_signal)
        return lambda: self._listeners.remove(on_signal)


class FailingStore:
    """A store that fails while `is_failing`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_failing = False

    def __getattr__(self, name: str) -> Any:
        own = getattr(self._store, name)
        return own if name in UNHARMED else partial(self._unless_failing, own)

    def _unless_failing(self, own: Callable[..., Any], *args: Any, **more: Any) -> Any:
        if self.is_failing:
            raise StoreError("Store unavailable: disk I/O error at /secret/path")
        return own(*args, **more)


def set_failing(hub: Hub, *, is_failing: bool) -> None:
    """Let the store of a hub fail, or let it be well again."""
    assert isinstance(hub.store, FailingStore)
    hub.store.is_failing = is_failing


class Hub:
    """A running hub and a client of it. Time passes only in `advance`, which rings the alarm when it would ring."""

    def __init__(
        self,
        thread: LoopThread,
        *,
        clock: ManualClock | None = None,
        path: Path | None = None,
        store: Store | None = None,
        wrap: Callable[[Store], Store] = lambda store: store,
        policy: Policy | None = None,
        keys: dict[str, str] | None = None,
        per_s: float = 200,
        burst: float = 1_000_000,
        publishes_docs: bool = True,
        port: int = 0,
        settings: Settings | None = None,
        shown: tuple[SettingShown, ...] = (),
        name: str = "",
        channels: tuple[ChannelSettings, ...] = (),
        protocol: type[LimitedProtocol] | None = None,
    ) -> None:
        self.thread = thread
        self.protocol = protocol
        self.name = (name,) if name else ()
        self.clock = clock or ManualClock()
        self.store = wrap(store or new_store(path))
        if isinstance(store, KeptStore):
            store.opened()
        self.log = StringIO()
        self._ids = (f"t{n}" for n in count(1))
        self._seqs = count(1)
        self._clients: list[Client] = []
        self._stopped = asyncio.Event()
        self.is_stopped = False
        ticking: Clock = self.clock
        chosen = ENVIRONMENT if keys is None else keys
        given = HubInputs(policy=policy or Policy(), environment_keys=chosen, channels=channels)
        log = Log(ticking, self.log, level="debug")
        self.runtime = self._make_runtime(ticking, log, given)
        listener = socket.create_server(("127.0.0.1", port), backlog=256)
        listener.setblocking(False)
        self.port: int = listener.getsockname()[1]
        limit = RateLimit(ticking, per_s, burst)
        self.settings = settings or Settings()
        self.shown = shown
        self._serving = thread.run(self._start(listener, Keys(chosen), limit, publishes_docs=publishes_docs))
        self.client = self.new_client()
        self._ring()  # as its thread does at the start: from here on the alarm sleeps until it is woken

    def _make_runtime(self, clock: Clock, log: Log, given: HubInputs) -> HubRuntime:
        """The host that is tested here; another one is tested by a class below this one."""
        made = HubRuntime(self.store, clock, IdMaker(clock), log, "9.9.9", given)
        made.alarm_loop.start = lambda: None  # type: ignore[method-assign]  # `advance` steps it
        return made

    async def _start(
        self, listener: socket.socket, keys: Keys, limit: RateLimit, *, publishes_docs: bool
    ) -> asyncio.Task[None]:
        api = Api(self.runtime, keys, limit, publishes_docs=publishes_docs)
        self.answered = api.requests.copy
        server = server_of(api, settings=self.settings, shown=self.shown, protocol=self.protocol)
        self.crowd: Connections = server.config.http.args[0]  # type: ignore[union-attr]
        server.main_loop = self._stopped.wait  # type: ignore[method-assign,assignment]  # at once, not at a tick
        await self.runtime.start("fingerprint", "host-of-the-tests", *self.name)
        await api.load_keys()
        return asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))

    def connections(self) -> int:
        """How many are open, of whomever."""
        return len(self.crowd)

    def begin_stop(self) -> Future[None]:
        """Stop in the background; the future says when it is done."""
        self.is_stopped = True
        for client in self._clients:
            client.close()
        return self.thread.begin(self._stop())

    async def _stop(self) -> None:
        self.runtime.release_waiters()
        self._stopped.set()
        await self._serving
        await self.runtime.stop()

    # ---- time

    def advance(self, ms: int) -> None:
        """Let time pass as it does: the alarm sleeps as long as it says, and is woken when it would be.

        Seconds in which nothing is due are passed over (tests/hearing.py).
        """
        end, listened = self.clock.mono_ms() + ms, 0
        while (left := end - self.clock.mono_ms()) > 0:
            pause_ms = self._ring()
            listened = listened + 1 if pause_ms == LISTEN_EVERY_MS else 0
            if listened > LISTENED and left > pause_ms:
                pause_ms, listened = self._heard_meanwhile(left), 0
            self.clock.advance(min(left, max(pause_ms, 1)))
        self._ring()

    def _heard_meanwhile(self, most_ms: int) -> int:
        alarm, mono = self.runtime.alarm, self.clock.mono_ms()
        own = (alarm._next_mono, alarm._announced_mono, alarm._minute_mono + LOOK_EVERY_MS, alarm._purge_mono)
        try:
            return heard_meanwhile(self.store, self.clock, max(0, min(most_ms, *(at - mono for at in own))))
        except StoreError:
            return LISTEN_EVERY_MS

    def _ring(self) -> int:
        """One step of the alarm as its thread takes it: ms until the next."""
        try:
            return self.runtime.alarm_loop.perform(self.runtime.alarm.step())
        except StoreError:
            return RETRY_MS_FIRST

    def freeze(self, ms: int) -> None:
        """Let time pass while the hub's process stands still (SIGSTOP), then go on."""
        self.clock.advance(ms)
        self._ring()

    def jump(self, ms: int) -> None:
        """Move the wall clock only."""
        self.clock.jump(ms)
        self._ring()

    @property
    def now(self) -> int:
        return self.clock.now_ms()

    # ---- requests

    def new_client(self, key: str | None = OWNER) -> Client:
        client = Client(self.port, key=key)
        self._clients.append(client)
        return client

    def get(self, path: str, **more: Any) -> Answer:
        return self.client.get(path, **more)

    def post(self, path: str, body: Any = NOTHING, **more: Any) -> Answer:
        return self.client.post(path, body, **more)

    def put(self, path: str, body: Any = NOTHING, **more: Any) -> Answer:
        return self.client.put(path, body, **more)

    def delete(self, path: str, **more: Any) -> Answer:
        return self.client.delete(path, **more)

    def enqueue(self, task_id: str = "", **fields: Any) -> str:
        """A new task; its id."""
        task_id = task_id or next(self._ids)
        body = {"id": task_id, "content": f"do {task_id}", **fields}
        assert self.post("/api/queue", body).of(201)["created"] is True
        return task_id

    def claim(self, worker_id: str = "w", **fields: Any) -> Any:
        """A claim by the old way, unless `fields` has any new key; its whole answer."""
        return self.post("/api/queue/claim", {"workerId": worker_id, **fields}).of(200)

    def lease(self, worker_id: str = "w", **fields: Any) -> Any:
        """A claim that must be granted: its lease, token-aware unless told otherwise."""
        answer = self.claim(worker_id, **({"provides": ["machine"]} | fields))
        assert answer["success"] is True, answer
        return answer["lease"] | {"taskId": answer["taskId"]}

    def beat(self, daemon_id: str = "mini", boot: str = "b1", machine: str = "m1", **fields: Any) -> Answer:
        """A heartbeat of a daemon of section 3."""
        body = {"daemonId": daemon_id, "bootId": boot, "machineId": machine, "seq": next(self._seqs), **fields}
        return self.post("/api/queue/heartbeat", body)

    def daemon_lease(self, daemon_id: str = "mini", boot: str = "b1", **fields: Any) -> Any:
        """A lease of a daemon that has sent its first heartbeat."""
        return self.lease(daemon_id, daemonId=daemon_id, bootId=boot, **fields)

    def result(self, task_id: str, **body: Any) -> Answer:
        return self.post(f"/api/result/{task_id}", body)

    def result_of(self, task_id: str, body: Any) -> Answer:
        """A result with exactly this body."""
        return self.post(f"/api/result/{task_id}", body)

    def task(self, task_id: str) -> Any:
        """The whole record."""
        return self.get(f"/api/tasks/{task_id}").of(200)

    def pending(self) -> list[str]:
        pending: list[str] = self.get("/api/queue").of(200)["pending"]
        return pending

    def daemon(self, daemon_id: str) -> Any:
        return self.get(f"/api/daemons/{daemon_id}").of(200)

    def events(self, *names: str, **query: Any) -> list[Any]:
        """Stored events of these names, oldest first."""
        asked = "&".join(f"{name}={value}" for name, value in ({"limit": 1000} | query).items())
        events: list[Any] = self.get(f"/api/events?{asked}").of(200)["events"]
        return [event for event in events if event["name"] in names]

    def incidents(self) -> list[Any]:
        incidents: list[Any] = self.get("/api/incidents").of(200)["incidents"]
        return incidents
