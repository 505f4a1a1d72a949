"""Planted bugs of several hubs on one store."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from msgspec.structs import replace

from understudy.coordinator import hearing, jumps
from understudy.coordinator.changes import Decision
from understudy.coordinator.jumps import Clocks
from understudy.coordinator.nouns import Hearing, Now
from understudy.coordinator.takeover_nouns import Reservation
from understudy.hub import batch
from understudy.hub.alarm_loop import Alarm
from understudy.hub.batch import Engine
from understudy.hub.calls import CutCalls
from understudy.hub.working_set import WorkingSet
from understudy.simulation.mutants.planting import planted
from understudy.store.base import Transaction


def others_hear_nothing() -> AbstractContextManager[None]:
    """A hub takes the time in which it was away for a gap, although another one heard."""
    original = hearing.hear
    heard_by: dict[int, int] = {}

    def heard_at(self: Engine, row: Hearing) -> Hearing:
        return replace(row, heard_at=min(heard_by.get(id(self), row.heard_at), row.heard_at))

    def hear_of(self: Engine, tx: Transaction, work: WorkingSet, *, alone: bool) -> Any:
        def hear(row: Hearing, wall: int) -> Any:
            return original(heard_at(self, row), wall)

        with planted((batch, "hear", hear)):
            found = hearing_of(self, tx, work, alone=alone)
        heard_by[id(self)] = work.now.wall
        return found

    hearing_of = vars(Engine)["_hear"]
    return planted((Engine, "_hear", hear_of))


def each_hub_moves_the_pauses() -> AbstractContextManager[None]:
    """A jump of the clock that another hub has booked is moved once more."""

    def jump_ms(before: Clocks | None, now: Clocks, row: Hearing) -> int:
        return original(before, now, row if before is None else replace(row, moved_ms=before.moved_ms))

    original = jumps.jump_ms
    return planted((batch, "jump_ms", jump_ms))


def alarm_minds_its_own() -> AbstractContextManager[None]:
    """The deadlines that a hub has set are forgotten when it dies, for as long as an alarm may sleep."""
    return planted((Alarm, "_look_for_others", lambda *_: iter(())))


def start_cuts_all_calls() -> AbstractContextManager[None]:
    """A hub that starts takes the calls of the others for cut."""
    original = CutCalls.decide

    def decide(self: CutCalls, work: WorkingSet, now: Now) -> Decision:
        for key, call in work.rows[Reservation].items():
            work.rows[Reservation][key] = call and replace(call, worker_id=self.worker_id)
        return original(self, work, now)

    return planted((CutCalls, "decide", decide))
