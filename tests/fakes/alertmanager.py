"""The alerts that an Alertmanager keeps: merged as its `provider/mem` merges them, by its own clock."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from msgspec import Struct


class Alert(Struct):
    """One alert; instants are epoch ms."""

    starts_at: float
    ends_at: float


class FakeAlerts:
    """`put` takes what was posted, at the instant `now` of this Alertmanager; `firing` is what pages people then."""

    def __init__(self) -> None:
        self.alerts: dict[str, Alert] = {}

    def put(self, body: list[dict[str, Any]], now: float) -> None:
        for posted in body:
            ends_at = _ms(posted["endsAt"])
            alert = Alert(_ms(posted["startsAt"]) if "startsAt" in posted else ends_at, ends_at)
            key = json.dumps(posted["labels"], sort_keys=True)
            old = self.alerts.get(key)
            self.alerts[key] = _merged(old, alert, now) if old is not None and _overlap(old, alert) else alert

    def firing(self, now: float) -> list[str]:
        return [key for key, alert in self.alerts.items() if alert.ends_at > now]


def _overlap(old: Alert, new: Alert) -> bool:
    return any(old.starts_at < at < old.ends_at for at in (new.starts_at, new.ends_at))


def _merged(old: Alert, new: Alert, now: float) -> Alert:
    """An end that is over rules; of ends to come, and of ends that are all over, the later one does."""
    rules = new.ends_at <= now < old.ends_at
    return Alert(min(old.starts_at, new.starts_at), new.ends_at if rules else max(old.ends_at, new.ends_at))


def _ms(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() * 1000
