"""Follows a hub's live events as any client would, and notes when each arrived."""

from __future__ import annotations

import http.client
import threading
import time
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import Struct

from bench.processes import KEY, Hub


class Heard(Struct, frozen=True):
    """One event; instants in ms since the epoch, all of this machine's clock."""

    name: str
    fields: dict[str, Any]
    at: float  # when it was decided
    received_at: float

    @property
    def deadline_at(self) -> float:
        """The deadline that it tells of."""
        return instant_ms(self.fields["deadlineAt"])


def instant_ms(text: str) -> float:
    """ISO 8601 to ms since the epoch."""
    return datetime.fromisoformat(text).timestamp() * 1000


class Listener(threading.Thread):
    """A stream of events that is taken up again where it broke, as browsers do."""

    def __init__(self, hub: Hub, search: str) -> None:
        super().__init__(daemon=True, name="listener")
        self._hub = hub
        self._path = f"/api/events?follow=1&search={search}"
        self._last_id = ""
        self._stopped = threading.Event()
        self._open = threading.Event()
        self.heard: list[Heard] = []
        self.resumed = -1

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._follow()
            except (OSError, http.client.HTTPException):
                self._stopped.wait(0.05)

    def _follow(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._hub.port, timeout=2)
        headers = {"X-API-Key": KEY} | ({"Last-Event-ID": self._last_id} if self._last_id else {})
        connection.request("GET", self._path, headers=headers)
        answer = connection.getresponse()
        self._open.set()
        self.resumed += 1
        try:
            while not self._stopped.is_set():
                try:
                    line = answer.readline()
                except TimeoutError:
                    if answer.isclosed() or answer.fp is None:
                        return
                    continue
                if not line:
                    return
                self._line(line)
        finally:
            connection.close()

    def _line(self, line: bytes) -> None:
        if line.startswith(b"id: "):
            self._last_id = line[4:].strip().decode()
        elif line.startswith(b"data: "):
            received_at = time.time() * 1000
            event = msgspec.json.decode(line[6:])
            self.heard.append(Heard(event["name"], event["fields"], instant_ms(event["at"]), received_at))

    def named(self, name: str) -> list[Heard]:
        """What was heard under a name."""
        return [heard for heard in tuple(self.heard) if heard.name == name]

    def __enter__(self) -> Self:
        self.start()
        if not self._open.wait(10):
            raise RuntimeError("the event stream did not open")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self.join(5)
