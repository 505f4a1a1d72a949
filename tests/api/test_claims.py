"""Section 3: claims of token-aware workers: tags, several at once, waiting, and what comes with a task."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.hubs import Hub
from tests.api.rows import REGISTER
from tests.api.wire import ADMIN, Answer, at
from tests.waiting import allowed_s, eventually
from understudy.api import long_poll
from understudy.hub.claims import ClaimTasks
from understudy.hub.enqueue import EnqueueTasks
from understudy.wire.tasks import EnqueueBody

MAX, WAIT_S = 3, 30


def start_polls(hub: Hub, pool: ThreadPoolExecutor, *bodies: dict[str, Any]) -> list[Future[Answer]]:
    """Long polls that wait in the hub, in this order."""
    polls = []
    for body in bodies:
        client = hub.new_client()
        waiting = hub.runtime.waiting.count + 1
        polls.append(pool.submit(client.post, "/api/queue/claim", {"waitSec": WAIT_S, **body}))
        eventually(lambda waiting=waiting: hub.runtime.waiting.count == waiting)
    return polls


# ---- the lease


def test_a_lease_has_token_attempt_on_loss_and_duration(hub: Hub) -> None:
    hub.enqueue()
    lease = hub.lease("w")
    assert lease["workerId"] == "w"
    assert (lease["attempt"], lease["onLoss"], lease["durationSec"]) == (1, "requeue", 30)
    assert at(lease["claimedAt"]) == hub.now
    assert at(lease["expiresAt"]) == hub.now + 30_000


def test_a_claim_is_told_how_much_of_its_lease_is_left_whatever_the_hub_did_not_hear(hub: Hub) -> None:
    hub.enqueue(timeoutSec=60)
    assert hub.lease(requestId="r1", onLoss="wait")["leftSec"] == 30
    hub.advance(12_000)
    assert hub.lease(requestId="r1", onLoss="wait")["leftSec"] == 18
    hub.clock.advance(125_000)
    assert hub.lease(requestId="r1", onLoss="wait")["leftSec"] == 18


@pytest.mark.parametrize(("asked", "seconds"), [(10, 10), (30, 30), (31, 30), (600, 30), (None, 30)])
def test_the_hub_chooses_the_duration_and_a_claim_may_only_shorten_it(
    hub: Hub, asked: int | None, seconds: int
) -> None:
    hub.enqueue()
    lease = hub.lease(**({"leaseDurationSec": asked} if asked else {}))
    assert lease["durationSec"] == seconds
    assert at(lease["expiresAt"]) == hub.now + seconds * 1000


@pytest.mark.parametrize("on_loss", ["wait", "ask"])
def test_wait_and_ask_leases_last_as_long_as_it_takes_to_be_down(hub: Hub, on_loss: str) -> None:
    hub.enqueue()
    lease = hub.lease(onLoss=on_loss)
    assert (lease["onLoss"], lease["durationSec"]) == (on_loss, 300)
    assert at(lease["expiresAt"]) == hub.now + 30_000, "until its token is first named it is as short as any"


def test_a_wait_lease_of_a_daemon_with_its_own_limit_lasts_that_long(hub: Hub) -> None:
    hub.beat().of(200)
    hub.put("/api/daemons/mini/settings", {"lateAfterSec": 60, "downAfterSec": 90}, key=ADMIN).of(200)
    hub.enqueue()
    assert hub.daemon_lease(onLoss="wait")["durationSec"] == 90


@pytest.mark.parametrize(
    ("task", "claim", "on_loss"),
    [
        ({}, {}, "requeue"),
        ({}, {"onLoss": "wait"}, "wait"),
        ({"onLoss": "ask"}, {"onLoss": "wait"}, "ask"),
        ({"onLoss": "requeue"}, {"onLoss": "wait"}, "requeue"),
        ({"onLoss": "wait"}, {}, "wait"),
        ({"needs": []}, {"onLoss": "wait"}, "requeue"),
        ({"needs": [], "onLoss": "wait"}, {}, "wait"),
    ],
    ids=str,
)
def test_the_task_decides_then_its_needs_then_the_claim(hub: Hub, task: Any, claim: Any, on_loss: str) -> None:
    hub.enqueue(**task)
    assert hub.lease(**claim)["onLoss"] == on_loss


def test_the_attempt_counts_losses_and_failures(hub: Hub) -> None:
    task_id = hub.enqueue(maxAttempts=3)
    assert hub.lease()["attempt"] == 1
    hub.advance(30_000)
    second = hub.lease()
    assert second["attempt"] == 2
    hub.result(task_id, token=second["token"], success=False).of(200)
    hub.advance(15_000)
    assert hub.lease()["attempt"] == 3


# ---- several at once


def test_max_answers_with_a_list_as_well(hub: Hub) -> None:
    ids = [hub.enqueue() for _ in range(5)]
    answer = hub.claim("w", max=3)
    assert [entry["task"]["id"] for entry in answer["tasks"]] == ids[:3]
    assert all(entry["lease"]["token"] for entry in answer["tasks"])
    assert answer["taskId"] == ids[0]
    assert (answer["task"], answer["lease"]) == (answer["tasks"][0]["task"], answer["tasks"][0]["lease"])
    assert len(hub.claim("w", max=100)["tasks"]) == 2
    empty = hub.claim("w", max=100)
    assert (empty["success"], empty["message"], empty["pending"]) == (False, "No tasks available", 0)


def test_many_claims_of_many_share_the_queue_without_overlap(hub: Hub) -> None:
    hub.post("/api/queue/batch", {"tasks": [{"content": "x"}] * 300}).of(200)
    clients = [hub.new_client() for _ in range(6)]

    def drain(client: Any) -> list[str]:
        mine: list[str] = []
        while entries := client.post("/api/queue/claim", {"workerId": "w", "max": 17}).of(200).get("tasks"):
            mine += [entry["task"]["id"] for entry in entries]
        return mine

    with ThreadPoolExecutor(6) as pool:
        taken = [task_id for mine in pool.map(drain, clients) for task_id in mine]
    assert len(taken) == len(set(taken)) == 300


# ---- needs and provides


@pytest.mark.parametrize(
    ("needs", "provides", "gets_it"),
    [
        (None, None, True),
        (None, ["machine"], True),
        (None, [], False),
        ([], [], True),
        ([], None, True),
        (["gpu"], None, False),
        (["gpu"], ["machine"], False),
        (["gpu"], ["gpu"], True),
        (["gpu"], ["gpu", "machine", "more"], True),
        (["gpu", "machine"], ["gpu"], False),
        (["machine", "gpu", "gpu"], ["gpu", "machine"], True),
    ],
    ids=str,
)
def test_a_worker_gets_only_what_it_covers(hub: Hub, needs: Any, provides: Any, gets_it: bool) -> None:
    hub.enqueue(**({} if needs is None else {"needs": needs}))
    asked = {} if provides is None else {"provides": provides}
    assert hub.claim("w", **asked)["success"] is gets_it
    if not gets_it:
        assert hub.claim("w", **asked)["pending"] == 1


def test_a_task_that_it_cannot_do_does_not_stand_in_its_way(hub: Hub) -> None:
    for _ in range(50):
        hub.enqueue(needs=["gpu"], priority="critical")
    mine = hub.enqueue(priority="low")
    assert hub.claim()["taskId"] == mine


def test_a_task_with_an_executor_needs_its_tag(hub: Hub) -> None:
    task_id = hub.enqueue(executor="codex")
    assert "executor:codex" in hub.task(task_id)["needs"]
    assert hub.claim()["success"] is False
    assert hub.claim(provides=["machine", "executor:claude-code"])["success"] is False
    assert hub.claim(provides=["machine", "executor:codex"])["taskId"] == task_id


def test_without_provides_the_registered_capabilities_count_beside_the_machine(hub: Hub) -> None:
    hub.post("/api/daemon/register", REGISTER | {"capabilities": ["gpu"]}).of(201)
    with_both = hub.enqueue(needs=["gpu", "machine"])
    assert hub.claim("other")["success"] is False
    assert hub.claim("mini_1738591000000")["taskId"] == with_both
    only_gpu = hub.enqueue(needs=["gpu"])
    assert hub.claim("mini")["taskId"] == only_gpu


def test_what_a_beat_provides_counts_for_claims_that_do_not_say(hub: Hub) -> None:
    hub.beat(provides=["gpu"]).of(200)
    machine = hub.enqueue()
    gpu = hub.enqueue(needs=["gpu"])
    asked = {"daemonId": "mini", "bootId": "b1"}
    assert hub.claim("mini", **asked)["taskId"] == gpu
    assert hub.claim("mini", **asked)["success"] is False
    assert hub.claim("mini", **asked, provides=["machine"])["taskId"] == machine


# ---- who may claim


def test_a_claim_of_a_boot_that_never_beat_is_refused(hub: Hub) -> None:
    hub.enqueue()
    claim = {"workerId": "mini", "daemonId": "mini", "bootId": "b1"}
    assert hub.post("/api/queue/claim", claim).of(409)["code"] == "unknown_boot"
    hub.beat(boot="b1").of(200)
    assert hub.post("/api/queue/claim", {**claim, "bootId": "b2"}).of(409)["code"] == "unknown_boot"
    assert hub.claim(**claim)["success"] is True


def test_a_claim_of_a_superseded_boot_is_refused(hub: Hub) -> None:
    hub.beat(boot="b1").of(200)
    hub.beat(boot="b2").of(200)
    hub.enqueue()
    claim = {"daemonId": "mini", "bootId": "b1", "waitSec": 1}
    assert hub.post("/api/queue/claim", claim).of(409)["code"] in ("superseded", "unknown_boot")
    assert len(hub.pending()) == 1


@pytest.mark.parametrize("state", ["draining", "paused", "stopping"])
def test_a_daemon_that_wants_no_work_gets_none(hub: Hub, state: str) -> None:
    task_id = hub.enqueue()
    hub.beat(state=state).of(200)
    claim = {"workerId": "mini", "daemonId": "mini", "bootId": "b1"}
    assert hub.claim(**claim)["success"] is False
    hub.beat(state="running").of(200)
    assert hub.claim(**claim)["taskId"] == task_id


# ---- long polls


def test_a_long_poll_is_answered_by_the_commit_that_queues_its_task(hub: Hub) -> None:
    with ThreadPoolExecutor(1) as pool:
        (poll,) = start_polls(hub, pool, {"workerId": "w"})
        started = time.monotonic()
        task_id = hub.enqueue()
        assert poll.result(60).of(200)["taskId"] == task_id
        assert time.monotonic() - started < allowed_s(2)


@pytest.mark.parametrize("cause", ["release", "expiry", "delay", "retry", "move", "failed attempt", "batch"])
def test_a_long_poll_is_answered_by_whatever_makes_a_task_claimable(hub: Hub, cause: str) -> None:
    if cause in ("release", "expiry"):
        task_id = hub.enqueue()
        token = hub.lease("holder")["token"]
    elif cause == "delay":
        task_id = hub.enqueue(delaySec=60)
    elif cause == "retry":
        task_id = hub.enqueue()
        hub.post(f"/api/tasks/{task_id}/cancel").of(200)
    elif cause == "failed attempt":
        task_id = hub.enqueue(maxAttempts=2)
        token = hub.lease("holder")["token"]
    elif cause == "move":
        hub.beat("other").of(200)
        task_id = hub.enqueue(onLoss="wait")
        token = hub.daemon_lease("other")["token"]
        hub.beat("other", running=[{"taskId": task_id, "token": token}]).of(200)
        hub.beat("other", running=[]).of(200)
        assert hub.task(task_id)["waitingFor"] == "other"
    with ThreadPoolExecutor(1) as pool:
        (poll,) = start_polls(hub, pool, {"workerId": "w"})
        if cause == "release":
            hub.post(f"/api/queue/{task_id}/release", {"token": token}).of(200)
        elif cause in ("expiry", "delay"):
            hub.advance(60_000)
        elif cause in ("retry", "move"):
            hub.post(f"/api/tasks/{task_id}/{cause}").of(200)
        elif cause == "failed attempt":
            hub.result(task_id, token=token, success=False).of(200)
            hub.advance(15_000)
        else:
            made = hub.post("/api/queue/batch", {"tasks": [{"content": "x"}]}).of(200)["tasks"]
            task_id = made[0]["taskId"]
        assert poll.result(60).of(200)["taskId"] == task_id


def test_a_task_that_waits_for_its_daemon_wakes_the_poll_of_that_daemon_only(hub: Hub) -> None:
    for name in ("mini", "other"):
        hub.beat(name).of(200)
    task_id = hub.enqueue(onLoss="wait")
    token = hub.daemon_lease("mini")["token"]
    hub.beat("mini", running=[{"taskId": task_id, "token": token}]).of(200)
    with ThreadPoolExecutor(2) as pool:
        polls = start_polls(hub, pool, *({"daemonId": name, "bootId": "b1"} for name in ("other", "mini")))
        hub.beat("mini", running=[]).of(200)
        assert polls[1].result(60).of(200)["taskId"] == task_id
        assert not polls[0].done()
        hub.enqueue()
        assert polls[0].result(60).of(200)["success"] is True


def test_each_of_several_tasks_wakes_one_of_several_polls(hub: Hub) -> None:
    with ThreadPoolExecutor(4) as pool:
        polls = start_polls(hub, pool, *({"workerId": f"w{n}"} for n in range(4)))
        made = hub.post("/api/queue/batch", {"tasks": [{"content": "x"}] * 4}).of(200)["tasks"]
        taken = [poll.result(60).of(200)["taskId"] for poll in polls]
    assert sorted(taken) == sorted(entry["taskId"] for entry in made)


def test_a_poll_is_not_woken_for_what_it_cannot_do(hub: Hub) -> None:
    with ThreadPoolExecutor(2) as pool:
        polls = start_polls(hub, pool, {"provides": ["machine"]}, {"provides": ["gpu"]})
        task_id = hub.enqueue(needs=["gpu"])
        assert polls[1].result(60).of(200)["taskId"] == task_id
        assert not polls[0].done()
        hub.enqueue()
        polls[0].result(60).of(200)


def test_a_paused_daemon_takes_no_wake_up_from_others(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "LOOK_AGAIN_S", 0.05)
    hub.beat().of(200)
    with ThreadPoolExecutor(3) as pool:
        polls = start_polls(hub, pool, {"daemonId": "mini", "bootId": "b1"}, {"workerId": "w"})
        hub.post("/api/daemons/mini/pause", key=ADMIN).of(200)
        first = hub.enqueue()
        assert polls[1].result(60).of(200)["taskId"] == first
        assert not polls[0].done()
        polls += start_polls(hub, pool, {"workerId": "w"})
        second = hub.enqueue()
        assert polls[2].result(60).of(200)["taskId"] == second
        third = hub.enqueue()
        hub.post("/api/daemons/mini/resume", key=ADMIN).of(200)
        assert polls[0].result(60).of(200)["taskId"] == third


def test_a_superseded_daemon_takes_no_wake_up_from_others(hub: Hub) -> None:
    hub.beat(boot="b1").of(200)
    with ThreadPoolExecutor(2) as pool:
        polls = start_polls(hub, pool, {"daemonId": "mini", "bootId": "b1"}, {"workerId": "w"})
        hub.beat(boot="b2").of(200)
        task_id = hub.enqueue()
        assert polls[1].result(60).of(200)["taskId"] == task_id
        assert polls[0].result(60).status == 409


def test_a_daemon_that_covers_less_by_now_takes_no_wake_up_from_others(hub: Hub) -> None:
    hub.beat(provides=["machine", "gpu"]).of(200)
    with ThreadPoolExecutor(2) as pool:
        polls = start_polls(hub, pool, {"daemonId": "mini", "bootId": "b1"}, {"workerId": "w", "provides": ["gpu"]})
        hub.beat(provides=["machine"]).of(200)
        task_id = hub.enqueue(needs=["gpu"])
        assert polls[1].result(WAIT_S / 2).of(200)["taskId"] == task_id
        hub.enqueue()
        polls[0].result(60).of(200)


def test_a_poll_that_met_a_bug_takes_no_wake_up_from_others(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    real, met = ClaimTasks.decide, []

    def broken(claim: ClaimTasks, work: Any, now: Any) -> Any:
        if not met and work.candidates[frozenset({"machine"})]:
            met.append(claim.worker_id)
            raise ZeroDivisionError
        return real(claim, work, now)

    monkeypatch.setattr(ClaimTasks, "decide", broken)
    with ThreadPoolExecutor(2) as pool:
        polls = dict(zip(("w1", "w2"), start_polls(hub, pool, {"workerId": "w1"}, {"workerId": "w2"}), strict=True))
        task_id = hub.enqueue()
        eventually(lambda: met, what="a claim that finds the task")
        with pytest.raises(AssertionError, match="Internal error"):
            polls.pop(met[0]).result(60)
        (other,) = polls.values()
        assert other.result(WAIT_S / 2).of(200)["taskId"] == task_id


def test_a_poll_that_went_away_takes_no_task_with_it(hub: Hub) -> None:
    with ThreadPoolExecutor(1) as pool:
        client = hub.new_client()
        gone = pool.submit(client.post, "/api/queue/claim", {"waitSec": WAIT_S})
        eventually(lambda: hub.runtime.waiting.count == 1)
        client._connection.sock.shutdown(2)
        with pytest.raises(OSError):  # noqa: PT011 - whichever way a cut connection shows
            gone.result(60)
        eventually(lambda: hub.runtime.waiting.count == 0)
    task_id = hub.enqueue()
    assert hub.pending() == [task_id]


def test_a_task_committed_while_a_poll_begins_to_wait_is_not_missed(hub: Hub) -> None:
    """The commit falls between the look at an empty queue and the place in the line."""
    join = hub.runtime.waiting.join

    def late_join(*where: Any) -> Any:
        hub.runtime.waiting.join = join
        enqueue = EnqueueTasks([EnqueueBody(content="x", id="just-now")], ["unused"], "somebody")
        committed = hub.runtime.writer.engine.run([enqueue])
        hub.runtime._after_commit(committed)
        return join(*where)

    hub.runtime.waiting.join = late_join
    started = time.monotonic()
    answer = hub.claim("w", waitSec=WAIT_S)
    assert answer["taskId"] == "just-now"
    assert time.monotonic() - started < allowed_s(5)


def test_a_poll_without_luck_ends_after_its_time(hub: Hub) -> None:
    started = time.monotonic()
    answer = hub.claim("w", waitSec=0.3)
    assert 0.3 <= time.monotonic() - started < allowed_s(3)
    assert answer == {"success": False, "message": "No tasks available", "pending": 0}


def test_polls_are_let_go_when_the_hub_stops(hub: Hub) -> None:
    with ThreadPoolExecutor(1) as pool:
        (poll,) = start_polls(hub, pool, {"workerId": "w"})
        started = time.monotonic()
        hub.thread.run(_let_go(hub))
        assert poll.result(60).of(200)["success"] is False
        assert time.monotonic() - started < allowed_s(5)


async def _let_go(hub: Hub) -> None:
    hub.runtime.release_waiters()


# ---- what comes with a task


def test_a_checkpoint_goes_to_the_next_attempt(hub: Hub) -> None:
    task_id = hub.enqueue()
    lease = hub.lease()
    assert "checkpoint" not in hub.task(task_id)
    body = {"token": lease["token"], "progress": {"step": 1}, "checkpoint": {"done": [1, 2]}}
    hub.post(f"/api/queue/{task_id}/renew", body).of(200)
    hub.post(f"/api/queue/{task_id}/renew", {"token": lease["token"], "progress": {"step": 2}}).of(200)
    assert hub.task(task_id)["progress"] == {"step": 2}
    hub.advance(30_000)
    answer = hub.claim("next", max=1)
    assert answer["task"]["checkpoint"] == {"done": [1, 2]}
    assert answer["tasks"][0]["task"]["checkpoint"] == {"done": [1, 2]}


def test_a_checkpoint_in_a_beat_is_as_good(hub: Hub) -> None:
    hub.beat().of(200)
    task_id = hub.enqueue()
    token = hub.daemon_lease()["token"]
    running = {"taskId": task_id, "token": token, "checkpoint": "page 7", "progress": "reading"}
    hub.beat(running=[running]).of(200)
    hub.beat(running=[]).of(200)
    assert hub.claim("next", max=1)["task"]["checkpoint"] == "page 7"


@pytest.mark.parametrize(("size", "status"), [(65_534, 200), (70_000, 400)])
def test_a_checkpoint_has_at_most_64_kib(hub: Hub, size: int, status: int) -> None:
    task_id = hub.enqueue()
    lease = hub.lease()
    body = {"token": lease["token"], "checkpoint": "x" * size}
    hub.post(f"/api/queue/{task_id}/renew", body).of(status)


def conversation(hub: Hub, question: str, answer: str | None, **fields: Any) -> str:
    """Ask, claim, answer; the context that came with the claim."""
    task_id = hub.enqueue(content=question, **fields)
    hub.clock.advance(1000)
    claimed = hub.claim("w", max=1)
    assert claimed["taskId"] == task_id
    hub.clock.advance(1000)
    token = claimed["lease"]["token"]
    if answer is not None:
        hub.result(task_id, token=token, success=True, output=answer).of(200)
    else:
        hub.result(task_id, token=token, success=False, error="no").of(200)
    context: str = claimed["task"].get("context", "")
    return context


def test_the_hub_keeps_a_conversation_and_hands_it_over_with_the_next_task(hub: Hub) -> None:
    talk = {"conversation": {"channel": "SLACK", "user_id": "U1"}}
    assert conversation(hub, "who are you", "an understudy", **talk) == ""
    assert conversation(hub, "what for", "for you", **talk) == "[user] who are you\n[assistant] an understudy"
    context = conversation(hub, "since when", "today", **talk)
    assert context.split("\n")[-2:] == ["[user] what for", "[assistant] for you"]
    assert hub.get("/api/memory/context/U1?channel=slack").of(200)["context"].endswith("[assistant] today")
    other = {"conversation": {"channel": "slack", "user_id": "U2"}}
    assert conversation(hub, "me too", "fine", **other) == ""


@pytest.mark.parametrize("user_id", ["U1", {"id": "U1"}], ids=str)
def test_the_conversation_is_found_in_the_metadata(hub: Hub, user_id: Any) -> None:
    talk = {"metadata": {"channel": "slack", "user_id": user_id}}
    conversation(hub, "q", "a", **talk)
    assert conversation(hub, "q2", "a2", **talk) == "[user] q\n[assistant] a"


def test_a_task_without_a_conversation_is_not_kept_in_memory(hub: Hub) -> None:
    assert conversation(hub, "q", "a") == ""
    assert conversation(hub, "q2", "a2") == ""


def test_only_the_final_answer_is_kept_and_only_once(hub: Hub) -> None:
    talk = {"conversation": {"channel": "slack", "user_id": "U1"}, "maxAttempts": 2}
    task_id = hub.enqueue(content="q", **talk)
    token = hub.lease()["token"]
    hub.result(task_id, token=token, success=False, output="first try").of(200)
    hub.advance(20_000)
    token = hub.lease()["token"]
    for _ in range(2):
        hub.result(task_id, token=token, success=True, output="a").of(200)
    assert hub.get("/api/memory/context/U1").of(200)["context"] == "[user] q\n[assistant] a"


def test_a_worker_needs_no_memory_scope_for_it(hub: Hub) -> None:
    key = hub.post("/api/keys", {"name": "n", "scopes": ["work"]}, key=ADMIN).of(201)["key"]
    conversation(hub, "q", "a", conversation={"channel": "slack", "user_id": "U1"})
    hub.enqueue(conversation={"channel": "slack", "user_id": "U1"})
    claimed = hub.post("/api/queue/claim", {"max": 1}, key=key).of(200)
    assert claimed["task"]["context"] == "[user] q\n[assistant] a"
    hub.get("/api/memory/context/U1", key=key).of(403)


def test_long_ids_do_not_share_a_memory(hub: Hub) -> None:
    for n in range(2):
        task_id = hub.enqueue("x" * 127 + str(n), content=f"q{n}", conversation={"channel": "c", "user_id": "U1"})
        hub.result(task_id, token=hub.lease()["token"], success=True, output=f"a{n}").of(200)
        hub.clock.advance(1000)
    assert hub.get("/api/memory/history/U1").of(200)["count"] == 4
