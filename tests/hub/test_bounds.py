"""Nothing that comes from outside grows without end: each table has a purge or a bound, each refusal says why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tests.hub.conftest import Bench
from tests.hub.test_batch import beat, claim, enqueue
from understudy.coordinator.nouns import Attempt, Deployment, Evidence, Key, Memory, Policy, Usage
from understudy.coordinator.retention import purge_plan
from understudy.errors import MismatchError, StoreFullError
from understudy.hub import bounds, keys, views
from understudy.hub.daemons import RegisterDaemon
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.keys import Caller, CreateKey, RevokeKey, RotateKey
from understudy.hub.memory import SaveMemory
from understudy.hub.results import ReportResult
from understudy.hub.retention import PurgeRows
from understudy.hub.task_commands import CommandTask
from understudy.hub.views import View
from understudy.store import room
from understudy.store.purges import PURGES
from understudy.wire.answers.memory import message_json
from understudy.wire.daemons import HeartbeatBody, RegisterBody
from understudy.wire.keys import KeyCreateBody
from understudy.wire.memory import MemorySaveBody
from understudy.wire.tasks import EnqueueBody, ResultBody

# tables that no purge of their own removes from, and what bounds each
BOUNDED = {
    "hearing": "one row",
    "store_copy": "one row",
    "takeover_state": "one row",
    "daemon": "DAEMONS_MAX, owners forget them",
    "daemon_count": "a row a state",
    "sqlite_sequence": "SQLite's own: a row a table",
}


@pytest.mark.sqlite
def test_every_table_has_a_purge_or_a_bound(hub: Bench) -> None:
    db = hub.store._writer
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    statements = " ".join(statement for purge in PURGES.values() for statement in purge)
    purged = set(re.findall(r"DELETE FROM (\w+)", statements))
    assert tables - purged == set(BOUNDED) & tables
    assert not purged & set(BOUNDED)


def test_every_purge_is_planned_and_runs(hub: Bench) -> None:
    plan = purge_plan(Policy(), hub.clock.now_ms())
    assert {what for what, _ in plan} == set(PURGES)
    assert hub.ask(*(PurgeRows(what, before) for what, before in plan)) == [False] * len(plan)


def test_what_a_key_has_used_goes_with_its_last_task(hub: Bench) -> None:
    task = lambda name, key: EnqueueTasks([EnqueueBody("do it", id=name)], [name], key)  # noqa: E731
    hub.ask(*(task(f"t{n}", f"dead-{n}") for n in range(3)), task("kept", "dead-0"), task("open", "alive"))
    used = lambda: {row.submitter: row.open_tasks for row in hub.store.read(lambda tx: tx.load_all(Usage, 9))}  # noqa: E731
    hub.ask(*(CommandTask("cancel", f"t{n}", "me") for n in range(3)))
    hub.ask(PurgeRows("usage", 0))
    assert used() == {"dead-0": 1, "dead-1": 0, "dead-2": 0, "alive": 1}, "their tasks are kept for a while"
    hub.ask(PurgeRows("task", hub.clock.now_ms() + 1))
    hub.ask(PurgeRows("usage", 0))
    assert used() == {"dead-0": 1, "alive": 1}
    hub.ask(task("again", "dead-1"))
    assert used() == {"dead-0": 1, "dead-1": 1, "alive": 1}


def test_more_starts_than_are_kept_go_oldest_first(hub: Bench) -> None:
    hub.store.transaction(lambda tx: tx.save_many([Deployment(f"v{n}", n + 1, "1", "f", "h") for n in range(30)]))
    hub.ask(PurgeRows("deployment_overflow", 10))
    left = hub.store.read(lambda tx: tx.load_all(Deployment, 100))
    assert {row.created_at for row in left} == set(range(21, 31))


def test_the_start_of_a_hub_that_runs_is_kept_however_many_came_after_it(hub: Bench) -> None:
    crashed = [Deployment(f"v{n}", n + 2, "1", "f", "h", seen_at=n + 2) for n in range(30)]
    hub.store.transaction(lambda tx: tx.save_many([Deployment("runs", 1, "1", "f", "h", seen_at=1_000), *crashed]))
    hub.ask(PurgeRows("deployment_overflow", 10))
    left = hub.store.read(lambda tx: tx.load_all(Deployment, 100))
    assert "runs" in {row.version_id for row in left}


def evidence(hub: Bench) -> list[Any]:
    return hub.store.read(lambda tx: tx.load_all(Evidence, 1000))


def test_results_with_invented_tokens_leave_nothing_behind(hub: Bench) -> None:
    hub.ask(enqueue("a"))
    for token in range(1, 50):
        (answer,) = hub.ask(ReportResult("a", ResultBody(success=True, token=token, output="x" * 10_000)))
        assert answer.fields["code"] == "lease_lost"
    assert evidence(hub) == []


def test_one_lost_lease_leaves_one_piece_of_evidence(hub: Bench) -> None:
    hub.ask(enqueue("a"))
    (first,) = hub.ask(claim("w1", on_loss="requeue"))
    hub.pass_time(40_000)
    hub.ask(claim("w2", on_loss="requeue"))
    for nth in range(20):
        hub.ask(ReportResult("a", ResultBody(success=True, token=first["lease"]["token"], output=f"late {nth}")))
        hub.ask(ReportResult("a", ResultBody(success=True, worker_id="w9", output=f"nobody's {nth}")))
    assert [msgspec.json.decode(kept.body)["output"][-2:] for kept in evidence(hub)] == [" 0", " 0"], "the first stays"
    assert len(hub.events("result.late")) == 40


@pytest.fixture
def full() -> Any:
    bench = Bench()
    used = bench.store.read(lambda reader: reader.room()).used_bytes  # PostgreSQL's is more than that of a small file
    bench.engine.policy = Policy(store_bytes_max=max(400_000, used + 200_000))
    bench.ask(enqueue("first"))
    yield bench
    bench.store.close()


def test_full_store_refuses_tasks_and_messages_but_hears_claims_beats_and_results(full: Bench) -> None:
    big = "x" * 50_000
    answers = full.ask(*(enqueue(f"t{n}", metadata={"x": big}) for n in range(20)))
    assert any(isinstance(answer, StoreFullError) and answer.status == 507 for answer in answers)
    filling = (full.ask(enqueue(f"f{n}", metadata={"x": big}))[0] for n in range(10_000))
    assert any(isinstance(answer, StoreFullError) for answer in filling)
    (refused,) = full.ask(SaveMemory(MemorySaveBody("u", "slack", "user", big), "m1"))
    assert refused.fields["code"] == "store_full"
    (claimed,) = full.ask(claim("w1", on_loss="requeue"))
    token, task_id = claimed["lease"]["token"], claimed["taskId"]
    assert full.ask(beat(1))[0]["success"] is True
    assert full.ask(ReportResult(task_id, ResultBody(success=True, token=token, output=big)))[0]["success"] is True


def test_between_two_looks_at_the_store_what_is_taken_counts(full: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.time, "monotonic", lambda: 1e9)
    asked = (full.ask(enqueue(f"f{n}", metadata={"x": "x" * 50_000}))[0] for n in range(20))
    assert any(isinstance(answer, StoreFullError) for answer in asked)


def test_room_is_counted_in_bytes_over_all_that_is_kept(hub: Bench) -> None:
    hub.ask(enqueue("first"))
    text, room = "\N{HIRAGANA LETTER A}" * 10_000, hub.store.read(lambda tx: tx.room())
    hub.engine.policy = Policy(store_bytes_max=room.used_bytes + 20_000)
    asked = [
        enqueue("t1", metadata={"x": text}),
        EnqueueTasks([EnqueueBody(content="x")], ["t2"], "key", [{"type": text}]),
        SaveMemory(MemorySaveBody("u", "slack", "user", text), "m1"),
        SaveMemory(MemorySaveBody("u", "slack", "user", "x", metadata={"x": text}), "m2"),
    ]
    assert codes(hub.ask(*asked, enqueue("t3"))) == ["store_full"] * 4 + [""]


def shown(hub: Bench, show: Any) -> Any:
    return hub.store.read(lambda reader: show(View(reader, hub.clock.now_ms(), Policy())))


def test_a_record_has_the_last_ones_of_very_many_attempts(hub: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.hub.views.ATTEMPTS_MAX", 3)
    hub.ask(enqueue("t"))
    ended = [Attempt("t", token, "w", "", "", token, token, "released") for token in range(1, 6)]
    hub.store.transaction(lambda tx: tx.save_many(ended))
    record = msgspec.json.decode(bytes(shown(hub, lambda view: view.record("t", Caller("k", keys.SCOPES)))))
    assert [attempt["token"] for attempt in record["attempts"]] == [3, 4, 5]


def test_a_history_reads_no_metadata(hub: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(10):
        body = MemorySaveBody("u", "slack", "user", f"said {n}", metadata={"x": "x" * 1_000})
        hub.ask(SaveMemory(body, f"m{n}"))
        hub.clock.advance(1)
    read: list[Memory] = []
    monkeypatch.setattr(views, "message_json", lambda message: read.append(message) or message_json(message))
    history = shown(hub, lambda view: view.history("u", "slack", 9)).history
    assert [message.content for message in history] == [f"said {n}" for n in range(1, 10)]
    assert [message.metadata for message in read] == [""] * 9


def test_a_full_store_refuses_messages_without_text_too(hub: Bench) -> None:
    hub.engine.policy = Policy(store_bytes_max=1)
    (refused,) = hub.ask(SaveMemory(MemorySaveBody("u", "slack", "user", ""), "m1"))
    assert codes([refused]) == ["store_full"]


def test_nearly_full_disk_refuses_new_tasks(hub: Bench) -> None:
    hub.engine.policy = Policy(disk_free_bytes_min=1 << 63)
    (refused,) = hub.ask(enqueue("a"))
    assert (refused.status, refused.fields["code"]) == (507, "disk_full")


@pytest.fixture
def few_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "NEEDS_SETS_MAX", 5)


def codes(answers: Sequence[Any]) -> list[str]:
    return [str(answer.fields["code"]) if isinstance(answer, StoreFullError) else "" for answer in answers]


FULL = "too_many_needs"


@pytest.mark.usefixtures("few_sets")
@pytest.mark.parametrize("delay_sec", [0, 60])
@pytest.mark.parametrize("is_together", [True, False])
def test_sets_of_needs_are_few(hub: Bench, delay_sec: int, *, is_together: bool) -> None:
    asked = [enqueue(f"t{nth}", needs=[f"tag{nth}"], delay_sec=delay_sec) for nth in range(7)]
    answers = hub.ask(*asked) if is_together else [hub.ask(one)[0] for one in asked]
    assert codes(answers) == [""] * 5 + [FULL] * 2
    hub.pass_time(61_000)
    assert codes(hub.ask(enqueue("t9", needs=["tag9"]))) == [FULL]
    assert hub.ask(enqueue("t10", needs=["tag1"]))[0][0]["created"], "a set that waits already is no new one"


@pytest.mark.usefixtures("few_sets")
def test_sets_of_one_request_are_counted_too(hub: Bench) -> None:
    bodies = [EnqueueBody(content="x", needs=[f"tag{nth}"]) for nth in range(6)]
    assert codes(hub.ask(EnqueueTasks(bodies, [f"t{nth}" for nth in range(6)], "key"))) == [FULL]
    assert hub.ask(EnqueueTasks(bodies[:5], [f"t{nth}" for nth in range(5)], "key"))[0][4]["created"]


@pytest.mark.usefixtures("few_sets")
def test_a_refused_request_takes_no_place_of_others(hub: Bench) -> None:
    bodies = [EnqueueBody(content="x", needs=[f"tag{nth}"]) for nth in range(6)]
    refused = EnqueueTasks(bodies, [f"t{nth}" for nth in range(6)], "key")
    others = [enqueue(f"o{nth}", needs=[f"other{nth}"]) for nth in range(6)]
    assert codes(hub.ask(refused, *others)) == [FULL, "", "", "", "", "", FULL]


@pytest.mark.usefixtures("few_sets")
def test_sets_of_what_is_tried_again_are_counted_too(hub: Bench) -> None:
    for nth in range(5):
        hub.ask(enqueue(f"old{nth}", needs=[f"old{nth}"]))
        hub.ask(CommandTask("cancel", f"old{nth}", "me"))
    for nth in range(3):
        hub.ask(enqueue(f"t{nth}", needs=[f"tag{nth}"]))
    assert codes(hub.ask(*(CommandTask("retry", f"old{nth}", "me") for nth in range(5)))) == ["", "", FULL, FULL, FULL]


def test_daemons_beyond_the_bound_are_refused_and_known_ones_heard(hub: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.ask(beat(1))
    monkeypatch.setattr(bounds, "DAEMONS_MAX", 1)
    stranger = RecordHeartbeat(HeartbeatBody(daemon_id="d2", boot_id="b", machine_id="m"))
    assert hub.ask(stranger)[0].fields["code"] == "too_many_daemons"
    assert hub.ask(beat(2))[0]["success"] is True
    assert hub.store.read(lambda tx: tx.daemon_states()) == {"healthy": 1}


def test_daemons_of_one_batch_are_counted_too(hub: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.ask(beat(1))
    monkeypatch.setattr(bounds, "DAEMONS_MAX", 3)
    beats = [RecordHeartbeat(HeartbeatBody(daemon_id=f"n{n}", boot_id="b", machine_id="m")) for n in (1, 1, 2, 3)]
    register = RegisterDaemon(RegisterBody("n4", "1", [], 5_000, "2026-01-01T00:00:00Z"))
    assert codes(hub.ask(*beats, register)) == ["", "", "", "too_many_daemons", "too_many_daemons"]
    assert sum(hub.store.read(lambda tx: tx.daemon_states()).values()) == 3


def create_key(nth: int) -> CreateKey:
    return CreateKey(KeyCreateBody(f"n{nth}", ["read"]), f"k{nth}", f"usk_{nth}", "me")


@pytest.mark.parametrize("is_together", [True, False])
def test_a_key_that_no_hub_would_know_is_refused(
    hub: Bench, monkeypatch: pytest.MonkeyPatch, *, is_together: bool
) -> None:
    monkeypatch.setattr(bounds, "KEYS_MAX", 3)
    asked = [create_key(1), create_key(2), RotateKey("k1", "k3", "usk_3", "me"), create_key(4)]
    asked.append(RotateKey("k1", "k5", "usk_5", "me"))
    if is_together:
        hub.ask(asked.pop(0))
    answers = hub.ask(*asked) if is_together else [hub.ask(one)[0] for one in asked]
    assert codes(answers)[-3:] == ["", "too_many_keys", "too_many_keys"]
    hub.ask(RevokeKey("k1", "me"))
    assert codes(hub.ask(create_key(4), create_key(5))) == ["", "too_many_keys"]


@pytest.mark.parametrize("is_together", [True, False])
def test_a_key_that_is_made_twice_is_one(hub: Bench, monkeypatch: pytest.MonkeyPatch, *, is_together: bool) -> None:
    """The second time it needs no room either."""
    monkeypatch.setattr(bounds, "KEYS_MAX", 2)
    asked = [create_key(1), create_key(1), *(RotateKey("k1", "k2", "usk_2", "me") for _ in range(2))]
    answers = hub.ask(*asked) if is_together else [hub.ask(one)[0] for one in asked]
    assert codes(answers) == [""] * 4
    assert (answers[0], answers[2]) == (answers[1], answers[3])
    assert [key.id for key in hub.store.read(keys.listed_keys)] == ["k1", "k2"]
    stranger = CreateKey(KeyCreateBody("n1", ["read"]), "k1", "usk_other", "me")
    assert [type(answer) for answer in hub.ask(stranger)] == [MismatchError]


def test_keys_that_were_revoked_hide_none_that_is_valid(hub: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key ids begin with the time, so the oldest come first."""
    monkeypatch.setattr(keys, "KEYS_MAX", 3)
    revoked = [Key(f"a{n}", "n", f"ha{n}", "read", n, revoked_at=10 + n) for n in range(5)]
    valid = [Key(f"b{n}", "n", f"hb{n}", "read", 100 + n) for n in range(2)]
    hub.store.transaction(lambda tx: tx.save_many([*revoked, *valid]))
    assert [key.id for key in hub.store.read(keys.listed_keys)] == ["a2", "a3", "a4", "b0", "b1"]


@pytest.mark.usefixtures("few_sets")
def test_a_retry_in_the_batch_of_new_sets_of_needs_lets_no_more_of_them_in(hub: Bench) -> None:
    hub.ask(enqueue("old", needs=["tag0"]), CommandTask("cancel", "old", "me"))
    hub.ask(*(enqueue(f"t{nth}", needs=[f"tag{nth}"]) for nth in range(5)))
    answers = hub.ask(enqueue("t5", needs=["tag5"]), CommandTask("retry", "old", "me"))
    assert codes(answers) == [FULL, ""]
    hub.ask(CommandTask("cancel", "t4", "me"))
    again = [CommandTask("retry", "t4", "me"), enqueue("t6", needs=["tag6"]), enqueue("t7", needs=["tag7"])]
    assert codes(hub.ask(*again)) == ["", FULL, FULL]


def test_a_task_that_is_tried_again_in_the_batch_that_purges_it_is_kept_whole(hub: Bench) -> None:
    hub.ask(enqueue("t"))
    hub.ask(CommandTask("cancel", "t", "me"))
    later = hub.clock.now_ms() + 1
    hub.clock.advance(2)
    retried, is_more = hub.ask(CommandTask("retry", "t", "me"), PurgeRows("task", later))
    assert (retried["success"], is_more) == (True, False)
    assert hub.ask(claim("w"))[0]["task"]["content"]
