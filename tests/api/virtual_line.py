"""A connection of the hub without socket and event loop: a test says what comes in, what is read, and when."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from understudy.api.connections import Connections
from understudy.api.protocol import LimitedProtocol


class Due:
    """Something that happens at an instant, unless it is cancelled."""

    def __init__(self, at_s: float, act: Callable[[], None]) -> None:
        self.at_s, self.act = at_s, act
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class VirtualLoop:
    """As much of an event loop as a protocol uses; its time stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._due: list[Due] = []

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, act: Callable[..., None], *arguments: Any) -> Due:
        self._due.append(Due(self.now_s + delay_s, lambda: act(*arguments)))
        return self._due[-1]

    def call_soon(self, act: Callable[..., None], *arguments: Any) -> Due:
        return self.call_later(0, act, *arguments)

    def create_task(self, work: Coroutine[Any, Any, None]) -> Any:
        """Nobody answers: only the connection is looked at."""
        work.close()
        return type("Task", (), {"add_done_callback": lambda *_: None})()

    @property
    def due(self) -> int:
        """How much waits for its time."""
        return sum(not due.is_cancelled for due in self._due)

    def pass_time(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while due := min((d for d in self._due if not d.is_cancelled), key=lambda d: d.at_s, default=None):
            if due.at_s > end_s:
                break
            self._due.remove(due)
            self.now_s = due.at_s
            due.act()
        self.now_s = end_s


class VirtualTransport:
    """Where bytes go out; `unread_bytes` of them wait for whoever should read them."""

    def __init__(self) -> None:
        self.unread_bytes = 0
        self.is_half_closed = False
        self.ended = ""
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_extra_info(self, name: str) -> Any:
        return ("10.0.0.1", 5) if name in ("peername", "sockname") else None

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def write_eof(self) -> None:
        self.is_half_closed = True

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "dropped"

    def pause_reading(self) -> None:
        """It is the protocol that says so."""

    def resume_reading(self) -> None:
        """Again."""


async def _nobody(_: Any, __: Any, ___: Any) -> None:
    """The application: tasks are never begun here."""


class VirtualLine:
    """One connection of a hub."""

    def __init__(self, protocol: type[LimitedProtocol] = LimitedProtocol, app: Any = _nobody) -> None:
        self.loop, self.transport = VirtualLoop(), VirtualTransport()
        config = Config(app, interface="asgi3", ws="none", lifespan="off", log_config=None, proxy_headers=False)
        state: Any = ServerState()
        loop: Any = self.loop
        self.crowd = Connections(100)
        self.protocol = protocol(self.crowd, config=config, server_state=state, app_state={}, _loop=loop)
        self.protocol.connection_made(self.transport)

    @property
    def ended(self) -> str:
        """How the hub ended it: "closed", what was answered may be read; "dropped"; "" if it did not."""
        return self.transport.ended

    def send(self, data: bytes) -> None:
        """It comes in; of a body it is taken at once."""
        self.protocol.data_received(data)
        if isinstance(cycle := self.protocol.cycle, RequestResponseCycle):
            cycle.body = bytearray()
            self.protocol.flow.resume_reading()

    def answer(self) -> None:
        """The newest request gets its answer, as by ASGI."""
        cycle = self.protocol.cycle
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    def leave_unread(self, size: int) -> None:
        """Something is asked, and so much of the answer waits to be read: more than the transport likes."""
        self.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        self.transport.unread_bytes = size
        self.protocol.pause_writing()

    def read(self, size: int) -> None:
        """Somebody reads so much of it."""
        self.transport.unread_bytes -= size
