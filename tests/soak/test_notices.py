"""From the deadline to the receiver: what a person waits for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from bench.figures import percentile
from tests.fakes.webhook import FakeWebhook
from tests.hub_process import HubProcess
from tests.waiting import eventually
from understudy.clock import parse_iso

LATE_MS = 3_000
LATEST_MS = 300  # Healthchecks takes 0.9 to 2.2 s, Uptime Kuma 1.0 s
CHANNELS, DAEMONS_EACH = 30, 5  # a sixth notice within 30 s would wait for the others


def configured(folder: Path, hook: FakeWebhook) -> None:
    lines = []
    for n in range(CHANNELS):
        lines += [f"[channels.c{n}]", 'kind = "webhook"', f'address = "{hook.address}"', f'secret = "{hook.secret}"']
    for n in range(CHANNELS):
        lines += ["[[routes]]", f'channels = ["c{n}"]', f'daemons = ["c{n}-*"]']
    folder.mkdir()
    (folder / "understudy.toml").write_text("\n".join(lines))


def beat(hub: HubProcess, daemon: str) -> None:
    body = {"daemonId": daemon, "machineId": daemon, "bootId": "b1", "seq": 1, "intervalSec": 1, "running": []}
    hub.post("/api/queue/heartbeat", body)


@pytest.mark.soak
def test_a_notice_is_at_its_receiver_within_300_ms_of_the_deadline(tmp_path: Path, report: Any) -> None:
    with FakeWebhook() as hook:
        configured(tmp_path / "hub", hook)
        hub = HubProcess(tmp_path / "hub", late_after=f"{LATE_MS}ms", down_after="1h", heartbeat_interval="1s")
        try:
            hub.start()
            for m in range(DAEMONS_EACH):
                for n in range(CHANNELS):
                    beat(hub, f"c{n}-{m}")
                time.sleep(0.3)  # a fleet that falls silent in the course of a second and a half
            expected = CHANNELS * DAEMONS_EACH
            eventually(lambda: len(hook.deliveries) >= expected, within_s=30, what="a notice of each")
            incidents = {row["id"]: row for row in hub.get("/api/incidents?limit=1000")["incidents"]}
        finally:
            hub.close()
        offset_s = time.time() - time.monotonic()
        waits = []
        for request in hook.received:
            late_at = parse_iso(incidents[request.json["about"]]["lateAt"])
            waits.append((request.at + offset_s) * 1000 - late_at)
        assert (len(waits), hook.problems) == (expected, [])
        p50, p99 = percentile(waits, 50), percentile(waits, 99)
        report(
            f"{expected} notices by {CHANNELS} channels: p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {max(waits):.0f} ms"
        )
        assert min(waits) >= 0
        assert p99 <= LATEST_MS
