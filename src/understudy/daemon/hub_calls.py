"""Speaks HTTP with the hub: whatever goes wrong on the way is `Failed`, only JSON from the hub is an answer."""

from __future__ import annotations

import contextlib
import select
import weakref
from collections import deque
from http import HTTPStatus
from http.client import HTTPConnection
from urllib.parse import urlsplit

import msgspec

from understudy.errors import ConfigError
from understudy.texts import t
from understudy.wire.causes import cause_of
from understudy.wire.dial import TROUBLE, Cut, Server, TrustedCertificates, body_of
from understudy.wire.foreign_json import object_of
from understudy.wire.proxies import ProxyUnusableError
from understudy.wire.refusals import has_words
from understudy.worker.effects import TOO_LARGE_ON_THE_WAY, Call, Failed, HubAnswer

ANSWER_BYTES_MAX = 64 << 20  # a claim may bring several tasks of a MiB
CONNECT_S_MAX = 5.0
CONNECTIONS_MAX = 8


class HubCalls:
    """One hub, one key, kept connections. Threads may share it."""

    def __init__(self, hub_url: str, api_key: str, *, version: str, ca_file: str = "") -> None:
        self._url, self._ca_file = hub_url, ca_file
        try:
            self._hub = Server(hub_url, TrustedCertificates(ca_file))
        except ProxyUnusableError as error:
            raise ConfigError(t("daemon.bad_proxy", reason=error.strerror)) from None
        except ValueError:
            raise ConfigError(t("daemon.bad_hub_url", url=hub_url)) from None
        self._prefix = self._hub.prefix + urlsplit(hub_url).path.rstrip("/")
        self._headers = {
            "X-API-Key": api_key,
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"understudy-daemon/{version}",
            **self._hub.headers,
        }
        self._kept: deque[HTTPConnection] = deque()
        self._resets = 0
        weakref.finalize(self, _close_all, self._kept)
        self._cuts: dict[str, Cut] = {}

    def call(self, call: Call) -> HubAnswer | Failed:
        """Send it. Connecting, sending and the answer may take `timeout_ms` each; a long answer while it flows."""
        cut = self._cuts[call.abort] = Cut()
        try:
            return self._exchange(call, cut)
        except TROUBLE as error:
            self._hub = Server(self._url, TrustedCertificates(self._ca_file))  # certificates may have been renewed
            return Failed(cause_of(error))
        finally:
            self._cuts.pop(call.abort, None)

    def abort(self, name: str) -> None:
        """Cut the call of that name, if one is on its way."""
        if name and (cut := self._cuts.get(name)):
            cut.end()

    def reset(self) -> None:
        """Forget kept connections; calls on their way are not disturbed."""
        self._resets += 1
        _close_all(self._kept)

    def _exchange(self, call: Call, cut: Cut) -> HubAnswer | Failed:
        resets, is_kept = self._resets, False
        connection = _still_open(self._kept, call.timeout_ms / 1000) or self._connected(call.timeout_ms / 1000)
        try:
            cut.guard(connection.sock)
            connection.request(call.method, self._prefix + call.path, msgspec.json.encode(call.body), self._headers)
            response = connection.getresponse()
            raw = body_of(response, ANSWER_BYTES_MAX + 1)
            is_whole = not response.will_close and len(raw) <= ANSWER_BYTES_MAX
            is_kept = is_whole and len(self._kept) < CONNECTIONS_MAX
            return _answer(response.status, raw)
        finally:
            if is_kept and cut.let_go() and resets == self._resets:
                self._kept.append(connection)
            else:
                connection.close()

    def _connected(self, step_s: float) -> HTTPConnection:
        return self._hub.connect(min(CONNECT_S_MAX, step_s), step_s)


def _close_all(kept: deque[HTTPConnection]) -> None:
    with contextlib.suppress(IndexError):
        while True:
            kept.pop().close()


def _still_open(kept: deque[HTTPConnection], step_s: float) -> HTTPConnection | None:
    """A connection that was kept and that nothing has come on since: neither an end nor what nobody asked for."""
    with contextlib.suppress(IndexError):
        while True:
            connection, idle = kept.pop(), select.poll()
            idle.register(connection.sock, select.POLLIN)
            if not idle.poll(0):
                connection.sock.settimeout(step_s)
                return connection
            connection.close()
    return None


def _answer(status: int, raw: bytes) -> HubAnswer | Failed:
    """Never let an error look like an answer: what is not a JSON object is `Failed` (a captive portal, say).

    Nor a proxy's refusal like the hub's, which has a sentence as its `error`: finished work would be given up for it.
    Only that a request is too large is the same from either: what is sent next must be smaller.
    """
    if len(raw) > ANSWER_BYTES_MAX:
        return Failed("answer too large")
    body = object_of(raw, is_from_hub=True)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and not (body and has_words(body)):
        return HubAnswer(status, {"error": "Request body too large", "code": TOO_LARGE_ON_THE_WAY})
    if body is None:
        return Failed(f"status {status}, not a JSON object", status=status)
    if status >= 300 and not has_words(body):  # noqa: PLR2004 - beyond success
        return Failed(f"status {status}, not in the hub's words", status=status)
    return HubAnswer(status, body)
