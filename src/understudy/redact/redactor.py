"""The one thing that takes secrets out of what is shown, kept or sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from understudy.redact.names import Named, folded
from understudy.redact.places import PLACES
from understudy.redact.rules import MASK, Rule, compiled
from understudy.redact.slices import SLICE, occurs, replaced, spans
from understudy.redact.tokens import TOKENS
from understudy.redact.values import forms_of

DEPTH_MAX = 32  # of a JSON value; what lies deeper is not shown at all
RULES: tuple[Rule | Named, ...] = (*TOKENS, *PLACES)
_TELLING = ("passw", "passphrase", "secret", "key", "credential", "token", "jwt", "auth", "cookie")


def _without(form: str, text: str) -> str:
    """`text` without a secret that is known by value."""
    if len(text) <= SLICE:
        return text.replace(form, MASK)
    return replaced(text, spans(compiled(re.escape(form)), text, margin=len(form)), lambda _: MASK)


def _by_hint() -> tuple[tuple[str, tuple[int, ...]], ...]:
    found: dict[str, list[int]] = {}
    for index, rule in enumerate(RULES):
        for hint in rule.hints:
            found.setdefault(hint, []).append(index)
    return tuple((hint, tuple(indices)) for hint, indices in found.items())


_BY_HINT = _by_hint()


class Redactor:
    """Knows the secrets of this process by value, and everybody's by their form and place."""

    def __init__(self, secrets: Iterable[str] = (), *, by_pattern: bool = True) -> None:
        self._secrets = tuple(dict.fromkeys(secrets))
        self._forms = forms_of(self._secrets)
        self._by_hint = _BY_HINT if by_pattern else ()

    def by_value_only(self) -> Redactor:
        """One that masks only the secrets that this one knows."""
        return Redactor(self._secrets, by_pattern=False)

    def clean(self, text: str) -> str:
        """`text` with every secret replaced. To be given whole texts: half a secret is not recognised."""
        for form in self._forms:
            text = _without(form, text)
        for index in sorted(self._wanted(folded(text))):
            text = RULES[index].clean(text)
        return text

    def _wanted(self, lower: str) -> set[int]:
        """The rules of which a hint occurs. A line of a log is short: for it a search without slices is enough."""
        if len(lower) <= SLICE:
            return {index for hint, indices in self._by_hint if hint in lower for index in indices}
        return {index for hint, indices in self._by_hint if occurs(hint, lower) for index in indices}

    def clean_value(self, value: Any) -> Any:
        """A JSON value with every text in it cleaned, keys included; a name tells about what stands behind it."""
        return self._cleaned(value, DEPTH_MAX)

    def _cleaned(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.clean(value)
        if not isinstance(value, dict | list | tuple):
            return value
        if depth == 0:
            return MASK
        if isinstance(value, dict):
            return {self._key(key): self._member(key, inner, depth - 1) for key, inner in value.items()}
        return [self._cleaned(inner, depth - 1) for inner in value]

    def _key(self, key: Any) -> Any:
        return self.clean(key) if isinstance(key, str) else key

    def _member(self, key: Any, value: Any, depth: int) -> Any:
        """The value of a key, cleaned by the same rules as JSON in text."""
        if not (isinstance(key, str) and isinstance(value, str) and any(word in key.lower() for word in _TELLING)):
            return self._cleaned(value, depth)
        reported = self.clean(msgspec.json.encode({key: self.clean(value)}).decode())
        try:
            (cleaned,) = msgspec.json.decode(reported).values()
        except msgspec.DecodeError:
            return MASK
        return cleaned
