"""Section 0: no input whatever gives a 5xx, and what was accepted of it can be read again."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.api.hubs import Hub
from tests.api.rows import ROWS, Row
from tests.api.wire import ADMIN, OWNER
from understudy.api.fields import FIELDS_MAX
from understudy.wire.limits import BODY_BYTES_MAX


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


ODD = [
    b"",
    b" ",
    b"null",
    b'"\\ud800"',
    b'{"\\ud800": 1}',
    b"1e999",
    b"-1e999",
    b'{"workerId": "\\ud800", "content": "\\ud800", "status": "\\udfff", "output": "\\ud800", "user_id": "\\ud800"}',
    b'{"workerId": "\\u0000", "content": "a\\u0000b", "status": "\\u0000", "error": "\\u0000", "user_id": "\\u0000"}',
    b'{"token": 123456789012345678901234567890, "extendSec": 1e400, "success": 1e999, "content": 1e999}',
    b'{"token": 9007199254740993, "extendSec": -0.0, "leaseDurationSec": 1e300, "max": 1e18, "waitSec": -1e300}',
    nested(100),
    nested(1000),
    nested(100_000),
    b"[" * 100_000,
    b'{"content":"x","metadata":' + nested(200) + b"}",
    b'{"content":"x","metadata":' + nested(5000) + b"}",
    b'{"content":5,"workerId":5,"status":5,"success":5,"metadata":%s,"checkpoint":%s}' % (nested(900), nested(900)),
    b'{"content":"\\u0000","workerId":"\\u0000","success":true,"output":' + nested(900) + b"}",
    b'{"content":"x","metadata":{"n":' + b"9" * 400 + b"}}",
    b'{"content":"x","metadata":{"n":-' + b"9" * 30 + b"}}",
    b'{"content":"x","metadata":{"n":1.7976931348623157e308,"m":5e-324,"k":18446744073709551616}}',
    b'{"content":"x","conversation":{"channel":[1],"user_id":{"id":{"id":[]}}}}',
    b'{"content":"x","conversation":":","metadata":{"user_id":{"id":null},"channel":{}}}',
    b'{"content":"x","availableAt":"9999-12-31T23:59:59.999Z"}',
    b'{"content":"x","availableAt":"0001-01-01T00:00:00+14:00"}',
    b'{"content":"x","delaySec":1e308}',
    b'{"success":true,"output":' + b"9" * 5000 + b"}",
    b'{"status":"completed","output":"\\u0000\\ud83d\\ude00"}',
    b'{"user_id":1e308,"channel":"","role":"user","content":"","created_at":1e308,"id":"m"}',
    b'{"user_id":{},"channel":"","role":"user","content":"","created_at":"\\u0000","metadata":' + nested(300) + b"}",
    b'{"daemonId":"d","running":[{"taskId":"x1","token":1e3,"checkpoint":{"a":"\\u0000"}}],"loops":{"\\u0000":1}}',
    b'{"daemonId":"d","intervalSec":1e-300,"sleptSec":1e9,"seq":9007199254740991,"auth":' + nested(300) + b"}",
    b'{"daemonId":"\\ud800"}',
]
WRITES = [row for row in ROWS if row.method != "GET"]


@pytest.mark.parametrize("row", WRITES, ids=lambda row: f"{row.method} {row.path}")
def test_no_body_gives_a_server_error(shared_hub: Hub, row: Row) -> None:
    shared_hub.post("/api/queue", {"id": "x1", "content": "something to renew"})
    for body in ODD:
        answer = shared_hub.client.call(row.method, row.path, body, key=ADMIN)
        assert answer.status < 500, (body[:200], answer)


def test_what_was_accepted_of_it_can_be_read(hub: Hub) -> None:
    task_ids = []
    for body in ODD:
        answer = hub.post("/api/queue", body)
        if answer.status == 201:
            task_ids.append(answer.body["taskId"])
        hub.post("/api/memory/save", body)
        hub.post("/api/queue/heartbeat", body)
    assert task_ids
    for path in ("/api/queue", "/api/tasks", "/api/events", "/api/daemons", "/api/incidents", "/api/daemon/health"):
        hub.get(path).of(200)
    for task_id in task_ids:
        hub.get(f"/api/queue/{task_id}").of(200)
        hub.get(f"/api/tasks/{task_id}").of(200)
    while (answer := hub.claim())["success"]:
        assert answer["taskId"] in task_ids


def deepest(is_accepted: Callable[[int], bool]) -> int:
    low, high = 1, 100_000
    while low < high - 1:
        depth = (low + high) // 2
        low, high = (depth, high) if is_accepted(depth) else (low, depth)
    return low


def test_whatever_depth_is_accepted_of_a_task_can_be_claimed_and_read(hub: Hub) -> None:
    """The answers wrap a task deeper than the request did."""

    def enqueue(depth: int) -> bool:
        body = b'{"id":"d%d","content":"x","metadata":%s}' % (depth, nested(depth))
        return hub.post("/api/queue", body).status in (200, 201)

    assert deepest(enqueue) > 50
    pending = hub.pending()
    for task_id in pending:
        hub.get(f"/api/queue/{task_id}").of(200)
        hub.get(f"/api/tasks/{task_id}").of(200)
    hub.get("/api/tasks").of(200)
    for _ in pending:
        assert hub.lease(max=1)["taskId"] in pending


@pytest.mark.parametrize("field", ["output", "error", "usage"])
def test_whatever_depth_is_accepted_of_a_result_can_be_read(hub: Hub, field: str) -> None:
    def report(depth: int) -> bool:
        hub.enqueue(f"d{depth}")
        lease = hub.lease()
        body = b'{"token":%d,"success":true,"%s":%s}' % (lease["token"], field.encode(), nested(depth))
        return hub.result_of(lease["taskId"], body).status == 200

    hub.enqueue("d")
    assert deepest(report) > 50
    for task in hub.get("/api/tasks").of(200)["tasks"]:
        hub.get(f"/api/tasks/{task['id']}").of(200)
        if task["status"] == "done":
            hub.get(f"/api/result/{task['id']}").of(200)


def test_whatever_depth_is_accepted_of_a_checkpoint_can_be_read(hub: Hub) -> None:
    task_id = hub.enqueue()
    lease = hub.lease()

    def renew(depth: int) -> bool:
        body = b'{"token":%d,"checkpoint":%s,"progress":%s}' % (lease["token"], nested(depth), nested(depth))
        return hub.post(f"/api/queue/{task_id}/renew", body).status == 200

    depth = deepest(renew)
    assert depth > 50
    assert renew(depth)
    hub.get(f"/api/tasks/{task_id}").of(200)
    hub.post(f"/api/queue/{task_id}/release", {"token": lease["token"]}).of(200)
    assert hub.claim(max=1)["task"]["checkpoint"]


def test_whatever_depth_is_accepted_of_a_beat_can_be_read(hub: Hub) -> None:
    def beat(depth: int) -> bool:
        return hub.post("/api/queue/heartbeat", b'{"daemonId":"d","loops":%s}' % nested(depth)).status == 200

    depth = deepest(beat)
    assert depth > 50
    assert beat(depth)
    hub.get("/api/daemons").of(200)
    hub.get("/api/daemons/d").of(200)


@pytest.mark.parametrize(
    "odd",
    ["%00", "%FF", "%ED%A0%80", "+", "%", "%2", "'", "%22", "%25", "x" * 5000, "%0A", "&&&", "a=b=c"],
    ids=lambda odd: odd[:9],
)
def test_no_query_and_no_path_gives_a_server_error(shared_hub: Hub, odd: str) -> None:
    for path, names in (
        ("/api/tasks", ("status", "source", "q", "cursor", "limit")),
        ("/api/events", ("search", "level", "since", "cursor", "limit", "follow")),
        ("/api/incidents", ("cursor", "limit")),
        ("/api/memory/context/u", ("channel", "maxTokens")),
        ("/api/memory/history/u", ("channel", "limit")),
    ):
        for name in names:
            assert shared_hub.get(f"{path}?{name}={odd}").status < 500
    for path in ("/api/memory/context/{}", "/api/memory/history/{}", "/api/daemons/{}", "/api/queue/{}", "/{}"):
        assert shared_hub.get(path.format(odd)).status < 500


def test_what_follows_a_nul_is_remembered_too(hub: Hub) -> None:
    """SQLite ends a part of a text at its first NUL."""
    said = {"user_id": "u", "channel": "c", "role": "user", "content": "before\0after"}
    hub.post("/api/memory/save", said).of(200)
    assert "before\ufffdafter" in str(hub.get("/api/memory/context/u?channel=c").of(200))


GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\0" * 100,
    b"GET / HTTP/1.1\r\nX: \xff\r\n",
    b"POST /api/queue HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=ascii)
def test_what_is_no_http_leaves_the_hub_as_it_was(shared_hub: Hub, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", shared_hub.port), timeout=60) as raw:
        raw.sendall(garbage)
        raw.shutdown(socket.SHUT_WR)
        said = raw.recv(4096)
    assert not said.startswith(b"HTTP/1.1 5")
    shared_hub.get("/health").of(200)


@pytest.mark.parametrize(("length", "status"), [(15, 201), (BODY_BYTES_MAX + 1, 413)])
def test_a_length_of_thousands_of_digits_is_the_number_that_it_says(hub: Hub, length: int, status: int) -> None:
    """Python's `int` refuses so many digits, and a parser of HTTP does not."""
    head = f"POST /api/queue HTTP/1.1\r\nHost: h\r\nX-API-Key: {OWNER}\r\nContent-Length: {length:05000}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", hub.port), timeout=60) as line:
        line.sendall(head.encode() + b'{"content":"x"}')
        assert line.recv(4096).startswith(b"HTTP/1.1 %d " % status)
    assert "CRITICAL" not in hub.log.getvalue()


def test_an_endless_request_head_is_refused(hub):
    with socket.create_connection(("127.0.0.1", hub.port), timeout=60) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ")
        with suppress(ConnectionError):
            for _ in range(64):
                line.sendall(b"a" * 16_384)
        answer = b""
        with suppress(ConnectionError):
            answer = line.recv(4096)
    assert answer.startswith(b"HTTP/1.1 400") or answer == b""
    assert hub.client.call("GET", "/health").status == 200


def test_a_head_in_pieces_before_a_long_body_is_fine(hub):
    body = b'{"content": "' + b"x" * 300_000 + b'"}'
    head = f"POST /api/queue HTTP/1.1\r\nHost: x\r\nX-API-Key: {OWNER}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", hub.port), timeout=60) as line:
        line.sendall(head[:30])
        line.sendall(head[30:] + body)
        assert line.recv(4096).startswith(b"HTTP/1.1 201")


def test_endless_trailers_are_refused(hub):
    with socket.create_connection(("127.0.0.1", hub.port), timeout=60) as line:
        line.sendall(
            b"POST /api/queue HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Long: "
        )
        with suppress(ConnectionError):
            for _ in range(4096):  # more than the buffers of both sockets hold
                line.sendall(b"a" * 16_384)
            pytest.fail("64 MiB of trailers were taken")

            pytest.fail("4 MiB of trailers were taken")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"content":' + b"[" * 101 + b"]" * 101 + b"}", "body: Expected at most 100 levels of nesting"),
        (b"[" * 900_000, "body: Expected at most 100 levels of nesting"),
        (b'{"content":"x","metadata":[' + b"{}," * 200_000 + b"1]}", "body: Expected at most 200,000 values"),
        (b'{"content":"x","metadata":[' + b"1," * 400_001 + b"1]}", "body: Expected at most 200,000 values"),
        (b'{"content":"\\\\","metadata":' + b"[" * 101, "body: Expected at most 100 levels of nesting"),
    ],
    ids=["one level too many", "only brackets", "objects", "numbers", "after an escaped backslash"],
)
def test_a_body_too_deep_or_too_manifold_is_refused_before_it_is_parsed(hub: Hub, body: bytes, detail: str) -> None:
    assert hub.post("/api/queue", body).of(400)["details"] == [detail]


def test_a_query_of_too_many_fields_is_refused_and_not_ignored(hub: Hub) -> None:
    """A filter among them that did not count would show other tasks than were asked for."""
    for path in ("/api/queue", "/api/tasks", "/api/daemons/mini"):
        refused = hub.get(path + "?limit=1" + "&" * FIELDS_MAX).of(400)
        assert refused["details"] == ["query: Expected at most 64 fields"]
    hub.get("/api/tasks?limit=1" + "&" * (FIELDS_MAX - 1)).of(200)


def test_brackets_and_commas_in_texts_are_neither_levels_nor_values(hub: Hub) -> None:
    for text in ("[{," * 300_000, '\\"[' * 150_000, "\\" * 400_000 + "[" * 100_000):
        hub.post("/api/queue", {"content": text}).of(201)
    hub.post("/api/queue", b'{"content":"x","metadata":{"a":' + b"[" * 97 + b"]" * 97 + b"}}").of(201)
