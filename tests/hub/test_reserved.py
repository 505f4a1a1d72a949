"""Reserved tasks: a claim gets those that its worker covers, whatever else waits for the same daemon."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hub.conftest import Bench
from tests.hub.test_batch import beat, claim
from understudy.coordinator.nouns import Daemon, Task, TaskBody
from understudy.errors import ConflictError
from understudy.hub import daemons, working_set
from understudy.hub.daemons import ForgetDaemon
from understudy.simulation.shared_store import SharedStore

MACHINE, CODEX = '["machine"]', '["executor:codex","machine"]'
WITH_CODEX = ["machine", "executor:codex"]


def reserve(hub: Bench, *tasks: tuple[str, str, str]) -> None:
    """Tasks that were lost by a daemon and wait for it: id, daemon, needs; in the order of the queue."""
    lost = {"ready": 0, "ended": "lost", "token": 5, "worker_id": "w", "lease_on_loss": "wait"}
    rows: list[Any] = []
    for order, (task_id, daemon_id, needs) in enumerate(tasks):
        where = {"waiting_for": daemon_id, "daemon_id": daemon_id}
        rows += [Task(task_id, needs=needs, order_key=order, **where, **lost), TaskBody(task_id, '{"content":"x"}')]  # type: ignore[arg-type]
    hub.store.transaction(lambda tx: tx.save_many(rows))


def got(answer: Any) -> list[str]:
    return [item["task"]["id"] for item in answer["tasks"]]


def asked(hub: Bench, *wanted: tuple[str, int, list[str]]) -> list[list[str]]:
    """The tasks that these daemons get in one batch of claims: daemon, at most so many, what it provides."""
    return [got(answer) for answer in hub.ask(*(claim(name, max=n, provides=tags) for name, n, tags in wanted))]


@pytest.fixture(params=["its own", "shared"])
def either(request: pytest.FixtureRequest, hub: Bench) -> Bench:
    """A hub on its own store, and one on a store that others use, where a batch must lock what it leases."""
    return hub if request.param == "its own" else Bench(store=SharedStore())  # type: ignore[arg-type]


def test_what_a_daemon_does_not_cover_hides_nothing_that_it_does(either: Bench) -> None:
    reserve(either, ("codex", "mini", CODEX), ("plain", "mini", MACHINE))
    assert asked(either, ("mini", 1, ["machine"])) == [["plain"]]
    assert asked(either, ("mini", 1, ["machine"])) == [[]]
    assert asked(either, ("mini", 1, WITH_CODEX)) == [["codex"]]


def test_what_waits_for_one_daemon_hides_nothing_that_waits_for_another(either: Bench) -> None:
    reserve(either, *((f"c{n}", "A", CODEX) for n in range(3)), *((f"a{n}", "A", MACHINE) for n in range(3)))
    reserve(either, ("b", "B", MACHINE))
    both = ("A", 1, ["machine"]), ("B", 1, ["machine"])
    assert asked(either, *both) == [["a0"], ["b"]]
    assert asked(either, *both) == [["a1"], []]


def test_claims_of_one_daemon_in_a_batch_share_what_waits_for_it(either: Bench) -> None:
    reserve(either, *((f"t{n}", "mini", (MACHINE, CODEX)[n % 2]) for n in range(6)))
    every = ("mini", 1, ["machine"]), ("mini", 2, WITH_CODEX), ("mini", 1, ["machine"])
    assert asked(either, *every) == [["t0"], ["t1", "t2"], ["t4"]]


def test_what_waits_for_a_daemon_is_given_in_the_order_of_the_queue(either: Bench) -> None:
    reserve(either, *((f"t{n}", ("mini", "w9")[n % 3 == 0], (MACHINE, CODEX)[n % 2]) for n in range(7)))
    (answer,) = either.ask(claim("w9", daemon_id="mini", max=5, provides=WITH_CODEX))
    assert got(answer) == ["t0", "t1", "t2", "t3", "t4"]


def test_no_more_reserved_tasks_are_loaded_than_may_be_given(hub: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them is loaded with its content."""
    reserve(hub, *((f"t{n}", "mini", (MACHINE, CODEX)[n % 2]) for n in range(20)))
    seen: list[set[Any]] = []
    load = working_set.WorkingSet._load_rows
    monkeypatch.setattr(
        working_set.WorkingSet,
        "_load_rows",
        lambda work, tx, wanted: (seen.append(set(wanted.get(TaskBody, ()))), load(work, tx, wanted))[1],
    )
    assert asked(hub, ("mini", 2, ["machine"])) == [["t0", "t2"]]
    assert set().union(*seen) == {"t0", "t2"}


def waiting(hub: Bench) -> int:
    return len([task for task in hub.store.read(lambda tx: tx.load_all(Task, 5_000)) if task.waiting_for])


def test_a_forgotten_daemon_leaves_nothing_that_waits_for_it(hub: Bench) -> None:
    hub.ask(beat(1))
    reserve(hub, *((f"t{n}", "d1", MACHINE) for n in range(1_001)))
    assert hub.ask(ForgetDaemon("d1"))[0]["success"]
    assert waiting(hub) == 0


def test_a_daemon_for_which_too_much_waits_is_not_forgotten(hub: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (daemons, working_set):
        monkeypatch.setattr(module, "RESERVED_MAX", 3)
    hub.ask(beat(1))
    reserve(hub, *((f"t{n}", "d1", MACHINE) for n in range(4)))
    (refused,) = hub.ask(ForgetDaemon("d1"))
    assert isinstance(refused, ConflictError)
    assert refused.fields["code"] == "too_many_waiting"
    assert (waiting(hub), len(hub.store.read(lambda tx: tx.load_many(Daemon, ("d1",))))) == (4, 1)
    asked(hub, ("d1", 1, ["machine"]))
    assert hub.ask(ForgetDaemon("d1"))[0]["success"]
    assert waiting(hub) == 0


@pytest.mark.sqlite
def test_claims_of_one_name_with_ever_different_tags_are_few_searches(hub: Bench) -> None:
    reserve(hub, *((f"t{n:02}", "mini", f'["u{n:02}"]') for n in range(40)))
    statements: list[str] = []
    hub.store._writer.set_trace_callback(statements.append)
    found = asked(hub, *(("mini", 1, [f"u{n:02}"]) for n in range(40)))
    hub.store._writer.set_trace_callback(None)
    assert found == [[f"t{n:02}"] for n in range(40)]
    assert len([text for text in statements if " waiting_for = " in text]) <= 8
