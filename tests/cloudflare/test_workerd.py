"""What this project takes for granted of the place that it runs in, seen in a real workerd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloudflare.place import Place
from tests.cloudflare.workerd import Workerd, understudy
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.real_worker


@pytest.fixture
def worker(place: Place, directory: Path) -> Iterator[Workerd]:
    """A Worker whose object runs the SQL that it is sent."""
    made = Workerd(place, directory, {"worker.py": Path(__file__).parent / "limits_worker.py"})
    made.start()
    yield made
    made.stop()


def _sql(worker: Workerd, sql: str, *values: Any) -> Any:
    """The rows, or the words of a refusal."""
    status, body = worker.ask("POST", "/sql", json.dumps({"sql": sql, "values": values}).encode())
    assert status == 200, worker.said()[-3000:]
    answer = json.loads(body)
    return answer.get("rows", answer.get("error"))


def test_the_storage_of_an_object_is_sqlite_with_limits(worker: Workerd) -> None:
    _sql(worker, "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, more BLOB) STRICT")
    assert _sql(worker, "INSERT INTO t (text) VALUES (?), (?) RETURNING id", "a", "b") == [[1], [2]]
    assert _sql(worker, "SELECT text, more, ? FROM t ORDER BY id", 1 << 40) == [
        ["a", "JsNull", 1 << 40],
        ["b", "JsNull", 1 << 40],
    ]
    assert _sql(worker, "SELECT value FROM json_each(?)", '["x","y"]') == [["x"], ["y"]]
    assert _sql(worker, "SELECT changes(), last_insert_rowid()") == [[2, 2]]
    assert _sql(worker, f"SELECT max({','.join('?' * 100)})", *range(100)) == [[99]]
    for refused in ("BEGIN", "SAVEPOINT a", "PRAGMA user_version", "PRAGMA user_version = 3"):
        assert isinstance(_sql(worker, refused), str), refused
    assert isinstance(_sql(worker, f"SELECT {','.join('?' * 101)}", *range(101)), str)

    worker.kill()
    worker.start()
    assert _sql(worker, "SELECT text FROM t ORDER BY id") == [["a"], ["b"]]


def test_a_request_that_cannot_be_sent_is_known_as_not_sent(place: Place, directory: Path) -> None:
    entry = {"worker.py": Path(__file__).parent / "fetching_worker.py"}
    worker = Workerd(place, directory, {**entry, **dict(understudy())})
    worker.start()

    def sent(method: str, url: str, headers: dict[str, str], body: str = "") -> Any:
        status, said = worker.ask("POST", "/send", json.dumps([method, url, headers, body]).encode())
        assert status == 200, worker.said()[-3000:]
        return json.loads(said)

    try:
        with FakeSlack() as slack:
            kind = {"content-type": "application/json; charset=utf-8"}
            assert sent("POST", slack.webhook, kind, '{"text": "あ"}')["status"] == 200
            for bad in ({"x-key": "a\nb"}, {"a b": "c"}):
                answer = sent("GET", slack.webhook, bad)
                assert (answer["was_sent"], answer["is_local"]) == (False, True)
            assert sent("a b", slack.webhook, {})["was_sent"] is False
    finally:
        worker.stop()
