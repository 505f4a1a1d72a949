"""Home: is everything alive, what is it doing, who has taken over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from understudy.api.app import endpoint_named
from understudy.clock import iso
from understudy.dashboard.bars import bar_of
from understudy.dashboard.page import Act, Fragment, Given, Page
from understudy.dashboard.pages.takeover import makes_no_calls, state_word
from understudy.hub.home import DaemonShown, DaemonsShown, beats_shown, daemons_shown
from understudy.hub.queue_depth import queue_depth
from understudy.hub.takeover_view import takeover_answer
from understudy.hub.views import View

SNOOZE_S = 3600
QUEUE_COUNTED_MAX = 100_000


def _daemons(_: Given, view: View) -> Mapping[str, Any]:
    shown = daemons_shown(view)
    return {"rows": [_row(row, shown, view) for row in shown.rows], "more": shown.more}


def _row(row: DaemonShown, shown: DaemonsShown, view: View) -> dict[str, Any]:
    """The values for the template of a row, and the key by which an equal one is not rendered again.

    What moves with each heartbeat is in neither: it goes to the browser as instants (`beats_shown`).
    """
    still = replace(row.daemon, silent_for_sec=0, last_seen_at=None, late_at="", down_at="")
    is_snoozed = row.incident is not None and _is_ahead(row.incident.snoozed_until, view)
    values = {
        "row": replace(row, daemon=still, bar=[]),
        "parts": bar_of(row.bar, shown.since, shown.until),
        "is_snoozed": is_snoozed,
        "snooze_s": SNOOZE_S,
    }
    return {"key": msgspec.json.encode(values), "shown": values}


def _is_ahead(instant: Any, view: View) -> bool:
    return bool(instant) and instant > iso(view.now.wall)


def _beats(_: Given, view: View) -> Mapping[str, Any]:
    return {"beats": msgspec.json.encode(beats_shown(view)).decode()}


def _standby(_: Given, view: View) -> Mapping[str, Any]:
    takeover = takeover_answer(view)
    return {
        "queue": queue_depth(view.reader, QUEUE_COUNTED_MAX),
        "takeover": takeover,
        "word": state_word(takeover),
        "notifies_only": makes_no_calls(takeover),
    }


PAGE = Page(
    "/",
    "home",
    (
        Fragment("home_standby", _standby, frozenset({"task", "lease", "takeover", "budget", "daemon"}), every_s=60),
        Fragment("home_daemons", _daemons, frozenset({"daemon", "incident", "task", "lease", "hub"}), every_s=5),
        Fragment("home_beats", _beats, frozenset({"heartbeat", "daemon", "hub"}), every_s=5, pace_s=1),
    ),
)
ACTS = (
    Act(
        "incidents.acknowledge",
        "/incidents/{incident_id}/acknowledge",
        endpoint_named("POST", "/api/incidents/{incident_id}/acknowledge"),
    ),
    Act(
        "incidents.snooze",
        "/incidents/{incident_id}/snooze",
        endpoint_named("POST", "/api/incidents/{incident_id}/snooze"),
        {"forSec": int},
    ),
)
