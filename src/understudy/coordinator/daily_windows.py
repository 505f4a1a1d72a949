"""Daily windows of an owner (quiet hours, expected sleep, maintenance), as their local clocks show them.

A daily window begins when the clock first shows `from` and ends when it last shows `to`. So it may be shorter or longer
on the day on which summer time begins or ends. A time that the clock skips counts as the instant of the change.
Windows that meet or overlap are one. A window that cannot be read (a zone that this machine does not know, say)
is left out: it holds nothing back.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct

NONE = "[]"
DAYS_MAX = 8  # windows that cover the whole week are looked at again after so many days
DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Window(Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """`from <= t < to` each day, in a zone; over midnight where `to` is not after `from`."""

    start: str
    end: str
    tz: str = "UTC"


def left_ms(windows: str, wall: int) -> int:
    """Milliseconds that the windows (JSON) stay open from this instant on; 0: none is open."""
    if windows == NONE:
        return 0
    readable, _ = read(windows)
    at = _EPOCH + timedelta(milliseconds=wall)
    until, latest = at, at + DAYS_MAX * DAY
    while until < latest:
        ends = [end for window in readable for start, end in _around(window, until) if start <= until < end]
        if not ends:
            break
        until = max(ends)
    return -((at - until) // timedelta(milliseconds=1))


def closed_ms(windows: str, wall: int) -> int | None:
    """Milliseconds since one of the windows (JSON), none of which is open now, was open last; None: there is none."""
    if windows == NONE:
        return None
    at = _EPOCH + timedelta(milliseconds=wall)
    around = (found for window in read(windows)[0] for found in _around(window, at))
    ends = [end for start, end in around if start < end <= at]
    return (at - max(ends)) // timedelta(milliseconds=1) if ends else None


def unreadable(windows: str) -> str:
    """The part of the windows that cannot be judged here, in a few words; "" if there is none."""
    return "" if windows == NONE else read(windows)[1]


def read(windows: str) -> tuple[tuple[Window, ...], str]:
    """(those that can be judged, what is wrong with the others)."""
    parsed, wrong = _parsed(windows)
    unknown = sorted({window.tz for window in parsed if not is_zone(window.tz)})
    wrong = ", ".join([*([wrong] if wrong else []), *(f"no time zone {name!r}" for name in unknown)])
    return tuple(window for window in parsed if window.tz not in unknown), wrong


@lru_cache(maxsize=256)
def _parsed(windows: str) -> tuple[tuple[Window, ...], str]:
    try:
        listed = msgspec.json.decode(windows, type=list[msgspec.Raw])
    except ValueError:  # msgspec's own, and broken UTF-8
        return (), "not readable"
    found = [_one(raw) for raw in listed]
    kept = tuple(window for window in found if window is not None and window.start != window.end)
    return kept, "not readable" if None in found else ""


def _one(raw: msgspec.Raw) -> Window | None:
    try:
        window = msgspec.json.decode(raw, type=Window)
        _minutes(window.start), _minutes(window.end)
    except (ValueError, OverflowError):
        return None
    return window


def zone_of(name: str) -> tzinfo:
    """The time zone of that name; UTC is known on machines without time zones, too."""
    return UTC if name == "UTC" else ZoneInfo(name)


def is_zone(name: str) -> bool:
    """True if this machine knows a time zone of that name."""
    try:
        zone_of(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _around(window: Window, at: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The window of yesterday, today and tomorrow: a zone may be a day away from another."""
    zone = zone_of(window.tz)
    start, end = _minutes(window.start), _minutes(window.end)
    today = at.astimezone(zone).date()
    for day in (today - DAY, today, today + DAY):
        yield _instant(day, start, zone, fold=0), _instant(day if end > start else day + DAY, end, zone, fold=1)


def _instant(day: date, minutes: timedelta, zone: tzinfo, *, fold: int) -> datetime:
    """The instant at which the clock shows this time: the first one with fold 0, the last with fold 1."""
    shown = datetime.combine(day, datetime.min.time()) + minutes
    at = shown.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == shown:
        return at
    before, after = sorted(shown.replace(tzinfo=zone, fold=n).astimezone(UTC) for n in (0, 1))
    return _change_between(before, after, zone)


def _change_between(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The second in which the zone's offset changed."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        before, after = (middle, after) if middle.astimezone(zone).utcoffset() == offset else (before, middle)
    return after


def _minutes(text: str) -> timedelta:
    hours, minutes = text.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes))
