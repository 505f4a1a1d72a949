"""The directive loop: does what an owner's directives ask, each once, and keeps them across lives.

A directive that ends this life (`restart`, `update`) is done when the next life says so: in the first beats after one
was accepted, because only then it is certain that there is a next life.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from understudy.clock import MS_PER_S
from understudy.texts import t
from understudy.wire.limits import is_id
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
from understudy.worker.orders import DONE, FAILED, RECORDS_MAX, STARTED, DirectiveMemory, Order, Record
from understudy.worker.state import DRAINING, RUNNING, WorkerState

LOOK_MS, LOOK_MS_DRAINING = 60_000, 1_000


def take_orders(state: WorkerState, offered: Any, told: tuple[Record, ...]) -> None:
    """An accepted heartbeat: outcomes that it named are reported; the hub's directives are taken, or named again."""
    for record in told:
        if state.records.get(record.id) is record:
            state.records[record.id] = replace(record, is_told=True)
    for entry in offered if isinstance(offered, list) else ():
        try:
            order = msgspec.convert(entry, Order)
        except msgspec.ValidationError:
            continue  # of a kind that this version does not know: it expires at the hub
        if not is_id(order.id):
            continue  # a beat that named it would be refused
        if known := state.records.get(order.id):
            state.records[order.id] = replace(known, is_told=False)
        elif order.id not in state.orders:
            until_ms = state.clock.mono_ms() + int(order.expires_in_sec * MS_PER_S)
            state.orders[order.id] = replace(order, until_ms=until_ms)
            state.signals.raise_("directives")


def load_directives(state: WorkerState) -> Loop:
    """Load the directives of earlier lives, before the first heartbeat of this one."""
    found: LoadedDirectives = yield LoadDirectives()
    state.records = {record.id: record for record in found.memory.records}
    state.is_held = found.memory.is_held
    if state.is_held:
        state.mode = DRAINING
        yield WriteLog("warning", "Directive", t("directives.still_held"))


def directive_loop(state: WorkerState) -> Loop:
    """End what the last life began, once a beat of this one was accepted; then do what comes."""
    while not state.is_known and not state.is_stop_asked:
        yield Wait("directives", LOOK_MS)
    if state.is_known:
        yield from _arrive(state)
    while not state.is_stop_asked:
        for order in list(state.orders.values()):
            if not state.is_stop_asked:
                del state.orders[order.id]
                yield from _heed(state, order)
        yield from _look_at_drains(state)
        yield Wait("directives", LOOK_MS_DRAINING if _drains(state) else LOOK_MS)


def _arrive(state: WorkerState) -> Loop:
    """This life is the proof that a restart or an update is done, or that it failed."""
    found: LoadedDirectives = yield LoadDirectives(has_arrived=True)
    for record in list(state.records.values()):
        if record.state != STARTED or record.boot_id == state.identity.boot_id or record.kind == "drain":
            continue
        failure = found.verdicts.get(record.id, "")
        if record.kind == "update" and not failure and found.environment != record.environment:
            failure = "it was stopped before the new version was started"
        if failure:
            yield from _end(state, record, FAILED, failure)
        else:
            yield from _end(state, record, DONE, f"version {state.identity.version}, {state.identity.boot_id}")


def _heed(state: WorkerState, order: Order) -> Loop:
    if state.clock.mono_ms() >= order.until_ms:
        return
    yield WriteLog("info", "Directive", t("directives.taken", kind=order.kind), {"directiveId": order.id})
    record = Record(order.id, order.kind, STARTED, state.identity.boot_id)
    match order.kind:
        case "drain":
            yield from _drain(state, record)
        case "resume":
            yield from _resume(state, record)
        case "restart":
            if (yield from _remember(state, record)):
                state.drain_until_ms = order.until_ms
                state.give_way("restart")
        case "update":
            yield from _update(state, order, record)
        case _:
            yield from _end(state, record, FAILED, f"this version knows no directive {order.kind}")


def _drain(state: WorkerState, record: Record) -> Loop:
    state.is_held = True
    if state.mode == RUNNING:
        state.mode = DRAINING
    yield Abort("claim")
    yield from _remember(state, record)


def _drains(state: WorkerState) -> list[Record]:
    return [record for record in state.records.values() if record.kind == "drain" and record.state == STARTED]


def _look_at_drains(state: WorkerState) -> Loop:
    for record in _drains(state) if state.is_held and not state.runs else ():
        yield from _end(state, record, DONE, "nothing runs, nothing is claimed")


def _resume(state: WorkerState, record: Record) -> Loop:
    state.is_held = False
    if state.mode == DRAINING and not state.is_stop_asked:
        state.mode = RUNNING
    for drain in _drains(state):
        yield from _end(state, drain, FAILED, "resumed before everything had ended")
    yield from _end(state, record, DONE, "claiming again")
    state.signals.raise_("claim")


def _update(state: WorkerState, order: Order, record: Record) -> Loop:
    """Install beside what runs, while it runs; only then drain and give way."""
    if not state.duties.may_update:
        yield from _end(state, record, FAILED, "updates from afar are switched off here (UNDERSTUDY_ALLOW_UPDATE)")
        return
    if not (yield from _remember(state, record)):
        return
    installed: Installed | Failed = yield Install(order, max(1, order.until_ms - state.clock.mono_ms()))
    if isinstance(installed, Failed):
        yield from _end(state, record, FAILED, installed.reason)
        return
    yield WriteLog("info", "Directive", t("directives.installed", version=installed.version))
    if (yield from _remember(state, replace(record, environment=installed.environment))):
        state.drain_until_ms = order.until_ms
        state.give_way(installed.environment)


def _end(state: WorkerState, record: Record, how: str, detail: str) -> Loop:
    level = "info" if how == DONE else "warning"
    yield WriteLog(
        level, "Directive", t(f"directives.{how}", kind=record.kind), {"detail": detail, "directiveId": record.id}
    )
    yield from _remember(state, replace(record, state=how, detail=detail, is_told=False))


def _remember(state: WorkerState, record: Record) -> Steps[bool]:
    """On disk first, then in the beats → whether the disk has it: no life may end for what the next one cannot know."""
    state.records.pop(record.id, None)
    state.records[record.id] = record
    for oldest in list(state.records)[:-RECORDS_MAX]:
        del state.records[oldest]
    failed: Failed | None = yield SaveDirectives(DirectiveMemory(tuple(state.records.values()), state.is_held))
    if failed is not None and record.state == STARTED and record.kind in ("restart", "update"):
        reason = f"it could not be written to disk: {failed.reason}"
        state.records[record.id] = replace(record, state=FAILED, detail=reason, is_told=False)
        yield WriteLog("warning", "Directive", t("directives.failed", kind=record.kind), {"detail": reason})
    state.signals.raise_("beat")
    return failed is None
