"""Daily windows as local clocks show them: over changes of summer time, and as a union."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfoNotFoundError

import pytest

from understudy.config.kinds import zone_name
from understudy.coordinator import daily_windows

HOUR = 3_600_000
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def daily(*parts: tuple[str, str, str]) -> str:
    return json.dumps([{"from": start, "to": end, "tz": zone} for start, end, zone in parts])


@pytest.mark.parametrize(
    ("parts", "instant", "hours"),
    [
        ((("22:00", "07:00", BERLIN),), "2026-03-28T23:00+01:00", 7),  # the clock skips 02:00 to 03:00
        ((("22:00", "07:00", BERLIN),), "2026-10-24T23:00+02:00", 9),  # and shows it twice
        ((("22:00", "07:00", NEW_YORK),), "2026-11-01T00:30-04:00", 7.5),
        ((("22:00", "02:30", BERLIN),), "2026-03-28T23:00+01:00", 3),  # 02:30 never comes: until the change
        ((("02:30", "04:00", BERLIN),), "2026-03-29T03:00+02:00", 1),
        ((("02:15", "04:00", BERLIN),), "2026-03-29T01:59+01:00", 0),
        ((("01:00", "02:30", BERLIN),), "2026-10-25T02:40+02:00", 50 / 60),  # until it shows 02:30 for the last time
        ((("02:30", "04:00", BERLIN),), "2026-10-25T02:45+02:00", 2.25),
        ((("22:00", "00:00", BERLIN), ("00:00", "07:00", BERLIN)), "2026-01-10T23:00+01:00", 8),  # they meet
        ((("22:00", "03:00", BERLIN), ("01:00", "07:00", BERLIN)), "2026-01-10T23:00+01:00", 8),  # they overlap
        ((("22:00", "00:00", "UTC"), ("00:30", "07:00", "UTC")), "2026-01-10T23:00+00:00", 1),  # they do not
        ((("05:00", "05:00", BERLIN),), "2026-01-10T05:00+01:00", 0),
        ((("22:00", "07:00", "Mars/Base"), ("22:00", "01:00", "UTC")), "2026-01-10T23:00+00:00", 2),
        ((("22:00", "25:99x", "UTC"), ("22:00", "01:00", "UTC")), "2026-01-10T23:00+00:00", 2),
    ],
)
def test_a_window_lasts_until_its_own_clock_shows_its_end(parts, instant, hours) -> None:
    assert daily_windows.left_ms(daily(*parts), at(instant)) == hours * HOUR


def test_windows_of_a_whole_day_are_looked_at_again() -> None:
    whole = daily(("00:00", "12:00", BERLIN), ("12:00", "00:00", BERLIN))
    left_days = daily_windows.left_ms(whole, at("2026-10-20T02:40+02:00")) / (24 * HOUR)
    assert 8 <= left_days < 9


@pytest.mark.parametrize("text", ["", "nothing", "{}", "[1]", '[{"from":"x","to":"y"}]', '[{"tz":"UTC"}]'])
def test_what_cannot_be_read_holds_nothing_and_is_named(text: str) -> None:
    assert daily_windows.left_ms(text, 1_770_000_000_000) == 0
    assert daily_windows.unreadable(text) == "not readable"


def test_zones_that_are_unknown_here_are_named() -> None:
    assert daily_windows.unreadable(daily(("22:00", "07:00", "Mars/Base"))) == "no time zone 'Mars/Base'"
    assert daily_windows.unreadable(daily(("22:00", "07:00", BERLIN))) == ""


def test_utc_needs_no_zones_of_the_machine(monkeypatch):
    def gone(name: str) -> None:
        raise ZoneInfoNotFoundError(name)

    monkeypatch.setattr(daily_windows, "ZoneInfo", gone)
    monkeypatch.setattr("zoneinfo.ZoneInfo", gone)
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    noon = '[{"from":"12:00","to":"13:00","tz":"UTC"}]'
    assert daily_windows.left_ms(noon, 43_200_000) == 3_600_000
    assert daily_windows.unreadable(noon) == ""
    assert zone_name("UTC") == "UTC"
    with pytest.raises(ValueError, match="tzdata"):
        zone_name("Asia/Tokyo")
