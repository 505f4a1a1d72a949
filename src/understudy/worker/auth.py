"""The auth loop: whether each assistant is logged in. Each is asked every few minutes; its runs show it as well.

`auth status` may call an expired token good (docs/measured.md, Logins), so a run that was refused counts for more:
after it the assistant is believed again only after a pause that grows with each refusal.
"""

from __future__ import annotations

import msgspec

from understudy.backoff import Backoff
from understudy.texts import t
from understudy.worker.effects import Ended, Failed, Loop, Probe, Wait, WriteLog
from understudy.worker.executors import OK, Executor, Plan, fault_words
from understudy.worker.state import WorkerState

EVERY_MS = 300_000
HOLD_MS_FIRST, HOLD_MS_MAX = 60_000, 1_800_000
START_MS_FIRST, START_MS_MAX = 15_000, 300_000  # until it is tried whether this machine starts processes again
NEVER_MS = 1 << 62
TRIAL = ("/bin/sh", "-c", ":")
PROBE_MS_MAX = 20_000
_FIXES = {"claude_code": "executors.fix.claude_code", "codex": "executors.fix.codex"}


def to_ask(state: WorkerState) -> dict[str, Executor]:
    """The executors that have something to log in to, or are not ready yet."""
    return {
        name: executor
        for name, executor in state.executors.items()
        if executor.probe() is not None or state.auth.get(name) != OK
    }


def auth_loop(state: WorkerState) -> Loop:
    """Ask each at once, then now and then; sooner after a run was refused."""
    executors, asked = state.executors, to_ask(state)
    due_ms = {name: 0 if name in asked else NEVER_MS for name in executors}
    starts = {name: Backoff(START_MS_FIRST, START_MS_MAX, state.jitter) for name in executors}
    holds = {name: Backoff(HOLD_MS_FIRST, HOLD_MS_MAX, state.jitter) for name in executors}
    while not state.is_stopped:
        state.mark("auth")
        for name, executor in executors.items():
            shown = state.auth_shown.pop(name, "")
            if shown == OK:
                holds[name].reset()
                starts[name].reset()
                state.start_faults.pop(name, None)
            elif shown:
                pauses = starts if shown in fault_words.WORDS else holds
                due_ms[name] = state.clock.mono_ms() + pauses[name].next_ms()
            if state.clock.mono_ms() >= due_ms[name]:
                yield from _ask(state, name, executor)
                pauses = starts if state.auth[name] in fault_words.WORDS else holds
                due_ms[name] = state.clock.mono_ms() + (EVERY_MS if state.auth[name] == OK else pauses[name].next_ms())
        pause_ms = min(due_ms.values()) - state.clock.mono_ms()
        yield Wait("auth", max(1, min(pause_ms, EVERY_MS)))


def _ask(state: WorkerState, name: str, executor: Executor) -> Loop:
    plan = executor.probe() or _trial(state, name)
    if plan is not None and state.workspaces.root and state.start_faults.get(name) == state.workspaces.root:
        plan = msgspec.structs.replace(plan, cwd=state.workspaces.root)  # ready again once it is back
    probed: Ended | Failed | None = None
    if plan is not None:
        probed = yield Probe(plan, PROBE_MS_MAX)
    if name in state.auth_shown:  # a run knew better meanwhile
        return
    before = state.auth.get(name)
    lacking = probed.word if isinstance(probed, Failed) else ""
    word = lacking or executor.readiness(Ended(code=None) if isinstance(probed, Failed) else probed)
    state.set_auth(name, word)
    if word != before:
        yield from say_auth(name, word, before or "")


def _trial(state: WorkerState, name: str) -> Plan | None:
    """A trial start after a failed one, for an executor that has no probe; None if none is needed."""
    return Plan(TRIAL, {}, cwd=state.start_faults[name]) if name in state.start_faults else None


def no_start(state: WorkerState, executor: Executor, word: str, cwd: str | None = None) -> Loop:
    """This machine could not start it (there): it is not ready until a trial shows that it can again."""
    state.start_faults[executor.name] = cwd
    before = state.auth.get(executor.name, "")
    state.set_auth(executor.name, word, is_shown_by_run=True)
    if word != before:
        yield from say_auth(executor.name, word, before)


def say_auth(name: str, word: str, before: str) -> Loop:
    """Log the change of a login and its fix, once."""
    if word == OK:
        level = "debug" if before in ("", "unknown") else "info"
        yield WriteLog(level, "Auth", t("executors.auth_back", executor=name))
        return
    if word in fault_words.WORDS and word != "missing":
        yield WriteLog(
            "critical", "Auth", t("executors.auth_lost", executor=name, word=word, fix=t("executors.fix.start"))
        )
        return
    fix = t(_FIXES[name]) if name in _FIXES and word != "missing" else t("executors.fix.other")
    yield WriteLog("critical", "Auth", t("executors.auth_lost", executor=name, word=word, fix=fix))
