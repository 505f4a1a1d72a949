"""A user agent of launchd, with its traps: bootout returns early, bootstrap races, spawns are silently pended."""

from __future__ import annotations

import errno
import plistlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from understudy.backoff import doubled_ms
from understudy.clock import Clock
from understudy.daemon.service.base import Program, ServiceError, State, log_file
from understudy.daemon.service.commands import ABSENT, TIMED_OUT, CommandOutcome, Run
from understudy.private import own_directory, write_durably
from understudy.texts import t

LABEL = "org.understudy.{role}"
THROTTLE_S = 30  # between two starts; launchd's own 10 s lets a crash burst end in a park (openclaw PR #87356)
GONE_MORE_S = 15.0  # beyond ExitTimeOut, until launchd has forgotten a job
BOOTSTRAP_TRIES = 8
PAUSE_MS, PAUSE_MS_MAX = 250, 4_000
PENDED_S = 2.0  # by then a job of a healthy launchd runs
SPAWN_S = 10.0
UNSEEN = frozenset({ABSENT, TIMED_OUT})  # launchctl gave no answer: nothing is known of the job
NO_GUI = 125  # "Domain does not support specified action": nobody is logged in at the screen
RACES = frozenset({errno.EIO, 37})  # 5 Input/output error; 37 Operation already in progress (EALREADY of Darwin)
_LINE = re.compile(r"^\t(?P<name>[^\t=\n]{1,80}?) = (?P<value>.*+)", re.MULTILINE)  # one tab: no nested block


class Launchd:
    """One user agent. `pause` is time.sleep but in tests."""

    kind = "launchd"

    def __init__(
        self, role: str, home: Path, uid: int, run: Run, clock: Clock, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self.name = LABEL.format(role=role)
        self._role = role
        self.path = home / "Library" / "LaunchAgents" / f"{self.name}.plist"
        self._domain = f"gui/{uid}"
        self._target = f"{self._domain}/{self.name}"
        self._run = run
        self._clock = clock
        self._pause = pause

    def file(self, program: Program) -> bytes:
        """The plist."""
        return plist(self.name, program)

    def install(self, program: Program) -> None:
        """Write it, forget the old job, load the new one, see it run."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        output = log_file(program.data_dir, program.role)
        own_directory(output.parent)
        write_durably(self.path, self.file(program))
        self.restart()

    def uninstall(self) -> None:
        """Stop it, remove its file."""
        self.stop()
        self.path.unlink(missing_ok=True)

    def start(self) -> None:
        """Load it if it is not, then see it run."""
        if self.state().pid:
            return
        self._must_be_installed()
        if not self._is_loaded():
            self._bootstrap()
        self._see_it_run()

    def stop(self) -> None:
        """Bootout returns before the job has gone (36, Operation now in progress): it is waited for."""
        if not self._is_loaded():
            return
        limit_s = self._exit_s() + GONE_MORE_S
        ran = self._launchctl("bootout", self._target)
        if not self._until(lambda: self._print().code not in (0, *UNSEEN), limit_s):
            raise ServiceError(t("service.launchd.not_gone", target=self._target, said=ran.said, role=self._role))

    def restart(self) -> None:
        """Never `kickstart -k`: a changed plist would not be read."""
        self._must_be_installed()
        self.stop()
        self._bootstrap()
        self._see_it_run()

    def state(self) -> State:
        """From `launchctl print` and the plist."""
        if not self.path.exists():
            return State(is_installed=False)
        written = _plist_of(self.path)
        env, program = _env_of(self.path), next(iter(written.get("ProgramArguments", [])), "")
        stop_s = int(written.get("ExitTimeOut", 0))
        ran = self._print()
        if ran.code:
            return State(is_installed=True, env=env, program=program, stop_s=stop_s)
        lines = {found["name"].strip(): found["value"].strip() for found in _LINE.finditer(ran.out)}
        pid, runs = lines.get("pid", ""), lines.get("runs", "")
        last_exit = lines.get("last exit code", "")
        return State(
            is_installed=True,
            is_loaded=True,
            pid=int(pid) if pid.isdecimal() else 0,
            parked=lines.get("pended nondemand spawn", ""),
            starts=int(runs) if runs.isdecimal() else 0,
            last_exit="" if last_exit.startswith("(") else last_exit,
            env=env,
            program=program,
            stop_s=stop_s,
        )

    def log_hint(self) -> str:
        """The command or path that shows its log."""
        folder = _env_of(self.path).get("UNDERSTUDY_LOG_DIR", "")
        return f"tail -n 50 '{folder}'/*" if folder else f"launchctl print {self._target}"

    def _bootstrap(self) -> None:
        """Bounded tries: error 5 is mostly the job before, not quite gone (openclaw#136453)."""
        self._launchctl("enable", self._target)  # one that was disabled once is refused with 119
        ran = CommandOutcome(0)
        for number in range(1, BOOTSTRAP_TRIES + 1):
            ran = self._launchctl("bootstrap", self._domain, str(self.path))
            if not ran.code or (ran.code in RACES and self._is_loaded()):
                return
            if ran.code not in RACES:
                break
            self._pause(doubled_ms(PAUSE_MS, PAUSE_MS_MAX, number - 1) / 1000)
        key = "service.launchd.no_gui" if ran.code == NO_GUI else "service.launchd.bootstrap"
        raise ServiceError(t(key, target=self._target, said=ran.said, role=self._role))

    def _see_it_run(self) -> None:
        """A pended spawn never happens by itself; `kickstart` cures it (docs/measured.md, Services)."""
        if not self._until(lambda: bool(self.state().pid or self.state().parked), PENDED_S) or self.state().parked:
            self._launchctl("kickstart", self._target)
        if not self._until(lambda: bool(self.state().pid), SPAWN_S):
            state = self.state()
            key = "service.launchd.parked" if state.parked else "service.launchd.not_running"
            why = state.parked or state.last_exit or "?"
            raise ServiceError(t(key, target=self._target, why=why, log=self.log_hint()))

    def _must_be_installed(self) -> None:
        if not self.path.exists():
            raise ServiceError(t("service.absent", path=self.path))

    def _exit_s(self) -> float:
        """The seconds that the job may take to end: as it was loaded, also if the file says less by now."""
        loaded = re.search(r"^\texit timeout = (\d{1,9})$", self._print().out, re.MULTILINE)
        written = float(_plist_of(self.path).get("ExitTimeOut", 20))  # launchd's own default
        return max(written, float(loaded[1]) if loaded else 0.0)

    def _is_loaded(self) -> bool:
        ran = self._print()
        if ran.code in UNSEEN:
            raise ServiceError(t("service.launchd.unseen", target=self._target, said=ran.said))
        return ran.code == 0

    def _print(self) -> CommandOutcome:
        return self._launchctl("print", self._target)

    def _launchctl(self, *arguments: str) -> CommandOutcome:
        return self._run(("launchctl", *arguments))

    def _until(self, is_so: Callable[[], bool], limit_s: float) -> bool:
        until_ms = self._clock.mono_ms() + limit_s * 1000
        while not is_so():
            if self._clock.mono_ms() >= until_ms:
                return False
            self._pause(PAUSE_MS / 1000)
        return True


def plist(label: str, program: Program) -> bytes:
    """The property list of a user agent (launchd.plist(5); docs/measured.md, Services)."""
    output = str(log_file(program.data_dir, program.role))
    return plistlib.dumps(
        {
            "Label": label,
            "ProgramArguments": list(program.argv),
            "EnvironmentVariables": dict(program.env),
            "WorkingDirectory": str(program.data_dir),
            "RunAtLoad": True,
            # Plain true: a clean exit is restarted too, because a restart asked for by the hub is one. What must end
            # for good is booted out. The dictionary's keys are OR-ed and differ between versions (friday-studio#345).
            "KeepAlive": True,
            "ThrottleInterval": THROTTLE_S,
            "ExitTimeOut": program.stop_s,
            # Without a word launchd throttles CPU and I/O, with Background more so: heartbeats freeze
            "ProcessType": "Interactive",
            "LegacyTimers": True,  # no coalescing of timers
            "StandardOutPath": output,
            "StandardErrorPath": output,
            "Umask": 0o077,
        }
    )


def _plist_of(path: Path) -> dict[str, Any]:
    try:
        found = plistlib.loads(path.read_bytes())
    except (OSError, plistlib.InvalidFileException, ExpatError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _env_of(path: Path) -> dict[str, str]:
    env = _plist_of(path).get("EnvironmentVariables")
    return {str(name): str(value) for name, value in env.items()} if isinstance(env, dict) else {}
