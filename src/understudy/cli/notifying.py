"""From settings to what the hub is given: channels with their secrets, and routes without any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from understudy import config
from understudy.config.channels import ChannelTable
from understudy.coordinator.answers import Place
from understudy.coordinator.routes import Maintenance, Route, Routes
from understudy.errors import ConfigError
from understudy.notify.base import Target
from understudy.notify.channels import check
from understudy.texts import t


def channels_of(settings: config.Settings, environ: Mapping[str, str], data_dir: Path) -> tuple[ChannelTable, ...]:
    """The channels of a machine that only tells its own troubles, each able to work. ConfigError."""
    found = config.channels_of(settings, environ, data_dir).channels
    for channel in found:
        check(Target(**asdict(channel)))
    return found


def notifying(
    settings: config.Settings, environ: Mapping[str, str], data_dir: Path
) -> tuple[tuple[Target, ...], Routes]:
    """The channels, and who is told what. ConfigError."""
    found = config.channels_of(settings, environ, data_dir)
    targets = tuple(Target(**asdict(channel)) for channel in found.channels)
    for target in targets:
        check(target)
    names = tuple(target.name for target in targets)
    return targets, Routes(
        names,
        tuple(Route(**asdict(route)) for route in found.routes),
        tuple(Maintenance(**asdict(window)) for window in found.maintenance),
        _reply_to(settings.reply_to, names),
        _public_url(settings.public_url),
        settings.time_zone,
    )


def _reply_to(text: str, names: tuple[str, ...]) -> str:
    if not text:
        return ""
    channel, _, chat = text.partition(":")
    if channel not in names:
        raise ConfigError(t("config.channels.bad_reply_to", name=channel, known=", ".join(names) or "–"))
    return msgspec.json.encode(Place(channel, chat)).decode()


def _public_url(url: str) -> str:
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or "@" in parts.netloc):
        raise ConfigError(t("config.channels.bad_public_url", value=url))
    return url.rstrip("/")
