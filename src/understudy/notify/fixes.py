"""The fix for the failure of a message, found by the sentence of the catalogue that gives the reason."""

from __future__ import annotations

from functools import cache
from string import Formatter

from understudy.texts import LANGUAGES, catalogue

OTHER = "other"
FIXES = {
    "channel.busy": "wait",
    "channel.broken": "wait",
    "channel.unanswered": "reach",
    "channel.unexpected": "address",
    "channel.unauthorized": "secret",
    "channel.forbidden": "permission",
    "channel.not_found": "address",
    "channel.redirected": "address",
    "channel.too_large": "size",
    "channel.refused": OTHER,
    "channel.moved": "address",
    "channel.bad_target": "settings",
    "channel.password_in_address": "settings",
    "channel.apprise_missing": "settings",
    "channel.apprise_bad_url": "settings",
    "channel.apprise_failed": OTHER,
    "channel.bad_address": "settings",
    "channel.bad_header": "settings",
    "channel.unsendable": "settings",
}
WORDS = (*dict.fromkeys(FIXES.values()),)
_HEAD_CHARS = 200  # a reason may have been cut


def fix_of(reason: str) -> str:
    """The word for what helps; `other` for a reason that is no sentence of the channels."""
    head = reason[:_HEAD_CHARS]
    return next((fix for parts, fix in _sentences() if _says(head, parts)), OTHER)


def _says(reason: str, parts: tuple[str, ...]) -> bool:
    """True if it begins with the first of these parts and has the others behind it, in their order."""
    if not reason.startswith(parts[0]):
        return False
    at = 0
    for part in parts:
        at = reason.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


@cache
def _sentences() -> tuple[tuple[tuple[str, ...], str], ...]:
    """The fixed parts of each sentence in every language, the longest first."""
    found = [(_fixed_parts(catalogue(language)[key]), fix) for key, fix in FIXES.items() for language in LANGUAGES]
    return tuple(sorted(found, key=lambda pair: -sum(map(len, pair[0]))))


def _fixed_parts(text: str) -> tuple[str, ...]:
    """A text without its values, up to the last of them, which may be cut."""
    parts = [part for part, *_ in Formatter().parse(text)]
    ends_fixed = list(Formatter().parse(text))[-1][1] is None
    return tuple(parts[:-1] if ends_fixed and len(parts) > 1 and parts[0] else parts)
