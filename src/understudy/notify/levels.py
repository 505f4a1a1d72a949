"""Levels as each service shows them: sign, colour, priority, severity. Colour is never the only sign."""

from __future__ import annotations

from msgspec import Struct


class Level(Struct, frozen=True):
    """One level in the words of each service."""

    sign: str  # before a title
    colour: int  # of an embed, 0xRRGGBB
    priority: int  # ntfy, 1 to 5
    tag: str  # ntfy: the short code of an emoji
    severity: str  # PagerDuty and Alertmanager
    apprise: str


LEVELS = {
    "info": Level("", 0x3B82F6, 3, "", "info", "info"),
    "warning": Level("⚠️ ", 0xF59E0B, 4, "warning", "warning", "warning"),
    "critical": Level("🔴 ", 0xDC2626, 5, "rotating_light", "critical", "failure"),
    "recovered": Level("✅ ", 0x16A34A, 3, "white_check_mark", "info", "success"),
}
