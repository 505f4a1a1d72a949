"""Two writers for one shared store: claims never beside claims, everything else beside them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tests.api.hubs import LoopThread
from tests.waiting import eventually
from understudy.clock import ManualClock
from understudy.errors import UnavailableError
from understudy.hub.batch import Committed
from understudy.hub.claims import ClaimTasks
from understudy.hub.operation import Operation
from understudy.hub.results import ReportResult
from understudy.runtime.hub.lanes import Lanes


class Claim(Operation):
    runs_alone = ClaimTasks.runs_alone
    takes_from_queue = ClaimTasks.takes_from_queue


class Report(Operation):
    runs_alone = ReportResult.runs_alone
    takes_from_queue = ReportResult.takes_from_queue


class Alone(Operation):
    pass


class Engine:
    """Runs batches as a store across a network does: in the thread, and as long as the gate of their kind is closed."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = SimpleNamespace(is_shared=True)
        self.gates = {Claim: threading.Event(), Report: threading.Event(), Alone: threading.Event()}
        for gate in self.gates.values():
            gate.set()
        self.begun: list[list[type[Operation]]] = []

    def prepare(self, _: Sequence[Operation]) -> None:
        return None

    def run(self, operations: Sequence[Operation]) -> Committed:
        self.begun.append([type(one) for one in operations])
        assert self.gates[type(operations[0])].wait(60)
        return Committed(tuple(operations))


class Stand:
    def __init__(self) -> None:
        self.engine, self.loop = Engine(), LoopThread()
        self.bugs: list[BaseException] = []
        self.lanes = Lanes(self.engine, self.bugs.append)  # type: ignore[arg-type]
        self.lanes.start(self.loop.loop)
        self.heard: list[Any] = []
        self.lanes.after_commit(lambda committed: self.heard.extend(map(type, committed.answers)))

    def ask(self, operation: Operation) -> Any:
        """Its answer is given, not waited for here."""
        return asyncio.run_coroutine_threadsafe(self.lanes.decide(operation), self.loop.loop)

    def begun(self, *batches: list[type[Operation]]) -> None:
        eventually(lambda: self.engine.begun == [*batches], what=f"{batches} to begin, not {self.engine.begun}")


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand()
    yield made
    for gate in made.engine.gates.values():
        gate.set()
    made.loop.run(made.lanes.stop())
    made.loop.close()
    assert made.bugs == []


def test_a_result_is_decided_while_a_claim_waits_for_the_store(stand: Stand) -> None:
    stand.engine.gates[Claim].clear()
    claim = stand.ask(Claim())
    stand.begun([Claim])
    assert isinstance(stand.ask(Report()).result(60), Report)
    assert not claim.done()
    stand.engine.gates[Claim].set()
    assert isinstance(claim.result(60), Claim)
    assert stand.heard == [Report, Claim]


def test_a_claim_is_decided_while_results_wait_for_the_store(stand: Stand) -> None:
    stand.engine.gates[Report].clear()
    report = stand.ask(Report())
    stand.begun([Report])
    assert isinstance(stand.ask(Claim()).result(60), Claim)
    assert not report.done()


def test_claims_and_what_runs_alone_wait_for_the_last_batch_of_claims(stand: Stand) -> None:
    stand.engine.gates[Claim].clear()
    first = stand.ask(Claim())
    stand.begun([Claim])
    more = [stand.ask(Claim()), stand.ask(Alone()), stand.ask(Claim())]
    stand.ask(Report()).result(60)
    assert stand.engine.begun == [[Claim], [Report]]
    stand.engine.gates[Claim].set()
    for one in (first, *more):
        one.result(60)
    assert stand.engine.begun == [[Claim], [Report], [Claim, Alone, Claim]]


def test_both_end_with_the_hub_what_was_asked_is_answered_and_the_rest_refused(stand: Stand) -> None:
    stand.engine.gates[Claim].clear()
    stand.engine.gates[Report].clear()
    asked = [stand.ask(Claim())]
    stand.begun([Claim])
    asked.append(stand.ask(Report()))
    stand.begun([Claim], [Report])
    stopping = asyncio.run_coroutine_threadsafe(stand.lanes.stop(), stand.loop.loop)
    for operation in (Claim(), Report(), Alone()):
        with pytest.raises(UnavailableError, match="stopping"):
            stand.ask(operation).result(60)
    stand.engine.gates[Claim].set()
    stand.engine.gates[Report].set()
    stopping.result(60)
    assert [type(one.result(0)) for one in asked] == [Claim, Report]


def test_while_a_hub_stops_only_last_words_are_taken_by_either(stand: Stand) -> None:
    stand.lanes.is_stopping = True
    with pytest.raises(UnavailableError, match="stopping"):
        stand.ask(Report()).result(60)
    last = Report()
    last.is_last_word = True
    assert stand.ask(last).result(60) is last


def test_sizes_and_times_are_counted_together(stand: Stand) -> None:
    stand.ask(Claim()).result(60)
    stand.engine.clock.advance(1)
    stand.ask(Report()).result(60)
    assert sum(stand.lanes.sizes.counts) == sum(stand.lanes.commits_ms.counts) == 2
