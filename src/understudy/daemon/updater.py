"""Watches over an update from outside: if the hub does not hear from the new version, the old one is started again.

A process of its own, of the old version, because neither version can vouch for itself. The daemon's process becomes
the new version in place (same pid, so a service manager sees nothing). This one waits until the hub has accepted a beat
of it, and makes it the current one only then: whatever ends both of them before, a power cut too, the next start is the
old version. If no beat comes, it ends the new version and starts the old one, unless a service manager does, or its
owner has stopped the new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from understudy.daemon.installation import Installation
from understudy.daemon.service import supervisor_of
from understudy.private import write_private
from understudy.runtime.lock import holder_of
from understudy.worker.hidden import hide
from understudy.worker.process_tree import birth_of, is_living

CONFIRM_MS = 60_000
LOOK_S = 0.1
TERM_S, KILL_S = 5.0, 5.0
SERVICE_S = 45.0  # how long a service manager may take to start it anew (launchd throttles for 30 s)
# set by systemd and launchd; launchd sets it for what a terminal starts as well, which only costs a pause
SERVICE_SIGNS = ("INVOCATION_ID", "XPC_SERVICE_NAME")
CGROUP = "/proc/self/cgroup"  # on Linux its lines end with the unit that a process belongs to


class UpdatePlan(msgspec.Struct, frozen=True):
    """All that is needed to judge a new version and to go back."""

    directive_id: str
    boot_id: str  # of the old version's last life
    pid: int
    birth: float
    lock: str  # of this daemon's name: the living one holds it
    arrived: str  # here a life writes its boot id once a beat of it was accepted
    stopped: str  # and here when its owner ends it
    verdict: str  # here stands why an update was taken back
    runs_in: str  # here a life writes the environment that it runs in
    data_dir: str
    environment: str  # of the new version
    old: tuple[str, ...]  # the command that starts the old version
    cwd: str
    confirm_ms: int = CONFIRM_MS

    def written(self) -> bytes:
        """As `read_plan` reads it; paths and arguments may be no UTF-8, which msgspec would refuse."""
        return json.dumps(msgspec.to_builtins(self)).encode()


def read_plan(raw: bytes) -> UpdatePlan:
    """The plan that was written so."""
    return msgspec.convert(json.loads(raw), UpdatePlan)


def main() -> None:
    """Read the plan from stdin, leave the daemon's family, watch."""
    hide()
    plan = read_plan(sys.stdin.buffer.read())
    if os.fork():
        os._exit(0)
    with contextlib.suppress(OSError):
        os.chdir("/")
    reason = wait_for(plan)
    if not reason:
        confirm(plan)
    else:
        is_wanted = not _is_of_later_life(plan, plan.stopped)  # asked now: going back ends it by the same signal
        go_back(plan, reason)
        if is_wanted:
            start_old(plan)


def wait_for(plan: UpdatePlan) -> str:
    """Wait until the new version was heard → "", or why it will not be."""
    until_s = time.monotonic() + plan.confirm_ms / 1000
    while time.monotonic() < until_s:
        if _is_of_later_life(plan, plan.arrived):
            return ""
        if not is_living(plan.pid, plan.birth):
            ended = "was stopped" if _is_of_later_life(plan, plan.stopped) else "ended"
            return f"the new version {ended} before the hub had heard of it"
        time.sleep(LOOK_S)
    return f"the hub accepted no heartbeat of the new version within {plan.confirm_ms / 1000:g} s"


def _is_of_later_life(plan: UpdatePlan, path: str) -> bool:
    """True if the boot id in this file sorts after that of the old version (`Home.new_boot_id`)."""
    return _read(path) > plan.boot_id


def confirm(plan: UpdatePlan) -> None:
    """Make the new version the current one, unless it could not be executed and the old one was heard."""
    if _read(plan.runs_in) == plan.environment:
        with contextlib.suppress(OSError):  # a full disk: the next start is the old version
            Installation(Path(plan.data_dir)).switch(plan.environment)


def go_back(plan: UpdatePlan, reason: str) -> None:
    """The verdict first, then the end of the new version; a disk that this very update filled does not hinder it."""
    with contextlib.suppress(OSError):
        write_private(Path(plan.verdict), msgspec.json.encode({plan.directive_id: reason}))
    if is_living(plan.pid, plan.birth):
        _end(plan.pid)


def start_old(plan: UpdatePlan) -> None:
    """Become the old version, unless somebody else starts it."""
    until_s = time.monotonic() + (SERVICE_S if any(os.environ.get(sign) for sign in SERVICE_SIGNS) else 0)
    while time.monotonic() < until_s:
        if holder_of(Path(plan.lock)):
            return
        time.sleep(LOOK_S)
    if is_of_ended_service():
        return
    with contextlib.suppress(OSError):  # that directory is gone: the daemon needs none
        os.chdir(plan.cwd)
    os.execve(plan.old[0], plan.old, os.environ)  # noqa: S606 - the command that started the daemon


def is_of_ended_service() -> bool:
    """True if this daemon was started as a service that is off now, or about to be: its manager starts a wanted one.

    A stop leaves no note on a full disk, or before the new version handles signals.
    """
    service = supervisor_of("daemon", os.environ)
    if os.environ.get("XPC_SERVICE_NAME") != service.name and f"/{service.name}\n" not in _read(CGROUP) + "\n":
        return False
    state = service.state()
    return state.is_stopping or not (state.is_loaded or state.parked)


def _end(pid: int) -> None:
    """TERM, then KILL; its guard ends its runs. A zombie counts as dead."""
    birth = birth_of(pid)
    for number, within_s in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S)):
        if is_living(pid, birth):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        until_s = time.monotonic() + within_s
        while is_living(pid, birth) and time.monotonic() < until_s:
            time.sleep(LOOK_S)


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
