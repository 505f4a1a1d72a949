"""A module a page, and the table of all."""

from __future__ import annotations

from understudy.dashboard.page import Act, Page
from understudy.dashboard.pages import home, numbers, takeover

PAGES: tuple[Page, ...] = (home.PAGE, takeover.PAGE, numbers.PAGE)
ACTS: tuple[Act, ...] = (*home.ACTS, *takeover.ACTS)
