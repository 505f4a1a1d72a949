"""Section 0: ids, bodies and their limits; what is unknown is not found."""

from __future__ import annotations

import http.client
import re
import socket
from contextlib import closing
from typing import Any

import pytest

from tests.api.hubs import Hub
from tests.api.rows import MESSAGE, NAMES, OLD_BEAT, REGISTER, ROWS, SETTINGS, Row
from tests.api.wire import ADMIN, NOTHING, OWNER

MIB = 1 << 20
WRITES = [row for row in ROWS if row.body is not NOTHING]
WRITE_NAMES = [f"{row.method} {row.path}" for row in WRITES]
STRICT = [row for row in WRITES if row.path != "/api/queue/heartbeat"]  # an unreadable beat is a beat
STRICT_NAMES = [f"{row.method} {row.path}" for row in STRICT]


def send(hub: Hub, row: Row, body: Any) -> Any:
    return hub.client.call(row.method, row.path, body, key=ADMIN)


# ---- ids


@pytest.mark.parametrize(
    "task_id",
    ["a", "x" * 128, "evt_1738591_ab12", "slack_1706745600.123456", "A.b_c:d-e", "...", "-", "claim", "heartbeat"],
)
def test_an_id_of_the_promised_characters_is_accepted(hub: Hub, task_id: str) -> None:
    assert hub.enqueue(task_id) == task_id
    assert hub.get(f"/api/tasks/{task_id}").of(200)["id"] == task_id
    assert hub.claim()["taskId"] == task_id
    assert hub.result(task_id, success=True).of(200) == {"success": True}
    assert hub.get(f"/api/result/{task_id}").of(200)["success"] is True


BAD_IDS = ["x" * 129, "a b", "a\n", "\na", "a\0", "\xe9", "a,b", "[object Object]", "a?b", "a#b", "\uff11"]


@pytest.mark.parametrize("bad", BAD_IDS, ids=ascii)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/queue/{}", NOTHING),
        ("GET", "/api/result/{}", NOTHING),
        ("GET", "/api/tasks/{}", NOTHING),
        ("POST", "/api/queue/{}/renew", {"workerId": "w"}),
        ("POST", "/api/queue/{}/release", {}),
        ("POST", "/api/queue/{}/status", {"status": "x"}),
        ("POST", "/api/result/{}", {"success": True}),
        ("POST", "/api/tasks/{}/cancel", NOTHING),
        ("POST", "/api/tasks/{}/retry", NOTHING),
        ("POST", "/api/tasks/{}/move", NOTHING),
    ],
)
def test_any_other_id_in_a_path_is_refused(shared_hub: Hub, method: str, path: str, body: Any, bad: str) -> None:
    quoted = "".join(f"%{byte:02X}" for byte in bad.encode())
    refused = shared_hub.client.call(method, path.format(quoted), body).of(400)
    assert refused["error"] == "Invalid taskId format"
    assert refused["details"]
    assert all(isinstance(detail, str) for detail in refused["details"])


@pytest.mark.parametrize("bad", ["", "a/b", *BAD_IDS], ids=ascii)
def test_any_other_id_in_a_body_is_refused(shared_hub: Hub, bad: str) -> None:
    refused = shared_hub.post("/api/queue", {"id": bad, "content": "x"}).of(400)
    assert len(refused["details"]) == 1
    shared_hub.post("/api/queue/batch", {"tasks": [{"id": bad, "content": "x"}]}).of(400)
    shared_hub.post("/api/results", {"results": [{"taskId": bad, "token": 1, "success": True}]}).of(400)


@pytest.mark.parametrize("worker_id", ["w" * 256, "\u540d\u524d with spaces", "a/b?c#d", "\n", "{}"], ids=ascii)
def test_a_worker_id_is_any_text_up_to_256_characters(hub: Hub, worker_id: str) -> None:
    task_id = hub.enqueue()
    assert hub.claim(worker_id)["lease"]["workerId"] == worker_id
    renewed = hub.post(f"/api/queue/{task_id}/renew", {"workerId": worker_id}).of(200)
    assert renewed["lease"]["workerId"] == worker_id
    hub.post("/api/queue/heartbeat", {"workerId": worker_id}).of(200)
    hub.post(f"/api/queue/{task_id}/release", {"workerId": worker_id}).of(200)
    assert hub.pending() == [task_id]


def test_a_worker_id_of_257_characters_is_refused(hub: Hub) -> None:
    refused = hub.post("/api/queue/claim", {"workerId": "w" * 257}).of(400)
    assert refused["error"] == "Validation failed"
    assert refused["details"][0].startswith("workerId: ")


def test_a_longer_capability_list_is_cut_not_refused(hub: Hub) -> None:
    many = [f"capability-{n}" for n in range(1000)] + ["x" * 1000]
    hub.post("/api/daemon/register", REGISTER | {"capabilities": many}).of(201)
    (shown,) = hub.get("/api/daemon/health").of(200)["activeDaemons"]
    kept = shown["capabilities"]
    assert 0 < len(kept) < 1000
    assert kept == many[: len(kept)]


# ---- not JSON, wrong shape

NOT_JSON = [
    b"{",
    b"}",
    b"hello",
    b"{'a': 1}",
    b'{"a": 1,}',
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b"\x00",
    b'{"a": 1} {"b": 2}',
]
NOT_UTF8 = [b'{"a": "\xff\xfe"}', b'{"a": "\xe4"}', b"\xff", '{"a": 1}'.encode("utf-16")]


@pytest.mark.parametrize("row", STRICT, ids=STRICT_NAMES)
def test_what_is_not_json_is_refused(shared_hub: Hub, row: Row) -> None:
    for body in NOT_JSON:
        assert send(shared_hub, row, body).of(400) == {"error": "Invalid JSON in request body"}, body


@pytest.mark.parametrize("row", STRICT, ids=STRICT_NAMES)
def test_bytes_that_are_not_utf8_are_refused(shared_hub: Hub, row: Row) -> None:
    for body in NOT_UTF8:
        send(shared_hub, row, body).of(400)


@pytest.mark.parametrize("row", STRICT, ids=STRICT_NAMES)
def test_json_that_is_no_object_has_the_wrong_shape(shared_hub: Hub, row: Row) -> None:
    for body in ([], 3, None, "text", True, [{}]):
        refused = send(shared_hub, row, body).of(400)
        assert refused["error"] == "Validation failed", body
        assert len(refused["details"]) == 1


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("POST /api/queue/claim", {"workerId": 5, "leaseDurationSec": 0}),
        ("POST /api/queue/claim", {"leaseDurationSec": 601, "max": 0, "waitSec": -1}),
        ("POST /api/queue/claim", {"max": 101, "waitSec": 61, "onLoss": "panic", "provides": "machine"}),
        ("POST /api/queue/x1/renew", {"workerId": [], "extendSec": 601}),
        ("POST /api/queue/x1/renew", {"extendSec": 0, "token": "x"}),
        ("POST /api/queue/x1/release", {"workerId": {}, "reason": 3, "token": -1}),
        ("POST /api/queue/x1/status", {"status": ""}),
        ("POST /api/queue/x1/status", {"status": None}),
        ("POST /api/result/x1", {"success": "yes", "durationMs": -1}),
        ("POST /api/daemon/register", {"capabilities": [], "pollInterval": 999}),
        ("POST /api/daemon/register", {"capabilities": "x", "pollInterval": 300_001, "daemonId": ""}),
        ("POST /api/daemon/register", {"registeredAt": "yesterday"}),
        ("POST /api/daemon/register", {"registeredAt": "2026-02-04T14:13:28.213"}),
        ("POST /api/daemon/heartbeat", {"status": "fine", "tasksProcessed": -1}),
        ("POST /api/daemon/heartbeat", {"lastHeartbeat": "soon"}),
        ("POST /api/memory/save", {"role": "robot", "content": 5, "user_id": None}),
        ("POST /api/queue", {"content": None, "priority": 3, "onLoss": "maybe", "takeover": "always"}),
        ("POST /api/queue", {"maxAttempts": 0, "timeoutSec": 0, "delaySec": -1, "dedupKey": ""}),
        ("POST /api/queue", {"needs": [f"n{n}" for n in range(9)], "metadata": []}),
        ("POST /api/queue", {"needs": ["x" * 65]}),
        ("POST /api/queue", {"availableAt": "later"}),
        ("POST /api/queue/batch", {"tasks": {}}),
        ("POST /api/queue/batch", {"tasks": [{"content": "x"}] * 1001}),
        ("POST /api/results", {"results": "x"}),
        ("POST /api/results", {"results": [{"taskId": "a", "token": 1, "success": True}] * 101}),
        ("PUT /api/daemons/mini/settings", {"lateAfterSec": -1, "downAfterSec": "x", "expectedSleep": "nights"}),
        ("PUT /api/daemons/mini/settings", {"expectedSleep": [{"from": "23:00", "to": "07:00", "tz": "Mars/Base"}]}),
        ("PUT /api/daemons/mini/settings", {"expectedSleep": [{"from": "23:00\n", "to": "07:00", "tz": "UTC"}]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_a_wrong_shape_gives_one_entry_a_field(shared_hub: Hub, row: str, wrong: dict[str, Any]) -> None:
    known = ROWS[NAMES.index(row)]
    refused = send(shared_hub, known, {**known.body, **wrong}).of(400)
    assert refused["error"] == "Validation failed"
    assert sorted(detail.split(": ")[0] for detail in refused["details"]) == sorted(wrong)
    assert all(len(detail.split(": ", 1)[1]) > 3 for detail in refused["details"])


@pytest.mark.parametrize(
    ("row", "required"),
    [
        ("POST /api/queue", {"content"}),
        ("POST /api/queue/batch", {"tasks"}),
        ("POST /api/queue/x1/renew", {"workerId"}),
        ("POST /api/queue/x1/status", {"status"}),
        ("POST /api/result/x1", {"success"}),
        ("POST /api/results", {"results"}),
        ("POST /api/daemon/register", {"daemonId", "version", "capabilities", "pollInterval", "registeredAt"}),
        ("POST /api/daemon/heartbeat", {"daemonId", "status", "tasksProcessed", "lastHeartbeat"}),
        ("POST /api/memory/save", {"user_id", "channel", "role", "content"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_missing_field_is_named(shared_hub: Hub, row: str, required: set[str]) -> None:
    known = ROWS[NAMES.index(row)]
    refused = send(shared_hub, known, {}).of(400)
    assert refused["error"] == "Validation failed"
    assert {detail.split(": ")[0] for detail in refused["details"]} == required
    assert len(refused["details"]) == len(required)


@pytest.mark.parametrize("row", WRITES, ids=WRITE_NAMES)
def test_unknown_keys_are_ignored(hub: Hub, row: Row) -> None:
    plain = send(hub, row, row.body)
    more = send(hub, row, {**row.body, "unknownKey": {"deep": [1, None]}, "x" * 300: "y"})
    assert (plain.status // 100, plain.body.get("error")) == (more.status // 100, more.body.get("error"))


def test_integral_floats_pass_as_integers(hub: Hub) -> None:
    hub.post("/api/daemon/register", {**REGISTER, "pollInterval": 15000.0}).of(201)
    hub.post("/api/daemon/heartbeat", {**OLD_BEAT, "tasksProcessed": 3.0}).of(200)
    task_id = hub.enqueue(maxAttempts=2.0, timeoutSec=60.0)
    body = b'{"workerId":"w","leaseDurationSec":60.0,"max":1.0,"provides":["machine"]}'
    lease = hub.post("/api/queue/claim", body).of(200)["lease"]
    token = float(lease["token"])
    hub.post(f"/api/queue/{task_id}/renew", {"token": token, "extendSec": 30.0}).of(200)
    assert hub.beat("d2", running=[{"taskId": task_id, "token": token}], capacity=2.0).of(200)["lost"] == []
    item = {"taskId": task_id, "token": token, "success": True, "output": 60.0, "durationMs": 5.0}
    assert hub.post("/api/results", {"results": [item]}).of(200)["results"] == [{"taskId": task_id, "success": True}]
    assert hub.get(f"/api/result/{task_id}").of(200)["output"] == 60
    hub.put("/api/daemons/d2/settings", {"lateAfterSec": 60.0, "downAfterSec": 90.0}, key=ADMIN).of(200)


@pytest.mark.parametrize("value", [60.5, "60", True, [60]])
def test_what_is_no_integer_does_not_pass_as_one(shared_hub: Hub, value: Any) -> None:
    refused = shared_hub.post("/api/queue/claim", {"leaseDurationSec": value}).of(400)
    assert refused["details"][0].startswith("leaseDurationSec: ")


# ---- limits


def padded(size: int) -> bytes:
    body = b'{"content":"", "id":"big"}'
    return body.replace(b'""', b'"' + b"x" * (size - len(body)) + b'"')


def test_a_body_of_one_mebibyte_is_accepted_and_one_byte_more_is_not(hub: Hub) -> None:
    refused = hub.post("/api/queue", padded(MIB + 1)).of(413)
    assert refused == {"error": "Request body too large", "limitBytes": MIB}
    assert hub.pending() == []
    hub.post("/api/queue", padded(MIB)).of(201)
    assert len(hub.get("/api/queue/big").of(200)["content"]) > MIB - 100


@pytest.mark.parametrize("path", ["/api/result/r1", "/api/results"])
def test_a_result_may_have_eight_mebibytes(hub: Hub, path: str) -> None:
    hub.enqueue("r1")
    lease = hub.lease()

    def body(size: int) -> bytes:
        head = b'{"taskId":"r1","token":%d,"success":true,"output":"' % lease["token"]
        parts = (head, b'"}') if path.endswith("r1") else (b'{"results":[' + head, b'"}]}')
        return parts[0] + b"x" * (size - len(parts[0]) - len(parts[1])) + parts[1]

    assert hub.post(path, body(8 * MIB + 1)).of(413)["limitBytes"] == 8 * MIB
    hub.post(path, body(8 * MIB)).of(200)
    assert len(hub.get("/api/result/r1").of(200)["output"]) > 8 * MIB - 200


def test_a_body_in_chunks_has_the_same_limit(shared_hub: Hub) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared_hub.port, timeout=60)
    try:
        parts = (b"x" * 65536 for _ in range(17))
        connection.request("POST", "/api/queue", parts, {"X-API-Key": OWNER}, encode_chunked=True)
        assert connection.getresponse().status == 413
    finally:
        connection.close()


@pytest.mark.parametrize(("key", "status"), [(OWNER, 413), ("wrong", 401)])
def test_a_large_body_that_is_refused_gets_its_answer_on_a_connection_that_ends_too(hub: Hub, key, status) -> None:
    """`urllib` and proxies that speak HTTP/1.0 close after each request, and read nothing before they have sent all."""
    with closing(http.client.HTTPConnection("127.0.0.1", hub.port, timeout=60)) as line:
        line.request("POST", "/api/queue", b"x" * (6 << 20), {"X-API-Key": key, "Connection": "close"})
        assert line.getresponse().status == status


def test_a_body_that_is_cut_off_does_nothing(hub: Hub) -> None:
    body = b'{"content":"x"}'
    for cut in (0, 5, len(body) - 1):
        with socket.create_connection(("127.0.0.1", hub.port), timeout=60) as raw:
            head = f"POST /api/queue HTTP/1.1\r\nHost: h\r\nX-API-Key: {OWNER}\r\nContent-Length: {len(body)}\r\n\r\n"
            raw.sendall(head.encode() + body[:cut])
            raw.shutdown(socket.SHUT_WR)
            assert b" 201 " not in raw.recv(4096)
    assert hub.pending() == []


def test_memory_content_has_its_own_limit_in_bytes(hub: Hub) -> None:
    hub.post("/api/memory/save", MESSAGE | {"content": "x" * 65_536}).of(200)
    for content in ("x" * 65_537, "\u8a9e" * 21_846):  # cut, not refused
        hub.post("/api/memory/save", MESSAGE | {"content": content}).of(200)
    hub.post("/api/memory/save", MESSAGE | {"content": "\u8a9e" * 21_845}).of(200)


# ---- parameters and routes


@pytest.mark.parametrize(
    "path",
    [
        "/api/tasks?limit=0",
        "/api/tasks?limit=1001",
        "/api/tasks?limit=x",
        "/api/tasks?cursor=x",
        "/api/tasks?cursor=99999999999999999999~t1",
        "/api/tasks?status=lost",
        "/api/events?limit=0",
        "/api/events?limit=1001",
        "/api/events?level=loud",
        "/api/events?since=yesterday",
        "/api/events?cursor=x",
        "/api/incidents?limit=-1",
        "/api/incidents?cursor=x",
        "/api/memory/context/u?maxTokens=99",
        "/api/memory/context/u?maxTokens=4001",
        "/api/memory/context/u?maxTokens=1e3",
        "/api/memory/history/u?limit=0",
        "/api/memory/history/u?limit=101",
    ],
)
def test_a_wrong_parameter_is_named(shared_hub: Hub, path: str) -> None:
    refused = shared_hub.get(path).of(400)
    assert refused["error"] == "Validation failed"
    assert refused["details"][0].split(": ")[0] == re.findall(r"\?(\w+)=", path)[0]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/api/queue"),
        ("DELETE", "/api/queue"),
        ("PUT", "/api/queue/x1"),
        ("GET", "/api/results"),
        ("POST", "/api/tasks"),
        ("POST", "/health"),
        ("OPTIONS", "/api/queue"),
        ("GET", "/api"),
        ("GET", "/api/queue/x1/renew"),
        ("GET", "/../etc/passwd"),
    ],
)
def test_unknown_routes_and_methods_are_not_found(shared_hub: Hub, method: str, path: str) -> None:
    assert shared_hub.client.call(method, path).of(404) == {"error": "Not found"}


def test_settings_where_down_comes_before_late_are_refused(hub: Hub) -> None:
    hub.beat().of(200)
    odd = SETTINGS | {"lateAfterSec": 60, "downAfterSec": 59}
    hub.put("/api/daemons/mini/settings", odd, key=ADMIN).of(400)


def test_instants_are_accepted_with_any_zone_and_shown_in_utc(hub: Hub) -> None:
    hub.enqueue("z", availableAt="2030-01-01T09:00:00+09:00")
    assert hub.task("z")["availableAt"] == "2030-01-01T00:00:00.000Z"
