"""The one place that opens connections to other servers: address, proxy, trust, and how long and how much at most.

On `http.client` alone: a command and the guard have no time to load more, and nobody here needs more.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator
from http.client import HTTPS_PORT, HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from urllib.parse import quote, urlsplit

from understudy.addresses import bracketed
from understudy.wire.proxies import proxy_for
from understudy.wire.response import BoundedResponse

CHUNK_BYTES = 64 << 10
BODY_S_MAX = 300.0  # however steadily it comes
_AS_IT_IS = "%/:?#[]@!$&'()*+,;=~"  # of an address; blanks and what is not ASCII is quoted
COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
LOCAL = (ValueError, TypeError, AttributeError)  # what could not be written: see causes.is_local
TROUBLE = (HTTPException, OSError, *LOCAL)  # all that an exchange may raise


class TrustedCertificates:
    """The trusted certificates: the system's, or only those of a file; read when first needed.

    With `is_added` those of the file are added to the system's, and one that cannot be read adds nothing.
    """

    def __init__(self, ca_file: str = "", *, is_added: bool = False) -> None:
        self._ca_file = ca_file
        self._is_added = is_added
        self._context: ssl.SSLContext | None = None
        self._lock = threading.Lock()

    def context(self) -> ssl.SSLContext:
        """OSError for a file that cannot be read."""
        with self._lock:
            if self._context is None:
                self._context = self._added() if self._is_added else self._only()
            return self._context

    def _only(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._ca_file or None)

    def _added(self) -> ssl.SSLContext:
        made = ssl.create_default_context()
        if self._ca_file:
            with contextlib.suppress(OSError):
                made.load_verify_locations(self._ca_file)
        return made


class Server:
    """A server at an http address, reached directly or through the proxy of the environment. Threads may share it.

    A request for the address itself asks for `target`; one for another path has `prefix` before it, since a proxy
    gets the whole address. `headers` belong into each.
    """

    def __init__(self, url: str, trust: TrustedCertificates) -> None:
        """ValueError for an address that is none; ProxyUnusableError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("no http address")
        self._host, self._port, self._is_secure = parts.hostname, parts.port, parts.scheme == "https"
        self._trust = trust
        self._proxy = proxy_for(url)
        self.is_proxied = self._proxy is not None
        self.prefix = ""
        self.headers: dict[str, str] = {}
        if self._proxy is not None and not self._is_secure:
            self.prefix, self.headers = f"http://{parts.netloc.rpartition('@')[2]}", self._proxy.headers
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        self.target = self.prefix + quote(path, safe=_AS_IT_IS)

    def connect(self, connect_s: float, step_s: float) -> HTTPConnection:
        """An open connection, on which a request and its response may take `step_s` each. Raises one of TROUBLE."""
        proxy = self._proxy
        at = (self._host, self._port) if proxy is None else (proxy.host, proxy.port)
        if self._is_secure:
            made: HTTPConnection = HTTPSConnection(*at, timeout=connect_s, context=self._trust.context())
            if proxy is not None:
                made.set_tunnel(bracketed(self._host), self._port or HTTPS_PORT, proxy.headers)
        else:
            made = HTTPConnection(*at, timeout=connect_s)
        made.response_class = BoundedResponse
        try:
            made.connect()
            made.sock.settimeout(step_s)
        except BaseException:
            made.close()
            raise
        return made


class Cut:
    """Ends an exchange from another thread, in the middle of whatever it waits for; also before it is connected."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.is_over = False

    def guard(self, connected: socket.socket | None) -> None:
        """This connection is the one to cut."""
        with self._lock:
            self._socket = connected
            if self.is_over:
                self._cut()

    def let_go(self) -> bool:
        """The exchange is over: from here on its connection is another's, and not cut → False if it was before."""
        with self._lock:
            self._socket = None
            return not self.is_over

    def end(self) -> None:
        """Now."""
        with self._lock:
            self.is_over = True
            self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # past TLS: the other thread then reads an end
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def check(self) -> None:
        """TimeoutError if it was cut: what was read until then may be only a part."""
        if self.is_over:
            raise TimeoutError


@contextlib.contextmanager
def deadline(cut: Cut, timeout_ms: int) -> Iterator[None]:
    """Within, `cut` ends the exchange when its time is over. OSError if this machine has no thread for the timer."""
    timer = threading.Timer(timeout_ms / 1000, cut.end)
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    try:
        yield
    finally:
        timer.cancel()


def body_of(response: HTTPResponse, bytes_max: int, heard: list[bytes] | None = None) -> bytes:
    """The first `bytes_max` bytes of a body, unpacked if it was sent packed. IncompleteRead, TimeoutError.

    The response is closed then; its connection takes another request only if this was all of it. `heard` is given
    what comes, as it was sent: it is there also if the rest fails.
    """
    parts = heard if heard is not None else []
    left, until_s = bytes_max, time.monotonic() + BODY_S_MAX
    with contextlib.closing(response):
        while left and (part := response.read(min(CHUNK_BYTES, left))):
            parts.append(part)
            left -= len(part)
            if time.monotonic() > until_s:
                raise TimeoutError
        if left and response.length:
            raise IncompleteRead(b"", response.length)
    raw = b"".join(parts)
    if response.headers.get("Content-Encoding", "").strip().lower() not in COMPRESSED:
        return raw
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(raw, bytes_max)
    except zlib.error as error:
        raise HTTPException("a body that cannot be unpacked") from error
