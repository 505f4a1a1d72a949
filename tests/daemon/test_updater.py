"""The process that watches over an update goes back to the old version, whatever disk and directories are like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import msgspec
import pytest

from understudy.daemon import updater
from understudy.daemon.home import Home
from understudy.daemon.installation import Installation
from understudy.daemon.service import State, Supervisor
from understudy.daemon.updater import SERVICE_SIGNS, UpdatePlan, go_back, read_plan, start_old, wait_for
from understudy.worker.process_tree import birth_of

LIVES = """
import os, sys
from pathlib import Path
from understudy.daemon.home import Home
from understudy.daemon.installation import Installation
from understudy.daemon.succession import Succession

if os.environ.get("HAS_BEGUN"):
    if sys.argv[2] == "broken":
        Home(Path(sys.argv[1]), "mini").arrived.write_text("boot-2")
    print("old", flush=True)
    sys.exit()
os.environ["HAS_BEGUN"] = "yes"
data = Path(sys.argv[1])
new = Installation(data).environments / "new" / "bin" / "understudy"
new.parent.mkdir(parents=True)
home = Home(data, "mini")
note = {"stopped": home.stopped, "heard": home.arrived}.get(sys.argv[2], os.devnull)
current = Installation(data).current
says = f"basename $(readlink '{current}'); printf new > '{home.environment}'; printf boot-2 > '{note}'; echo new"
new.write_text(f"#!{'/gone' if sys.argv[2] == 'broken' else ''}/bin/sh\\n{says}\\n")
new.chmod(0o700)
if sys.argv[2] == "gone":
    Path.cwd().rmdir()
home.arrived.write_text("boot-0")
home.stopped.write_text("boot-0")
Succession(home, "boot-1", "directive-1", "new", 30_000).begin()
"""


def plan(tmp_path: Path, **more: object) -> UpdatePlan:
    whole = UpdatePlan(
        directive_id="directive-1",
        boot_id="boot-1",
        pid=os.getpid(),
        birth=0.0,
        lock=str(tmp_path / "lock"),
        arrived=str(tmp_path / "arrived"),
        stopped=str(tmp_path / "stopped"),
        verdict=str(tmp_path / "verdict.json"),
        runs_in=str(tmp_path / "environment"),
        data_dir=str(tmp_path),
        environment="new",
        old=("/bin/echo", "old"),
        cwd=str(tmp_path),
    )
    return msgspec.structs.replace(whole, **more)


def lives(tmp_path: Path, here: Path, word: str) -> list[str]:
    """The lives of a daemon that becomes a new version, which ends at once."""
    env = {name: value for name, value in os.environ.items() if name not in SERVICE_SIGNS}
    ran = subprocess.run(
        [sys.executable, "-P", "-c", LIVES, str(tmp_path / "data"), word],
        cwd=here,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.stdout.split()


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
    assert lives(tmp_path, here, str(folder)) == ["original", "new", "old"]


def test_who_is_stopped_before_the_hub_has_heard_stays_stopped(tmp_path: Path) -> None:
    """Its owner wants no daemon; the next start is the old version, which says why."""
    assert lives(tmp_path, tmp_path, "stopped") == ["original", "new"]
    home = Home(tmp_path / "data", "mini")
    said = msgspec.json.decode(home.verdict.read_bytes())
    assert said == {"directive-1": "the new version was stopped before the hub had heard of it"}
    assert Installation(home.data_dir).current.readlink().name == "original"


def test_a_new_version_is_the_current_one_only_once_the_hub_has_heard_it(tmp_path: Path) -> None:
    """After a power cut before that, the service starts the old one."""
    assert lives(tmp_path, tmp_path, "heard") == ["original", "new"]
    assert Installation(tmp_path / "data").current.readlink().name == "new"


def test_a_version_that_cannot_be_executed_never_becomes_the_current_one(tmp_path: Path) -> None:
    """What the hub hears then is the old version."""
    assert lives(tmp_path, tmp_path, "broken") == ["old"]
    assert Installation(tmp_path / "data").current.readlink().name == "original"


def test_an_update_of_a_daemon_started_by_hand_changes_nothing_that_a_service_goes_back_to(tmp_path: Path) -> None:
    """The service of this data directory may be another installation."""
    of_service = Installation(tmp_path / "data").launcher()
    of_service.write_text("#!/bin/sh\n")
    assert lives(tmp_path, tmp_path, "plain") == ["original", "new", "old"]
    assert of_service.read_text() == "#!/bin/sh\n"


@pytest.mark.parametrize(("heard", "reason"), [("", "ended"), ("boot-0", "ended"), ("boot-1", "ended"), ("boot-2", "")])
def test_only_a_later_life_confirms(tmp_path: Path, heard: str, reason: str) -> None:
    """The old one may have failed to write its own name, so that an earlier one still stands there."""
    (tmp_path / "arrived").write_text(heard)
    assert reason in wait_for(plan(tmp_path, pid=2**22 + 1))
    assert bool(wait_for(plan(tmp_path, pid=2**22 + 1))) == bool(reason)


def test_a_plan_holds_paths_that_are_no_utf8(tmp_path: Path) -> None:
    odd = plan(tmp_path, cwd="/caf\udce9", old=("/caf\udce9/python", "-P"))
    assert read_plan(odd.written()) == odd


def test_a_full_disk_keeps_no_failed_version_alive(tmp_path: Path) -> None:
    """Nothing can be written into a directory that is not there, as into a full one."""
    failed = subprocess.Popen(["/bin/sleep", "60"])
    nowhere = str(tmp_path / "nowhere" / "x")
    try:
        go_back(plan(tmp_path, pid=failed.pid, birth=birth_of(failed.pid), verdict=nowhere), "it hangs")
        assert failed.wait(30) != 0
    finally:
        failed.kill()


OFF, ON = State(is_installed=True), State(is_installed=True, is_loaded=True)
STOPPING = State(is_installed=True, is_loaded=True, pid=1, is_stopping=True)
UNIT = "0::/user.slice/user-1.slice/user@1.service/app.slice/understudy-daemon.service"


@pytest.mark.parametrize(
    ("state", "cgroup", "xpc", "is_started"),
    [
        (OFF, UNIT, "", False),
        (STOPPING, UNIT, "", False),
        (State(is_installed=False), UNIT, "", False),
        (ON, UNIT, "", True),
        (State(is_installed=True, parked="start-limit-hit"), UNIT, "", True),
        (OFF, "0::/user.slice/user-1.slice/session-2.scope", "", True),
        (OFF, f"{UNIT}-of-another", "application.com.apple.Terminal", True),
        (OFF, "", "understudy-daemon.service", False),
    ],
    ids=["stopped", "stopping", "uninstalled", "on", "given up", "by hand", "of another program", "launchd"],
)
def test_the_old_version_is_not_started_beside_a_manager_whose_service_was_stopped(
    state: State, cgroup: str, xpc: str, is_started: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop of the first moments of a new version leaves no note, and on a full disk none does."""

    class Manager:
        name = "understudy-daemon.service"

        def state(self) -> State:
            return state

    def manager(role: str, environ: object) -> Supervisor:
        assert role == "daemon"
        return cast("Supervisor", Manager())

    started: list[str] = []
    (tmp_path / "cgroup").write_text(cgroup + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XPC_SERVICE_NAME", xpc)
    monkeypatch.setattr(updater, "CGROUP", str(tmp_path / "cgroup"))
    monkeypatch.setattr(updater, "SERVICE_S", 0)
    monkeypatch.setattr(updater, "supervisor_of", manager)
    monkeypatch.setattr(os, "execve", lambda path, *_: started.append(path))
    start_old(plan(tmp_path))
    assert started == (["/bin/echo"] if is_started else [])


STOPPED_AT_ITS_START = """
import os, signal, sys
from pathlib import Path
from understudy.config import Settings
from understudy.daemon import DaemonInputs, run
from understudy.daemon.machine import Machine

Machine.end_leftovers = lambda self: os.kill(os.getpid(), signal.SIGTERM)
settings = Settings(daemon_id="mini", executor="diagnostic")
sys.exit(run(DaemonInputs(settings=settings, hub_url="http://127.0.0.1:9", api_key="key", data_dir=Path(sys.argv[1]))))
"""


def test_a_stop_before_the_loops_of_a_life_run_is_noted_and_ends_it(tmp_path: Path) -> None:
    """Else the old version would begin in the place of one that its owner ended in its first moments."""
    ran = subprocess.run([sys.executable, "-P", "-c", STOPPED_AT_ITS_START, str(tmp_path)], timeout=60, check=False)
    assert ran.returncode == 0
    home = Home(tmp_path, "mini")
    assert home.stopped.read_text() == (home.root / "boot-id").read_text()
