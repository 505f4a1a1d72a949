"""A client that behaves as the old Node programs do (docs/contract.md, section 2); its clock is simulated."""

from __future__ import annotations

import heapq
import http.client
from collections.abc import Callable, Generator
from itertools import count
from typing import Any

from tests.api.hubs import MINUTE, Hub
from tests.api.wire import Answer, Client

POLL_MS, RENEW_MS, BEAT_MS = 15_000, 2 * MINUTE, 5 * MINUTE
TRIES, RETRY_MS = 3, 2_000
TIMEOUT_S = 15
Life = Generator[int, None, None]  # yields how many ms to sleep


class World:
    """The hub of the moment and everything that happens, in the order of the clock."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.daemons: list[NodeDaemon] = []
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, delay_ms: int, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.hub.clock.mono_ms() + delay_ms, next(self._order), act))

    def live(self, life: Life) -> None:
        """Let a life go on until it sleeps, and wake it when its time has come."""
        sleep_ms = next(life, None)
        if sleep_ms is not None:
            self.at(sleep_ms, lambda: self.live(life))

    def run(self, ms: int) -> None:
        end = self.hub.clock.mono_ms() + ms
        while self._due and self._due[0][0] <= end:
            due, _, act = heapq.heappop(self._due)
            self._pass(due)
            act()
        self._pass(end)

    def close(self) -> None:
        for daemon in self.daemons:
            daemon.stop()

    def _pass(self, until: int) -> None:
        left = until - self.hub.clock.mono_ms()
        if left > 0 and self.hub.is_stopped:
            self.hub.clock.advance(left)
        elif left > 0:
            self.hub.advance(left)


class NodeDaemon:
    """One start of such a program; `stop` is a SIGKILL, a new object is its restart."""

    def __init__(self, world: World, host: str, run_ms: Callable[[str], int], *, has_cli: bool = True) -> None:
        self.world = world
        self.worker_id = f"daemon_{host}_{world.hub.now}"
        self.run_ms = run_ms
        self.has_cli = has_cli
        self.is_alive = True
        self.done: list[str] = []
        self.given_up: list[str] = []
        self._client = Client(world.hub.port, timeout_s=TIMEOUT_S)
        world.daemons.append(self)
        world.live(self._poll())
        world.live(self._beat())

    def stop(self) -> None:
        self.is_alive = False
        self._client.close()

    def _send(self, method: str, path: str, *body: Any) -> Generator[int, None, Answer | None]:
        """Three tries on anything but 2xx and 401, seconds apart."""
        for nth in range(1, TRIES + 1):
            try:
                answer = self._client.call(method, path, *body)
            except (OSError, http.client.HTTPException):
                answer = None
            if answer is not None and (answer.status < 300 or answer.status == 401):
                return answer
            if nth < TRIES:
                yield RETRY_MS * nth
                if not self.is_alive:
                    return None
        self.given_up.append(f"{method} {path} {answer and answer.text}")
        return None

    def _beat(self) -> Life:
        while self.is_alive:
            yield BEAT_MS
            if self.is_alive:
                yield from self._send("POST", "/api/queue/heartbeat", {"workerId": self.worker_id})

    def _poll(self) -> Life:
        while self.is_alive:
            claim = {"workerId": self.worker_id, "leaseDurationSec": 300}
            answer = yield from self._send("POST", "/api/queue/claim", claim)
            if answer is not None and self.is_alive and answer.body["success"]:
                yield from self._work(answer.body["task"])
            yield POLL_MS

    def _work(self, task: dict[str, Any]) -> Life:
        task_id, user = task["id"], task["metadata"]["user_id"]
        shown = "[object%20Object]" if isinstance(user, dict) else user
        channel = task["source"].upper()
        yield from self._send("GET", f"/api/memory/context/{shown}?channel={channel}&maxTokens=2000")
        yield from self._save(user, channel, "user", task["content"])
        yield from self._send("POST", f"/api/queue/{task_id}/status", {"status": "processing"})
        if not self.has_cli:
            yield from self._fail_without_cli(task_id)
            return
        left = self.run_ms(task_id)
        while left > 0 and self.is_alive:
            yield min(left, RENEW_MS)
            left -= RENEW_MS
            if left > 0 and self.is_alive:
                yield from self._send(
                    "POST", f"/api/queue/{task_id}/renew", {"workerId": self.worker_id, "extendSec": 300}
                )
        if not self.is_alive:
            return
        yield from self._save(user, channel, "assistant", "")
        result = {"id": task_id, "status": "completed", "output": f"answer to {task_id}", "elapsed": "5.0"}
        answer = yield from self._send("POST", f"/api/result/{task_id}", result)
        if answer is not None:
            self.done.append(task_id)

    def _fail_without_cli(self, task_id: str) -> Life:
        """Release first, then a failed result, as they do."""
        released = {"workerId": self.worker_id, "reason": "CLI not found"}
        yield from self._send("POST", f"/api/queue/{task_id}/release", released)
        result = {"id": task_id, "status": "failed", "error": "CLI not found", "elapsed": "0.0"}
        yield from self._send("POST", f"/api/result/{task_id}", result)

    def _save(self, user: Any, channel: str, role: str, content: str) -> Life:
        message = {"user_id": user, "channel": channel, "source": "daemon", "role": role, "content": content}
        yield from self._send("POST", "/api/memory/save", message)
