"""A hub in a real workerd, with the few questions that its tests ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cloudflare.place import Place
from tests.cloudflare.workerd import Workerd, understudy
from tests.waiting import eventually

KEY, ADMIN_KEY = "usk_tests7QmZ2vKx9LrB4nWc8HdYp3Ft", "usk_admin5RjX8sNe2GkV6tMb9CwZq4Lh"


class WorkerHub:
    """Settings are the variables of the Worker: `WorkerHub(place, directory, late_after="2s")`."""

    def __init__(self, place: Place, directory: Path, *, is_started: bool = True, **settings: str) -> None:
        variables = {"UNDERSTUDY_API_KEY": KEY, "ADMIN_API_KEY": ADMIN_KEY}
        variables |= {name if name.isupper() else f"UNDERSTUDY_{name.upper()}": v for name, v in settings.items()}
        modules = {"worker.py": Path(__file__).parent / "hub_worker.py", **dict(understudy())}
        self.workerd = Workerd(place, directory, modules, variables)
        if is_started:
            self.workerd.start()

    @property
    def environ(self) -> dict[str, str]:
        """For commands and daemons."""
        return {"WORKERS_URL": f"http://127.0.0.1:{self.workerd.port}", "UNDERSTUDY_API_KEY": KEY}

    def ask(self, method: str, path: str, body: Any = None, key: str = KEY) -> tuple[int, Any]:
        """Status and answer."""
        sent = None if body is None else json.dumps(body).encode()
        status, answer = self.workerd.ask(method, path, sent, {"X-API-Key": key, "Content-Type": "application/json"})
        assert status != 500, self.workerd.said()[-3000:]
        return status, json.loads(answer)

    def get(self, path: str, key: str = KEY) -> Any:
        """The answer, if it is 200."""
        status, answer = self.ask("GET", path, key=key)
        assert status == 200, answer
        return answer

    def post(self, path: str, body: Any, of: int = 200) -> Any:
        """The answer, if it has this status."""
        status, answer = self.ask("POST", path, body)
        assert status == of, (status, answer)
        return answer

    def enqueue(self, task_id: str, **fields: Any) -> None:
        """A task."""
        self.post("/api/queue", {"id": task_id, "content": f"do {task_id}", **fields}, of=201)

    def beat(self, seq: int, daemon_id: str = "mini", **fields: Any) -> None:
        """A heartbeat of a daemon with this machine."""
        said = {"daemonId": daemon_id, "machineId": "m", "bootId": "b", "seq": seq, "intervalSec": 1, **fields}
        self.post("/api/queue/heartbeat", said)

    def events(self) -> list[str]:
        """The names of what has happened, oldest first."""
        return [event["name"] for event in self.get("/api/events?limit=1000")["events"]]

    def wait_for(self, *names: str) -> None:
        """Wait until all of these have happened."""
        eventually(lambda: set(names) <= set(self.events()), within_s=90, every_s=0.2, what=f"{names}")
