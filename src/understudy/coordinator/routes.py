"""Channels, routes, quiet hours and maintenance, as the owner of a hub chose them."""

from __future__ import annotations

from fnmatch import fnmatchcase

from msgspec import Struct

LEVEL_RANKS = {"info": 0, "recovered": 0, "warning": 1, "critical": 2}


class Route(Struct, frozen=True):
    """One route: its channels, and the notices and times for which it applies."""

    channels: tuple[str, ...]
    level: str = "warning"  # at least
    daemons: tuple[str, ...] = ()  # names, `*` stands for anything; none: all
    delay_ms: int = 0  # what ends before that makes no notice
    remind_ms: int = 0  # of what is critical, until somebody acknowledges it; 0: never
    quiet: str = "[]"  # daily windows as in Daemon.expected_sleep: they hold whatever is not critical


class Maintenance(Struct, frozen=True):
    """A time in which silence is expected: a notice is sent when the time is over, if it is still true then."""

    daemons: tuple[str, ...] = ()
    windows: str = "[]"  # daily, or
    from_at: int = 0  # once
    to_at: int = 0


class Routes(Struct, frozen=True):
    """All of it. Without a channel there are no notices, and no work for them."""

    channels: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    reply_to: str = ""  # where answers go whose task names no place: JSON as in Task.reply_to
    public_url: str = ""  # for links; "": none are made
    zone: str = ""  # of instants in texts: an IANA name; "" is UTC
    joining: tuple[str, ...] = ()  # channels whose receiver keeps an alarm open until its recovery, joined by a key


def is_of(daemon_id: str, patterns: tuple[str, ...]) -> bool:
    """True if a pattern matches the daemon, or there are no patterns: then also for what is about no daemon ("")."""
    return not patterns or any(_fits(daemon_id, pattern) for pattern in patterns)


def _fits(daemon_id: str, pattern: str) -> bool:
    """True if the name is the pattern's, where `*` stands for anything and every other character for itself."""
    return fnmatchcase(daemon_id, pattern.replace("[", "[[]").replace("?", "[?]"))


def route_of(routes: Routes, channel: str, daemon_id: str, level: str = "") -> Route:
    """The first route from this daemon to this channel: one that includes this level if there is one, else any."""
    found = [route for route in routes.routes if channel in route.channels and is_of(daemon_id, route.daemons)]
    rank = LEVEL_RANKS.get(level, 0)
    return next((r for r in found if rank >= LEVEL_RANKS[r.level]), found[0] if found else Route((channel,)))
