"""Channels, routes, groups and maintenance: tables of `understudy.toml`, and the names that people have already.

```toml
[channels.ops]            # the name, as routes and `understudy notify test ops` call it
kind = "slack"            # slack_webhook, slack, discord, telegram, ntfy, email, webhook, apprise
secret_file = "/etc/understudy/slack-token"
chat = "C0123456789"
language = "ja"

[groups]
home = ["mini", "macbook-*"]

[[routes]]
channels = ["ops"]
level = "critical"
groups = ["home"]
delay = "2m"
remind = "1h"
quiet = "22:00-07:00@Asia/Tokyo"

[[maintenance]]
daemons = ["mini"]
window = "03:00-03:30@Asia/Tokyo"
```
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from understudy.config.kinds import duration, zone_name
from understudy.config.reading import secret_text, tables_of
from understudy.config.table import Settings
from understudy.coordinator.answers import Place
from understudy.coordinator.routes import Maintenance, Route, Routes
from understudy.errors import ConfigError
from understudy.notify.base import FORMATS, ChannelSettings
from understudy.notify.channels import CHANNELS, check, is_joining
from understudy.texts import language_from, t

KINDS = tuple(CHANNELS)
LEVELS = ("info", "warning", "critical")
CHANNELS_MAX = 32
_PAUSE = duration("0s", "30d")  # as UNDERSTUDY_REMIND_AFTER
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_WINDOW = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d)-((?:[01]\d|2[0-3]):[0-5]\d)(?:@(\S{1,64}))?")
_IN_CHANNEL = ("kind", "address", "chat", "secret", "sender", "format", "language")


def channels_of(settings: Settings, environ: Mapping[str, str], data_dir: Path) -> tuple[ChannelSettings, ...]:
    """The channels, each able to work: all that a machine needs which only tells its own troubles. ConfigError."""
    return _read(settings, environ, data_dir)[0]


def notices_of(
    settings: Settings, environ: Mapping[str, str], data_dir: Path
) -> tuple[tuple[ChannelSettings, ...], Routes]:
    """The channels and their routes; no secret is in the routes. ConfigError."""
    channels, routes, maintenance = _read(settings, environ, data_dir)
    names = tuple(channel.name for channel in channels)
    joining = tuple(channel.name for channel in channels if is_joining(channel))
    reply_to, public_url = _reply_to(settings.reply_to, names), _public_url(settings.public_url)
    return channels, Routes(names, routes, maintenance, reply_to, public_url, settings.time_zone, joining)


def notes_of(settings: Settings, routes: Routes) -> tuple[str, ...]:
    """A sentence for each route that has no effect."""
    channel = settings.reply_to.partition(":")[0]
    return (t("config.channels.reply_to_alarms", name=channel),) if channel in routes.joining else ()


def _read(
    settings: Settings, environ: Mapping[str, str], data_dir: Path
) -> tuple[tuple[ChannelSettings, ...], tuple[Route, ...], tuple[Maintenance, ...]]:
    """Channels and routes from the environment and from the file's tables. ConfigError names what is wrong."""
    tables, path = tables_of(environ, data_dir)
    language = language_from(dict(environ))
    try:
        quiet = _windows(settings.quiet_hours, settings.time_zone)
    except ValueError as error:
        raise ConfigError(f"quiet_hours (UNDERSTUDY_QUIET_HOURS): {error}") from None
    try:
        found = {channel.name: channel for channel in _known_names(settings, language)}
        for name, table in _section(tables, "channels").items():
            found[name] = _target(name, table, language)
        found = _chosen(found, settings.notification_type)
        groups = {name: _names(value, f"groups.{name}") for name, value in _section(tables, "groups").items()}
        routes = tuple(_route(table, tuple(found), groups, settings) for table in _list(tables, "routes"))
        default = Route(tuple(found), remind_ms=settings.remind_after_ms, quiet=quiet)
        maintenance = tuple(_maintenance(table, groups, settings) for table in _list(tables, "maintenance"))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    for channel in found.values():
        check(channel)
    return tuple(found.values()), routes or ((default,) if found else ()), maintenance


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


def _known_names(s: Settings, language: str) -> list[ChannelSettings]:
    """Channels that the plain settings make; each is called by its kind."""
    found = []
    if s.slack_bot_token and s.slack_channel_id:
        found.append(ChannelSettings("slack", "slack", chat=s.slack_channel_id, secret=s.slack_bot_token))
    elif s.slack_webhook_url:
        found.append(ChannelSettings("slack", "slack_webhook", s.slack_webhook_url))
    if s.discord_webhook_url:
        found.append(ChannelSettings("discord", "discord", s.discord_webhook_url))
    if s.telegram_bot_token and s.telegram_chat_id:
        found.append(ChannelSettings("telegram", "telegram", chat=s.telegram_chat_id, secret=s.telegram_bot_token))
    if s.ntfy_url:
        scheme, _, place = s.ntfy_url.rpartition("://")
        server, _, topic = place.rstrip("/").rpartition("/")  # of a server alone: no topic, which is refused
        address = f"{scheme or 'https'}://{server}" if server else ""
        found.append(ChannelSettings("ntfy", "ntfy", address, topic if server or not scheme else "", s.ntfy_token))
    if s.smtp_url and s.smtp_to:
        found.append(ChannelSettings("email", "email", s.smtp_url, s.smtp_to, s.smtp_password, s.smtp_from))
    if s.webhook_url:
        found.append(
            ChannelSettings("webhook", "webhook", s.webhook_url, secret=s.webhook_secret, format=s.webhook_format)
        )
    for nth, url in enumerate(url for url in s.apprise_urls.split(",") if url):
        found.append(ChannelSettings(f"apprise{nth + 1 if nth else ''}", "apprise", url))
    return [replace(channel, language=language) for channel in found]


def _chosen(found: dict[str, ChannelSettings], wanted: tuple[str, ...]) -> dict[str, ChannelSettings]:
    """Those that `NOTIFICATION_TYPE` names, if it names any: by name or kind; `none` is none."""
    if len(found) > CHANNELS_MAX:
        raise ValueError(t("config.channels.too_many", limit=CHANNELS_MAX))
    words = {word.lower() for word in wanted} - {"all", "auto"}
    if not words or "all" in {word.lower() for word in wanted}:
        return found
    unknown = words - {"none"} - {name.lower() for name in found} - {c.kind for c in found.values()} - set(KINDS)
    if unknown:
        names = ", ".join(sorted(unknown))
        raise ConfigError(t("config.channels.no_channel", name=names, known=", ".join(found) or "–"))
    chosen = {name: c for name, c in found.items() if name.lower() in words or c.kind in words}
    if found and not chosen and "none" not in words:  # no notice would be sent at all
        names = ", ".join(sorted(words))
        raise ConfigError(t("config.channels.no_channel", name=names, known=", ".join(found)))
    return chosen


def _target(name: str, table: Any, language: str) -> ChannelSettings:
    where = f"channels.{name}"
    if not isinstance(table, dict) or not _NAME.fullmatch(name):
        raise ValueError(t("config.channels.bad_name", name=name))
    values = {key: value for key, value in table.items() if not key.endswith("_file")}
    for key in ("address", "secret"):
        if path := table.get(f"{key}_file"):
            if values.get(key) or (key == "address" and values.get("url")):
                raise ValueError(t("config.both_in_file", name=f"{where}.{key}"))
            values[key] = secret_text(Path(str(path)).expanduser(), f"{where}.{key}_file")
    values.setdefault("address", values.pop("url", ""))
    values.setdefault("sender", values.pop("from", ""))
    _only(values, _IN_CHANNEL, where)
    texts = {key: str(value) for key, value in values.items() if value != ""}
    made = ChannelSettings(name, **{"language": language, "kind": name, **texts})
    _one_of(made.kind, KINDS, f"{where}.kind")
    _one_of(made.format, FORMATS, f"{where}.format")
    _one_of(made.language, ("en", "ja"), f"{where}.language")
    return made


def _route(table: Any, known: tuple[str, ...], groups: dict[str, tuple[str, ...]], settings: Settings) -> Route:
    _only(table, ("channels", "level", "daemons", "groups", "delay", "remind", "quiet"), "routes")
    channels = _names(table["channels"], "routes.channels") if "channels" in table else known
    for channel in channels:
        _one_of(channel, known, "routes.channels")
    level = str(table.get("level", "warning"))
    _one_of(level, LEVELS, "routes.level")
    remind = table.get("remind")
    return Route(
        channels,
        level,
        _daemons(table, groups),
        _PAUSE.parse(table.get("delay", "0s")),
        settings.remind_after_ms if remind is None else _PAUSE.parse(remind),
        _windows(table.get("quiet", settings.quiet_hours), settings.time_zone),
    )


def _maintenance(table: Any, groups: dict[str, tuple[str, ...]], settings: Settings) -> Maintenance:
    _only(table, ("daemons", "groups", "window", "from", "to"), "maintenance")
    windows = _windows(table.get("window", ""), settings.time_zone)
    from_at, to_at = (_instant(table.get(name), f"maintenance.{name}") for name in ("from", "to"))
    if to_at and to_at <= from_at:
        raise ValueError(t("config.channels.empty_window", value=f"{table['from']} … {table['to']}"))
    if (from_at == 0) != (to_at == 0) or (windows == "[]" and not to_at):
        raise ValueError(t("config.channels.no_window"))
    return Maintenance(_daemons(table, groups), windows, from_at, to_at)


def _daemons(table: dict[str, Any], groups: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Its patterns, with those of its groups in their place; none for all daemons, which only absence says."""
    named = _names(table["daemons"], "daemons") if "daemons" in table else ()
    for group in _names(table["groups"], "groups") if "groups" in table else ():
        _one_of(group, tuple(groups), "groups")
        named += groups[group]
    return named


def _windows(value: Any, zone: str) -> str:
    """`22:00-07:00@Asia/Tokyo`, or several, as the JSON that rules read."""
    windows = []
    for text in value if isinstance(value, list) else [value] if value else []:
        found = _WINDOW.fullmatch(str(text).strip())
        if not found:
            raise ValueError(t("config.channels.bad_window", value=text))
        if found[1] == found[2]:
            raise ValueError(t("config.channels.empty_window", value=text))
        windows.append({"from": found[1], "to": found[2], "tz": zone_name(found[3] or zone or "UTC")})
    return json.dumps(windows)


def _instant(value: Any, where: str) -> int:
    if value is None:
        return 0
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(t("config.channels.bad_instant", where=where, value=value)) from None
    if at.tzinfo is None:
        raise ValueError(t("config.channels.bad_instant", where=where, value=value))
    return round(at.timestamp() * 1000)


def _section(tables: dict[str, Any], name: str) -> dict[str, Any]:
    found = tables.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(t("config.channels.bad_table", name=name))  # noqa: TRY004 - a ConfigError in the end
    return found


def _list(tables: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = tables.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ValueError(t("config.channels.bad_table", name=name))
    return found


def _names(value: Any, where: str) -> tuple[str, ...]:
    """ValueError for a list of nobody, too: it would be taken for everybody, or tell nobody."""
    names = value if isinstance(value, list) else [value]
    if not names:
        raise ValueError(t("config.channels.empty_list", name=where))
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError(t("config.channels.bad_table", name=where))
    return tuple(names)


def _only(table: dict[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in table:
        _one_of(key, keys, where)


def _one_of(value: str, words: tuple[str, ...], where: str) -> None:
    if value not in words:
        raise ValueError(t("config.channels.not_one_of", where=where, value=value, words=", ".join(words) or "–"))
