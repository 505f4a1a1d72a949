"""The frame around every page: what its head says of the whole, so that a tab in the background shows the worst."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.dashboard.page import Fragment, Given
from understudy.hub.views import View

# the pages of the navigation, in their order; one that does not exist is not linked
NAVIGATION = (
    "home", "tasks", "incidents", "log", "notices", "takeover", "deployments", "keys", "settings", "numbers",
)  # fmt: skip
# the worst first, with its icon: what has to be looked at, what may have to, what is well, what says nothing
ICONS = {
    "down": "bad", "stuck": "bad", "late": "warn", "healthy": "ok", "draining": "idle", "asleep": "idle",
    "paused": "idle", "stopped": "idle", "new": "idle",
}  # fmt: skip


def _standing(_: Given, view: View) -> Mapping[str, Any]:
    """The number of daemons in each state, and the worst of these."""
    counts = view.reader.daemon_states()
    worst = worst_of(counts)
    return {"counts": counts, "worst": worst, "icon": ICONS.get(worst, "idle")}


def worst_of(counts: Mapping[str, int]) -> str:
    """The worst state that there is; "" without a daemon."""
    return next((state for state in ICONS if counts.get(state)), "")


STANDING = Fragment("standing", _standing, frozenset({"daemon", "hub"}))
