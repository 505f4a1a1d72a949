"""Settings: what is in force since this hub was started, and where each value came from; nothing is changed here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from understudy.config.shown import SettingShown
from understudy.dashboard.page import Given, Page
from understudy.hub.views import View

ONLY = "set"  # in the query: only what is no default


def _show(shown: tuple[SettingShown, ...], given: Given, _: View) -> Mapping[str, Any]:
    is_only = given["only"] == ONLY
    rows = [row for row in shown if row.origin != "default" or not is_only]
    sections = {row.section: [one for one in rows if one.section == row.section] for row in rows}
    return {"sections": sections, "only": ONLY if is_only else ""}


def page_of(shown: tuple[SettingShown, ...]) -> Page:
    """The page with the settings of this hub."""
    return replace(PAGE, show=partial(_show, shown))


PAGE = Page("/settings", "settings", show=partial(_show, ()), query=("only",), scopes=("admin",))
