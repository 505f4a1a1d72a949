"""The help against the failure of a message: found by the sentence of ours that its reason is."""

from __future__ import annotations

import re
from functools import cache

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
    return next((fix for form, fix in _forms() if form.match(reason[:_HEAD_CHARS])), OTHER)


@cache
def _forms() -> tuple[tuple[re.Pattern[str], str], ...]:
    """The beginning of each sentence in every language, the longest first."""
    heads = [(catalogue(language)[key], fix) for key, fix in FIXES.items() for language in LANGUAGES]
    found = [(_head(text), fix) for text, fix in heads]
    return tuple((re.compile(head, re.DOTALL), fix) for head, fix in sorted(found, key=lambda pair: -len(pair[0])))


def _head(text: str) -> str:
    """The fixed words of a text, with anything where values go; up to its last value, which may be cut."""
    parts = re.split(r"{\w+}", text)
    return ".{0,100}?".join(re.escape(part) for part in (parts[:-1] if len(parts) > 1 and parts[0] else parts))
