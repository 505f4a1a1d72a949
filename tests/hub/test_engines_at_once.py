"""Three engines on one database of PostgreSQL at the same time: what each answers, and what the rows say in the end."""

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
from understudy.clock import SystemClock
from understudy.coordinator.nouns import Attempt, Policy, Task
from understudy.errors import UnderstudyError
from understudy.hub.alarm import RingAlarm
from understudy.hub.batch import Engine
from understudy.hub.claims import ClaimTasks
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.leases import ReleaseLease, RenewLease
from understudy.hub.operation import Operation
from understudy.hub.results import ReportResult
from understudy.hub.starts import RecordHearing, RecordStart
from understudy.ids import IdMaker
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


@pytest.fixture
def engines(postgres_server: Server) -> Iterator[list[Engine]]:
    """Engines of hubs of their own, on one empty database."""
    url, clock = postgres_server.new_database(), SystemClock()
    stores = [PostgresStore(url) for _ in range(HUBS)]
    yield [Engine(store, clock, IdMaker(clock), Policy()) for store in stores]
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
    assert {(row.task_id, row.token) for row in rows[1]} == set(requests)
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
            assert (first["taskId"], first["tasks"][0]["lease"]) == (second["taskId"], second["tasks"][0]["lease"])


def test_a_task_that_two_hubs_are_given_at_once_is_created_once(engines: list[Engine]) -> None:
    engines[0].run((RecordStart("v", "1", "f", "h"),))
    with ThreadPoolExecutor(2) as pool:
        for nth in range(REQUESTS):
            found = [pool.submit(engine.run, (enqueue(f"t-{nth}"),)) for engine in engines[:2]]
            answers = [as_read(done.result(60).answers[0]) for done in found]
            assert sorted(answer[0]["created"] for answer in answers) == [False, True]
