"""The hub in a real workerd, as shortly as it can be asked; `make test-worker` asks for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cloudflare.hubs import ADMIN_KEY, WorkerHub
from tests.cloudflare.place import WITHOUT_ONE, Place

STARTED_WITHIN_S = 90.0  # it takes 4; a machine that is so busy has other tests to end


@pytest.fixture
def hub(place: Place, directory: Path) -> Iterator[WorkerHub]:
    made = WorkerHub(place, directory, is_started=False, time_zone="Asia/Tokyo", quiet_hours="22:00-07:00")
    made.workerd.begin()
    try:
        if not made.workerd.is_up(STARTED_WITHIN_S):
            pytest.skip(f"{WITHOUT_ONE}: it did not answer within {STARTED_WITHIN_S:.0f} s")
        yield made
    finally:
        made.workerd.stop()


def test_a_task_goes_its_way_inside_workerd(hub: WorkerHub) -> None:
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(hub.post, "/api/queue/claim", {"workerId": "w", "provides": ["machine"], "waitSec": 50})
        hub.enqueue("way-1")
        claim = poll.result(60)
    assert claim["taskId"] == "way-1"
    hub.beat(1)
    assert hub.ask("GET", "/api/queue", key="wrong")[0] == 401
    sleep = {"expectedSleep": [{"from": "23:00", "to": "06:00", "tz": "America/Indiana/Knox"}]}
    assert hub.ask("PUT", "/api/daemons/mini/settings", sleep, key=ADMIN_KEY)[0] == 200
    hub.post("/api/result/way-1", {"success": True, "output": "done", "token": claim["lease"]["token"]})
    assert hub.get("/api/result/way-1")["output"] == "done"
