"""The auth loop: whether each assistant is logged in, asked of itself every few minutes, and shown by its runs.

`auth status` may call an expired token good (facts/assistants g.4), so a run that was refused counts for more:
after it the assistant is believed again only after a pause that grows with each refusal.
"""

from __future__ import annotations

from understudy.texts import t
from understudy.worker.backoff import Backoff
from understudy.worker.effects import Ended, Failed, Loop, Probe, Say, Wait
from understudy.worker.executors import OK, Executor
from understudy.worker.state import WorkerState

EVERY_MS = 300_000
HOLD_MS_FIRST, HOLD_MS_MAX = 60_000, 1_800_000
PROBE_MS_MAX = 20_000
_MENDS = {"claude_code": "executors.mend.claude_code", "codex": "executors.mend.codex"}


def to_ask(state: WorkerState) -> dict[str, Executor]:
    """The executors that have something to log in to, or are not ready yet."""
    return {
        name: executor
        for name, executor in state.executors.items()
        if executor.probe() is not None or state.auth.get(name) != OK
    }


def auth_loop(state: WorkerState) -> Loop:
    """Ask each at once, then now and then; sooner after a run was refused."""
    executors = to_ask(state)
    due_ms = dict.fromkeys(executors, 0)
    holds = {name: Backoff(HOLD_MS_FIRST, HOLD_MS_MAX, state.jitter) for name in executors}
    while not state.is_stopped:
        state.mark("auth")
        for name, executor in executors.items():
            shown = state.auth_shown.pop(name, "")
            if shown == OK:
                holds[name].reset()
            elif shown:
                due_ms[name] = state.clock.mono_ms() + holds[name].next_ms()
            if state.clock.mono_ms() >= due_ms[name]:
                yield from _ask(state, name, executor)
                due_ms[name] = state.clock.mono_ms() + (EVERY_MS if state.auth[name] == OK else holds[name].next_ms())
        pause_ms = min(due_ms.values()) - state.clock.mono_ms()
        yield Wait("auth", max(1, min(pause_ms, EVERY_MS)))


def _ask(state: WorkerState, name: str, executor: Executor) -> Loop:
    plan = executor.probe()
    probed: Ended | Failed | None = None
    if plan is not None:
        probed = yield Probe(plan, PROBE_MS_MAX)
    if name in state.auth_shown:  # a run knew better meanwhile
        return
    before = state.auth.get(name)
    word = executor.readiness(Ended(code=None) if isinstance(probed, Failed) else probed)
    state.set_auth(name, word)
    if word != before:
        yield from say_auth(name, word, before or "")


def say_auth(name: str, word: str, before: str) -> Loop:
    """Tell the owner once what changed, and how it is mended."""
    if word == OK:
        level = "debug" if before in ("", "unknown") else "info"
        yield Say(level, "Auth", t("executors.auth_back", executor=name))
        return
    mend = t(_MENDS[name]) if name in _MENDS and word != "missing" else t("executors.mend.other")
    yield Say("critical", "Auth", t("executors.auth_lost", executor=name, word=word, mend=mend))
