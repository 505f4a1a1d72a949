"""Addresses on the web: one check for every place that is given one."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_TEXT = re.compile(r"https?://[^\s\x00-\x1f\x7f]++", re.IGNORECASE)


def is_web_address(text: str) -> bool:
    """True if it can be called: http or https, a host that can be looked up, a port that there is, no blanks."""
    if not _TEXT.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
        return bool((parts.hostname or "").encode("idna")) and parts.port != -1  # an invalid port is a ValueError
    except ValueError:  # brackets, the port, a label of the host that is empty or too long
        return False
