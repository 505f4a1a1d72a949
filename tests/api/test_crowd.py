"""Many connections, slow ones and large ones: what a stranger can hold is bounded, and no daemon pays for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.hubs import MINUTE, FailingStore, Hub, set_failing
from tests.api.raw_line import RawLine
from tests.api.virtual_line import VirtualLine
from tests.api.wire import OWNER, Stream
from tests.waiting import eventually
from understudy.api import connections, protocol, reader_watch
from understudy.api.connections import BodyRoom, Connections, address_of
from understudy.api.event_feed import FOLLOWERS_OF_KEY_MAX, EventFeed
from understudy.errors import TooManyRequestsError, UnavailableError
from understudy.hub.batch import DEAF_FOR_S, DEAF_MOST_S
from understudy.store.base import EventFilter

BODY = b'{"id":"t1","content":"x"}'


class FakeLine:
    """A connection without a socket."""

    def __init__(self, crowd: Connections, address: str = "10.0.0.1", unread_bytes: int = 0) -> None:
        self.crowd, self.address, self.unread_bytes = crowd, address, unread_bytes
        self.state, self.is_dropped, self.looks = "at rest", False, 0
        crowd.join(self)

    @property
    def is_at_rest(self) -> bool:
        self.looks += 1
        return self.state == "at rest"

    @property
    def waits_for_client(self) -> bool:
        return self.state == "unfinished"

    def drop(self) -> None:
        self.is_dropped = True


def established(crowd: Connections, address: str = "10.0.0.9", key_id: str = "key", state: str = "at rest") -> FakeLine:
    line = FakeLine(crowd, address)
    crowd.establish(line, key_id)
    line.state = state
    return line


# ---- how many


def test_strangers_push_out_strangers_and_never_the_established() -> None:
    crowd = Connections(80)  # 10 unknown, 5 of one address
    known = [established(crowd) for _ in range(60)]
    silent = [FakeLine(crowd, f"10.0.1.{n}") for n in range(1000)]
    assert not any(line.is_dropped for line in known)
    assert [line.is_dropped for line in silent] == [True] * 990 + [False] * 10


def test_one_address_pushes_out_its_own() -> None:
    crowd = Connections(80)
    other = FakeLine(crowd, "10.0.0.2")
    silent = [FakeLine(crowd) for _ in range(1000)]
    assert not other.is_dropped
    assert sum(not line.is_dropped for line in silent) == 5


def test_what_is_closed_makes_room() -> None:
    crowd = Connections(80)
    for _ in range(1000):
        crowd.leave(FakeLine(crowd))
        crowd.leave(established(crowd))
    assert len(crowd) == 0


def test_a_full_hub_closes_what_is_at_rest_and_otherwise_says_that_it_is_deaf() -> None:
    refused: list[int] = []
    crowd = Connections(16, lambda: refused.append(1))
    known = [established(crowd) for _ in range(16)]
    for line in known[1:]:
        line.state = "answering"
    newcomer = established(crowd)
    assert [line.is_dropped for line in (*known, newcomer)] == [True] + [False] * 16
    assert not refused
    newcomer.state = "answering"
    for line in (*known[1:], newcomer):
        line.looks = 0
    assert FakeLine(crowd).is_dropped
    assert refused == [1]
    assert [line.looks for line in (*known[1:], newcomer)] == [1] * 16, "once each: newcomers may be many"


@pytest.mark.parametrize("state", ["at rest", "unfinished"])
def test_a_key_that_holds_a_full_hub_loses_its_own_connections_to_newcomers(state: str) -> None:
    """Half a head on each of its connections, and no daemon came in any more."""
    refused: list[int] = []
    crowd = Connections(16, lambda: refused.append(1))
    others = [established(crowd, key_id=f"daemon-{n}") for n in range(6)]
    greedy = [established(crowd, key_id="greedy", state=state) for _ in range(10)]
    newcomers = [established(crowd, key_id="daemon-7", state="answering") for _ in range(6)]
    assert [line.is_dropped for line in greedy] == [True] * 6 + [False] * 4
    assert not any(line.is_dropped for line in (*others, *newcomers))
    assert not refused


def test_of_keys_with_no_more_than_their_part_what_rests_goes_first_and_then_what_waits_for_their_client() -> None:
    crowd = Connections(16)
    lines = [
        established(crowd, key_id=f"k{n % 4}", state=("answering", "unfinished", "at rest")[n % 3]) for n in range(16)
    ]
    crowd.establish(lines[2], "k2")  # it has shown its key again
    dropped: list[int] = []
    for _ in range(10):
        established(crowd, key_id="newcomer", state="answering")
        dropped += [n for n, line in enumerate(lines) if line.is_dropped and n not in dropped]
    assert dropped == [5, 8, 11, 14, 2, 1, 4, 7, 10, 13]
    assert FakeLine(crowd).is_dropped, "answers are under way on all that are left"


def test_newcomers_to_a_full_hub_do_not_push_out_each_other() -> None:
    """A daemon that comes again must have the time to show its key, whatever strangers do."""
    crowd = Connections(1280)
    known = [established(crowd) for _ in range(1280)]
    newcomers = [FakeLine(crowd, f"10.0.1.{n}") for n in range(10)]
    strangers = [FakeLine(crowd, "10.0.2.1") for _ in range(100)]
    assert sum(line.is_dropped for line in known) == 10
    assert [line.is_dropped for line in newcomers] == [True] + [False] * 9
    assert sum(not line.is_dropped for line in strangers) == 1
    assert len(crowd) == 1280


HALF_HEAD, WHOLE = b"GET / HTTP/1.1\r\nHost", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "waits"),
    [
        (HALF_HEAD, True), (b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345", True),
        (WHOLE, False), (WHOLE + HALF_HEAD, False), (WHOLE + WHOLE + HALF_HEAD, False), (b"", False),
    ],
    ids=["half a head", "half a body", "a request", "half a head behind it", "two and a half", "nothing"],
)  # fmt: skip
def test_only_what_its_client_holds_up_waits_for_it(sent: bytes, *, waits: bool) -> None:
    line = VirtualLine()
    line.send(sent)
    assert line.protocol.waits_for_client == waits


@pytest.mark.parametrize("unread", [100_000, 1], ids=["much", "little"])
def test_an_answer_that_is_not_read_waits_for_its_client(unread: int) -> None:
    """One that is just being downloaded is not the first to be cut off, with the end of the answer in memory."""
    line = VirtualLine()
    line.leave_unread(unread)
    line.answer()
    if unread == 1:
        line.protocol.resume_writing()
    assert line.protocol.is_idle, "for a hub that stops"
    assert not line.protocol.is_at_rest
    assert line.protocol.waits_for_client
    line.protocol.resume_writing()
    line.read(unread)
    assert line.protocol.is_at_rest
    assert not line.protocol.waits_for_client


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("10.1.2.3", 5), "10.1.2.3"), (("::ffff:10.1.2.3", 5), "10.1.2.3"), (("::1", 5), "::1"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"), (("2001:db8:1:2:ffff::", 5), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5), "fe80::/64"), (("name", 1), "name"), (None, ""),
        (("odd:thing", 1), "odd:thing"), (("", 0), ""),
    ],
)  # fmt: skip
def test_an_address_is_what_one_customer_has(client: Any, address: str) -> None:
    assert address_of(client) == address


# ---- how long


@pytest.fixture
def line(hub: Hub) -> Iterator[Callable[[], RawLine]]:
    opened: list[RawLine] = []

    def open_one() -> RawLine:
        opened.append(RawLine(hub))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


HEAD = f"POST /api/queue HTTP/1.1\r\nHost: h\r\nX-API-Key: {OWNER}\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()


@pytest.mark.parametrize(
    "sent",
    [(b"",), (b"GET /health HT",), (b"\r\n", b"\r\n"), (HEAD,), (HEAD + BODY[:-1],), (HEAD[:-3] + b"\nTransfer-",)],
    ids=["nothing", "half a head", "line ends", "no body", "half a body", "half a header"],
)
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "second"])
def test_what_does_not_become_whole_ends(line, monkeypatch, sent, is_first) -> None:
    for name in ("HEAD_WITHIN_S", "BODY_WITHIN_S"):
        monkeypatch.setattr(protocol, name, 0.3)
    raw = line()
    if not is_first:
        raw.send(HEAD + BODY)
        assert raw.answer().status == 201
        if sent in ((b"",), (b"\r\n", b"\r\n")):
            return  # an idle connection: that is the keep-alive's time
    assert raw.send(*(part for part in sent if part)).is_closed()


FLOW = reader_watch.SLOWEST_BYTES_A_S


def upload(body_bytes: int) -> bytes:
    return HEAD.replace(b"Length: %d" % len(BODY), b"Length: %d" % body_bytes)


@pytest.mark.parametrize(("bytes_a_s", "ends_after_s"), [(0, 30), (1, 30), (FLOW // 2, 60), (FLOW - 1, 601)])
def test_a_body_that_trickles_is_given_up_and_one_that_flows_is_not(bytes_a_s, ends_after_s) -> None:
    """30 s, and one more for each 16 KiB that came: half of that flow ends after 60 s, nearly all of it not in 600."""
    line, lived_s = VirtualLine(), 0
    line.send(upload(64 << 20))
    while not line.ended and lived_s <= 600:
        line.loop.pass_time(1)
        line.send(b" " * bytes_a_s)
        lived_s += 1
    assert ends_after_s <= lived_s <= ends_after_s + 2


def test_a_body_that_we_do_not_read_is_not_slow() -> None:
    line = VirtualLine()
    line.send(upload(8 << 20))
    line.protocol.flow.pause_reading()
    line.loop.pass_time(600)
    assert line.ended == ""
    line.protocol.flow.resume_reading()
    line.loop.pass_time(2)
    assert line.ended == "closed"


def test_a_body_that_is_whole_has_no_deadline() -> None:
    line = VirtualLine()
    line.send(HEAD)
    line.send(BODY)
    line.loop.pass_time(600)
    assert line.ended == ""


@pytest.mark.parametrize(("unread", "read_bytes_a_s", "ended"), [
    (1 << 20, 0, "dropped"), (1 << 20, 1, "dropped"), (64 << 20, FLOW - 1, "dropped"), (64 << 20, FLOW, ""),
    (1000, 16, "dropped"), (1000, 17, ""),
])  # fmt: skip
def test_an_answer_that_nobody_reads_ends(unread, read_bytes_a_s, ended) -> None:
    """In 30 s 16 KiB a second must be read, or half of what is left."""
    line = VirtualLine()
    line.leave_unread(unread)
    line.loop.pass_time(29)
    assert line.ended == ""
    line.read(30 * read_bytes_a_s)
    line.loop.pass_time(1)
    assert line.ended == ended


def read_and_stop(line: VirtualLine, *, meanwhile: str) -> None:
    """While the client reads it is waited for; once it stops it is dropped."""
    for _ in range(10):
        line.read(30 * FLOW)
        line.loop.pass_time(30)
        assert line.ended == meanwhile
    line.loop.pass_time(30)
    assert line.ended == "dropped"


def test_reading_is_judged_again_and_again_until_all_is_read() -> None:
    line = VirtualLine()
    line.leave_unread(64 << 20)
    read_and_stop(line, meanwhile="")


@pytest.mark.parametrize("end", ["a last answer", "nothing more asked", "a refusal"])
def test_what_was_answered_before_the_end_may_be_read_for_as_long_as_it_is_read(end: str) -> None:
    line = VirtualLine()
    line.leave_unread(8 << 20)
    line.protocol._reader.stop()
    if end == "a last answer":
        line.protocol.cycle.keep_alive = False
        line.answer()
    elif end == "nothing more asked":
        line.protocol.timeout_keep_alive_handler()
    else:
        line.protocol.send_400_response("x")
    read_and_stop(line, meanwhile="closed")


def test_a_last_byte_that_nobody_reads_keeps_no_connection() -> None:
    line = VirtualLine()
    line.transport.unread_bytes = 1
    line.protocol.timeout_keep_alive_handler()
    line.loop.pass_time(30)
    assert line.ended == "dropped"


def test_the_rest_of_a_last_answer_is_waited_for_too_when_most_of_it_was_read() -> None:
    line = VirtualLine()
    line.leave_unread(8 << 20)
    line.protocol.timeout_keep_alive_handler()
    line.transport.unread_bytes = 1
    line.protocol.resume_writing()
    line.loop.pass_time(2 * reader_watch.ANSWER_WITHIN_S)
    assert line.ended == "dropped"


def test_a_connection_that_is_lost_leaves_nothing_to_wait_for() -> None:
    line = VirtualLine()
    line.leave_unread(8 << 20)
    line.protocol.pause_writing()
    line.protocol.connection_lost(None)
    assert line.loop.due == 0


LAST = b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 10\r\n\r\n"


def test_a_last_request_that_is_answered_early_ends_with_its_body() -> None:
    """Closed before, its client would find a reset instead of the answer."""
    line = VirtualLine()
    line.send(LAST)
    line.answer()
    assert line.transport.is_half_closed, "who sends no more sees the end at once"
    line.send(b"123456789")
    assert line.ended == ""
    answered = line.protocol.cycle
    line.send(b"0" + LAST)
    assert line.ended == "closed"
    assert line.protocol.cycle is answered, "nothing is read behind it"


def test_a_last_request_whose_body_does_not_come_ends_all_the_same() -> None:
    line, stopping = VirtualLine(), VirtualLine()
    for one in (line, stopping):
        one.send(LAST)
        one.answer()
    line.loop.pass_time(protocol.BODY_WITHIN_S + 1)
    assert line.ended == "closed"
    stopping.crowd.is_ending = True
    stopping.protocol.shutdown()
    stopping.loop.pass_time(protocol.LINGER_S)
    assert stopping.ended == "closed", "a hub that stops waits less"


def test_a_request_that_is_answered_early_delays_no_stop_once_its_body_has_come() -> None:
    line = VirtualLine()
    line.send(LAST.replace(b"Connection: close\r\n", b""))
    line.answer()
    line.crowd.is_ending = True
    line.protocol.shutdown()
    line.loop.pass_time(protocol.LINGER_S)
    assert line.ended == "", "its body is on its way"
    line.send(b"1234567890")
    line.loop.pass_time(2 * protocol.LINGER_S)
    assert line.ended == "closed"


def test_a_last_request_of_which_too_much_comes_ends_before_that(monkeypatch) -> None:
    monkeypatch.setattr(protocol, "IGNORED_BYTES_MAX", 5)
    line = VirtualLine()
    line.send(LAST)
    line.answer()
    line.send(b"123456")
    assert line.ended == "closed"


@pytest.mark.parametrize(
    ("announced", "is_last"), [(protocol.IGNORED_BYTES_MAX, False), (protocol.IGNORED_BYTES_MAX + 1, True)]
)
def test_a_refusal_says_that_it_is_the_last_answer_if_its_body_will_not_be_read(
    start_hub: Callable[..., Hub], announced: int, *, is_last: bool
) -> None:
    """Its client sent the next request on a connection that was closed under it."""
    head = f"POST /api/queue HTTP/1.1\r\nHost: hub\r\nX-API-Key: {OWNER}\r\nContent-Length: {announced}\r\n\r\n"
    line = RawLine(start_hub())
    answer = line.send(head.encode()).answer()
    line.close()
    assert answer.status == 413
    assert (b"connection: close" in answer.head.lower()) == is_last


def test_what_follows_a_refusal_takes_nothing_of_its_deadline() -> None:
    line, get = VirtualLine(), b"GET / HTTP/1.1\r\n"
    line.send(get + b"a:b\r\n" * (protocol.HEADERS_MAX + 1) + b"\r\n" + get + b"\r\n")
    assert line.ended == "closed"
    line.loop.pass_time(30)
    assert line.ended == "dropped"


def test_an_answer_that_was_read_has_no_deadline() -> None:
    line = VirtualLine()
    line.leave_unread(1 << 20)
    line.protocol.resume_writing()
    line.loop.pass_time(600)
    assert line.ended == ""


# ---- how much


def test_bodies_in_memory_are_bounded_over_all_connections_and_small_ones_pass(monkeypatch) -> None:
    monkeypatch.setattr(connections, "BODIES_BYTES_MAX", 100)
    monkeypatch.setattr(connections, "BODIES_OF_KEY_MAX", 60)
    crowd = Connections(10)
    crowd.take_body("a", 60, is_small=False)
    with pytest.raises(UnavailableError):
        crowd.take_body("a", 1, is_small=False)
    crowd.take_body("b", 40, is_small=False)
    with pytest.raises(UnavailableError):
        crowd.take_body("b", 1, is_small=False)
    crowd.take_body("b", 1, is_small=True)
    crowd.give_back_body("a", 60)
    crowd.take_body("b", 19, is_small=False)
    crowd.give_back_body("b", 60)
    assert crowd.bodies_bytes == 0


def test_unfinished_bodies_leave_room_for_beats_and_are_forgotten_with_their_connection(hub, line, monkeypatch) -> None:
    monkeypatch.setattr(connections, "BODIES_OF_KEY_MAX", 300_000)
    head = f"POST /api/results HTTP/1.1\r\nHost: h\r\nX-API-Key: {OWNER}\r\nContent-Length: 8000000\r\n\r\n".encode()
    held = line().send(head + b" " * 200_000)
    eventually(lambda: hub.crowd.bodies_bytes >= 200_000)
    refused = hub.post("/api/queue", b'{"content":"' + b"x" * 150_000 + b'"}').of(503)
    assert refused["retryAfter"] == 1
    hub.beat().of(200)
    held.close()
    eventually(lambda: hub.crowd.bodies_bytes == 0)
    hub.post("/api/queue", b'{"content":"' + b"x" * 150_000 + b'"}').of(201)
    assert hub.crowd.bodies_bytes == 0


def test_whoever_lets_most_wait_unread_is_cut_off_first(monkeypatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_BYTES_MAX", 100)
    crowd = Connections(50)
    lines = [FakeLine(crowd, unread_bytes=size) for size in (40, 50, 20)]
    for one in lines:
        crowd.note_unread(one)
    assert [one.is_dropped for one in lines] == [False, True, False]


def test_whoever_sends_most_ahead_is_cut_off_first(monkeypatch) -> None:
    monkeypatch.setattr(connections, "WAITING_BYTES_MAX", 100)
    crowd = Connections(50)
    lines = [FakeLine(crowd) for _ in range(3)]
    for one, size in zip(lines, (40, 50, 10), strict=True):
        crowd.note_waiting(one, size)
    crowd.note_waiting(lines[2], 11)
    assert [one.is_dropped for one in lines] == [False, True, False]
    assert crowd.waiting_bytes == 51
    for one in lines:
        crowd.leave(one)
    assert crowd.waiting_bytes == 0


# ---- requests that are sent ahead of answers


def answer_first(line: VirtualLine) -> bool:
    """The request whose turn it is gets its answer; False if there is none."""
    cycle = line.protocol._running
    if cycle is None or cycle.response_complete:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.on_response()
    return True


def answer_all(line: VirtualLine) -> int:
    """Every request gets its answer in turn → how many there were."""
    for count in range(100_000):
        if not answer_first(line):
            return count
    raise AssertionError("without end")


def test_while_requests_wait_that_were_sent_ahead_nothing_more_is_read() -> None:
    """A long poll waits for its client to go, and with that read on and kept all that came."""
    line = VirtualLine()
    line.send(WHOLE * 8_000)
    assert line.protocol.flow.read_paused, "and `send` has asked for more, as a long poll does"
    queued_bytes = len(line.protocol.pipeline) * protocol.REQUEST_BYTES
    assert len(line.protocol._rest) + queued_bytes <= line.crowd.waiting_bytes <= 1 << 20
    assert answer_all(line) == 8_000
    assert not line.protocol.flow.read_paused
    assert line.crowd.waiting_bytes == 0


def test_a_head_that_is_not_whole_is_counted_until_it_is() -> None:
    line = VirtualLine()
    line.send(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * protocol.HEADERS_MAX)
    assert line.crowd.waiting_bytes >= protocol.HEADERS_MAX * 100, "so much memory do they take"
    line.send(b"\r\n")
    assert line.crowd.waiting_bytes == 0
    assert answer_all(line) == 1


def test_a_head_of_too_many_headers_is_refused_before_it_is_whole() -> None:
    """64 KiB of the smallest took 1.8 MB."""
    line = VirtualLine()
    line.send(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (protocol.HEADERS_MAX + 2))
    assert line.ended == "closed"
    assert line.transport.written[0].startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("rest", [HALF_HEAD, b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345"])
def test_a_request_that_we_do_not_read_is_not_slow(rest: bytes) -> None:
    """Its deadline begins once the requests before it have begun."""
    line = VirtualLine()
    line.protocol.timeout_keep_alive = 600
    line.send(WHOLE + WHOLE + rest)
    line.loop.pass_time(600)
    assert line.ended == ""
    answer_all(line)
    line.loop.pass_time(29)
    assert line.ended == ""
    line.loop.pass_time(2)
    assert line.ended == "closed"


def test_half_a_head_behind_a_long_poll_ends_after_the_answer_and_not_in_the_middle_of_it() -> None:
    line = VirtualLine()
    line.protocol.timeout_keep_alive = 600
    line.send(WHOLE + HALF_HEAD)
    line.loop.pass_time(600)
    assert line.ended == "", "it would have cut the answer off"
    answer_all(line)
    line.loop.pass_time(29)
    assert line.ended == ""
    line.loop.pass_time(2)
    assert line.ended == "closed"


def test_a_body_that_nobody_reads_is_counted_until_it_is_read_and_not_kept_after_the_answer() -> None:
    """Each idle connection kept up to 320 KB of it for 75 s, without a key."""
    line, size = VirtualLine(), 250_000
    line.protocol.data_received(b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size + b" " * size)
    running: Any = line.protocol.cycle
    assert line.crowd.waiting_bytes == len(running.body) == size
    line.answer()
    assert (line.crowd.waiting_bytes, len(running.body)) == (0, 0)
    upload_line = VirtualLine()
    upload_line.protocol.data_received(upload(1 << 20) + b" " * size)
    assert upload_line.crowd.waiting_bytes == size
    upload_line.send(b"")
    assert upload_line.crowd.waiting_bytes == 0, "it is read, and counts among the bodies of its key"


def with_body(size: int, announced: int = 0) -> bytes:
    return b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (announced or size) + b" " * size


def test_a_body_behind_another_request_is_counted_and_stops_the_reading() -> None:
    """It came with the request before it; its bytes were counted for one line of code, and more was read."""
    line = VirtualLine()
    line.protocol.data_received(WHOLE + with_body(250_000, announced=1_000_000))
    answer_first(line)
    running: Any = line.protocol._running
    assert line.crowd.waiting_bytes == len(running.body) == 250_000
    assert line.protocol.flow.read_paused
    line.send(b"")
    assert line.crowd.waiting_bytes == 0
    assert not line.protocol.flow.read_paused


@pytest.mark.parametrize(
    ("behind", "least"),
    [
        (WHOLE, protocol.REQUEST_BYTES), (WHOLE + WHOLE, 2 * protocol.REQUEST_BYTES),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 20_000, 12_000),
    ],
    ids=["a request", "two", "half a head"],
)  # fmt: skip
def test_a_body_and_what_is_behind_it_are_counted_together_and_each_until_it_is_read(behind: bytes, least: int) -> None:
    line, body_bytes = VirtualLine(), 200_000
    line.protocol.data_received(with_body(body_bytes) + behind)
    behind_bytes = line.crowd.waiting_bytes - body_bytes
    assert behind_bytes >= least
    line.send(b"")
    assert line.crowd.waiting_bytes == behind_bytes, "the body was read"
    if not line.protocol.pipeline:
        line.send(b"\r\n\r\n")
    answer_all(line)
    assert line.crowd.waiting_bytes == 0


def test_what_is_sent_ahead_stays_counted_when_the_first_request_shows_its_key() -> None:
    """A task shows the key, one turn after all that came with its request: half a MB of it was counted no more."""
    line = VirtualLine()
    line.send(WHOLE * 8_000)
    line.protocol.pause_writing()
    waiting_bytes = line.crowd.waiting_bytes
    BodyRoom(line.protocol).establish("key")
    assert line.crowd._known == {line.protocol: "key"}
    assert line.crowd.waiting_bytes == waiting_bytes >= 100_000
    assert list(line.crowd._unread) == [line.protocol]
    assert answer_all(line) == 8_000
    assert line.crowd.waiting_bytes == 0


def test_a_connection_that_is_lost_keeps_nothing_of_what_was_sent_ahead() -> None:
    line = VirtualLine()
    line.send(WHOLE * 8_000)
    line.protocol.connection_lost(None)
    assert (line.crowd.waiting_bytes, len(line.protocol.pipeline), line.protocol._rest) == (0, 0, b"")


# ---- streams


def test_an_event_is_encoded_once_for_all_who_follow() -> None:
    async def follow() -> None:
        feed = EventFeed()
        followers = [feed.join(f"key-{n}") for n in range(50)]
        stored = _stored_event()
        feed.publish(_Committed((stored,)))
        encoded: list[Any] = []
        for follower in followers:
            (told,) = await follower.next(5) or ()
            assert told.is_wanted(EventFilter(text="queued"))
            told.encoded(lambda one: encoded.append(one) or b"x")  # type: ignore[func-returns-value]
        assert encoded == [stored]

    asyncio.run(follow())


class _Committed:
    def __init__(self, events: Any) -> None:
        self.events = events


def _stored_event() -> Any:
    from understudy.coordinator.changes import Event
    from understudy.store.base import StoredEvent

    return StoredEvent(7, Event(1, "info", "task.queued", "TaskQueue", "Queued", {}))


def test_a_key_has_a_hundred_streams_and_not_one_more() -> None:
    async def follow() -> None:
        feed = EventFeed()
        followers = [feed.join("a") for _ in range(FOLLOWERS_OF_KEY_MAX)]
        with pytest.raises(TooManyRequestsError):
            feed.join("a")
        feed.join("b")
        feed.leave(followers[0])
        feed.join("a")

    asyncio.run(follow())


def test_a_stream_too_many_is_429(hub, monkeypatch) -> None:
    monkeypatch.setattr("understudy.api.event_feed.FOLLOWERS_OF_KEY_MAX", 1)
    stream = Stream(hub.port, "/api/events?follow=1")
    stream.response.readline()
    assert hub.get("/api/events?follow=1").of(429)["retryAfter"] >= 1
    stream.close()
    eventually(lambda: not hub.runtime.feed.followers)
    again = Stream(hub.port, "/api/events?follow=1")
    assert again.response.status == 200
    again.close()


# ---- the hub's own deafness


def test_a_beat_that_the_hub_refuses_is_no_silence_of_its_daemon(start_hub: Callable[..., Hub], monkeypatch) -> None:
    hub = start_hub()
    hub.beat(intervalSec=10).of(200)

    def overloaded(*_: Any) -> None:
        raise UnavailableError("The hub is overloaded")

    with monkeypatch.context() as patch:
        for name in ("ask", "ask_for"):
            patch.setattr(hub.runtime.writer, name, overloaded)
        for _ in range(9 * 6):  # nine minutes
            hub.beat().of(503)
            hub.advance(10_000)
    assert hub.incidents() == []
    assert hub.daemon("mini")["state"] == "healthy"
    hub.advance(DEAF_FOR_S * 1000 + 6 * MINUTE)
    assert [incident["state"] for incident in hub.incidents()] == ["down"]


@pytest.mark.parametrize("pause_s", [0, 31, 300], ids=lambda s: f"{s} s of pause")
def test_refusals_that_somebody_provokes_hide_no_alarm_for_ever(hub: Hub, pause_s: int) -> None:
    """Down after 5 minutes: at most 10 minutes later, and a tenth, however the refusals are spread."""
    hub.beat(intervalSec=10).of(200)
    until_s = (DEAF_MOST_S + 300) * 10 // 9 + 2 * DEAF_FOR_S
    for second in range(0, until_s, 10):
        if second % (DEAF_MOST_S + pause_s) < DEAF_MOST_S:
            hub.runtime.missed_a_sign()
        hub.advance(10_000)
    assert [incident["state"] for incident in hub.incidents()] == ["down"]


def test_refusals_for_a_day_are_deafness_for_a_tenth_of_it(hub: Hub) -> None:
    engine, deaf_s = hub.runtime.writer.engine, 0
    for _ in range(86_400):
        engine.go_deaf()
        hub.clock.advance(1_000)
        deaf_s += engine.is_deaf
    assert deaf_s <= 86_400 // 10 + DEAF_MOST_S + DEAF_FOR_S


def test_a_read_that_is_refused_makes_nobody_deaf(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(wrap=FailingStore)
    set_failing(hub, is_failing=True)
    hub.get("/api/queue").of(503)
    assert not hub.runtime.writer.engine.is_deaf
    hub.beat().of(503)
    assert hub.runtime.writer.engine.is_deaf
