"""One channel without sockets: what it was sent, what it says next; driven by the real delivery loop."""

from __future__ import annotations

from collections import deque
from typing import Any

from msgspec import Struct

from tests.hub.conftest import Bench
from understudy.coordinator.nouns import Notice, Policy
from understudy.coordinator.routes import Route, Routes
from understudy.hub.delivery import Delivery
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.operation import Operation
from understudy.hub.steps import Performance, Read, Sleep
from understudy.notify.base import ChannelSettings, Message, Outcome, Sent
from understudy.store.queries import NOTICES
from understudy.wire.daemons import HeartbeatBody, RunningBody

LATE_MS, DOWN_MS = 10_000, 20_000
STEPS_MAX = 1_000  # of the outbox, at one instant


def bench_with(
    *routes: Route, channels: tuple[str, ...] = ("ops",), store: Any = None, clock: Any = None, **more: Any
) -> Bench:
    """A hub that tells its channels; daemons are late after 10 s and down after 20 s."""
    chosen = Routes(channels, routes or (Route(channels),), **more)
    return Bench(Policy(late_after_ms=LATE_MS, down_after_ms=DOWN_MS, routes=chosen), store, clock)


class Said(Struct):
    """A request of the stub channel, which holds the message itself."""

    message: Message
    part: int
    is_plain: bool


class Desk:
    """The channel `name` of a hub."""

    def __init__(
        self, bench: Bench, name: str = "ops", language: str = "en", parts: int = 1, kind: str = "slack"
    ) -> None:
        self.bench = bench
        self.parts = parts
        self.says: deque[Outcome] = deque()
        self.always: Outcome | None = None
        self.tried: list[Said] = []
        self.got: list[Message] = []  # what it took
        settings = ChannelSettings(name, kind, language=language)
        self.delivery = Delivery(settings, self, bench.engine.policy.routes, bench.clock, str)  # type: ignore[arg-type]

    # ---- the channel

    def requests_for(self, _: ChannelSettings, message: Message, *, is_plain: bool = False) -> tuple[Any, ...]:
        return tuple(Said(message, part, is_plain) for part in range(self.parts))

    def outcome_of(self, _: ChannelSettings, answer: Outcome) -> Outcome:
        return answer

    def _take(self, said: Said) -> Outcome:
        self.tried.append(said)
        outcome = (
            self.says.popleft() if self.says else self.always or Sent(said.message.edits or f"ref-{len(self.tried)}")
        )
        if isinstance(outcome, Sent) and said.part == self.parts - 1:
            self.got.append(said.message)
        return outcome

    # ---- the loop

    def run(self) -> int:
        """Deliver what is due; how many ms may pass until the next look."""
        for _ in range(STEPS_MAX):
            if wait_ms := self.step():
                return wait_ms
        raise AssertionError(f"the outbox has still something to deliver after {STEPS_MAX} steps")

    def step(self) -> int:
        performance = Performance(self.delivery.step(), lambda: False)
        while (effect := performance.next()) is not None:
            with performance:
                performance.answer = self._perform(effect)
        return performance.pause_ms

    def _perform(self, effect: Any) -> Any:
        match effect:
            case Operation():
                (answer,) = self.bench.ask(effect)
                if isinstance(answer, BaseException):
                    raise answer
                return answer
            case Read():
                return self.bench.store.read(effect.show)
            case Sleep():
                return self.bench.pass_time(effect.ms)
            case _:
                return self._take(effect)

    @property
    def titles(self) -> list[str]:
        return [message.title for message in self.got]


def beat(bench: Bench, daemon: str = "mini", *running: tuple[str, int], **more: Any) -> Any:
    runs = [RunningBody(task_id, token) for task_id, token in running]
    body = HeartbeatBody(daemon_id=daemon, boot_id="b1", interval_sec=1, seq=bench.clock.now_ms(), running=runs, **more)
    (answer,) = bench.ask(RecordHeartbeat(body))
    assert not isinstance(answer, BaseException), answer
    return answer


def live(bench: Bench, ms: int, *desks: Desk, daemons: tuple[str, ...] = ()) -> None:
    """Let time pass; `daemons` beat each second, everything else goes its way."""
    for _ in range(max(ms // 1000, 1)):
        bench.pass_time(min(ms, 1000))
        for daemon in daemons:
            beat(bench, daemon)
        for desk in desks:
            desk.run()


def be_late_once(bench: Bench, desk: Desk) -> None:
    """`mini` falls silent until it is late, comes back, and lives for a minute."""
    beat(bench)
    live(bench, LATE_MS + 2_000, desk)
    beat(bench)
    live(bench, 60_000, desk, daemons=("mini",))


def rows(bench: Bench, **wanted: Any) -> list[Notice]:
    """Rows of the outbox, oldest first, with these values."""
    found = bench.store.read(lambda reader: reader.find(NOTICES, limit=1000))
    return [row for row in reversed(found) if all(getattr(row, name) == value for name, value in wanted.items())]
