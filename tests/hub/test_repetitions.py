"""What arrives twice, late or out of order changes nothing the second time."""

from __future__ import annotations

import pytest

from understudy.coordinator.nouns import Daemon, Result, Task
from understudy.errors import ConflictError
from understudy.hub.claims import ClaimTasks
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.results import ReportResult
from understudy.wire.daemons import HeartbeatBody, RunningBody
from understudy.wire.tasks import ClaimBody, EnqueueBody, ResultBody


def enqueued(hub, **fields):
    hub.ask(EnqueueTasks([EnqueueBody(content="x", id="t", **fields)], ["t"], "key"))


def claimed(hub, **fields):
    (answer,) = hub.ask(ClaimTasks(ClaimBody(worker_id="w", request_id="r", **fields), "w"))
    return answer["lease"]["token"]


def task(hub):
    return hub.store.read(lambda reader: reader.load_many(Task, ("t",)))[0]


def beat(seq, *runs, boot="b1"):
    running = [RunningBody(task_id=task_id, token=token) for task_id, token in runs]
    return RecordHeartbeat(HeartbeatBody(daemon_id="d", machine_id="m", boot_id=boot, seq=seq, running=running))


def test_a_failure_that_is_sent_again_is_answered_as_the_first_time(hub):
    enqueued(hub, max_attempts=3)
    failed = ResultBody(success=False, token=claimed(hub))
    assert hub.ask(ReportResult("t", failed))[0] == {"success": True}
    assert hub.ask(ReportResult("t", failed))[0] == {"success": True, "duplicate": True}
    assert task(hub).attempts == 1


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_an_attempt_that_timed_out_fails_once_and_may_still_succeed(hub, max_attempts):
    enqueued(hub, max_attempts=max_attempts, timeout_sec=1)
    token = claimed(hub)
    for seq in (1, 2, 3):
        hub.pass_time(20_000)
        hub.ask(beat(seq, ("t", token)))
    hub.pass_time(30_000)
    assert (task(hub).ended, task(hub).attempts) == ("timed_out", 1)
    assert hub.ask(ReportResult("t", ResultBody(success=False, token=token)))[0]["duplicate"]
    assert task(hub).attempts == 1
    assert hub.ask(ReportResult("t", ResultBody(success=True, token=token)))[0] == {"success": True}
    assert task(hub).status == "done"


def test_poison_that_is_tried_again_after_all_has_no_result_meanwhile(hub):
    enqueued(hub, max_attempts=2)
    for nth in range(5):
        hub.ask(ClaimTasks(ClaimBody(worker_id="w", request_id=f"r{nth}"), "w"))
        hub.pass_time(31_000)
    assert task(hub).status == "failed"
    hub.ask(ReportResult("t", ResultBody(success=False, token=task(hub).token)))
    assert task(hub).status == "queued"
    assert not hub.store.read(lambda reader: reader.load_many(Result, ("t",)))


def test_a_beat_that_was_overtaken_takes_up_nothing_that_a_later_one_gave_up(hub):
    enqueued(hub)
    hub.ask(beat(1))
    token = claimed(hub, daemon_id="d", boot_id="b1")
    hub.ask(beat(2, ("t", token)))
    hub.ask(beat(4))
    assert task(hub).status == "queued"
    assert hub.ask(beat(3, ("t", token)))[0]["success"]
    assert (task(hub).status, task(hub).losses) == ("queued", 1)


def test_a_boot_that_was_superseded_in_this_very_batch_stays_superseded(hub):
    hub.ask(beat(1, boot="b1"))
    _, late = hub.ask(beat(1, boot="b2"), beat(2, boot="b1"))
    assert isinstance(late, ConflictError)
    (daemon,) = hub.store.read(lambda reader: reader.load_many(Daemon, ("d",)))
    assert daemon.boot_id == "b2"
