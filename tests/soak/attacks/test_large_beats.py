"""A daemon whose runs have far more to say than one beat may hold, against a real hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.hub_process import KEY, running_hub
from tests.worker.stage import Stage
from understudy.daemon.heartbeat import HEARTBEAT, heartbeat_loop
from understudy.daemon.hub_calls import HubCalls
from understudy.worker.effects import Call, Failed, HubAnswer
from understudy.worker.executors import RunProgress, TaskToRun
from understudy.worker.state import Lease, Run

pytestmark = pytest.mark.soak
RUNS = 48


def test_forty_eight_talkative_runs_are_renewed_in_every_beat(tmp_path: Path) -> None:
    with running_hub(tmp_path, rate_per_s=10_000) as hub:
        tasks = [{"id": f"t{nth}", "content": "talk"} for nth in range(RUNS)]
        hub.post("/api/queue/batch", {"tasks": tasks})
        claimed = hub.post("/api/queue/claim", {"daemonId": "mini", "max": RUNS, "onLoss": "wait"})["tasks"]
        client = HubCalls(hub.url, KEY, version="0")
        answers: list[Any] = []

        def ask(call: Call) -> tuple[int, HubAnswer | Failed]:
            answer = client.call(call)
            if call.path == HEARTBEAT:
                answers.append((len(msgspec.json.encode(call.body)), answer))
            return 1, answer

        stage = Stage(ask)
        for item in claimed:
            token, name = item["lease"]["token"], item["task"]["id"]
            run = Run(name, TaskToRun(id=name), Lease(token, "wait", 30_000, 30_000), 0, 0)
            run.progress = RunProgress(at=1, text="\u4e16" * 1_000, checkpoint="\u4e16" * 21_000)
            stage.state.runs[run.id] = run
        stage.start(heartbeat_loop(stage.state))
        stage.run_for(60_000)
        assert all(isinstance(answer, HubAnswer) and answer.status == 200 for _, answer in answers), answers[-1]
        assert max(size for size, _ in answers) > 500_000
        (daemon,) = hub.get("/api/daemons")["daemons"]
        assert (daemon["state"], len(daemon["running"])) == ("healthy", RUNS)
        assert all("progress" in hub.get(f"/api/tasks/t{nth}") for nth in range(RUNS))
        client.reset()
