"""Every endpoint says what its answers are like, and real answers of a hub are like that, down to each key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tests.api.hubs import DAY, Hub
from tests.api.rows import MESSAGE, OLD_BEAT, REGISTER, ROWS
from tests.api.schemas import (
    check_body,
    endpoint_of,
    known_of,
    schema_of,
    statuses_of,
    strict,
    undescribed,
)
from tests.api.wire import ADMIN, NOTHING
from understudy.api.app import ENDPOINTS
from understudy.api.endpoint import Endpoint
from understudy.api.openapi import openapi_of
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import (
    Attempt,
    Daemon,
    Directive,
    Incident,
    Notice,
    Policy,
    Progress,
    Result,
    Session,
    Task,
    TaskBody,
)
from understudy.coordinator.prices import Price
from understudy.coordinator.routes import Route, Routes
from understudy.coordinator.samples import Sample
from understudy.coordinator.takeover_nouns import Reservation, TakeoverPolicy, TakeoverState, TaskTakeover

Told = dict[str, list[Any]]  # answers by endpoint
SPEC = {
    "content": "c", "source": "s", "metadata": {"a": 1}, "priority": "high", "needs": ["machine"], "delaySec": 1,
    "availableAt": "2026-02-02T02:40:00.000Z", "maxAttempts": 2, "timeoutSec": 60, "onLoss": "wait",
    "takeover": "never", "dedupKey": "k", "conversation": {"channel": "c", "user_id": "u"}, "executor": "claude-code",
    "workspace": "w", "group": "g", "replyTo": {"channel": "ops"},
}  # fmt: skip
RUNS = [{"taskId": "t", "token": 1, "progressAt": "now", "idleSec": 9, "idleLimitSec": 5}]
WINDOWS = [{"from": "22:00", "to": "06:00", "tz": "UTC"}]
NOT_HERE = {  # keys that an endpoint shares with others and never says, or says only at a hub in trouble
    "GET /api/deployments": {".deployments[].endedAt"},  # of a hub that runs no more: tests/api/test_two_hubs.py
    "POST /api/result/{task_id}": {".cut"},  # full store: tests/hub/test_full_results.py
    "POST /api/results": {".results[].cut"},
    "GET /api/tasks/{task_id}": {".history[].live"},
    "POST /api/notices/{notice_id}/resend": {".notice.lastError", ".notice.sentAt"},
    "POST /api/channels/test": {
        f".notices[].{key}" for key in ("foldedInto", "lastError", "incidentId", "sentAt", "taskId", "daemonId")
    },
    "GET /api/takeover": {".lacks"},  # without a key or a price
    "GET /api/daemons": {".next"},  # of very many daemons: tests/hub/test_daemon_lists.py
    "GET /api/daemon/health": {".leftOut"},
    "GET /api/overview": {".takeover.lacks", ".daemonsNext"}  # of an incident that is over:
    | {f".openIncidents[].{key}" for key in ("recoveredAt", "lengthSec", "missedBeats")},
}


def json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def rows(at: int) -> Iterator[msgspec.Struct]:
    """One row of each kind that has everything, and what is only there in another state."""
    for name, auth in (("sick", {"claude_code": "logged_out"}), ("hung", {})):
        yield Daemon(
            name, state="stuck", reason="r", machine_id="m", boot_id="b", version="1", interval_ms=10_000,
            running=json(RUNS), auth=json(auth), registered_at=at, registered_as="then", current_task="t",
            last_seen_at=at, paused=1, deadline_h=at + DAY, late_after_ms=DAY, down_after_ms=DAY,
            expected_sleep=json(WINDOWS), incident_id="over",
        )  # fmt: skip
    yield replace(
        Daemon("well", state="healthy", last_seen_at=at, last_seen_h=at), late_after_ms=DAY, down_after_ms=DAY
    )
    yield Directive("d1", "sick", "update", json({"version": "1", "wheel": "/w?x", "sha256": "0"}), "done", "d",
                    "me", at, ended_at=at)  # fmt: skip
    yield Incident("over", "sick", "recovered", at, at, 1, at, at, at, 5, 2, "me", at, at + DAY)
    for state in ("waiting", "sent"):
        yield Notice(
            f"n-{state}", "ops", "notice", "daemon.late", "warning", "over", "done", "sick", state=state,
            next_at=at + DAY, last_error="e", folded_into="f", created_at=at, due_at=at,
            sent_at=at if state == "sent" else 0,
        )  # fmt: skip
    yield Daemon("silent", state="late", last_seen_at=at, since_at=at - 1, incident_id="lasts")
    yield Incident("lasts", "silent", "down", at, at, 1, at, 0, at, acknowledged_by="me", acknowledged_at=at,
                   snoozed_until=at)  # fmt: skip
    yield Task("runs", "leased", 0, token=1, daemon_id="sick", claimed_at=at, expires_h=at + DAY)
    yield Progress("runs", 1, at, '{"step":1}')
    yield Task("waits", ready=0, waiting_for="sick", queued_at=at, updated_at=at)
    yield Task("done", "done", 0, queued_at=at, updated_at=at, finished_at=at, note="n", losses=1)
    yield TaskBody("done", json(SPEC))
    yield Attempt("done", 1, "w", "", "", at, at, "done")
    yield Progress("done", 1, at, '{"step":1}', "{}")
    yield Result("done", 1, '"out"', '"err"', json({"class": "failed", "final": True}), "{}", 0, "x", 1, 5, 1, at)
    yield TaskTakeover("done", interim_answer='"so far"', interim_at=at)


@pytest.fixture(scope="module")
def told(loop_thread: Any, endings: Any) -> Told:
    """Answers to requests that bring every endpoint to say all that it can; the client checks each."""
    routes = Routes(("ops",), (Route(("ops",)),))
    takeover = TakeoverPolicy(mode="answer", has_key=True, model="m", price=Price(1, 2), probes=True)
    hub = Hub(loop_thread, policy=Policy(routes=routes, takeover=takeover))
    answers: Told = {}

    def ask(method: str, path: str, body: Any = NOTHING) -> Any:
        known = endpoint_of(method, path)
        assert known is not None, path
        answer = hub.client.call(method, path, body, key=ADMIN)
        assert answer.status < 300, (method, path, answer.text)
        answers.setdefault(name_of(known.endpoint), []).append(answer.body)
        return answer.body

    try:
        _tell_all(hub, ask)
    finally:
        endings.append(hub.begin_stop())
    return answers


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def _save(hub: Hub, *saved: msgspec.Struct) -> None:
    hub.store.transaction(lambda tx: tx.save_many(saved))


def _tell_all(hub: Hub, ask: Callable[..., Any]) -> None:
    at = hub.now
    for row in rows(at):
        _save(hub, row)
    hub.store.transaction(lambda tx: tx.append_events([Event(at, "info", "task.done", "c", "m", {"a": 1}, "done")]))
    _tell_of_tasks(hub, ask)
    _tell_of_daemons(ask)
    _tell_of_the_rest(hub, ask, at)


def _tell_of_tasks(hub: Hub, ask: Callable[..., Any]) -> None:
    ask("POST", "/api/queue", {"id": "a", **SPEC, "needs": [], "delaySec": 0})
    ask("POST", "/api/queue/batch", {"tasks": [{"content": "b", "id": "b"}, {"content": "c", "id": "c"}]})
    hub.advance(1000)
    for path in ("/api/queue", "/api/queue/a"):
        ask("GET", path)
    ask("POST", "/api/queue/claim", {"workerId": "w", "max": 9, "provides": []})
    provides = ["machine", "executor:claude-code"]
    request = {"workerId": "w", "max": 1, "provides": provides, "requestId": "r"}
    got = ask("POST", "/api/queue/claim", request)
    task_id, token = got["taskId"], got["lease"]["token"]
    ask("POST", f"/api/queue/{task_id}/renew", {"token": token, "checkpoint": {"n": 1}, "progress": 1})
    ask("POST", "/api/queue/claim", request)
    ask("POST", f"/api/queue/{task_id}/status", {"status": "noted"})
    ask("GET", f"/api/tasks/{task_id}")
    ask("POST", f"/api/queue/{task_id}/release", {"token": token})
    ask("POST", f"/api/queue/{task_id}/release", {"token": token})
    got = ask("POST", "/api/queue/claim", {"workerId": "w", "max": 3, "provides": provides})
    tokens = {item["task"]["id"]: item["lease"]["token"] for item in got["tasks"]}
    for n in range(2):
        ask("POST", "/api/result/a", {"success": True, "token": tokens["a"], "output": n})
    late = [{"taskId": name, "token": tokens["b"] - 1, "success": True} for name in ("b", "none")]
    ask("POST", "/api/results", {"results": [*late, *({"taskId": "b", "token": tokens["b"], "success": False},) * 2]})
    ask("POST", "/api/tasks/c/cancel")
    ask("POST", "/api/queue/c/renew", {"token": tokens["c"]})
    ask("POST", "/api/tasks/b/retry")
    _save(hub, Task("kept", waiting_for="sick", ready=0, on_loss="wait"), TaskBody("kept", "{}"))
    ask("POST", "/api/tasks/kept/move")
    for path in (
        "/api/result/a",
        "/api/result/done",
        "/api/tasks/done",
        "/api/tasks/waits",
        "/api/tasks",
        "/api/tasks?limit=1",
    ):
        ask("GET", path)


def _tell_of_daemons(ask: Callable[..., Any]) -> None:
    ask("POST", "/api/queue/heartbeat")
    ask("POST", "/api/queue/heartbeat", {"daemonId": "mini", "machineId": "m1", "bootId": "b1", "seq": 1})
    update = {"kind": "update", "wheel": "http://host/w", "sha256": "0" * 64}
    for order in ({"kind": "update", "version": "1.0"}, update, update):
        ask("POST", "/api/daemons/mini/directives", order)
    ask("POST", "/api/queue/heartbeat", {"daemonId": "mini", "machineId": "m1", "bootId": "b1", "seq": 2})
    ask("POST", "/api/daemon/register", REGISTER)
    ask("POST", "/api/daemon/heartbeat", {**OLD_BEAT, "currentTask": "t"})
    ask("POST", "/api/daemons/mini/pause", {"forSec": 60})
    for path in ("/api/daemon/health", "/api/daemons", "/api/daemons/sick", "/api/daemons/hung", "/api/daemons/mini"):
        ask("GET", path)
    ask("POST", "/api/daemons/mini/resume")
    ask("PUT", "/api/daemons/mini/settings", {"lateAfterSec": 60, "expectedSleep": WINDOWS})
    ask("DELETE", "/api/daemons/mini")
    ask("GET", "/api/incidents?limit=1")
    ask("POST", "/api/incidents/over/acknowledge")
    ask("POST", "/api/incidents/over/snooze", {"forSec": 60})


def _tell_of_the_rest(hub: Hub, ask: Callable[..., Any], at: int) -> None:
    for path in ("/api/notices?limit=1", "/api/notices", "/api/notices/n-waiting", "/api/notices/n-sent"):
        ask("GET", path)
    ask("POST", "/api/notices/n-waiting/resend")
    ask("POST", "/api/channels/test", {})
    _save(hub, Notice("n-dead", "ops", "notice", "x", state="dead", last_error="e", created_at=at))
    ask("GET", "/api/channels")
    for verb in ("pause", "resume"):
        ask("POST", f"/api/takeover/{verb}")
    _save(hub, TakeoverState(1, 1, at, circuit="billing", circuit_at=at, circuit_until_at=at + DAY))
    _save(
        hub, Sample(hub.now, 1, 1, 1, 1, 1, 1, 1, 1), Reservation("r", "t", 1, "w", "m", 1, 1, at, hub.now, 1, "done")
    )
    _save(hub, Task("timed", "done", 0, queued_at=at, available_at=at, claimed_at=at, finished_at=hub.now))
    for path in ("/api/takeover", "/api/overview", "/api/numbers", "/api/numbers?span=month"):
        ask("GET", path)
    ask("POST", "/api/memory/save", MESSAGE)
    for path in ("/api/memory/context/u1", "/api/memory/history/u1"):
        ask("GET", path)
    ask("DELETE", "/api/memory/u1")
    for path in ("/api/events?limit=1", "/api/events?search=Heartbeat", "/api/deployments"):
        ask("GET", path)
    made = ask("POST", "/api/keys", {"name": "n", "scopes": ["read"]})
    ask("POST", f"/api/keys/{made['id']}/rotate")
    ask("POST", f"/api/keys/{made['id']}/revoke")
    ask("GET", "/api/keys")
    ask("POST", "/api/login-links", {"scope": "read"})
    _save(hub, Session("s1", "h", "env:ADMIN_API_KEY", "", "o", "read", "Browser", at, at, at + DAY))
    ask("POST", "/api/sessions/s1/end")
    ask("POST", "/api/sessions/end", {"keep": "s1"})
    ask("GET", "/api/sessions")


def test_every_endpoint_says_what_its_answers_are_like() -> None:
    assert undescribed(ENDPOINTS) == []


def test_an_endpoint_that_says_nothing_of_its_answer_is_found() -> None:
    silent = replace(ENDPOINTS[0], answer=())
    assert undescribed((silent, *ENDPOINTS[1:])) == [name_of(silent)]
    with pytest.raises(TypeError, match="answer"):
        Endpoint("GET", "/api/new", "New", ("read",))  # type: ignore[call-arg]


def test_every_endpoint_has_answered(told: Told) -> None:
    assert told.keys() == {name_of(endpoint) for endpoint in ENDPOINTS}
    assert len(ROWS) == len(ENDPOINTS)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=name_of)
def test_every_key_that_is_described_is_answered(told: Told, endpoint: Endpoint) -> None:
    document = openapi_of(ENDPOINTS, "1")
    schema = schema_of(document, endpoint, statuses_of(endpoint)[0])
    described = set(keys_of(schema, document["components"]["schemas"]))
    answered = {key for body in told[name_of(endpoint)] for key in keys_in(body)}
    assert described - answered == NOT_HERE.get(name_of(endpoint), set())


def keys_of(schema: dict[str, Any], schemas: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every key that a schema names, with the way to it."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rsplit("/", 1)[1]]
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from keys_of(choice, schemas, path)
    if isinstance(schema.get("items"), dict):
        yield from keys_of(schema["items"], schemas, f"{path}[]")
    for name, part in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from keys_of(part, schemas, f"{path}.{name}")


def keys_in(body: Any, path: str = "") -> Iterator[str]:
    """Every key of a body, with the way to it."""
    if isinstance(body, list):
        for item in body:
            yield from keys_in(item, f"{path}[]")
    elif isinstance(body, dict):
        for name, value in body.items():
            yield f"{path}.{name}"
            yield from keys_in(value, f"{path}.{name}")


@pytest.mark.parametrize("sin", ["another type", "one key more", "one key less"])
def test_an_answer_that_is_not_as_described_is_found(told: Told, sin: str) -> None:
    """What the client of these tests would have said, had an answer been so."""
    document = strict(openapi_of(ENDPOINTS, "1"))
    known = next(k for k in known_of(document, ENDPOINTS) if name_of(k.endpoint) == "GET /api/queue")
    (body, *_) = told["GET /api/queue"]
    check_body(known, 200, body)
    wrong = {"another type": {"count": "1"}, "one key more": {"more": 1}, "one key less": {}}[sin]
    spoilt = body | wrong if wrong else {"count": body["count"]}
    with pytest.raises(AssertionError, match="GET /api/queue 200"):
        check_body(known, 200, spoilt)
