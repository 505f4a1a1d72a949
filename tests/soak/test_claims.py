"""Many workers at one queue, over real connections: each task is leased exactly once."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from typing import Any

import msgspec
import pytest

from bench.processes import KEY, Hub

WORKERS = 20
TASKS = 1_000


def enqueue(hub: Hub, tasks: int) -> set[str]:
    made: set[str] = set()
    for _ in range(0, tasks, 500):
        body = {"tasks": [{"content": "x"} for _ in range(min(500, tasks))]}
        made |= {one["taskId"] for one in hub.call("POST", "/api/queue/batch", body)[1]["tasks"]}
    return made


class Claimer(threading.Thread):
    """Claims until nothing is left; every answer counts, so a second lease on a task would be seen."""

    def __init__(self, hub: Hub, name: str, start: threading.Barrier, body: dict[str, Any]) -> None:
        super().__init__(daemon=True, name=name)
        self._hub = hub
        self._start = start
        self._body = {"workerId": name, **body}
        self.leases: list[tuple[str, int]] = []
        self.unexpected: list[str] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._hub.port, timeout=60)
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        self._start.wait(30)
        while True:
            connection.request("POST", "/api/queue/claim", msgspec.json.encode(self._body), headers)
            answer = connection.getresponse()
            said = msgspec.json.decode(answer.read())
            if answer.status != 200:
                self.unexpected.append(f"{answer.status} {said}")
            if not said.get("success"):
                break
            items = said.get("tasks") or [said]
            self.leases += [(item["task"]["id"], item["lease"].get("token", 0)) for item in items]
        connection.close()


def claim_all(hub: Hub, body_of: Any) -> tuple[Counter[str], float, int]:
    """Leases a task, seconds, and how many workers got at least one."""
    start = threading.Barrier(WORKERS + 1)
    workers = [Claimer(hub, f"worker-{n}", start, body_of(n)) for n in range(WORKERS)]
    for worker in workers:
        worker.start()
    start.wait(30)
    started = time.monotonic()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    passed = time.monotonic() - started
    assert [said for worker in workers for said in worker.unexpected] == []
    counted = Counter(task_id for worker in workers for task_id, _ in worker.leases)
    return counted, passed, sum(bool(worker.leases) for worker in workers)


STYLES = {
    "one a request": lambda _: {"provides": ["machine"]},
    "old clients": lambda _: {"leaseDurationSec": 600},
    "batches of 7": lambda _: {"max": 7},
    "daemons, long poll": lambda n: {"max": 3, "waitSec": 1, "provides": ["machine", f"tag-{n}"]},
}


@pytest.mark.parametrize("style", STYLES)
def test_20_workers_that_claim_200_tasks_at_once_get_each_once(tmp_path, style):
    with Hub(tmp_path, policy={"lease_ms": 600_000}) as hub:
        made = enqueue(hub, 200)
        counted, _, _ = claim_all(hub, STYLES[style])
        assert set(counted) == made
        assert set(counted.values()) == {1}


@pytest.mark.soak
@pytest.mark.parametrize("style", STYLES)
def test_20_workers_that_claim_1000_tasks_at_once_get_each_once(tmp_path, style, report):
    with Hub(tmp_path, policy={"lease_ms": 600_000}) as hub:
        fastest, shared = 1e9, WORKERS
        for _ in range(10):
            made = enqueue(hub, TASKS)
            counted, passed, busy = claim_all(hub, STYLES[style])
            assert set(counted) == made
            assert set(counted.values()) == {1}
            fastest, shared = min(fastest, passed), min(shared, busy)
        report(f"{style}: 10 × 1,000 tasks, each leased once, by {shared} or more of 20 workers, best {fastest:.2f} s")


@pytest.mark.soak
def test_tasks_that_are_lost_again_and_again_are_never_held_by_two(tmp_path, report):
    """Leases of 1 s that half of the workers let run out: tokens only grow, and only the newest one settles."""
    with Hub(tmp_path, policy={"lease_ms": 1_000, "losses_max": 1_000}) as hub:
        made = enqueue(hub, 100)
        held: dict[str, int] = {}
        taken = threading.Lock()
        settled: Counter[str] = Counter()
        wrong: list[str] = []
        end = time.monotonic() + 60

        def work(n: int) -> None:
            rng = random.Random(n)
            while time.monotonic() < end and len(settled) < len(made):
                said = hub.call("POST", "/api/queue/claim", {"workerId": f"w{n}", "max": 3, "waitSec": 0.5})[1]
                items = [(item["task"]["id"], item["lease"]["token"]) for item in said.get("tasks", ())]
                for task_id, token in items:
                    with taken:
                        if token <= held.get(task_id, 0):
                            wrong.append(f"{task_id}: token {token} after {held[task_id]}")
                        held[task_id] = max(token, held.get(task_id, 0))
                if rng.random() < 0.5:
                    time.sleep(rng.uniform(1.0, 1.6))  # a stalled worker: its lease may have ended meanwhile
                for task_id, token in items:
                    answer = hub.call(
                        "POST", f"/api/result/{task_id}", {"success": True, "output": token, "token": token}
                    )
                    with taken:
                        if answer[0] == 200 and not answer[1].get("duplicate"):
                            settled[task_id] += 1

        workers = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(90)
        assert wrong == []
        assert set(settled.values()) == {1}
        assert set(settled) == made
        losses = [hub.call("GET", f"/api/tasks/{task_id}")[1]["losses"] for task_id in made]
        report(
            f"100 tasks under leases of 1 s, stalled workers: settled once each, {sum(losses)} leases lost meanwhile"
        )
