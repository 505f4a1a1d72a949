"""The two threads of `status --watch`: one follows the event stream, one reads the state when it is asked to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from queue import Empty, Queue
from typing import Any

from understudy.cli.client import HubClient
from understudy.cli.exits import RejectedError, UnreachableError
from understudy.cli.tail import follow
from understudy.cli.watch.scene import HubSnapshot, SceneUpdate

HEARD_MAX = 10_000  # beyond it the stream waits, and the hub ends it: it is resumed
COALESCE_S = 0.3  # events that come together are one look
SHARE = 3  # between two looks the pause is at least so many times as long as a look takes: a big hub has other work
AGAIN_S = 2.0  # after a look that failed
ALL_EVENTS = {"level": "debug", "limit": 1}  # heartbeats too: they are live only


class Threads:
    """Both threads, and the queue of all that they bring; they end with the process."""

    def __init__(self, stream: HubClient, read: Callable[[], HubSnapshot]) -> None:
        self._heard: Queue[SceneUpdate] = Queue(HEARD_MAX)
        self._is_asked = threading.Event()
        self._stream = stream
        self._read = read
        for name, run in (("stream", self._follow), ("look", self._look)):
            threading.Thread(target=run, name=name, daemon=True).start()

    def ask(self) -> None:
        """Read the state once more."""
        self._is_asked.set()

    def heard(self, within_s: float) -> list[SceneUpdate]:
        """All that has come, at the latest after a while."""
        found: list[SceneUpdate] = []
        try:
            found.append(self._heard.get(timeout=within_s))
            while len(found) < HEARD_MAX:
                found.append(self._heard.get_nowait())
        except Empty:
            return found
        return found

    def _put(self, kind: str, value: Any = None) -> None:
        self._heard.put(SceneUpdate(kind, value))

    def _follow(self) -> None:
        try:
            events = follow(
                self._stream,
                ALL_EVENTS,
                away=partial(self._put, "away"),
                back=partial(self._put, "connected"),
                alive=partial(self._put, "alive"),
            )
            for event in events:
                self._put("event", event)
        except Exception as error:  # noqa: BLE001 - it ends the command, on its own thread
            self._put("error", error)

    def _look(self) -> None:
        took_s = 0.0
        while True:
            self._is_asked.wait()
            time.sleep(max(COALESCE_S, SHARE * took_s))
            self._is_asked.clear()
            began_s = time.monotonic()
            try:
                self._put("look", self._read())
                took_s = time.monotonic() - began_s
            except (UnreachableError, RejectedError) as error:
                self._put("failed", error.message)
                time.sleep(AGAIN_S)
                self._is_asked.set()
            except Exception as error:  # noqa: BLE001 - it ends the command, on its own thread
                self._put("error", error)
                return
