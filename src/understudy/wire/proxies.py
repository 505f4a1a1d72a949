"""The proxy of the environment: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in both cases, for all that we send.

By the rules of the standard library (`urllib.request`), lower case first; loopback is never sent through one.
"""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import urlsplit

from understudy.addresses import bracketed, is_loopback, is_web_address, log_in_of

PORT = 80
NAMES = frozenset({"https_proxy", "http_proxy", "all_proxy", "no_proxy"})  # in both cases


class Proxy(NamedTuple):
    """The address of a proxy; `headers` may contain its password and are never logged."""

    host: str
    port: int
    headers: dict[str, str]


class ProxyUnusableError(OSError):
    """The environment names a proxy that we cannot use; nothing is sent past it."""

    def __init__(self, why: str) -> None:
        super().__init__(0, why)


def proxy_for(url: str) -> Proxy | None:
    """The one that an exchange with `url` goes through, if any. ProxyUnusableError."""
    if not any(name[-6:].lower() == "_proxy" for name in os.environ):
        return None
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined] # noqa: PLC0415

    parts, found = urlsplit(url), getproxies_environment()
    chosen = (found.get(parts.scheme) or found.get("all") or "").strip()
    host = parts.hostname or ""
    if not chosen or is_loopback(host):
        return None
    at = bracketed(host)
    if proxy_bypass_environment(f"{at}:{parts.port}" if parts.port else at, found):
        return None
    return _read(chosen)


def _read(text: str) -> Proxy:
    url = text if "://" in text else f"http://{text}"
    kind = url.partition("://")[0].lower()
    if kind != "http":
        raise ProxyUnusableError(f"a proxy of kind {kind[:16]} is not supported, only http")
    if not is_web_address(url):
        raise ProxyUnusableError("the proxy of the environment is no address")
    parts = urlsplit(url)
    log_in = log_in_of(parts)
    return Proxy(parts.hostname or "", parts.port or PORT, {"Proxy-Authorization": log_in} if log_in else {})
