"""Section 0: keys, scopes, addresses that guess."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.api.hubs import Hub, LoopThread
from tests.api.rows import NAMES, ROWS, SCOPES, Row
from tests.api.wire import ADMIN, OWNER
from tests.waiting import eventually
from understudy.api import auth, context
from understudy.errors import UnavailableError
from understudy.hub import bounds

OWNER_NAMES = ("UNDERSTUDY_API_KEY", "ASSISTANT_API_KEY", "QUEUE_API_KEY", "WORKERS_API_KEY")


@pytest.fixture(scope="module")
def guarded(loop_thread: LoopThread, endings: list[Future[None]]) -> Iterator[tuple[Hub, dict[str, str]]]:
    """A hub, and a key for each scope."""
    hub = Hub(loop_thread)
    keys = {
        scope: hub.post("/api/keys", {"name": scope, "scopes": [scope]}, key=ADMIN).of(201)["key"] for scope in SCOPES
    }
    yield hub, keys
    endings.append(hub.begin_stop())


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_each_row_is_for_its_scopes_only(guarded: tuple[Hub, dict[str, str]], row: Row) -> None:
    hub, keys = guarded
    for scope in (*row.may.split(), "admin"):
        answer = hub.client.call(row.method, row.path, row.body, key=keys[scope])
        assert answer.status not in (401, 403) or answer.body.get("code") != "scope", (scope, answer)
        assert answer.status != 401
    for scope in row.refused:
        answer = hub.client.call(row.method, row.path, row.body, key=keys[scope])
        assert answer.of(403) == {"error": "Forbidden", "code": "scope"}, scope


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_each_row_is_refused_without_a_key(shared_hub: Hub, row: Row) -> None:
    assert shared_hub.client.call(row.method, row.path, row.body, key=None).of(401) == {"error": "Unauthorized"}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nothing"), ("GET", "/api/nothing"), ("PATCH", "/api/queue"), ("POST", "/metrics")]
)
def test_unknown_routes_are_not_shown_to_strangers(shared_hub: Hub, method: str, path: str) -> None:
    assert shared_hub.client.call(method, path, key=None).of(401) == {"error": "Unauthorized"}
    assert shared_hub.client.call(method, path, key=OWNER).of(404) == {"error": "Not found"}
    assert shared_hub.client.call(method, path, key=ADMIN).of(404) == {"error": "Not found"}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": OWNER},
        {"x-api-key": OWNER},
        {"Authorization": f"Bearer {OWNER}"},
        {"Authorization": f"bearer {OWNER}"},
    ],
    ids=["X-API-Key", "x-api-key", "Bearer", "bearer"],
)
def test_a_key_comes_in_either_header(shared_hub: Hub, headers: dict[str, str]) -> None:
    shared_hub.client.call("GET", "/api/queue", key=None, headers=headers).of(200)


@pytest.mark.parametrize("names", [("Authorization", "X-API-Key"), ("X-API-Key", "Authorization")])
def test_its_own_header_counts_before_one_that_may_be_meant_for_a_proxy(
    shared_hub: Hub, names: tuple[str, str]
) -> None:
    headers = {name: OWNER if name == "X-API-Key" else "Bearer of-a-proxy" for name in names}
    call = shared_hub.client.call
    call("GET", "/api/queue", key=None, headers=headers).of(200)
    call("POST", "/api/queue/heartbeat", {"workerId": "w"}, key=None, headers=headers).of(200)


@pytest.mark.parametrize("name", ["key", "apiKey", "api_key", "X-API-Key", "access_token"])
def test_a_key_in_the_query_string_counts_for_nothing(shared_hub: Hub, name: str) -> None:
    shared_hub.get(f"/api/queue?{name}={OWNER}", key=None).of(401)


@pytest.mark.parametrize("key", ["", " ", "wrong", OWNER[:-1], OWNER + "x", OWNER.upper(), "x" * 5000, "clé"])
def test_a_wrong_key_is_unauthorized(hub: Hub, key: str) -> None:
    assert hub.get("/api/queue", key=None, headers={"X-API-Key": key}).of(401) == {"error": "Unauthorized"}


def test_every_environment_key_works_beside_the_others(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(keys={name: f"secret-of-{name}" for name in (*OWNER_NAMES, "ADMIN_API_KEY")})
    for name in OWNER_NAMES:
        key = f"secret-of-{name}"
        task_id = hub.post("/api/queue", {"content": "x"}, key=key).of(201)["taskId"]
        assert hub.post("/api/queue/claim", {}, key=key).of(200)["taskId"] == task_id
        hub.get("/api/memory/context/u", key=key).of(200)
        hub.get("/api/events", key=key).of(200)
        hub.get("/api/keys", key=key).of(403)
    hub.get("/api/keys", key="secret-of-ADMIN_API_KEY").of(200)
    hub.post("/api/queue", {"content": "x"}, key="secret-of-ADMIN_API_KEY").of(201)


@pytest.mark.parametrize("first", ["ADMIN_API_KEY", "UNDERSTUDY_API_KEY"])
def test_one_value_for_two_environment_keys_has_the_rights_of_both(start_hub: Callable[..., Hub], first: str) -> None:
    names = sorted(("ADMIN_API_KEY", "UNDERSTUDY_API_KEY"), key=lambda name: name != first)
    hub = start_hub(keys=dict.fromkeys(names, "the-same-secret"))
    hub.get("/api/keys", key="the-same-secret").of(200)
    hub.post("/api/queue", {"content": "x"}, key="the-same-secret").of(201)


@pytest.fixture(autouse=True)
def _no_answer_is_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second each for more than forty answers; test_guessing shows that they are kept back."""
    monkeypatch.setattr(auth, "HOLD_MS", 0)


def test_beyond_twenty_wrong_keys_a_minute_an_address_waits(hub: Hub) -> None:
    for n in range(20):
        assert hub.get("/api/queue", key=f"guess {n}").status == 401, n
    refused = hub.get("/api/queue", key="guess 21")
    assert refused.of(429)["error"] == "Too Many Requests"
    assert refused.headers["retry-after"] == str(refused.body["retryAfter"])
    assert 1 <= refused.body["retryAfter"] <= 60
    hub.clock.advance(refused.body["retryAfter"] * 1000 - 1)
    hub.get("/api/queue", key="guess 22").of(429)
    hub.clock.advance(1)
    hub.get("/api/queue", key="guess 23").of(401)


def test_a_right_key_is_never_refused_for_its_address(hub: Hub) -> None:
    for n in range(40):
        hub.get("/api/nothing", key=f"guess {n}")
        hub.get("/api/queue").of(200)
        hub.post("/api/queue/heartbeat", {"workerId": "daemon_mini_1738591000000"}).of(200)


def test_a_missing_key_is_no_guess(hub: Hub) -> None:
    for _ in range(30):
        hub.get("/api/queue", key=None).of(401)
    hub.get("/api/queue", key="a first guess").of(401)


def test_the_key_is_looked_at_before_anything_else(hub: Hub) -> None:
    for body in (b"{", b"x" * 2_000_000, {"status": 5}):
        hub.post("/api/queue/not%20an%20id/status", body, key="wrong").of(401)
    key = hub.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201)["key"]
    hub.post("/api/queue/not%20an%20id/status", b"{", key=key).of(403)


def test_the_rate_limit_comes_before_the_path_and_the_body(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(per_s=1, burst=1)
    hub.get("/api/queue").of(200)
    hub.get("/api/queue/not%20an%20id").of(429)
    hub.post("/api/queue", b"{").of(429)


@pytest.mark.parametrize("body", [b"{", b"x" * 2_000_000, {"status": 5}], ids=["not JSON", "too large", "wrong shape"])
def test_the_id_in_the_path_comes_before_the_body(hub: Hub, body: object) -> None:
    refused = hub.post("/api/queue/not%20an%20id/status", body).of(400)
    assert refused["error"] == "Invalid taskId format"
    assert len(refused["details"]) == 1


# ---- stored keys


def test_a_new_key_is_good_at_once_and_its_secret_is_shown_once(hub: Hub) -> None:
    for n in range(20):
        made = hub.post("/api/keys", {"name": f"phone {n}", "scopes": ["read", "work"]}, key=ADMIN).of(201)
        assert made["name"] == f"phone {n}"
        assert sorted(made["scopes"]) == ["read", "work"]
        hub.get("/api/queue", key=made["key"]).of(200)
        listed = hub.get("/api/keys", key=ADMIN)
        assert made["id"] in [key["id"] for key in listed.of(200)["keys"]]
        assert made["key"] not in listed.text


def test_a_revoked_key_is_refused_at_once(hub: Hub) -> None:
    for _ in range(20):
        made = hub.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201)
        hub.get("/api/queue", key=made["key"]).of(200)
        hub.post(f"/api/keys/{made['id']}/revoke", key=ADMIN).of(200)
        hub.get("/api/queue", key=made["key"]).of(401)
        hub.clock.advance(60_000)  # the refusals are no guesses of one minute


def test_a_key_revoked_while_keys_cannot_be_read_is_refused_as_soon_as_they_can(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revocation is on disk: an answer 503 must not leave the key valid until somebody changes another one."""
    made = hub.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201)

    async def fail(*_: Any, **__: Any) -> Any:
        raise UnavailableError("The hub is overloaded")

    with monkeypatch.context() as overloaded:
        overloaded.setattr(hub.runtime, "view", fail)
        hub.post(f"/api/keys/{made['id']}/revoke", key=ADMIN).of(503)
    eventually(lambda: hub.get("/api/queue", key=made["key"]).status == 401)


@pytest.mark.parametrize("framing", ["content-length: 16", "transfer-encoding: chunked"])
def test_a_key_that_is_revoked_while_a_body_comes_asks_for_nothing_any_more(hub: Hub, framing: str) -> None:
    """Else a thief would keep requests without their ends, and complete them minutes after the revocation."""
    made = hub.post("/api/keys", {"name": "n", "scopes": ["submit"]}, key=ADMIN).of(201)
    body = b'{"content": "x"}'
    with socket.create_connection(("127.0.0.1", hub.port), 30) as line:
        line.sendall(f"POST /api/queue HTTP/1.1\r\nhost: h\r\nx-api-key: {made['key']}\r\n{framing}\r\n\r\n".encode())
        eventually(lambda: any(one._in_body for one in [*hub.crowd._known]), what="the head was read")  # type: ignore[attr-defined]
        hub.post(f"/api/keys/{made['id']}/revoke", key=ADMIN).of(200)
        line.sendall(b"10\r\n%s\r\n0\r\n\r\n" % body if "chunked" in framing else body)
        assert line.recv(4096).split(b" ")[1] == b"401"
    assert hub.pending() == []


def test_revoking_twice_is_the_same_as_once(hub: Hub) -> None:
    made = hub.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201)
    first = hub.post(f"/api/keys/{made['id']}/revoke", key=ADMIN).of(200)
    hub.clock.advance(5000)
    assert hub.post(f"/api/keys/{made['id']}/revoke", key=ADMIN).of(200) == first


def test_a_rotated_key_has_a_successor_with_its_name_and_scopes(hub: Hub) -> None:
    old = hub.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201)
    new = hub.post(f"/api/keys/{old['id']}/rotate", key=ADMIN).of(201)
    assert new["key"] != old["key"]
    assert (new["name"], new["scopes"]) == (old["name"], old["scopes"])
    hub.get("/api/queue", key=new["key"]).of(200)
    hub.get("/api/keys", key=new["key"]).of(403)


def test_several_keys_are_valid_at_once_and_one_does_not_revoke_another(hub: Hub) -> None:
    made = [hub.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201) for _ in range(3)]
    hub.post(f"/api/keys/{made[0]['id']}/revoke", key=ADMIN).of(200)
    assert [hub.get("/api/queue", key=key["key"]).status for key in made] == [401, 200, 200]


@pytest.mark.parametrize("verb", ["revoke", "rotate"])
def test_an_unknown_key_cannot_be_revoked_or_rotated(hub: Hub, verb: str) -> None:
    hub.post(f"/api/keys/key-unknown/{verb}", key=ADMIN).of(404)
    hub.post(f"/api/keys/not%20an%20id/{verb}", key=ADMIN).of(400)


def test_a_key_beyond_the_bound_is_refused_and_those_before_it_are_good(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (bounds, context):
        monkeypatch.setattr(module, "KEYS_MAX", 2)
    create = lambda: hub.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN)  # noqa: E731
    for _ in range(4):
        hub.post(f"/api/keys/{create().of(201)['id']}/revoke", key=ADMIN).of(200)
    made = [create().of(201) for _ in range(2)]
    assert create().of(507)["code"] == "too_many_keys"
    assert hub.post(f"/api/keys/{made[0]['id']}/rotate", key=ADMIN).of(507)["code"] == "too_many_keys"
    assert [hub.get("/api/queue", key=key["key"]).status for key in made] == [200, 200]


def test_a_revoked_key_is_not_rotated_to_life(hub: Hub) -> None:
    made = hub.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201)
    hub.post(f"/api/keys/{made['id']}/revoke", key=ADMIN).of(200)
    assert hub.post(f"/api/keys/{made['id']}/rotate", key=ADMIN).of(409)["code"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "n"},
        {"name": "n", "scopes": []},
        {"name": "n", "scopes": ["root"]},
        {"name": "", "scopes": ["read"]},
    ],
    ids=str,
)
def test_a_key_without_a_name_or_with_odd_scopes_is_refused(shared_hub: Hub, body: object) -> None:
    assert shared_hub.post("/api/keys", body, key=ADMIN).of(400)["error"] == "Validation failed"


@pytest.mark.sqlite
def test_no_secret_is_on_disk(start_hub: Callable[..., Hub], tmp_path: Path) -> None:
    hub = start_hub(path=tmp_path / "hub.db")
    made = hub.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201)
    hub.get("/api/queue", key=made["key"]).of(200)
    hub.begin_stop().result(60)
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert made["id"].encode() in written
    for secret in (made["key"], OWNER, ADMIN):
        assert secret.encode() not in written
        assert secret not in hub.log.getvalue()


def test_keys_outlive_the_hub(start_hub: Callable[..., Hub], tmp_path: Path) -> None:
    first = start_hub(path=tmp_path / "hub.db")
    good, bad = (first.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201) for _ in range(2))
    first.post(f"/api/keys/{bad['id']}/revoke", key=ADMIN).of(200)
    first.begin_stop().result(60)
    second = start_hub(path=tmp_path / "hub.db")
    second.get("/api/queue", key=good["key"]).of(200)
    second.get("/api/queue", key=bad["key"]).of(401)


# ---- what a submitter may do


def test_a_submitter_reads_and_steers_only_what_it_submitted(guarded: tuple[Hub, dict[str, str]]) -> None:
    hub, keys = guarded
    mine = hub.post("/api/queue", {"content": "mine"}, key=keys["submit"]).of(201)["taskId"]
    other = hub.post("/api/queue", {"content": "not mine"}).of(201)["taskId"]
    assert hub.get(f"/api/queue/{mine}", key=keys["submit"]).of(200)["content"] == "mine"
    assert hub.get(f"/api/tasks/{mine}", key=keys["submit"]).of(200)["content"] == "mine"
    for method, path in (
        ("GET", f"/api/queue/{other}"),
        ("GET", f"/api/tasks/{other}"),
        ("GET", f"/api/result/{other}"),
        ("POST", f"/api/tasks/{other}/cancel"),
        ("POST", f"/api/tasks/{other}/retry"),
        ("POST", f"/api/tasks/{other}/move"),
    ):
        answer = hub.client.call(method, path, key=keys["submit"])
        assert answer.status in (403, 404), (method, path, answer)
        assert "not mine" not in answer.text
    assert hub.get(f"/api/queue/{other}").of(200)["status"] == "pending"
    hub.post(f"/api/tasks/{mine}/cancel", key=keys["submit"]).of(200)
    assert hub.get(f"/api/result/{mine}", key=keys["submit"]).of(200)["success"] is False
