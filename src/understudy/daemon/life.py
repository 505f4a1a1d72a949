"""The life of a daemon from start to drain: the root loop, which forks all the others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from understudy.backoff import Backoff
from understudy.clock import iso
from understudy.daemon.directives import directive_loop, load_directives
from understudy.daemon.guard_keeper import guard_loop
from understudy.daemon.heartbeat import heartbeat_loop
from understudy.texts import t
from understudy.worker.auth import auth_loop
from understudy.worker.claim import claim_loop
from understudy.worker.effects import Abort, Call, Fork, HubAnswer, Loop, Steps, Wait, WriteLog
from understudy.worker.report import deliver_first, load_spool, report_loop
from understudy.worker.state import IDLE, STOPPING, WorkerState

REGISTER = "/api/daemon/register"
DELIVER_FIRST_MS = 10_000
CUT_MS = 15_000  # TERM, 5 s, KILL, and a few tries to release
DELIVER_LAST_MS, DELIVER_LAST_HURRY_MS = 5_000, 1_000
LAST_BEAT_MS = 5_000
ENDING_MS = 60_000
LOOK_MS = 500
NO_THREAD_MS_MAX = 10_000


def main_loop(state: WorkerState) -> Loop:
    """Deliver what an earlier life left, then beat, claim and report until asked to stop; then drain."""
    yield from load_spool(state)
    yield from load_directives(state)
    yield from _begin(state, Fork("guard", partial(guard_loop, state)))
    yield from _begin(state, Fork("auth", partial(auth_loop, state)))
    yield from deliver_first(state, DELIVER_FIRST_MS)
    yield from _begin(state, Fork("heartbeat", partial(heartbeat_loop, state)))
    yield from _begin(state, Fork("report", partial(report_loop, state)))
    yield from _begin(state, Fork("register", partial(register_loop, state), again=False))
    yield from _begin(state, Fork("claim", partial(claim_loop, state)))
    yield from _begin(state, Fork("directives", partial(directive_loop, state)))
    yield WriteLog("info", "Daemon", "Poll loop started")
    said_idle = False
    while not state.is_stop_asked:
        if state.mode == IDLE and not said_idle:
            said_idle = True
            yield Abort("claim")
            yield WriteLog("critical", "Daemon", t(f"daemon.{state.idle_reason}", daemon=state.identity.daemon_id))
        yield Wait("main", 60_000)
    yield from drain(state)


def _begin(state: WorkerState, fork: Fork) -> Loop:
    """Start a loop; a machine that has no thread for it is asked until it has."""
    pauses = Backoff(500, NO_THREAD_MS_MAX, state.jitter)
    while not state.is_stop_asked:
        try:
            yield fork
        except RuntimeError as error:  # "can't start new thread"
            yield WriteLog("critical", "Daemon", t("daemon.no_thread", loop=fork.name), {"reason": str(error)})
        else:
            return
        yield Wait("main", pauses.next_ms())


def drain(state: WorkerState) -> Loop:
    """Claim nothing, let runs finish for a while, cut the rest and give it back, deliver, say goodbye."""
    yield WriteLog("info", "Daemon", "Draining", {"running": len(state.runs)})
    if state.mode != IDLE:
        state.begin_drain()
    for name in ("beat", "claim"):
        state.signals.raise_(name)
    yield Abort("claim")
    began_ms = state.clock.mono_ms()
    while state.runs and not state.is_in_a_hurry and state.clock.mono_ms() < _drain_ends_ms(state, began_ms):
        yield Wait("main", LOOK_MS)
    for run in state.runs.values():
        state.stop_run(run, "drain")
    yield from _until(state, lambda: not state.runs, CUT_MS)
    limit_ms = DELIVER_LAST_HURRY_MS if state.is_in_a_hurry else DELIVER_LAST_MS
    yield from _until(state, lambda: not state.results, limit_ms)
    yield from _say_goodbye(state)
    state.is_stopped = True
    for name in ("report", "guard", "auth", "directives"):
        state.signals.raise_(name)
    left = {"undelivered": len(state.results) or None, "running": len(state.runs) or None}
    yield WriteLog("info", "Daemon", "Stopped", left)


def _drain_ends_ms(state: WorkerState, began_ms: int) -> int:
    """The instant (mono) until which runs may go on: the time given with a restart, less what the end may take.

    From a signal on it counts as that of any end for good.
    """
    if state.ends_for_good_ms is not None:
        return max(began_ms, state.ends_for_good_ms) + state.duties.drain_ms
    return max(began_ms + state.duties.drain_ms, state.drain_until_ms - ENDING_MS)


def _say_goodbye(state: WorkerState) -> Loop:
    if state.mode == IDLE:
        return
    state.mode = STOPPING
    state.signals.raise_("beat")
    yield Abort("claim")  # one that slipped through the first
    if state.is_known:
        yield from _until(state, lambda: state.has_stopped_beating, LAST_BEAT_MS)


def _until(state: WorkerState, is_so: Callable[[], bool], limit_ms: int) -> Steps[None]:
    until_ms = state.clock.mono_ms() + limit_ms
    while not is_so() and state.clock.mono_ms() < until_ms:
        yield Wait("main", LOOK_MS)


def register_loop(state: WorkerState) -> Loop:
    """Introduce ourselves once a beat was accepted, as daemons always did; a refusal is only noted."""
    while not state.is_known and not state.is_stop_asked:
        yield Wait("register", 10_000)
    backoff = Backoff(500, 60_000, state.jitter)
    body = {
        "daemonId": state.identity.daemon_id,
        "version": state.identity.version,
        "capabilities": list(state.provides),
        "pollInterval": min(max(state.duties.poll_wait_ms, 1_000), 300_000),
        "registeredAt": iso(state.clock.now_ms()),
    }
    while not state.is_stop_asked:
        answer = yield Call("POST", REGISTER, body, timeout_ms=5_000)
        if isinstance(answer, HubAnswer) and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            fields = {"status": answer.status, "provides": ", ".join(state.provides)}
            yield WriteLog("info", "Startup", "Registered", fields)
            return
        yield Wait("register", backoff.next_ms())
