"""Durations for people: the same words in notices, commands and the daemon's own alarms."""

from __future__ import annotations

from understudy.texts import t

MS_BELOW_MS = 100
TENTHS_BELOW_MS = 10_000
_STEPS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000))


def span(ms: float, language: str = "") -> str:
    """`12 ms`, `0.3 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if ms < MS_BELOW_MS:
        return t("span.ms", language, count=max(round(ms), 0))
    if ms < TENTHS_BELOW_MS:
        return t("span.s", language, count=f"{ms / 1000:.1f}")
    rest = round(ms / 1000) * 1000
    parts: list[tuple[str, int]] = []
    for unit, size in _STEPS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append((unit, count))
    return " ".join(t(f"span.{unit}", language, count=count) for unit, count in parts[:2] if count)
