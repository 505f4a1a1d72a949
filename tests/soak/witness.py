"""A client that remembers every acknowledgement of a hub, and afterwards asks whether each is still true."""

from __future__ import annotations

import http.client
import random
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import msgspec

from bench.processes import KEY, Hub

CLIENTS = 8


class Promises:
    """What the hub has acknowledged; `id → what was said`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.enqueued: dict[str, str] = {}  # task → content
        self.leased: dict[str, int] = {}  # task → the token granted last
        self.reported: dict[str, str] = {}  # task → output
        self.acknowledged = 0

    def keep(self, kind: dict[str, Any], key: str, value: Any) -> None:
        """One more promise."""
        with self._lock:
            self.acknowledged += 1
            kind[key] = value

    def forget(self) -> None:
        """Drop what was checked."""
        with self._lock:
            self.enqueued, self.leased, self.reported = {}, {}, {}

    @property
    def tasks(self) -> list[str]:
        """All tasks that something was promised about."""
        return sorted({*self.enqueued, *self.leased, *self.reported})


class Client(threading.Thread):
    """Enqueues, claims and reports, single and in batches, until it is told to stop or the hub is gone."""

    def __init__(self, hub: Hub, promises: Promises, seed: int, names: Iterator[int]) -> None:
        super().__init__(daemon=True, name=f"client-{seed}")
        self._rng = random.Random(seed)
        self._promises = promises
        self._names = names
        self._connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30)
        self.stopped = threading.Event()
        self.refused: list[str] = []

    def run(self) -> None:
        steps: tuple[Callable[[], None], ...] = (self._enqueue, self._enqueue_many, self._work, self._work, self._work)
        try:
            while not self.stopped.is_set():
                self._rng.choice(steps)()
        except (OSError, http.client.HTTPException):
            return  # killed: whatever was not answered is promised to nobody
        finally:
            self._connection.close()

    def _call(self, path: str, body: Any) -> Any:
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        self._connection.request("POST", path, msgspec.json.encode(body), headers)
        answer = self._connection.getresponse()
        raw = answer.read()
        if answer.status >= 300:
            self.refused.append(f"{path}: {answer.status} {raw[:200]!r}")
        return msgspec.json.decode(raw)

    def _enqueue(self) -> None:
        content = f"content {next(self._names)}"
        said = self._call("/api/queue", {"content": content})
        if said.get("success"):
            self._promises.keep(self._promises.enqueued, said["taskId"], content)

    def _enqueue_many(self) -> None:
        contents = [f"content {next(self._names)}" for _ in range(self._rng.randint(2, 5))]
        said = self._call("/api/queue/batch", {"tasks": [{"content": content} for content in contents]})
        for made, content in zip(said.get("tasks", ()), contents, strict=True):
            self._promises.keep(self._promises.enqueued, made["taskId"], content)

    def _work(self) -> None:
        many = self._rng.randint(1, 6)
        said = self._call("/api/queue/claim", {"workerId": self.name, "max": many})
        got = [(item["task"]["id"], item["lease"]["token"]) for item in said.get("tasks", ())]
        for task_id, token in got:
            self._promises.keep(self._promises.leased, task_id, token)
        if got and self._rng.random() < 0.8:
            self._report(got)

    def _report(self, got: list[tuple[str, int]]) -> None:
        if len(got) == 1:
            task_id, token = got[0]
            output = f"output {next(self._names)}"
            said = self._call(f"/api/result/{task_id}", {"success": True, "output": output, "token": token})
            if said.get("success") and not said.get("duplicate"):
                self._promises.keep(self._promises.reported, task_id, output)
            return
        outputs = {task_id: f"output {next(self._names)}" for task_id, _ in got}
        results = [{"taskId": i, "token": token, "success": True, "output": outputs[i]} for i, token in got]
        for one in self._call("/api/results", {"results": results}).get("results", ()):
            if one.get("success") and not one.get("duplicate"):
                self._promises.keep(self._promises.reported, one["taskId"], outputs[one["taskId"]])


class Crowd:
    """All clients of one life of the hub."""

    def __init__(self, hub: Hub, promises: Promises, seed: int, names: count[int]) -> None:
        self.clients = [Client(hub, promises, seed * 1000 + n, names) for n in range(CLIENTS)]
        for client in self.clients:
            client.start()

    def end(self) -> list[str]:
        """Wait until all are done; what the hub refused, which it should not."""
        for client in self.clients:
            client.stopped.set()
        for client in self.clients:
            client.join(40)
            assert not client.is_alive(), f"{client.name} hangs"
        return [refused for client in self.clients for refused in client.refused]


def broken_promises(hub: Hub, promises: Promises) -> list[str]:
    """Every acknowledgement that is not true any more, one line each."""
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30)
    broken: list[str] = []
    for task_id in promises.tasks:
        connection.request("GET", f"/api/tasks/{task_id}", headers={"X-API-Key": KEY})
        answer = connection.getresponse()
        raw = answer.read()
        if answer.status != 200:
            broken.append(f"{task_id}: {answer.status}, though something about it was acknowledged")
        else:
            broken += _broken_of(task_id, msgspec.json.decode(raw), promises)
    connection.close()
    return broken


def _broken_of(task_id: str, task: dict[str, Any], promises: Promises) -> list[str]:
    broken: list[str] = []
    content = promises.enqueued.get(task_id)
    if content is not None and task["content"] != content:
        broken.append(f"{task_id}: its content is {task['content']!r}, acknowledged was {content!r}")
    token = promises.leased.get(task_id)
    if token is not None and token not in [attempt["token"] for attempt in task["attempts"]]:
        broken.append(f"{task_id}: the lease {token} is gone")
    output = promises.reported.get(task_id)
    if output is not None and (task["status"] != "done" or task["result"]["output"] != output):
        broken.append(f"{task_id}: the result {output!r} is gone; it is {task['status']}")
    if token is not None and output is None and task["status"] == "pending":
        broken.append(f"{task_id}: the lease {token} has not ended, and yet the task is queued again")
    return broken
