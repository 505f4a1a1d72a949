"""One daemon: its state and past, its incidents and starts, what it runs and says of itself, and its owner's orders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from understudy.api.app import endpoint_named
from understudy.clock import moment
from understudy.config.kinds import duration_ms, duration_text
from understudy.coordinator.nouns import Daemon
from understudy.dashboard.bars import bar_of
from understudy.dashboard.page import Act, FieldError, Fragment, Given, Page
from understudy.hub.daemon_page import (
    SPANS,
    DaemonIncidentsShown,
    incidents_of,
    known_daemon,
    limits_shown,
    logins_of,
    loops_of,
    runs_of,
    span_shown,
)
from understudy.hub.deployments import daemon_starts
from understudy.hub.home import beats_of
from understudy.hub.views import View, cursor_of
from understudy.wire.answers.base import as_stored

SNOOZE_S = 3600
SPAN = "24h"
_TIME = r"((?:[01]\d|2[0-3]):[0-5]\d)"
_WINDOW = re.compile(rf"{_TIME} ?[-–] ?{_TIME}(?: ?@ ?(\S++))?")
Show = Callable[[Given, View], Mapping[str, Any]]


def span_of(given: Given) -> str:
    """The span that the address names, else a day."""
    return given["span"] if given["span"] in SPANS else SPAN


def _of_daemon(show: Callable[[Daemon, Given, View], Mapping[str, Any]]) -> Show:
    """With the daemon of the path, and its id for addresses. NotFoundError."""

    def shown(given: Given, view: View) -> Mapping[str, Any]:
        daemon_id = given["daemon_id"]
        return {"daemon_id": daemon_id, **show(known_daemon(view, daemon_id), given, view)}

    return shown


def _state(_: Daemon, given: Given, view: View) -> Mapping[str, Any]:
    return {"daemon": view.daemon(given["daemon_id"])}


def _beats(daemon: Daemon, _: Given, view: View) -> Mapping[str, Any]:
    return {"beats": msgspec.json.encode({daemon.id: beats_of(daemon, view)}).decode()}


def _timeline(daemon: Daemon, given: Given, view: View) -> Mapping[str, Any]:
    span = span_of(given)
    shown = span_shown(view, daemon, SPANS[span])
    return {"shown": shown, "parts": bar_of(shown.parts, shown.since, shown.until), "chosen": span, "spans": [*SPANS]}


def _runs(daemon: Daemon, _: Given, view: View) -> Mapping[str, Any]:
    return {"runs": runs_of(view, daemon.id), "state": daemon.state}


def _incidents(daemon: Daemon, given: Given, view: View) -> Mapping[str, Any]:
    shown = incidents_of(view, daemon.id, *cursor_of(given["before"]))
    return {"shown": shown, "snoozed": _snoozed(shown, view), "snooze_s": SNOOZE_S, "span_chosen": span_of(given)}


def _snoozed(shown: DaemonIncidentsShown, view: View) -> set[str]:
    now = moment(view.now.wall).isoformat()
    return {one.id for one in shown.incidents if one.snoozed_until and one.snoozed_until > now}


def _said(daemon: Daemon, _: Given, __: View) -> Mapping[str, Any]:
    return {
        "daemon": daemon,
        "provides": as_stored(daemon.provides),
        "loops": loops_of(daemon),
        "logins": logins_of(daemon),
    }


def _directives(daemon: Daemon, _: Given, view: View) -> Mapping[str, Any]:
    return {"directives": view.daemon(daemon.id).directives or []}


def _starts(daemon: Daemon, _: Given, view: View) -> Mapping[str, Any]:
    return {"starts": daemon_starts(view, daemon.id)}


def _limits(daemon: Daemon, _: Given, view: View) -> Mapping[str, Any]:
    return {"limits": limits_shown(daemon, view.policy)}


def _forms(daemon: Daemon, _: Given, view: View) -> Mapping[str, Any]:
    limits = limits_shown(daemon, view.policy)
    return {
        "takes_directives": bool(daemon.boot_id),
        "own": {
            "lateAfterSec": duration_text(limits.own_late_ms) if limits.own_late_ms else "",
            "downAfterSec": duration_text(limits.own_down_ms) if limits.own_down_ms else "",
            "expectedSleep": "\n".join(f"{one.start}-{one.end}@{one.tz}" for one in limits.sleep),
        },
        "hubs": {
            "lateAfterSec": duration_text(view.policy.late_after_ms),
            "downAfterSec": duration_text(view.policy.down_after_ms),
        },
    }


def seconds_of(text: str) -> float:
    """A duration of a form, `3m` or `90` (seconds), in seconds. FieldError."""
    compact = text.strip()
    try:
        return duration_ms(f"{compact}s" if compact.isdecimal() else compact) / 1000
    except ValueError:
        raise FieldError("pages.daemon.limits.bad_duration") from None


def windows_of(text: str) -> list[dict[str, str]]:
    """The windows of a form, one a line: `23:00-07:00@Asia/Tokyo`. FieldError."""
    found = [_WINDOW.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
    if not all(found):
        raise FieldError("pages.daemon.limits.bad_window")
    return [{"from": one[1], "to": one[2], "tz": one[3] or "UTC"} for one in found if one is not None]


_DAEMON = frozenset({"daemon", "hub"})
PAGE = Page(
    "/daemons/{daemon_id:path}",
    "daemon",
    (
        Fragment("daemon_state", _of_daemon(_state), _DAEMON | {"incident", "directive"}),
        Fragment("daemon_timeline", _of_daemon(_timeline), _DAEMON, every_s=60),
        Fragment("daemon_runs", _of_daemon(_runs), frozenset({"task", "lease", "daemon"}), every_s=5),
        Fragment("daemon_incidents", _of_daemon(_incidents), frozenset({"daemon", "incident"}), every_s=60),
        Fragment("daemon_said", _of_daemon(_said), _DAEMON, every_s=10),
        Fragment("daemon_limits", _of_daemon(_limits), _DAEMON),
        Fragment("daemon_directives", _of_daemon(_directives), frozenset({"directive", "daemon"})),
        Fragment("daemon_starts", _of_daemon(_starts), frozenset({"daemon"}), pace_s=1),
        Fragment("daemon_beats", _of_daemon(_beats), frozenset({"heartbeat", "daemon", "hub"}), every_s=5, pace_s=1),
    ),
    _of_daemon(_forms),
    ("span", "before"),
    under="home",
)
_PATH = "/daemons/{daemon_id:path}"
ACTS = (
    Act("daemons.pause", f"{_PATH}/pause", endpoint_named("POST", f"/api{_PATH}/pause")),
    Act("daemons.resume", f"{_PATH}/resume", endpoint_named("POST", f"/api{_PATH}/resume")),
    Act(
        "daemons.order",
        f"{_PATH}/directives",
        endpoint_named("POST", f"/api{_PATH}/directives"),
        {"kind": str, "version": str.strip},
        page="daemon",
    ),
    Act(
        "daemons.configure",
        f"{_PATH}/settings",
        endpoint_named("PUT", f"/api{_PATH}/settings"),
        {"lateAfterSec": seconds_of, "downAfterSec": seconds_of, "expectedSleep": windows_of},
        page="daemon",
    ),
    Act("daemons.forget", f"{_PATH}/forget", endpoint_named("DELETE", f"/api{_PATH}")),
)
