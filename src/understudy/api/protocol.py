"""uvicorn's HTTP protocol with limits on what it keeps, and no way out of a request but its end.

A parser can leave a request in other ways than by its end: a switch to another protocol, CONNECT, an error in the
middle, trailers, a last message. Whatever follows then is never read as another request (request smuggling): an offer
to switch is an ordinary request whose body counts, and its connection is closed after it (RFC 9110, 7.8: a server may
ignore Upgrade).
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Awaitable, Callable
from typing import Any

import httptools

from understudy.api.connections import Connections, address_of
from understudy.api.line_state import HEADER_BYTES, Flow, LineState
from understudy.api.parting import NO_TRAILERS, Parting
from understudy.api.reader_watch import SLOWEST_BYTES_A_S, ReaderWatch
from understudy.api.respond import length_of

HEAD_BYTES_MAX = 64 * 1024  # request line and headers, or trailers; and a slice more
HEADERS_MAX = 256
HEAD_WITHIN_S = 30
BODY_WITHIN_S = 30  # and a second more for each SLOWEST_BYTES_A_S
IGNORED_BYTES_MAX = 16 << 20  # of a body that was answered before it had arrived
REQUEST_BYTES = 2048  # what a request that waits takes in memory besides its headers
LINGER_S = 0.3  # at the end of the hub: for a request that is on its way, and for the client to close
SLICE = 4 * 1024  # what is parsed at once holds the loop: some 200 of the smallest requests, 10 ms
NOT_HANDED_ON = frozenset((b"connection", b"upgrade", b"http2-settings", b"proxy-connection"))
INVALID = "Invalid HTTP request received."


class LimitedProtocol(LineState):
    """One connection. Heads and trailers beyond 64 KiB are refused; heads, bodies and unread answers have deadlines.

    Bytes are fed in slices. A slice that neither completes a head nor brings body is kept by the parser: those in
    a row are counted. (Counting each header instead cost a tenth of a small request.)
    """

    address = ""
    _is_heard = False
    _is_offering = False  # the request offers to switch to another protocol
    _is_over = False  # nothing that comes from here on is read
    _refusal = ""  # sent once the requests before it are answered
    _body_bytes = 0
    _timer: TimerHandle | None = None
    _body_since = 0.0
    _parting: Parting
    _reader: ReaderWatch

    def __init__(self, crowd: Connections, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.crowd = crowd
        self._answer = self.app
        self.app = self._answer_when_read
        self._before = self.cycle
        self._running: Any = None
        self.headers = NO_TRAILERS  # until the first head
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)

    # ---- the connection

    def connection_made(self, transport: Any) -> None:
        """Wait for the first head, within a limit."""
        super().connection_made(transport)
        self.flow = Flow(transport, self)
        self._parting = Parting(transport, self._end)
        self._reader = ReaderWatch(self, self.loop)
        self.address = address_of(self.client)
        self._wait(HEAD_WITHIN_S, self._give_up)
        self.crowd.join(self)
        if self.crowd.is_ending:
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._is_over = True
        self._rest = b""
        self.pipeline.clear()
        self._stop_timer()
        self._unset_keepalive_if_required()
        self._reader.stop()
        self.crowd.leave(self)
        if self._running is not None and self._running is not self.cycle:  # it waits; another came after it
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def drop(self) -> None:
        """Close now, whatever is unread."""
        self.transport.abort()

    def shutdown(self) -> None:
        """The hub is stopping: the next answer says that it is the last one.

        A request that is on its way while nothing was asked is still answered. An answer that has begun cannot say
        so any more, so one more request is taken after it.
        """
        newest: Any = self.cycle
        if self.is_idle:
            self._wait(LINGER_S, self._part)
        elif self._is_parting:
            self._wait(LINGER_S, self._give_up)
        elif not (self._is_answered or newest.response_started):
            newest.keep_alive = False

    def _end(self) -> None:
        """The last answer is sent. Closed while its body comes, the client would find a reset instead of the answer."""
        if self._is_parting and not self.transport.is_closing():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _part(self) -> None:
        """Close our half first: an end that comes from us never breaks what the client is just sending."""
        if self._in_head:
            self._wait(HEAD_WITHIN_S, self._give_up)
        elif self.is_idle and not self.transport.is_closing():
            self._is_over = True
            self.transport.write_eof()
            self._wait(LINGER_S, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """The answer to what is no request, and the end of the connection."""
        super().send_400_response(msg)
        self._let_read()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more was asked for a while."""
        self._give_up()

    # ---- what comes in

    def data_received(self, data: bytes) -> None:
        """Feed what came in slices; stop when the parser keeps too much, or when an answer must go out first."""
        if self._rest:
            self._keep(data)
            return
        for start in range(0, len(data), SLICE):
            if self._is_over or self.transport.is_closing():
                return
            if self.pipeline:
                self._keep(data[start:])
                return
            self._feed(data[start : start + SLICE])

    def _keep(self, data: bytes) -> None:
        """Keep what is not parsed yet until the earlier requests are answered: the client sends requests ahead."""
        self._rest += data
        self.flow.pause_reading()
        self.crowd.note_waiting(self, self.waiting_bytes)

    def _feed(self, part: bytes) -> None:
        self._is_heard = False
        self._parse(part)
        if not (self._is_heard or self._is_over):
            self._note_kept(len(part))
        elif self._kept:
            self._kept = 0
            self.crowd.note_waiting(self, self.waiting_bytes)
        if self._timer is None and (self._in_head or self._in_body) and not self._is_over:
            self._set_deadline()

    def _note_kept(self, size: int) -> None:
        """The parser keeps so much more of a head; its headers are kept one by one."""
        self._kept += size
        self.crowd.note_waiting(self, self.waiting_bytes)
        if self._kept > HEAD_BYTES_MAX or len(self.headers) > HEADERS_MAX:
            self._refuse("Request head too large.")

    def _parse(self, part: bytes) -> None:
        try:
            self.parser.feed_data(part)
        except httptools.HttpParserUpgrade as left:
            if not self._is_over:
                self._stay(part[left.args[0] :])
        except httptools.HttpParserError:
            if not self._is_over:
                self._refuse(INVALID)

    def _stay(self, rest: bytes) -> None:
        """Read the request again without its offer to switch, so that its body is a body; it is the last one."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] not in NOT_HANDED_ON]
        self._is_offering = False
        self.parser = httptools.HttpRequestParser(self)
        self._parse(b"\r\n".join([*lines, b"connection: close", b"", b""]))
        if rest and not self._is_over:
            self._parse(rest)

    def _refuse(self, why: str) -> None:
        """400 and the end, once the requests before it are answered; a request that was broken off does nothing."""
        self._is_over = True
        self._stop_timer()
        if self._in_body:
            self._break_off(why)
        elif self._is_answered:
            self.send_400_response(why)
        else:
            self._refusal = why

    def _break_off(self, why: str) -> None:
        """The body of a request turned out wrong."""
        self._in_body = False
        cycle = self.cycle
        if self.pipeline and self.pipeline[0][0] is cycle:  # it has not begun, and will not
            self.pipeline.popleft()
            self.cycle = self._before
            self._refusal = why
            return
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.response_started:  # it has its answer: a second one would be taken for that of another request
            self._give_up()
        else:
            self.send_400_response(why)

    # ---- what the parser says

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        self._unset_keepalive_if_required()
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._is_over:  # the deadline that runs is that of its end
            return
        if self._timer is not None:
            self._stop_timer()
        self._unset_keepalive_if_required()  # its first bytes came before the answer to the request before it
        self._is_heard = True
        self._in_head = False
        if self.parser.get_method() == b"CONNECT" or len(self.headers) > HEADERS_MAX:
            self._refuse(INVALID)
            return
        self._is_offering = self.parser.should_upgrade()
        if self._is_offering:
            return
        self.headers = NO_TRAILERS  # the request keeps its own
        self.scope["connection"] = self  # type: ignore[typeddict-unknown-key]
        self._body_bytes = 0
        self._begin()  # fails for a URL that cannot be read: then there is no request whose body could follow
        self._in_body = True

    def _begin(self) -> None:
        """Hand the request on; its body follows."""
        self._before = self.cycle
        super().on_headers_complete()
        self.cycle.transport = self._parting  # type: ignore[assignment]  # as much of one as an answer uses
        if self.crowd.is_ending:
            self.cycle.keep_alive = False
        if self.expect_100_continue:  # whether its body comes after a refusal is anybody's guess: it is the last one
            self.cycle.keep_alive = False
        if length_of(self.scope) > IGNORED_BYTES_MAX:  # it is refused, and then not read to its end
            self.cycle.keep_alive = False
        if self.pipeline:  # it waits, and its head with it
            self._queued_bytes += self._kept + REQUEST_BYTES + HEADER_BYTES * len(tuple(self.scope["headers"]))
            self._kept = 0
            self.crowd.note_waiting(self, self.waiting_bytes)

    def on_body(self, body: bytes) -> None:
        """Body is read, and limited, by what answers; what waits for that is counted once nothing more is read."""
        self._is_heard = True
        if self._is_over or not self._in_body:
            return
        self._body_bytes += len(body)
        super().on_body(body)
        if self.flow.read_paused and not self.pipeline:
            self.unread_body_bytes = len(self.cycle.body)
            self.crowd.note_waiting(self, self.waiting_bytes)
        if self.cycle.response_complete and self._body_bytes > IGNORED_BYTES_MAX:
            self._give_up()

    def on_message_complete(self) -> None:
        """The request is whole. After the last one nothing is read."""
        if self._is_offering or self._is_over or not self._in_body:
            return
        self._in_body = False
        if self._timer is not None:
            self._stop_timer()
        self._is_over = not self.cycle.keep_alive
        self.cycle.waiting_for_100_continue = False
        super().on_message_complete()
        if self.cycle.response_complete:
            self._go_on_after_body()

    def _go_on_after_body(self) -> None:
        """The body of a request that was answered early has come."""
        if self._is_over:
            self._give_up()
        elif self.crowd.is_ending:
            self.shutdown()

    # ---- what goes out

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        cycle.on_response = self._forget_body
        super()._start_asgi_task(cycle, app)

    def _forget_body(self) -> None:
        """It is answered: what nobody has read of its body is not kept until the next request."""
        self._running.body.clear()
        self.on_response_complete()

    def _answer_when_read(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """No answer is made while the one before is not read: else both stand in memory."""
        return (self._answer_later if self.flow.write_paused else self._answer)(scope, receive, send)

    async def _answer_later(self, scope: Any, receive: Any, send: Any) -> None:
        await self.flow.drain()
        await self._answer(scope, receive, send)

    def on_response_complete(self) -> None:
        """Go on with what came meanwhile."""
        self._conclude()
        if self.transport.is_closing():
            self._let_read()
        elif self._refusal and self._is_answered:
            self.send_400_response(self._refusal)
        elif self._in_head and self._is_answered:
            self._set_deadline()
        elif self.crowd.is_ending:
            self.shutdown()

    def _conclude(self) -> None:
        """Begin the request that was sent ahead, or wait for the next one."""
        was_ahead = self.is_ahead
        super().on_response_complete()
        if was_ahead and not self.pipeline:
            self._catch_up()

    def _catch_up(self) -> None:
        """The last of what was sent ahead is begun: read on, what waits first; its body may pause that again."""
        self._queued_bytes = 0
        rest, self._rest = self._rest, b""
        self.flow.resume_reading()
        self.data_received(rest)
        if self._timer is None and not self._is_over:
            self._set_deadline()

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        super().pause_writing()
        self._reader.start()
        self.crowd.note_unread(self)

    def resume_writing(self) -> None:
        """It was read; of a connection that is closed the rest is waited for too."""
        super().resume_writing()
        self.crowd.note_read(self)
        if not self.transport.is_closing():
            self._reader.stop()

    def _let_read(self) -> None:
        """It is closed: what was answered before may be read at the same pace, and then nobody is waited for."""
        self._stop_timer()
        self._reader.start()

    # ---- deadlines

    def _set_deadline(self) -> None:
        """None for half a head before all is answered: it would cut that off. Nobody is slow whom we do not read."""
        if self._in_head and self._is_answered:
            self._wait(HEAD_WITHIN_S, self._give_up)
        elif self._in_body and not self.pipeline:
            self._body_since = self.loop.time()
            self._wait(BODY_WITHIN_S, self._judge_body)

    def _judge_body(self) -> None:
        """30 s, and a second more for each 16 KiB; while we do not read nobody is slow."""
        allowed_s = BODY_WITHIN_S + self._body_bytes / SLOWEST_BYTES_A_S
        left_s = self._body_since + allowed_s - self.loop.time()
        if left_s > 0 or self.flow.read_paused:
            self._wait(max(left_s, 1.0), self._judge_body)
        else:
            self._give_up()

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, then)

    def _give_up(self) -> None:
        """Close; what was answered may still be read."""
        self._is_over = True
        self.transport.close()
        self._let_read()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
