"""Every row of the contract that is not in its section 5, as a request that a hub accepts, and who may send it."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.api.wire import NOTHING

SCOPES = ("submit", "work", "memory", "read", "admin")
NOW = "2026-02-04T14:13:28.213Z"
REGISTER = {
    "daemonId": "mini",
    "version": "1.0",
    "capabilities": ["claude-code"],
    "pollInterval": 15000,
    "registeredAt": NOW,
}
OLD_BEAT = {"daemonId": "mini", "status": "healthy", "tasksProcessed": 3, "lastHeartbeat": NOW}
MESSAGE = {"user_id": "u1", "channel": "slack", "role": "user", "content": "hello"}
SETTINGS = {"lateAfterSec": 60, "downAfterSec": 120, "expectedSleep": []}


class Row(NamedTuple):
    """`may` is who may for sure, `unsaid` where the contract can be read both ways; all others may not."""

    method: str
    path: str
    body: Any
    may: str
    unsaid: str = ""

    @property
    def refused(self) -> list[str]:
        return [scope for scope in SCOPES if scope not in f"{self.may} {self.unsaid} admin".split()]


ROWS = (
    # section 1
    Row("GET", "/api/queue", NOTHING, "read", "work"),
    Row("POST", "/api/queue/claim", {"workerId": "w"}, "work"),
    Row("POST", "/api/queue/x1/renew", {"workerId": "w"}, "work"),
    Row("POST", "/api/queue/x1/release", {"workerId": "w"}, "work"),
    Row("GET", "/api/queue/x1", NOTHING, "read", "work submit"),
    Row("POST", "/api/queue/x1/status", {"status": "processing"}, "work"),
    Row("POST", "/api/result/x1", {"success": True}, "work"),
    Row("GET", "/api/result/x1", NOTHING, "read", "work submit"),
    Row("POST", "/api/queue/heartbeat", {"workerId": "w"}, "work"),
    Row("POST", "/api/daemon/register", REGISTER, "work"),
    Row("POST", "/api/daemon/heartbeat", OLD_BEAT, "work"),
    Row("GET", "/api/daemon/health", NOTHING, "read"),
    Row("POST", "/api/memory/save", MESSAGE, "memory"),
    Row("GET", "/api/memory/context/u1", NOTHING, "memory", "read"),
    Row("GET", "/api/memory/history/u1", NOTHING, "memory", "read"),
    Row("DELETE", "/api/memory/u1", NOTHING, "memory"),
    # section 3
    Row("POST", "/api/queue", {"content": "hello"}, "submit"),
    Row("POST", "/api/queue/batch", {"tasks": [{"content": "hello"}]}, "submit"),
    Row("POST", "/api/results", {"results": [{"taskId": "x1", "token": 1, "success": True}]}, "work"),
    Row("GET", "/api/tasks", NOTHING, "read", "submit"),
    Row("GET", "/api/tasks/x1", NOTHING, "read", "submit"),
    Row("POST", "/api/tasks/x1/cancel", NOTHING, "submit", "work"),
    Row("POST", "/api/tasks/x1/retry", NOTHING, "admin", "submit work"),
    Row("POST", "/api/tasks/x1/move", NOTHING, "admin", "submit work"),
    Row("GET", "/api/overview", NOTHING, "read"),
    Row("GET", "/api/numbers", NOTHING, "read"),
    Row("GET", "/api/daemons", NOTHING, "read"),
    Row("GET", "/api/daemons/mini", NOTHING, "read"),
    Row("POST", "/api/daemons/mini/directives", {"kind": "drain"}, "admin"),
    Row("POST", "/api/daemons/mini/pause", NOTHING, "admin"),
    Row("POST", "/api/daemons/mini/resume", NOTHING, "admin"),
    Row("PUT", "/api/daemons/mini/settings", SETTINGS, "admin"),
    Row("DELETE", "/api/daemons/mini", NOTHING, "admin"),
    Row("GET", "/api/keys", NOTHING, "admin"),
    Row("POST", "/api/keys", {"name": "n", "scopes": ["read"]}, "admin"),
    Row("POST", "/api/keys/key-1/revoke", NOTHING, "admin"),
    Row("POST", "/api/keys/key-1/rotate", NOTHING, "admin"),
    Row("POST", "/api/login-links", {"scope": "read"}, "admin"),
    Row("GET", "/api/sessions", NOTHING, "admin"),
    Row("POST", "/api/sessions/session-1/end", NOTHING, "admin"),
    Row("POST", "/api/sessions/end", {"keep": "session-1"}, "admin"),
    Row("GET", "/api/incidents", NOTHING, "read"),
    Row("POST", "/api/incidents/incident-1/acknowledge", {"by": "me"}, "admin", "work"),
    Row("POST", "/api/incidents/incident-1/snooze", {"forSec": 60}, "admin", "work"),
    Row("GET", "/api/notices", NOTHING, "read"),
    Row("GET", "/api/notices/n1", NOTHING, "read"),
    Row("POST", "/api/notices/n1/resend", NOTHING, "admin"),
    Row("GET", "/api/takeover", NOTHING, "read"),
    Row("POST", "/api/takeover/pause", NOTHING, "admin"),
    Row("POST", "/api/takeover/resume", NOTHING, "admin"),
    Row("GET", "/api/channels", NOTHING, "read"),
    Row("POST", "/api/channels/test", {}, "admin"),
    Row("GET", "/api/events", NOTHING, "read"),
    Row("GET", "/api/deployments", NOTHING, "read"),
)
NAMES = [f"{row.method} {row.path}" for row in ROWS]
