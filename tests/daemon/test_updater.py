"""The process that watches over an update goes back to the old version, whatever disk and directories are like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from understudy.daemon.updater import SERVICE_SIGNS, UpdatePlan, go_back, read_plan
from understudy.worker.process_tree import birth_of

LIVES = """
import os, sys
from pathlib import Path
from understudy.daemon.home import Home
from understudy.daemon.installation import Installation
from understudy.daemon.succession import Succession

if os.environ.get("HAS_BEGUN"):
    print("old", flush=True)
    sys.exit()
os.environ["HAS_BEGUN"] = "yes"
data = Path(sys.argv[1])
new = Installation(data).environments / "new" / "bin" / "understudy"
new.parent.mkdir(parents=True)
new.write_text("#!/bin/sh\\necho new\\n")
new.chmod(0o700)
if sys.argv[2] == "gone":
    Path.cwd().rmdir()
Succession(Home(data, "mini"), "boot-1", "directive-1", "new", 30_000).begin()
"""


def plan(tmp_path: Path, **more: object) -> UpdatePlan:
    whole = UpdatePlan(
        directive_id="directive-1",
        boot_id="boot-1",
        pid=os.getpid(),
        birth=0.0,
        lock=str(tmp_path / "lock"),
        arrived=str(tmp_path / "arrived"),
        verdict=str(tmp_path / "verdict.json"),
        current=str(tmp_path / "current"),
        before="old",
        old=("/bin/echo", "old"),
        cwd=str(tmp_path),
    )
    return msgspec.structs.replace(whole, **more)


@pytest.mark.parametrize("folder", ["here", "gone", b"caf\xe9"], ids=["plain", "removed", "no UTF-8"])
def test_a_daemon_of_any_directory_becomes_the_new_version_and_the_old_one_again(
    tmp_path: Path, folder: str | bytes
) -> None:
    """In a directory whose name is no UTF-8 the daemon ended with a traceback, for good."""
    here = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), os.fsencode(folder))))  # noqa: PTH118 - of bytes
    try:
        here.mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    env = {name: value for name, value in os.environ.items() if name not in SERVICE_SIGNS}
    ran = subprocess.run(
        [sys.executable, "-P", "-c", LIVES, str(tmp_path / "data"), str(folder)],
        cwd=here,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout.split() == ["new", "old"], ran.stderr


def test_a_plan_holds_paths_that_are_no_utf8(tmp_path: Path) -> None:
    odd = plan(tmp_path, cwd="/caf\udce9", old=("/caf\udce9/python", "-P"))
    assert read_plan(odd.written()) == odd


def test_a_full_disk_keeps_no_failed_version_alive(tmp_path: Path) -> None:
    """Nothing can be written into a directory that is not there, as into a full one."""
    failed = subprocess.Popen(["/bin/sleep", "60"])
    nowhere = str(tmp_path / "nowhere" / "x")
    try:
        go_back(
            plan(tmp_path, pid=failed.pid, birth=birth_of(failed.pid), current=nowhere, verdict=nowhere), "it hangs"
        )
        assert failed.wait(30) != 0
    finally:
        failed.kill()
