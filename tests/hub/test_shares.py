"""A key has a share: so many unfinished tasks, and so much of the store; what was counted is what a count finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hub.conftest import Bench
from tests.hub.test_batch import claim
from tests.older_stores import add_row, store_of_schema
from understudy.coordinator.nouns import Policy, Usage
from understudy.errors import StoreFullError
from understudy.hub.enqueue import TASK_BYTES, EnqueueTasks
from understudy.hub.results import ReportResult
from understudy.hub.retention import PurgeRows
from understudy.hub.task_commands import CommandTask
from understudy.store.sqlite import SqliteStore
from understudy.wire.tasks import EnqueueBody, ResultBody

COUNTED = (
    "SELECT submitter, sum(status IN ('queued', 'leased')), sum(length(CAST(spec AS BLOB)) + ?)"
    " FROM task JOIN task_body ON task_id = id GROUP BY submitter"
)


@pytest.fixture
def hub() -> Iterator[Bench]:
    bench = Bench(Policy(key_tasks_max=3, key_bytes_max=100_000))
    yield bench
    bench.store.close()


def send(*ids: str, key: str = "key", content: str = "x", is_bounded: bool = True) -> EnqueueTasks:
    bodies = [EnqueueBody(content=content, id=task_id) for task_id in ids]
    return EnqueueTasks(bodies, list(ids), key, is_bounded=is_bounded)


def codes(answers: Sequence[Any]) -> list[str]:
    return [str(answer.fields["code"]) if isinstance(answer, StoreFullError) else "" for answer in answers]


def usage(hub: Bench) -> dict[str, tuple[int, int]]:
    rows = hub.store.read(lambda tx: tx.load_all(Usage, 100))
    return {row.submitter: (row.open_tasks, row.size_bytes) for row in rows if row.size_bytes}


def counted(hub: Bench) -> dict[str, tuple[int, int]]:
    return {key: (tasks, size) for key, tasks, size in hub.store._writer.execute(COUNTED, (TASK_BYTES,))}


def test_unfinished_tasks_of_a_key_are_few_and_others_go_on(hub: Bench) -> None:
    answers = hub.ask(send("a", "b"), send("c", "d"), send("c"), send("d"), send("d", key="other"))
    assert codes(answers) == ["", "key_tasks", "", "key_tasks", ""]
    assert codes(hub.ask(send("e"), send("e", key="other"))) == ["key_tasks", ""]
    assert "cancel some" in str(hub.ask(send("e2"))[0])
    assert hub.ask(send("a"))[0][0]["created"] is False, "a repetition takes nothing"


@pytest.mark.parametrize("end", ["cancel", "done"])
def test_a_task_that_ended_makes_place(hub: Bench, end: str) -> None:
    hub.ask(send("a", "b", "c"))
    if end == "cancel":
        hub.ask(CommandTask("cancel", "b", "key"))
    else:
        (claimed,) = hub.ask(claim("w", on_loss="requeue"))
        token = claimed["lease"]["token"]
        hub.ask(ReportResult(claimed["taskId"], ResultBody(success=True, token=token)))
    assert codes(hub.ask(send("d"), send("e"))) == ["", "key_tasks"]


def test_finished_tasks_take_their_bytes_until_they_are_removed(hub: Bench) -> None:
    for nth in range(2):
        assert codes(hub.ask(send(f"t{nth}", content="x" * 45_000), CommandTask("cancel", f"t{nth}", "key"))) == [
            "",
            "",
        ]
    assert codes(hub.ask(send("t2", content="x" * 45_000), send("t3"))) == ["key_full", ""]
    batch = [send(name, key="other", content="x" * 45_000) for name in ("o1", "o2", "o3")]
    assert codes(hub.ask(*batch)) == ["", "", "key_full"], "also within a batch"
    hub.ask(PurgeRows("task", hub.clock.now_ms() + 1))
    assert codes(hub.ask(send("t2", content="x" * 45_000))) == [""]


def test_what_is_tried_again_is_unfinished_again(hub: Bench) -> None:
    for nth in range(4):
        hub.ask(send(f"t{nth}"), CommandTask("cancel", f"t{nth}", "key"))
    again = [CommandTask("retry", f"t{nth}", "key", "key") for nth in range(4)]
    assert codes(hub.ask(*again)) == ["", "", "", "key_tasks"]
    assert codes(hub.ask(CommandTask("retry", "t3", "owner"))) == [""], "its owner may"


def test_an_admin_has_no_share(hub: Bench) -> None:
    many = [f"t{nth}" for nth in range(10)]
    assert codes(hub.ask(send(*many, content="x" * 20_000, is_bounded=False))) == [""]


@pytest.mark.sqlite
def test_what_was_counted_is_what_a_count_finds(hub: Bench) -> None:
    hub.engine.policy = Policy()
    for nth in range(30):
        hub.ask(send(f"t{nth}", key=f"key{nth % 3}", content="\N{HIRAGANA LETTER A}" * nth), send("t0", key="key0"))
    for nth in range(12):
        (claimed,) = hub.ask(claim(f"w{nth}", on_loss="requeue"))
        result = ResultBody(success=nth % 2 == 0, token=claimed["lease"]["token"])
        hub.ask(
            *([ReportResult(claimed["taskId"], result)] * 2 if nth % 3 else []),
            CommandTask("cancel", f"t{20 + nth // 2}", "x"),
        )
    hub.pass_time(40_000)
    assert usage(hub) == counted(hub)
    hub.ask(*(CommandTask("retry", f"t{nth}", "x") for nth in range(30)))
    assert usage(hub) == counted(hub)
    hub.ask(
        CommandTask("cancel", "t3", "x"), CommandTask("cancel", "t4", "x"), PurgeRows("task", hub.clock.now_ms() + 1)
    )
    hub.ask(PurgeRows("task", hub.clock.now_ms() + 1))
    assert usage(hub) == counted(hub) != {}


def test_tasks_of_an_older_store_count(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    with store_of_schema(6, path) as db:
        for task, status, key in (("a", "queued", "k1"), ("b", "done", "k1"), ("c", "cancelled", "k2")):
            add_row(db, "task", id=task, submitter=key, status=status, finished_at=int(status != "queued"))
    store = SqliteStore(path)
    found = store.read(lambda tx: tx.load_all(Usage, 10))
    store.close()
    assert found == [Usage("k1", 1, 2 * TASK_BYTES), Usage("k2", 0, TASK_BYTES)]
