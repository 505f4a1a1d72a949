"""The statements of the requests that a hub gets all day: each more is paid by every one of them."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

import pytest

from tests.hub.conftest import Bench
from understudy.hub.claims import ClaimTasks
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.results import ReportResult
from understudy.store import queries
from understudy.store.base import EventFilter
from understudy.store.queries import SUPERSEDED_BOOTS
from understudy.store.sqlite import SqliteStore
from understudy.wire.daemons import HeartbeatBody
from understudy.wire.tasks import ClaimBody, EnqueueBody, ResultBody


class Counter:
    """A hub on SQLite whose statements are counted."""

    def __init__(self) -> None:
        self.store = SqliteStore(None)
        self.hub = Bench(store=self.store)
        self.store.read(lambda tx: tx.room())
        self.store._last_room._until_s = inf  # looked for a few times a second: not by each request, not counted here
        self.asked: list[str] = []
        self.store._writer.set_trace_callback(self.asked.append)

    def ask(self, *operations: Any) -> tuple[Any, int]:
        """The first answer, and the number of statements, BEGIN and COMMIT included."""
        self.asked.clear()
        answer = self.hub.ask(*operations)[0]
        return answer, len(set(self.asked))  # SQLite traces one twice that it had to prepare anew


@pytest.fixture
def counter() -> Iterator[Counter]:
    counter = Counter()
    yield counter
    counter.store.close()


def beat(seq: int) -> RecordHeartbeat:
    return RecordHeartbeat(HeartbeatBody(daemon_id="d1", machine_id="m", boot_id="b", seq=seq, interval_sec=10))


def test_a_claim_a_result_and_a_heartbeat_each_run_few_statements(counter: Counter) -> None:
    for seq in (1, 2):
        counter.hub.ask(EnqueueTasks([EnqueueBody("work")], [f"t{seq}"], "k"))
        counter.ask(beat(seq))
        claimed, of_claim = counter.ask(ClaimTasks(ClaimBody(worker_id="w1", on_loss="requeue"), "w1"))
        report = ResultBody(success=True, token=claimed["lease"]["token"], output="done")
        _, of_result = counter.ask(ReportResult(claimed["taskId"], report))
    _, of_beat = counter.ask(beat(3))
    assert (of_claim, of_result, of_beat) == (11, 10, 6), "\n".join(q[:40] for q in counter.asked)


def test_a_result_that_counts_reads_neither_evidence_nor_attempts(counter: Counter) -> None:
    counter.hub.ask(EnqueueTasks([EnqueueBody("work")], ["t"], "k"))
    claimed, _ = counter.ask(ClaimTasks(ClaimBody(worker_id="w1", on_loss="requeue"), "w1"))
    counter.ask(ReportResult("t", ResultBody(success=True, token=claimed["lease"]["token"])))
    read = [statement for statement in counter.asked if statement.startswith("SELECT")]
    assert not any("FROM evidence" in statement or "FROM attempt" in statement for statement in read)


def test_the_events_of_a_batch_are_stored_in_their_order_in_few_statements(counter: Counter) -> None:
    bodies = [EnqueueTasks([EnqueueBody(f"work {n}")], [f"t{n}"], "k") for n in range(100)]
    counter.ask(*bodies)
    assert sum("INTO event" in statement for statement in counter.asked) == 3, "64, 32 and 4"
    stored = counter.store.read(lambda tx: tx.list_events(EventFilter(limit=100)))
    assert [row.event.task_id for row in stored] == [f"t{n}" for n in range(100)]
    assert [row.id for row in stored] == [*range(stored[0].id, stored[0].id + 100)]


def test_a_collection_of_one_is_asked_for_as_a_value(counter: Counter) -> None:
    for name in ("d1", "d'2", "デーモン"):
        counter.ask(RecordHeartbeat(HeartbeatBody(daemon_id=name, boot_id="b1")))
        counter.ask(RecordHeartbeat(HeartbeatBody(daemon_id=name, boot_id="b2")))
    counter.asked.clear()

    def find(*names: str) -> set[str]:
        return {boot.daemon_id for boot in counter.store.transaction(lambda tx: tx.find(SUPERSEDED_BOOTS, names))}

    assert [find("d1"), find("d'2"), find("デーモン")] == [{"d1"}, {"d'2"}, {"デーモン"}]
    assert find("nobody") == set()
    assert not any("json_each" in statement for statement in counter.asked)
    assert (find(), find("d1", "d'2")) == (set(), {"d1", "d'2"})


def test_a_beat_that_goes_on_reads_no_earlier_boots(counter: Counter) -> None:
    for boot in ("b1", "b2"):
        counter.ask(RecordHeartbeat(HeartbeatBody(daemon_id="d1", boot_id=boot)))
    counter.ask(RecordHeartbeat(HeartbeatBody(daemon_id="d1", boot_id="b2")))
    assert not any("FROM boot" in statement for statement in counter.asked)
    refused, _ = counter.ask(RecordHeartbeat(HeartbeatBody(daemon_id="d1", boot_id="b1")))
    assert any("FROM boot" in statement for statement in counter.asked)
    assert refused.fields["code"] == "superseded"


def test_a_query_has_one_collection_at_most_because_one_with_a_single_text_is_written_as_that_text() -> None:
    named = [one for one in vars(queries).values() if isinstance(one, queries.Query)]
    assert len(named) > 20
    assert [one.where for one in named if one.where.count(" IN ?") > 1] == []
