"""A module a page, and the table of all."""

from __future__ import annotations

from understudy.dashboard.page import Act, Page
from understudy.dashboard.pages import home, takeover

PAGES: tuple[Page, ...] = (home.PAGE, takeover.PAGE)
ACTS: tuple[Act, ...] = (*home.ACTS, *takeover.ACTS)
