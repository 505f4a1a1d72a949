"""Batches that run beside those of other hubs: which may, which must be alone, and that they save what is theirs."""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest

import understudy.hub
from tests.hub.conftest import Bench
from tests.hub.desk import DOWN_MS, LATE_MS, beat, bench_with
from tests.hub.test_batch import claim, enqueue
from understudy.coordinator.changes import Decision
from understudy.coordinator.nouns import (
    Daemon,
    Deployment,
    Hearing,
    Incident,
    Memory,
    Notice,
    Now,
    Period,
    Result,
    Task,
)
from understudy.coordinator.routes import Route
from understudy.errors import ConflictError
from understudy.hub import operation as base
from understudy.hub.alarm import GoIdle, RingAlarm
from understudy.hub.claims import ClaimTasks
from understudy.hub.directives import OrderDirective
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.leases import ReleaseLease, RenewLease
from understudy.hub.operation import Operation
from understudy.hub.results import ReportResult, ReportResults
from understudy.hub.starts import EndHub, ProbeStore, RecordHearing, RecordStart, SeeHub
from understudy.hub.task_commands import CommandTask, NoteTaskStatus
from understudy.hub.working_set import Needs, WorkingSet
from understudy.simulation.shared_store import SharedStore
from understudy.simulation.world import ViolationError
from understudy.wire.daemons import DirectiveBody, HeartbeatBody, RunningBody
from understudy.wire.tasks import ClaimBody, EnqueueBody, FailureBody, ReleaseBody, RenewBody, ResultBody, ResultItem

PLACE = {"channel": "ops"}


def shared() -> Any:
    """A store that several hubs share, as one of them sees it."""
    return SharedStore()


@pytest.fixture
def hub() -> Bench:
    """A hub on a shared store that has heard a daemon, leased a task, and sends its messages to `ops`."""
    bench = bench_with(Route(("ops",)), store=shared(), reply_to="")
    bench.ask(RecordStart("v", "1", "f", "h"))
    beat(bench)
    bench.ask(enqueue("first"), claim("w", request_id="r0"))
    return bench


def alone(hub: Bench) -> list[bool]:
    """Whether each transaction of the store was alone."""
    store: Any = hub.store
    began: list[bool] = store.began
    return began


def ran_beside(hub: Bench, *operations: Operation) -> list[Any]:
    """The answers of a batch that ran beside others, once."""
    before, again = len(alone(hub)), hub.engine.runs_again
    answers = hub.ask(*operations)
    assert (alone(hub)[before:], hub.engine.runs_again) == ([False], again)
    assert not [answer for answer in answers if isinstance(answer, ViolationError)]
    return answers


def lease_of(hub: Bench, task_id: str, worker: str = "w", **fields: Any) -> int:
    """A task of this id, queued and claimed beside others: its token."""
    body = EnqueueBody("do it", id=task_id, reply_to=PLACE, conversation={"channel": "c", "user_id": "u"}, **fields)
    ran_beside(hub, EnqueueTasks([body], [task_id], "key"))
    (got,) = ran_beside(hub, claim(worker, provides=["machine"], request_id=f"r-{task_id}"))
    assert got["taskId"] == task_id
    token: int = got["lease"]["token"]
    return token


def result(task_id: str, token: int | None, *, success: bool = True, **fields: Any) -> ReportResult:
    return ReportResult(task_id, ResultBody(success=success, token=token, worker_id="w", output="done", **fields))


# ---- each kind of operation that may run beside others


def tasks(hub: Bench) -> None:
    """New ones, repeated ones, with an idempotency key."""
    bodies = [EnqueueBody("x", id="a"), EnqueueBody("x", dedup_key="k")]
    for created in (True, False):
        (answer,) = ran_beside(hub, EnqueueTasks(bodies, ["a", "made"], "key"))
        assert [one["created"] for one in answer] == [created, created]


def claims(hub: Bench) -> None:
    """Of a worker without a daemon, repeated; of a daemon; of one that an old client's name makes a sign of life."""
    lease_of(hub, "a")
    (again,) = ran_beside(hub, claim("w", provides=["machine"], request_id="r-a"))
    assert again["taskId"] == "a"
    ran_beside(hub, enqueue("b"), ClaimTasks(ClaimBody(worker_id="mini", daemon_id="mini", boot_id="b1"), "mini"))
    old = RecordHeartbeat(HeartbeatBody(worker_id="daemon_old"))
    ran_beside(hub, old)
    hub.pass_time(LATE_MS)
    ran_beside(hub, claim("daemon_old_1770000000000"))
    assert len(hub.events("daemon.recovered")) == 1


def heartbeats(hub: Bench) -> None:
    """A first one; one that renews, reports progress and drops a lease; one that ends a silence; one of a new start."""
    beats = [
        RecordHeartbeat(HeartbeatBody(daemon_id="new", machine_id="m", boot_id=boot, seq=1)) for boot in ("b1", "b2")
    ]
    for one in beats:
        ran_beside(hub, one)
    token = lease_of(hub, "a", "mini")
    run = RunningBody("a", token, progress={"text": "half"}, checkpoint={"at": 1})
    ran_beside(
        hub, RecordHeartbeat(HeartbeatBody(daemon_id="mini", boot_id="b1", seq=hub.clock.now_ms() + 1, running=[run]))
    )
    hub.pass_time(LATE_MS)
    hub.pass_time(DOWN_MS)
    assert hub.events("daemon.down")
    ran_beside(
        hub, RecordHeartbeat(HeartbeatBody(daemon_id="mini", boot_id="b1", seq=hub.clock.now_ms() + 2, running=[]))
    )
    assert hub.events("daemon.recovered")
    hub.ask(OrderDirective("mini", DirectiveBody("drain"), "d1", "owner"))
    (offered,) = ran_beside(
        hub, RecordHeartbeat(HeartbeatBody(daemon_id="mini", boot_id="b1", seq=hub.clock.now_ms() + 3))
    )
    assert len(offered["directives"]) == 1


def renewals(hub: Bench) -> None:
    token = lease_of(hub, "a")
    (renewed,) = ran_beside(hub, RenewLease("a", RenewBody(worker_id="w", token=token, progress={"text": "half"})))
    assert renewed["success"]


def releases(hub: Bench) -> None:
    token = lease_of(hub, "a")
    (released,) = ran_beside(hub, ReleaseLease("a", ReleaseBody(worker_id="w", token=token)))
    assert released["success"]


def results(hub: Bench) -> None:
    """One that counts, one that is repeated, one that is late; one of an old client, by its name."""
    token = lease_of(hub, "a")
    for _ in range(2):
        (taken,) = ran_beside(hub, result("a", token))
        assert taken["success"]
    old = lease_of(hub, "b")
    hub.pass_time(40_000)
    lease_again(hub, "b")
    (refused,) = ran_beside(hub, result("b", old))
    assert isinstance(refused, ConflictError)
    assert hub.events("result.late")
    assert hub.store.read(lambda reader: reader.load_all(Memory, 10))


def lease_again(hub: Bench, task_id: str) -> None:
    """Lease all that is claimable, this task too."""
    answers = ran_beside(hub, *(claim("w2", provides=["machine"]) for _ in range(3)))
    assert task_id in {answer.get("taskId") for answer in answers}


def batches_of_results(hub: Bench) -> None:
    token = lease_of(hub, "a")
    failure = FailureBody(final=True)
    items = [
        ResultItem(task_id="a", success=False, token=token, worker_id="w", failure=failure),
        ResultItem(task_id="unknown", success=True, token=7),
    ]
    ran_beside(hub, ReportResults(items))
    assert hub.store.read(lambda reader: reader.load_many(Result, ("a",)))


def notes(hub: Bench) -> None:
    ran_beside(hub, NoteTaskStatus("first", "thinking"))


def hearing(hub: Bench) -> None:
    hub.clock.advance(1_000)
    ran_beside(hub, RecordHearing())
    (row,) = hub.store.read(lambda reader: reader.load_many(Hearing, (1,)))
    assert row.heard_at == hub.clock.now_ms()


def probes(hub: Bench) -> None:
    """Asked for by every balancer, each second."""
    before = hub.store.read(lambda reader: reader.load_many(Hearing, (1,)))
    ran_beside(hub, ProbeStore())
    assert hub.store.read(lambda reader: reader.load_many(Hearing, (1,))) == before


def hubs(hub: Bench) -> None:
    """Each of several says every few seconds that it runs; alone, it would hold up all of them."""
    hub.clock.advance(1_000)
    (is_known,) = ran_beside(hub, SeeHub("v"))
    assert is_known
    (row,) = hub.store.read(lambda reader: reader.load_many(Deployment, ("v",)))
    assert row.seen_at == hub.clock.now_ms()


STORIES: dict[type[Operation], Callable[[Bench], None]] = {
    EnqueueTasks: tasks,
    ClaimTasks: claims,
    RecordHeartbeat: heartbeats,
    RenewLease: renewals,
    ReleaseLease: releases,
    ReportResult: results,
    ReportResults: batches_of_results,
    NoteTaskStatus: notes,
    RecordHearing: hearing,
    ProbeStore: probes,
    SeeHub: hubs,
}


def all_operations() -> set[type[Operation]]:
    """Every operation of the hub."""
    for module in iter_modules(understudy.hub.__path__):
        import_module(f"understudy.hub.{module.name}")
    found, new = set[type[Operation]](), {base.Operation}
    while new:
        found |= new
        new = {sub for noun in new for sub in noun.__subclasses__()} - found
    return {noun for noun in found if noun.__module__.startswith("understudy.hub.") and noun.__name__[0] != "_"}


def test_each_operation_that_runs_beside_others_has_a_story_here() -> None:
    assert {noun for noun in all_operations() if not noun.runs_alone} == set(STORIES)


@pytest.mark.parametrize("noun", STORIES, ids=lambda noun: noun.__name__)
def test_it_saves_only_rows_that_it_has_locked(noun: type[Operation], hub: Bench) -> None:
    STORIES[noun](hub)


def test_messages_about_a_task_are_written_beside_others(hub: Bench) -> None:
    token = lease_of(hub, "a")
    ran_beside(hub, result("a", token))
    assert {row.task_id for row in hub.store.read(lambda reader: reader.load_all(Notice, 10))} == {"a"}


# ---- what must be alone


@pytest.mark.parametrize("operation", [RingAlarm(), GoIdle(), EndHub("v"), CommandTask("cancel", "first", "owner")])
def test_what_is_not_known_to_be_safe_runs_alone(hub: Bench, operation: Operation) -> None:
    hub.ask(RecordHearing(), operation)
    assert alone(hub)[-1]


@pytest.mark.sqlite
def test_on_a_store_of_one_hub_all_run_alone() -> None:
    bench, began = Bench(), []
    real = bench.store.transaction
    bench.store.transaction = lambda fn, *, alone=True: (began.append(alone), real(fn))[1]  # type: ignore[method-assign]
    bench.ask(RecordHearing())
    assert began == [True]
    bench.store.close()


def repeated_alone(hub: Bench, *operations: Operation) -> list[Any]:
    """The answers of a batch that began beside others and had to be alone."""
    before = len(alone(hub))
    answers = hub.ask(*operations)
    assert alone(hub)[before:] == [False, True]
    return answers


def test_a_gap_is_counted_once_by_a_batch_that_is_alone(hub: Bench) -> None:
    hub.clock.advance(10_000)
    (made,) = repeated_alone(hub, enqueue("a"))
    assert made[0]["created"]
    (gap,) = hub.events("hub.gap")
    assert gap["gapSec"] == 10
    assert [row.state for row in hub.store.read(lambda reader: reader.load_all(Period, 9))][:1] == ["unknown"]
    ran_beside(hub, RecordHearing())


def test_a_jump_of_the_clock_is_booked_by_a_batch_that_is_alone(hub: Bench) -> None:
    hub.clock.jump(-3_600_000)
    repeated_alone(hub, RecordHearing())
    ran_beside(hub, RecordHearing())


def test_the_first_lease_after_an_idle_time_makes_its_batch_run_alone() -> None:
    bench = Bench(store=shared())
    bench.ask(RecordStart("v", "1", "f", "h"))
    ran_beside(bench, enqueue("a"))
    repeated_alone(bench, claim())
    ran_beside(bench, enqueue("b"), claim("w2"))


class Strange(Operation):
    """Says that it is safe beside others, and changes a daemon that it has not loaded."""

    runs_alone = False

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        return Decision("done", (Daemon("mini"), Incident("i", "mini", "late", 1, 1)))


class Remover(Operation):
    """Says that it is safe beside others, and removes a task."""

    runs_alone = False

    def needs(self, needs: Needs) -> None:
        needs.row(Task, "first")

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        return Decision("done", delete=((Task, "first"),))


@pytest.mark.parametrize("operation", [Strange(), Remover()])
def test_a_batch_that_saves_what_it_has_not_locked_runs_again_alone(hub: Bench, operation: Operation) -> None:
    assert repeated_alone(hub, operation) == ["done"]


def test_the_store_of_these_tests_refuses_strange_rows(hub: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.hub.batch.refuse_strange_rows", lambda _: None)
    (refused,) = hub.ask(Strange())
    assert isinstance(refused, ViolationError)


def test_a_batch_that_the_database_rolls_back_runs_again_and_is_done_once() -> None:
    dice = random.Random(1)
    store: Any = SharedStore(again=lambda: dice.random() < 0.5)
    hub = Bench(store=store)
    hub.ask(RecordStart("v", "1", "f", "h"))
    for n in range(20):
        hub.ask(enqueue(f"t{n}"))
        (got,) = hub.ask(claim(f"w{n}", provides=["machine"]))
        assert got["taskId"] == f"t{n}"
    assert len(hub.events("task.claimed")) == 20


# ---- deafness beside hubs that hear


def test_a_deaf_hub_stops_nobodys_time_while_another_hears(hub: Bench) -> None:
    deaf = Bench(hub.engine.policy, hub.store, hub.clock)
    deaf.engine.go_deaf()
    for _ in range(LATE_MS // 1_000 + 2):
        hub.clock.advance(500)
        deaf.ask(RingAlarm())
        hub.clock.advance(500)
        hub.finish(RingAlarm)
    assert len(hub.events("daemon.late")) == 1
    (row,) = hub.store.read(lambda reader: reader.load_many(Hearing, (1,)))
    assert row.gaps_ms == 0


def test_the_only_hub_that_is_left_and_deaf_counts_no_silence(hub: Bench) -> None:
    deaf = Bench(hub.engine.policy, hub.store, hub.clock)
    deaf.engine.go_deaf()
    for _ in range(25):
        hub.clock.advance(1_000)
        deaf.ask(RingAlarm())
    assert deaf.events("daemon.late") == deaf.events("hub.gap") == []
