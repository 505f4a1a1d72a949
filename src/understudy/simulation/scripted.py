"""Workers by script: old clients without tokens, and token-aware ones that know no beat, guard or boot.

They keep no promise that the contract does not force on them: they stall, forget, and report what is not theirs
any more under the same name. That is what fencing is for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from understudy.simulation.loops import LATER, GoOn, Loops
from understudy.simulation.network import Network
from understudy.simulation.processes import Work
from understudy.simulation.world import World
from understudy.worker.effects import Call, Effect, Failed, Fork, HubAnswer, Loop, Steps, Wait
from understudy.worker.state import Signals

OLD_TRIES = 3
OLD_TIMEOUT_MS = 15_000
OLD_POLL_MS, OLD_RENEW_MS, OLD_BEAT_MS = 15_000, 120_000, 300_000
TIMEOUT_MS = 10_000
RESULT_TRIES = 8
EPITAPHS, EPITAPH_MS_MAX = 0.7, 90_000

Script = Callable[["Worker"], Loop]


class Worker:
    """One process of a scripted worker: it can be frozen and killed, and starts again under the same machine."""

    def __init__(self, world: World, network: Network, name: str, script: Script, provides: tuple[str, ...]) -> None:
        self.world = world
        self.network = network
        self.machine = name
        self.name = name
        self.provides = provides
        self.cut_until_ms = 0
        self.unreported: tuple[str, dict[str, Any]] | None = None  # what its last life worked on; survives a crash
        self._script = script
        self._loops: Loops | None = None

    @property
    def is_cut(self) -> bool:
        """True if nothing gets through."""
        return self.world.now_ms < self.cut_until_ms

    def boot(self) -> None:
        """Start; an old client puts the instant of its start into its name."""
        if self._loops is not None:
            return
        if self._script is old_script:
            self.name = f"{self.machine}_{self.world.clock.now_ms()}"
        self.world.tell(f"{self.name} starts")
        self._loops = Loops(self.world, self.name, Signals(), self._perform)
        self._loops.start("main", lambda: self._script(self))

    def crash(self) -> None:
        """SIGKILL."""
        if self._loops is not None:
            self.world.tell(f"{self.name} is killed")
            self._loops.kill()
            self._loops = None

    def hold(self, *, frozen: bool) -> None:
        """SIGSTOP and SIGCONT."""
        if self._loops is not None:
            self._loops.hold(frozen=frozen)

    def _perform(self, effect: Effect, go_on: GoOn) -> Any:
        if not isinstance(effect, Call):
            return None
        self.network.send(self, effect, go_on)
        return LATER

    def new_id(self) -> str:
        """For requests that may be sent again."""
        return f"{self.machine}-{self.world.random.getrandbits(48):012x}"


def old_script(worker: Worker) -> Loop:
    """An old Node program (docs/contract.md, section 2): no token, no boot, polls every 15 s, beats every 5 min."""
    yield Fork("beats", lambda: _old_beats(worker))
    lease_s = worker.world.random.choice((150, 300))
    while True:
        answer = yield Call(
            "POST",
            "/api/queue/claim",
            {"workerId": worker.name, "leaseDurationSec": lease_s},
            timeout_ms=OLD_TIMEOUT_MS,
        )
        if isinstance(answer, HubAnswer) and answer.body.get("success"):
            yield from _old_run(worker, answer.body["task"])
        else:
            yield Wait("poll", OLD_POLL_MS)


def _old_beats(worker: Worker) -> Loop:
    while True:
        yield Wait("beats", OLD_BEAT_MS)
        yield from _old_post("/api/queue/heartbeat", {"workerId": worker.name}, "beat again")


def _old_post(path: str, body: dict[str, Any], signal: str = "again") -> Loop:
    """Three tries on anything but 2xx and 401, seconds apart."""
    for _ in range(OLD_TRIES):
        answer = yield Call("POST", path, body, timeout_ms=OLD_TIMEOUT_MS)
        if isinstance(answer, HubAnswer) and (answer.status < 300 or answer.status == 401):  # noqa: PLR2004
            return
        yield Wait(signal, 2_000)


def _old_run(worker: Worker, task: dict[str, Any]) -> Loop:
    work = msgspec.json.decode(task["content"], type=Work)
    path = f"/api/queue/{task['id']}"
    yield from _old_post(f"{path}/status", {"status": "processing"})
    left_ms = work.ms
    while left_ms > 0:
        yield Wait("work", min(left_ms, OLD_RENEW_MS))
        left_ms -= OLD_RENEW_MS
        if left_ms > 0:
            yield from _old_post(f"{path}/renew", {"workerId": worker.name, "extendSec": 150})
    is_missing_cli = worker.world.chance(0.05)
    if is_missing_cli:  # release first, a failed result after it
        yield from _old_post(f"{path}/release", {"workerId": worker.name, "reason": "CLI not found"})
    status = "failed" if work.code or is_missing_cli else "completed"
    body = {"id": task["id"], "status": status, "output": f"{task['id']}|{worker.name}", "elapsed": "5.0"}
    yield from _old_post(f"/api/result/{task['id']}", body)


def aware_script(worker: Worker) -> Loop:
    """Token-aware, under a stable name: claims are repeated by `requestId`, renewals and results carry the token."""
    if worker.unreported is not None and worker.world.chance(EPITAPHS):
        yield Fork("epitaph", partial(_epitaph, worker, *worker.unreported))
    request_id = ""
    while True:
        request_id = request_id or worker.new_id()
        body = {
            "workerId": worker.name,
            "requestId": request_id,
            "provides": list(worker.provides),
            "waitSec": worker.world.random.choice((0, 5)),
            "onLoss": worker.world.random.choice(("requeue", "requeue", "wait", "ask")),
        }
        answer = yield Call("POST", "/api/queue/claim", body, timeout_ms=TIMEOUT_MS)
        if isinstance(answer, Failed) or answer.status != 200:  # noqa: PLR2004
            yield Wait("again", worker.world.between(200, 4_000))
            continue
        request_id = ""
        if answer.body["success"]:
            yield from _aware_run(worker, answer.body)
        else:
            yield Wait("poll", worker.world.between(500, 5_000))


def _epitaph(worker: Worker, task_id: str, said: dict[str, Any]) -> Loop:
    """A supervisor's word about what a crash cut off: late, under the same name, with the token of then."""
    yield Wait("epitaph", worker.world.between(0, EPITAPH_MS_MAX))
    path, body = worker.world.random.choice(
        (
            (f"/api/result/{task_id}", {"success": False, "error": "crashed"}),
            (f"/api/queue/{task_id}/release", {"reason": "crashed"}),
            (f"/api/queue/{task_id}/renew", {}),
        )
    )
    yield Call("POST", path, {**said, **body}, timeout_ms=TIMEOUT_MS)


def _aware_run(worker: Worker, granted: dict[str, Any]) -> Loop:
    task_id, lease = granted["task"]["id"], granted["lease"]
    work = msgspec.json.decode(granted["task"]["content"], type=Work)
    said = {"workerId": worker.name, "token": lease["token"]}
    worker.unreported = (task_id, said)
    is_stubborn = worker.world.chance(0.3)  # goes on although the hub said that the lease is lost
    ends_ms = worker.world.now_ms + work.ms
    while worker.world.now_ms < ends_ms:
        every_ms = round(min(lease["durationSec"], 10) * 1000) // 3
        yield Wait("work", min(every_ms, ends_ms - worker.world.now_ms))
        answer = yield Call("POST", f"/api/queue/{task_id}/renew", said, timeout_ms=every_ms)
        is_over = isinstance(answer, HubAnswer) and (answer.status in (404, 409) or answer.body.get("cancel"))
        if is_over and not is_stubborn:
            return
    if worker.world.chance(0.05):
        yield Call("POST", f"/api/queue/{task_id}/release", {**said, "reason": "drain"}, timeout_ms=TIMEOUT_MS)
        return
    yield from _aware_report(worker, task_id, said, work)


def _aware_report(worker: Worker, task_id: str, said: dict[str, Any], work: Work) -> Steps[None]:
    output = f"{task_id}|{said['token']}|{worker.new_id()}"
    body = {**said, "success": not work.code, "output": output, "durationMs": work.ms}
    if work.code:
        body["failure"] = {"class": "exit_code", "final": worker.world.chance(0.2)}
    for _ in range(RESULT_TRIES):
        answer = yield Call("POST", f"/api/result/{task_id}", body, timeout_ms=TIMEOUT_MS)
        if isinstance(answer, HubAnswer) and answer.status < 500:  # noqa: PLR2004
            worker.unreported = None
            return
        yield Wait("again", worker.world.between(500, 8_000))
