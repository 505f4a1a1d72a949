"""A scrape of a hub that has much: quick enough, and nobody waits for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from statistics import median

import pytest

from bench.metrics import LIMIT_MS, SCRAPES, fill
from bench.processes import Hub
from bench.stock import stock
from tests.waiting import allowed_s

pytestmark = pytest.mark.soak
BEAT_WITHIN_S = 1.0


def test_a_scrape_with_10_000_daemons_is_quick_and_heartbeats_do_not_wait_for_it(tmp_path: Path) -> None:
    fill(stock(10_000, tmp_path / "hub" / "hub.db"))
    took_s: list[float] = []
    beats_s: list[float] = []
    with Hub(tmp_path / "hub") as hub:
        scraping = threading.Thread(
            target=lambda: took_s.extend(_took_s(hub, "GET", "/metrics") for _ in range(SCRAPES))
        )
        scraping.start()
        while scraping.is_alive():
            beats_s.append(_took_s(hub, "POST", "/api/queue/heartbeat", {"workerId": "daemon-0"}))
        scraping.join()
    assert median(took_s) <= allowed_s(LIMIT_MS / 1000)
    assert max(beats_s) <= allowed_s(BEAT_WITHIN_S)


def _took_s(hub: Hub, method: str, path: str, body: dict[str, str] | None = None) -> float:
    started = time.perf_counter()
    assert hub.call(method, path, body)[0] == 200
    return time.perf_counter() - started
