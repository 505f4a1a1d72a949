"""Several hub processes on one PostgreSQL behind a real proxy, and clients who repeat what was not answered."""

from __future__ import annotations

import http.client
import os
import random
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.hub_process import KEY, HubProcess
from tests.ports import free_port
from tests.waiting import eventually

CADDY = """{{
    admin off
    auto_https off
    grace_period 1s
    storage file_system {folder}
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy {hubs} {{
        health_uri /ready
        health_interval 500ms
        health_timeout 2s
        lb_policy least_conn
        lb_try_duration 5s
        lb_try_interval 100ms
        flush_interval -1
    }}
}}
"""
AGAIN = frozenset({502, 503, 504})  # what a proxy or a hub says that cannot now
AGAIN_S = 0.1
GIVE_UP_S = 60.0
ANSWERED_EVERY = 10  # so many tasks have one whose answer is sent to somebody


@contextmanager
def caddy(ports: list[int], folder: Path) -> Iterator[int]:
    """The port of a Caddy in front of these hubs."""
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("NO CADDY: many hubs were not tried behind a proxy (apt-get install caddy)")
    folder.mkdir(parents=True)
    port, file = free_port(), folder / "Caddyfile"
    file.write_text(CADDY.format(folder=folder, port=port, hubs=" ".join(f"127.0.0.1:{one}" for one in ports)))
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(folder))
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [program, "run", "--adapter", "caddyfile", "--config", file],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env={**os.environ, **homes},
        )  # fmt: skip
    try:
        eventually(lambda: _answers(port), what="the proxy", within_s=20)
        yield port
    finally:
        child.terminate()
        child.wait(20)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextmanager
def hubs_on(url: str, count: int, folder: Path, **settings: Any) -> Iterator[list[HubProcess]]:
    """So many hubs on one store; a setting that is a function gives each hub its own, by its name."""
    made = []
    for name in (f"hub-{n}" for n in range(count)):
        own = {key: value(name) if callable(value) else value for key, value in settings.items()}
        made.append(HubProcess(folder / name, store=url, hub_name=name, **{"hub_drain": "0s", **own}))
    with ExitStack() as stack:
        for hub in made:
            stack.callback(hub.close)
            hub.start()
        yield made


class Ledger:
    """What was acknowledged to the clients, and what they had to repeat."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.enqueued: dict[str, bool] = {}  # by task: whether its answer is sent to somebody
        self.done: dict[str, str] = {}  # by task: the output that was taken
        self.claimed: dict[str, set[int]] = {}  # by task: the tokens that were given to somebody
        self.wrong: list[str] = []
        self.repeated: Counter[str] = Counter()  # by what had happened
        self.longest_s = 0.0
        self.requests = 0

    def is_wrong(self, what: str) -> None:
        with self.lock:
            self.wrong.append(what)


class Caller:
    """Sends each request until it is answered; the same request, so that it has its effect once."""

    def __init__(self, port: int, ledger: Ledger) -> None:
        self._port = port
        self.ledger = ledger
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and body."""
        began = time.monotonic()
        while True:
            try:
                status, said = self._once(path, msgspec.json.encode(body))
                why = str(status)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                status, said, why = 502, None, type(error).__name__
            took_s = time.monotonic() - began
            with self.ledger.lock:
                self.ledger.requests += 1
                self.ledger.longest_s = max(self.ledger.longest_s, took_s)
                if status in AGAIN:
                    self.ledger.repeated[why] += 1
            if status not in AGAIN:
                return status, said
            if took_s > GIVE_UP_S:
                raise AssertionError(f"{path} is not answered for {took_s:.0f} s: {why}")
            time.sleep(AGAIN_S)

    def _once(self, path: str, body: bytes) -> tuple[int, Any]:
        self._connection = self._connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        self._connection.request("POST", path, body, headers)
        answer = self._connection.getresponse()
        raw = answer.read()
        return answer.status, msgspec.json.decode(raw) if answer.status not in AGAIN else None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Client(threading.Thread):
    """Enqueues, claims, reports, until it is to stop."""

    def __init__(self, port: int, ledger: Ledger, number: int, stopped: threading.Event, *, reply_to: str = "") -> None:
        super().__init__(daemon=True, name=f"client-{number}")
        self._reply_to = {"replyTo": reply_to} if reply_to else {}
        self._caller = Caller(port, ledger)
        self._ledger = ledger
        self._rng = random.Random(number)
        self._stopped = stopped
        self._count = 0

    def run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._rng.choice((self._enqueue, self._work, self._work))()
        except Exception as error:  # noqa: BLE001 - the test reports it
            self._ledger.is_wrong(f"{self.name}: {error!r}")
        finally:
            self._caller.close()

    def _enqueue(self) -> None:
        self._count += 1
        task_id = f"{self.name}-{self._count}"
        is_answered = bool(self._reply_to) and self._count % ANSWERED_EVERY == 0
        body = {"id": task_id, "content": f"content of {task_id}", **(self._reply_to if is_answered else {})}
        status, said = self._caller.post("/api/queue", body)
        if status not in (200, 201):
            self._ledger.is_wrong(f"enqueue {task_id}: {status} {said}")
        with self._ledger.lock:
            self._ledger.enqueued[task_id] = is_answered

    def _work(self) -> None:
        self._count += 1
        asked = {"workerId": self.name, "max": self._rng.randint(1, 3), "requestId": f"{self.name}-{self._count}"}
        status, said = self._caller.post("/api/queue/claim", asked)
        if status != 200:
            self._ledger.is_wrong(f"claim: {status} {said}")
            return
        for item in said.get("tasks", ()):
            with self._ledger.lock:
                self._ledger.claimed.setdefault(item["task"]["id"], set()).add(item["lease"]["token"])
            self._report(item["task"]["id"], item["lease"]["token"])

    def _report(self, task_id: str, token: int) -> None:
        output = f"answer of {task_id}: {self.name} with {token}"
        status, said = self._caller.post(f"/api/result/{task_id}", {"success": True, "output": output, "token": token})
        if status != 200:
            self._ledger.is_wrong(f"result of {task_id} with {token}: {status} {said}")
            return
        with self._ledger.lock:
            known = self._ledger.done.setdefault(task_id, output)
        if known != output:
            self._ledger.is_wrong(f"{task_id} was done twice: {known!r} and {output!r}")


class Beater(threading.Thread):
    """A daemon that beats every second: whatever happens to hubs, nobody may call it silent."""

    def __init__(self, port: int, ledger: Ledger, name: str, stopped: threading.Event) -> None:
        super().__init__(daemon=True, name=name)
        self._caller = Caller(port, ledger)
        self._stopped = stopped
        self._seq = 0
        self.longest_gap_s = 0.0  # between two beats that were accepted

    def run(self) -> None:
        accepted = time.monotonic()
        while not self._stopped.wait(1):
            self._seq += 1
            beat = {"daemonId": self.name, "intervalSec": 1, "machineId": self.name, "bootId": "b", "seq": self._seq}
            try:
                status, said = self._caller.post("/api/queue/heartbeat", beat)
            except AssertionError as error:
                status, said = 0, error
            if status != 200:
                self._caller.ledger.is_wrong(f"beat of {self.name}: {status} {said}")
            now = time.monotonic()
            self.longest_gap_s, accepted = max(self.longest_gap_s, now - accepted), now
        self._caller.close()


class Follower(threading.Thread):
    """Follows the events of whichever hub the proxy gives it, and goes on from its last one when a stream ends."""

    def __init__(self, port: int, stopped: threading.Event) -> None:
        super().__init__(daemon=True, name="follower")
        self._port = port
        self._stopped = stopped
        self.places: list[int] = []
        self.streams = 0

    def run(self) -> None:
        while not self._stopped.is_set():
            with suppress(OSError, http.client.HTTPException):
                self._follow()
            self._stopped.wait(AGAIN_S)

    def _follow(self) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)) as connection:
            headers = {"X-API-Key": KEY} | ({"Last-Event-ID": str(self.places[-1])} if self.places else {})
            connection.request("GET", "/api/events?follow=1", headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                return
            self.streams += 1
            place = 0
            while not self._stopped.is_set() and (line := answer.readline()):
                if line.startswith(b"id: "):
                    place = int(line[4:])
                elif line == b"\n" and place:  # an event counts when it is whole
                    self.places.append(place)
                    place = 0


def broken_in(hub: HubProcess, ledger: Ledger) -> list[str]:
    """Every acknowledged effect that is not in the store, read from one hub."""
    broken = list(ledger.wrong)
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=60)
    for task_id in ledger.enqueued:
        connection.request("GET", f"/api/tasks/{task_id}", headers={"X-API-Key": KEY})
        answer = connection.getresponse()
        raw = answer.read()
        if answer.status != 200:
            broken.append(f"{task_id} was acknowledged and is {answer.status}")
            continue
        task = msgspec.json.decode(raw)
        ends = [attempt["outcome"] for attempt in task["attempts"] if attempt.get("outcome") == "done"]
        output = ledger.done.get(task_id)
        tokens = [attempt["token"] for attempt in task["attempts"]]
        if tokens != sorted(set(tokens)) or not ledger.claimed.get(task_id, set()) <= set(tokens):
            broken.append(f"{task_id} was claimed under {ledger.claimed.get(task_id)}, and has the tokens {tokens}")
        if len(ends) > 1:
            broken.append(f"{task_id} has ended {len(ends)} times")
        if output is not None and (task["status"] != "done" or task["result"]["output"] != output):
            broken.append(f"{task_id}: {output!r} was taken, and it is {task['status']}")
    connection.close()
    return broken
