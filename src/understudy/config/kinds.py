"""Kinds of settings and how each is read, checked and shown: durations, numbers, words, secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from understudy.addresses import is_web_address
from understudy.money import micro_usd_of, usd_text
from understudy.texts import t

SECRET_CHARS_MAX = 512  # as the hub takes them
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(ms|[smhd])")
_DURATION = re.compile(r"(?:\d{1,15}(?:\.\d{1,9})?(?:ms|[smhd])){1,6}")
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def duration_ms(text: str) -> int:
    """`100ms`, `30s`, `5m`, `2h`, `1d`, `1h30m` in milliseconds; ValueError with the fix for anything else."""
    compact = text.strip().replace(" ", "")
    if re.fullmatch(r"\d{1,15}(\.\d{1,9})?", compact):
        raise ValueError(t("config.bare_number", value=compact))
    if not _DURATION.fullmatch(compact):
        raise ValueError(t("config.not_a_duration", value=text))
    return round(sum(float(count) * UNITS_MS[unit] for count, unit in _PART.findall(compact)))


def duration_text(ms: int) -> str:
    """The shortest way to write a duration exactly: `90s`, `3m`, `1d`."""
    for unit in ("d", "h", "m", "s"):
        if ms and ms % UNITS_MS[unit] == 0:
            return f"{ms // UNITS_MS[unit]}{unit}"
    return f"{ms}ms"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of setting: reads a text or TOML value (ValueError names what was expected) and shows it."""

    parse: Callable[[Any], Any]
    expects: str = ""  # what may be written, for the documentation
    show: Callable[[Any], str] = str


def duration(least: str, most: str) -> Kind:
    """A duration with its unit, kept in ms."""

    def parse(raw: Any) -> int:
        ms = duration_ms(str(raw))
        if not duration_ms(least) <= ms <= duration_ms(most):
            raise ValueError(t("config.out_of_range", value=raw, least=least, most=most))
        return ms

    return Kind(parse, f"{least} … {most}", duration_text)


def duration_or(word: str, least: str, most: str) -> Kind:
    """A duration, or a word for one that is worked out elsewhere; the word is kept as -1."""
    known = duration(least, most)

    def parse(raw: Any) -> int:
        return -1 if str(raw).strip() == word else int(known.parse(raw))

    return Kind(parse, f"{word}, {known.expects}", lambda ms: word if ms < 0 else duration_text(ms))


def number(least: int, most: int) -> Kind:
    """A whole number."""

    def parse(raw: Any) -> int:
        text = str(raw).strip()
        if isinstance(raw, bool) or not re.fullmatch(r"-?\d{1,18}", text):
            raise ValueError(t("config.not_a_number", value=raw))
        if not least <= int(text) <= most:
            raise ValueError(t("config.out_of_range", value=text, least=least, most=most))
        return int(text)

    return Kind(parse, f"{least} … {most}")


def one_of(*words: str) -> Kind:
    """One of some words."""

    def parse(raw: Any) -> str:
        text = str(raw).strip()
        if text not in words:
            raise ValueError(t("config.not_one_of", value=raw, words=", ".join(words)))
        return text

    return Kind(parse, ", ".join(words))


def _flag(raw: Any) -> bool:
    word = str(raw).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(t("config.not_one_of", value=raw, words="true, false"))
    return word in _TRUE


def _words(raw: Any) -> tuple[str, ...]:
    parts = raw if isinstance(raw, list) else str(raw).split(",")
    return tuple(word for part in parts if (word := str(part).strip()))


def _date(raw: Any) -> str:
    """A day, as TOML or ISO 8601 write it."""
    try:
        return date.fromisoformat(str(raw).strip()).isoformat()
    except ValueError:
        raise ValueError(t("config.not_a_date", value=str(raw))) from None


def _secret(raw: Any) -> str:
    """A header must be able to hold it."""
    text = str(raw).strip()
    if len(text) > SECRET_CHARS_MAX or not re.fullmatch(r"[\x21-\x7e\xa1-\xff]*+", text):
        raise ValueError(t("config.not_a_key"))
    return text


def _password(raw: Any) -> str:
    """Any characters, each kept: blanks at its ends too."""
    text = str(raw)
    if len(text) > SECRET_CHARS_MAX or "\0" in text:
        raise ValueError(t("config.not_a_password", limit=SECRET_CHARS_MAX))
    return text


def _web(raw: Any) -> str:
    """An address to call, or none."""
    text = str(raw).strip()
    if text and not is_web_address(text):
        raise ValueError(t("config.not_an_address"))
    return text


def _micro_usd(raw: Any) -> int:
    """An amount of money, kept in micro-USD; nothing finer."""
    try:
        return micro_usd_of(str(raw))
    except ValueError:
        raise ValueError(t("config.not_usd", value=raw)) from None


def _name(raw: Any) -> str:
    """A name for logs and lists, or none."""
    text = str(raw).strip()
    if not re.fullmatch(r"(?:[A-Za-z0-9][A-Za-z0-9._:-]{0,63})?", text):
        raise ValueError(t("config.not_a_name", value=text))
    return text


def zone_name(raw: Any) -> str:
    """The name of a time zone that this machine knows, UTC in any case. ValueError names the nearest that it does."""
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415 - most commands need none

    name = str(raw).strip()
    try:
        if name not in ("", "UTC"):
            ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        known = available_timezones()
        if not known:
            raise ValueError(t("config.no_zones", value=name)) from None
        ending = "/" + name.lower().replace(" ", "_")
        near = sorted(zone for zone in known if zone.lower().endswith(ending) or zone.lower() == ending[1:])
        raise ValueError(t("config.bad_zone", value=name, example=near[0] if near else "Asia/Tokyo")) from None
    return name


def choices(*words: str) -> Kind:
    """One of some words for each name: a TOML table, or `name=word,name=word`; kept as sorted pairs."""

    def parse(raw: Any) -> tuple[tuple[str, str], ...]:
        pairs = raw.items() if isinstance(raw, dict) else (part.partition("=")[::2] for part in _words(raw))
        chosen = {str(name).strip(): str(word).strip() for name, word in pairs}
        for name, word in chosen.items():
            if not name or word not in words:
                raise ValueError(t("config.not_one_of", value=f"{name}={word}", words=", ".join(words)))
        return tuple(sorted(chosen.items()))

    return Kind(parse, f"name={words[-1]},…", lambda pairs: ",".join(f"{name}={word}" for name, word in pairs))


TEXT = Kind(lambda raw: str(raw).strip())
FLAG = Kind(_flag, "true, false", lambda value: "true" if value else "false")
ZONE = Kind(zone_name, "Asia/Tokyo")
DATE = Kind(_date, "YYYY-MM-DD")
WORDS = Kind(_words, "a,b,c", ",".join)
USD = Kind(_micro_usd, "0 … 999999", usd_text)
SECRET = Kind(_secret, "", lambda value: "…" if value else "")
WEB = Kind(_web)
NAME = Kind(_name)
PASSWORD = Kind(_password, "", SECRET.show)  # for what is no header


@dataclass(frozen=True, slots=True)
class Of:
    """The annotation of a field of the table, beside its type and default."""

    section: str
    kind: Kind
    env: tuple[str, ...] = ()  # instead of UNDERSTUDY_<NAME>
