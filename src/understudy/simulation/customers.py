"""Submitters: they enqueue (and send it again), cancel, retry and move, at any moment."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from understudy.simulation.network import Network
from understudy.simulation.processes import Work
from understudy.simulation.weather import Weather
from understudy.simulation.world import ViolationError, World
from understudy.worker.effects import Call, Failed, HubAnswer

TIMEOUT_MS = 8_000
AGAIN_MS_MAX = 6_000
SENT_AGAIN = 0.25  # enqueues that are sent again although they were answered
LASTS_MS = (4_000, 25_000, 90_000)
VERBS = ("cancel", "cancel", "retry", "move")


class Customers:
    """All of them: they keep what was acknowledged in mind, and nothing else."""

    name = "customer"
    is_cut = False

    def __init__(
        self, world: World, network: Network, weather: Weather, needs: tuple[tuple[str, ...] | None, ...]
    ) -> None:
        self._world = world
        self._network = network
        self._weather = weather
        self._needs = needs
        self._count = 0
        self._bodies: list[dict[str, Any]] = []
        self.acknowledged: set[str] = set()
        self.unanswered = 0
        self.has_stopped = False

    def begin(self, tasks: int, within_ms: int) -> None:
        """Plan the enqueues of this world."""
        for _ in range(tasks):
            self._world.at(self._world.between(0, within_ms), self._enqueue)
        if self._weather.steering_ms:
            self._world.after(self._next_ms(), self._steer)

    def _body(self) -> dict[str, Any]:
        chance = self._world.random
        self._count += 1
        code = chance.choice((0, 0, 0, 0, 1))
        ms = self._world.between(50, chance.choice(LASTS_MS))
        body: dict[str, Any] = {"content": msgspec.json.encode(Work(ms, code)).decode()}
        body[chance.choice(("id", "dedupKey"))] = f"job-{self._count}"
        needs = chance.choice(self._needs)
        if needs is not None:
            body["needs"] = list(needs)
        for key, values in (
            ("maxAttempts", (None, None, 2, 3)),
            ("onLoss", (None, None, "requeue", "wait", "ask")),
            ("priority", (None, "high", "low", "whenever")),
            ("delaySec", (None, None, None, 20)),
            ("timeoutSec", (None, None, 30, 120)),
        ):
            value = chance.choice(values)
            if value is not None:
                body[key] = value
        return body

    def _enqueue(self) -> None:
        body = self._body()
        self._bodies.append(body)
        self.unanswered += 1
        self._send(body)
        if self._world.chance(SENT_AGAIN) and not self._weather.is_calm:
            self._world.after(self._world.between(100, 120_000), partial(self._send_once, body))

    def _send(self, body: dict[str, Any]) -> None:
        """Until it is acknowledged, the same again and again."""

        def heard(answer: HubAnswer | Failed) -> None:
            if isinstance(answer, HubAnswer) and answer.body.get("success"):
                self.acknowledged.add(answer.body["taskId"])
                self.unanswered -= 1
            elif isinstance(answer, HubAnswer) and answer.status < 500:  # noqa: PLR2004
                raise ViolationError("I6 replays are idempotent", f"{body} refused: {answer}")
            else:
                self._world.after(self._world.between(100, AGAIN_MS_MAX), partial(self._send, body))

        self._network.send(self, Call("POST", "/api/queue", body, TIMEOUT_MS), heard)

    def _send_once(self, body: dict[str, Any]) -> None:
        self._network.send(self, Call("POST", "/api/queue", body, TIMEOUT_MS), lambda _: None)

    def _next_ms(self) -> int:
        return round(self._world.random.expovariate(1 / self._weather.steering_ms))

    def _steer(self) -> None:
        if self.has_stopped:
            return
        self._world.after(self._next_ms(), self._steer)
        if self.acknowledged:
            task_id = self._world.random.choice(sorted(self.acknowledged))
            self.ask(task_id, self._world.random.choice(VERBS))

    def ask(self, task_id: str, verb: str) -> None:
        """Cancel, retry or move; whether it is heard is not this customer's worry."""
        call = Call("POST", f"/api/tasks/{task_id}/{verb}", {}, TIMEOUT_MS)
        self._network.send(self, call, lambda _: None)
