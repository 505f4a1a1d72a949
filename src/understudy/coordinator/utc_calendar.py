"""Days and months of an instant in UTC, in which budgets are counted; local hours are in daily_windows.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

DAY, MONTH = "day", "month"
MINUTE_MS = 60_000


def period_of(kind: str, wall: int) -> str:
    """The day or month of an instant: `2026-11-22`, `2026-11`."""
    at = _utc(wall)
    return f"{at:%Y-%m-%d}" if kind == DAY else f"{at:%Y-%m}"


def next_period_at(kind: str, wall: int) -> int:
    """The begin of the next day or month."""
    at = _utc(wall).replace(hour=0, minute=0, second=0, microsecond=0)
    following = at + timedelta(days=1) if kind == DAY else (at.replace(day=1) + timedelta(days=32)).replace(day=1)
    return round(following.timestamp() * 1000)


def _utc(wall: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=wall)
