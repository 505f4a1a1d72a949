"""A machine that is short of something at the start or end of a life: the daemon waits, or begins the next one."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from understudy.cli import start
from understudy.cli.exits import Exit
from understudy.config import Settings
from understudy.daemon import DaemonInputs, assembly, succession
from understudy.daemon.assembly import DaemonRuntime
from understudy.daemon.home import Home
from understudy.daemon.succession import Succession
from understudy.worker.effects import Loop, WriteLog
from understudy.worker.executors import TaskToRun
from understudy.worker.state import Lease, Run, WorkerState

UNUSED: Any = None


class ScarceDriver:
    """Has a thread at the third try."""

    tries = 0

    def start(self, *_: object, **__: object) -> None:
        self.tries += 1
        if self.tries < 3:
            raise RuntimeError("can't start new thread")


def test_a_start_without_a_thread_waits_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "NO_THREAD_S", 0)
    driver: Any = ScarceDriver()
    daemon = DaemonRuntime(DaemonInputs(hub_url="http://127.0.0.1:9", api_key="key", data_dir=tmp_path))
    daemon._start_main(driver, UNUSED)
    assert driver.tries == 3


def test_a_start_without_a_thread_can_be_stopped(tmp_path: Path) -> None:
    driver: Any = ScarceDriver()
    daemon = DaemonRuntime(DaemonInputs(hub_url="http://127.0.0.1:9", api_key="key", data_dir=tmp_path))
    daemon.stop()
    with pytest.raises(RuntimeError, match="new thread") as raised:
        daemon._start_main(driver, UNUSED)
    assert start._reported(raised.value) == Exit.FAILED


def test_a_full_disk_does_not_keep_the_next_life_from_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full:
        def flush(self) -> None:
            full()

    monkeypatch.setattr(succession, "write_durably", full)
    monkeypatch.setattr(succession.sys, "stderr", Full())
    monkeypatch.setattr(os, "execve", lambda *given: begun.append(given[0]))
    Succession(Home(tmp_path, "mini"), "boot", "directive", "not-there", 1_000).begin()
    assert len(begun) == 1


def test_runs_that_are_killed_with_a_life_that_broke_are_given_up_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would count as failures of their tasks."""
    lease = Lease(token=7, on_loss="wait", duration_ms=300_000, first_ms=30_000)
    run, seen = Run("r1", TaskToRun("t1"), lease, 0, 0), []

    def breaks(state: WorkerState) -> Loop:
        state.runs[run.id] = run
        yield WriteLog("info", "Daemon", "begun")
        raise RuntimeError("defect")

    monkeypatch.setattr(assembly, "main_loop", breaks)
    monkeypatch.setattr(assembly.Machine, "end_everything", lambda _: seen.append(run.stop))
    quiet = Settings(log_stderr=False)
    given = DaemonInputs(hub_url="http://127.0.0.1:9", api_key="key", data_dir=tmp_path, settings=quiet)
    life = threading.Thread(target=DaemonRuntime(given, ambient={"PATH": os.environ["PATH"]}).run)
    life.start()
    life.join(60)
    assert seen == ["drain"]
