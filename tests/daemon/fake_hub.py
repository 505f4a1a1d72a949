"""A small hub on loopback that notes what it is told and misbehaves on demand; real HTTP, no rules."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from understudy.clock import iso

KEY = "usk_0123456789abcdefghjkmnpqrstvwxyz"
# what a fault may be: "drop" (not carried out, cut), "cut" (carried out, answer lost), "hang", or (status, body)
Fault = str | tuple[int, dict[str, Any]]


class Seen(NamedTuple):
    at_s: float
    path: str
    body: dict[str, Any]


class FakeHub:
    """Hands out tasks in order, with tokens that grow; believes everything else."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.queue: list[dict[str, Any]] = []
        self.leases: dict[str, int] = {}  # task → current token
        self.requests: dict[str, list[dict[str, Any]]] = {}  # request id → what it was granted
        self.results: dict[str, dict[str, Any]] = {}
        self.lost: set[str] = set()
        self.cancel: set[str] = set()
        self.lease_s = 30.0
        self.on_loss = ""  # "": the claim's
        self.next_s = 10.0
        self.boot = ""
        self.fault: Callable[[str, dict[str, Any]], Fault | None] = lambda *_: None
        self._scheme = "http"
        self._token = 1000
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def wrap(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https"

    def close(self) -> None:
        with self._changed:
            self._server.is_closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def submit(self, task_id: str, content: str = "", **fields: Any) -> None:
        with self._changed:
            self.queue.append({"id": task_id, "content": content, **fields})
            self._changed.notify_all()

    def reported(self, ending: str) -> list[dict[str, Any]]:
        """The bodies of all requests to paths with that ending, in order."""
        return [seen.body for seen in list(self.seen) if seen.path.endswith(ending)]

    def beats(self) -> list[dict[str, Any]]:
        return self.reported("/queue/heartbeat")

    # ---- what it answers ---------------------------------------------------------------------

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "/api/queue/claim":
            return self._claim(body)
        with self._changed:
            if path == "/api/queue/heartbeat":
                return self._beat(body)
            if path == "/api/results":
                return 200, {"results": [self._result(entry) for entry in body["results"]]}
            if path.endswith("/release"):
                return self._release(path.split("/")[3], body)
            if path == "/api/daemon/register":
                return 201, {"success": True, "daemonId": body["daemonId"]}
        return 404, {"error": "Not found"}

    def _claim(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        until = time.monotonic() + body.get("waitSec", 0)
        with self._changed:
            if body["bootId"] != self.boot:
                return 409, {"error": "Unknown boot", "code": "unknown_boot"}
            if body["requestId"] in self.requests:
                return 200, {"success": True, "tasks": self.requests[body["requestId"]]}
            while not self.queue or body["bootId"] != self.boot:
                left = until - time.monotonic()
                if left <= 0 or self._server.is_closed or body["bootId"] != self.boot:
                    return 200, {"success": False, "message": "No tasks available", "pending": 0, "tasks": []}
                self._changed.wait(left)
            granted = [self._grant(self.queue.pop(0), body) for _ in range(min(body["max"], len(self.queue)))]
            self.requests[body["requestId"]] = granted
            return 200, {"success": True, "tasks": granted}

    def _grant(self, task: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        self._token += 1
        self.leases[task["id"]] = self._token
        now_ms = time.time_ns() // 1_000_000
        lease = {
            "workerId": body["workerId"],
            "claimedAt": iso(now_ms),
            "expiresAt": iso(now_ms + int(self.lease_s * 1000)),
            "token": self._token,
            "attempt": 1,
            "onLoss": self.on_loss or body["onLoss"],
            "durationSec": self.lease_s,
        }
        return {"task": task, "lease": lease}

    def _beat(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.boot = body["bootId"]
        named = {run["taskId"]: run["token"] for run in body["running"]}
        lost = [task for task, token in named.items() if task in self.lost or self.leases.get(task) != token]
        cancel = [task for task in named if task in self.cancel]
        return 200, {"success": True, "timestamp": 0, "nextInSec": self.next_s, "lost": lost, "cancel": cancel}

    def _result(self, entry: dict[str, Any]) -> dict[str, Any]:
        task_id = entry["taskId"]
        if self.leases.get(task_id) != entry["token"] or task_id in self.lost:
            return {"taskId": task_id, "error": "Lease lost", "code": "lease_lost"}
        self.results.setdefault(task_id, entry)
        return {"taskId": task_id, "success": True}

    def _release(self, task_id: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.leases.get(task_id) != body["token"]:
            return 409, {"error": "Lease lost", "code": "lease_lost"}
        return 200, {"success": True}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    hub: FakeHub
    is_closed = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of our business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        hub = self.server.hub
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(raw) if raw else {}
        assert self.headers["X-API-Key"] == KEY
        hub.seen.append(Seen(time.monotonic(), self.path, body))
        fault = hub.fault(self.path, body)
        if fault == "drop":
            return self._cut()
        if fault == "hang":
            threading.Event().wait(30)
            return self._cut()
        status, answer = fault if isinstance(fault, tuple) else hub.answer(self.path, body)
        if fault == "cut":
            return self._cut()
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return None

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *args: Any) -> None:
        """Quiet."""
