"""The directive loop: does what an owner's directives ask, each once, and keeps them across lives.

A directive that ends this life (`restart`, `update`) is reported as done by the next life, and only after a beat of
that life was accepted: before, it is not certain that there is a next life.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from understudy.clock import MS_PER_S
from understudy.texts import t
from understudy.wire.limits import is_id
from understudy.worker.directives import (
    DONE,
    FAILED,
    OUTCOMES_MAX,
    STARTED,
    DirectiveOutcome,
    ReceivedDirective,
    SavedDirectives,
)
from understudy.worker.effects import (
    Abort,
    Failed,
    Install,
    Installed,
    LoadDirectives,
    LoadedDirectives,
    Loop,
    SaveDirectives,
    Steps,
    Wait,
    WriteLog,
)
from understudy.worker.state import DRAINING, RUNNING, WorkerState

LOOK_MS, LOOK_MS_DRAINING = 60_000, 1_000


def take_directives(state: WorkerState, offered: Any, named: tuple[DirectiveOutcome, ...]) -> None:
    """After an accepted heartbeat: note which outcomes it reported; take what is offered, or report it again."""
    for outcome in named:
        if state.outcomes.get(outcome.id) is outcome:
            state.outcomes[outcome.id] = replace(outcome, is_reported=True)
    for entry in offered if isinstance(offered, list) else ():
        try:
            directive = msgspec.convert(entry, ReceivedDirective)
        except msgspec.ValidationError:
            continue  # of a kind that this version does not know: it expires at the hub
        if not is_id(directive.id):
            continue  # a beat that named it would be refused
        if known := state.outcomes.get(directive.id):
            state.outcomes[directive.id] = replace(known, is_reported=False)
        elif directive.id not in state.directives and len(state.directives) < OUTCOMES_MAX:
            until_ms = state.clock.mono_ms() + int(directive.expires_in_sec * MS_PER_S)
            state.directives[directive.id] = replace(directive, until_ms=until_ms)
            state.signals.raise_("directives")


def load_directives(state: WorkerState) -> Loop:
    """Load the directives of earlier lives, before the first heartbeat of this one."""
    found: LoadedDirectives = yield LoadDirectives()
    state.outcomes = {outcome.id: outcome for outcome in found.saved.outcomes}
    state.is_drained = found.saved.is_drained
    if state.is_drained:
        state.mode = DRAINING
        yield WriteLog("warning", "Directive", t("directives.still_held"))


def directive_loop(state: WorkerState) -> Loop:
    """End what the last life began, once a beat of this one was accepted; then do what comes."""
    while not state.is_known and not state.is_stop_asked:
        yield Wait("directives", LOOK_MS)
    if state.is_known:
        yield from _arrive(state)
    while not state.is_stop_asked:
        for directive in list(state.directives.values()):
            if not state.is_stop_asked:
                try:
                    yield from _heed(state, directive)
                finally:  # only now: a beat that is answered meanwhile would bring it a second time
                    del state.directives[directive.id]
        yield from _look_at_drains(state)
        if state.has_unkept_outcomes:
            yield from _keep(state)
        yield Wait("directives", LOOK_MS_DRAINING if _drains(state) else LOOK_MS)
    if state.has_unkept_outcomes:  # the disk may have room by now
        yield from _keep(state)


def _arrive(state: WorkerState) -> Loop:
    """This life is the proof that a restart or an update is done, or that it failed."""
    found: LoadedDirectives = yield LoadDirectives(has_arrived=True)
    for outcome in list(state.outcomes.values()):
        if outcome.state != STARTED or outcome.boot_id == state.identity.boot_id or outcome.kind == "drain":
            continue
        failure = found.verdicts.get(outcome.id, "")
        is_in_it = bool(outcome.environment) and found.environment == outcome.environment
        if outcome.kind == "update" and not failure and not is_in_it:
            failure = "it was stopped before the new version was started"
        if failure:
            yield from _end(state, outcome, FAILED, failure)
        else:
            yield from _end(state, outcome, DONE, f"version {state.identity.version}, {state.identity.boot_id}")


def _heed(state: WorkerState, directive: ReceivedDirective) -> Loop:
    if state.clock.mono_ms() >= directive.until_ms:
        return
    yield WriteLog("info", "Directive", t("directives.taken", kind=directive.kind), {"directiveId": directive.id})
    outcome = DirectiveOutcome(directive.id, directive.kind, STARTED, state.identity.boot_id)
    match directive.kind:
        case "drain":
            yield from _drain(state, outcome)
        case "resume":
            yield from _resume(state, outcome)
        case "restart":
            if (yield from _remember(state, outcome)):
                state.drain_until_ms = directive.until_ms
                state.give_way("restart")
        case "update":
            yield from _update(state, directive, outcome)
        case _:
            yield from _end(state, outcome, FAILED, f"this version knows no directive {directive.kind}")


def _drain(state: WorkerState, outcome: DirectiveOutcome) -> Loop:
    state.is_drained = True
    if state.mode == RUNNING:
        state.begin_drain()
    yield Abort("claim")
    yield from _remember(state, outcome)


def _drains(state: WorkerState) -> list[DirectiveOutcome]:
    return [outcome for outcome in state.outcomes.values() if outcome.kind == "drain" and outcome.state == STARTED]


def _look_at_drains(state: WorkerState) -> Loop:
    for outcome in _drains(state) if state.is_drained and not state.runs else ():
        yield from _end(state, outcome, DONE, "nothing runs, nothing is claimed")


def _resume(state: WorkerState, outcome: DirectiveOutcome) -> Loop:
    state.is_drained = False
    if state.mode == DRAINING and not state.is_stop_asked:
        state.mode = RUNNING
    for drain in _drains(state):
        yield from _end(state, drain, FAILED, "resumed before everything had ended")
    yield from _end(state, outcome, DONE, "claiming again")
    state.signals.raise_("claim")


def _update(state: WorkerState, directive: ReceivedDirective, outcome: DirectiveOutcome) -> Loop:
    """Install beside what runs, while it runs; only then drain and give way."""
    if not state.duties.may_update:
        yield from _end(state, outcome, FAILED, "remote updates are switched off here (UNDERSTUDY_ALLOW_UPDATE)")
        return
    if not (yield from _remember(state, outcome)):
        return
    installed: Installed | Failed = yield Install(directive, max(1, directive.until_ms - state.clock.mono_ms()))
    if isinstance(installed, Failed):
        yield from _end(state, outcome, FAILED, installed.reason)
        return
    yield WriteLog("info", "Directive", t("directives.installed", version=installed.version))
    if (yield from _remember(state, replace(outcome, environment=installed.environment))):
        state.drain_until_ms = directive.until_ms
        state.give_way(installed.environment)


def _end(state: WorkerState, outcome: DirectiveOutcome, how: str, detail: str) -> Loop:
    level = "info" if how == DONE else "warning"
    yield WriteLog(
        level, "Directive", t(f"directives.{how}", kind=outcome.kind), {"detail": detail, "directiveId": outcome.id}
    )
    yield from _remember(state, replace(outcome, state=how, detail=detail, is_reported=False))


def _remember(state: WorkerState, outcome: DirectiveOutcome) -> Steps[bool]:
    """On disk first, then in the beats → whether the disk has it: no life may end for what the next one cannot know."""
    state.outcomes.pop(outcome.id, None)
    state.outcomes[outcome.id] = outcome
    for oldest in list(state.outcomes)[:-OUTCOMES_MAX]:
        del state.outcomes[oldest]
    failed = yield from _keep(state)
    if failed is not None and outcome.kind in ("drain", "resume"):
        reason = f"not on disk at first, tried again: {failed.reason}"
        detail = f"{outcome.detail}; {reason}" if outcome.detail else reason
        state.outcomes[outcome.id] = replace(outcome, detail=detail)
    elif failed is not None and outcome.state == STARTED and outcome.kind in ("restart", "update"):
        reason = f"it could not be written to disk: {failed.reason}"
        state.outcomes[outcome.id] = replace(outcome, state=FAILED, detail=reason, is_reported=False)
        yield WriteLog("warning", "Directive", t("directives.failed", kind=outcome.kind), {"detail": reason})
    state.signals.raise_("beat")
    return failed is None


def _keep(state: WorkerState) -> Steps[Failed | None]:
    """All of them on disk; what it does not take is tried again with each look."""
    failed: Failed | None = yield SaveDirectives(SavedDirectives(tuple(state.outcomes.values()), state.is_drained))
    state.has_unkept_outcomes = failed is not None
    return failed
