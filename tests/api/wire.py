"""A tiny client: real sockets, nothing hidden, and two rules that hold for every answer of a hub."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from tests.api.schemas import check_answer, check_error, check_event

OWNER, ADMIN = "owner-key-of-the-tests", "admin-key-of-the-tests"


class _Nothing:
    def __repr__(self) -> str:
        return "no body"


NOTHING: Any = _Nothing()
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Answer(NamedTuple):
    """What came back; `of` is its body, if the status is the one expected."""

    status: int
    body: Any
    headers: Mapping[str, str]
    text: str

    def of(self, status: int) -> Any:
        assert self.status == status, f"{self.status}: {self.text[:500]}"
        return self.body


class Client:
    """One connection, kept alive; `call` sends exactly what it is given."""

    def __init__(self, port: int, *, key: str | None = OWNER, timeout_s: float = 30) -> None:
        self.key = key
        self.is_spoilt = False  # whether somebody has spoilt rows of the hub's store
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def call(
        self,
        method: str,
        path: str,
        body: Any = NOTHING,
        *,
        key: Any = NOTHING,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send JSON, or bytes as they are; `key` None sends none."""
        sent = dict(headers or {})
        key = self.key if key is NOTHING else key
        if key is not None:
            sent.setdefault("X-API-Key", key)
        payload = b"" if body is NOTHING else body if isinstance(body, bytes) else msgspec.json.encode(body)
        if body is not NOTHING:
            sent.setdefault("Content-Type", "application/json")
        try:
            self._connection.request(method, path, payload if method != "GET" or payload else None, sent)
            response = self._connection.getresponse()
            text = response.read().decode()
        except (http.client.HTTPException, OSError):
            self._connection.close()
            raise
        answer = Answer(response.status, _json(response, text), _Headers(response.getheaders()), text)
        if answer.status >= 400:
            check_refusal(method, path, answer)
        elif answer.body is not None and path.startswith("/api/"):
            check_answer(method, path, answer.status, answer.body, is_spoilt=self.is_spoilt)
        return answer

    def get(self, path: str, **more: Any) -> Answer:
        return self.call("GET", path, **more)

    def post(self, path: str, body: Any = NOTHING, **more: Any) -> Answer:
        return self.call("POST", path, body, **more)

    def put(self, path: str, body: Any = NOTHING, **more: Any) -> Answer:
        return self.call("PUT", path, body, **more)

    def delete(self, path: str, **more: Any) -> Answer:
        return self.call("DELETE", path, **more)

    def close(self) -> None:
        self._connection.close()


class Stream:
    """A stream of Server-Sent Events."""

    def __init__(self, port: int, path: str, *, last_id: str = "", key: str = OWNER) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        sent = {"X-API-Key": key, "Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        self._connection.request("GET", path, headers=sent)
        self.response = self._connection.getresponse()

    def next(self) -> tuple[str, Any]:
        """The next event: its SSE id ("" if it has none), and its data."""
        fields: dict[str, str] = {}
        while line := self.response.readline():
            text = line.decode().rstrip("\n")
            if not text and "data" in fields:
                event = msgspec.json.decode(fields["data"])
                check_event(event)
                return fields.get("id", ""), event
            name, _, value = text.partition(": ")
            fields[name] = value
        raise EOFError("the stream has ended")

    def until(self, name: str) -> tuple[str, Any]:
        """The next event of that name."""
        while True:
            event_id, event = self.next()
            if event["name"] == name:
                return event_id, event

    def rest(self) -> str:
        """All that is still to come, until its end."""
        return self.response.read().decode()

    def close(self) -> None:
        self.response.close()
        self._connection.close()


class _Headers(dict[str, str]):
    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__((name.lower(), value) for name, value in pairs)


def _json(response: http.client.HTTPResponse, text: str) -> Any:
    is_json = (response.getheader("content-type") or "").startswith("application/json")
    return msgspec.json.decode(text) if is_json else None


def check_refusal(method: str, path: str, answer: Answer) -> None:
    """Every error has `error` (for people); only what the HTTP parser itself refuses may be plain text."""
    if answer.status == 400 and answer.headers.get("content-type", "").startswith("text/plain"):
        return
    assert isinstance(answer.body, dict), answer
    if "ready" in answer.body:  # `/ready` has a shape of its own
        return
    check_error(method, path, answer.status, answer.body)
    assert answer.body["error"], answer


def at(text: str) -> int:
    """Epoch ms of an instant in exactly the form that the contract promises."""
    assert _INSTANT.fullmatch(text), text
    return round(datetime.fromisoformat(text).timestamp() * 1000)
