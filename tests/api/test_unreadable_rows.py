"""Rows that cannot be read, of every table and column, in a real file: they break no list, no page and no request."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from msgspec.structs import astuple, replace

from tests.api.hubs import Hub
from tests.api.rows import ROWS
from tests.api.wire import ADMIN
from tests.store.conformance import filled
from understudy.api.app import ENDPOINTS
from understudy.coordinator.nouns import Policy, Task
from understudy.coordinator.routes import Route, Routes
from understudy.coordinator.takeover_nouns import TakeoverPolicy
from understudy.store.reading import WORDS
from understudy.store.sqlite import SqliteStore
from understudy.store.tables import TABLES

pytestmark = pytest.mark.sqlite  # PostgreSQL takes no word for a number, nor broken UTF-8
NOT_UTF8 = "CAST(x'ff41' AS TEXT)"
DAMAGE = {  # what a column may hold instead, by its declared type
    "TEXT": (
        "'no json'",
        "''",
        "'{\"a\":1e999}'",
        "'[123456789012345678901234567890]'",
        '\'[{"from":"00:00","to":"12:00","tz":"Mars/Base"}]\'',
        NOT_UTF8,
        "x'00ff'",
    ),
    "INTEGER": ("'soon'", "9223372036854775807", "-9223372036854775808", "1e30", "1.5", "x'00'", "1"),
    "BLOB": ("'text'", "x'41'", "5"),
}
ONLY_ONE = ("hearing", "takeover_state")
HOLDER = {  # which table the ids of a path are from
    "task_id": "task",
    "daemon_id:path": "daemon",
    "incident_id": "incident",
    "notice_id": "notice",
    "key_id": "api_key",
    "user_id:path": "memory",
}
STANDS_FOR = {"x1": "task", "mini": "daemon", "incident-1": "incident", "n1": "notice", "key-1": "api_key"}


def tables(db: sqlite3.Connection) -> dict[str, list[tuple[str, str, bool]]]:
    """(column, type, whether it is of the key) by table, as the file itself says."""
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        name: [(row[1], row[2], bool(row[5])) for row in db.execute(f"PRAGMA table_info({name})")]
        for name in names
        if not name.startswith("sqlite_")
    }


def good_rows(db: sqlite3.Connection) -> None:
    """One row of each table, which the bad ones are copies of."""
    for noun, table in TABLES.items():
        if table.name not in ONLY_ONE:
            row = astuple(replace(filled(noun), **({"dedup_key": ""} if noun is Task else {})))
            small = [min(value, 1_770_000_000_000) if isinstance(value, int) else value for value in row]
            db.execute(f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(row))})", small)
    db.execute("INSERT INTO event VALUES (1, 1, 'info', 'a', 'b', 'c', '{}', '', '')")


def spoil(path: Path) -> dict[str, list[str]]:
    """A copy of a row with each damage of each column, where the schema takes it; the first keys, by table."""
    with sqlite3.connect(path) as db:
        good_rows(db)
        made: dict[str, list[str]] = {}
        for table, columns in tables(db).items():
            made[table] = list(bad_copies(db, table, columns)) if table not in ONLY_ONE else []
    db.close()
    return made


def bad_copies(db: sqlite3.Connection, table: str, columns: list[tuple[str, str, bool]]) -> Iterator[str]:
    key = next(name for name, _, is_key in columns if is_key)
    (good,) = db.execute(f"SELECT {key} FROM {table}").fetchone()
    words = {name for noun in WORDS if noun in TABLES and TABLES[noun].name == table for name in WORDS[noun]}
    for spoilt, kind, _ in columns:
        for n, value in enumerate(DAMAGE[kind]):
            new_key = f"'{table}-{spoilt}-{n}'" if table != "event" else str(2 + 100 * n + len(spoilt))
            instead = {"hash": f"'{table}{spoilt}{n}'", key: new_key} if table == "api_key" else {key: new_key}
            if spoilt != key:
                instead[spoilt] = value
            elif value == NOT_UTF8:
                instead[spoilt] = f"CAST(x'ff' || '{table}' AS TEXT)"
            copied = ", ".join(instead.get(name, name) for name, _, _ in columns)
            db.execute(f"PRAGMA ignore_check_constraints = {int(spoilt in words)}")
            try:
                db.execute(f"INSERT INTO {table} SELECT {copied} FROM {table} WHERE {key} = ?", (good,))
            except sqlite3.IntegrityError:  # the schema refuses it
                continue
            yield new_key.strip("'")


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    path = tmp_path_factory.mktemp("spoilt") / "hub.db"
    SqliteStore(path).close()
    return path, spoil(path)


@pytest.fixture
def hub(spoilt: tuple[Path, dict[str, list[str]]], start_hub: Callable[..., Hub], tmp_path: Path) -> Hub:
    copy = tmp_path / "hub.db"
    copy.write_bytes(spoilt[0].read_bytes())
    routes = Routes(("ops",), (Route(("ops",)),))
    started = start_hub(path=copy, policy=Policy(routes=routes, takeover=TakeoverPolicy(mode="answer")))
    started.client.is_spoilt = True
    return started


def said_wrong(hub: Hub) -> list[str]:
    return [line for line in hub.log.getvalue().splitlines() if "Internal" in line or "could not" in line]


def test_every_page_is_answered_beside_rows_that_cannot_be_read(hub: Hub, spoilt: Any) -> None:
    asked = 0
    for endpoint in (row for row in ENDPOINTS if row.method == "GET"):
        before, brace, name = endpoint.path.partition("{")
        keys = spoilt[1][HOLDER[name.rstrip("}")]][:: 2 if "task" in name else 3] if brace else [""]
        assert keys
        for key in keys:
            answer = hub.get(before + quote(key), key=ADMIN)
            assert answer.status < 500, (before, key, answer.text)
            asked += 1
    assert asked > 300
    assert not said_wrong(hub)


@pytest.mark.parametrize("text", ["e", "é", "no such text"])
def test_every_search_is_answered_beside_rows_that_cannot_be_read(hub: Hub, text: str) -> None:
    found = hub.get(f"/api/tasks?q={quote(text)}", key=ADMIN)
    assert found.status == 200, found.text
    events = hub.get(f"/api/events?search={quote(text)}", key=ADMIN)
    assert events.status == 200, events.text
    assert not said_wrong(hub)


def test_every_change_of_a_row_that_cannot_be_read_is_answered(hub: Hub, spoilt: Any) -> None:
    changes = [row for row in ROWS if row.method != "GET" and any(name in row.path for name in STANDS_FOR)]
    for row in changes:
        name = next(name for name in STANDS_FOR if name in row.path)
        for key in spoilt[1][STANDS_FOR[name]][::11]:
            answer = hub.client.call(row.method, row.path.replace(name, quote(key)), row.body, key=ADMIN)
            assert answer.status < 500, (row.method, row.path, key, answer.text)
    assert not said_wrong(hub)


def test_beats_claims_and_rings_go_on_beside_rows_that_cannot_be_read(hub: Hub, spoilt: Any) -> None:
    for daemon in spoilt[1]["daemon"]:
        assert hub.beat(daemon, boot="b", machine="").status < 500, daemon
    good = hub.enqueue("good")
    answer = hub.claim("w", max=100, provides=["machine", "値 needs '\""])
    assert good in [item["task"]["id"] for item in answer["tasks"]]
    hub.advance(10_000)
    assert not said_wrong(hub)
    told = [event["fields"]["row"] for event in hub.events("hub.unjudged")]
    assert {"task", "daemon", "directive"} <= set(told)
    assert hub.get("/ready", key=None).body["store"]["unreadable"] > 0
