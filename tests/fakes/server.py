"""What every fake service has in common: a real HTTP server on loopback that records, judges and misbehaves.

    with FakeSlack(token="xoxb-1") as fake:
        fake.plan([503, Step(429, retry_after_s=2), "hang"])   # for the next three requests; then it behaves again
        fake.always(503)                                       # down until `fake.always(None)`
        fake.wait_for(2)                                       # the first two requests, or AssertionError in 10 s
        assert fake.problems == []                             # nothing came that the real service would refuse

Manners: `hang` (no answer until the fake closes), `cut` (the connection ends without an answer), `half` (it ends in
the middle of the body), `slow` (an answer in drops, `seconds` long). `fake.off()` and `fake.on()`: connection
refused, then back on the same port. A fake knows more words of its own service (`"credit"`, `"not_found"`...).
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.ports import free_port
from tests.waiting import eventually

BODY_SIZE_BYTES_MAX = 4 << 20
MANNERS = ("hang", "cut", "half", "slow")


@dataclass(frozen=True)
class Step:
    """What to do with one request: answer with `status`, in a certain manner, or with an error named by the service."""

    status: int = 200
    word: str = ""  # a manner, or one of the service's own words
    retry_after_s: float | None = None
    seconds: float = 1.0  # how long a slow answer takes


@dataclass(frozen=True)
class Received:
    """One request as it came; `at` is monotonic seconds."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    body: bytes
    at: float
    step: Step

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What a fake says; `body` is bytes or anything that becomes JSON."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def raw(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Wrong(Exception):  # noqa: N818 (what a fake says to a request that its real service would refuse)
    """Raised while judging; `answer` is what the real service would say."""

    def __init__(self, problem: str, answer: Answer) -> None:
        super().__init__(problem)
        self.answer = answer


def step_of(short: Step | int | str) -> Step:
    """`503`, `"hang"` and `Step(429, retry_after_s=2)` are all steps."""
    if isinstance(short, Step):
        return short
    return Step(status=short) if isinstance(short, int) else Step(word=short)


class FakeServer:
    """One fake service. A subclass says what it answers (`judge`, `answer`) and how its errors look (`refusal`)."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.problems: list[str] = []
        self.lock = threading.RLock()
        self._plan: list[Step] = []
        self._always: Step | None = None
        self._closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._port = 0
        self._server: _Server | None = None

    @property
    def handler(self) -> type[BaseRequestHandler]:
        """What speaks on a connection."""
        return HttpHandler

    # ---- what a service is ----------------------------------------------------------------------
    def judge(self, request: Received) -> None:
        """Raise Wrong if the real service would refuse it; called also when another answer is planned."""

    def answer(self, request: Received) -> Answer:
        """What the service says to a request that was judged; it may block, and may still raise Wrong."""
        return Answer(body={"ok": True})

    def refusal(self, step: Step) -> Answer:
        """How this service words the planned `step`, which is no success."""
        return Answer(step.status, {"error": step.word or step.status}, retry_after(step))

    # ---- what a test does with it ---------------------------------------------------------------
    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def plan(self, steps: Iterable[Step | int | str]) -> None:
        """One step for each of the next requests, after those planned before."""
        with self.lock:
            self._plan.extend(step_of(step) for step in steps)

    def always(self, step: Step | int | str | None) -> None:
        """The same step for every request that has none planned; None: it behaves again."""
        with self.lock:
            self._always = None if step is None else step_of(step)

    def wait_for(self, count: int, within_s: float = 10.0) -> list[Received]:
        """The first `count` requests; AssertionError if they do not come in time."""
        eventually(lambda: len(self.received) >= count, within_s=within_s, what=f"{count} requests")
        return self.received[:count]

    def on(self) -> None:
        """Listen, on the same port as before."""
        assert self._server is None
        self._closing.clear()
        self._port = self._port or free_port()
        server = _Server(("127.0.0.1", self._port), type("Handler", (self.handler,), {"owner": self}))
        server.owner = self
        self._port = server.server_address[1]
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="fake", daemon=True)
        self._thread.start()

    def off(self) -> None:
        """Refuse connections and cut the open ones, like a service that has died."""
        server, self._server = self._server, None
        if server is None:
            return
        self._closing.set()
        server.shutdown()
        with self.lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        self.on()
        return self

    def __exit__(self, *_: object) -> None:
        self.off()

    # ---- inside ---------------------------------------------------------------------------------
    def take(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[Step, Answer]:
        """Record a request, judge it whatever is planned, and say what becomes of it."""
        at = time.monotonic()
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True)
        with self.lock:
            step = self._plan.pop(0) if self._plan else self._always or Step()
            request = Received(method, parts.path, query, headers, body, at, step)
            try:
                self.judge(request)
                wrong = None
            except Wrong as error:
                wrong = self._noted(request, error)
            self.received.append(request)
        return step, wrong or self._said(request)

    def _said(self, request: Received) -> Answer:
        if not self.is_success(request.step):
            return self.refusal(request.step)
        try:
            return self.answer(request)
        except Wrong as error:
            return self._noted(request, error)

    def _noted(self, request: Received, wrong: Wrong) -> Answer:
        self.problems.append(f"{request.method} {request.path}: {wrong}")
        return wrong.answer

    def is_success(self, step: Step) -> bool:
        """Whether the service does what it is asked, however its answer travels."""
        return step.status < 400 and step.word in {"", *MANNERS}

    def hold(self, seconds: float) -> bool:
        """Wait, but not beyond the end of the fake; True if it has ended."""
        return self._closing.wait(seconds)


def retry_after(step: Step) -> dict[str, str]:
    """The header that says when to come back, if the step says so; whole seconds as most services write it."""
    return {} if step.retry_after_s is None else {"retry-after": f"{step.retry_after_s:g}"}


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128
    owner: FakeServer

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self.owner.lock:
            self.owner._connections.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self.owner.lock:
                self.owner._connections.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no fault of anybody; anything else is one of the fake and fails the test."""
        error = traceback.format_exc()
        if not isinstance(sys.exception(), (ConnectionError, ssl.SSLError)):
            self.owner.problems.append(error)


class HttpHandler(BaseHTTPRequestHandler):
    owner: FakeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None: ...

    def _exchange(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if length > BODY_SIZE_BYTES_MAX:
            self._write(Answer(413), Step())
            self.close_connection = True
            return
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        step, answer = self.owner.take(self.command, self.path, headers, body)
        if step.word == "hang":
            self.owner.hold(3600)
        if step.word in {"hang", "cut"}:
            self.close_connection = True
        else:
            self._write(answer, step)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _exchange  # noqa: N815

    def _write(self, answer: Answer, step: Step) -> None:
        raw = answer.raw
        kind = "application/json" if not isinstance(answer.body, bytes) else "text/plain; charset=utf-8"
        headers = {"content-type": kind, "content-length": str(len(raw))} | answer.headers
        lines = [f"HTTP/1.1 {answer.status} {self.responses.get(answer.status, ('',))[0]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        if step.word == "half":
            self.wfile.write(head + raw[: len(raw) // 2])
            self.close_connection = True
        elif step.word == "slow":
            self._drip(head + raw, step.seconds)
        else:
            self.wfile.write(head + raw)

    def _drip(self, whole: bytes, seconds: float) -> None:
        """A fiftieth at a time: each drop comes well before a client's timeout for one read."""
        size = max(1, len(whole) // 50)
        drops = [whole[at : at + size] for at in range(0, len(whole), size)]
        for drop in drops:
            if self.owner.hold(seconds / len(drops)):
                break
            self.wfile.write(drop)
