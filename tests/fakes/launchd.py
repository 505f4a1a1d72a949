"""launchd, played: jobs are loaded, run, pended, booted out in their own time; `launchctl` prints as the real one.

Modelled after launchctl(1) and the reports named in docs/service.md: `bootout` returns before the job has gone,
`bootstrap` of a label that is still there is error 5, a spawn may be pended for ever until `kickstart`, a job that was
disabled is error 119, and without a session at the screen there is no domain (125).
"""

from __future__ import annotations

import plistlib
import re
from pathlib import Path
from typing import Any

from tests.fakes.keeper import Keeper, Process, Said

UID_DOMAIN = re.compile(r"gui/\d+|user/\d+|system")
NOT_FOUND = 113


class Job:
    """One label that is loaded."""

    def __init__(self, target: str, path: Path, plist: dict[str, Any]) -> None:
        self.target = target
        self.path = path
        self.plist = plist
        self.process: Process | None = None
        self.runs = 0
        self.pended = ""
        self.is_leaving = False
        self.last_exit = "(never exited)"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class FakeLaunchd(Keeper):
    """`pend`, `bootstrap_errors`, `leaves_after_s`, `has_gui` and `disabled` make it misbehave as the real one does."""

    names = ("launchctl",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.jobs: dict[str, Job] = {}
        self.pend = ""  # the next spawn by itself is pended with this word
        self.is_kick_useless = False  # not even kickstart spawns it
        self.bootstrap_errors: list[int] = []  # given before anything is loaded
        self.leaves_after_s = 0.0  # how long a job is still there after its process ended
        self.has_gui = True
        self.print_error = 0  # launchctl gives no answer when it is asked about a job
        self.blind_after_bootout = 0  # so many looks after it get none
        self.disabled: set[str] = set()
        self.throttle_s = 0.05  # instead of ThrottleInterval

    def answer(self, name: str, arguments: list[str]) -> Said:
        verb, *rest = arguments
        with self.lock:
            return getattr(self, f"_{verb}")(*rest)

    def job(self, label: str) -> Job | None:
        return next((job for target, job in self.jobs.items() if target.endswith(f"/{label}")), None)

    def load_foreign(self, target: str, path: Path, pid: int = 0) -> None:
        """Somebody else's job, for those who look for one."""
        job = Job(target, path, {"Label": target.rpartition("/")[2]})
        job.process = _Foreign(pid) if pid else None  # type: ignore[assignment]
        self.jobs[target] = job

    def _bootstrap(self, domain: str, path: str) -> Said:
        if domain.startswith("gui/") and not self.has_gui:
            return _refused("Bootstrap", 125, "Domain does not support specified action")
        if self.bootstrap_errors:
            code = self.bootstrap_errors.pop(0)
            return _refused("Bootstrap", code, "Input/output error")
        plist = plistlib.loads(Path(path).read_bytes())
        target = f"{domain}/{plist['Label']}"
        if target in self.disabled:
            return _refused("Bootstrap", 119, "Service is disabled")
        if target in self.jobs:
            return _refused("Bootstrap", 5, "Input/output error")
        job = self.jobs[target] = Job(target, Path(path), plist)
        if plist.get("RunAtLoad") or plist.get("KeepAlive"):
            self._spawn_by_itself(job)
        return 0, "", ""

    def _bootout(self, target: str) -> Said:
        job = self.jobs.get(target)
        if job is None:
            return _refused("Boot-out", 3, "No such process")
        job.is_leaving = True
        if job.is_running:
            job.process.terminate()
            process = job.process
            self.after(float(job.plist.get("ExitTimeOut", 20)), lambda: process.poll() is None and process.kill())
        else:
            self._forget(job)
        return _refused("Boot-out", 36, "Operation now in progress") if target in self.jobs else (0, "", "")

    def _kickstart(self, *arguments: str) -> Said:
        job = self.jobs.get(arguments[-1])
        if job is None:
            return _no_service(arguments[-1])
        if self.is_kick_useless:
            return 0, "", ""
        if "-k" in arguments and job.is_running:
            job.process.kill()
            job.process.wait()
        if not job.is_running:
            self._spawn(job)
        return 0, "", ""

    def _enable(self, target: str) -> Said:
        self.disabled.discard(target)
        return 0, "", ""

    def _print(self, target: str) -> Said:
        job = self.jobs.get(target)
        if self.print_error:
            return self.print_error, "", "launchctl: no answer"
        if job and job.is_leaving and self.blind_after_bootout:
            self.blind_after_bootout -= 1
            return 124, "", "launchctl: no answer"
        return (0, printed(job), "") if job else _no_service(target)

    def _spawn_by_itself(self, job: Job) -> None:
        if self.pend:
            job.pended, self.pend = self.pend, ""
        else:
            self._spawn(job)

    def _spawn(self, job: Job) -> None:
        plist = job.plist
        env = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **plist.get("EnvironmentVariables", {})}
        output = Path(plist["StandardErrorPath"]) if "StandardErrorPath" in plist else None
        job.process = self.spawn(plist["ProgramArguments"], env, output, plist.get("WorkingDirectory"))
        job.runs += 1
        job.pended = ""
        process = job.process

        def watch() -> None:
            code = process.poll()
            if code is None:
                self.after(0.01, watch)
                return
            job.last_exit = str(code) if code >= 0 else f"{-code}: Killed"
            if job.is_leaving:
                self.after(self.leaves_after_s, lambda: self._forget(job))
            elif plist.get("KeepAlive") is True and job.process is process:
                self.after(self.throttle_s, lambda: self.jobs.get(job.target) is job and self._spawn_by_itself(job))

        self.after(0.01, watch)

    def _forget(self, job: Job) -> None:
        if self.jobs.get(job.target) is job:
            del self.jobs[job.target]


class _Foreign:
    """A process that is not ours to keep."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> None:
        return None


def printed(job: Job) -> str:
    """As launchctl prints one: a tab for what is the job's own, more for what is nested."""
    state = "running" if job.is_running else "spawn scheduled" if job.pended else "not running"
    lines = [
        "active count = 1",
        f"path = {job.path}",
        "type = LaunchAgent",
        f"state = {state}",
        "",
        f"program = {next(iter(job.plist.get('ProgramArguments', ['?'])))}",
        "arguments = {",
        *(f"\t{word}" for word in job.plist.get("ProgramArguments", [])),
        "}",
        "",
        "default environment = {",
        "\tPATH => /usr/bin:/bin:/usr/sbin:/sbin",
        "}",
        "",
        "minimum runtime = 30",
        f"exit timeout = {job.plist.get('ExitTimeOut', 20)}",
        f"runs = {job.runs}",
        *([f"pid = {job.process.pid}"] if job.is_running and job.process else []),
        *([f"pended nondemand spawn = {job.pended}"] if job.pended else []),
        "immediate reason = inefficient" if job.pended else "immediate reason = speculative",
        "forks = 0",
        f"last exit code = {job.last_exit}",
        "",
        "resource coalition = {",
        "\tID = 4242",
        "\tstate = active",
        "\tpid = 1",
        "}",
        "",
        "properties = keepalive | runatload",
    ]
    return f"{job.target} = {{\n" + "".join(f"\t{line}\n" if line else "\n" for line in lines) + "}\n"


def _no_service(target: str) -> Said:
    domain, _, label = target.rpartition("/")
    shown = f"user gui: {domain.partition('/')[2]}" if "/" in domain else domain
    return NOT_FOUND, "", f'Bad request.\nCould not find service "{label}" in domain for {shown}\n'


def _refused(what: str, code: int, words: str) -> Said:
    return code, "", f"{what} failed: {code}: {words}\n"
