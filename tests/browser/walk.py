"""Every page of a hub, found as people find them: by its links. A page that is new is found by itself."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from playwright.sync_api import Page

from tests.browser.watched import WatchedPage

PAGES_MAX = 40
_LINKS = "() => [...document.querySelectorAll('a[href]')].map((link) => link.href)"
_KIND = re.compile(r"(?<=/)(?:task-|incident-|mac-|linux-|office-)[^/]*")  # a page of its kind is enough


def pages_of(watched: WatchedPage) -> Iterator[tuple[str, Page]]:
    """(name, the page that is open now) for one page of each kind that links lead to, from Home on."""
    seen: set[str] = set()
    waiting = deque(["/"])
    while waiting and len(seen) < PAGES_MAX:
        path = waiting.popleft()
        kind = _KIND.sub("ID", path)
        if kind in seen:
            continue
        seen.add(kind)
        page = watched.goto(path)
        yield kind.strip("/").replace("/", "-") or "home", page
        waiting.extend(_paths(watched.origin, page.evaluate(_LINKS)))


def _paths(origin: str, links: list[str]) -> list[str]:
    """Paths of the hub's own pages, without those that only change what is shown."""
    own = (link.removeprefix(origin) for link in links if link.startswith(f"{origin}/"))
    return [path for path in own if "?" not in path and "#" not in path]
