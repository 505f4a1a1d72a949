"""The real hub as a process of its own, and a line to it that can be cut."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import prepared
from tests.daemon.fake_hub import KEY
from tests.ports import free_port
from tests.waiting import eventually

_START = """
import sys, msgspec
from understudy.config.policy import HubInputs
from understudy.runtime.hub.server import serve
sys.exit(serve(msgspec.json.decode(sys.argv[1], type=HubInputs, dec_hook=lambda kind, value: kind(value))))
"""


class RealHub:
    """Started on a free port; started again it keeps port and data."""

    def __init__(self, data_dir: Path, **policy: Any) -> None:
        self._data_dir = data_dir
        self._policy = policy
        self.port = free_port()
        self.start()

    def start(self) -> None:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        settings = {
            "data_dir": str(self._data_dir),
            "settings": {"port": self.port},
            "policy": self._policy,
            "environment_keys": {"UNDERSTUDY_API_KEY": KEY, "ADMIN_API_KEY": KEY},
        }
        path = self._data_dir / "log.txt"
        before = path.stat().st_size if path.exists() else 0
        with path.open("a") as log:
            self.process = prepared.start([json.dumps(settings)], code=_START, stderr=log)
        listening = eventually(
            lambda: re.search(r"Listening on http://[\d.]+:(\d+)", path.read_text()[before:]), what="a hub"
        )
        self.port = int(listening.group(1))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"X-API-Key": KEY, "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return json.loads(refusal.read())

    def submit(self, task_id: str, content: str = "", **fields: Any) -> None:
        answer = self.ask("/api/queue", {"id": task_id, "content": content, **fields})
        assert answer.get("created"), answer

    def task(self, task_id: str) -> dict[str, Any]:
        return self.ask(f"/api/tasks/{task_id}")

    def result(self, task_id: str, within_s: float = 10.0) -> dict[str, Any]:
        def ask() -> dict[str, Any] | None:
            answer = self.ask(f"/api/result/{task_id}")
            return answer if "success" in answer else None

        return eventually(ask, within_s=within_s, every_s=0.02, what=f"a result of {task_id}")


@contextlib.contextmanager
def real_hub(data_dir: Path, **policy: Any) -> Iterator[RealHub]:
    hub = RealHub(data_dir, **policy)
    try:
        yield hub
    finally:
        hub.close()


class Line:
    """A TCP proxy on loopback: forwards, until it is cut or falls silent."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._pairs: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.is_silent = False
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def cut(self) -> None:
        """End every connection there is."""
        with self._lock:
            cut, self._pairs = self._pairs, set()
            self.cuts += bool(cut)
        for end in cut:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                with self._lock:
                    self._pairs |= {near, far}
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65_536):
                if not self.is_silent:
                    sink.sendall(chunk)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._pairs -= {source, sink}
        source.close()
