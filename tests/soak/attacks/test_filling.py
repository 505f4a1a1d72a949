"""Invented tokens, invented tasks and many searches against a real hub: its disk is not filled, nobody else waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.hub_process import ADMIN_KEY, running_hub

pytestmark = pytest.mark.soak
MIB = 1 << 20


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("hub.db*"))


def test_invented_tokens_leave_nothing_behind(tmp_path: Path, report: Callable[[str], None]) -> None:
    with running_hub(tmp_path) as hub:
        hub.post("/api/queue", {"id": "a", "content": "x"})
        before = size_of(hub.data_dir)
        for token in range(1, 31):
            body = {"success": True, "token": token, "output": "x" * (8 * MIB - 1000)}
            assert hub.ask("POST", "/api/result/a", body).status == 409
        grown = size_of(hub.data_dir) - before
        report(f"30 results of 8 MiB with invented tokens: the store grew by {grown / MIB:.1f} MiB")
        assert grown < 2 * MIB


def test_invented_tasks_end_at_the_bound_and_work_goes_on(tmp_path: Path, report: Callable[[str], None]) -> None:
    with running_hub(tmp_path, store_mb_max=64, rate_per_s=10_000) as hub:
        hub.post("/api/queue", {"id": "real", "content": "x", "priority": "critical"})
        large = {"content": "x" * (MIB - 1000)}
        refused = [
            answer for answer in (hub.ask("POST", "/api/queue", large) for _ in range(60)) if answer.status != 201
        ]
        assert {(answer.status, answer.body["code"]) for answer in refused} == {(507, "key_full")}
        assert hub.ask("POST", "/api/queue", large, key=ADMIN_KEY).status == 201, "others have what is left"
        answers = [hub.ask("POST", "/api/queue", large, key=ADMIN_KEY).status for _ in range(60)]
        assert set(answers) == {201, 507}
        report(f"{answers.count(201)} tasks of 1 MiB were taken, the store has {size_of(hub.data_dir) / MIB:.0f} MiB")
        assert hub.ask("POST", "/api/queue/heartbeat", {"workerId": "w"}).status == 200
        claimed = hub.post("/api/queue/claim", {"workerId": "w", "provides": ["machine"]})
        assert claimed["taskId"] == "real"
        result = {"success": True, "token": claimed["lease"]["token"], "output": "y" * (8 * MIB - 1000)}
        before = size_of(hub.data_dir)
        assert hub.post("/api/result/real", result) == {"success": True, "cut": True}
        assert "bytes left out" in hub.get("/api/result/real")["output"]
        assert size_of(hub.data_dir) - before < MIB


def test_reads_do_not_wait_for_searches(tmp_path: Path, report: Callable[[str], None]) -> None:
    with running_hub(tmp_path, rate_per_s=10_000) as hub:
        for _ in range(40):
            tasks = [{"content": "x" * 900} for _ in range(1_000)]
            hub.post("/api/queue/batch", {"tasks": tasks})
        with ThreadPoolExecutor(60) as pool:
            sent = [pool.submit(hub.ask, "GET", "/api/tasks?q=nowhere", timeout_s=60) for _ in range(60)]
            worst = 0.0
            while not all(future.done() for future in sent):
                began = time.monotonic()
                assert hub.ask("GET", "/api/queue").status == 200
                worst = max(worst, time.monotonic() - began)
        statuses = [future.result().status for future in sent]
        report(f"60 searches: worst read of somebody else {worst * 1000:.0f} ms, {statuses.count(200)} answered")
        assert set(statuses) <= {200, 429, 503}
        assert worst < 2
