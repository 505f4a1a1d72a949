"""Section 3: taking tasks in, once each, whatever is sent again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.hubs import DAY, HOUR, MINUTE, Hub
from tests.api.wire import ADMIN, at

MISMATCH = "idempotency_mismatch"


def enqueue(hub: Hub, body: Any, **more: Any) -> Any:
    return hub.post("/api/queue", body, **more)


def test_a_task_is_created_with_an_id_of_the_hub(hub: Hub) -> None:
    answer = enqueue(hub, {"content": "x"}).of(201)
    assert answer == {"success": True, "taskId": answer["taskId"], "created": True}
    assert hub.pending() == [answer["taskId"]]
    assert enqueue(hub, {"content": "x"}).of(201)["taskId"] != answer["taskId"]


def test_every_field_is_kept_and_shown(hub: Hub) -> None:
    body = {
        "id": "t",
        "content": "x",
        "source": "mail",
        "metadata": {"a": 1},
        "priority": "high",
        "needs": ["machine", "gpu"],
        "maxAttempts": 3,
        "timeoutSec": 60,
        "onLoss": "wait",
        "takeover": "never",
        "conversation": {"channel": "slack", "user_id": "u"},
        "workspace": "~/w",
        "group": "g",
    }
    enqueue(hub, body).of(201)
    assert body.items() <= hub.get("/api/queue/t").of(200).items()
    record = hub.task("t")
    for name in ("content", "source", "metadata", "priority", "onLoss"):
        assert record[name] == body[name]
    assert sorted(record["needs"]) == ["gpu", "machine"]


def test_an_answer_cannot_go_to_a_channel_that_the_hub_does_not_have(hub: Hub) -> None:
    for place in ("slack", "slack:C1", {"channel": "slack", "chat": "C1"}, {"url": "https://example.org"}):
        refused = enqueue(hub, {"content": "x", "replyTo": place}).of(400)
        assert refused["details"] == ["replyTo.channel: Expected nothing: this hub has no channels"]
    assert hub.pending() == []


@pytest.mark.parametrize("how", ["dedupKey", "Idempotency-Key", "id"])
def test_the_same_again_is_the_first_task(hub: Hub, how: str) -> None:
    def send(content: str) -> Any:
        body = {"content": content} | ({how: "k1"} if how != "Idempotency-Key" else {})
        return enqueue(hub, body, headers={how: "k1"} if how == "Idempotency-Key" else {})

    first = send("x").of(201)
    hub.clock.advance(MINUTE)
    assert send("x").of(200) == {"success": True, "taskId": first["taskId"], "created": False}
    refused = send("y").of(422)
    assert refused["code"] == MISMATCH
    assert hub.pending() == [first["taskId"]]
    assert hub.task(first["taskId"])["content"] == "x"


@pytest.mark.parametrize(
    "other",
    [
        {"metadata": {"a": 2}},
        {"priority": "low"},
        {"needs": []},
        {"maxAttempts": 2},
        {"onLoss": "ask"},
        {"source": "s"},
    ],
    ids=str,
)
def test_any_other_field_makes_another_body(hub: Hub, other: dict[str, Any]) -> None:
    body = {"id": "t", "content": "x", "metadata": {"a": 1}, "priority": "high"}
    enqueue(hub, body).of(201)
    enqueue(hub, {**body, **other}).of(422)


def test_order_unknown_keys_and_number_form_make_no_other_body(hub: Hub) -> None:
    enqueue(hub, b'{"id":"t","content":"x","timeoutSec":60,"metadata":{"a":1,"b":2}}').of(201)
    enqueue(hub, b'{"metadata":{"b":2,"a":1},"unknown":1,"timeoutSec":60.0,"content":"x","id":"t"}').of(200)


@pytest.mark.parametrize("status", ["claimed", "done", "failed", "cancelled"])
def test_an_enqueue_that_is_sent_again_does_not_reset_the_task(hub: Hub, status: str) -> None:
    body = {"id": "t", "content": "x"}
    enqueue(hub, body).of(201)
    if status == "cancelled":
        hub.post("/api/tasks/t/cancel").of(200)
    else:
        hub.claim()
        if status != "claimed":
            hub.result("t", success=status == "done", output="o").of(200)
    before = hub.task("t")
    assert enqueue(hub, body).of(200)["created"] is False
    assert hub.task("t") == before
    assert hub.pending() == []


def test_a_dedup_key_belongs_to_the_api_key_that_sent_it(hub: Hub) -> None:
    mine = enqueue(hub, {"content": "x", "dedupKey": "k"}).of(201)["taskId"]
    others = enqueue(hub, {"content": "y", "dedupKey": "k"}, key=ADMIN).of(201)["taskId"]
    assert mine != others
    assert enqueue(hub, {"content": "y", "dedupKey": "k"}, key=ADMIN).of(200)["taskId"] == others


@pytest.mark.sqlite
@pytest.mark.parametrize("outcome", ["done", "cancelled"])
def test_a_dedup_key_is_kept_for_seven_days_after_the_task_has_ended(hub: Hub, outcome: str) -> None:
    body = {"content": "x", "dedupKey": "k"}
    first = enqueue(hub, body).of(201)["taskId"]
    hub.clock.advance(20 * DAY)  # however long it waits
    hub.advance(HOUR)
    assert enqueue(hub, body).of(200)["taskId"] == first
    if outcome == "done":
        hub.claim()
        hub.result(first, success=True).of(200)
    else:
        hub.post(f"/api/tasks/{first}/cancel").of(200)
    hub.clock.advance(7 * DAY - 2 * HOUR)
    hub.advance(HOUR)
    assert enqueue(hub, body).of(200)["taskId"] == first
    hub.clock.advance(HOUR)
    hub.advance(HOUR)
    assert enqueue(hub, body).of(201)["taskId"] != first


def test_the_same_sent_by_many_at_once_is_one_task(hub: Hub) -> None:
    clients = [hub.new_client() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda client: client.post("/api/queue", {"content": "x", "dedupKey": "k"}), clients))
    assert sorted(answer.status for answer in sent) == [200] * 7 + [201]
    assert len({answer.body["taskId"] for answer in sent}) == 1
    assert len(hub.pending()) == 1


def test_a_key_in_the_header_and_in_the_body_are_the_same_kind(hub: Hub) -> None:
    first = enqueue(hub, {"content": "x"}, headers={"Idempotency-Key": "k"}).of(201)["taskId"]
    assert enqueue(hub, {"content": "x", "dedupKey": "k"}).of(200)["taskId"] == first


def test_an_idempotency_key_has_at_most_256_characters(hub: Hub) -> None:
    enqueue(hub, {"content": "x"}, headers={"Idempotency-Key": "k" * 256}).of(201)
    enqueue(hub, {"content": "x"}, headers={"Idempotency-Key": "k" * 257}).of(400)
    enqueue(hub, {"content": "x", "dedupKey": "d" * 257}).of(400)


# ---- delays


@pytest.mark.parametrize("how", ["delaySec", "availableAt"])
def test_a_delayed_task_is_claimable_from_its_instant_on(hub: Hub, how: str) -> None:
    due = hub.now + 30_500  # sooner than the alarm would look of its own accord
    text = "2026-02-02T02:40:30.500Z"
    assert at(text) == due
    task_id = hub.enqueue(**({"delaySec": 30.5} if how == "delaySec" else {"availableAt": text}))
    assert at(hub.task(task_id)["availableAt"]) == due
    hub.advance(30_499)
    assert hub.pending() == []
    assert hub.claim()["success"] is False
    hub.advance(1)
    assert hub.pending() == [task_id]
    assert hub.claim()["taskId"] == task_id


def test_an_instant_that_has_passed_is_no_delay(hub: Hub) -> None:
    task_id = hub.enqueue(availableAt="2020-01-01T00:00:00.000Z")
    assert hub.pending() == [task_id]


# ---- batches


def test_a_batch_is_taken_as_a_whole(hub: Hub) -> None:
    tasks = [{"content": "x"}, {"id": "mine", "content": "y"}, {"content": "z", "priority": "critical"}]
    answer = hub.post("/api/queue/batch", {"tasks": tasks}).of(200)
    assert answer == {"tasks": [{"taskId": made["taskId"], "created": True} for made in answer["tasks"]]}
    ids = [made["taskId"] for made in answer["tasks"]]
    assert ids[1] == "mine"
    assert hub.pending() == [ids[2], ids[0], "mine"]


def test_a_batch_may_have_a_thousand_tasks(hub: Hub) -> None:
    answer = hub.post("/api/queue/batch", {"tasks": [{"content": "x"}] * 1000}).of(200)
    assert len({made["taskId"] for made in answer["tasks"]}) == 1000


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        ({"content": 5}, 400),
        ({"content": "x", "availableAt": "never"}, 400),
        ({"id": "known", "content": "other"}, 422),
        ({"content": "other", "dedupKey": "known"}, 422),
    ],
    ids=str,
)
def test_a_batch_with_one_bad_task_does_nothing(hub: Hub, bad: dict[str, Any], status: int) -> None:
    enqueue(hub, {"id": "known", "content": "x", "dedupKey": "known"}).of(201)
    tasks = [{"content": "a"}, bad, {"content": "b"}]
    refused = hub.post("/api/queue/batch", {"tasks": tasks}).of(status)
    assert status == 400 or refused["code"] == MISMATCH
    assert hub.pending() == ["known"]


def test_a_batch_sent_again_creates_nothing(hub: Hub) -> None:
    tasks = [{"content": "x", "dedupKey": f"k{n}"} for n in range(3)]
    first = hub.post("/api/queue/batch", {"tasks": tasks}).of(200)["tasks"]
    again = hub.post("/api/queue/batch", {"tasks": [*tasks, {"content": "new"}]}).of(200)["tasks"]
    assert [made["taskId"] for made in again[:3]] == [made["taskId"] for made in first]
    assert [made["created"] for made in again] == [False, False, False, True]


@pytest.mark.parametrize("name", ["id", "dedupKey"])
def test_a_batch_may_name_the_same_task_twice(hub: Hub, name: str) -> None:
    twice = [{"content": "x", name: "k"}] * 2
    made = hub.post("/api/queue/batch", {"tasks": twice}).of(200)["tasks"]
    assert [entry["created"] for entry in made] == [True, False]
    assert made[0]["taskId"] == made[1]["taskId"]
    contradicting = [{"content": "x", name: "k2"}, {"content": "y", name: "k2"}]
    assert hub.post("/api/queue/batch", {"tasks": contradicting}).of(422)["code"] == MISMATCH
    assert len(hub.pending()) == 1
