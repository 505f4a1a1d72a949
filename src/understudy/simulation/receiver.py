"""A played receiver of notices, and the oracle's part about them: each arrives, and again only for a reason."""

from __future__ import annotations

from collections.abc import Callable

from understudy.coordinator.nouns import Notice
from understudy.coordinator.routes import Route, Routes
from understudy.notify.base import ChannelSettings
from understudy.simulation.world import ViolationError, World
from understudy.store.base import Reader, Store
from understudy.wire.outbound import HttpAnswer, HttpRequest, NoAnswer

URL = "http://receiver.simulated/"
CHANNEL = ChannelSettings("owner", "webhook", URL)
ROUTES = Routes(("owner",), (Route(("owner",), level="info"),))
KEY = "x-understudy-delivery"
ANSWER_MS = ((20, 300), (20, 300), (300, 4_000), (4_000, 30_000))
UNREACHED, BUSY, CUT = 0.05, 0.05, 0.05  # requests: in bad weather
ROWS_MAX = 10_000
OVERDUE_MS = 180_000  # its channel may be left alone for a minute after failures, and is slow


class Receiver:
    """`is_bad`: whether the weather is bad now."""

    def __init__(self, world: World, is_bad: Callable[[], bool]) -> None:
        self._world = world
        self._is_bad = is_bad
        self._excused = 0
        self._had: dict[str, int] = {}  # by key: the excuses until it last arrived

    def excuse(self) -> None:
        """A life of the hub ended, a commit failed or an answer was lost: what was on its way may come again."""
        self._excused += 1

    def asked(self, request: HttpRequest) -> tuple[int, HttpAnswer | NoAnswer]:
        """The duration and the answer of a request."""
        world, is_bad = self._world, self._is_bad()
        took_ms = min(world.between(*world.random.choice(ANSWER_MS)), request.timeout_ms)
        if is_bad and world.chance(UNREACHED):
            return 50, NoAnswer("refused", was_sent=False)
        if is_bad and world.chance(BUSY):
            return took_ms, HttpAnswer(503, {}, b"busy")
        self._has(dict(request.headers)[KEY])
        if (is_bad and world.chance(CUT)) or took_ms >= request.timeout_ms:
            self.excuse()
            return took_ms, NoAnswer("cut")
        return took_ms, HttpAnswer(204)

    def _has(self, key: str) -> None:
        self._world.tell(f"the owner gets notice {key}")
        if self._had.get(key) == self._excused:
            raise ViolationError("N2 a notice comes again for a reason only", key)
        self._had[key] = self._excused

    def check(self, store: Store, *, steady: bool) -> None:
        """Each notice that counts as sent is there, and none that is due is left lying."""
        store.read(lambda reader: self._check(reader, steady=steady))

    def _check(self, reader: Reader, *, steady: bool) -> None:
        wall = self._world.clock.now_ms()
        for row in reader.load_all(Notice, ROWS_MAX):
            if row.state == "sent" and not {row.id, row.folded_into} & self._had.keys():
                raise ViolationError("N1 a notice that counts as sent has arrived", f"{row.id} {row.cause}", row.id)
            if row.state == "dead":
                raise ViolationError("N1 a notice is not given up", f"{row.id} {row.last_error}", row.id)
            due_at = max(row.next_at, row.taken_until)
            if steady and row.state == "waiting" and due_at < wall - OVERDUE_MS:
                said = f"{row.id} {row.cause} has been due for {wall - due_at} ms"
                raise ViolationError("N1 a notice is sent when it is due", said, row.id)

    def is_done(self, store: Store) -> bool:
        """True if no notice waits."""
        return store.read(lambda reader: all(row.state != "waiting" for row in reader.load_all(Notice, ROWS_MAX)))
