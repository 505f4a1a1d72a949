"""The one reader of what people write: files of settings, keys and environments, standard input.

UTF-8 with or without a byte order mark and UTF-16 with one are read, with any line ends. Everything else is refused
with its place and the way out, and without showing what stands there: it may be a secret.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection
from pathlib import Path

from understudy.errors import ConfigError
from understudy.texts import t

BYTES_MAX = 1 << 20
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_HEAD = re.compile(r"[ \t]{0,99}+(?:export[ \t]{1,99}+)?(?P<name>[A-Za-z_][A-Za-z0-9_]{0,255}+)[ \t]{0,99}+=[ \t]*+")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_PLAIN = '\\"$`'


def read_given(path: Path, place: str, *, as_is: bool = False) -> str:
    """The text of a file, `as_is` with its line ends; `place` names it in ConfigError.

    OSError if it cannot be opened, ConfigError for what cannot be read.
    """
    with path.open("rb") as file:
        raw = file.read(BYTES_MAX + 1)
    if len(raw) > BYTES_MAX:
        raise ConfigError(t("config.file_too_large", path=path, limit=BYTES_MAX))
    return decoded_as_is(raw, place) if as_is else decoded(raw, place)


def decoded(raw: bytes, place: str) -> str:
    """Its text, with line ends as they are elsewhere. ConfigError names the line and the way out."""
    return decoded_as_is(raw, place).replace("\r\n", "\n").replace("\r", "\n")


def decoded_as_is(raw: bytes, place: str) -> str:
    """The same, with its line ends. ConfigError."""
    mark, encoding = next(((m, e) for m, e in _MARKS if raw.startswith(m)), (b"", "utf-8"))
    body = raw[len(mark) :]
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        line = body[: error.start].decode(encoding, "replace").count("\n") + 1
        raise ConfigError(t("config.not_text", place=place, line=line)) from None
    if "\0" in text:
        raise ConfigError(t("config.not_text", place=place, line=text[: text.index("\0")].count("\n") + 1))
    return text


def without_line_end(text: str) -> str:
    """Without the one line end that editors and `echo` put behind a secret; all else may belong to it."""
    return next((text[: -len(end)] for end in ("\r\n", "\n", "\r") if text.endswith(end)), text)


def assignments(text: str, place: str, only: Collection[str] = ()) -> dict[str, str]:
    """`NAME=value` lines as shells and `docker --env-file` know them. ConfigError names the line.

    A value may stand in quotes and then go over several lines; `export` may stand before a name, a comment behind a
    value. With `only`, lines of other names are left out, whatever is wrong with them: they are not ours.
    """
    found: dict[str, str] = {}
    at, number, reach = 0, 1, len(text)
    while at < len(text):
        end = text.find("\n", at) % (len(text) + 1)  # -1: the end of the text
        parts = _HEAD.match(text, at)
        if parts is None:
            if not only and (line := text[at:end].strip()) and not line.startswith("#"):
                raise ConfigError(t("config.not_assignment", place=place, line=number))
        else:
            value, behind = _value(text, parts.end(), max(end, reach))
            if value is not None:
                end = behind
            if not only or parts["name"] in only:
                if value is None:
                    raise ConfigError(t("config.bad_quotes", place=place, line=number))
                found[parts["name"]] = value
            elif value is None:
                reach = 0  # a stranger's quote that never ends: from here on each line is looked at by itself
        number += text.count("\n", at, end) + 1
        at = end + 1
    return found


def assignment(name: str, value: str) -> str:
    """The line that `assignments` reads as this value, byte for byte."""
    escaped = "".join(f"\\{char}" if char in _PLAIN else char for char in value).replace("\r", "\\r")
    return f'{name}="{escaped}"'


def _value(text: str, at: int, reach: int) -> tuple[str | None, int]:
    """(value, end of its last line); None for a quote that does not end within reach, or has more than a comment."""
    end = text.find("\n", at) % (len(text) + 1)
    quote = text[at : at + 1]
    if quote not in ("'", '"'):
        rest = text[at:end]
        return ("" if rest.startswith("#") else re.split(r"[ \t]#", rest, maxsplit=1)[0].strip()), end
    close, value = _quoted(text, at, reach)
    if close < 0:
        return None, end
    end = text.find("\n", close) % (len(text) + 1)
    behind = text[close + 1 : end]
    is_comment = not behind.strip() or (behind[0] in " \t" and behind.strip().startswith("#"))
    return (value if is_comment else None), end


def _quoted(text: str, at: int, reach: int) -> tuple[int, str]:
    """(where the quote that opens here is closed, what is between); -1 if it is not, within reach."""
    quote = text[at]
    kept: list[str] = []
    at += 1
    while at < reach:
        char = text[at]
        if char == quote:
            return at, "".join(kept)
        if quote == '"' and char == "\\" and text[at + 1 : at + 2] in (*_ESCAPES, *_PLAIN):
            at += 1
            char = _ESCAPES.get(text[at], text[at])
        kept.append(char)
        at += 1
    return -1, ""
