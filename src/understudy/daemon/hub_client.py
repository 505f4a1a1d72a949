"""Speaks HTTP with the hub: whatever goes wrong on the way is `Failed`, only JSON from the hub is an answer."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Url

from understudy.errors import ConfigError
from understudy.texts import t
from understudy.wire.causes import cause_of
from understudy.wire.foreign import parsed
from understudy.wire.proxies import Proxy, ProxyUnusableError, proxy_for
from understudy.worker.effects import TOO_LARGE_ON_THE_WAY, Answer, Call, Failed

logging.getLogger("urllib3").addHandler(logging.NullHandler())  # our log has one voice
ANSWER_BYTES_MAX = 64 << 20  # a claim may bring several tasks of a MiB
CONNECT_S_MAX = 5.0
CONNECTIONS_MAX = 8


class HubClient:
    """One hub, one key, kept connections. Threads may share it."""

    def __init__(self, hub_url: str, api_key: str, *, version: str, ca_file: str = "") -> None:
        url = urlsplit(hub_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigError(t("daemon.bad_hub_url", url=hub_url))
        self._prefix = url.path.rstrip("/")
        self._headers = {
            "X-API-Key": api_key,
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"understudy-daemon/{version}",
        }
        self._abortable = _Abortable()
        try:
            proxy = proxy_for(hub_url)
        except ProxyUnusableError as error:
            raise ConfigError(t("daemon.bad_proxy", reason=error.strerror)) from None
        if proxy is not None and url.scheme == "http":
            self._prefix = f"http://{url.netloc.rpartition('@')[2]}{self._prefix}"
        self._make = _pool_maker(url, proxy, ca_file, self._abortable)
        self._pool = self._make()

    def call(self, call: Call) -> Answer | Failed:
        """Send it; returns at the latest when `timeout_ms` is over (for each step of the exchange)."""
        try:
            with self._abortable.during(call.abort):
                response = self._pool.urlopen(
                    call.method,
                    self._prefix + call.path,
                    body=msgspec.json.encode(call.body),
                    headers=self._headers,
                    timeout=_timeout(call.timeout_ms),
                    retries=False,
                    assert_same_host=False,  # a proxy is asked for a whole address
                    redirect=False,  # the key goes nowhere else
                    preload_content=False,
                )
                return _answer(response)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, TypeError, AttributeError) as error:
            return Failed(cause_of(error))

    def abort(self, name: str) -> None:
        """Cut the call of that name, if one is on its way."""
        self._abortable.abort(name)

    def reset(self) -> None:
        """Forget kept connections; calls on their way are not disturbed."""
        old, self._pool = self._pool, self._make()
        old.close()


class _Abortable:
    """Which connection carries which named call, so that another thread can cut it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: dict[str, socket.socket | None] = {}
        self._local = threading.local()

    @contextlib.contextmanager
    def during(self, name: str) -> Iterator[None]:
        self._local.name = name
        try:
            yield
        finally:
            self._local.name = ""
            with self._lock:
                self._sockets.pop(name, None)

    def sending(self, connected: socket.socket | None) -> None:
        name = getattr(self._local, "name", "")
        if name:
            with self._lock:
                self._sockets[name] = connected

    def abort(self, name: str) -> None:
        with self._lock:
            connected = self._sockets.get(name)
            if connected is not None:
                with contextlib.suppress(OSError):  # past TLS: the other thread then reads an end
                    socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _timeout(timeout_ms: int) -> urllib3.Timeout:
    total_s = timeout_ms / 1000
    return urllib3.Timeout(connect=min(CONNECT_S_MAX, total_s), read=total_s)


def _answer(response: urllib3.BaseHTTPResponse) -> Answer | Failed:
    """Never let an error look like an answer: what is not a JSON object is `Failed` (a captive portal, say).

    Nor a proxy's refusal like the hub's, which has an `error`: finished work would be given up for it. Only that a
    request is too large is the same from either: what is sent next must be smaller.
    """
    try:
        raw = response.read(ANSWER_BYTES_MAX + 1)
    except BaseException:
        response.close()
        raise
    if len(raw) > ANSWER_BYTES_MAX:
        response.close()
        return Failed("answer too large")
    response.release_conn()
    try:
        body = parsed(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        body = None
    if response.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and not (isinstance(body, dict) and "error" in body):
        return Answer(response.status, {"error": "Request body too large", "code": TOO_LARGE_ON_THE_WAY})
    if not isinstance(body, dict):
        return Failed(f"status {response.status}, not a JSON object")
    if response.status >= 300 and "error" not in body:  # noqa: PLR2004 - beyond success
        return Failed(f"status {response.status}, not in the hub's words")
    return Answer(response.status, body)


def _pool_maker(
    url: SplitResult, proxy: Proxy | None, ca_file: str, abortable: _Abortable
) -> Callable[[], urllib3.HTTPConnectionPool]:
    class Plain(HTTPConnection):
        def request(self, *args: Any, **kwargs: Any) -> None:
            if self.sock is None:
                self.connect()
            abortable.sending(self.sock)
            super().request(*args, **kwargs)

    class Secure(HTTPSConnection):
        def request(self, *args: Any, **kwargs: Any) -> None:
            if self.sock is None:
                self.connect()
            abortable.sending(self.sock)
            super().request(*args, **kwargs)

    through: dict[str, Any] = {}
    if proxy is not None:
        address = Url("http", host=proxy.host, port=proxy.port)
        through = {"_proxy": address, "_proxy_headers": proxy.headers}

    def plain() -> urllib3.HTTPConnectionPool:
        at = (url.hostname or "", url.port) if proxy is None else (proxy.host, proxy.port)
        pool = urllib3.HTTPConnectionPool(*at, maxsize=CONNECTIONS_MAX, **through)
        pool.ConnectionCls = Plain
        return pool

    def secure() -> urllib3.HTTPConnectionPool:
        pool = urllib3.HTTPSConnectionPool(
            url.hostname or "", url.port, maxsize=CONNECTIONS_MAX, ca_certs=ca_file or None, **through
        )
        pool.ConnectionCls = Secure
        return pool

    return secure if url.scheme == "https" else plain
