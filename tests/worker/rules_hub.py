"""A hub for the stage: one queue, leases that end, tokens that fence; the line to it can be cut."""

from __future__ import annotations

from typing import Any

from tests.worker.stage import Stage
from understudy.clock import iso
from understudy.worker.effects import Call, Failed, HubAnswer

RTT_MS = 4


class RulesHub:
    """Leases by the hub's rules, as far as one daemon can see them."""

    def __init__(self, *, lease_ms: int = 30_000, wait_ms: int = 300_000, **stage: Any) -> None:
        self.stage = Stage(self.call, **stage)
        self.lease_ms = lease_ms
        self.wait_ms = wait_ms
        self.queue: list[dict[str, Any]] = []
        self.token: dict[str, int] = {}
        self.ends_ms: dict[str, int] = {}
        self.on_loss: dict[str, str] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self.applied: list[str] = []
        self.refused: list[dict[str, Any]] = []
        self.released: list[tuple[str, str]] = []
        self.cancelled: set[str] = set()
        self.boot = ""
        self.requests: dict[str, list[dict[str, Any]]] = {}
        self.granted_ms: dict[str, int] = {}
        self.says_left = True  # an older hub does not say how much of a lease is left
        self.stepped_ms = 0  # of its wall clock
        self.is_away = False
        self.loses_answers = 0  # the next n answers do not arrive
        self.refuses: dict[str, HubAnswer] = {}  # path ending → what it answers instead
        self.next_token = 1

    def submit(self, task_id: str, **fields: Any) -> None:
        self.queue.append({"id": task_id, "content": "", **fields})

    def call(self, call: Call) -> tuple[int, HubAnswer | Failed]:
        if self.is_away:
            return 1, Failed("connection refused")
        for ending, answer in self.refuses.items():
            if call.path.endswith(ending):
                return RTT_MS, answer
        delay_ms, answer = self._answer(call)
        if self.loses_answers:
            self.loses_answers -= 1
            return delay_ms, Failed("connection cut")
        return delay_ms, answer

    def _answer(self, call: Call) -> tuple[int, HubAnswer]:
        body = call.body
        if call.path.endswith("/claim"):
            return self._claim(body)
        if call.path.endswith("/heartbeat"):
            return RTT_MS, self._beat(body)
        if call.path.endswith("/results"):
            return RTT_MS, HubAnswer(200, {"results": [self._result(entry) for entry in body["results"]]})
        if call.path.endswith("/release"):
            task_id = call.path.split("/")[3]
            if not self._is_current(task_id, body["token"]):
                return RTT_MS, HubAnswer(409, {"error": "Lease lost", "code": "lease_lost"})
            self.released.append((task_id, body["reason"]))
            del self.token[task_id]
            return RTT_MS, HubAnswer(200, {"success": True})
        return RTT_MS, HubAnswer(201, {"success": True})

    def _claim(self, body: dict[str, Any]) -> tuple[int, HubAnswer]:
        if body["bootId"] != self.boot:
            return RTT_MS, HubAnswer(409, {"error": "?", "code": "unknown_boot"})
        if again := [self._again(entry) for entry in self.requests.get(body["requestId"], ()) if self._is_held(entry)]:
            return RTT_MS, HubAnswer(200, {"success": True, "tasks": again})
        if not self.queue:
            empty = HubAnswer(200, {"success": False, "message": "No tasks available", "pending": 0})
            return int(body["waitSec"] * 1000), empty
        granted = [self.grant(self.queue.pop(0), body) for _ in range(min(body["max"], len(self.queue)))]
        self.requests[body["requestId"]] = granted
        return RTT_MS, HubAnswer(200, {"success": True, "tasks": granted})

    def _is_held(self, entry: dict[str, Any]) -> bool:
        task_id = entry["task"]["id"]
        return self._is_current(task_id, entry["lease"]["token"]) and self.stage.now_ms < self.ends_ms[task_id]

    def _again(self, entry: dict[str, Any]) -> dict[str, Any]:
        return {**entry, "lease": entry["lease"] | self._ends(entry["task"]["id"])}

    def _ends(self, task_id: str) -> dict[str, Any]:
        """The instants by the hub's wall clock, as it says them now."""
        left_ms = self.ends_ms[task_id] - self.stage.now_ms
        ends = {"claimedAt": iso(self.granted_ms[task_id]), "expiresAt": iso(self.wall_ms + left_ms)}
        return ends | ({"leftSec": left_ms / 1000} if self.says_left else {})

    def absent(self, ms: int, stepped_ms: int = 0) -> None:
        """Time passes that the hub does not hear, and its wall clock is set ahead: no lease comes nearer to its end."""
        is_away, self.is_away = self.is_away, True
        self.stage.run_for(ms)
        self.ends_ms = {task_id: ends_ms + ms for task_id, ends_ms in self.ends_ms.items()}
        self.is_away, self.stepped_ms = is_away, self.stepped_ms + stepped_ms

    @property
    def wall_ms(self) -> int:
        return self.stage.now_ms + self.stepped_ms

    def grant(self, task: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        token, self.next_token = self.next_token, self.next_token + 1
        on_loss = body["onLoss"]
        lasts_ms = self.lease_ms if on_loss == "requeue" else self.wait_ms
        first_ms = min(lasts_ms, self.lease_ms)
        self.token[task["id"]], self.on_loss[task["id"]] = token, on_loss
        self.ends_ms[task["id"]] = self.stage.now_ms + first_ms
        self.granted_ms[task["id"]] = self.wall_ms
        lease = {
            "workerId": body["workerId"],
            "token": token,
            "onLoss": on_loss,
            "durationSec": lasts_ms / 1000,
        }
        return {"task": task, "lease": lease | self._ends(task["id"])}

    def _beat(self, body: dict[str, Any]) -> HubAnswer:
        self.boot = body["bootId"]
        lost, cancel = [], []
        for run in body["running"]:
            task_id = run["taskId"]
            if not self._is_current(task_id, run["token"]):
                lost.append(task_id)
            elif task_id in self.cancelled:
                cancel.append(task_id)
            else:
                lasts_ms = self.lease_ms if self.on_loss[task_id] == "requeue" else self.wait_ms
                self.ends_ms[task_id] = self.stage.now_ms + lasts_ms
        return HubAnswer(200, {"success": True, "nextInSec": 10, "lost": lost, "cancel": cancel})

    def _result(self, entry: dict[str, Any]) -> dict[str, Any]:
        task_id = entry["taskId"]
        if not self._is_current(task_id, entry["token"]):
            self.refused.append(entry)
            return {"taskId": task_id, "error": "Lease lost", "code": "lease_lost"}
        if task_id not in self.results:
            self.results[task_id] = entry
            self.applied.append(task_id)
        return {"taskId": task_id, "success": True}

    def _is_current(self, task_id: str, token: int) -> bool:
        return self.token.get(task_id) == token

    def take_away(self, task_id: str) -> None:
        """Somebody else has claimed it."""
        self.token[task_id], self.next_token = self.next_token, self.next_token + 1
