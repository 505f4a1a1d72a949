"""Relations between settings: a violation is adapted with a sentence, or refused."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_network

from understudy.config.kinds import duration_text
from understudy.config.table import Settings, table
from understudy.errors import ConfigError
from understudy.store_address import is_postgres, without_password
from understudy.texts import t

_PAIRS = (("slack_bot_token", "slack_channel_id"), ("telegram_bot_token", "telegram_chat_id"), ("smtp_url", "smtp_to"))


def related(settings: Settings, origins: Mapping[str, str]) -> tuple[Settings, tuple[str, ...]]:
    """The settings that hold together, with a sentence for each that was adapted; ConfigError if none would."""
    notes: list[str] = []
    settings = _with_store(settings)
    _check_trust(settings)
    if settings.badge and not re.fullmatch(r"[A-Za-z0-9_-]{20,128}", settings.badge):
        raise ConfigError(t("config.bad_badge"))
    beats = 2 * settings.heartbeat_interval_ms
    distance = max(settings.down_after_ms - settings.late_after_ms, 0)
    if settings.late_after_ms < beats:
        shown = {"late": settings.late_after_ms, "interval": settings.heartbeat_interval_ms, "used": beats}
        notes.append(t("config.late_too_short", **{name: duration_text(ms) for name, ms in shown.items()}))
        down_ms = settings.down_after_ms if settings.down_after_ms > beats else beats + distance
        settings = dataclasses.replace(settings, late_after_ms=beats, down_after_ms=down_ms)
    if settings.down_after_ms <= settings.late_after_ms:
        settings, note = _in_order(settings, origins)
        notes.append(note)
    return settings, (*notes, *_half_channels(settings))


def _with_store(settings: Settings) -> Settings:
    """With the password out of the store's address: from here on it is a secret as any other. ConfigError."""
    if not is_postgres(settings.store):
        if "://" in settings.store:
            raise ConfigError(t("config.store_unsupported", scheme=settings.store.partition("://")[0]))
        return settings
    try:
        address, password = without_password(settings.store)
    except ValueError as error:
        raise ConfigError(f"store (UNDERSTUDY_STORE): {error}") from None
    if password and settings.store_password:
        raise ConfigError(t("postgres.two_passwords"))
    return dataclasses.replace(settings, store=address, store_password=password or settings.store_password)


def _check_trust(settings: Settings) -> None:
    """ConfigError for a header that anybody could send, or a proxy that is no address."""
    if settings.trust_user_header and not settings.trusted_proxies:
        raise ConfigError(t("config.trust_everybody"))
    if not re.fullmatch(r"[A-Za-z0-9-]{0,64}", settings.trust_user_header):
        raise ConfigError(t("config.bad_header", value=settings.trust_user_header))
    for text in settings.trusted_proxies:
        try:
            ip_network(text, strict=False)
        except ValueError:
            raise ConfigError(t("config.bad_proxy", value=text)) from None


def _half_channels(settings: Settings) -> Iterator[str]:
    """A sentence for each channel that lacks half of its settings: it would get no notices."""
    for one, other in _PAIRS:
        given, missing = (one, other) if getattr(settings, one) else (other, one)
        if getattr(settings, given) and not getattr(settings, missing):
            rows = table()
            yield t("config.half_channel", name=rows[given].env[0], missing=rows[missing].env[0])


def _in_order(settings: Settings, origins: Mapping[str, str]) -> tuple[Settings, str]:
    """Down comes after late: the one that nobody set gives way; two that were set contradict each other."""
    late, down = settings.late_after_ms, settings.down_after_ms
    shown = {"late": duration_text(late), "down": duration_text(down)}
    if "down_after" not in origins:
        used = late + table()["down_after"].default - table()["late_after"].default
        return dataclasses.replace(settings, down_after_ms=used), t(
            "config.down_follows", **shown, used=duration_text(used)
        )
    used = max(down * 3 // 5, 2 * settings.heartbeat_interval_ms)
    if "late_after" not in origins and used < down:
        return dataclasses.replace(settings, late_after_ms=used), t(
            "config.late_follows", **shown, used=duration_text(used)
        )
    raise ConfigError(t("config.contradiction", **shown))
