"""The writer: decided on the event loop, committed in a thread, and nobody waits for what is not his."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.api.hubs import LoopThread
from tests.store.conformance import queued
from tests.waiting import eventually
from understudy.clock import ManualClock
from understudy.coordinator.changes import Decision
from understudy.coordinator.nouns import Now, Policy, Task
from understudy.errors import StoreDownError, UnavailableError
from understudy.hub.batch import BATCH_MAX, Committed, Engine
from understudy.hub.operation import HEAVY, Operation
from understudy.hub.working_set import WorkingSet
from understudy.ids import IdMaker
from understudy.runtime.hub import writer
from understudy.runtime.hub.writer import CPU_MS_MAX, FAST_COMMIT_MS, HELD_MS_MAX, SLOW_FOR_MS, WIDER_MAX, Writer
from understudy.store.sqlite import SqliteStore


class Save(Operation):
    """Saves a task and notes the thread that it was decided on; `lasts_ms` pass meanwhile."""

    def __init__(self, task_id: str, weight: int = 1, lasts_ms: int = 0) -> None:
        self.task_id = task_id
        self.weight = weight
        self.lasts_ms = lasts_ms
        self.threads: list[str] = []

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        self.threads.append(threading.current_thread().name)
        stand.clock.advance(self.lasts_ms)
        return Decision(self.task_id, (queued(self.task_id),))


class Bug(Save):
    def decide(self, work: WorkingSet, now: Now) -> Decision:
        super().decide(work, now)
        return Decision(save=(Task("bad", status="no such status"),))


class Stand:
    """A writer on a store in a file, whose COMMIT stands while `gate` is closed and fails while `failure` is set."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock()
        self.gate = threading.Event()
        self.gate.set()
        self.committing = 0
        self.committers: list[str] = []
        self.commit_lasts_ms = 0
        self.failure: Exception | None = None
        self.store = SqliteStore(path, self._before_commit)
        self.batches: list[Committed] = []
        self.bugs: list[BaseException] = []
        self.loop = LoopThread()
        self.start(self.store)

    def start(self, store: Any) -> None:
        self.writer = Writer(Engine(store, self.clock, IdMaker(self.clock), Policy()), self.bugs.append)
        self.writer.start(self.loop.loop)
        self.writer.after_commit(self.batches.append)

    def _before_commit(self) -> None:
        self.committing += 1
        self.committers.append(threading.current_thread().name)
        self.clock.advance(self.commit_lasts_ms)
        assert self.gate.wait(60)
        if self.failure is not None:
            raise self.failure

    def ask(self, operation: Operation) -> Any:
        return self.loop.run(self.writer.decide(operation))

    def ask_together(self, *operations: Operation) -> list[Any]:
        return self.loop.run(self.together(*operations))

    async def together(self, *operations: Operation) -> list[Any]:
        """All asked before the loop gets to decide any."""
        return await asyncio.gather(*(self.writer.decide(one) for one in operations), return_exceptions=True)

    def kept(self) -> list[str]:
        return [task.id for task in self.store.read(lambda tx: tx.load_all(Task, 9_999))]


stand: Stand


@pytest.fixture(autouse=True)
def _stand(tmp_path: Path) -> Iterator[None]:
    global stand  # noqa: PLW0603 - `Save.decide` moves its clock
    stand = Stand(tmp_path / "hub.db")
    yield
    stand.gate.set()
    stand.loop.run(stand.writer.stop())
    stand.loop.close()
    stand.store.close()


def test_a_request_is_decided_on_the_event_loop_and_once() -> None:
    save = Save("a")
    assert stand.ask(save) == "a"
    assert save.threads == ["hubs"]
    assert stand.kept() == ["a"]


def test_of_one_caller_who_is_alone_the_loop_commits_until_the_disk_is_slow() -> None:
    for name in ("a", "b"):
        stand.ask(Save(name))
    stand.commit_lasts_ms = FAST_COMMIT_MS
    for name in ("c", "d"):
        stand.ask(Save(name))
    assert stand.committers == ["writer", "hubs", "hubs", "writer"]


def test_of_callers_who_come_together_the_thread_commits_however_fast_the_disk() -> None:
    for name in ("a", "b"):
        stand.ask(Save(name))
    stand.ask_together(Save("c"), Save("d"))
    stand.ask(Save("e"))
    assert stand.committers == ["writer", "hubs", "writer", "writer"]


def test_while_a_commit_waits_for_the_disk_the_loop_turns_reads_go_on_and_nothing_is_answered() -> None:
    stand.ask_together(Save("before"), Save("too"))
    stand.gate.clear()
    asked = stand.loop.begin(stand.writer.decide(Save("a")))
    eventually(lambda: stand.committing == 2)
    assert stand.loop.run(asyncio.sleep(0, "the loop turns")) == "the loop turns"
    assert stand.kept() == ["before", "too"]
    assert not asked.done()
    stand.gate.set()
    assert asked.result(30) == "a"


def test_what_is_asked_during_a_commit_is_one_batch_after_it() -> None:
    stand.gate.clear()
    first = stand.loop.begin(stand.writer.decide(Save("first")))
    eventually(lambda: stand.committing == 1)
    more = [stand.loop.begin(stand.writer.decide(Save(f"t{n}"))) for n in range(5)]
    eventually(lambda: len(stand.writer._asked) == 5)
    stand.gate.set()
    assert [one.result(30) for one in (first, *more)] == ["first", *(f"t{n}" for n in range(5))]
    assert [len(batch.answers) for batch in stand.batches] == [1, 5]


def test_after_a_slow_commit_a_batch_waits_until_those_who_were_answered_ask_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "GATHER_MS_MAX", 60_000)
    stand.commit_lasts_ms = 120_000
    third = _asked_during_a_commit_of_two("c")
    assert stand.ask_together(Save("d"), Save("e")) == ["d", "e"]
    assert third.result(30) == "c"
    assert [batch.answers for batch in stand.batches] == [("a", "b"), ("c", "d", "e")]


def test_those_who_ask_nothing_more_are_not_waited_for_long() -> None:
    stand.commit_lasts_ms = 120_000
    assert _asked_during_a_commit_of_two("c").result(30) == "c"
    assert [batch.answers for batch in stand.batches] == [("a", "b"), ("c",)]


def _asked_during_a_commit_of_two(task_id: str) -> Any:
    """Two tasks, committed together, and one that is asked for meanwhile → the future of its answer."""
    stand.gate.clear()
    pair = stand.loop.begin(stand.together(Save("a"), Save("b")))
    eventually(lambda: stand.committing == 1)
    third = stand.loop.begin(stand.writer.decide(Save(task_id)))
    eventually(lambda: len(stand.writer._asked) == 1)
    stand.gate.set()
    assert pair.result(30) == ["a", "b"]
    return third


def test_a_commit_that_fails_answers_its_batch_and_keeps_nothing() -> None:
    stand.failure = sqlite3.OperationalError("disk I/O error")
    first, second = Save("a"), Save("b")
    answers = stand.ask_together(first, second)
    assert [type(answer) for answer in answers] == [StoreDownError, StoreDownError]
    assert (first.threads, second.threads) == (["hubs"], ["hubs"]), "it is not decided again"
    assert stand.writer.engine._clocks is None, "what was rolled back has moved no clock"
    stand.failure = None
    assert stand.kept() == []
    assert stand.ask(Save("c")) == "c"
    assert stand.kept() == ["c"]


def test_a_bug_in_a_commit_is_the_answer_of_its_batch_too() -> None:
    stand.failure = ZeroDivisionError()
    assert [type(answer) for answer in stand.ask_together(Save("a"), Save("b"))] == [ZeroDivisionError] * 2
    stand.failure = None
    assert stand.ask(Save("c")) == "c"
    assert stand.kept() == ["c"]


def test_what_the_store_refuses_fails_alone_and_is_found_out_in_the_thread() -> None:
    good, bad = Save("a"), Bug("b")
    answers = stand.ask_together(good, bad)
    assert answers[0] == "a"
    assert type(answers[1]).__name__ == "StoreError"
    assert good.threads == ["hubs", "writer", "writer"], "together on the loop, together and alone in the thread"
    assert stand.kept() == ["a"]


def test_a_heavy_operation_is_alone_and_never_holds_the_loop() -> None:
    light, heavy, later = Save("a"), Save("b", HEAVY), Save("c")
    assert stand.ask_together(light, heavy, later) == ["a", "b", "c"]
    assert [len(batch.answers) for batch in stand.batches] == [1, 1, 1]
    assert (light.threads, heavy.threads, later.threads) == (["hubs"], ["writer"], ["hubs"])


def test_a_batch_is_filled_by_weight() -> None:
    asked = [Save(f"t{n}", BATCH_MAX // 2 - 1) for n in range(5)]
    stand.ask_together(*asked)
    assert [len(batch.answers) for batch in stand.batches] == [2, 2, 1]
    assert {name for one in asked for name in one.threads} == {"hubs"}


@pytest.mark.parametrize(
    ("decided_ms", "took_ms", "width"),
    [(7, 1, 1), (7, 4, 2), (7, 20, 3), (1, 20, WIDER_MAX), (7, 0, 1), (30, 200, 1), (60, 6_000, 1), (0, 3, WIDER_MAX)],
)
def test_the_slower_the_disk_the_wider_the_next_batch_as_far_as_the_loop_can_decide_it(
    decided_ms: int, took_ms: int, width: int
) -> None:
    each = BATCH_MAX // 4
    stand.commit_lasts_ms = took_ms
    stand.ask_together(*(Save(f"first {n}", each, decided_ms if n == 0 else 0) for n in range(4)))
    stand.commit_lasts_ms = 0
    stand.ask_together(*(Save(f"then {n}", each) for n in range(20)))
    assert [len(batch.answers) for batch in stand.batches[:2]] == [4, 4 * width]


@pytest.mark.parametrize(("lasts_ms", "cpu_ms"), [(HELD_MS_MAX + 1, 0), (CPU_MS_MAX + 1, CPU_MS_MAX + 1)])
def test_after_a_batch_that_held_the_loop_for_long_the_thread_decides_for_a_while(
    lasts_ms: int, cpu_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used_s = iter((1, 1 + cpu_ms / 1000))
    monkeypatch.setattr(writer, "thread_time", lambda: next(used_s, 2))
    stand.ask(Save("slow", lasts_ms=lasts_ms))
    apart, again = Save("a"), Save("b")
    stand.ask(apart)
    stand.clock.advance(SLOW_FOR_MS)
    stand.ask(again)
    assert (apart.threads, again.threads) == (["writer"], ["hubs"])


def test_a_lock_of_another_process_is_waited_for_in_the_thread(tmp_path: Path) -> None:
    save = Save("a")
    with closing(sqlite3.connect(tmp_path / "hub.db", isolation_level=None)) as backup:
        backup.execute("BEGIN IMMEDIATE")
        asked = stand.loop.begin(stand.writer.decide(save))
        assert stand.loop.run(asyncio.sleep(0, "the loop turns")) == "the loop turns"
        assert not asked.done()
        backup.execute("COMMIT")
    assert asked.result(30) == "a"
    assert save.threads == ["writer"]


class Whole:
    """A store that cannot commit apart from deciding."""

    def __init__(self, store: SqliteStore) -> None:
        self.is_shared = store.is_shared
        self.transaction = store.transaction
        self.read = store.read
        self.close = store.close


def test_a_store_that_cannot_commit_apart_is_written_by_the_thread_alone() -> None:
    stand.loop.run(stand.writer.stop())
    stand.start(Whole(stand.store))
    save = Save("a")
    assert stand.ask(save) == "a"
    assert save.threads == ["writer"]


def test_a_thread_is_answered_as_a_coroutine_is() -> None:
    assert stand.writer.decide_blocking(Save("a")) == "a"
    with pytest.raises(Exception, match="CHECK constraint"):
        stand.writer.decide_blocking(Bug("b"))


def test_a_thread_that_waits_in_vain_is_told_that_the_outcome_is_not_known() -> None:
    """A loop that has called Claude, or sent a message, then tries again to save what came of it."""
    stand.gate.clear()
    try:
        with pytest.raises(UnavailableError, match=r"has not answered for 0\.1 s"):
            stand.writer.decide_blocking(Save("a"), 0.1)
    finally:
        stand.gate.set()


class LastWord(Save):
    is_last_word = True


@pytest.mark.parametrize(("kind", "kept"), [(Save, ["a", "c"]), (LastWord, ["a", "b", "c"])])
def test_what_a_thread_has_given_up_is_not_done_behind_its_back(kind: type[Save], kept: list[str]) -> None:
    """Nobody would make the call that it reserves, or send the notice that it takes; but what happened is written."""
    stand.gate.clear()
    first = stand.loop.begin(stand.writer.decide(Save("a")))
    eventually(lambda: stand.committing == 1)
    with pytest.raises(UnavailableError):
        stand.writer.decide_blocking(kind("b"), 0.1)
    stand.gate.set()
    assert first.result(30) == "a"
    assert stand.ask(Save("c")) == "c"
    assert sorted(stand.kept()) == kept


def test_a_listener_that_fails_does_not_end_the_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    stand.loop.loop.set_exception_handler(lambda *_: None)
    stand.writer.after_commit(lambda _: 1 // 0)  # type: ignore[arg-type, return-value]
    assert [stand.ask(Save(f"t{n}")) for n in range(3)] == ["t0", "t1", "t2"]


def test_a_stop_in_the_middle_of_a_commit_commits_what_is_queued_and_refuses_the_rest() -> None:
    stand.gate.clear()
    asked = [stand.loop.begin(stand.writer.decide(Save("a")))]
    eventually(lambda: stand.committing == 1)
    asked += [stand.loop.begin(stand.writer.decide(Save(name))) for name in ("b", "c")]
    eventually(lambda: len(stand.writer._asked) == 2)
    ending = stand.loop.begin(stand.writer.stop())
    eventually(lambda: stand.writer._idle is not None)
    with pytest.raises(UnavailableError):
        stand.ask(Save("late"))
    with pytest.raises(UnavailableError):
        stand.writer.decide_blocking(Save("late too"))
    assert not ending.done()
    stand.gate.set()
    ending.result(30)
    assert [one.result(30) for one in asked] == ["a", "b", "c"]
    assert stand.kept() == ["a", "b", "c"]


def test_more_than_may_wait_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.runtime.hub.writer.QUEUED_MAX", 3)
    answers = stand.ask_together(*(Save(f"t{n}") for n in range(5)))
    assert answers[:3] == ["t0", "t1", "t2"]
    assert [type(answer) for answer in answers[3:]] == [UnavailableError, UnavailableError]
