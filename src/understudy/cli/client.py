"""The commands' own HTTP client: one hub, one key, one connection; errors become sentences with the fix."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote, urlencode, urlsplit

from understudy import __version__
from understudy.backoff import Backoff
from understudy.cli.exits import AbsentError, ClientError, RefusedError, RejectedError, UnreachableError
from understudy.texts import t
from understudy.wire.causes import cause_of
from understudy.wire.dial import Server, TrustedCertificates, body_of
from understudy.wire.refusals import has_words
from understudy.wire.response import BoundedResponse

CONNECT_S = 5.0
HUNG_S = 12.0  # longer than a hub whose store hangs takes to say so
ANSWER_S = 25.0  # longer than a search may wait and take in a hub (runtime/hub/reading)
TRIES = 4
PAUSE_MS_FIRST, PAUSE_MS_MAX = 200, 1_600
RETRY_AFTER_S_MAX = 5.0
ANSWER_BYTES_MAX = 64 << 20
LIST_PARTS_MAX = 100  # of one list, whatever a hub says
ERROR_CHARS_MAX = 2_000  # of why the hub refuses: a person reads that
QUIET_S = 45.0  # a stream says something every 15 s (api/streams)
FULL = 507  # a refusal: trying again changes nothing
REDIRECTS = frozenset({301, 302, 303, 307, 308})  # not followed: the key goes nowhere else
HubAnswer = dict[str, Any]


class HubClient:
    """Speaks with one hub. `get` and whatever may be repeated are tried again, with backoff."""

    heard: ClassVar[str] = ""  # the hub that answered last: what a command stumbles over afterwards came from there

    def __init__(self, url: str, key: str = "", *, ca_file: str = "", answer_s: float = ANSWER_S) -> None:
        self.url = url
        self._prefix = ""
        self._ca_file = ca_file
        self._answer_s = answer_s
        self._headers = {"Accept": "application/json", "User-Agent": f"understudy-cli/{__version__}"}
        if key:
            self._headers["X-API-Key"] = key
        self._connection: http.client.HTTPConnection | None = None
        self.date = ""  # of the last answer, as the hub's machine sees it

    def get(self, path: str, **query: Any) -> HubAnswer:
        """The answer to a GET. ClientError."""
        shown = {name: value for name, value in query.items() if value not in (None, "")}
        return self.ask("GET", path + (f"?{urlencode(shown)}" if shown else ""), repeatable=True)

    def daemons(self, after: str = "") -> list[HubAnswer]:
        """All daemons or those after a cursor, also of a hub that lists them in parts. ClientError."""
        found = self.get("/api/daemons", cursor=after)
        rows: list[HubAnswer] = [*found.get("daemons", [])]
        for _ in range(LIST_PARTS_MAX):
            if not found.get("next"):
                break
            found = self.get("/api/daemons", cursor=found["next"])
            rows += found.get("daemons", [])
        return rows

    def post(
        self, path: str, body: Any = None, *, repeatable: bool = False, headers: Mapping[str, str] | None = None
    ) -> HubAnswer:
        """The answer to a POST; `repeatable` if doing it twice does no more than once. ClientError."""
        return self.ask("POST", path, body, repeatable=repeatable, headers=headers)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        repeatable: bool,
        headers: Mapping[str, str] | None = None,
    ) -> HubAnswer:
        """The JSON object that came with a 2xx. ClientError says what else happened and what to do."""
        tries = TRIES if repeatable else 1
        backoff = Backoff(PAUSE_MS_FIRST, PAUSE_MS_MAX, random.random)
        for number in range(1, tries + 1):
            try:
                return self._once(method, path, body, headers or {})
            except UnreachableError as error:
                if number == tries or error.fields.get("final"):
                    raise
                time.sleep(max(backoff.next_ms() / 1000, error.fields.get("retry_after_s", 0)))
        raise AssertionError("unreachable")

    def status_of(self, path: str) -> tuple[int, Any]:
        """Status and body of a GET, whatever they are, tried once. UnreachableError."""
        response, raw = self._exchange("GET", path, None, {})
        HubClient.heard = self.url
        return response.status, _decoded(raw)

    def stream(self, path: str, *, last_event_id: str = "", **query: Any) -> Iterator[bytes]:
        """The lines of a Server-Sent Event stream until it ends. ClientError; UnreachableError if it breaks."""
        shown = {name: value for name, value in query.items() if value not in (None, "")}
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        try:
            connection = self._connect()
            connection.request("GET", f"{self._prefix}{path}?{urlencode(shown)}", headers=self._headers | headers)
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise self._error(response, body_of(response, ANSWER_BYTES_MAX))
            HubClient.heard = self.url
            if isinstance(response, BoundedResponse):
                response.goes_on(QUIET_S)
            while line := response.readline(ANSWER_BYTES_MAX):
                yield line.rstrip(b"\r\n")
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(t("cli.client.unreachable", url=self.url, reason=cause_of(error))) from None
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _once(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> HubAnswer:
        response, raw = self._exchange(method, path, body, headers)
        HubClient.heard = self.url
        if not 200 <= response.status < 300:  # noqa: PLR2004
            raise self._error(response, raw)
        answer = _decoded(raw)
        if not isinstance(answer, dict):
            raise UnreachableError(t("cli.client.no_hub", url=self.url), final=True)
        return answer

    def _exchange(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        payload = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        more = {"Content-Type": "application/json"} if payload is not None else {}
        try:
            connection = self._connect()
            sent = self._headers | more | dict(headers)
            connection.request(method, self._prefix + path, payload, sent)
            response = connection.getresponse()
            raw = body_of(response, ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise UnreachableError(t("cli.client.unreachable", url=self.url, reason=cause_of(error))) from None
        self.date = response.headers.get("Date", "")
        if response.will_close or len(raw) > ANSWER_BYTES_MAX:
            self.close()
        if len(raw) > ANSWER_BYTES_MAX:
            raise ClientError(t("cli.client.too_much"))
        return response, raw

    def _connect(self) -> http.client.HTTPConnection:
        """The connection, opened when it is first needed. ValueError, OSError, HTTPException."""
        if self._connection is None:
            hub = Server(self.url, TrustedCertificates(self._ca_file))
            self._headers |= hub.headers
            self._prefix = hub.prefix + urlsplit(self.url).path
            self._connection = hub.connect(CONNECT_S, self._answer_s)
        return self._connection

    def _error(self, response: http.client.HTTPResponse, raw: bytes) -> ClientError:
        """The error for the person who typed the command."""
        body = _decoded(raw)
        said = body if isinstance(body, dict) else {}
        is_page = response.status == http.client.NOT_FOUND and not has_words(said)
        if is_page or response.status in REDIRECTS:  # of something between: it says nothing about what the hub has
            return UnreachableError(t("cli.client.no_hub", url=self.url), final=True)
        is_broken = response.status >= http.client.INTERNAL_SERVER_ERROR and response.status != FULL
        if is_broken or response.status == http.client.TOO_MANY_REQUESTS:
            return self._not_now(response, said)
        return self._refusal(response.status, said)

    def _not_now(self, response: http.client.HTTPResponse, said: dict[str, Any]) -> ClientError:
        """The hub, or what is before it, cannot answer at the moment: it says nothing about the request."""
        is_busy = response.status == http.client.TOO_MANY_REQUESTS
        text = "cli.client.too_often" if is_busy else "cli.client.unavailable"
        header = response.headers.get("Retry-After", "")[:9]
        asked = said.get("retryAfter", int(header) if header.isascii() and header.isdigit() else 0)
        message = _message(response.status, said)
        return UnreachableError(t(text, message=message), status=response.status, retry_after_s=_seconds(asked))

    def _refusal(self, status: int, said: dict[str, Any]) -> ClientError:
        """The hub's own refusal, or one by something before it that does not like the request."""
        from understudy.cli.forms import in_plain_words  # not for `up --help`

        message = _message(status, said)
        match status:
            case 401:
                return RefusedError(t("cli.client.unauthorized", url=self.url), status=401)
            case 403 if said.get("code") == "scope":
                return RefusedError(t("cli.client.scope"), code="scope")
            case 403 if not has_words(said):
                return RefusedError(t("cli.client.firewall", message=message))
            case 403:
                return RefusedError(t("cli.client.refused", message=message))
            case 404:
                return AbsentError(t("cli.client.absent", message=message), said=message)
        listed = said.get("details")
        details = "; ".join(in_plain_words(str(one)) for one in (listed if isinstance(listed, list) else ()))
        shown = (f"{message}: {details}" if details else message)[:ERROR_CHARS_MAX]
        return RejectedError(t("cli.client.rejected", message=shown), status=status, code=said.get("code"))


def path_of(*parts: str) -> str:
    """A path of the API with each part quoted. AbsentError for an empty one: it would name the whole list."""
    if not all(parts):
        raise AbsentError(t("cli.client.absent", message="Not found"), said="Not found")
    return "/api/" + "/".join(quote(part, safe="") for part in parts)


def _message(status: int, said: dict[str, Any]) -> str:
    return str(said["error"])[:ERROR_CHARS_MAX] if has_words(said) and said["error"] else f"HTTP {status}"


def _seconds(given: Any) -> float:
    return min(given, RETRY_AFTER_S_MAX) if isinstance(given, int | float) and given >= 0 else 0


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
