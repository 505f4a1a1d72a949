"""A user's systemd, played: units are enabled, started until READY=1, restarted when they end, killed unfed."""

from __future__ import annotations

import itertools
import os
import re
import socket
import threading
from pathlib import Path

from tests.fakes.keeper import Keeper, Process, Said, gone
from tests.waiting import eventually
from understudy.daemon.service.systemd import environment_of

NO_BUS = "Failed to connect to bus: No medium found\n"
READY_WITHIN_S = 20.0


class FakeSystemd(Keeper):
    """`systemctl --user` and `loginctl`; `is_there` and `lingers` make it another machine."""

    names = ("systemctl", "loginctl")

    def __init__(self, folder: Path, units: Path) -> None:
        super().__init__(folder)
        self.units = units
        self.is_there = True
        self.lingers = True
        self.may_linger = True
        self.enabled: set[str] = set()
        self.running: dict[str, Process] = {}
        self.stopping: dict[str, Process] = {}
        self.restarts: dict[str, int] = {}
        self.results: dict[str, tuple[str, int]] = {}  # Result and ExecMainStatus of what ended badly
        self.reported: list[str] = []  # everything that came by NOTIFY_SOCKET
        self.watchdog_usec = 0  # instead of the unit's
        self.restart_s = 0.05
        self._numbers = itertools.count()

    def answer(self, name: str, arguments: list[str]) -> Said:
        if name == "loginctl":
            return self._loginctl(*arguments)
        words = [word for word in arguments if word not in ("--user", "--no-pager", "--now")]
        if not self.is_there:
            return 1, "", NO_BUS
        verb, *rest = words
        return getattr(self, f"_{verb.replace('-', '_')}")(*rest, is_now="--now" in arguments)

    def _loginctl(self, verb: str, *rest: str) -> Said:
        if verb == "enable-linger":
            if not self.may_linger:
                return 1, "", "Could not enable linger: Access denied\n"
            self.lingers = True
            return 0, "", ""
        return 0, f"Linger={'yes' if self.lingers else 'no'}\n", ""

    def _daemon_reload(self, *, is_now: bool = False) -> Said:
        return 0, "", ""

    def _reset_failed(self, unit: str, *, is_now: bool = False) -> Said:
        self.results.pop(unit, None)
        return 0, "", ""

    def _enable(self, unit: str, *, is_now: bool = False) -> Said:
        self.enabled.add(unit)
        return 0, "", ""

    def _disable(self, unit: str, *, is_now: bool = False) -> Said:
        self.enabled.discard(unit)
        return self._stop(unit) if is_now else (0, "", "")

    def _start(self, unit: str, *, is_now: bool = False) -> Said:
        process = self.running.get(unit)
        if process is not None and process.poll() is None:
            return 0, "", ""
        if unit in self.stopping:  # the job waits for the end of the one before
            gone(self.stopping[unit], 60)
        return self._begin(unit)

    def _restart(self, unit: str, *, is_now: bool = False) -> Said:
        self._stop(unit)
        return self._begin(unit)

    def _stop(self, unit: str, *, is_now: bool = False) -> Said:
        with self.lock:
            process = self.running.pop(unit, None)
            if process is not None:
                self.stopping[unit] = process
        if process is not None and process.poll() is None:
            process.terminate()
            gone(process, 60)
        self.stopping.pop(unit, None)
        return 0, "", ""

    def _show(self, unit: str, wanted: str, *, is_now: bool = False) -> Said:
        process = self.running.get(unit) or self.stopping.get(unit)
        is_up = process is not None and process.poll() is None
        result, status = self.results.get(unit, ("success", 0))
        up = "active" if unit in self.running else "deactivating"
        state = up if is_up else "failed" if unit in self.results else "inactive"
        shown = {
            "LoadState": "loaded" if (self.units / unit).exists() else "not-found",
            "ActiveState": state,
            "SubState": {"active": "running", "deactivating": "stop-sigterm", "failed": "failed"}.get(state, "dead"),
            "MainPID": process.pid if is_up and process else 0,
            "NRestarts": self.restarts.get(unit, 0),
            "Result": result,
            "ExecMainStatus": status,
        }
        asked = wanted.partition("=")[2].split(",")
        return 0, "".join(f"{name}={shown[name]}\n" for name in asked), ""

    def _begin(self, unit: str) -> Said:
        text = (self.units / unit).read_text()
        inbox = self.nook / f"notify{next(self._numbers)}"
        ears = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ears.bind(str(inbox))
        self.closing.append(ears)
        env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environment_of(text)}
        env["NOTIFY_SOCKET"] = str(inbox)
        env["WATCHDOG_USEC"] = str(self.watchdog_usec or 60_000_000)
        process = self.spawn(argv_of(text), env, self.folder / f"{unit}.journal")
        is_ready = threading.Event()
        threading.Thread(target=self._listen, args=(ears, process, is_ready), daemon=True).start()
        self.running[unit] = process
        eventually(lambda: is_ready.is_set() or process.poll() is not None, within_s=READY_WITHIN_S, what="READY=1")
        if process.poll() is not None:
            self.results[unit] = ("exit-code", process.returncode)
            return 1, "", f"Job for {unit} failed because the control process exited with error code.\n"
        self._watch(unit, process)
        return 0, "", ""

    def _listen(self, ears: socket.socket, process: Process, is_ready: threading.Event) -> None:
        with ears:
            while not self.is_over and process.poll() is None:
                try:
                    ears.settimeout(0.05)  # short: it polls
                    words = ears.recv(4096).decode()
                except TimeoutError:
                    continue
                except OSError:  # all is over
                    return
                self.reported.append(words)
                if words == "READY=1":
                    is_ready.set()

    def _watch(self, unit: str, process: Process) -> None:
        """Restart=always."""
        if process.poll() is None:
            self.after(0.02, lambda: self._watch(unit, process))
        elif self.running.get(unit) is process:
            self.restarts[unit] = self.restarts.get(unit, 0) + 1
            self.after(self.restart_s, lambda: self._begin(unit) if self.running.get(unit) is process else None)


def argv_of(text: str) -> list[str]:
    """ExecStart as systemd reads what we write."""
    line = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert line
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', line[1])
    escapes = {"n": "\n", "t": "\t"}
    plain = (re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[1]), word) for word in words)
    return [word.replace("%%", "%").replace("$$", "$") for word in plain]
