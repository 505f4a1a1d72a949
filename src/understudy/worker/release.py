"""Giving a lease back with its token: after a drain, or for work that was never started."""

from __future__ import annotations

from understudy.backoff import Backoff
from understudy.worker.effects import Call, HubAnswer, Steps, TellGuard, Wait, WriteLog
from understudy.worker.guard_policy import RunDone
from understudy.worker.state import Run, WorkerState

TRIES_MAX = 4
TIMEOUT_MS = 3_000


def release_path(task_id: str) -> str:
    """The path at which a lease is given back."""
    return f"/api/queue/{task_id}/release"


def give_back(state: WorkerState, run: Run, reason: str) -> Steps[bool]:
    """Release a run of which nothing lives → whether the hub knows.

    Bounded: if the hub cannot be reached, the guard keeps the run and releases it in its last will, the next beat
    does not name it, and its lease ends by itself.
    """
    backoff = Backoff(250, 2_000, state.jitter)
    body = {"workerId": state.identity.worker_id, "token": run.lease.token, "reason": reason}
    for _ in range(TRIES_MAX):
        answer = yield Call("POST", release_path(run.task.id), body, timeout_ms=TIMEOUT_MS)
        if isinstance(answer, HubAnswer) and answer.is_final:
            yield TellGuard(RunDone(run.id))
            yield WriteLog("info", "Daemon", f"Released {run.task.id}", {"reason": reason, "status": answer.status})
            return True
        yield Wait(run.signal, backoff.next_ms())
    yield WriteLog("warning", "Daemon", f"Could not release {run.task.id}", {"reason": reason})
    return False
