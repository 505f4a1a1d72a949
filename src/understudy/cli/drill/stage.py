"""The stage of the drill: hub and daemon as processes, their folder and keys, and the fakes of the outside world."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from understudy.cli.children import LoggedChild
from understudy.cli.client import HubClient, path_of
from understudy.cli.drill.doubles import Claude, Discord
from understudy.cli.drill.steps import NotSeenError, until
from understudy.cli.port import free_port
from understudy.clock import SystemClock
from understudy.ids import IdMaker
from understudy.texts import t

T = TypeVar("T")
HOST = "127.0.0.1"
STOP_S = 15.0
# what of the owner's environment reaches the drill's processes: nothing that could name a deployment or a secret
PASSED = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "TZ", "TMPDIR", "SYSTEMROOT", "UNDERSTUDY_LANG")
NOWHERE = "/nonexistent"  # instead of the owner's assistants


class DrillLimits(msgspec.Struct, frozen=True):
    """The limits of time of a drill, all in ms."""

    beat_ms: int = 500
    late_ms: int = 1_500
    down_ms: int = 3_000


class Stage:
    """Processes and doubles of one drill; `close` leaves nothing of them."""

    def __init__(
        self,
        folder: Path,
        limits: DrillLimits,
        more: Mapping[str, str] | None = None,
        held: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Doubles are up afterwards, processes are not. `more` is put into the hub's environment.

        A process is started within `held()`: no interruption may come before `close` knows of the process.
        """
        self.folder = folder
        self.limits = limits
        self.clock = SystemClock()
        ids = IdMaker(self.clock, random.SystemRandom().getrandbits)
        self.daemon_id = f"drill-{ids.new('x')[-6:].lower()}"
        self.discord = Discord()
        self.claude = Claude()
        self.gate = folder / "gate"
        self.hub: LoggedChild | None = None
        self.daemon: LoggedChild | None = None
        self._keys = {"UNDERSTUDY_API_KEY": ids.secret("usk"), "ADMIN_API_KEY": ids.secret("usk")}
        self._port = free_port(HOST)
        self._more = dict(more or {})
        self._held = held
        self.client = HubClient(self.url, self._keys["ADMIN_API_KEY"])

    @property
    def url(self) -> str:
        """Of the hub."""
        return f"http://{HOST}:{self._port}"

    def start_hub(self) -> None:
        """Start it."""
        limits = self.limits
        env = {
            "UNDERSTUDY_LATE_AFTER": f"{limits.late_ms}ms",
            "UNDERSTUDY_DOWN_AFTER": f"{limits.down_ms}ms",
            "UNDERSTUDY_HEARTBEAT_INTERVAL": f"{limits.beat_ms}ms",
            "UNDERSTUDY_LEASE_DURATION": "2s",
            "DISCORD_WEBHOOK_URL": self.discord.webhook,
            "UNDERSTUDY_REPLY_TO": "discord",
            "UNDERSTUDY_TAKEOVER": "answer",
            "ANTHROPIC_API_KEY": Claude.KEY,
            "ANTHROPIC_BASE_URL": self.claude.url,
        }
        arguments = ["hub", "--host", HOST, "--port", str(self._port), "--data", str(self.folder / "hub")]
        with self._held():
            self.hub = self._child("hub", arguments, env | self._keys | self._more)

    def start_daemon(self) -> None:
        """Start it, with an assistant that can be held up."""
        env = {
            "UNDERSTUDY_HUB": self.url,
            "UNDERSTUDY_API_KEY": self._keys["UNDERSTUDY_API_KEY"],
            "UNDERSTUDY_HEARTBEAT_INTERVAL": f"{self.limits.beat_ms}ms",
            "UNDERSTUDY_EXECUTOR": "command",
            "UNDERSTUDY_CLAUDE_CLI": NOWHERE,
            "CODEX_CLI": NOWHERE,
            "UNDERSTUDY_CAPACITY": "2",
            "UNDERSTUDY_TASK_ENV_PASS": "PYTHONPATH",
            "UNDERSTUDY_DRAIN": "2s",
        }
        command = (sys.executable, "-P", "-m", "understudy.cli.drill.assistant", str(self.gate))
        arguments = ["daemon", "--id", self.daemon_id, "--data", str(self.folder / "daemon")]
        with self._held():
            self.daemon = self._child("daemon", arguments, env, command)

    def kill_daemon(self) -> None:
        """SIGKILL: it says nothing and gives nothing back."""
        if self.daemon is not None:
            self.daemon.process.kill()
            self.daemon.stop(STOP_S)
            self.daemon = None

    def until(self, ask: Callable[[], T], what: str, within_ms: int = 0) -> T:
        """The first true answer of `ask`. NotSeenError if it does not come in time, or a process is gone."""
        return until(ask, what, within_ms, look=self._look)

    def is_ready(self) -> bool:
        """True if the hub serves."""
        return self.client.status_of("/ready")[0] == HTTPStatus.OK

    def state(self) -> dict[str, Any]:
        """The daemon as the hub sees it. ClientError."""
        return self.client.get(path_of("daemons", self.daemon_id))

    def submit(self, content: str, needs: list[str] | None = None) -> str:
        """A new task's id. ClientError."""
        body = {"content": content, "source": "drill"} | ({} if needs is None else {"needs": needs})
        return str(self.client.post("/api/queue", body)["taskId"])

    def task(self, task_id: str) -> dict[str, Any]:
        """The whole record. ClientError."""
        return self.client.get(path_of("tasks", task_id))

    def events(self, name: str) -> list[dict[str, Any]]:
        """All events of that name, oldest first. ClientError."""
        found = self.client.get("/api/events", search=name, limit=1000)["events"]
        return [event for event in found if event["name"] == name]

    def stop(self) -> dict[str, int]:
        """Daemon, then hub, in order → exit codes."""
        codes = {}
        for name, child in (("daemon", self.daemon), ("hub", self.hub)):
            if child is not None:
                child.stop(STOP_S)
                codes[name] = child.process.returncode
        self.daemon = self.hub = None
        return codes

    def close(self) -> None:
        """Whatever still is, at once."""
        for child in (self.daemon, self.hub):
            if child is not None:
                child.stop(0)
        self.daemon = self.hub = None
        self.client.close()
        self.discord.close()
        self.claude.close()

    def _child(
        self, name: str, arguments: list[str], env: dict[str, str], command: tuple[str, ...] = ()
    ) -> LoggedChild:
        kept = {n: v for n, v in os.environ.items() if n in PASSED or n.startswith("LC_")}
        home = {"HOME": str(self.folder), "UNDERSTUDY_DATA": str(self.folder / name)}
        log = self.folder / "logs" / f"{name}.log"
        return LoggedChild(name, arguments, kept | home | env, log, lambda: None, command, is_quiet=True)

    def _look(self) -> None:
        """NotSeenError if a process that should be there is not."""
        for child in (self.hub, self.daemon):
            if child is not None and not child.is_alive:
                words, code = child.last_words(), child.process.returncode
                raise NotSeenError(t("cli.up.ended", name=child.name, code=code, log=child.log, words=words))
