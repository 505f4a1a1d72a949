"""workerd is killed at random moments under load, some of them while it starts.

Nothing that was acknowledged is lost, a daemon that beats is never called silent, and each one that fell silent is,
once. `make test-worker ARGS="--kills 50 -k kills"` kills it more often.
"""

from __future__ import annotations

import http.client
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cloudflare.hubs import WorkerHub
from tests.cloudflare.place import Place
from tests.seeds import SEED
from tests.waiting import eventually

pytestmark = pytest.mark.real_worker
BEATING = "beating"
SETTINGS = {"late_after": "30s", "down_after": "1h", "heartbeat_interval": "1s"}
ENOUGH = 12  # acknowledged tasks of a life, at the least
LOAD_S_MAX, START_S_MAX = 1.0, 4.0  # the moment of a kill: so long after that, or after the start
IN_ITS_START = 0.2  # so many of the kills
LINES = 3
TROUBLES = (OSError, http.client.HTTPException)


class Load:
    """Tasks, claims, results and beats, as fast as they are answered; what was acknowledged is noted."""

    def __init__(self, hub: WorkerHub) -> None:
        self._hub = hub
        self._over = threading.Event()
        self.enough = threading.Event()
        self.queued: list[str] = []
        self.done: list[str] = []

    def run(self, life: int) -> list[threading.Thread]:
        """Its threads; each ends with the first request that is not answered."""
        work = [lambda line=line: self._work(f"{life}-{line}") for line in range(LINES)]
        threads = [threading.Thread(target=one) for one in work]
        for thread in threads:
            thread.start()
        return threads

    def _work(self, name: str) -> None:
        with suppress(*TROUBLES):
            for n in range(10_000):
                task_id = f"task-{name}-{n}"
                self._hub.enqueue(task_id, needs=[f"tag:{name}"])
                self.queued.append(task_id)
                if n % 2:
                    asked = {"workerId": name, "provides": [f"tag:{name}"]}
                    lease = self._hub.post("/api/queue/claim", asked)
                    self._hub.post(
                        f"/api/result/{lease['taskId']}",
                        {"success": True, "output": lease["taskId"], "token": lease["lease"]["token"]},
                    )
                    self.done.append(lease["taskId"])
                if len(self.queued) >= ENOUGH:
                    self.enough.set()


@pytest.fixture
def hub(place: Place, directory: Path) -> Iterator[WorkerHub]:
    made = WorkerHub(place, directory, **SETTINGS)
    yield made
    made.workerd.stop()


def test_kills_lose_nothing_and_make_no_alarm_but_the_right_ones(hub: WorkerHub, pytestconfig: pytest.Config) -> None:
    moments = random.Random(SEED)
    kills = pytestconfig.getoption("kills", default=3)
    over = threading.Event()
    beats = threading.Thread(target=_beat_on, args=(hub, over))
    beats.start()
    silent: list[str] = []
    try:
        for life in range(kills):
            silent.append(f"silent-{life}")
            hub.beat(1, silent[-1])
            _live_until_killed(hub, life, moments)
        silent.append("silent-at-last")
        hub.beat(1, silent[-1])
        _check_alarms(hub, silent)
    finally:
        over.set()
        beats.join()


def _beat_on(hub: WorkerHub, over: threading.Event) -> None:
    for seq in range(1, 1_000_000):
        with suppress(*TROUBLES):
            hub.beat(seq, BEATING)
        if over.wait(1.0):  # short: it polls
            return


def _live_until_killed(hub: WorkerHub, life: int, moments: random.Random) -> None:
    load = Load(hub)
    threads = load.run(life)
    assert load.enough.wait(300)
    threading.Event().wait(moments.uniform(0, LOAD_S_MAX))
    hub.workerd.kill()
    for thread in threads:
        thread.join(60)
    if moments.random() < IN_ITS_START:
        hub.workerd.begin()
        threading.Event().wait(moments.uniform(0, START_S_MAX))
        hub.workerd.kill()
    hub.workerd.start()
    states = {task_id: hub.ask("GET", f"/api/tasks/{task_id}") for task_id in load.queued}
    assert {task_id for task_id, (status, _) in states.items() if status != 200} == set()
    assert {task_id for task_id in load.done if states[task_id][1]["status"] != "done"} == set()


def _check_alarms(hub: WorkerHub, silent: list[str]) -> None:
    """The last deadline is left to an object that nobody asks anything: killed before it, it rings by itself."""
    over = "daemonId=silent-at-last"
    hub.workerd.kill()
    hub.workerd.begin()
    eventually(lambda: over in _said_late(hub), within_s=180, every_s=0.5, what="a deadline that rings by itself")
    hub.workerd.answers()
    late = [event["fields"]["daemonId"] for event in _events(hub) if event["name"] == "daemon.late"]
    assert sorted(late) == sorted(silent)


def _said_late(hub: WorkerHub) -> str:
    return "\n".join(line for line in hub.workerd.said().splitlines() if "[WARNING]" in line)


def _events(hub: WorkerHub) -> list[Any]:
    events: list[Any] = hub.get("/api/events?limit=1000&search=daemon.late")["events"]
    return events
