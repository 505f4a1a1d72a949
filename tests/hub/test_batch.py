"""A batch: one commit for all, each sees the ones before, a refusal writes nothing."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any

import pytest

from tests.hub.conftest import Bench
from understudy.coordinator.changes import Decision
from understudy.coordinator.nouns import Attempt, Daemon, Evidence, Hearing, Now, Task
from understudy.errors import ConflictError, MismatchError, NotFoundError, StoreDownError, StoreError
from understudy.hub.alarm import RingAlarm
from understudy.hub.claims import ClaimTasks, NothingYet
from understudy.hub.daemons import ConfigureDaemon, ForgetDaemon
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.operation import Operation
from understudy.hub.results import ReportResult
from understudy.hub.task_commands import CommandTask, NoteTaskStatus
from understudy.hub.working_set import Needs, WorkingSet
from understudy.store.base import EventFilter
from understudy.wire.daemons import HeartbeatBody, RunningBody, SettingsBody, SleepWindow
from understudy.wire.tasks import ClaimBody, EnqueueBody, ResultBody


def enqueue(task_id: str, **fields: Any) -> EnqueueTasks:
    return EnqueueTasks([EnqueueBody("do it", id=task_id, **fields)], [task_id], "key")


def claim(worker: str = "w1", **fields: Any) -> ClaimTasks:
    return ClaimTasks(ClaimBody(worker_id=worker, **fields), worker)


def beat(seq: int, running: dict[str, int] | None = None, boot: str = "b1", **fields: Any) -> RecordHeartbeat:
    runs = [RunningBody(task_id, token) for task_id, token in (running or {}).items()]
    body = HeartbeatBody(
        daemon_id="d1", machine_id="m1", boot_id=boot, seq=seq, interval_sec=10, running=runs, **fields
    )
    return RecordHeartbeat(body)


def test_each_request_of_a_batch_sees_the_ones_before(hub: Bench) -> None:
    hub.ask(enqueue("a"))
    first, second, created, again = hub.ask(claim("w1"), claim("w2"), enqueue("b"), enqueue("b"))
    assert (first["taskId"], second["success"]) == ("a", False)
    assert (created[0]["created"], again[0]["created"]) == (True, False)


def test_a_thousand_tasks_claimed_by_twenty_workers_in_one_batch_are_leased_once_each(hub: Bench) -> None:
    bodies = [EnqueueBody("x") for _ in range(1000)]
    hub.ask(EnqueueTasks(bodies, [f"t{n}" for n in range(1000)], "key"))
    answers = hub.ask(*(claim(f"w{n}", max=60) for n in range(20)))
    got = Counter(item["task"]["id"] for answer in answers for item in answer["tasks"])
    assert (len(got), max(got.values())) == (1000, 1)
    tasks, ended = hub.store.read(lambda tx: (tx.load_all(Task, 2000), tx.load_all(Attempt, 2000)))
    assert [bool(task.worker_id and task.token) for task in tasks] == [True] * 1000
    assert ended == []  # a row is written when a lease ends


def test_tasks_of_one_batch_are_claimed_in_the_order_they_were_sent(hub: Bench) -> None:
    hub.ask(EnqueueTasks([EnqueueBody("x") for _ in range(5)], ["e", "d", "c", "b", "a"], "key"))
    (answer,) = hub.ask(claim(max=5))
    assert [item["task"]["id"] for item in answer["tasks"]] == ["e", "d", "c", "b", "a"]


def test_a_refusal_writes_nothing_and_hinders_nobody(hub: Bench) -> None:
    hub.ask(enqueue("a", priority="low"))
    refused, missing, made = hub.ask(enqueue("a", priority="high"), NoteTaskStatus("nobody", "x"), enqueue("b"))
    assert isinstance(refused, MismatchError)
    assert isinstance(missing, NotFoundError)
    assert made[0]["created"]
    (kept,) = hub.store.read(lambda tx: tx.load_many(Task, ("a",)))
    assert kept.priority == "low"


def test_a_batch_of_tasks_is_all_or_none(hub: Bench) -> None:
    hub.ask(enqueue("b"))
    bodies = [EnqueueBody("x", id="new"), EnqueueBody("another body", id="b")]
    (refused,) = hub.ask(EnqueueTasks(bodies, ["new", "b"], "key"))
    assert isinstance(refused, MismatchError)
    assert hub.store.read(lambda tx: tx.load_many(Task, ("new",))) == []


class Bug(Operation):
    def decide(self, work: WorkingSet, now: Now) -> Decision:
        raise ZeroDivisionError


class Poison(Operation):
    """Makes the store refuse the save."""

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        return Decision(save=(Task("bad", status="no such status"),))


def test_one_requests_bug_fails_that_request_alone(hub: Bench) -> None:
    made, bug = hub.ask(enqueue("a"), Bug())
    assert made[0]["created"]
    assert isinstance(bug, ZeroDivisionError)
    assert hub.store.read(lambda tx: tx.load_many(Task, ("a",)))


class NeedsBug(Bug):
    def needs(self, needs: Needs) -> None:
        raise KeyError("a rule forgot a need")


def test_a_bug_before_any_decision_fails_that_request_alone_too(hub: Bench) -> None:
    made, bug = hub.ask(enqueue("a"), NeedsBug())
    assert made[0]["created"]
    assert isinstance(bug, KeyError)


def test_when_the_store_refuses_a_batch_each_request_is_replayed_alone(hub: Bench) -> None:
    first, bad, second = hub.ask(enqueue("a"), Poison(), enqueue("b"))
    assert (first[0]["created"], second[0]["created"]) == (True, True)
    assert isinstance(bad, StoreError)
    assert len(hub.store.read(lambda tx: tx.load_all(Task, 9))) == 2


@pytest.mark.sqlite
def test_a_failed_commit_answers_everybody_with_store_unavailable(hub: Bench) -> None:
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise sqlite3.OperationalError("disk I/O error")

    hub.store._before_commit = fail
    answers = hub.ask(enqueue("a"), enqueue("b"))
    assert [type(answer) for answer in answers] == [StoreDownError, StoreDownError]
    assert len(tries) == 1, "a store that cannot commit is not asked again for each"
    hub.store._before_commit = None
    assert hub.store.read(lambda tx: tx.load_all(Task, 9)) == []


def test_a_beat_renews_its_runs_and_says_what_is_lost_and_cancelled(hub: Bench) -> None:
    hub.ask(beat(1), enqueue("keep"), enqueue("drop"))
    (got,) = hub.ask(claim("d1", daemon_id="d1", boot_id="b1", max=2))
    tokens = {item["task"]["id"]: item["lease"]["token"] for item in got["tasks"]}
    hub.ask(beat(2, tokens), CommandTask("cancel", "drop", "me"))
    (answer,) = hub.ask(beat(3, {**tokens, "unknown": 5}))
    assert (answer["lost"], answer["cancel"]) == (["unknown"], ["drop"])
    assert answer["nextInSec"] == 10


def test_a_lease_once_named_and_missing_from_a_newer_beat_is_lost_at_once(hub: Bench) -> None:
    hub.ask(beat(1), enqueue("a"))
    (got,) = hub.ask(claim("d1", daemon_id="d1", boot_id="b1", max=1))
    token = got["lease"]["token"]
    hub.ask(beat(2))
    assert not hub.events("lease.lost"), "not named yet: the claim's answer may be on its way"
    hub.ask(beat(3, {"a": token}))
    hub.ask(beat(2))
    assert not hub.events("lease.lost"), "an older beat is no news"
    hub.ask(beat(4))
    assert [event["taskId"] for event in hub.events("lease.lost")] == ["a"]


def test_a_new_boot_frees_the_old_boots_leases_at_once(hub: Bench) -> None:
    hub.ask(beat(1), enqueue("a"))
    (got,) = hub.ask(claim("d1", daemon_id="d1", boot_id="b1", max=1))
    hub.ask(beat(2, {"a": got["lease"]["token"]}))
    hub.ask(beat(1, boot="b2"))
    (free,) = hub.ask(claim("other"))
    assert free["taskId"] == "a"
    (refused,) = hub.ask(beat(9, boot="b1"))
    assert isinstance(refused, ConflictError)
    assert refused.fields["code"] == "superseded"
    (unknown,) = hub.ask(claim("d1", daemon_id="d1", boot_id="b1"))
    assert unknown.fields["code"] == "unknown_boot"


def test_the_same_claim_request_gets_the_same_lease_while_it_is_held(hub: Bench) -> None:
    hub.ask(enqueue("a"), enqueue("b"))
    (first,) = hub.ask(claim("w", request_id="r1"))
    (second,) = hub.ask(claim("w", request_id="r1"))
    assert first["lease"] == second["lease"]
    (other,) = hub.ask(claim("somebody else", request_id="r1"))
    assert other["taskId"] == "b"


def test_an_expired_lease_is_free_for_the_next_claim_and_its_old_token_is_refused(hub: Bench) -> None:
    hub.ask(enqueue("a"))
    (first,) = hub.ask(claim("w1", request_id="r"))
    hub.pass_time(29_999)
    assert not hub.ask(claim("w2"))[0]["success"]
    hub.pass_time(1)
    (second,) = hub.ask(claim("w2", request_id="s"))
    assert second["lease"]["token"] > first["lease"]["token"]
    late = ReportResult("a", ResultBody(success=True, token=first["lease"]["token"]))
    (refused,) = hub.ask(late)
    assert refused.fields == {"code": "lease_lost", "heldBy": "w2"}
    (ok,) = hub.ask(ReportResult("a", ResultBody(success=True, token=second["lease"]["token"])))
    assert ok == {"success": True}


def test_what_was_renewed_in_the_same_batch_is_not_expired(hub: Bench) -> None:
    hub.ask(beat(1), enqueue("a"))
    (got,) = hub.ask(claim("d1", daemon_id="d1", boot_id="b1", max=1))
    for _ in range(29):
        hub.clock.advance(1_000)
        hub.ask(RecordHeartbeat(HeartbeatBody()))
    hub.clock.advance(1_000)
    hub.ask(beat(2, {"a": got["lease"]["token"]}), RingAlarm())
    assert not hub.events("lease.expired")


def test_the_hubs_own_absence_makes_no_alarm_and_expires_no_lease(hub: Bench) -> None:
    hub.ask(beat(1), enqueue("a"), claim("d1", daemon_id="d1", boot_id="b1"))
    hub.pass_time(5_000)
    hub.clock.advance(3_600_000)
    hub.pass_time(20_000)
    assert hub.events("hub.gap")
    assert not hub.events("daemon.late")
    assert not hub.events("lease.expired")
    hub.pass_time(160_000)
    assert len(hub.events("daemon.late")) == 1


def test_three_daemons_falling_silent_together_make_the_hub_suspect_once(hub: Bench) -> None:
    for n in range(4):
        hub.ask(
            RecordHeartbeat(HeartbeatBody(daemon_id=f"d{n}", machine_id=f"m{n}", boot_id="b", seq=1, interval_sec=10))
        )
    hub.pass_time(300_000)
    assert len(hub.events("daemon.late")) == 4
    assert len(hub.events("daemon.down")) == 4
    assert len(hub.events("hub.suspect")) == 1


def test_one_daemon_that_falls_silent_again_and_again_makes_the_hub_no_suspect(hub: Bench) -> None:
    for seq in range(1, 6):
        body = HeartbeatBody(daemon_id="d1", machine_id="m", boot_id="b", seq=seq, interval_sec=1)
        hub.ask(RecordHeartbeat(body), ConfigureDaemon("d1", SettingsBody(late_after_sec=2)))
        hub.pass_time(3_800)
    assert len(hub.events("daemon.late")) == 5
    assert not hub.events("hub.suspect")


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batches_of_any_size_come_to_the_same_end(batch_size: int) -> None:
    ends = []
    for size in (batch_size, 1):
        bench = Bench()
        work = [enqueue(f"t{n}", max_attempts=1 + n % 2) for n in range(40)]
        work += [claim(f"w{n}") for n in range(30)]  # type: ignore[list-item]
        for start in range(0, len(work), size):
            bench.ask(*work[start : start + size])
        rows = bench.store.read(lambda tx: tx.load_all(Task, 100))
        ends.append([(t.id, t.status, t.worker_id) for t in rows])
        bench.store.close()
    assert ends[0] == ends[1]


def test_the_hearing_row_is_written_only_while_something_is_watched_or_leased(hub: Bench) -> None:
    hub.ask(enqueue("a"))
    row = lambda: hub.store.read(lambda tx: tx.load_many(Hearing, (1,)))[0]  # noqa: E731
    assert row().idle == 1
    hub.ask(beat(1))
    assert (row().idle, row().heard_at) == (0, hub.clock.now_ms())


def silent_daemon(hub: Bench, **fields: Any) -> None:
    hub.ask(RecordHeartbeat(HeartbeatBody(daemon_id="d1", machine_id="m1", boot_id="b1", seq=1, **fields)))


def test_many_short_stalls_of_the_hub_postpone_an_alarm_by_one_grace_only(hub: Bench) -> None:
    silent_daemon(hub)  # no interval announced: its grace is 300 s
    for _ in range(3):
        hub.pass_time(110_000)
        hub.clock.advance(3_000)
    hub.pass_time(160_000)
    assert hub.events("hub.gap")
    assert len(hub.events("daemon.late")) == 1


def test_who_was_heard_just_before_a_gap_has_its_grace_after_it(hub: Bench) -> None:
    """The last instant heard is written twice a second: hearing time resumes before the last word."""
    silent_daemon(hub)
    hub.clock.advance(1_000)
    hub.ask(RingAlarm())  # writes it
    hub.clock.advance(300)
    silent_daemon(hub)
    hub.clock.advance(60_000)
    hub.ask(RingAlarm())
    assert hub.events("hub.gap")
    hub.pass_time(299_000)
    assert not hub.events("daemon.late")
    hub.pass_time(3_000)
    assert len(hub.events("daemon.late")) == 1


def test_settings_of_a_sleeping_daemon_leave_it_watched(hub: Bench) -> None:
    silent_daemon(hub, interval_sec=10)
    windows = [SleepWindow("00:00", "23:59")]
    hub.ask(ConfigureDaemon("d1", SettingsBody(expected_sleep=windows)))
    hub.pass_time(181_000)
    assert hub.events("daemon.asleep")
    hub.ask(ConfigureDaemon("d1", SettingsBody(expected_sleep=[])))
    hub.pass_time(400_000)
    assert len(hub.events("daemon.late")) == 1


def test_a_beat_without_its_machine_ends_no_lease(hub: Bench) -> None:
    hub.ask(beat(1), enqueue("a"))
    (got,) = hub.ask(claim("d1", daemon_id="d1", boot_id="b1", max=1))
    hub.ask(beat(2, {"a": got["lease"]["token"]}))
    hub.ask(RecordHeartbeat(HeartbeatBody(daemon_id="d1", boot_id="stranger", seq=1, running=[])))
    assert not hub.events("lease.lost")


def test_forgetting_a_daemon_frees_what_it_held_and_what_waited_for_it(hub: Bench) -> None:
    hub.ask(beat(1), enqueue("held", on_loss="wait"), enqueue("kept", on_loss="wait"))
    (got,) = hub.ask(claim("d1", daemon_id="d1", boot_id="b1", max=2))
    tokens = {item["task"]["id"]: item["lease"]["token"] for item in got["tasks"]}
    hub.ask(beat(2, tokens))
    hub.ask(beat(3, {"held": tokens["held"]}))
    assert [event["taskId"] for event in hub.events("task.waiting")] == ["kept"]
    hub.ask(ForgetDaemon("d1"), RingAlarm())
    (free,) = hub.ask(claim("other", max=5))
    assert {item["task"]["id"] for item in free["tasks"]} == {"held", "kept"}


def test_a_daemon_forgotten_in_the_batch_of_its_alarm_stays_forgotten(hub: Bench) -> None:
    silent_daemon(hub, interval_sec=10)
    for _ in range(180):
        hub.clock.advance(1_000)
        hub.ask(RecordHeartbeat(HeartbeatBody()))
    hub.ask(ForgetDaemon("d1"), RingAlarm())
    assert not hub.store.read(lambda tx: tx.load_many(Daemon, ("d1",)))


def test_a_boot_of_the_machine_that_lost_its_id_does_not_take_it_back(hub: Bench) -> None:
    hub.ask(beat(1))
    hub.pass_time(301_000)
    other = {"daemon_id": "d1", "machine_id": "m2", "boot_id": "c1", "interval_sec": 10}
    hub.ask(
        RecordHeartbeat(HeartbeatBody(**other, seq=1)), RecordHeartbeat(HeartbeatBody(**other, seq=2, state="stopping"))
    )
    (refused,) = hub.ask(beat(9))
    assert refused.fields["code"] == "superseded"


def test_the_same_late_report_again_is_kept_once(hub: Bench) -> None:
    hub.ask(enqueue("a"), claim("w1"))
    hub.ask(ReportResult("a", ResultBody(success=True)))
    late = [ReportResult("a", ResultBody(success=False, error="late")) for _ in range(5)]
    hub.ask(*late)
    assert len(hub.store.read(lambda tx: tx.load_all(Evidence, 9))) == 1


def test_a_report_that_another_one_of_its_batch_made_late_is_kept(hub: Bench) -> None:
    (claimed,) = hub.ask(enqueue("a"), claim("w1", on_loss="requeue"))[1:]
    token = claimed["lease"]["token"]
    reports = [ReportResult("a", ResultBody(success=True, token=token)) for _ in range(3)]
    hub.ask(CommandTask("cancel", "a", "owner"), *reports)
    (kept,) = hub.store.read(lambda tx: tx.load_all(Evidence, 9))
    assert (kept.reason, kept.token) == ("finished anyway", token)
    assert len(hub.events("result.late")) == 3


def test_loops_and_logins_without_end_are_cut_before_they_are_kept_or_told(hub: Bench) -> None:
    many: dict[str, Any] = {f"part{n}": "ok" for n in range(10_000)}
    hub.ask(beat(1, loops={"long": "x" * 100_000} | many, auth={"n" * 100_000: "ok"} | many))
    (daemon,) = hub.store.read(lambda tx: tx.load_many(Daemon, ("d1",)))
    assert len(daemon.loops) + len(daemon.auth) < 2_000
    hub.ask(beat(2, auth=dict.fromkeys(many, "expired")))
    assert hub.store.read(lambda tx: len(tx.list_events(EventFilter(limit=1000)))) < 100


def test_a_claim_after_the_beat_that_takes_a_tag_back_gets_no_task_that_needs_it(hub: Bench) -> None:
    hub.ask(beat(1, provides=["gpu"]), enqueue("t", needs=["gpu"]))
    waiting = ClaimTasks(ClaimBody(worker_id="w1", daemon_id="d1", boot_id="b1", wait_sec=5), "w1")
    _, nothing = hub.ask(beat(2, provides=["machine"]), waiting)
    assert isinstance(nothing, NothingYet)
    assert (nothing.provides, nothing.is_barred) == (frozenset({"machine"}), False)
    hub.ask(beat(3, provides=["gpu"]))
    assert hub.ask(waiting)[0]["taskId"] == "t"


def test_a_paused_daemon_is_told_that_it_waits_for_nothing(hub: Bench) -> None:
    hub.ask(beat(1, state="draining"))
    (nothing,) = hub.ask(ClaimTasks(ClaimBody(worker_id="w1", daemon_id="d1", boot_id="b1", wait_sec=5), "w1"))
    assert nothing.is_barred
