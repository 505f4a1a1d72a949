"""Secrets behind a name: `password=…`, `"apiKey": "…"`, `token: …`, in quotes of any kind or in none.

Whatever stands there is masked if it looks like a value; a word of prose, a type or a placeholder stays
(`password: required`, `token: string`, `api_key=$API_KEY`), because answers of assistants are full of those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from understudy.redact.rules import MASK, compiled, open_end
from understudy.redact.slices import MARGIN, SLICE, Open, Span, by_slices, replaced, spans, whole

_KEYS = (
    "api access secret private account encryption signing auth master license service admin hub session shared routing"
    " integration application consumer subscription"
)
_KEY = "|".join(f"(?<={word}[ _-]key)|(?<={word}key)" for word in _KEYS.split())

_IS = r"\s{0,4}+(?::=|=>|[:=：])\s{0,4}+"

# What stands in for a value.
_BLANK = (
    r"(?:(?i:null|none|nil|true|false|undefined|empty|missing|required|optional|string|str|bytes|unknown|invalid"
    r"|expired|wrong|incorrect|is required|changeme)|\*{3,80}+|[xX]{3,80}+|\.{3,80}+|…|<[^<>\r\n\"']{0,40}+>"
    r"|\$\{?[A-Za-z0-9_.]{0,60}+\}?|\{\{[^{}\r\n\"']{0,60}+\}\}|\[REDACTED\])"
)
_TYPE = r"(?:u?int[0-9]{1,3}|[uif][0-9]{1,3}|sha-?[0-9]{1,3}|md5|utf-?[0-9]{1,2}|base[0-9]{1,2}|oauth2?|v[0-9.]{1,12}+)"
_ELSEWHERE = r"(?:https?://|(?:~|\.{1,2})?/[a-z][a-z0-9_.-]{1,30}+/)"  # where it is described, or the file it is in

BARE = r"[^\s\"'`,;&<>(){}\[\]\\|]"
NO_BLANK = rf"(?!(?:{_BLANK}|{_TYPE})(?:\Z|[\s\"'`,;&<>(){{}}\[\]\\|.!?])|{_ELSEWHERE})"
NO_CODE = r"(?![A-Za-z0-9_.]{1,80}+[(\[])"  # a call or an index
ODD = r"(?=[A-Za-z./_-]{0,100}+[0-9!#%^*+~?@=:])"  # no word of prose
_NO_COUNT = r"(?![0-9.]{1,20}+(?![A-Za-z0-9_.-]))"  # nor a fencing token

# The end of another string is not the beginning of this one.
_NO_BLANK_IN_QUOTES = rf"(?!{_BLANK}\\{{0,7}}[\"']|[\s,;:)}}\]])"
_IN_DOUBLE = r"(?>(?:[^\"\\\r\n]++|\\.)+)"
_IN_SINGLE = r"(?>(?:[^'\\\r\n]++|\\.)+)"
_IN_NESTED = r"(?>(?:[^\"\\\r\n]++|(?!\2\")\\++[\"nrtbfu/]?)+)"  # a string in a string; group 2: how it is escaped
_LIKE_TOKEN = r"(?=[^\"'\s\\]{8})(?:(?=[A-Za-z./_-]{0,100}+[0-9])|(?=[^\"'\s\\]{16}))"  # noqa: S105 - a pattern


# What stands between a name and its value, whatever the form; `finditer` passes over all other places by itself.
_LEADS_ON = rf"(?=(?:\\{{1,7}}+\"|[\"']?\]?){_IS})"


def _forms(quoted: str, bare: str) -> tuple[str, ...]:
    """The forms that may follow a name; group 1 is the part before the secret."""
    return (
        rf"([\"']?\]?{_IS}\"){_NO_BLANK_IN_QUOTES}{quoted}{_IN_DOUBLE}",
        rf"([\"']?\]?{_IS}'){_NO_BLANK_IN_QUOTES}{quoted}{_IN_SINGLE}",
        rf"((?:\\{{1,7}}+\")?{_IS}(\\{{1,7}}+)\"){_NO_BLANK_IN_QUOTES}{quoted}{_IN_NESTED}",
        rf"({_IS}){NO_BLANK}{NO_CODE}{bare}",
    )


def _rest_in_nested(escapes: int) -> str:
    """The continuation of a string in a string; a slice may end within a row of backslashes."""
    return rf"(?>(?:[^\"\\\r\n]++|(?!(?<!\\)\\{{{escapes}}}\")\\++[\"nrtbfu/]?)+)"


class Named(msgspec.Struct, frozen=True):
    """A rule that looks for names in the folded text, because that is fast, and for values right behind them."""

    kind: str
    hints: tuple[str, ...]
    pattern: str  # of the name, in lower case
    forms: tuple[str, ...]

    def clean(self, text: str) -> str:
        """`text` without secrets of this kind."""
        return replaced(text, self._values(text), _masked)

    def _values(self, text: str) -> Iterator[Span]:
        """The value behind each name, as written."""
        forms, read = [compiled(form) for form in self.forms], 0
        for name in spans(compiled(self.pattern), folded(text)):
            if name.found.start() < read:
                continue
            for form in forms:
                if found := form.match(text, name.end, name.end + SLICE + 2 * MARGIN):
                    value = whole(found, _opened(found), MARGIN)
                    read = value.end
                    yield value
                    break


def _masked(value: Span) -> str:
    return value.found[1] + MASK


def _opened(found: re.Match[str]) -> Open | None:
    """The continuation of a value that is longer than a slice: up to the quote with which it began, if it has one."""
    if found[1].endswith(("'", '"')):
        escape = found[2] if found.re.groups > 1 else ""
        rest = _rest_in_nested(len(escape)) if escape else _IN_DOUBLE if found[1].endswith('"') else _IN_SINGLE
        return Open(compiled(rest))
    return open_end(found.re.pattern)


def folded(text: str) -> str:
    """In lower case, each character where it was: this one alone becomes two."""
    return by_slices(_folded, text) if len(text) > SLICE else _folded(text)


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else text.replace("İ", "i").lower()


NAMES: tuple[Named, ...] = (
    Named(
        "secret behind its name",
        ("passw", "passphrase", "secret", "key", "credential", "パスワード", "秘密鍵"),
        rf"(?:pass(?:wo?r?d|phrase)|secret|credentials?|パスワード|秘密鍵|key(?:{_KEY})){_LEADS_ON}",
        _forms("", rf"{ODD}{BARE}{{4,}}+"),
    ),
    Named(
        "token behind its name",
        ("token", "jwt"),
        rf"(?:token(?<!publickeytoken)|jwt){_LEADS_ON}",
        _forms(_NO_COUNT + _LIKE_TOKEN, rf"{_NO_COUNT}{ODD}{BARE}{{8,}}+"),
    ),
)
