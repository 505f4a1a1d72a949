"""A request of a browser: who sends it, in which language, and how it gets its cookies."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from functools import partial
from typing import Any

from msgspec import Struct, field
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from understudy.api.connections import BodyRoom
from understudy.api.fields import beside_loop, form_of
from understudy.api.respond import read_body
from understudy.coordinator.nouns import Session
from understudy.dashboard.language import COOKIE as LANGUAGE_COOKIE
from understudy.dashboard.language import KEPT_S as LANGUAGE_KEPT_S
from understudy.dashboard.language import language_of
from understudy.dashboard.safety import is_encrypted, own_path
from understudy.hub.keys import Caller

FORM_BYTES_MAX = 1 << 20
COOKIE_CHARS_MAX = 256
VALUE_CHARS_MAX = 256
_PORT = re.compile(r":(\d{1,5})$")


class Asked:
    """One request, as pages see it."""

    def __init__(self, scope: Any, receive: Any, public_url: str) -> None:
        self.request = Request(scope, receive)
        self.headers = self.request.headers
        self.public_url = public_url
        self.cookies = cookies_of(self.headers.getlist("cookie"))
        self.language = language_of(self.cookies, self.headers.get("accept-language", ""))
        self.is_encrypted = is_encrypted(scope.get("scheme", "http"), self.headers, public_url)
        self.session: Session | None = None
        self.secret = ""  # of its cookie
        self._again = ""
        self._cookies: list[tuple[str, str, int, bool]] = []

    @property
    def path(self) -> str:
        """Its own address, with the query."""
        if self._again:
            return self._again
        query = self.query_text
        raw = self.request.scope.get("raw_path") or self.request.scope["path"].encode()
        path = raw.partition(b"?")[0].decode("latin-1")
        return f"{path}?{query}" if query else path

    @property
    def query_text(self) -> str:
        """Its query as it was sent; `url` has one that begins at a `?` in a name of the path."""
        return str(self.request.scope["query_string"].decode("latin-1"))

    def query(self, name: str) -> str:
        """A parameter, cut."""
        query = QueryParams(self._again.partition("?")[2]) if self._again else self.request.query_params
        return query.get(name, "")[:VALUE_CHARS_MAX]

    @property
    def is_visit(self) -> bool:
        """True if a person may be opening a page: no form, no stream, no picture in a page of another site."""
        mode, accept = self.headers.get("sec-fetch-mode", ""), self.headers.get("accept", "")
        return self.request.method in ("GET", "HEAD") and mode in ("", "navigate") and "event-stream" not in accept

    def show_again(self, path: str) -> None:
        """A form is answered at its own address: from here on this is a request for the page that the form is on."""
        self._again = path

    def in_language(self, language: str = "") -> str:
        """Its own address, which chooses this language, or none."""
        path, _, query = own_path(self.path).partition("?")
        kept = [part for part in query.split("&") if part and not part.startswith("lang=")]
        chosen = "&".join([*kept, f"lang={language}"] if language else kept)
        return f"{path}?{chosen}" if chosen else path

    @property
    def caller(self) -> Caller:
        """The key behind the session."""
        assert self.session is not None
        return Caller(self.session.key_id, frozenset(self.session.scopes.split()), self.session.owner)

    async def form(self, bytes_max: int = FORM_BYTES_MAX) -> dict[str, str]:
        """The fields of its form. BadRequestError, TooLargeError, ClientGoneError."""
        scope = self.request.scope
        room = BodyRoom(scope.get("connection"))
        try:
            body = await read_body(scope, self.request.receive, bytes_max, room)
            return await beside_loop(len(body), partial(form_of, body))
        finally:
            room.give_back()

    # ---- cookies

    @property
    def cookie_name(self) -> str:
        """Of the session: browsers keep cookies by host, so two hubs of one host differ by their port.

        Behind TLS the name makes browsers refuse one that somebody else has planted (`__Host-`).
        """
        port = _PORT.search(self.headers.get("host", ""))
        name = f"understudy_{port.group(1)}" if port else "understudy"
        return f"__Host-{name}" if self.is_encrypted else name

    @property
    def cookie(self) -> tuple[str, str]:
        """(session id, secret) as the browser sends them; ("", "") if it sends none."""
        session_id, _, secret = self.cookies.get(self.cookie_name, "")[:COOKIE_CHARS_MAX].partition(".")
        return session_id, secret

    def keep_session(self, session: Session, secret: str, kept_s: int) -> None:
        """The browser is logged in from now on."""
        self.session, self.secret = session, secret
        self._cookies.append((self.cookie_name, f"{session.id}.{secret}", kept_s, True))

    def forget_session(self) -> None:
        """The browser is not logged in any more."""
        self._cookies.append((self.cookie_name, "", 0, True))

    def keep_language(self, language: str) -> None:
        """The browser's own wish does not count from now on."""
        self._cookies.append((LANGUAGE_COOKIE, language, LANGUAGE_KEPT_S, False))

    def with_cookies(self, response: Response) -> Response:
        """The response with those cookies."""
        for name, value, kept_s, is_secret in self._cookies:
            response.set_cookie(
                name, value, max_age=kept_s, path="/", secure=self.is_encrypted, httponly=is_secret, samesite="lax"
            )
        return response

    # ---- acts

    @property
    def token(self) -> str:
        """The token that a form of this session carries, and nobody else can know; "" without a session."""
        return token_of(self.secret) if self.session is not None else ""


class Strangers(Struct, frozen=True):
    """The parts that need no login, as the settings switch them on."""

    badge: str = ""  # the secret in its address; "": there is none
    status_page: str = "off"  # on: daemons by number; ids: by their ids


class ProxyTrust(Struct, frozen=True):
    """The word of a proxy in front: its header, its addresses, and the scopes of people by name."""

    header: str = ""
    proxies: tuple[str, ...] = ()
    users: dict[str, str] = field(default_factory=dict)  # name → read or admin; empty: everybody is admin


def cookies_of(headers: Iterable[str]) -> dict[str, str]:
    """Cookies by name, as they were sent; ours are never quoted.

    The standard library undoes quotes in quadratic time (CVE-2024-7592): one header would stop the hub for minutes.
    """
    pairs = (part.partition("=") for header in headers for part in header.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def token_of(secret: str) -> str:
    """Bound to the session by its secret, which no page contains."""
    return hmac.new(secret.encode(), b"act", hashlib.sha256).hexdigest()[:40]
