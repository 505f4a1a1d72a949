"""A conversation belongs to the key that named it, and to those it is rotated to, unless the key has `memory`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from tests.api.hubs import Hub
from tests.api.wire import ADMIN, OWNER
from tests.older_stores import add_row, store_of_schema
from understudy.worker.executors import TaskToRun
from understudy.worker.executors.prompt import conversation_of

TALK = {"conversation": {"channel": "slack", "user_id": "U1"}}
WAYS = (TALK, {"conversation": "slack:U1"}, {"metadata": {"channel": "slack", "user_id": "U1"}})


def key_of(hub: Hub, *scopes: str) -> Any:
    return hub.post("/api/keys", {"name": "n", "scopes": list(scopes or ("submit",))}, key=ADMIN).of(201)


def ask(hub: Hub, key: str, question: str, answer: str = "", **fields: Any) -> Any:
    """Enqueue with this key, claim, answer; the task as the worker got it."""
    hub.clock.advance(1000)
    task_id = hub.post("/api/queue", {"content": question, **fields}, key=key).of(201)["taskId"]
    claimed = hub.claim("w", max=1)
    assert claimed["taskId"] == task_id
    hub.clock.advance(1000)
    hub.result(task_id, token=claimed["lease"]["token"], success=True, output=answer or f"to {question}").of(200)
    return claimed["task"]


def session_of(task: Any) -> str:
    """The conversation by which a daemon keeps an assistant's session."""
    return conversation_of(msgspec.convert({"content": "", **task}, TaskToRun, strict=False))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_submit_key_neither_reads_nor_writes_what_others_said(hub: Hub, way: dict[str, Any]) -> None:
    ask(hub, OWNER, "the secret", **TALK)
    spy = key_of(hub)["key"]
    seen = ask(hub, spy, "what was said?", "poison", **way)
    assert seen["context"] == ""
    assert "poison" not in hub.get("/api/memory/context/U1").of(200)["context"]
    assert "poison" not in ask(hub, OWNER, "and now?", **TALK)["context"]
    other = key_of(hub)["key"]
    assert ask(hub, other, "what was said?", **way)["context"] == ""
    assert "what was said?" in ask(hub, spy, "again", **way)["context"]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_daemon_resumes_no_session_of_another_key(hub: Hub, way: dict[str, Any]) -> None:
    sessions = [session_of(ask(hub, key, "q", **way)) for key in (OWNER, key_of(hub)["key"], key_of(hub)["key"])]
    assert len(set(sessions)) == 3
    assert sessions[0] == "slack:U1"


def test_no_name_reaches_the_conversation_of_another_key(hub: Hub) -> None:
    victim, spy = key_of(hub), key_of(hub)
    session = session_of(ask(hub, victim["key"], "mine", **TALK))
    for channel, user in (("slack", f"{victim['id']}/U1"), (f"slack:{victim['id']}/U1", "x"), ("", session)):
        task = ask(hub, spy["key"], "q", conversation={"channel": channel, "user_id": user})
        assert task["context"] == ""
        assert session_of(task) != session


def test_a_key_with_memory_shares_the_conversation_of_all(hub: Hub) -> None:
    ask(hub, OWNER, "shared", **TALK)
    key = key_of(hub, "submit", "memory")["key"]
    assert "shared" in ask(hub, key, "q", **TALK)["context"]


def test_old_daemons_keep_memory_under_the_keys_own_name(hub: Hub) -> None:
    spy = key_of(hub)
    task_id = hub.post("/api/queue", {"content": "q", "metadata": {"user_id": {"id": 7}}}, key=spy["key"]).of(201)
    claimed = hub.claim("daemon_x_1700000000000")
    assert claimed["taskId"] == task_id["taskId"]
    assert claimed["task"]["metadata"]["user_id"] == f"{spy['id']}/7"


def test_a_task_id_that_comes_again_overwrites_no_message(hub: Hub) -> None:
    hub.post("/api/memory/save", {"id": "t:answer", "user_id": "U1", "channel": "c", "role": "user", "content": "kept"})
    ask(hub, key_of(hub)["key"], "q", id="t", **TALK)
    assert "kept" in hub.get("/api/memory/context/U1").of(200)["context"]


def test_forgetting_a_user_forgets_what_every_key_kept_of_them(hub: Hub) -> None:
    spy = key_of(hub)["key"]
    ask(hub, spy, "private", **TALK)
    assert hub.client.call("DELETE", "/api/memory/U1", key=OWNER).of(200)["deleted"] == 2
    assert ask(hub, spy, "q", **TALK)["context"] == ""


def test_a_submit_key_is_not_told_that_another_keys_task_is_the_same(hub: Hub) -> None:
    hub.post("/api/queue", {"id": "known", "content": "guess"}).of(201)
    hub.post("/api/queue", {"id": "known", "content": "guess"}, key=key_of(hub)["key"]).of(422)
    assert hub.post("/api/queue", {"id": "known", "content": "guess"}).of(200)["created"] is False


def test_a_rotated_key_keeps_tasks_deduplication_and_conversation(hub: Hub) -> None:
    first = key_of(hub)
    ask(hub, first["key"], "before", **TALK)
    body = {"content": "once", "dedupKey": "d"}
    task_id = hub.post("/api/queue", body, key=first["key"]).of(201)["taskId"]
    second = hub.post(f"/api/keys/{first['id']}/rotate", key=ADMIN).of(201)
    third = hub.post(f"/api/keys/{second['id']}/rotate", key=ADMIN).of(201)
    for key in (second["key"], third["key"]):
        assert hub.get(f"/api/tasks/{task_id}", key=key).of(200)["content"] == "once"
        assert hub.post("/api/queue", body, key=key).of(200) == {"success": True, "taskId": task_id, "created": False}
    hub.post(f"/api/keys/{first['id']}/revoke", key=ADMIN).of(200)
    hub.post(f"/api/tasks/{task_id}/cancel", key=third["key"]).of(200)
    assert "before" in ask(hub, third["key"], "after", **TALK)["context"]
    hub.get(f"/api/tasks/{task_id}", key=key_of(hub)["key"]).of(403)


@pytest.mark.sqlite
def test_keys_tasks_and_messages_of_an_older_store_get_their_owners(
    start_hub: Callable[..., Hub], tmp_path: Path
) -> None:
    path = tmp_path / "hub.db"
    with store_of_schema(4, path) as db:
        for key, scopes, to in (("k1", "submit", "k2"), ("k2", "submit", ""), ("m", "memory submit", "")):
            db.execute("INSERT INTO api_key VALUES (?, 'n', ?, ?, 1, 0, ?)", (key, f"hash of {key}", scopes, to))
        for task, submitter in (("t1", "k1"), ("t2", "k2"), ("t3", "m"), ("t4", "env:UNDERSTUDY_API_KEY")):
            add_row(db, "task", id=task, submitter=submitter, user_id="U1", status="queued")
            message = (f"{task}:ask", "U1", "slack", "user", task, "task", "", 1)
            db.execute("INSERT INTO memory VALUES (?, ?, ?, ?, ?, ?, ?, ?)", message)
        db.execute("INSERT INTO memory VALUES ('said', 'U1', 'slack', 'user', 'x', '', '', 1)")
    start_hub(path=path).begin_stop().result(60)
    with closing(sqlite3.connect(path)) as db:
        assert dict(db.execute("SELECT id, lineage FROM api_key")) == {"k1": "k1", "k2": "k1", "m": "m"}
        assert list(db.execute("SELECT submitter, memory_of FROM task ORDER BY id")) == [
            ("k1", "k1"),
            ("k1", "k1"),
            ("m", ""),
            ("env:UNDERSTUDY_API_KEY", ""),
        ]
        owners = dict(db.execute("SELECT id, owner FROM memory"))
    assert owners == {"t1:ask": "k1", "t2:ask": "k1", "t3:ask": "", "t4:ask": "", "said": ""}


@pytest.mark.parametrize("channel", ["SLACK", "İstanbul", "İ" * 128])  # in lower case an İ is two characters
def test_a_channel_is_found_by_the_name_that_it_was_saved_under(hub: Hub, channel: str) -> None:
    body = {"user_id": "U1", "channel": channel, "role": "user", "content": "kept"}
    hub.post("/api/memory/save", body).of(200)
    assert hub.get(f"/api/memory/history/U1?channel={quote(channel)}").of(200)["count"] == 1
