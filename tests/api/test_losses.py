"""What becomes of started work when its worker falls silent; attempts, backoff, poison."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.hubs import HOUR, MINUTE, Hub
from tests.api.wire import at


def begin(hub: Hub, on_loss: str = "wait", task: Any = None, **claim: Any) -> Any:
    """A run that has begun: claimed by `mini` and named in its beat."""
    hub.beat().of(200)
    hub.enqueue(**(task or {}))
    lease = hub.daemon_lease(**({"onLoss": on_loss} | claim))
    hub.beat(running=[{"taskId": lease["taskId"], "token": lease["token"]}]).of(200)
    return lease


def outcomes(hub: Hub, task_id: str) -> list[str]:
    return [attempt.get("outcome", "") for attempt in hub.task(task_id)["attempts"]]


# ---- expiry


def test_a_lease_is_held_until_its_last_millisecond(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.lease()
    hub.advance(29_999)
    assert hub.claim("other")["success"] is False
    hub.advance(1)
    assert outcomes(hub, task_id) == ["expired"]
    (event,) = hub.events("lease.expired")
    assert at(event["at"]) == hub.now
    assert event["fields"]["taskId"] == task_id
    assert hub.claim("other")["taskId"] == task_id


def test_a_loss_is_no_attempt_and_there_is_no_backoff(hub: Hub) -> None:
    task_id = hub.enqueue(maxAttempts=1)
    for n in range(1, 5):
        hub.lease()
        hub.advance(30_000)
        task = hub.task(task_id)
        assert (task["status"], task["losses"]) == ("pending", n)
        assert hub.pending() == [task_id]


def test_after_five_losses_a_task_is_poison(hub: Hub) -> None:
    task_id = hub.enqueue(maxAttempts=10)
    for _ in range(5):
        hub.lease()
        hub.advance(30_000)
    task = hub.task(task_id)
    assert (task["status"], task["losses"], len(task["attempts"])) == ("failed", 5, 5)
    assert task["result"]["failure"]["class"] == "poison"
    assert hub.claim()["success"] is False
    hub.post(f"/api/tasks/{task_id}/retry").of(200)
    assert hub.lease()["taskId"] == task_id
    hub.advance(30_000)
    assert hub.pending() == [task_id], "its losses are counted anew"


# ---- wait


@pytest.mark.sqlite
def test_a_wait_run_keeps_its_task_until_its_daemon_would_be_down(hub: Hub) -> None:
    lease = begin(hub)
    hub.advance(299_999)
    assert hub.get(f"/api/queue/{lease['taskId']}").of(200)["status"] == "claimed"
    hub.advance(1)
    task = hub.task(lease["taskId"])
    assert (task["status"], task["waitingFor"]) == ("pending", "mini")
    assert hub.events("task.waiting")[0]["fields"]["taskId"] == lease["taskId"]


@pytest.mark.sqlite
def test_a_waiting_task_is_for_its_machine_only(hub: Hub) -> None:
    lease = begin(hub)
    hub.advance(HOUR)
    assert hub.pending() == []
    hub.beat("other", boot="o", machine="m2").of(200)
    assert hub.claim("w")["success"] is False
    assert hub.claim("other", daemonId="other", bootId="o", max=100)["success"] is False
    hub.beat(boot="b2", running=[]).of(200)
    again = hub.daemon_lease(boot="b2")
    assert again["taskId"] == lease["taskId"]
    assert again["token"] > lease["token"]


@pytest.mark.sqlite
def test_a_daemon_that_returns_with_its_run_alive_goes_on(hub: Hub) -> None:
    lease = begin(hub)
    hub.advance(HOUR)
    answer = hub.beat(running=[{"taskId": lease["taskId"], "token": lease["token"]}]).of(200)
    assert answer["lost"] == []
    task = hub.task(lease["taskId"])
    assert task["status"] == "claimed"
    assert "waitingFor" not in task
    assert len(task["attempts"]) == 1
    hub.result(lease["taskId"], token=lease["token"], success=True).of(200)
    assert outcomes(hub, lease["taskId"]) == ["done"]


@pytest.mark.sqlite
def test_a_result_of_a_run_that_waited_is_taken(hub: Hub) -> None:
    lease = begin(hub)
    hub.advance(HOUR // 2)
    hub.result(lease["taskId"], token=lease["token"], success=True, output="spooled").of(200)
    assert hub.get(f"/api/result/{lease['taskId']}").of(200)["output"] == "spooled"


@pytest.mark.parametrize("cause", ["missing from a beat", "new boot", "last will", "drain"])
def test_a_begun_wait_run_stays_reserved_whatever_ends_it(hub: Hub, cause: str) -> None:
    lease = begin(hub)
    task_id, token = lease["taskId"], lease["token"]
    if cause == "missing from a beat":
        hub.beat(running=[]).of(200)
    elif cause == "new boot":
        hub.beat(boot="b2", running=[]).of(200)
    else:
        reason = {"reason": "daemon_gone"} if cause == "last will" else {"reason": "drain"}
        hub.post(f"/api/queue/{task_id}/release", {"token": token, **reason}).of(200)
    assert hub.task(task_id)["waitingFor"] == "mini"
    assert hub.claim("w")["success"] is False


def test_a_wait_run_that_was_never_named_is_treated_as_requeue(hub: Hub) -> None:
    hub.beat().of(200)
    task_id = hub.enqueue()
    lease = hub.daemon_lease(onLoss="wait")
    assert lease["onLoss"] == "wait"
    hub.advance(29_999)
    assert hub.pending() == []
    hub.advance(1)
    assert hub.pending() == [task_id]
    assert hub.lease("other")["taskId"] == task_id


@pytest.mark.sqlite
def test_a_renewal_begins_a_wait_as_a_beat_does(hub: Hub) -> None:
    hub.beat().of(200)
    task_id = hub.enqueue()
    lease = hub.daemon_lease(onLoss="wait")
    renewed = hub.post(f"/api/queue/{task_id}/renew", {"token": lease["token"]}).of(200)["lease"]
    assert at(renewed["expiresAt"]) == hub.now + 300_000
    hub.advance(300_000)
    assert hub.task(task_id)["waitingFor"] == "mini"


@pytest.mark.sqlite
@pytest.mark.parametrize("verb", ["move", "cancel"])
def test_a_waiting_task_can_be_moved_or_cancelled(hub: Hub, verb: str) -> None:
    lease = begin(hub)
    hub.advance(300_000)
    hub.post(f"/api/tasks/{lease['taskId']}/{verb}").of(200)
    task = hub.task(lease["taskId"])
    assert "waitingFor" not in task
    assert task["status"] == ("pending" if verb == "move" else "cancelled")
    assert hub.claim("other")["success"] is (verb == "move")


@pytest.mark.sqlite
def test_a_task_that_waits_for_an_old_daemon_is_for_its_next_start_too(hub: Hub) -> None:
    """Their worker ids end in the time of their start; `waitingFor` names the daemon."""
    task_id = hub.enqueue(onLoss="wait")
    hub.claim("daemon_mini_1738591000000")
    hub.post(f"/api/queue/{task_id}/renew", {"workerId": "daemon_mini_1738591000000"}).of(200)
    hub.advance(300_000)
    assert hub.task(task_id)["waitingFor"] == "daemon_mini"
    assert hub.claim("daemon_other_1738591000000")["success"] is False
    assert hub.claim("daemon_mini_1738599999999")["taskId"] == task_id


def test_only_a_waiting_task_can_be_moved(hub: Hub) -> None:
    task_id = hub.enqueue()
    assert hub.post(f"/api/tasks/{task_id}/move").of(409)["code"]
    hub.lease()
    assert hub.post(f"/api/tasks/{task_id}/move").of(409)["code"]
    hub.post("/api/tasks/unknown/move").of(404)


@pytest.mark.sqlite
def test_moved_work_is_fenced_from_the_old_machine(hub: Hub) -> None:
    lease = begin(hub)
    hub.advance(300_000)
    hub.post(f"/api/tasks/{lease['taskId']}/move").of(200)
    hub.lease("other")
    answer = hub.beat(running=[{"taskId": lease["taskId"], "token": lease["token"]}]).of(200)
    assert answer["lost"] == [lease["taskId"]]
    assert hub.result(lease["taskId"], token=lease["token"], success=True).of(409)["code"] == "lease_lost"


# ---- ask


def test_ask_is_as_wait_and_says_that_its_owner_is_asked(hub: Hub) -> None:
    for on_loss, asks in (("ask", True), ("wait", False)):
        lease = begin(hub, on_loss)
        hub.beat(running=[]).of(200)
        assert hub.task(lease["taskId"])["waitingFor"] == "mini"
        event = hub.events("task.waiting")[-1]
        assert event["fields"]["asksOwner"] is asks
        hub.post(f"/api/tasks/{lease['taskId']}/cancel").of(200)


@pytest.mark.sqlite
def test_a_wait_lease_without_a_boot_is_asked_about(hub: Hub) -> None:
    task_id = hub.enqueue()
    lease = hub.lease("w", onLoss="wait")
    hub.post(f"/api/queue/{task_id}/renew", {"token": lease["token"]}).of(200)
    hub.advance(300_000)
    assert hub.task(task_id)["waitingFor"] == "w"
    assert hub.events("task.waiting")[0]["fields"]["asksOwner"] is True
    assert hub.lease("w")["taskId"] == task_id


# ---- requeue


def test_a_requeue_run_moves_after_thirty_seconds(hub: Hub) -> None:
    lease = begin(hub, "requeue")
    hub.advance(29_999)
    assert hub.pending() == []
    hub.advance(1)
    assert hub.pending() == [lease["taskId"]]


@pytest.mark.parametrize(("task", "claim"), [({"needs": []}, "wait"), ({"onLoss": "requeue"}, "ask")], ids=str)
def test_text_only_work_and_the_tasks_own_word_win(hub: Hub, task: Any, claim: str) -> None:
    lease = begin(hub, claim, task)
    assert lease["onLoss"] == "requeue"
    hub.beat(running=[]).of(200)
    assert hub.pending() == [lease["taskId"]]


# ---- attempts


def test_a_failure_is_final_unless_the_task_says_otherwise(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.result(task_id, token=hub.lease()["token"], success=False, error="no").of(200)
    assert hub.task(task_id)["status"] == "failed"
    assert hub.events("task.failed")[0]["fields"]["taskId"] == task_id


@pytest.mark.sqlite
def test_failed_attempts_are_tried_again_after_a_growing_pause(hub: Hub) -> None:
    task_id = hub.enqueue(maxAttempts=12)
    waits = []
    for n in range(11):
        hub.result(task_id, token=hub.lease()["token"], success=False, error=f"no {n}").of(200)
        task = hub.task(task_id)
        assert task["status"] == "pending"
        waits.append(at(task["availableAt"]) - hub.now)
        assert hub.pending() == []
        hub.advance(waits[-1] - 1)
        assert hub.pending() == []
        hub.advance(1)
        assert hub.pending() == [task_id]
    expected = [min(10_000 * 2**n, 600_000) for n in range(11)]
    assert all(0.8 * plain <= wait <= 1.2 * plain for plain, wait in zip(expected, waits, strict=True)), waits
    hub.result(task_id, token=hub.lease()["token"], success=False, error="the last").of(200)
    assert hub.task(task_id)["status"] == "failed"
    assert hub.get(f"/api/result/{task_id}").of(200)["error"] == "the last"
    assert outcomes(hub, task_id) == ["failed"] * 12
    assert len(hub.events("task.retrying")) == 11


def test_the_pauses_are_spread(hub: Hub) -> None:
    waits = set()
    for _ in range(8):
        task_id = hub.enqueue(maxAttempts=2)
        hub.result(task_id, token=hub.lease()["token"], success=False).of(200)
        waits.add(at(hub.task(task_id)["availableAt"]) - hub.now)
    assert len(waits) > 4


def test_a_retried_task_has_all_its_attempts_again(hub: Hub) -> None:
    task_id = hub.enqueue(maxAttempts=2)
    for _ in range(2):
        hub.result(task_id, token=hub.lease()["token"], success=False).of(200)
        hub.advance(15_000)
    assert hub.task(task_id)["status"] == "failed"
    hub.post(f"/api/tasks/{task_id}/retry").of(200)
    hub.result(task_id, token=hub.lease()["token"], success=False).of(200)
    assert hub.task(task_id)["status"] == "pending"


def test_a_final_failure_uses_up_no_more_attempts(hub: Hub) -> None:
    task_id = hub.enqueue(maxAttempts=5)
    failure = {"class": "blocked", "final": True}
    hub.result(task_id, token=hub.lease()["token"], success=False, error="not logged in", failure=failure).of(200)
    task = hub.task(task_id)
    assert task["status"] == "failed"
    assert outcomes(hub, task_id) == ["blocked"]
    assert task["result"]["failure"] == failure


def test_losses_and_attempts_are_counted_apart(hub: Hub) -> None:
    task_id = hub.enqueue(maxAttempts=2)
    for _ in range(4):
        hub.lease()
        hub.advance(30_000)
    hub.result(task_id, token=hub.lease()["token"], success=False).of(200)
    assert hub.task(task_id)["status"] == "pending"
    hub.advance(15_000)
    hub.result(task_id, token=hub.lease()["token"], success=True).of(200)
    assert outcomes(hub, task_id) == ["expired"] * 4 + ["failed", "done"]


# ---- the time limit


@pytest.mark.parametrize("on_loss", ["requeue", "wait"])
def test_a_run_that_outlives_its_limit_fails_as_timed_out(hub: Hub, on_loss: str) -> None:
    lease = begin(hub, on_loss, {"timeoutSec": 120})
    named = [{"taskId": lease["taskId"], "token": lease["token"]}]
    for _ in range(17):
        hub.advance(10_000)
        assert hub.beat(running=named).of(200)["lost"] == []
    hub.advance(9_999)
    assert hub.task(lease["taskId"])["status"] == "claimed"
    hub.advance(1)
    task = hub.task(lease["taskId"])
    assert (task["status"], task["losses"]) == ("failed", 0)
    assert outcomes(hub, lease["taskId"]) == ["timed_out"]
    assert hub.beat(running=named).of(200)["lost"] == [lease["taskId"]]
    assert hub.get(f"/api/result/{lease['taskId']}").of(200)["success"] is False


def test_a_timed_out_run_with_attempts_left_is_tried_again(hub: Hub) -> None:
    task_id = hub.enqueue(timeoutSec=10, maxAttempts=2)
    lease = hub.lease()
    for _ in range(3):
        hub.advance(20_000)
        hub.post(f"/api/queue/{task_id}/renew", {"token": lease["token"]}).of(200)
    hub.advance(10_000)
    task = hub.task(task_id)
    assert (task["status"], task["losses"]) == ("pending", 0)
    assert outcomes(hub, task_id) == ["timed_out"]
    hub.advance(15_000)
    assert hub.pending() == [task_id]


def test_an_ended_lease_is_not_taken_up_again_past_its_limit(hub: Hub) -> None:
    hub.beat().of(200)
    task_id = hub.enqueue(timeoutSec=10)
    lease = hub.daemon_lease()
    hub.advance(70_000)
    assert hub.pending() == [task_id]
    assert hub.post(f"/api/queue/{task_id}/renew", {"token": lease["token"]}).of(409)["code"] == "lease_lost"
    assert hub.beat(running=[{"taskId": task_id, "token": lease["token"]}]).of(200)["lost"] == [task_id]
    assert hub.pending() == [task_id]


def test_an_old_client_is_held_to_the_limit_too(hub: Hub) -> None:
    task_id = hub.enqueue(timeoutSec=120)
    hub.claim("w")
    for _ in range(2):
        hub.advance(MINUTE)
        hub.post(f"/api/queue/{task_id}/renew", {"workerId": "w", "extendSec": 600}).of(200)
    hub.advance(MINUTE)
    assert hub.task(task_id)["status"] == "failed"
    hub.post(f"/api/queue/{task_id}/renew", {"workerId": "w"}).of(404)


def test_every_attempt_is_kept_with_worker_token_start_end_and_outcome(hub: Hub) -> None:
    task_id = hub.enqueue(maxAttempts=2)
    first_at = hub.now
    first = hub.lease("w1")
    hub.advance(30_000)
    second_at = hub.now
    second = hub.lease("w2")
    hub.advance(1_000)
    hub.result(task_id, token=second["token"], success=True).of(200)
    attempts = hub.task(task_id)["attempts"]
    assert [(a["workerId"], a["token"], at(a["claimedAt"]), at(a["endedAt"]), a["outcome"]) for a in attempts] == [
        ("w1", first["token"], first_at, second_at, "expired"),
        ("w2", second["token"], second_at, hub.now, "done"),
    ]
