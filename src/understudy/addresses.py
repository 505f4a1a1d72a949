"""The one check of web addresses, for every module that is given one."""

from __future__ import annotations

import re
from base64 import b64encode
from ipaddress import ip_address
from urllib.parse import SplitResult, unquote, urlsplit

_TEXT = re.compile(r"https?://[^\s\x00-\x1f\x7f]++", re.IGNORECASE)


def is_loopback(host: str) -> bool:
    """True if only this machine can reach it."""
    if host.lower().rstrip(".") == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """The host as a URL has it: an IPv6 address needs brackets."""
    return f"[{host}]" if ":" in host else host


def log_in_of(parts: SplitResult) -> str:
    """The header value for the name and password of an address, which HTTP does not send by itself; "" without one."""
    if parts.username is None:
        return ""
    known = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {b64encode(known.encode()).decode('ascii')}"


def is_web_address(text: str) -> bool:
    """True if it can be called: http or https, a host that can be looked up, a port that there is, no blanks."""
    if not _TEXT.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
        return bool((parts.hostname or "").encode("idna")) and parts.port != -1  # an invalid port is a ValueError
    except ValueError:  # brackets, the port, a label of the host that is empty or too long
        return False
