"""Deployments: starts and updates of the hub and of daemons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.dashboard.page import Fragment, Given, Page
from understudy.hub.deployments import STARTS_SHOWN, daemon_starts, hub_starts
from understudy.hub.views import DEPLOYMENTS_MAX, View


def _hub(_: Given, view: View) -> Mapping[str, Any]:
    return {"starts": hub_starts(view), "most": DEPLOYMENTS_MAX}


def _daemons(_: Given, view: View) -> Mapping[str, Any]:
    return {"starts": daemon_starts(view), "most": STARTS_SHOWN}


PAGE = Page(
    "/deployments",
    "deployments",
    (
        Fragment("deployments_hub", _hub, frozenset({"hub"}), every_s=10),
        Fragment("deployments_daemons", _daemons, frozenset({"daemon"}), pace_s=1),
    ),
)
