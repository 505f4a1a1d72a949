"""A hub as a process: store, runtime and HTTP server, from settings to the last commit."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import uvicorn
import uvloop

import understudy
from understudy.addresses import bracketed
from understudy.api.app import HotPaths
from understudy.api.connections import Connections
from understudy.api.context import Api
from understudy.api.past_asgi import protocol_beside
from understudy.api.protocol import LimitedProtocol
from understudy.clock import SystemClock
from understudy.config.policy import HubInputs, fingerprint_of, hub_drain_s
from understudy.config.shown import SettingShown
from understudy.config.table import Settings
from understudy.ids import IdMaker
from understudy.line_queue import queue_streams
from understudy.log import Log
from understudy.log_file import log_places
from understudy.private import make_directory
from understudy.redact import Redactor
from understudy.runtime.hub.ending import Ending
from understudy.runtime.hub.late_pages import LatePages
from understudy.runtime.hub.listening import HubServer, listen
from understudy.runtime.hub.memory import can_give_back, give_back_free_pages, give_back_large_blocks
from understudy.runtime.hub.runtime import HubRuntime
from understudy.runtime.lock import hub_locks
from understudy.runtime.served import api_of
from understudy.runtime.signals import heeded
from understudy.runtime.stepper import Stepper
from understudy.runtime.supervisor import Watchdog, more_time
from understudy.store.base import Store
from understudy.store.copying import refuse_unfinished
from understudy.store.opening import file_of, open_store

STOP_WITHIN_S = 5
TURN_WITHIN_S = 5.0
FILES_WANTED = 16_384
FILES_KEPT = 128  # for the store, logs and readers
CONNECTIONS_MAX = 12_000  # three times the waiting polls and streams that are allowed
KEEP_ALIVE_S = 75  # longer than the distance of two beats, so that a daemon keeps its connection
SWITCH_INTERVAL_S = 0.001  # readers, heavy batches and the loop share one interpreter: short turns for all


def serve(given: HubInputs, is_ours: Callable[[], None] = lambda: None) -> int:
    """Serve until SIGTERM or SIGINT; 0 once everything acknowledged is on disk. UnderstudyError if it cannot.

    1 where the hub has ended by itself, because its store is another version's.

    `is_ours` is called once the data directory, the store and the port belong to this hub.
    """
    queue_streams("stderr")
    connections_max = _raise_file_limit()
    os.umask(0o077)  # tasks, memory and logs are nobody else's
    make_directory(given.data_dir)
    with hub_locks(given.data_dir, file_of(given.settings.store, given.data_dir)):
        listener = listen(given.settings.host, given.settings.port)
        is_ours()
        with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(given, listener, connections_max))


def url_of(host: str, port: int) -> str:
    """The address as a URL."""
    return f"http://{bracketed(host)}:{port}"


def _raise_file_limit() -> int:
    """Ask for as many open files as thousands of waiting polls need; how many connections that allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, soft - FILES_KEPT)


def server_of(
    api: Api,
    connections_max: int = CONNECTIONS_MAX,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    shown: tuple[SettingShown, ...] = (),
    protocol: type[LimitedProtocol] | None = None,
) -> HubServer:
    """The HTTP server of a hub; who runs it handles the signals. It keeps at most `connections_max` connections.

    `protocol` is for tests: `LimitedProtocol` answers everything by ASGI.
    """
    crowd = Connections(connections_max, api.hub.missed_a_sign)
    chosen = protocol or protocol_beside(uvicorn.__version__)
    return HubServer(
        crowd,
        uvicorn.Config(
            HotPaths(api, LatePages(api, settings, shown)),
            interface="asgi3",
            http=partial(chosen, crowd),  # type: ignore[arg-type]  # it is only called
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # else a client on this machine chooses the address that wrong keys count against
            timeout_graceful_shutdown=STOP_WITHIN_S,
            timeout_keep_alive=KEEP_ALIVE_S,
        ),
    )


async def _serve(given: HubInputs, listener: socket.socket, connections_max: int) -> int:
    settings, clock = given.settings, SystemClock()
    places = log_places(settings.log_dir, "hub", is_on_stderr=settings.log_stderr)
    redactor = Redactor(given.secrets)
    log = Log(clock, level=settings.log_level, form=settings.log_form, redactor=redactor, **places)
    with more_time(os.environ, clock):  # a migration of many GiB takes minutes
        store = open_store(
            settings.store,
            settings.store_password,
            given.data_dir,
            clock,
            before_commit=_fail_point(given.fail_point_file),
            note=lambda sentence: log.emit("warning", "Store", sentence),
        )
        refuse_unfinished(store)
    hub = HubRuntime(store, clock, IdMaker(clock), log, understudy.__version__, given)
    api = api_of(hub, given)
    server = server_of(api, connections_max, settings, given.shown)
    await hub.start(fingerprint_of(given), socket.gethostname(), _name_of(settings, store, listener))
    await api.load_keys()
    loop = asyncio.get_running_loop()

    watchdog = Watchdog(os.environ, lambda: _turns(loop) and hub.is_turning(), clock)

    ending = Ending(hub, server, watchdog, log, hub_drain_s(settings))
    for number in heeded((signal.SIGTERM, signal.SIGINT)):
        loop.add_signal_handler(number, ending.signalled)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    give_back_large_blocks()
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)  # measured: no dearer than 50,000 on a frozen heap, and rings go sooner
    host, port = listener.getsockname()[:2]
    log.emit("info", "Hub", f"Listening on {url_of(host, port)}", version=understudy.__version__, hub=hub.name)
    watchdog.ready()
    hub.end_by(ending.begin)
    memory = Stepper("memory", give_back_free_pages, clock, lambda _: None)
    if can_give_back():
        with suppress(RuntimeError):  # a machine that has no thread to give
            memory.start()
    try:
        await server.serve(sockets=[listener])
    finally:
        memory.stop()
        watchdog.close()
        await hub.stop()
        log.emit("info", "Hub", "Stopped")
    return int(hub.is_misfit)


def _name_of(settings: Settings, store: Store, listener: socket.socket) -> str:
    """The name of this hub; of several hubs on one machine each has a port of its own."""
    host = socket.gethostname()
    return settings.hub_name or (f"{host}:{listener.getsockname()[1]}" if store.is_shared else host)


def _turns(loop: asyncio.AbstractEventLoop) -> bool:
    """True if the event loop gets to new work; asked from the watchdog's thread."""
    turned = threading.Event()
    with suppress(RuntimeError):  # it is closed: the end has come
        loop.call_soon_threadsafe(turned.set)
    return turned.wait(TURN_WITHIN_S)


def _fail_point(path: str) -> Callable[[], None] | None:
    """For crash tests: wait before COMMIT as long as the file exists, so that a kill can land there."""
    if not path:
        return None

    def pause() -> None:
        while Path(path).exists():
            time.sleep(0.005)

    return pause
