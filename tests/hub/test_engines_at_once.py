"""Three batches at once on one database of PostgreSQL, of three hubs or of one: all answers, and the rows after."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.hub.conftest import as_read
from tests.hub.test_batch import claim, enqueue
from tests.postgres import Server
from understudy.clock import ManualClock, SystemClock
from understudy.coordinator.nouns import LEASED, Attempt, Policy, Task
from understudy.errors import StoreDownError, UnderstudyError
from understudy.hub.alarm import RingAlarm
from understudy.hub.batch import Engine
from understudy.hub.claims import ClaimTasks
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.leases import ReleaseLease, RenewLease
from understudy.hub.operation import Operation
from understudy.hub.results import ReportResult
from understudy.hub.starts import RecordHearing, RecordStart
from understudy.ids import IdMaker
from understudy.store.base import EventFilter
from understudy.store.check import check
from understudy.store.postgres import PostgresStore
from understudy.wire.daemons import HeartbeatBody, RunningBody
from understudy.wire.tasks import ReleaseBody, RenewBody, ResultBody

HUBS, ROUNDS, TASKS, DAEMONS, BATCH_MAX = 3, 20, 30, 3, 6
ALARMS, REQUESTS = 0.2, 8


class Crowd:
    """All that ask: what they were granted, and what they ask next; guarded by the interpreter alone."""

    def __init__(self) -> None:
        self.grants: list[tuple[str, str, int]] = []  # request, task, token
        self.created: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.faults: list[BaseException] = []

    def operation(self, dice: random.Random, nth: int) -> Operation:
        """Something that somebody may ask of any hub."""
        task_id, daemon = f"t{dice.randrange(TASKS)}", f"d{dice.randrange(DAEMONS)}"
        _, leased, token = dice.choice(self.grants) if self.grants else ("", task_id, 1)
        mine = [RunningBody(task, one) for _, task, one in self.grants[-3:]]
        body = HeartbeatBody(daemon_id=daemon, machine_id=daemon, boot_id="b", seq=nth, running=mine)
        done = ResultBody(success=True, token=token, output=str(nth))
        return dice.choice(
            (
                enqueue(task_id, dedup_key=f"key of {task_id}"),
                claim(f"w{nth}", provides=["machine"], request_id=f"{dice.random()}", max=2),
                claim("again", provides=["machine"], request_id=f"again-{nth}", max=1),  # it reaches several hubs
                RecordHeartbeat(body),
                RenewLease(leased, RenewBody(worker_id="w", token=token, progress={"text": f"{nth}"})),
                ReleaseLease(leased, ReleaseBody(worker_id="w", token=token)),
                ReportResult(leased, done),
                RingAlarm() if dice.random() < ALARMS else RecordHearing(),
            )
        )

    def heard(self, operation: Operation, answer: Any) -> None:
        """Note what a hub said."""
        if isinstance(answer, BaseException):
            if not isinstance(answer, UnderstudyError) or answer.status >= 500:
                self.faults.append(answer)
        elif isinstance(answer, list):
            self.created.update(made["taskId"] for made in answer if made["created"])
        elif isinstance(operation, ReportResult) and answer == {"success": True}:
            self.done[operation.task_id] += 1
        elif isinstance(answer, dict) and answer.get("taskId"):
            request = operation.body.request_id if isinstance(operation, ClaimTasks) else ""
            self.grants += [(request or "", item["task"]["id"], item["lease"]["token"]) for item in answer["tasks"]]


@pytest.fixture(params=["three hubs", "one hub"])
def engines(postgres_server: Server, request: pytest.FixtureRequest) -> Iterator[list[Engine]]:
    """Engines of hubs of their own, or three times that of one hub, on one empty database."""
    url, clock, hubs = postgres_server.new_database(), SystemClock(), HUBS if request.param == "three hubs" else 1
    stores = [PostgresStore(url, writers=HUBS // hubs) for _ in range(hubs)]
    yield [Engine(store, clock, IdMaker(clock), Policy()) for store in stores] * (HUBS // hubs)
    for store in stores:
        store.close()


def ask(engine: Engine, crowd: Crowd, seed: int) -> None:
    """All rounds of one hub."""
    dice = random.Random(seed)
    for nth in range(ROUNDS):
        operations = [crowd.operation(dice, nth) for _ in range(dice.randint(1, BATCH_MAX))]
        for operation, answer in zip(operations, engine.run(operations).answers, strict=True):
            crowd.heard(operation, as_read(answer))


def test_three_hubs_at_once_grant_create_and_settle_each_thing_once(engines: list[Engine]) -> None:
    engines[0].run((RecordStart("v", "1", "f", "h"),))
    crowd = Crowd()
    with ThreadPoolExecutor(HUBS) as pool:
        for done in [pool.submit(ask, engine, crowd, nth) for nth, engine in enumerate(engines)]:
            done.result(60)
    assert crowd.faults == []
    assert set(crowd.created.values()) == {1}
    assert set(crowd.done.values()) <= {1}
    requests: dict[tuple[str, int], set[str]] = defaultdict(set)
    for request, task_id, token in crowd.grants:
        requests[task_id, token].add(request)
    assert [grant for grant, asked in requests.items() if len(asked) > 1] == []  # a token is one request's
    rows = engines[0].store.read(lambda reader: (reader.load_all(Task, 99), reader.load_all(Attempt, 9_999)))
    running = {(task.id, task.token) for task in rows[0] if task.status == LEASED}
    assert {(row.task_id, row.token) for row in rows[1]} | running == set(requests)
    assert len(rows[0]) == len(crowd.created)
    report = engines[0].store.read(lambda reader: check(reader, SystemClock()))
    assert report.faults == []


@pytest.mark.parametrize("who", [{}, {"daemon_id": "d1", "boot_id": "b"}])
def test_a_request_that_reaches_two_hubs_at_once_gets_one_lease(engines: list[Engine], who: dict[str, str]) -> None:
    engines[0].run((RecordStart("v", "1", "f", "h"),))
    engines[0].run((RecordHeartbeat(HeartbeatBody(daemon_id="d1", machine_id="m", boot_id="b", seq=1, running=[])),))
    with ThreadPoolExecutor(2) as pool:
        for nth in range(REQUESTS):
            engines[0].run([enqueue(f"{name}-{nth}") for name in ("a", "b")])
            asked = [
                claim("w", provides=["machine"], request_id=f"r-{nth}", max=1, **who) for _ in range(2)
            ]  # one object a hub
            found = [pool.submit(engine.run, (one,)) for engine, one in zip(engines, asked, strict=False)]
            first, second = (as_read(done.result(60).answers[0]) for done in found)
            leases = [answer["tasks"][0]["lease"] for answer in (first, second)]
            assert all(0 < lease.pop("leftSec") <= lease["durationSec"] for lease in leases)  # a little less each time
            assert (first["taskId"], leases[0]) == (second["taskId"], leases[1])


def test_a_task_that_two_hubs_are_given_at_once_is_created_once(engines: list[Engine]) -> None:
    engines[0].run((RecordStart("v", "1", "f", "h"),))
    with ThreadPoolExecutor(2) as pool:
        for nth in range(REQUESTS):
            found = [pool.submit(engine.run, (enqueue(f"t-{nth}"),)) for engine in engines[:2]]
            answers = [as_read(done.result(60).answers[0]) for done in found]
            assert sorted(answer[0]["created"] for answer in answers) == [False, True]


class Inner:
    """Lets a whole batch of the same hub run between the decisions and the COMMIT of another one."""

    def __init__(self, url: str) -> None:
        self.operations: tuple[Operation, ...] = ()
        self.answers: list[Any] = []
        self.failure: Exception | None = None
        self.store = PostgresStore(url, own_clock=True, before_commit=self._run)
        self.clock = ManualClock()
        self.engine = Engine(self.store, self.clock, IdMaker(self.clock), Policy())
        self.engine.run((RecordStart("v", "1", "f", "h"),))

    def _run(self) -> None:
        operations, self.operations = self.operations, ()
        failure, self.failure = self.failure, None
        if operations:
            self.clock.advance(1)
            self.answers += self.engine.run(operations).answers
        if failure is not None:
            raise failure


@pytest.fixture
def inner(postgres_server: Server) -> Iterator[Inner]:
    made = Inner(postgres_server.new_database())
    yield made
    made.store.close()


def test_a_batch_that_ends_late_takes_back_nothing_that_a_later_one_has_noted(inner: Inner) -> None:
    inner.operations = (ReleaseLease("none", ReleaseBody(worker_id="w")),)
    before_ms = inner.clock.mono_ms()
    made = inner.engine.run((enqueue("outer"),))
    assert as_read(made.answers[0])[0]["created"]
    assert as_read(inner.answers[0])["success"]
    assert inner.engine._clocks is not None
    assert inner.engine._clocks.mono == before_ms + 1


def test_rows_that_could_not_be_read_are_not_noted_as_reported_by_a_batch_that_failed(inner: Inner) -> None:
    inner.engine.run((enqueue("odd"),))
    inner.store.transaction(lambda tx: tx._change("UPDATE task SET priority = 'x', needs = '['"))  # type: ignore[attr-defined]
    inner.operations, inner.failure = (enqueue("new"),), StoreDownError("the outer one is lost")
    failed = inner.engine.run((RenewLease("odd", RenewBody(worker_id="w", token=1)),))
    assert isinstance(failed.answers[0], StoreDownError)
    seen = inner.engine.run((enqueue("last"),)).events
    told = inner.store.read(lambda reader: reader.list_events(EventFilter(limit=99)))
    assert [one for one in told if "odd" in one.event.message and "cannot be read" in one.event.message]
    assert seen[-1].event.name == "task.queued"
