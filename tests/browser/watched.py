"""A page that somebody looks at, and everything about it that is a fault whatever the test is about.

Faults are: an error on the console or in a script, an answer that is missing, a request to anywhere but the hub,
something that the Content-Security-Policy refused, content that needs sideways scrolling, and content that moved by
itself. `WatchedPage.finish` gives all of them; a test that causes some says so by `expects("part of the text")`.
What moves once a form was sent moves by its answer, however late that comes (browsers excuse half a second only).

A page has arrived when its scripts have run: what is drawn before that depends on how busy the machine is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request

SHIFT_MAX = 0.01  # the sum of a page's layout shifts, as browsers count them
PATIENCE_MS = 30_000  # what a wait may take on a busy machine
_NO_REQUEST = ("data:", "blob:", "about:", "chrome-error:")
_WATCH = """
(() => {
  const report = (kind, text, value) => window.reportFault?.({kind, text, value, page: performance.timeOrigin});
  const name = (node) => node?.outerHTML?.slice(0, 120) ?? String(node?.nodeName ?? "?");
  let arrived = Infinity;
  addEventListener("DOMContentLoaded", () => requestAnimationFrame(() => requestAnimationFrame(
    () => { arrived = performance.now(); })));
  let sent = Infinity;
  addEventListener("submit", () => { sent = Math.min(sent, performance.now()); }, true);
  const isOwn = (entry) => !entry.hadRecentInput && entry.startTime > arrived && entry.startTime < sent;
  const moved = (entries) => entries.filter(isOwn).forEach(
    (entry) => report("shift", entry.sources.map((source) => name(source.node)).join(" | "), entry.value));
  const shifts = new PerformanceObserver((list) => moved(list.getEntries()));
  shifts.observe({type: "layout-shift", buffered: true});
  document.addEventListener("securitypolicyviolation",
    (event) => report("policy", `${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`, 0));
  window.reportShifts = () => moved(shifts.takeRecords());
})();
"""
# Looks after what was changed last has been drawn (layout shifts become known two frames later); `width` is the
# screen's, whatever the page makes of it.
_CHECK = """
async (width) => {
  for (let frame = 0; frame < 4; frame++) await new Promise((drawn) => requestAnimationFrame(drawn));
  window.reportShifts?.();
  if (document.documentElement.scrollWidth <= width) return [];
  const isInside = (node) => {  // of something that scrolls by itself
    for (let up = node.parentElement; up && up !== document.body; up = up.parentElement)
      if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(up).overflowX)) return true;
    return false;
  };
  const wide = [...document.body.querySelectorAll("*")].filter(
    (node) => node.getBoundingClientRect().right > width + 0.5 && !isInside(node));
  return [`${document.documentElement.scrollWidth} px of ${width}: ` +
    wide.slice(-3).map((node) => node.outerHTML.slice(0, 120)).join(" | ")];
}
"""


class Look(NamedTuple):
    """How somebody looks at a page."""

    lang: str = "en"
    theme: str = "light"
    width: int = 1280
    height: int = 900

    @property
    def is_phone(self) -> bool:
        return self.width < 600

    def __str__(self) -> str:
        return f"{self.lang}-{self.theme}-{'phone' if self.is_phone else 'desktop'}"


PHONE = Look(width=360, height=740)
DESKTOP = Look()


def context_of(browser: Browser, look: Look) -> BrowserContext:
    """Cookies, language, theme and size of one person."""
    return browser.new_context(
        locale={"en": "en-GB", "ja": "ja-JP"}[look.lang],
        color_scheme="dark" if look.theme == "dark" else "light",
        viewport={"width": look.width, "height": look.height},
        is_mobile=look.is_phone,
        has_touch=look.is_phone,
        timezone_id="Asia/Tokyo",
        reduced_motion="reduce",  # nothing is seen on its way from one colour to another
    )


class WatchedPage:
    """One person's page: `page` is Playwright's."""

    def __init__(self, browser: Browser, origin: str, look: Look) -> None:
        self.origin = origin
        self.look = look
        self.faults: list[str] = []
        self._expected: list[str] = []
        self._shifts: dict[tuple[float, str], tuple[float, str]] = {}
        self.context = context_of(browser, look)
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.expose_binding("reportFault", self._on_report)
        self.context.add_init_script(_WATCH)
        self.context.on("request", self._on_request)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.faults.append(f"script error: {error}"))
        self.page.on("dialog", self._on_dialog)

    def goto(self, path: str) -> Page:
        """Open a page of the hub, and check it."""
        self.page.goto(path if path.startswith("http") else self.origin + path, wait_until="load")
        self.check()
        return self.page

    def expects(self, part: str) -> None:
        """Faults with this in their text are what the test is about."""
        self._expected.append(part)

    def check(self) -> None:
        """Note a fault if the page must be scrolled sideways, and what has moved so far."""
        too_wide = self.page.evaluate(_CHECK, self.look.width)
        self.faults += [f"too wide at {self.page.url}: {said}" for said in too_wide]

    def found(self) -> list[str]:
        """Every fault so far that no test expects."""
        moved = [
            f"content moved by {value:.3f} at {url}: {nodes}"
            for (_, url), (value, nodes) in self._shifts.items()
            if value > SHIFT_MAX
        ]
        return [said for said in (*self.faults, *moved) if not any(part in said for part in self._expected)]

    def finish(self) -> list[str]:
        """Check it once more, and close it → what was wrong."""
        if not self.page.is_closed() and self.page.url.startswith(self.origin):
            self.check()
        self.context.close()
        return self.found()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _on_dialog(self, dialog: Dialog) -> None:
        self.faults.append(f"a dialog: {dialog.message}")
        dialog.accept()

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.origin + "/", *_NO_REQUEST)):
            self.faults.append(f"a request leaves the hub: {request.method} {request.url}")

    def _on_report(self, source: dict[str, Any], said: dict[str, Any]) -> None:
        if said["kind"] == "policy":
            self.faults.append(f"refused by the policy: {said['text']}")
            return
        key = (said["page"], self.page.url)
        value, nodes = self._shifts.get(key, (0.0, ""))
        self._shifts[key] = (value + said["value"], f"{nodes} {said['text']}".strip()[:400])
