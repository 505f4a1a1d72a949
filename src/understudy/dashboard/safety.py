"""The defence of those who look at pages against other sites: headers, origins, own addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}
PAGE_HEADERS = HEADERS | {"Cache-Control": "no-store"}
PREFETCHES = ("sec-purpose", "purpose", "x-moz", "x-purpose")
OWN_CHARS_MAX = 4_000  # a search of 256 Japanese characters has 2,304
_OWN = re.compile(r"/(?![/\\])[A-Za-z0-9._~:@!$&'()*+,;=%/?-]*+")


def own_path(text: str) -> str:
    """The text if it is an address of this hub, else `/`: nobody is sent elsewhere by a link of ours."""
    return text if len(text) <= OWN_CHARS_MAX and _OWN.fullmatch(text) else "/"


def is_from_us(headers: Mapping[str, str], public_url: str = "") -> bool:
    """True unless a browser says that another site has sent this request.

    Browsers send `Sec-Fetch-Site` where the address is trustworthy (TLS, loopback), and `Origin` with every POST. Who
    sends neither is no browser.
    """
    site = headers.get("sec-fetch-site", "")
    if site:
        return site == "same-origin"
    origin = headers.get("origin", "")
    return not origin or _place(origin) in {headers.get("host", ""), _place(public_url)} - {""}


def _place(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def is_ahead_of_time(headers: Mapping[str, str]) -> bool:
    """True if nobody has asked for it yet: a browser fetches it in advance."""
    return any("prefetch" in headers.get(name, "").lower() for name in PREFETCHES)


def is_encrypted(scheme: str, headers: Mapping[str, str], public_url: str = "") -> bool:
    """True if the browser speaks TLS, with us or with a proxy in front.

    `X-Forwarded-Proto` is believed from anybody: a browser cannot be made to send it, and it only makes cookies safer.
    """
    if scheme == "https" or headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower() == "https":
        return True
    return public_url.lower().startswith("https://") and _place(public_url) == headers.get("host", "")
