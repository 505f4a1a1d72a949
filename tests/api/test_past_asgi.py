"""Requests that are answered past ASGI: the same answers, limits and deadlines, and what this stands on (ADR 17)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, ClassVar, NamedTuple

import httptools
import pytest
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl

from tests.api.hubs import Hub, LoopThread
from tests.api.raw_line import RawLine
from tests.api.virtual_line import VirtualLine
from tests.api.wire import ADMIN, OWNER
from tests.project.tree import ROOT
from understudy.api import past_asgi
from understudy.api.app import ENDPOINTS, PAST_ASGI, endpoint_named
from understudy.api.endpoint import Request
from understudy.api.endpoint_app import PAST_ASGI_BYTES_MAX, EndpointApp
from understudy.api.past_asgi import UVICORN_READ, PastAsgiProtocol, protocol_beside
from understudy.api.protocol import BODY_WITHIN_S, HEAD_WITHIN_S, LimitedProtocol
from understudy.api.reader_watch import ANSWER_WITHIN_S
from understudy.api.respond import Response, response_of
from understudy.hub.claims import NothingYet
from understudy.wire.answers.claims import NoTasks
from understudy.wire.limits import BODY_BYTES_MAX

BEAT = b'{"daemonId":"mini","machineId":"m1","bootId":"b1","seq":%d,"capacity":2,"provides":["machine"],"running":[]}'


class Case(NamedTuple):
    """What is sent, and whether it is answered past ASGI."""

    packets: tuple[bytes, ...]
    past: bool
    answers: int = 1


def head(path: str, *headers: str, method: str = "POST", version: str = "1.1", key: str = OWNER) -> bytes:
    keyed = [f"X-API-Key: {key}"] if key else []
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: hub", *keyed, *headers, "", ""]).encode()


def post(path: str, body: bytes, *headers: str, **more: Any) -> bytes:
    return head(path, f"Content-Length: {len(body)}", *headers, **more) + body


def chunked(path: str, body: bytes, trailers: bytes = b"") -> bytes:
    return head(path, "Transfer-Encoding: chunked") + b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailers)


QUEUE, CLAIM, HEARTBEAT = "/api/queue", "/api/queue/claim", "/api/queue/heartbeat"
NEW = b'{"id":"new","content":"x"}'
LONG = b'{"id":"long","content":"%s"}'
TOO_LARGE = head(QUEUE, f"Content-Length: {BODY_BYTES_MAX + 1}", "Connection: close")
CASES = {
    "a beat": Case((post(HEARTBEAT, BEAT % 1),), past=True),
    "a beat without a body": Case((post(HEARTBEAT, b""),), past=True),
    "a beat that cannot be read": Case((post(HEARTBEAT, b"{"),), past=True),
    "a beat with a wrong field": Case((post(HEARTBEAT, b'{"daemonId":5}'),), past=True),
    "no task": Case((post(CLAIM, b'{"workerId":"w","provides":["other"]}'),), past=True),
    "a claim": Case((post(CLAIM, b'{"workerId":"w","provides":["machine"]}'),), past=True),
    "a claim without a body": Case((post(CLAIM, b""),), past=True),
    "a claim that does not wait": Case((post(CLAIM, b'{"workerId":"w","waitSec":0}'),), past=True),
    "a claim that may wait": Case((post(CLAIM, b'{"workerId":"w","provides":["machine"],"waitSec":9}'),), past=True),
    "a claim that waits in vain": Case(
        (post(CLAIM, b'{"workerId":"w","provides":["other"],"waitSec":0.01,"max":3}'),), past=True
    ),
    "a wrong claim": Case((post(CLAIM, b'{"waitSec":"soon"}'),), past=True),
    "a task": Case((post(QUEUE, NEW),), past=True),
    "a task that was there": Case((post(QUEUE, b'{"id":"t1","content":"do t1"}'),), past=True),
    "a task by its key": Case((post(QUEUE, b'{"content":"x","id":"k"}', "Idempotency-Key: k1"),), past=True),
    "too long a key of a task": Case((post(QUEUE, b'{"content":"x"}', "Idempotency-Key: " + "k" * 257),), past=True),
    "no task at all": Case((post(QUEUE, b"[]"),), past=True),
    "no JSON": Case((post(QUEUE, b"\xff\xfe"),), past=True),
    "a result": Case((post("/api/result/t1", b'{"success":true,"output":"done"}'),), past=True),
    "a result of an unknown task": Case((post("/api/result/none", b'{"success":true}'),), past=True),
    "a result with an old token": Case((post("/api/result/t1", b'{"success":true,"token":99}'),), past=True),
    "a wrong id": Case((post("/api/result/a$b", b'{"success":true}'),), past=False),
    "an encoded id": Case((post("/api/result/%741", b'{"success":true}'),), past=False),
    "results": Case((post("/api/results", b'{"results":[{"taskId":"none","success":true}]}'),), past=True),
    "a status": Case((post("/api/queue/t1/status", b'{"status":"working"}'),), past=True),
    "a renewal": Case((post("/api/queue/t1/renew", b'{"workerId":"w"}'),), past=True),
    "a renewal by nobody": Case((post("/api/queue/t1/renew", b"{}"),), past=True),
    "a release": Case((post("/api/queue/t1/release", b""),), past=True),
    "no length": Case((head("/api/queue/t1/release"),), past=False),
    "a batch": Case((post("/api/queue/batch", b'{"tasks":[{"id":"b","content":"x"}]}'),), past=False),
    "a last slash": Case((post(HEARTBEAT + "/", BEAT % 2),), past=False),
    "a query": Case((post(HEARTBEAT + "?a=1", BEAT % 2),), past=False),
    "a whole URL": Case((post("http://hub" + HEARTBEAT, BEAT % 2),), past=False),
    "an unknown path": Case((post("/api/queue/t1/other", b"{}"),), past=False),
    "another method": Case((post(HEARTBEAT, b"{}", method="PUT"),), past=False),
    "GET": Case((head(QUEUE, method="GET"),), past=False),
    "HEAD": Case((head(HEARTBEAT, "Connection: close", method="HEAD"),), past=False, answers=0),
    "no key": Case((post(HEARTBEAT, BEAT % 2, key=""),), past=False),
    "a wrong key": Case((post(HEARTBEAT, BEAT % 2, key="wrong"),), past=False),
    "a bearer": Case((post(HEARTBEAT, BEAT % 2, f"Authorization: Bearer {OWNER}", key=""),), past=True),
    "two keys": Case((post(HEARTBEAT, BEAT % 2, f"Authorization: Bearer {ADMIN}", key="wrong"),), past=False),
    "HTTP/1.0": Case((post(HEARTBEAT, BEAT % 3, version="1.0"),), past=False),
    "HTTP/1.0, kept": Case((post(HEARTBEAT, BEAT % 3, "Connection: keep-alive", version="1.0"),), past=False),
    "a last request": Case((post(HEARTBEAT, BEAT % 3, "Connection: close"),), past=False),
    "Expect": Case((post(HEARTBEAT, BEAT % 3, "Expect: 100-continue"),), past=False),
    "an upgrade": Case((post(HEARTBEAT, BEAT % 3, "Connection: Upgrade", "Upgrade: h2c"),), past=False),
    "chunks": Case((chunked(HEARTBEAT, BEAT % 3),), past=False),
    "chunks with a key in the trailers": Case((chunked(HEARTBEAT, BEAT % 3, b"X-API-Key: wrong\r\n"),), past=False),
    "a body in packets": Case((post(QUEUE, NEW)[:-20], NEW[-20:-3], NEW[-3:]), past=True),
    "a head in packets": Case((post(QUEUE, NEW)[:9], post(QUEUE, NEW)[9:40], post(QUEUE, NEW)[40:]), past=True),
    "the largest": Case((post(QUEUE, LONG % (b"x" * (PAST_ASGI_BYTES_MAX - len(LONG) + 2))),), past=True),
    "a larger one": Case((post(QUEUE, LONG % (b"x" * (PAST_ASGI_BYTES_MAX - len(LONG) + 3))),), past=False),
    "too large": Case((TOO_LARGE,), past=False),
    "a length of many digits": Case((head(QUEUE, f"Content-Length: {len(NEW):05000}") + NEW,), past=True),
    "a wrong length": Case((head(HEARTBEAT, "Content-Length: x"),), past=False),
    "two lengths": Case((head(HEARTBEAT, "Content-Length: 2", "Content-Length: 3") + b"{}",), past=False),
    "length and chunks": Case(
        (head(HEARTBEAT, "Content-Length: 2", "Transfer-Encoding: chunked") + b"0\r\n\r\n",), past=False
    ),
    "two at once": Case((post(HEARTBEAT, BEAT % 4) + post(QUEUE, NEW),), past=True, answers=2),
    "many at once": Case((b"".join(post(HEARTBEAT, BEAT % n) for n in range(9)),), past=True, answers=9),
    "one after a broken one": Case((post(HEARTBEAT, BEAT % 5) + b"no request\r\n\r\n",), past=True, answers=2),
}


class Watched(PastAsgiProtocol):
    """Notes what it asks of the hub past ASGI."""

    past: ClassVar[list[bytes]] = []

    def _ask(self, request: Request) -> None:
        self.past.append(request.body)
        super()._ask(request)


@pytest.fixture(scope="module")
def both(loop_thread: LoopThread, endings: list[Future[None]]) -> Iterator[tuple[Hub, Hub]]:
    """Two hubs with the same past: the second one answers everything by ASGI."""
    hubs = Hub(loop_thread, protocol=Watched), Hub(loop_thread, protocol=LimitedProtocol)
    for hub in hubs:
        for task_id in ("t1", "t2", "t3", "t4", "t5"):
            hub.enqueue(task_id)
    yield hubs
    endings += [hub.begin_stop() for hub in hubs]


def spoken(hub: Hub, case: Case) -> tuple[list[Any], bool]:
    """The answers but for the second of their date, and whether the connection is kept."""
    line = RawLine(hub)
    try:
        line.send(*case.packets)
        if not case.answers:
            return [re.sub(rb"date: [^\r]*", b"date", line.rest())], True
        found = [line.answer() for _ in range(case.answers)]
        is_last = b"connection: close" in found[-1].head
        assert not is_last or line.is_closed()
        if not is_last:
            line.send(head("/health", method="GET"))
            assert line.answer().status == 200
    finally:
        line.close()
    return [(a.status, re.sub(rb"date: [^\r]*", b"date", a.head), a.body) for a in found], is_last


@pytest.mark.parametrize("name", CASES)
def test_both_ways_say_the_same_byte_by_byte(both: tuple[Hub, Hub], name: str) -> None:
    case = CASES[name]
    Watched.past.clear()
    counted = [hub.answered() for hub in both]
    said = [spoken(hub, case) for hub in both]
    assert said[0] == said[1]
    assert bool(Watched.past) is case.past
    more = [
        {key: n - before.get(key, 0) for key, n in hub.answered().items() if n != before.get(key, 0)}
        for hub, before in zip(both, counted, strict=True)
    ]
    assert more[0] == more[1], "what /metrics counts"
    assert both[0].pending() == both[1].pending()


def test_refusals_of_a_key_are_the_same(start_hub: Callable[..., Hub]) -> None:
    """The scope, the rate of a key, and the rate of wrong keys, which is held back on neither way by the other."""
    said = []
    for protocol in (Watched, LimitedProtocol):
        hub = start_hub(protocol=protocol, per_s=0.5, burst=3)
        reader = hub.post("/api/keys", {"name": "r", "scopes": ["read"]}, key=ADMIN).of(201)["key"]
        line = RawLine(hub)
        new = [post(QUEUE, b'{"id":"t%d","content":"x"}' % n) for n in range(4)]
        wrong_id, beat = post("/api/queue/a$b/status", b"{}"), BEAT % 1
        for packet in (wrong_id, *new, post(QUEUE, NEW, key=reader), post(HEARTBEAT, beat, key=reader)):
            answer = line.send(packet).answer()
            said.append((answer.status, re.sub(rb"date: [^\r]*", b"", answer.head), answer.body))
        line.close()
    assert said[:7] == said[7:]
    assert [status for status, _, _ in said[:7]] == [400, 201, 201, 429, 429, 403, 403]


@pytest.mark.parametrize("protocol", [PastAsgiProtocol, LimitedProtocol])
def test_a_store_that_fails_is_a_503_and_a_beat_in_vain_is_noted(
    start_hub: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch, protocol: type[LimitedProtocol]
) -> None:
    hub, missed = start_hub(protocol=protocol), []
    monkeypatch.setattr(hub.runtime, "missed_a_sign", lambda: missed.append(1))
    hub.runtime.writer.is_stopping = True
    assert hub.beat().of(503)["error"] == "The hub is stopping"
    assert hub.post(QUEUE, {"content": "x"}).status == 503
    hub.runtime.writer.is_stopping = False
    assert missed == [1], "a new task is no sign of life"
    assert hub.beat().status == 200


@pytest.mark.parametrize("protocol", [PastAsgiProtocol, LimitedProtocol])
def test_behind_the_last_answer_of_a_hub_that_stops_nothing_is_asked(
    start_hub: Callable[..., Hub], protocol: type[LimitedProtocol]
) -> None:
    hub = start_hub(protocol=protocol)
    refused, line = post(CLAIM, b"[]"), RawLine(hub)
    line.send(refused[:-1])
    hub.thread.run(_end(hub))
    line.socket.sendall(refused[-1:] + post(QUEUE, NEW))
    assert [answer.status for answer in line.answers()] == [400]
    hub.crowd.is_ending = False
    line.close()
    assert hub.pending() == []


async def _end(hub: Hub) -> None:
    """As `HubServer.begin_end` does, of the connections on which a request is under way."""
    hub.crowd.is_ending = True
    for line in [line for line in hub.crowd._known if not line.is_idle]:
        line.shutdown()  # type: ignore[attr-defined]  # each is a LimitedProtocol


# ---- deadlines and ends, in virtual time


class OneEndpoint:
    """An application with one endpoint; it is asked, and does not answer by itself."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.by_asgi = 0
        self.answer: Response | None = None  # at once
        self.reply: Any = None  # who waits for the hub's answer

    async def __call__(self, _: Any, __: Any, ___: Any) -> None:
        """Tasks are never begun here."""

    def past_asgi(self, url: bytes, _: Any) -> OneEndpoint | None:
        return self if url == b"/one" else None

    def admitted(self, _: Any) -> Request | None:
        caller: Any = None
        return Request(caller, {}, {}, b"", 0, caller)

    def ask(self, request: Request, reply: Any) -> Response | None:
        self.asked.append(request.body)
        self.reply = reply
        return self.answer

    def answered(self, _: Any) -> Response:
        return response_of(200, {"well": True})


@pytest.fixture
def app() -> OneEndpoint:
    return OneEndpoint()


@pytest.fixture
def line(app: OneEndpoint) -> VirtualLine:
    return VirtualLine(PastAsgiProtocol, app)


ONE = post("/one", b"{}")


def test_a_body_that_does_not_come_has_its_deadline(app: OneEndpoint, line: VirtualLine) -> None:
    line.send(ONE[:-1])
    line.loop.pass_time(BODY_WITHIN_S - 0.1)
    assert line.ended == ""
    line.loop.pass_time(1.2)  # and a second for what came
    assert line.ended == "closed"
    line.send(ONE[-1:])
    assert app.asked == [], "too late"


def test_who_asks_nothing_more_is_closed_after_a_while_and_not_before_the_answer(
    app: OneEndpoint, line: VirtualLine
) -> None:
    line.send(ONE)
    line.loop.pass_time(1000)
    assert line.ended == "", "it is the hub that takes so long"
    app.reply.set_result(None)
    kept_s = line.protocol.timeout_keep_alive
    line.loop.pass_time(kept_s - 0.1)
    assert line.ended == ""
    line.loop.pass_time(0.2)
    assert line.ended == "closed"
    line.loop.pass_time(ANSWER_WITHIN_S)
    assert line.ended == "dropped"


def test_a_body_that_came_late_has_no_deadline_left(app: OneEndpoint, line: VirtualLine) -> None:
    line.send(ONE[:-1])
    line.send(ONE[-1:])
    line.loop.pass_time(1000)
    assert app.asked == [b"{}"]
    assert line.ended == ""


def test_a_request_that_follows_in_time_keeps_the_connection(app: OneEndpoint, line: VirtualLine) -> None:
    for _ in range(20):
        line.send(ONE)
        app.reply.set_result(None)
        line.loop.pass_time(line.protocol.timeout_keep_alive - 0.1)
    assert line.ended == ""
    assert len(line.transport.written) == 20


@pytest.mark.parametrize("protocol", [PastAsgiProtocol, LimitedProtocol])
def test_a_request_whose_first_bytes_came_before_an_answer_is_not_cut(
    app: OneEndpoint, protocol: type[LimitedProtocol]
) -> None:
    line = VirtualLine(protocol, app)
    line.send(ONE)
    line.send(ONE[:5])
    if protocol is PastAsgiProtocol:
        app.reply.set_result(None)
    else:
        line.protocol.cycle.response_complete = True
        line.protocol.on_response_complete()
    line.send(ONE[5:])
    line.loop.pass_time(1000)
    assert line.ended == "", "it is the hub that takes so long"


@pytest.mark.parametrize("is_ending", [False, True])
def test_half_a_request_behind_another_ends_after_the_answer(app: OneEndpoint, line: VirtualLine, is_ending) -> None:
    line.protocol.timeout_keep_alive = 600
    line.send(ONE + ONE[:5])
    line.loop.pass_time(1000)
    assert line.ended == "", "it is the hub that takes so long"
    line.crowd.is_ending = is_ending
    app.reply.set_result(None)
    line.loop.pass_time(HEAD_WITHIN_S - 1)
    assert line.ended == ""
    line.loop.pass_time(2)
    assert line.ended == "closed"


def test_an_answer_that_cannot_be_made_is_a_500() -> None:
    endpoint = object.__new__(EndpointApp)
    bugs: list[BaseException] = []

    def trouble(bug: BaseException) -> Response:
        bugs.append(bug)
        if len(bugs) == 1:
            raise KeyError("in the middle of it")
        return response_of(500, {"error": "x"})

    endpoint._trouble = trouble  # type: ignore[method-assign]
    assert endpoint.failed(ValueError("first")).status == 500
    assert [type(bug) for bug in bugs] == [ValueError, KeyError]


def test_an_answer_whose_client_is_gone_goes_nowhere(app: OneEndpoint, line: VirtualLine) -> None:
    line.send(ONE)
    line.protocol.connection_lost(None)
    app.reply.set_result(None)
    assert line.transport.written == []
    assert len(line.crowd) == 0


def test_a_client_that_goes_while_another_request_waits_gets_no_answer(app: OneEndpoint, line: VirtualLine) -> None:
    line.send(ONE + ONE)
    line.protocol.connection_lost(None)
    app.reply.set_result(None)
    assert line.transport.written == []


def test_while_a_hub_stops_the_answer_says_that_it_is_the_last_one(app: OneEndpoint, line: VirtualLine) -> None:
    line.send(ONE)
    line.crowd.is_ending = True
    line.protocol.shutdown()
    assert line.ended == "", "it is answered first"
    app.reply.set_result(None)
    assert b"connection: close\r\n" in line.transport.written[0]
    assert line.ended == "closed"


def test_a_request_that_is_not_whole_when_a_hub_stops_gets_its_answer(app: OneEndpoint, line: VirtualLine) -> None:
    line.send(ONE[:-1])
    line.crowd.is_ending = True
    line.protocol.shutdown()
    assert not line.protocol.is_idle
    line.send(ONE[-1:])
    app.reply.set_result(None)
    assert b"connection: close\r\n" in line.transport.written[0]


def test_an_answer_at_once_leaves_the_connection_between_two_requests(app: OneEndpoint, line: VirtualLine) -> None:
    app.answer = response_of(400, {"error": "x"})
    for _ in range(2):
        line.send(ONE)
        assert not line.protocol.is_idle, "others have their turn first"
        line.loop.pass_time(0)
        assert line.protocol.is_idle
    assert [said.split(b"\r\n")[0] for said in line.transport.written] == [b"HTTP/1.1 400 Bad Request"] * 2


def test_answers_at_once_do_not_hold_the_loop_for_as_long_as_there_is_something_to_read(
    app: OneEndpoint, line: VirtualLine
) -> None:
    app.answer = response_of(400, {"error": "x"})
    line.send(ONE * 2000)
    assert app.asked == [b"{}"]


def test_an_answer_at_once_whose_client_is_gone_goes_nowhere(app: OneEndpoint, line: VirtualLine) -> None:
    app.answer = response_of(400, {"error": "x"})
    line.send(ONE)
    line.protocol.connection_lost(None)
    line.loop.pass_time(0)
    assert line.transport.written == []


def test_requests_ahead_of_an_answer_and_unread_answers_are_for_asgi(app: OneEndpoint, line: VirtualLine) -> None:
    line.send(ONE + ONE)
    assert app.asked == [b"{}"]
    assert len(line.protocol.pipeline) == 1
    unread = VirtualLine(PastAsgiProtocol, app)
    unread.send(ONE)
    unread.protocol.pause_writing()
    app.reply.set_result(None)
    unread.send(ONE)
    assert app.asked == [b"{}"] * 2, "no answer is made while the one before is not read"


NONE_YET = NothingYet(NoTasks(success=False, message="none", pending=0), frozenset(), is_barred=False)


def test_a_claim_that_must_wait_begins_anew_by_asgi_with_the_whole_request(app: OneEndpoint, line: VirtualLine) -> None:
    line.send(ONE)
    app.reply.set_result(NONE_YET)
    newest = line.protocol.cycle
    assert isinstance(newest, httptools_impl.RequestResponseCycle)
    assert (bytes(newest.body), newest.more_body, newest.keep_alive) == (b"{}", False, True)
    assert (newest.scope["method"], newest.scope["path"]) == ("POST", "/one")
    assert line.transport.written == []
    line.loop.pass_time(1000)
    assert line.ended == "", "it waits"
    newest.response_complete = True
    line.protocol.on_response_complete()
    line.send(ONE)
    assert app.asked == [b"{}"] * 2, "the next one comes past ASGI again"


@pytest.mark.parametrize("ahead", [ONE, ONE[:5], ONE[:-1]])
def test_a_claim_with_a_request_behind_it_does_not_wait(app: OneEndpoint, line: VirtualLine, ahead: bytes) -> None:
    line.send(ONE)
    line.send(ahead)
    app.reply.set_result(NONE_YET)
    assert len(line.transport.written) == 1


def test_a_claim_does_not_wait_while_its_hub_stops(app: OneEndpoint, line: VirtualLine) -> None:
    line.send(ONE)
    line.crowd.is_ending = True
    line.protocol.shutdown()
    app.reply.set_result(NONE_YET)
    assert b"connection: close\r\n" in line.transport.written[0]
    assert line.ended == "closed"


def test_a_claim_whose_client_is_gone_does_not_wait(app: OneEndpoint, line: VirtualLine) -> None:
    line.send(ONE)
    line.protocol.connection_lost(None)
    app.reply.set_result(NONE_YET)
    assert line.transport.written == []
    assert not isinstance(line.protocol.cycle, httptools_impl.RequestResponseCycle)


# ---- what it stands on


def test_endpoints_past_asgi_fit_what_is_done_there() -> None:
    for path in PAST_ASGI:
        endpoint = endpoint_named("POST", path)
        assert endpoint.make is not None
        assert not endpoint.follows
        assert endpoint.body_max >= PAST_ASGI_BYTES_MAX
        assert not (endpoint.waits and endpoint.is_limited), "a long poll is admitted twice"
    assert {e.path for e in ENDPOINTS if "keys" in e.path} & PAST_ASGI == set(), "keys are loaded before the answer"


def test_the_insides_that_were_read_are_those_that_run() -> None:
    """Another uvicorn: read docs/adr/0017-past-asgi.md and the new httptools_impl.py, then change UVICORN_READ."""
    pinned = re.search(r"^uvicorn==(\S+)", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert pinned is not None
    assert pinned[1] == UVICORN_READ
    assert (protocol_beside(UVICORN_READ), protocol_beside("99")) == (PastAsgiProtocol, LimitedProtocol)


def test_beside_another_uvicorn_nothing_of_its_insides_is_needed() -> None:
    """A name that it has no more would keep the hub from starting."""
    assert "import uvicorn" not in (source := inspect.getsource(past_asgi))
    assert "from uvicorn" not in source
    assert {status: httptools_impl.STATUS_LINE[status] for status in past_asgi.STATUS_LINES} == past_asgi.STATUS_LINES


def test_a_request_of_ours_has_all_that_a_connection_asks_of_it() -> None:
    asked = set(re.findall(r"self\.cycle\.(\w+)", inspect.getsource(httptools_impl.HttpToolsProtocol)))
    by_asgi = {"body", "more_body"}  # touched only while the newest request is one of uvicorn's own
    assert asked == {"disconnected", "keep_alive", "message_event", "response_complete"} | by_asgi
    ours = set(re.findall(r"(?:cycle|newest|_running)\.(\w+)", inspect.getsource(LimitedProtocol)))
    more = {"transport", "waiting_for_100_continue", "on_response"}  # by ASGI
    assert ours == asked - {"more_body"} | {"response_started"} | more
    assert asked - by_asgi | {"response_started"} <= set(dir(past_asgi._Cycle))


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (httptools_impl.HttpToolsProtocol, "on_headers_complete on_body on_message_complete on_response_complete"),
        (httptools.HttpRequestParser, "get_method get_http_version should_keep_alive should_upgrade"),
        (FlowControl, "drain pause_reading resume_reading"),
    ],
)
def test_the_insides_have_their_names(owner: type, names: str) -> None:
    for name in names.split():
        assert callable(getattr(owner, name)), name


def test_a_connection_has_what_is_read_of_it(line: VirtualLine) -> None:
    line.protocol.data_received(ONE[:-1])
    for name in ("url", "scope", "headers", "expect_100_continue", "pipeline", "transport", "flow", "cycle", "parser"):
        assert hasattr(line.protocol, name), name
    assert line.protocol.flow.write_paused is False
    assert line.protocol.server_state.default_headers == []
    assert line.protocol.server_state.total_requests == 0
