"""A module a page, and the table of all."""

from __future__ import annotations

from understudy.dashboard.page import Act, Page
from understudy.dashboard.pages import (
    daemon,
    deployments,
    home,
    incidents,
    keys,
    log,
    notices,
    numbers,
    settings,
    takeover,
    task,
    tasks,
)

PAGES: tuple[Page, ...] = (
    daemon.PAGE,
    deployments.PAGE,
    home.PAGE,
    incidents.PAGE,
    keys.PAGE,
    log.PAGE,
    notices.PAGE,
    numbers.PAGE,
    settings.PAGE,
    takeover.PAGE,
    task.PAGE,
    tasks.PAGE,
)
ACTS: tuple[Act, ...] = (
    *daemon.ACTS,
    *home.ACTS,
    *keys.ACTS,
    *notices.ACTS,
    *takeover.ACTS,
    *task.ACTS,
    *tasks.ACTS,
)
