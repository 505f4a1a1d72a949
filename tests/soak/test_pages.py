"""A page shows what happens within a second of the event: five deaths of a daemon, each change timed in the browser."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import browser, open_page, start_hub  # noqa: F401 - fixtures
from tests.browser.visits import BEAT_MS, QUICK, log_in, shows
from tests.daemon.live import living
from tests.hub_process import KEY, HubProcess
from understudy.clock import parse_iso

pytestmark = pytest.mark.soak
DEATHS = 5
WITHIN_MS = 1_000
NAMES = {"healthy": ("daemon.registered", "daemon.recovered"), "late": ("daemon.late",), "down": ("daemon.down",)}
_RECORD = """
() => {
  window.seen = [];
  const look = () => {
    const state = document.querySelector('[data-daemon="mini"]')?.dataset.state;
    if (state && state !== window.seen.at(-1)?.[0]) window.seen.push([state, Date.now()]);
  };
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
}
"""


def happened(hub: HubProcess) -> list[tuple[str, int]]:
    """(state, since when) by the hub's own log."""
    events: list[dict[str, Any]] = hub.get("/api/events?limit=1000")["events"]
    words = {name: state for state, names in NAMES.items() for name in names}
    found = sorted((parse_iso(event["at"]), words[event["name"]]) for event in events if event["name"] in words)
    states = [state for _, state in found]
    return [(state, at) for before, (at, state) in zip(["", *states], found, strict=False) if state != before]


def test_each_death_and_return_is_seen_within_a_second(start_hub, open_page, tmp_path, report):  # noqa: F811
    hub = start_hub(**QUICK)
    watched = open_page(hub.url)
    watched.expects("content moved")  # other tests judge that
    page = log_in(watched, hub, "read")
    page.evaluate(_RECORD)
    for _ in range(DEATHS):
        with living(hub.url, tmp_path / "mini", "cat", api_key=KEY, heartbeat_interval_ms=BEAT_MS) as daemon:
            shows(page, "mini", "healthy")
            daemon.kill()
            shows(page, "mini", "down")
    seen = page.evaluate("window.seen")
    events = happened(hub)
    assert [state for state, _ in seen] == [state for state, _ in events]
    lags = sorted(at - event_at for (_, at), (_, event_at) in zip(seen, events, strict=True))
    report(f"{len(lags)} changes seen, median {lags[len(lags) // 2]} ms, longest {lags[-1]} ms after the event")
    assert lags[-1] < WITHIN_MS
