"""Claims begin where the queue begins, and lose nothing that is made claimable before it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from tests.postgres import Server
from tests.store.conformance import leased, queued
from tests.store.emptying import empty
from understudy.coordinator.nouns import Daemon, Task
from understudy.errors import StoreDownError
from understudy.store import postgres_fronts
from understudy.store.base import Deadlines
from understudy.store.postgres import PostgresStore
from understudy.store.postgres_fronts import Fronts, Heads
from understudy.store.postgres_queue import DELAYS, FIRST_PLACE, HEALTH, LEASES, NOWHERE
from understudy.store.queries import READY

WITHIN_S = 60
LEASED_UNTIL = leased("x").expires_h
TAGS = frozenset({"machine", "gpu"})


@pytest.fixture(autouse=True)
def _in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that takes long begins a look, as in a hub."""
    monkeypatch.setattr(postgres_fronts, "SLOW_S", 0.03)


@pytest.fixture
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there was a look, what it found is in use, however fast claims are."""
    monkeypatch.setattr(postgres_fronts, "FAST_S", -1)


def look_again(fronts: Fronts) -> None:
    """One more look, begun now."""
    fronts.wait()
    fronts._next_s = 0
    fronts.note(1)
    fronts.wait()


@pytest.mark.usefixtures("_always")
def test_what_is_made_claimable_while_a_look_is_under_way_is_not_lost() -> None:
    """The look may have begun before the commit, and then does not see it."""
    looking, may_end = threading.Event(), threading.Event()

    def look() -> Heads:
        looking.set()
        assert may_end.wait(WITHIN_S)
        return {"a": (5, "t5")}

    fronts = Fronts(look)
    fronts.add({"b": (1, "before")})
    fronts.note(1)
    assert looking.wait(WITHIN_S)
    fronts.add({"a": (3, "t3"), "c": (9, "t9")})
    fronts.add({"a": (4, "t4")})
    may_end.set()
    fronts.wait()
    assert fronts.heads() == {"a": (3, "t3"), "c": (9, "t9")}
    fronts.add({"a": (2, "t2")})
    assert fronts.heads() == {"a": (2, "t2"), "c": (9, "t9")}
    look_again(fronts)
    assert fronts.heads() == {"a": (5, "t5")}, "the second look has seen what ended before it began"


@pytest.mark.usefixtures("_always")
def test_looks_that_fail_leave_what_is_known_and_then_everything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fails: list[bool] = []

    def look() -> Heads:
        if fails:
            raise StoreDownError("gone")
        return {"a": (5, "t5")}

    fronts = Fronts(look)
    look_again(fronts)
    fails.append(True)
    for _ in range(3):
        look_again(fronts)
        assert fronts.heads() == {"a": (5, "t5")}
    monkeypatch.setattr(postgres_fronts, "STALE_S", -1)
    assert fronts.heads() is None


@pytest.mark.usefixtures("_always")
def test_a_look_for_which_there_is_no_thread_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else claims would be slow until the hub is started again, and the claim that wanted the look would fail."""

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    fronts = Fronts(lambda: {"a": (5, "t5")})
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        fronts.note(1)
    assert fronts._next_s <= time.monotonic() + postgres_fronts.LOOK_EVERY_S
    look_again(fronts)
    assert fronts.heads() == {"a": (5, "t5")}


def test_fast_claims_need_no_look() -> None:
    looks: list[int] = []

    def look() -> Heads:
        looks.append(1)
        return {}

    fronts = Fronts(look)
    fronts.note(0.001)
    assert (fronts.heads(), looks) == (None, [])
    fronts.note(1)
    fronts.wait()
    assert (fronts.heads(), looks) == (None, [1]), "it was fast again"


# ---- with a database


@pytest.fixture(scope="module")
def database(postgres_server: Server) -> str:
    url = postgres_server.new_database()
    PostgresStore(url).close()
    return url


@pytest.fixture
def stores(database: str) -> Iterator[tuple[PostgresStore, PostgresStore]]:
    empty(database)
    one, two = PostgresStore(database), PostgresStore(database)
    yield one, two
    one.close()
    two.close()


def save(store: PostgresStore, *rows: Task | Daemon) -> None:
    store.transaction(lambda tx: tx.save_many(rows))


def claim(store: PostgresStore, count: int = 1, *, alone: bool = False) -> list[str]:
    def act(tx: Any) -> list[str]:
        found = tx.claimable(TAGS, count)
        tx.save_many([leased(task.id, order_key=task.order_key, needs=task.needs) for task in found])
        return [task.id for task in found]

    return store.transaction(act, alone=alone)


@pytest.mark.usefixtures("_always")
@pytest.mark.parametrize("sets", [('["machine"]',), ("[]", '["gpu"]', '["machine"]')], ids=["one set", "three sets"])
def test_claims_go_on_in_the_order_of_the_queue(stores: Any, sets: tuple[str, ...]) -> None:
    one, two = stores
    save(one, *(queued(f"t{n:02}", 100 + n, needs=sets[n % len(sets)]) for n in range(12)))
    look_again(one._fronts)
    assert claim(one, 2) == ["t00", "t01"]
    look_again(one._fronts)
    assert claim(one, 2, alone=True) == ["t02", "t03"]
    new = queued("new", 50, needs='["gpu","machine"]')
    save(one, queued("urgent", 5, needs=sets[0]), queued("t00", 100, needs=sets[0]), new)
    assert claim(one, 4) == ["urgent", "new", "t00", "t04"]
    save(two, queued("elsewhere", 7, needs=sets[0]), queued("other", 8, needs='["machine","gpu"]'))
    look_again(one._fronts)
    assert claim(one, 3) == ["elsewhere", "other", "t05"]
    assert len(claim(one, 99)) == 6
    assert claim(one) == []
    assert one.read(lambda tx: tx.ready_ids(9)) == []


@pytest.mark.usefixtures("_always")
def test_what_was_rolled_back_is_claimable_again(stores: Any) -> None:
    one, _ = stores
    save(one, queued("a", 1), queued("b", 2))

    def fail(tx: Any) -> None:
        (task,) = tx.claimable(TAGS, 1)
        tx.save_many([leased(task.id)])
        look_again(one._fronts)
        raise LookupError

    with pytest.raises(LookupError):
        one.transaction(fail, alone=False)
    assert claim(one) == ["a"]
    assert claim(one) == ["b"]


def pages_read(tx: Any, place: tuple[int, str]) -> int:
    """By the search for the first claimable task from a place on."""
    statement = (
        "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, FORMAT JSON) SELECT id FROM task"
        " WHERE ready = 1 AND needs = ? AND (order_key, id) >= (?, ?) ORDER BY order_key, id LIMIT 1"
    )
    plan = tx._fetch(statement, ('["machine"]', *place))[0][0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def test_claims_read_nothing_of_what_vacuum_could_not_remove(
    stores: Any, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    """Another transaction holds a snapshot, as a backup does: entries of 1,000 tasks that were claimed stay."""
    one, _ = stores
    monkeypatch.setattr(postgres_fronts, "FAST_S", -1)
    with closing(psycopg.connect(database)) as backup:
        backup.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        backup.execute("SELECT count(*) FROM task")
        save(one, *(queued(f"t{n:04}", n) for n in range(1_000)))
        assert len(claim(one, 1_000)) == 1_000
        save(one, queued("last", 5_000))
        look_again(one._fronts)
        heads = one._fronts.heads()
        front = (5_000, "last")
        assert heads == {'["machine"]': front, LEASES: (LEASED_UNTIL, ""), HEALTH: NOWHERE, DELAYS: NOWHERE}
        few, all_of_it = one.transaction(lambda tx: [pages_read(tx, place) for place in (front, FIRST_PLACE)])
        assert few < 10, all_of_it
        assert all_of_it > 50, few
        assert claim(one) == ["last"]


@pytest.mark.usefixtures("_always")
def test_the_alarm_finds_every_deadline_also_those_that_come_before_what_a_look_has_found(stores: Any) -> None:
    one, two = stores
    assert one.read(lambda tx: tx.next_deadlines()) == Deadlines(0, 0, 0)
    look_again(one._fronts)
    save(one, leased("a", expires_h=50), queued("d", ready=0, available_at=70), Daemon("x", deadline_h=90))
    for store in (one, two):
        assert store.read(lambda tx: tx.next_deadlines()) == Deadlines(50, 90, 70)
    look_again(one._fronts)
    save(one, leased("b", expires_h=40), queued("e", ready=0, available_at=60), Daemon("y", deadline_h=80))
    assert one.transaction(lambda tx: tx.next_deadlines()) == Deadlines(40, 80, 60)
    due = one.transaction(lambda tx: tx.due(1_000, 1_000, 9))
    assert [[row.id for row in rows] for rows in (due.leases, due.delayed, due.daemons)] == [
        ["b", "a"],
        ["e", "d"],
        ["y", "x"],
    ]
    save(two, leased("c", expires_h=30))
    look_again(one._fronts)
    assert one.read(lambda tx: tx.next_deadlines()).lease_h == 30
    assert one.read(lambda tx: (tx.count(READY, limit=9), tx.find(READY))) == (0, [])
    save(one, queued("r", 3))
    assert one.read(lambda tx: (tx.count(READY, limit=9), [task.id for task in tx.find(READY)])) == (1, ["r"])


@pytest.mark.usefixtures("_always")
def test_sets_of_needs_that_were_open_a_while_ago_are_not_looked_for_again(stores: Any) -> None:
    one, two = stores
    save(two, queued("a", needs='["a"]'), queued("b", needs='["b"]'))
    new_needs = lambda *sets: one.transaction(lambda tx: tx.new_needs(sets, 9))  # noqa: E731
    assert new_needs('["a"]', '["n"]') == ({'["n"]'}, 2)
    save(two, *(queued(key, status="done", ready=0, finished_at=1, needs=f'["{key}"]') for key in "ab"))
    assert new_needs('["a"]') == ({'["a"]'}, 0), "it is looked for as long as that is fast"
    save(two, queued("a", needs='["a"]'))
    look_again(one._fronts)
    assert new_needs('["a"]', '["b"]') == ({'["b"]'}, 1)
    save(two, queued("a", status="done", ready=0, finished_at=1, needs='["a"]'))
    assert new_needs('["a"]', '["b"]') == ({'["b"]'}, 0)
