"""The loop that keeps a guard alive: without one nothing is started, and a new one gets every run."""

from __future__ import annotations

from understudy.backoff import Backoff
from understudy.texts import t
from understudy.worker.effects import Failed, Loop, StartGuard, TellGuard, Wait, WriteLog
from understudy.worker.guard_policy import Held, Rooted
from understudy.worker.run import spawning
from understudy.worker.state import WorkerState

STEADY_MS = 10_000  # a guard that lived this long was not broken from the start
FAILURES_MAX = 3
LOOK_MS = 10_000
LIMIT_MS = 60_000  # without a living guard nothing is started


def guard_loop(state: WorkerState) -> Loop:
    """Start it, wait for its death, start another; say so when that goes on."""
    backoff = Backoff(100, 30_000, state.jitter)
    failures = 0
    state.liveness.begin("guard", LIMIT_MS)
    while not state.is_stopped:
        started_ms = state.clock.mono_ms()
        failed: Failed | None = yield StartGuard()
        if failed is None:
            state.mark("guard")
            yield from _tell_all(state)
            yield from _until_it_dies(state)
        if state.is_stopped:
            return
        if state.clock.mono_ms() - started_ms >= STEADY_MS:
            failures = 0
            backoff.reset()
        failures += 1
        level = "critical" if failures >= FAILURES_MAX else "warning"
        yield WriteLog(level, "Guard", t("daemon.guard_died"), {"reason": failed.reason if failed else "died"})
        yield Wait("guard", backoff.next_ms())


def _tell_all(state: WorkerState) -> Loop:
    """Everything the last guard knew; uninterrupted, so no run can change in between."""
    for run in state.runs.values():
        if run.is_guarded:
            yield TellGuard(spawning(run))
        if run.is_guarded and run.pid:
            yield TellGuard(Rooted(run.id, run.pid, run.birth))
        if run.is_guarded and run.is_named:
            yield TellGuard(Held(run.id, run.deadline_ms))
    state.is_guarded = True
    for name in ("claim", *(run.signal for run in state.runs.values())):
        state.signals.raise_(name)


def _until_it_dies(state: WorkerState) -> Loop:
    while not state.is_stopped and not (yield Wait("guard", LOOK_MS)):
        state.mark("guard")
    state.is_guarded = False
