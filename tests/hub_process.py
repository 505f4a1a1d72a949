"""A real hub in a process of its own, for any test: `with running_hub(tmp_path) as hub: hub.get("/api/queue")`.

`understudy hub` on a free port of loopback with its own data directory, waited for until `/ready`.
It is given the keys `KEY` (submit, work, memory, read) and `ADMIN_KEY` by environment; further settings as keywords:
`running_hub(tmp_path, late_after="1s", lease_duration="2s")`, in capitals as they stand: `SLACK_WEBHOOK_URL=…`.
`hub.kill()` is SIGKILL, `hub.stop()` is SIGTERM, `hub.start()` starts it again on the same port and data; `hub.log` is
what it wrote so far, `hub.env` an environment for clients. As a fixture, fresh for each test:
`from tests.hub_process import hub`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import prepared
from tests.ports import free_port
from tests.waiting import eventually

KEY = "usk_tests7QmZ2vKx9LrB4nWc8HdYp3Ft"
ADMIN_KEY = "usk_admin5RjX8sNe2GkV6tMb9CwZq4Lh"
LISTENING = re.compile(r"Listening on (http://127\.0\.0\.1:(\d+))")
READY_WITHIN_S = 20.0


class Answer:
    """Status and JSON body of one exchange."""

    def __init__(self, status: int, raw: bytes, headers: Any) -> None:
        self.status = status
        self.raw = raw
        self.headers = headers

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


class HubProcess:
    """One hub, perhaps started several times; its port stays the same."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        self.data_dir = data_dir
        self.port = free_port()  # the same after each start
        self.environ = {"UNDERSTUDY_API_KEY": KEY, "ADMIN_API_KEY": ADMIN_KEY}
        for name, value in settings.items():
            self.environ[name if name.isupper() else f"UNDERSTUDY_{name.upper()}"] = str(value)
        self._log_path = data_dir.with_name(f"{data_dir.name}.log")
        self._log_from = 0
        self.process: prepared.Program | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self._log_path.read_text() if self._log_path.exists() else ""

    @property
    def env(self) -> dict[str, str]:
        """For clients: `subprocess.run([...], env=hub.env)`."""
        return {**os.environ, "UNDERSTUDY_HUB": self.url, "UNDERSTUDY_API_KEY": KEY, "ADMIN_API_KEY": ADMIN_KEY}

    def start(self) -> HubProcess:
        """Start it, and wait until it is ready."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._log_from = len(self.log)
        command = ["hub", "--port", str(self.port), "--data", str(self.data_dir)]
        with self._log_path.open("ab") as log:
            self.process = prepared.start(command, env={**os.environ, **self.environ}, stdout=log, stderr=log)
        self.port = eventually(self._listening_port, within_s=READY_WITHIN_S, what="a listening hub")
        eventually(self.is_ready, within_s=READY_WITHIN_S, what="the hub's readiness")
        return self

    def _listening_port(self) -> int:
        assert self.process is not None
        assert self.process.poll() is None, f"the hub ended with {self.process.returncode}:\n{self.log}"
        found = LISTENING.search(self.log[self._log_from :])
        return int(found[2]) if found else 0

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask("GET", "/ready", key="").status == 200
        return False

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more, nothing was said."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, within_s: float = 60.0) -> int:
        """SIGTERM → its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(within_s)

    def close(self) -> None:
        """End it however it is, if it still is."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def ask(self, method: str, path: str, body: Any = None, *, key: str = KEY, timeout_s: float = 60) -> Answer:
        """One exchange, whatever its status. OSError if there is no answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        if key:
            request.add_header("X-API-Key", key)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return Answer(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), error.headers)

    def get(self, path: str, *, key: str = KEY) -> Any:
        """The body of a GET that must succeed."""
        answer = self.ask("GET", path, key=key)
        assert answer.status == 200, (answer.status, answer.raw)
        return answer.body

    def post(self, path: str, body: Any = None, *, key: str = KEY) -> Any:
        """The body of a POST that must succeed."""
        answer = self.ask("POST", path, body, key=key)
        assert 200 <= answer.status < 300, (answer.status, answer.raw)
        return answer.body


@contextlib.contextmanager
def running_hub(folder: Path, **settings: Any) -> Iterator[HubProcess]:
    """A hub whose data is below `folder`; killed at the end if it still runs."""
    process = HubProcess(folder / "hub", **settings)
    try:
        yield process.start()
    finally:
        process.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    """A fresh hub for one test."""
    with running_hub(tmp_path) as process:
        yield process
