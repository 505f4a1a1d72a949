"""A scene for one run's loop: what it asks for is answered at once, and kept."""

from __future__ import annotations

from typing import Any

from understudy.clock import ManualClock
from understudy.ids import IdMaker
from understudy.worker.effects import (
    AskGuard,
    AwaitRun,
    Call,
    Effect,
    Ended,
    HubAnswer,
    Spawn,
    Spawned,
    SpoolResult,
    TellGuard,
    Wait,
)
from understudy.worker.executors import TaskToRun
from understudy.worker.executors.command import CommandExecutor
from understudy.worker.run import run_loop
from understudy.worker.state import Duties, Identity, Lease, Run, WorkerState

EFFECTS_MAX = 1_000


class Scene:
    """Answers a run's effects by their type and keeps what was asked.

    An answer that can be called is made when it is asked for; of a list, each is given once.
    """

    def __init__(self, executor: Any = None) -> None:
        self.clock = clock = ManualClock()
        identity = Identity("mini", "machine", "boot", "0")
        executor = executor or CommandExecutor(("work",), {})
        self.state = WorkerState(identity, clock, IdMaker(clock), {"command": executor}, Duties())
        lease = Lease(token=7, on_loss="requeue", duration_ms=30_000, first_ms=30_000)
        self.run = Run("r1", TaskToRun(id="t1"), lease, clock.mono_ms(), clock.now_ms())
        self.state.runs["r1"] = self.run
        self.news: list[Any] = [Ended(code=0, stdout=b"answer")]
        self.answers: dict[type, Any] = {
            TellGuard: True,
            Spawn: Spawned(42, 1.0),
            AskGuard: False,
            Call: HubAnswer(200, {}),
        }
        self.effects: list[Effect] = []

    def play(self) -> Scene:
        loop = run_loop(self.state, self.run)
        value: Any = None
        while True:
            try:
                effect = loop.send(value)
            except StopIteration:
                return self
            self.effects.append(effect)
            assert len(self.effects) < EFFECTS_MAX, "it goes on for ever"
            if isinstance(effect, Wait):
                self.clock.advance(effect.timeout_ms)
            value = self._answer(effect)

    def _answer(self, effect: Effect) -> Any:
        if isinstance(effect, AwaitRun):
            news = self.news.pop(0)
            return news() if callable(news) else news
        answer = self.answers.get(type(effect))
        if isinstance(answer, list):
            return answer.pop(0)
        return answer() if callable(answer) else answer

    def all(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def result(self) -> Any:
        (kept,) = self.all(SpoolResult)
        return kept.result
