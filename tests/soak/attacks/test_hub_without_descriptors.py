"""A hub without a descriptor left: who is connected goes on, nobody is alarmed, and the others come back."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from tests.hub_process import KEY, running_hub
from tests.waiting import eventually

pytestmark = pytest.mark.soak
WITHOUT_S = 12.0


def leaving_none(pid: int) -> int:
    taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    return next(islice((number for number in range(100_000) if number not in taken), 0, None))


def limit(pid: int, value: str) -> None:
    subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={value}:"], check=True)


def test_a_hub_without_descriptors_keeps_whom_it_has_and_alarms_nobody(tmp_path: Path) -> None:
    with (
        running_hub(tmp_path / "hub", late_after="3s", down_after="5s") as hub,
        closing(http.client.HTTPConnection("127.0.0.1", hub.port, timeout=10)) as line,
    ):

        def post(path: str, body: dict[str, object]) -> int:
            line.request("POST", path, json.dumps(body), {"X-API-Key": KEY, "Content-Type": "application/json"})
            answer = line.getresponse()
            answer.read()
            return answer.status

        def beat(seq: int) -> int:
            who = {"daemonId": "mini", "bootId": "b", "machineId": "m"}
            return post("/api/queue/heartbeat", {**who, "seq": seq, "intervalSec": 1})

        assert hub.process is not None
        assert beat(1) == 200
        limit(hub.process.pid, str(leaving_none(hub.process.pid)))
        until, seq, said = time.monotonic() + WITHOUT_S, 1, []
        try:
            while time.monotonic() < until:
                seq += 1
                said.append((beat(seq), post("/api/queue", {"content": f"{seq}"})))
                time.sleep(0.5)
        finally:
            limit(hub.process.pid, "4096")
        assert set(said) == {(200, 201)}, said
        eventually(lambda: hub.ask("GET", "/ready").status == 200, what="others", within_s=30)
        assert hub.ask("GET", "/api/daemons/mini", key=KEY).body["state"] == "healthy"
        assert hub.ask("GET", "/api/incidents", key=KEY).body["incidents"] == []
        assert hub.process.poll() is None
