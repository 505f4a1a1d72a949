"""Starts the real things as processes: hub, daemon, bare application; and always ends them."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import psutil

HERE = Path(__file__).resolve().parent
KEY = "bench-key-0123456789"
START_WITHIN_S = 60.0
END_WITHIN_S = 30.0


def free_port() -> int:
    """A port of the loopback that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Process:
    """A child in a group of its own, ended with the block."""

    def __init__(self, argv: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self._argv = argv
        self.log = log
        self._env = {**os.environ, "PYTHONPATH": str(HERE.parent), **(env or {})}
        self._env.pop("PYTHONDONTWRITEBYTECODE", None)  # started as installed programs are: compiled
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the child."""
        assert self._child is not None
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> Self:
        """Start it; it writes to its log."""
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env, process_group=0
            )
        return self

    def signal(self, number: int) -> None:
        """Send a signal to the child alone."""
        if self.is_running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """SIGTERM, and wait for its end; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; killed if it does not come."""
        assert self._child is not None
        try:
            return self._child.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait(5)

    def rss_mib(self) -> float:
        """Resident memory of the child."""
        return float(psutil.Process(self.pid).memory_info().rss) / (1 << 20)

    def cpu_s(self) -> float:
        """CPU that the child has used."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is None:
            return
        self.signal(signal.SIGCONT)
        if self.is_running:
            self.stop()
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return


class Server(Process):
    """A child that answers HTTP on a port of the loopback."""

    port: int
    path = "/health"

    def call(
        self, method: str, path: str, body: Any = None, *, timeout_s: float = 30, key: str = KEY
    ) -> tuple[int, Any]:
        """One request on a connection of its own: status and decoded answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            payload = None if body is None else msgspec.json.encode(body)
            connection.request(method, path, payload, {"X-API-Key": key, "Content-Type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        is_json = "json" in (answer.getheader("content-type") or "")
        return answer.status, msgspec.json.decode(raw) if is_json and raw else raw

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Start it without waiting."""
        super().start()

    def wait_ready(self) -> None:
        """Wait until it answers; RuntimeError with its log if it does not."""
        deadline = time.monotonic() + START_WITHIN_S
        while self.is_running and time.monotonic() < deadline:
            try:
                self.call("GET", self.path, timeout_s=5)
            except (OSError, http.client.HTTPException):
                time.sleep(0.005)
            else:
                return
        raise RuntimeError(f"{self._argv[1]} did not start: {self.log.read_text('utf-8')[-2000:]}")


class Hub(Server):
    """A hub in a data directory; `more` are fields of HubInputs."""

    def __init__(
        self, data_dir: Path, *, script: Path = HERE / "hub_server.py", port: int = 0, settings: Any = None, **more: Any
    ) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir = data_dir
        self.port = port or free_port()
        chosen = {
            "settings": {
                "port": self.port,
                "rate_per_s": 1_000_000_000,
                "rate_burst": 1_000_000_000,
                "log_level": "warning",
                **(settings or {}),
            },
            "data_dir": str(data_dir),
            "environment_keys": {"ADMIN_API_KEY": KEY},
            **more,
        }
        super().__init__([sys.executable, str(script), msgspec.json.encode(chosen).decode()], data_dir / "hub.log")


class Bare(Server):
    """The bare application."""

    path = "/"

    def __init__(self, data_dir: Path) -> None:
        self.port = free_port()
        super().__init__([sys.executable, str(HERE / "bare_server.py"), str(self.port)], data_dir / "bare.log")


class DaemonProcess(Process):
    """A daemon of a hub; `settings` are fields of Settings."""

    def __init__(self, hub_port: int, data_dir: Path, command: tuple[str, ...] = (), **settings: Any) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        chosen = {
            "hub_url": f"http://127.0.0.1:{hub_port}",
            "api_key": KEY,
            "data_dir": str(data_dir),
            "command": command,
            "settings": settings,
        }
        argv = [sys.executable, str(HERE / "daemon_process.py"), msgspec.json.encode(chosen).decode()]
        super().__init__(argv, data_dir / "daemon.log")
