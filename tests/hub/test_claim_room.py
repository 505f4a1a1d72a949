"""Many claims in one batch: no more is read for them than they may get, and none is told "none" for lack of room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.hub.conftest import Bench
from tests.hub.test_batch import claim, enqueue
from understudy.coordinator.nouns import Task, TaskBody
from understudy.errors import UnavailableError
from understudy.hub.batch import Engine
from understudy.hub.claims import ClaimTasks, NothingYet
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.memory import SaveMemory
from understudy.hub.working_set import WorkingSet
from understudy.wire.memory import MemorySaveBody
from understudy.wire.tasks import ClaimBody, EnqueueBody

MANY = 12
Loaded = Callable[[], WorkingSet]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """What the last batch had loaded."""
    seen: list[WorkingSet] = []
    save = Engine._save

    def note(engine: Engine, tx: Any, work: WorkingSet, *more: Any, **named: Any) -> Any:
        seen.append(work)
        return save(engine, tx, work, *more, **named)

    monkeypatch.setattr(Engine, "_save", note)
    return lambda: seen[-1]


def fill(hub: Bench, needs: list[str], count: int = MANY, chars: int = 10) -> None:
    bodies = [EnqueueBody("x" * chars, needs=needs) for _ in range(count)]
    hub.ask(EnqueueTasks(bodies, [f"{'-'.join(needs)}.{n:02}" for n in range(count)], "key"))


def bodies_of(work: WorkingSet) -> set[str]:
    return {key for key, row in work.rows[TaskBody].items() if row is not None}


def waiting(worker: str, **fields: Any) -> ClaimTasks:
    return ClaimTasks(ClaimBody(worker_id=worker, request_id=worker, wait_sec=5, **fields), worker)


def test_claims_of_many_tags_read_what_they_get(hub: Bench, loaded: Loaded) -> None:
    for n in range(MANY):
        fill(hub, [f"t{n}"])
    answers = hub.ask(*(claim(f"w{n}", provides=[f"t{n}"], max=1) for n in range(MANY)))
    assert {answer["taskId"] for answer in answers} == {f"t{n}.00" for n in range(MANY)}
    assert len(bodies_of(loaded())) == MANY


@pytest.mark.sqlite
def test_the_queue_is_searched_once_for_all_claims_of_a_batch(hub: Bench) -> None:
    for n in range(MANY):
        fill(hub, [f"t{n}", "common"], 1)
        fill(hub, [f"u{n}", "common"], 1)
    searched: list[str] = []
    hub.store._writer.set_trace_callback(
        lambda text: searched.append(text) if " ready = 1 AND needs " in text else None
    )
    answers = hub.ask(
        *(claim(f"w{n}", provides=["common", f"t{n}", f"u{n}", f"u{n - 1}"], max=1) for n in range(1, MANY))
    )
    hub.store._writer.set_trace_callback(None)
    assert all(answer["success"] for answer in answers)
    assert len([text for text in searched if "RECURSIVE" in text]) == 1, "the sets of needs"
    assert len([text for text in searched if "json_each" in text]) == 1, "the first task of each"
    assert len(searched) <= 2 + 2 * MANY, "what comes after the first of a set, for nobody twice"


def test_claims_whose_tags_overlap_get_different_tasks(hub: Bench, loaded: Loaded) -> None:
    fill(hub, ["machine"])
    for n in range(MANY):
        fill(hub, ["machine", f"t{n}"], 2)
    answers = hub.ask(*(claim(f"w{n}", provides=["machine", f"t{n}"], max=2) for n in range(MANY)))
    got = [item["task"]["id"] for answer in answers for item in answer["tasks"]]
    assert len(set(got)) == len(got) == 2 * MANY
    assert len(bodies_of(loaded())) == 2 * MANY


def test_a_claim_that_is_refused_leaves_its_tasks_to_the_next(hub: Bench) -> None:
    fill(hub, ["machine"], 1)
    refused, answer = hub.ask(claim("w1", daemon_id="d", boot_id="nobody's", max=1), claim("w2", max=1))
    assert refused.fields["code"] == "unknown_boot"
    assert answer["taskId"] == "machine.00"


def test_bodies_without_end_are_read_batch_by_batch(
    hub: Bench, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.hub.claim_room.BODIES_BYTES_MAX", 30_000)
    fill(hub, ["machine"], chars=10_000)
    open_claims, got = {f"w{n}": waiting(f"w{n}", max=1) for n in range(MANY)}, []
    while open_claims:
        answers = dict(zip(open_claims, hub.ask(*open_claims.values()), strict=True))
        assert sum(row.size_bytes for row in loaded().rows[Task].values() if row.id in bodies_of(loaded())) <= 30_000
        short = {name: answer for name, answer in answers.items() if isinstance(answer, NothingYet)}
        assert all(answer.is_short and answer.answer.pending for answer in short.values())
        assert len(short) < len(answers)
        got += [answer["taskId"] for name, answer in answers.items() if name not in short]
        open_claims = {name: open_claims[name] for name in short}
    assert sorted(got) == [f"machine.{n:02}" for n in range(MANY)]


def test_one_answer_reads_no_more_than_it_may_carry(
    hub: Bench, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.hub.claims.ANSWER_CHARS_MAX", 30_000)
    monkeypatch.setattr("understudy.coordinator.claims.ANSWER_CHARS_MAX", 30_000)
    fill(hub, ["machine"], chars=10_000)
    (answer,) = hub.ask(claim(max=MANY))
    assert len(answer["tasks"]) == len(bodies_of(loaded())) == 3


def test_a_claim_that_does_not_wait_is_told_how_many_are_left(hub: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.hub.claim_room.BODIES_BYTES_MAX", 1)
    fill(hub, ["machine"], 2)
    first, second = hub.ask(claim("w1", max=1), claim("w2", max=1))
    assert (first["success"], second["success"], second["pending"]) == (True, False, 2)


def test_candidates_of_very_many_sets_are_bounded_and_asked_for_again(
    hub: Bench, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.store.needs.CANDIDATES_MAX", MANY)
    fill(hub, ["machine"])
    claims = [waiting(f"w{n}", provides=["machine", f"t{n}"], max=1) for n in range(MANY)]
    first, *others = hub.ask(*claims)
    assert first["taskId"] == "machine.00"
    assert all(isinstance(answer, NothingYet) and answer.is_short for answer in others)
    assert len(loaded().rows[Task]) == 1


def test_a_claim_with_nothing_left_waits_for_what_comes(hub: Bench) -> None:
    fill(hub, ["machine"], 1)
    first, second, third = hub.ask(*(waiting(f"w{n}", max=1) for n in range(2)), waiting("w2", provides=["x"], max=1))
    assert first["taskId"] == "machine.00"
    assert [answer.is_short for answer in (second, third)] == [False, False]


def test_the_same_request_gets_its_tasks_or_an_error_never_none(hub: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(hub, ["machine"], 2)
    claims = [waiting(f"w{n}", max=1, lease_duration_sec=60) for n in range(2)]
    first = hub.ask(*claims)
    monkeypatch.setattr("understudy.hub.claim_room.BODIES_BYTES_MAX", 1)
    again, busy = hub.ask(*claims)
    assert again["taskId"] == first[0]["taskId"]
    assert isinstance(busy, UnavailableError)
    assert hub.ask(claims[1])[0]["taskId"] == first[1]["taskId"]


def test_a_request_that_comes_twice_in_its_batch_gets_the_same(hub: Bench) -> None:
    hub.ask(enqueue("a", conversation="slack:U1"))
    first, again = hub.ask(waiting("w", max=1), waiting("w", max=1))
    assert first["taskId"] == again["taskId"] == "a"


def test_of_a_long_conversation_only_what_is_sent_is_read(hub: Bench, loaded: Loaded) -> None:
    for n in range(30):
        body = MemorySaveBody(user_id="u", channel="c", role="user", content=f"{n} " + "x" * 60_000)
        hub.ask(SaveMemory(body, f"m{n}"))
    for n in range(3):
        hub.ask(SaveMemory(MemorySaveBody(user_id="u", channel="c", role="user", content=f"short {n}"), f"s{n}"))
    hub.ask(enqueue("a", conversation="c:u"))
    (answer,) = hub.ask(claim(max=1))
    assert answer["task"]["context"] == "[user] short 0\n[user] short 1\n[user] short 2"
    assert sum(len(one.content) for said in loaded().memories.values() for one in said) < 20_000


def test_a_conversation_of_many_short_messages_is_sent_as_far_as_it_fits(hub: Bench) -> None:
    for n in range(150):
        body = MemorySaveBody(user_id="u", channel="c", role="user", content=f"{n:03} " + "x" * 60)
        hub.ask(SaveMemory(body, f"m{n:03}"))
        hub.clock.advance(1)
    hub.ask(enqueue("a", conversation="c:u"))
    lines = hub.ask(claim(max=1))[0]["task"]["context"].split("\n")
    assert [line[7:10] for line in lines] == [f"{n:03}" for n in range(150 - len(lines), 150)]
    assert 8_000 - len(lines[0]) - 1 < len("\n".join(lines)) <= 8_000
