"""The instant at which another server wants the next request."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

from understudy.wire.outbound import HttpAnswer

WAIT_MS_MAX = 86_400_000
_DATE_CHARS_MAX = 64


def retry_after_ms(answer: HttpAnswer) -> int:
    """`Retry-After` in seconds or as a date (beside the answer's own `Date`); 0 if there is none to understand."""
    value = answer.headers.get("retry-after", "")[:_DATE_CHARS_MAX]
    try:
        return wait_ms(float(value))
    except ValueError:
        pass
    try:
        until, now = (
            parsedate_to_datetime(value),
            parsedate_to_datetime(answer.headers.get("date", "")[:_DATE_CHARS_MAX]),
        )
        return wait_ms((until - now).total_seconds())
    except (ValueError, TypeError, OverflowError):  # OverflowError: of a year or zone beyond all calendars
        return 0


def wait_ms(seconds: Any) -> int:
    """Seconds of a service as ms, within a day; 0 for anything that is no such number."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        return 0
    return int(min(seconds * 1000, WAIT_MS_MAX))
