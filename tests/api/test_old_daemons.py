"""Section 1: registration, both heartbeats and health; and what existing daemons send and must get through with."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.api.hubs import HOUR, MINUTE, Hub
from tests.api.rows import NOW, OLD_BEAT, REGISTER
from tests.api.wire import NOTHING, at

FIRST, SECOND = "daemon_mac-mini.local_1738591000000", "daemon_mac-mini.local_1738599999999"


def health(hub: Hub) -> Any:
    return hub.get("/api/daemon/health").of(200)


# ---- heartbeat


@pytest.mark.parametrize(
    "body", [NOTHING, b"", {}, b"{", b"hello", b"\xff", {"workerId": FIRST}, {"workerId": ""}], ids=repr
)
def test_a_heartbeat_with_any_body_or_none_is_fine(hub: Hub, body: Any) -> None:
    answer = hub.post("/api/queue/heartbeat", body).of(200)
    assert answer["success"] is True
    assert answer["timestamp"] == hub.now


def test_a_heartbeat_without_a_name_is_watched_as_legacy(hub: Hub) -> None:
    hub.post("/api/queue/heartbeat").of(200)
    assert hub.daemon("legacy")["state"] == "healthy"


# ---- register and health report


def test_a_daemon_registers(hub: Hub) -> None:
    answer = hub.post("/api/daemon/register", REGISTER).of(201)
    assert answer == {"success": True, "daemonId": "mini", "registeredAt": NOW}
    assert [event["fields"]["daemonId"] for event in hub.events("daemon.registered")] == ["mini"]


@pytest.mark.parametrize("interval", [1000, 300_000])
def test_the_poll_interval_has_bounds(hub: Hub, interval: int) -> None:
    hub.post("/api/daemon/register", REGISTER | {"pollInterval": interval}).of(201)


def test_registering_again_is_the_same_daemon(hub: Hub) -> None:
    for version in ("1.0", "1.1"):
        hub.post("/api/daemon/register", REGISTER | {"version": version}).of(201)
    (shown,) = health(hub)["activeDaemons"]
    assert shown["version"] == "1.1"


def test_the_health_shows_what_a_daemon_said(hub: Hub) -> None:
    hub.post("/api/daemon/register", REGISTER).of(201)
    hub.clock.advance(1000)
    hub.post("/api/daemon/heartbeat", OLD_BEAT | {"currentTask": "t1", "tasksProcessed": 7}).of(200)
    shown = health(hub)
    assert shown["totalActive"] == 1
    assert shown["stale"] == []
    (mini,) = shown["activeDaemons"]
    expected = {
        "daemonId": "mini",
        "version": "1.0",
        "capabilities": ["claude-code"],
        "pollInterval": 15000,
        "registeredAt": NOW,
        "status": "healthy",
        "tasksProcessed": 7,
        "currentTask": "t1",
    }
    assert expected.items() <= mini.items()
    at(mini["lastHeartbeat"])


def test_a_report_without_a_task_has_no_current_task(hub: Hub) -> None:
    hub.post("/api/daemon/register", REGISTER).of(201)
    hub.post("/api/daemon/heartbeat", OLD_BEAT | {"currentTask": "t1"}).of(200)
    hub.post("/api/daemon/heartbeat", OLD_BEAT).of(200)
    assert "currentTask" not in health(hub)["activeDaemons"][0]


def test_a_report_of_a_daemon_that_never_registered_is_not_found(hub: Hub) -> None:
    unknown = {"error": "Daemon not registered"}
    assert hub.post("/api/daemon/heartbeat", OLD_BEAT).of(404) == unknown
    hub.post("/api/queue/heartbeat", {"workerId": "mini"}).of(200)
    assert hub.post("/api/daemon/heartbeat", OLD_BEAT).of(404) == unknown


@pytest.mark.parametrize(
    ("said", "state", "has_reason"),
    [("healthy", "healthy", False), ("degraded", "healthy", True), ("unhealthy", "stuck", True)],
)
def test_what_an_old_daemon_says_maps_to_a_state(hub: Hub, said: str, state: str, has_reason: bool) -> None:
    hub.post("/api/daemon/register", REGISTER).of(201)
    hub.post("/api/daemon/heartbeat", OLD_BEAT | {"status": said}).of(200)
    daemon = hub.daemon("mini")
    assert daemon["state"] == state
    assert bool(daemon.get("reason")) is has_reason
    if said == "degraded":
        assert "degraded" in daemon["reason"]
    shown = health(hub)
    (old,) = shown["activeDaemons"] + shown["stale"]
    assert old["status"] == said


def test_an_unhealthy_daemon_is_told_as_stuck_once_and_can_get_better(hub: Hub) -> None:
    hub.post("/api/daemon/register", REGISTER).of(201)
    for _ in range(3):
        hub.post("/api/daemon/heartbeat", OLD_BEAT | {"status": "unhealthy"}).of(200)
    (stuck,) = hub.events("daemon.stuck")
    assert stuck["fields"]["daemonId"] == "mini"
    hub.post("/api/daemon/heartbeat", OLD_BEAT).of(200)
    assert hub.daemon("mini")["state"] == "healthy"


def test_a_silent_daemon_is_stale_by_the_clock_of_the_hub(hub: Hub) -> None:
    hub.post("/api/daemon/register", REGISTER).of(201)
    hub.post("/api/daemon/heartbeat", OLD_BEAT | {"lastHeartbeat": "2099-01-01T00:00:00.000Z"}).of(200)
    hub.advance(179_999)
    assert health(hub)["totalActive"] == 1
    hub.advance(1)
    shown = health(hub)
    assert (shown["totalActive"], shown["activeDaemons"]) == (0, [])
    assert [daemon["daemonId"] for daemon in shown["stale"]] == ["mini"]


def test_a_beat_with_an_old_instant_is_as_good_as_any(hub: Hub) -> None:
    hub.post("/api/daemon/register", REGISTER).of(201)
    for _ in range(4):
        hub.advance(2 * MINUTE)
        hub.post("/api/daemon/heartbeat", OLD_BEAT | {"lastHeartbeat": "1999-01-01T00:00:00.000Z"}).of(200)
    assert health(hub)["totalActive"] == 1
    assert hub.events("daemon.late") == []


def test_reading_the_health_changes_nothing(hub: Hub) -> None:
    hub.post("/api/daemon/register", REGISTER).of(201)
    hub.advance(10 * MINUTE)
    before = health(hub), hub.daemon("mini"), len(hub.get("/api/events?limit=1000").of(200)["events"])
    for _ in range(3):
        assert health(hub) == before[0]
    assert (hub.daemon("mini"), len(hub.get("/api/events?limit=1000").of(200)["events"])) == before[1:]


# ---- names with a start time


def test_a_restart_with_a_new_worker_id_is_the_same_daemon(hub: Hub) -> None:
    hub.post("/api/queue/heartbeat", {"workerId": FIRST}).of(200)
    hub.advance(MINUTE)
    hub.post("/api/queue/heartbeat", {"workerId": SECOND}).of(200)
    assert [daemon["daemonId"] for daemon in hub.get("/api/daemons").of(200)["daemons"]] == ["daemon_mac-mini.local"]
    for _ in range(10):
        hub.advance(MINUTE)
        hub.claim(SECOND)
    assert hub.events("daemon.late", "daemon.down") == []


def test_leases_compare_the_whole_name(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.claim(FIRST)
    hub.post(f"/api/queue/{task_id}/renew", {"workerId": SECOND}).of(403)
    hub.post(f"/api/queue/{task_id}/release", {"workerId": SECOND}).of(403)
    hub.post(f"/api/queue/{task_id}/renew", {"workerId": FIRST}).of(200)


def test_a_worker_is_watched_only_once_it_has_sent_a_heartbeat_or_registered(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.claim(FIRST)
    hub.result(task_id, status="completed").of(200)
    hub.advance(HOUR)
    assert hub.get("/api/daemons").of(200)["daemons"] == []
    assert hub.incidents() == []


def test_a_worker_named_by_the_hub_is_never_watched(hub: Hub) -> None:
    hub.enqueue()
    name = hub.post("/api/queue/claim", {}).of(200)["lease"]["workerId"]
    hub.claim(name)
    hub.advance(HOUR)
    assert hub.get("/api/daemons").of(200)["daemons"] == []


@pytest.mark.parametrize("sign", ["claim", "renewal", "result"])
def test_a_claim_renewal_or_result_is_as_good_as_a_heartbeat(hub: Hub, sign: str) -> None:
    hub.post("/api/queue/heartbeat", {"workerId": FIRST}).of(200)
    task_id = hub.enqueue(timeoutSec=36_000)
    hub.claim(FIRST, leaseDurationSec=600)
    for n in range(6):
        hub.advance(170_000)
        if sign == "claim":
            hub.claim(FIRST)
        elif sign == "renewal":
            hub.post(f"/api/queue/{task_id}/renew", {"workerId": FIRST, "extendSec": 600}).of(200)
        else:
            hub.result(task_id, id=task_id, status="completed", elapsed="5.0").of(200)
            task_id = hub.enqueue(f"next{n}")
            hub.claim(FIRST)
    assert hub.events("daemon.late") == []


# ---- their bodies


@pytest.mark.parametrize(("status", "success"), [("completed", True), ("failed", False)])
def test_a_result_with_a_status_and_no_success_is_understood(hub: Hub, status: str, success: bool) -> None:
    task_id = hub.enqueue("slack_1706745600.123456")
    hub.claim(FIRST)
    body = {"id": task_id, "status": status, "output": "42", "elapsed": "5.0"}
    assert hub.result(task_id, **body).of(200) == {"success": True}
    shown = hub.get(f"/api/result/{task_id}").of(200)
    assert {"success": success, "output": "42"}.items() <= shown.items()
    assert hub.task(task_id)["status"] == ("done" if success else "failed")


@pytest.mark.parametrize("status", ["", "done", "running", None])
def test_a_result_that_says_neither_is_refused(hub: Hub, status: str | None) -> None:
    task_id = hub.enqueue()
    hub.claim(FIRST)
    refused = hub.result(task_id, id=task_id, status=status, elapsed="5.0").of(400)
    assert refused["details"][0].startswith("success: ")
    assert hub.get(f"/api/queue/{task_id}").of(200)["status"] == "claimed"


def test_a_failed_result_after_a_release_closes_attempt_and_task(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.claim(FIRST)
    hub.post(f"/api/queue/{task_id}/release", {"workerId": FIRST, "reason": "CLI not found"}).of(200)
    assert hub.pending() == [task_id]
    hub.result(task_id, id=task_id, status="failed", error="CLI not found", elapsed="0.0").of(200)
    assert hub.pending() == []
    task = hub.task(task_id)
    assert task["status"] == "failed"
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["failed"]
    assert hub.get(f"/api/result/{task_id}").of(200)["error"] == "CLI not found"
    assert hub.claim("other")["success"] is False


def test_that_result_again_changes_nothing(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.claim(FIRST)
    hub.post(f"/api/queue/{task_id}/release", {"workerId": FIRST}).of(200)
    hub.result(task_id, id=task_id, status="failed", error="first").of(200)
    assert hub.result(task_id, id=task_id, status="failed", error="second").of(200)["duplicate"] is True
    assert hub.get(f"/api/result/{task_id}").of(200)["error"] == "first"


def test_a_failed_result_after_a_release_neither_loses_nor_takes_what_another_claimed(hub: Hub) -> None:
    task_id = hub.enqueue()
    hub.claim(FIRST)
    hub.post(f"/api/queue/{task_id}/release", {"workerId": FIRST}).of(200)
    lease = hub.lease("new-way")
    late = hub.result(task_id, id=task_id, status="failed", error="CLI not found").of(200)
    assert late == {"success": True, "duplicate": True}
    assert hub.get(f"/api/queue/{task_id}").of(200)["status"] == "claimed"
    hub.result(task_id, token=lease["token"], success=True, output="ours").of(200)
    assert hub.get(f"/api/result/{task_id}").of(200) == {"success": True, "output": "ours"}


def test_a_failed_result_after_a_release_leaves_a_task_with_attempts_left_in_the_queue_once(hub: Hub) -> None:
    task_id = hub.enqueue(maxAttempts=2)
    hub.claim(FIRST)
    hub.post(f"/api/queue/{task_id}/release", {"workerId": FIRST}).of(200)
    hub.result(task_id, id=task_id, status="failed").of(200)
    assert hub.task(task_id)["status"] == "pending"
    hub.advance(MINUTE)
    assert hub.pending() == [task_id]
    assert hub.claim(SECOND)["taskId"] == task_id
    assert hub.claim("other")["success"] is False


# ---- their memory


def save(hub: Hub, **fields: Any) -> Any:
    message = {"user_id": "U1", "channel": "SLACK", "role": "user", "content": "hi", **fields}
    return hub.post("/api/memory/save", message).of(200)


def context(hub: Hub, user: str, query: str = "") -> str:
    answer = hub.get(f"/api/memory/context/{quote(user, safe='')}{query}").of(200)
    assert answer["userId"] == user
    text: str = answer["context"]
    return text


def test_messages_come_back_oldest_first_with_their_roles(hub: Hub) -> None:
    for role, content in (("system", "be kind"), ("user", "hello"), ("assistant", "hi there")):
        assert save(hub, role=role, content=content) == {"success": True}
        hub.clock.advance(10)
    assert context(hub, "U1") == "[system] be kind\n[user] hello\n[assistant] hi there"


def test_the_same_id_again_makes_no_second_row(hub: Hub) -> None:
    save(hub, id="m1", content="first")
    save(hub, id="m1", content="second")
    assert hub.get("/api/memory/history/U1").of(200)["count"] == 1
    assert context(hub, "U1") == "[user] first"


def test_upper_case_channels_are_found_by_any_case(hub: Hub) -> None:
    save(hub, channel="SLACK", content="in slack")
    save(hub, channel="Discord", content="in discord")
    for name in ("SLACK", "slack", "Slack"):
        assert context(hub, "U1", f"?channel={name}") == "[user] in slack"
    assert context(hub, "U1").count("\n") == 1
    assert context(hub, "U1", "?channel=mail") == ""


def test_empty_content_is_accepted(hub: Hub) -> None:
    save(hub, content="")
    assert hub.get("/api/memory/history/U1").of(200)["count"] == 1


@pytest.mark.parametrize("user_id", [{"id": 123, "username": "ada"}, {"id": "123"}, "123", 123], ids=repr)
def test_a_user_may_be_an_object_whose_id_counts(hub: Hub, user_id: Any) -> None:
    save(hub, user_id=user_id, content="mine")
    assert context(hub, "123") == "[user] mine"


@pytest.mark.parametrize("path", ["[object%20Object]", "%5Bobject%20Object%5D"])
def test_the_path_that_such_a_user_makes_has_an_empty_context(hub: Hub, path: str) -> None:
    save(hub, user_id={"id": 123}, content="mine")
    answer = hub.get(f"/api/memory/context/{path}?channel=TELEGRAM&maxTokens=2000").of(200)
    assert answer == {"context": "", "userId": "[object Object]"}


def test_a_user_without_messages_has_an_empty_context(hub: Hub) -> None:
    assert hub.get("/api/memory/context/nobody").of(200) == {"context": "", "userId": "nobody"}
    assert hub.get("/api/memory/history/nobody").of(200) == {"history": [], "count": 0}
    assert hub.delete("/api/memory/nobody").of(200) == {"success": True, "deleted": 0}


@pytest.mark.parametrize("tokens", [100, 500, 2000, 4000])
def test_the_context_holds_the_most_recent_messages_that_fit(hub: Hub, tokens: int) -> None:
    for n in range(100):
        save(hub, content=f"{n:03d}" + "x" * 190)
        hub.clock.advance(10)
    text = context(hub, "U1", f"?maxTokens={tokens}&maxChars=16000")
    lines = text.split("\n")
    assert len(text) <= 4 * tokens
    assert len(text) + 201 > 4 * tokens, "one more would have fitted"
    assert [line[7:10] for line in lines] == [f"{n:03d}" for n in range(100 - len(lines), 100)]


def test_many_short_messages_fit_too(hub: Hub) -> None:
    for n in range(300):
        save(hub, content=str(n))
        hub.clock.advance(10)
    assert context(hub, "U1", "?maxChars=16000").split("\n") == [f"[user] {n}" for n in range(300)]


def test_the_default_budget_is_two_thousand_tokens(hub: Hub) -> None:
    for _ in range(30):
        save(hub, content="x" * 993)
        hub.clock.advance(10)
    assert context(hub, "U1", "?maxChars=16000") == context(hub, "U1", "?maxTokens=2000&maxChars=16000")
    assert 6000 < len(context(hub, "U1", "?maxChars=16000")) <= 8000


@pytest.mark.parametrize("query", ["", "?maxTokens=2000", "?channel=SLACK&maxTokens=4000"])
def test_the_context_of_an_old_daemon_leaves_room_for_the_question(hub: Hub, query: str) -> None:
    """It cuts context and question together at 4,000 characters."""
    for n in range(60):
        save(hub, content=f"{n:02d}" + "x" * 90)  # 100 characters a line with its break
        hub.clock.advance(10)
    assert len(context(hub, "U1", query)) == 29 * 100 + 99
    assert context(hub, "U1", "?maxChars=500").startswith("[user] 55x")
    assert hub.get("/api/memory/context/U1?maxChars=99").status == 400


@pytest.mark.parametrize("char", ["x", "あ"])
def test_a_long_answer_is_kept_as_far_as_it_fits(hub: Hub, char: str) -> None:
    save(hub, role="assistant", content=char * 70_000)
    kept = hub.get("/api/memory/history/U1").of(200)["history"][0]["content"]
    assert (64 << 10) - 3 < len(kept.encode()) <= 64 << 10
    assert set(kept) == {char}


@pytest.mark.parametrize("said_at", ["2026-02-04 14:13:28", "2026-02-04T14:13:28", "2026-02-04 14:13:28Z"])
def test_an_instant_with_a_blank_is_read(hub: Hub, said_at: str) -> None:
    save(hub, created_at=said_at)
    assert hub.get("/api/memory/history/U1").of(200)["history"][0]["created_at"] == "2026-02-04T14:13:28.000Z"


EXTRA = {"type": "research", "delegationHints": {"model": "opus", "tools": ["bash"]}, "未知": [1, None]}


@pytest.mark.parametrize("way", ["one", "batch"])
def test_fields_that_we_do_not_know_come_back_with_the_claim(hub: Hub, way: str) -> None:
    body = {"id": "t1", "content": "x", **EXTRA, "checkpoint": "forged", "context": "forged", "status": "done"}
    path, sent = ("/api/queue", body) if way == "one" else ("/api/queue/batch", {"tasks": [{"content": "y"}, body]})
    assert hub.post(path, sent).status in (200, 201)
    claimed = hub.post("/api/queue/claim", {"workerId": "w", "max": 2}).of(200)["tasks"]
    (task,) = [item["task"] for item in claimed if item["task"]["id"] == "t1"]
    assert {name: task[name] for name in EXTRA} == EXTRA
    assert task["status"] == "claimed"
    assert not {"checkpoint", "context"} & set(task)
    other = [item["task"] for item in claimed if item["task"]["id"] != "t1"]
    assert not [name for task in other for name in EXTRA if name in task]


def test_fields_that_we_do_not_know_are_bounded_and_tell_no_tasks_apart(hub: Hub) -> None:
    body = {
        "id": "t1",
        "content": "x",
        "type": "a",
        "huge": "y" * 20_000,
        "nul": "\0",
        **{f"f{n}": n for n in range(99)},
    }
    hub.post("/api/queue", body).of(201)
    assert hub.post("/api/queue", body | {"type": "b"}).of(200)["created"] is False
    task = hub.claim()["task"]
    assert task["type"] == "a"
    assert not {"huge", "nul"} & set(task)
    assert sum(name.startswith("f") and name[1:].isdigit() for name in task) < 32


def test_a_watchdog_of_the_old_hub_finds_its_word(hub: Hub) -> None:
    assert hub.get("/health?detailed=true").of(200)["status"] == "healthy"
    assert hub.get("/health").of(200)["status"] == "ok"


def test_the_history_shows_the_latest_twenty_unless_asked(hub: Hub) -> None:
    for n in range(120):
        save(hub, content=str(n))
        hub.clock.advance(10)
    shown = hub.get("/api/memory/history/U1").of(200)
    assert shown["count"] == len(shown["history"]) == 20
    assert {message["content"] for message in shown["history"]} == {str(n) for n in range(100, 120)}
    assert hub.get("/api/memory/history/U1?limit=100").of(200)["count"] == 100
    assert hub.get("/api/memory/history/U1?limit=1").of(200)["history"][0]["content"] == "119"
    assert hub.get("/api/memory/history/U1?channel=mail").of(200)["count"] == 0


def test_a_user_can_be_forgotten(hub: Hub) -> None:
    for _ in range(3):
        save(hub)
    save(hub, user_id="U2")
    assert hub.delete("/api/memory/U1").of(200) == {"success": True, "deleted": 3}
    assert context(hub, "U1") == ""
    assert context(hub, "U2") == "[user] hi"


def test_messages_are_ordered_by_when_they_were_said(hub: Hub) -> None:
    save(hub, content="second", created_at="2026-02-02T00:00:00.000Z")
    save(hub, content="first", created_at="2026-02-01T00:00:00.000Z")
    assert context(hub, "U1") == "[user] first\n[user] second"


def test_a_register_with_an_empty_version_is_accepted(hub: Hub) -> None:
    hub.post("/api/daemon/register", REGISTER | {"version": ""}).of(201)
    (shown,) = health(hub)["activeDaemons"]
    assert shown["version"] == ""


def test_a_last_slash_changes_nothing_as_in_the_old_hub(hub: Hub) -> None:
    hub.post("/api/queue/", {"id": "t1", "content": "x"}).of(201)
    assert hub.get("/api/queue/").of(200) == {"pending": ["t1"], "count": 1}
    assert hub.get("/api/queue/t1/").of(200)["id"] == "t1"
    assert hub.post("/api/queue/claim/", {"workerId": "w"}).of(200)["taskId"] == "t1"
    hub.post("/api/queue/t1/renew/", {"workerId": "w"}).of(200)
    hub.post("/api/result/t1/", {"success": True}).of(200)
    hub.post("/api/queue/heartbeat/", {"workerId": "w"}).of(200)
    hub.post("/api/daemon/register/", REGISTER).of(201)
    hub.get("/api/memory/history/u/?limit=5").of(200)
    for path in ("/api/daemons/", "/api/tasks/", "/api/tasks/t1/", "/api/events/", "/health/", "/api/daemon/health/"):
        hub.get(path).of(200)
    hub.get("/api/").of(404)
    for path in ("/", "//"):  # the pages
        assert hub.get(path).headers["location"] == "/login"


def test_the_last_slash_of_a_name_is_part_of_it(hub: Hub) -> None:
    hub.beat("a/").of(200)
    assert hub.get("/api/daemons/a%2F").of(200)["daemonId"] == "a/"
    hub.get("/api/daemons/a").of(404)
