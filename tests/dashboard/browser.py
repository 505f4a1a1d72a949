"""A browser as far as the hub sees one: it keeps cookies, follows nothing by itself, and reads streams."""

from __future__ import annotations

import html
import http.client
import json
import re
import time
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.waiting import allowed_s

SECURITY = {
    "content-security-policy": "default-src 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Seen(NamedTuple):
    """What came back."""

    status: int
    text: str
    headers: Mapping[str, str]
    cookies: list[str]

    @property
    def location(self) -> str:
        return self.headers.get("location", "")

    @property
    def token(self) -> str:
        """Of its forms; "" if it has none."""
        found = re.search(r'name="token" value="([0-9a-f]*)"', self.text)
        return found.group(1) if found else ""

    @property
    def acts(self) -> list[str]:
        """The addresses of its buttons."""
        return [html.unescape(path) for path in re.findall(r'formaction="([^"]*)"', self.text)]

    def attribute(self, name: str) -> list[str]:
        return [html.unescape(value) for value in re.findall(rf' {name}="([^"]*)"', self.text)]


class Browser:
    """One connection and its cookies."""

    def __init__(self, port: int, **headers: str) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._streams: list[Stream] = []

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Seen:
        """Send it; `headers` with `_` for `-`."""
        sent = self._headers | {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self._connection.request(method, path, body, sent)
        answer = self._connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        cookies = answer.headers.get_all("set-cookie") or []
        for cookie in cookies:
            for name, morsel in SimpleCookie(cookie).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[name]
        return Seen(answer.status, text, {k.lower(): v for k, v in answer.getheaders()}, cookies)

    def get(self, path: str, **headers: str) -> Seen:
        return self.call("GET", path, **headers)

    def post(self, path: str, form: Mapping[str, Any] | None = None, **headers: str) -> Seen:
        """A form."""
        sent = {"Content_Type": "application/x-www-form-urlencoded"} | headers
        return self.call("POST", path, urlencode(form or {}).encode(), **sent)

    def act(self, path: str, page: str = "/", **form: Any) -> Seen:
        """Press a button of a page."""
        return self.post(path, {"token": self.get(page).token, "back": page} | form)

    def stream(self, page: str = "/") -> Stream:
        """What the page follows."""
        stream = Stream(self.port, "/live" + page.rstrip("/"), self.cookies)
        self._streams.append(stream)
        return stream

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        self._connection.close()


class Stream:
    """A stream of Server-Sent Events."""

    def __init__(self, port: int, path: str, cookies: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=allowed_s(10))
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        self._connection.request("GET", path, headers=sent)
        self.response = self._connection.getresponse()

    def next(self) -> tuple[str, Any]:
        """The next message: its event, and its data; ("", None) at the end."""
        event = ""
        while line := self.response.readline():
            text = line.decode().rstrip("\n")
            if text.startswith("event: "):
                event = text[7:]
            elif text.startswith("data: "):
                return event, json.loads(text[6:])
        return "", None

    def fragment(self, name: str, having: str = "") -> str:
        """The HTML of the next one of this name that has this text."""
        until = time.monotonic() + allowed_s(20)
        while True:
            assert time.monotonic() < until, f"no fragment {name} with {having!r}"
            event, data = self.next()
            assert event, f"the stream has ended: {self.response.status}"
            if event == "fragment" and data["name"] == name and having in data["html"]:
                found: str = data["html"]
                return found

    def close(self) -> None:
        self._connection.close()
