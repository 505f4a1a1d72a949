"""Two hubs on one database of PostgreSQL: whatever they do at once, it is as if one had done it after the other."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from tests.postgres import Server
from tests.store.conformance import T0, leased, queued
from tests.store.emptying import empty
from tests.waiting import eventually
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import Daemon, Hearing, Task, Usage
from understudy.errors import StoreDownError, StoreError
from understudy.store import postgres
from understudy.store.base import EventFilter, Transaction
from understudy.store.postgres import PostgresStore
from understudy.store.queries import BY_DEDUP, READY, WAITING_FOR

MACHINE = frozenset({"machine"})
WITHIN_S = 60


@pytest.fixture(scope="module")
def database(postgres_server: Server) -> str:
    url = postgres_server.new_database()
    PostgresStore(url).close()
    return url


@pytest.fixture
def url(database: str) -> str:
    empty(database)
    return database


@pytest.fixture
def hubs(url: str) -> Iterator[tuple[PostgresStore, PostgresStore]]:
    one, two = PostgresStore(url), PostgresStore(url)
    yield one, two
    one.close()
    two.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


class Held:
    """A transaction beside others, on a thread of its own, which stands still once it has done its part."""

    def __init__(
        self, pool: ThreadPoolExecutor, store: PostgresStore, part: Callable[[Transaction], Any], **how: Any
    ) -> None:
        self.there, self.may_end = threading.Event(), threading.Event()
        self.tries = 0

        def act(tx: Transaction) -> Any:
            self.tries += 1
            answer = part(tx)
            tx.send()  # type: ignore[attr-defined] # what waits for a COMMIT: another hub shall meet it
            self.there.set()
            assert self.may_end.wait(WITHIN_S)
            return answer

        self.outcome: Future[Any] = pool.submit(lambda: store.transaction(act, **{"alone": False, **how}))
        eventually(lambda: self.there.is_set() or self.outcome.done(), what="its part is done")

    def end(self) -> Any:
        """Let it commit → its answer."""
        self.may_end.set()
        return self.outcome.result(WITHIN_S)


def save(store: PostgresStore, *rows: Any) -> None:
    store.transaction(lambda tx: tx.save_many(rows))


def claim(tx: Transaction) -> list[str]:
    """As the hub does it: the first that is free, then a lease."""
    found = tx.claimable(MACHINE, 1)
    tx.save_many([leased(task.id, order_key=task.order_key, token=task.token + 1) for task in found])
    return [task.id for task in found]


def waits(url: str, count: int = 1) -> bool:
    """True once so many connections wait for a lock."""
    with closing(psycopg.connect(url, autocommit=True)) as look:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return bool(look.execute(asked).fetchone() >= (count,))  # type: ignore[operator]


def tokens(store: PostgresStore) -> dict[str, int]:
    return {task.id: task.token for task in store.read(lambda tx: tx.load_all(Task, 100))}


def test_two_claims_at_once_get_two_tasks(hubs: Any, threads: ThreadPoolExecutor) -> None:
    one, two = hubs
    save(one, queued("a", 1), queued("b", 2))
    first = Held(threads, one, claim)
    assert two.transaction(claim, alone=False) == ["b"]
    assert two.transaction(claim, alone=False) == []
    assert first.end() == ["a"]
    assert tokens(two) == {"a": 1, "b": 1}


def test_claims_of_several_sets_of_needs_pass_over_what_another_hub_is_taking(
    hubs: Any, threads: ThreadPoolExecutor
) -> None:
    one, two = hubs
    save(one, *(queued(f"t{n:02}", n, needs=("[]", '["machine"]')[n % 2]) for n in range(20)))

    def take(count: int) -> Callable[[Transaction], list[str]]:
        return lambda tx: [task.id for task in tx.claimable(MACHINE, count)]

    first = Held(threads, one, take(7))
    assert two.transaction(take(5), alone=False) == [f"t{n:02}" for n in range(7, 12)]
    assert two.transaction(take(50), alone=False) == [f"t{n:02}" for n in range(7, 20)]
    assert first.end() == [f"t{n:02}" for n in range(7)]


def test_many_claims_of_two_hubs_take_each_task_once(hubs: Any, threads: ThreadPoolExecutor) -> None:
    save(hubs[0], *(queued(f"t{n:03}", n) for n in range(120)))

    def take_all(store: PostgresStore) -> list[str]:
        taken: list[str] = []
        while found := store.transaction(claim, alone=False):
            taken += found
        return taken

    taken = [threads.submit(take_all, hub) for hub in hubs]
    found = [task_id for part in taken for task_id in part.result(60)]
    assert sorted(found) == [f"t{n:03}" for n in range(120)]


@pytest.mark.parametrize("is_alone", [False, True], ids=["beside", "alone"])
def test_a_cancel_and_a_claim_of_one_task_see_each_other(
    hubs: Any, threads: ThreadPoolExecutor, url: str, is_alone: bool
) -> None:
    """The second one waits, and finds what the first has made of it."""
    one, two = hubs
    save(one, queued("a"))
    first = Held(threads, one, claim)

    def cancel(tx: Transaction) -> str:
        (task,) = tx.load_many(Task, ["a"])
        if task.status == "queued":
            tx.save_many([replace(task, status="cancelled", ready=0, finished_at=T0)])
        return task.status

    second = threads.submit(lambda: two.transaction(cancel, alone=is_alone))
    eventually(lambda: waits(url), what="the cancel waits")
    assert first.end() == ["a"]
    assert second.result(WITHIN_S) == "leased"


def test_a_task_that_is_being_cancelled_is_not_claimed(hubs: Any, threads: ThreadPoolExecutor) -> None:
    one, two = hubs
    save(one, queued("a"))

    def cancel(tx: Transaction) -> None:
        (task,) = tx.load_many(Task, ["a"])
        tx.save_many([replace(task, status="cancelled", ready=0, finished_at=T0)])

    first = Held(threads, one, cancel)
    assert two.transaction(claim, alone=False) == []
    first.end()
    assert two.transaction(claim, alone=False) == []


def test_a_reserved_task_is_waited_for_and_looked_at_anew(hubs: Any, threads: ThreadPoolExecutor, url: str) -> None:
    one, two = hubs
    save(one, queued("kept", ready=0, waiting_for="mini"))

    def take(tx: Transaction) -> list[str]:
        found = tx.find(WAITING_FOR, ("mini",), limit=9)
        tx.save_many([leased(task.id) for task in found])
        return [task.id for task in found]

    first = Held(threads, one, take)
    second = threads.submit(lambda: two.transaction(take, alone=False))
    eventually(lambda: waits(url), what="the second claim waits")
    assert (first.end(), second.result(WITHIN_S)) == (["kept"], [])


@pytest.mark.parametrize("clash", ["id", "dedup_key"])
def test_what_two_hubs_make_at_once_is_made_once(hubs: Any, threads: ThreadPoolExecutor, url: str, clash: str) -> None:
    one, two = hubs

    def enqueue(task_id: str) -> Callable[[Transaction], str]:
        def act(tx: Transaction) -> str:
            known = tx.load_many(Task, [task_id]) + tx.find(BY_DEDUP, "k", "once")
            if known:
                return known[0].note
            tx.save_many([queued(task_id, submitter="k", dedup_key="once", note=task_id)])
            return "made"

        return act

    first = Held(threads, one, enqueue("a"))
    other = "a" if clash == "id" else "b"
    second = threads.submit(lambda: two.transaction(enqueue(other), alone=False))
    eventually(lambda: waits(url), what="the second one waits")
    assert (first.end(), second.result(WITHIN_S)) == ("made", "a")
    assert list(tokens(one)) == ["a"]


def test_a_daemon_that_two_hubs_hear_first_at_once_is_one(hubs: Any, threads: ThreadPoolExecutor, url: str) -> None:
    one, two = hubs

    def beat(tx: Transaction) -> int:
        seq = max((daemon.seq for daemon in tx.load_many(Daemon, ["mini"])), default=0) + 1
        tx.save_many([Daemon("mini", seq=seq)])
        return seq

    first = Held(threads, one, beat)
    second = threads.submit(lambda: two.transaction(beat, alone=False))
    eventually(lambda: waits(url), what="the second one waits")
    assert (first.end(), second.result(WITHIN_S)) == (1, 2)


def test_a_clash_that_stays_is_an_error_of_this_batch(hubs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "PAUSE_MS", 0)
    save(hubs[0], queued("a", submitter="k", dedup_key="once"))
    with pytest.raises(StoreError, match="task_dedup"):
        hubs[1].transaction(lambda tx: tx.save_many([queued("b", submitter="k", dedup_key="once")]), alone=False)


def test_of_two_that_wait_for_each_other_one_is_decided_again(
    hubs: Any, threads: ThreadPoolExecutor, postgres_server: Server
) -> None:
    save(hubs[0], queued("a"), queued("b"))
    met = threading.Barrier(2)
    tries: list[str] = []

    def crosswise(first: str, second: str) -> Callable[[Transaction], None]:
        def act(tx: Transaction) -> None:
            tries.append(first)
            (one,) = tx.load_many(Task, [first])
            if len(tries) <= 2:
                met.wait(WITHIN_S)
            (two,) = tx.load_many(Task, [second])
            tx.save_many([replace(one, attempts=one.attempts + 1), replace(two, attempts=two.attempts + 1)])

        return act

    both = [
        threads.submit(lambda: hubs[0].transaction(crosswise("a", "b"), alone=False)),
        threads.submit(lambda: hubs[1].transaction(crosswise("b", "a"), alone=False)),
    ]
    for one in both:
        one.result(WITHIN_S)
    assert len(tries) > 2, "on a busy machine the second try may be there before the other one has woken"
    assert [task.attempts for task in hubs[0].read(lambda tx: tx.load_all(Task, 9))] == [2, 2]


def test_batches_beside_each_other_run_at_once(hubs: Any, threads: ThreadPoolExecutor) -> None:
    one, two = hubs
    first = Held(threads, one, lambda tx: tx.save_many([Daemon("x")]))
    two.transaction(lambda tx: tx.save_many([Daemon("y")]), alone=False)
    first.end()
    assert len(one.read(lambda tx: tx.load_all(Daemon, 9))) == 2


@pytest.mark.parametrize("first_alone", [True, False])
def test_a_batch_alone_has_no_other_beside_it(
    hubs: Any, threads: ThreadPoolExecutor, url: str, first_alone: bool
) -> None:
    one, two = hubs
    first = Held(threads, one, lambda tx: tx.save_many([queued("a")]), alone=first_alone)
    second = threads.submit(lambda: two.transaction(lambda tx: tx.count(READY, limit=9), alone=not first_alone))
    eventually(lambda: waits(url), what="the second one waits")
    assert not second.done()
    first.end()
    assert second.result(WITHIN_S) == 1


@pytest.mark.parametrize("default", ["repeatable read", "serializable"])
def test_a_batch_alone_sees_what_it_has_waited_for_whatever_the_default_of_the_database_is(
    threads: ThreadPoolExecutor, url: str, postgres_server: Server, default: str
) -> None:
    name = url.partition("?")[0].rpartition("/")[2]
    postgres_server.ask(f"ALTER DATABASE {name} SET default_transaction_isolation = '{default}'")
    try:
        with closing(PostgresStore(url)) as one, closing(PostgresStore(url)) as two:
            first = Held(threads, one, lambda tx: tx.save_many([queued("a")]))
            second = threads.submit(lambda: two.transaction(lambda tx: tx.count(READY, limit=9)))
            eventually(lambda: waits(url), what="the second one waits")
            first.end()
            assert second.result(WITHIN_S) == 1
    finally:
        postgres_server.ask(f"ALTER DATABASE {name} RESET default_transaction_isolation")


def test_what_keys_have_used_is_added_up(hubs: Any, threads: ThreadPoolExecutor) -> None:
    def add(store: PostgresStore) -> None:
        for _ in range(20):
            keys = random.sample(["a", "b", "c"], 3)
            store.transaction(lambda tx, keys=keys: tx.add_usage([Usage(key, 1, 10) for key in keys]), alone=False)

    for done in [threads.submit(add, hub) for hub in hubs]:
        done.result(60)
    assert hubs[0].read(lambda tx: tx.load_all(Usage, 9)) == [Usage(key, 40, 400) for key in "abc"]


def test_hearing_is_noted_without_waiting_and_never_goes_back(hubs: Any, threads: ThreadPoolExecutor) -> None:
    one, two = hubs
    save(one, Hearing(heard_at=T0, gaps_ms=5))
    first = Held(threads, one, lambda tx: tx.save_many([Hearing(heard_at=T0 + 10, gaps_ms=99)]))
    two.transaction(lambda tx: tx.save_many([Hearing(heard_at=T0 + 20)]), alone=False)
    first.end()
    two.transaction(lambda tx: tx.save_many([Hearing(heard_at=T0 + 5)]), alone=False)
    assert one.read(lambda tx: tx.load_many(Hearing, [1])) == [Hearing(heard_at=T0 + 10, gaps_ms=5)]


def test_names_for_rows_to_come_are_waited_for(hubs: Any, threads: ThreadPoolExecutor, url: str) -> None:
    one, two = hubs
    first = Held(threads, one, lambda tx: tx.lock(["r1", "r2"]))
    two.transaction(lambda tx: tx.lock(["r3"]), alone=False)
    second = threads.submit(lambda: two.transaction(lambda tx: tx.lock(["r2", "r9"]), alone=False))
    eventually(lambda: waits(url), what="the second one waits")
    first.end()
    second.result(WITHIN_S)


# ---- connections that end


def test_a_connection_cut_in_the_middle_keeps_nothing_and_is_no_empty_answer(
    hubs: Any, url: str, postgres_server: Server
) -> None:
    def cut(tx: Transaction) -> list[Task]:
        tx.save_many([queued("lost")])
        with closing(psycopg.connect(url)) as other:
            postgres_server.cut(other.info.dbname)
        return tx.claimable(MACHINE, 1)

    with pytest.raises(StoreDownError):
        hubs[0].transaction(cut, alone=False)
    save(hubs[0], queued("kept"))
    assert list(tokens(hubs[0])) == ["kept"]


def test_a_connection_cut_between_two_batches_is_replaced_unseen(hubs: Any, url: str, postgres_server: Server) -> None:
    save(hubs[0], queued("a"))
    hubs[0].read(lambda tx: tx.ready_ids(1))
    with closing(psycopg.connect(url)) as other:
        postgres_server.cut(other.info.dbname)
    assert hubs[0].read(lambda tx: tx.ready_ids(9)) == ["a"]
    save(hubs[0], queued("b"))
    assert hubs[0].read(lambda tx: tx.ready_ids(9)) == ["a", "b"]


def test_a_commit_of_which_nobody_hears_is_not_acknowledged(url: str, postgres_server: Server) -> None:
    armed: list[str] = []

    def cut() -> None:
        if armed:
            postgres_server.cut(armed.pop())

    store = PostgresStore(url, before_commit=cut)
    with closing(psycopg.connect(url)) as other:
        armed.append(other.info.dbname)
    with pytest.raises(StoreDownError):
        save(store, queued("lost"))
    save(store, queued("kept"))
    assert list(tokens(store)) == ["kept"]
    store.close()


def test_a_transaction_that_failed_unseen_is_not_taken_for_committed(hubs: Any) -> None:
    """PostgreSQL answers ROLLBACK to its COMMIT, and no error."""

    def swallow(tx: Transaction) -> None:
        tx.save_many([queued("lost")])
        with pytest.raises(psycopg.Error):
            tx._fetch("SELECT 1 / 0")  # type: ignore[attr-defined]

    with pytest.raises(StoreDownError, match="ROLLBACK"):
        hubs[0].transaction(swallow)
    assert tokens(hubs[0]) == {}


def test_a_hub_that_freezes_in_a_transaction_is_cut_and_the_others_go_on(
    url: str, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres._WRITER, "idle_in_transaction_session_timeout", 300)
    frozen, other = PostgresStore(url), PostgresStore(url)
    held = Held(threads, frozen, lambda tx: tx.save_many([queued("lost")]), alone=True)
    save(other, queued("kept"))  # waits until the frozen one is cut
    with pytest.raises(StoreDownError):
        held.end()
    save(frozen, queued("again"))
    assert sorted(tokens(other)) == ["again", "kept"]
    frozen.close()
    other.close()


# ---- events


def test_a_follower_knows_which_batches_may_still_write(hubs: Any, threads: ThreadPoolExecutor) -> None:
    """Whoever reads what is in the log, and then which batches are open, has missed nothing of the others."""
    one, two = hubs
    event = Event(T0, "info", "n", "c", "m", {})
    open_batches = lambda: two.read(lambda tx: tx.open_batches())  # noqa: E731
    assert open_batches() == frozenset()
    first = Held(threads, one, lambda tx: tx.append_events([event, event]))
    marks = open_batches()
    assert len(marks) == 1
    (later,) = two.transaction(lambda tx: tx.append_events([event]), alone=False)
    seen = [row.id for row in two.read(lambda tx: tx.list_events(EventFilter(limit=9)))]
    assert seen == [later.id]
    assert open_batches() == marks, "what is missing before it may still come"
    earlier = first.end()
    assert not open_batches() & marks
    seen = [row.id for row in two.read(lambda tx: tx.list_events(EventFilter(limit=9)))]
    assert seen == [*(row.id for row in earlier), later.id] == sorted(seen)
