"""A unit of the user's systemd: ready when the loops run, fed only while they make progress, never given up."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from understudy.clock import Clock
from understudy.daemon.service.base import Program, ServiceError, State
from understudy.daemon.service.commands import ABSENT, TIMED_OUT, CommandOutcome, Run
from understudy.private import write_durably
from understudy.texts import t

UNIT = "understudy-{role}.service"
WATCHDOG_S = 60
START_S = 90
SHOWN = "LoadState,ActiveState,SubState,MainPID,NRestarts,Result,ExecMainStatus"
GIVEN_UP = "start-limit-hit"  # by a unit that is not ours any more: ours has no such limit
STOPPING = "deactivating"
PAUSE_S = 0.25
RUN_S = 10.0
_ENVIRONMENT = re.compile(r'^Environment="((?>(?:[^"\\\n]|\\.){0,20000}))"$', re.MULTILINE)
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "%": "%%"}
_UNESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n", "\\t": "\t", "%%": "%"}


_OF_A_DAEMON = """\
# TERM goes to the daemon alone, which ends its runs in order. If it dies, its guard kills them within a second and
# gives the tasks back: were the guard killed too (control-group, mixed), nobody would; and after an update that
# never beats, nobody would be left to go back.
KillMode=process
# A run that the kernel kills for want of memory is that run's misfortune: by default its whole unit would be stopped.
OOMPolicy=continue
"""


class Systemd:
    """One unit of the user's manager."""

    kind = "systemd"

    def __init__(
        self, role: str, folder: Path, run: Run, clock: Clock, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self.name = UNIT.format(role=role)
        self.path = folder / self.name
        self._run = run
        self._clock = clock
        self._pause = pause

    def file(self, program: Program) -> bytes:
        """The unit."""
        return unit(program).encode()

    def install(self, program: Program) -> None:
        """Write it, and have it run now and after each start of the machine; nothing is written without a systemd."""
        self._must("daemon-reload")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self.path, self.file(program))
        self._must("daemon-reload")
        self._must("enable", self.name)
        self.restart()

    def uninstall(self) -> None:
        """Stop it, remove its file."""
        if not self.path.exists():
            return
        self._must_end("disable", "--now", self.name)
        self.path.unlink(missing_ok=True)
        self._must("daemon-reload")

    def start(self) -> None:
        """A unit that failed for good is forgiven first."""
        self._begin("start")

    def stop(self) -> None:
        """End it."""
        self._must_be_installed()
        self._must_end("stop", self.name)

    def restart(self) -> None:
        """End it, start it."""
        self._begin("restart")

    def state(self) -> State:
        """From `systemctl show`."""
        if not self.path.exists():
            return State(is_installed=False)
        ran = self._systemctl("show", self.name, f"--property={SHOWN}")
        lines = dict(line.partition("=")[::2] for line in ran.out.splitlines())
        text = self.path.read_text("utf-8", errors="replace")
        env, program = environment_of(text), program_in(text)
        if ran.code or lines.get("LoadState") != "loaded":
            return State(is_installed=True, env=env, program=program)
        status, result = lines.get("ExecMainStatus", "0"), lines.get("Result", "success")
        active = lines.get("ActiveState", "")
        is_up = active in ("active", "activating", "reloading", STOPPING)
        return State(
            is_installed=True,
            is_loaded=is_up,
            pid=int(lines.get("MainPID") or 0) if is_up else 0,
            is_stopping=active == STOPPING,
            parked=result if result == GIVEN_UP else "",
            starts=int(lines.get("NRestarts") or 0) + 1,
            last_exit="" if result == "success" and status == "0" else f"{status} ({result})",
            env=env,
            program=program,
        )

    def log_hint(self) -> str:
        """Its journal."""
        return f"journalctl --user -u {self.name} -n 50"

    def _begin(self, verb: str) -> None:
        self._must_be_installed()
        self._systemctl("reset-failed", self.name)
        ran = self._patiently(verb, self.name, within_s=START_S + self._stop_s())
        until_ms = self._clock.mono_ms() + RUN_S * 1000
        while not ran.code and not self.state().pid and self._clock.mono_ms() < until_ms:
            self._pause(PAUSE_S)
        if ran.code or not self.state().pid:
            raise self._error(verb, ran)

    def _must_be_installed(self) -> None:
        if not self.path.exists():
            raise ServiceError(t("service.absent", path=self.path))

    def _must(self, verb: str, *arguments: str) -> None:
        ran = self._systemctl(verb, *arguments)
        if ran.code:
            raise self._error(verb, ran)

    def _must_end(self, verb: str, *arguments: str) -> None:
        ran = self._patiently(verb, *arguments, within_s=self._stop_s())
        if ran.code:
            raise self._error(verb, ran)

    def _patiently(self, verb: str, *arguments: str, within_s: float) -> CommandOutcome:
        """Until the unit has started or ended; systemd bounds that, and gives a program the time that it asks for."""
        ran = self._systemctl(verb, *arguments, within_s=within_s)
        while ran.code == TIMED_OUT and self._active_state() in ("activating", STOPPING):
            ran = self._systemctl("start" if verb == "restart" else verb, *arguments, within_s=within_s)
        return ran

    def _active_state(self) -> str:
        shown = self._systemctl("show", self.name, "--property=ActiveState").out
        return shown.strip().partition("=")[2]

    def _error(self, verb: str, ran: CommandOutcome) -> ServiceError:
        if ran.code == ABSENT or "connect to bus" in ran.err or "XDG_RUNTIME_DIR" in ran.err:
            return ServiceError(t("service.systemd.no_manager", said=ran.said))
        return ServiceError(t("service.systemd.failed", verb=verb, unit=self.name, said=ran.said, log=self.log_hint()))

    def _systemctl(self, *arguments: str, within_s: float = 30.0) -> CommandOutcome:
        return self._run(("systemctl", "--user", "--no-pager", *arguments), within_s=within_s)

    def _stop_s(self) -> float:
        found = re.search(r"^TimeoutStopSec=(\d{1,9})$", self.path.read_text("utf-8", errors="replace"), re.MULTILINE)
        return float(found[1]) + 10 if found else 100.0


def unit(program: Program) -> str:
    """The unit file (systemd.service(5); docs/measured.md, Services)."""
    environment = "\n".join(f"Environment={quoted(f'{name}={value}')}" for name, value in program.env.items())
    command = " ".join(quoted(word).replace("$", "$$") for word in program.argv)
    return f"""\
[Unit]
Description=understudy {program.role}
# Never given up: what starts again and again is for `understudy doctor` and the hub to tell, not for silence.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory={str(program.data_dir).replace("%", "%%")}
{environment}
# Fed only while every loop makes progress.
WatchdogSec={WATCHDOG_S}
Restart=always
RestartSec=5
TimeoutStartSec={START_S}
TimeoutStopSec={program.stop_s}
{_OF_A_DAEMON if program.role == "daemon" else ""}UMask=0077

[Install]
WantedBy=default.target
"""


def quoted(text: str) -> str:
    """A word of a unit file: nothing in it means anything (systemd.syntax(7), Quoting and specifiers)."""
    return '"' + "".join(_ESCAPES.get(char, char) for char in text) + '"'


def program_in(text: str) -> str:
    """The first word of the command of a unit of ours."""
    found = re.search(r'^ExecStart="((?>(?:[^"\\\n]|\\.){0,20000}))"', text, re.MULTILINE)
    return _plain(found[1]).replace("$$", "$") if found else ""


def environment_of(text: str) -> dict[str, str]:
    """The environment that a unit of ours gives."""
    words = (_plain(raw).partition("=") for raw in _ENVIRONMENT.findall(text))
    return {name: value for name, _, value in words}


def _plain(raw: str) -> str:
    """A word as it was before `quoted`."""
    return re.sub(r'\\\\|\\"|\\n|\\t|%%', lambda found: _UNESCAPES[found[0]], raw)
