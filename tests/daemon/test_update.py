"""An update between two wheels made here, and ones that are never heard of: taken back. Real hub, real daemon."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemon.wheels import SOURCE, wheel
from tests.environment import environment_seen_of
from tests.hub_process import ADMIN_KEY, KEY, HubProcess, running_hub
from tests.waiting import eventually
from understudy import __version__
from understudy.runtime.lock import holder_of

WITHIN_S = 60.0
PLANTED = f"""__path__.append({str(SOURCE / "daemon")!r})
from understudy.daemon.inputs import DaemonInputs

def run(given):
    import time
"""
HANGS, BREAKS = f"{PLANTED}    time.sleep(600)\n", f"{PLANTED}    raise SystemExit(3)\n"


class Updatable:
    """A daemon started as an owner starts it; its process may become another version, or another process."""

    def __init__(self, hub: HubProcess, data: Path, confirm: str, env_file: Path | None = None) -> None:
        self.hub = hub
        self.data = data
        self.lock = data / "daemons/mini/lock"
        self.log_path = data.with_name("daemon.log")
        env = {name: value for name, value in hub.env.items() if name not in ("INVOCATION_ID", "XPC_SERVICE_NAME")}
        env |= {"UNDERSTUDY_HEARTBEAT_INTERVAL": "300ms", "UNDERSTUDY_UPDATE_CONFIRM": confirm}
        command = [sys.executable, "-m", "understudy", "daemon", "--id", "mini", "--data", str(data)]
        if env_file is not None:
            del env["UNDERSTUDY_API_KEY"]
            command += ["--env-file", str(env_file)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=data.parent)
        eventually(lambda: self.shown()["state"] == "healthy", within_s=WITHIN_S, what="a daemon")

    def shown(self) -> Any:
        found = self.hub.ask("GET", "/api/daemons/mini")
        return found.body if found.status == 200 else {"state": ""}

    def ask(self, kind: str, **more: Any) -> str:
        asked = self.hub.post("/api/daemons/mini/directives", {"kind": kind, **more}, key=ADMIN_KEY)
        return str(asked["id"])

    def ended(self, directive_id: str) -> Any:
        def look() -> Any:
            rows = [row for row in self.shown().get("directives", ()) if row["id"] == directive_id]
            return rows[0] if rows and rows[0]["state"] in ("done", "failed", "expired") else None

        return eventually(look, within_s=WITHIN_S, what=f"the end of {directive_id}\n{self.log_path.read_text()}")

    def close(self) -> None:
        for pid in {self.process.pid, holder_of(self.lock)} - {0}:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(60)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with running_hub(tmp_path_factory.mktemp("updates")) as process:
        yield process


@pytest.fixture
def daemon(hub: HubProcess, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Updatable]:
    """One that waits for a new version longer than any busy machine needs to start it, unless a test says less."""
    (tmp_path / "data").mkdir()
    daemon = Updatable(hub, tmp_path / "data", getattr(request, "param", "2m"))
    yield daemon
    daemon.close()
    hub.ask("DELETE", "/api/daemons/mini", key=ADMIN_KEY)


def test_an_update_is_confirmed_by_a_later_boot_and_one_that_breaks_at_once_is_taken_back_at_once(
    daemon: Updatable, tmp_path: Path
) -> None:
    before = daemon.shown()
    path, sha256 = wheel(tmp_path, "9.9.1", is_whole=True)
    done = daemon.ended(daemon.ask("update", wheel=str(path), sha256=sha256))
    assert done["state"] == "done", done
    now = daemon.shown()
    assert (before["version"], now["version"]) == (__version__, "9.9.1")
    assert now["bootId"] > before["bootId"]
    assert holder_of(daemon.lock) == daemon.process.pid  # in place: whoever watches the process sees no end of it
    assert "/environments/" in " ".join(psutil.Process(daemon.process.pid).cmdline())
    current = daemon.data / "daemon/current"
    eventually(lambda: current.readlink().name.startswith("wheel-"), within_s=WITHIN_S, what="the new current one")

    path, sha256 = wheel(tmp_path, "9.9.2", {"understudy/daemon/__init__.py": BREAKS})
    failed = daemon.ended(daemon.ask("update", wheel=str(path), sha256=sha256))
    assert (failed["state"], failed["detail"]) == ("failed", "the new version ended before the hub had heard of it")
    assert daemon.shown()["version"] == "9.9.1"
    assert subprocess.check_output([daemon.data / "daemon/current/bin/understudy", "--version"]).split()[1] == b"9.9.1"
    events = daemon.hub.get("/api/events?search=directive.&limit=50")["events"]
    assert [e["level"] for e in events if e["name"] == "directive.failed"] == ["warning"]


@pytest.mark.parametrize("daemon", ["1s"], indirect=True, ids=["1 s"])
def test_a_version_that_never_beats_is_taken_back(daemon: Updatable, tmp_path: Path) -> None:
    path, sha256 = wheel(tmp_path, "9.9.3", {"understudy/daemon/__init__.py": HANGS})
    failed = daemon.ended(daemon.ask("update", wheel=str(path), sha256=sha256))
    assert failed["detail"] == "the hub accepted no heartbeat of the new version within 1 s"
    assert daemon.shown()["version"] == __version__
    holder = holder_of(daemon.lock)
    assert holder not in (0, daemon.process.pid)
    eventually(lambda: daemon.process.poll() is not None, within_s=WITHIN_S, what="the end of the one that hangs")
    task = daemon.hub.post("/api/queue", {"content": "diagnose"})["taskId"]  # and it works again
    done = eventually(
        lambda: (a := daemon.hub.ask("GET", f"/api/result/{task}")).status == 200 and a, within_s=WITHIN_S
    )
    assert done.body["success"] is True, done.body


def test_a_restart_is_confirmed_by_a_later_boot_of_the_same_process(daemon: Updatable) -> None:
    before = daemon.shown()["bootId"]
    done = daemon.ended(daemon.ask("restart"))
    assert done["state"] == "done"
    assert daemon.shown()["bootId"] > before
    assert holder_of(daemon.lock) == daemon.process.pid
    assert daemon.process.poll() is None


def test_a_restart_reads_the_env_file_anew(hub: HubProcess, tmp_path: Path) -> None:
    given, key = tmp_path / "given", tmp_path / "key"
    given.write_text(f"UNDERSTUDY_API_KEY={KEY}\nUNDERSTUDY_EXECUTOR=diagnostic\n")
    key.write_text(KEY)
    (tmp_path / "data").mkdir()
    with contextlib.closing(Updatable(hub, tmp_path / "data", "2m", given)) as daemon:
        before = daemon.shown()["bootId"]
        given.write_text(f"UNDERSTUDY_API_KEY_FILE={key}\n")
        done = daemon.ended(daemon.ask("restart"))
        assert done["state"] == "done", daemon.log_path.read_text()
        assert daemon.shown()["bootId"] > before
        names = environment_seen_of(psutil.Process(daemon.process.pid))
        assert {"UNDERSTUDY_API_KEY", "UNDERSTUDY_EXECUTOR"}.isdisjoint(names)
    hub.ask("DELETE", "/api/daemons/mini", key=ADMIN_KEY)


def test_a_wheel_that_is_another_one_is_never_run(daemon: Updatable, tmp_path: Path) -> None:
    path, _ = wheel(tmp_path, "9.9.4")
    before = daemon.shown()["bootId"]
    failed = daemon.ended(daemon.ask("update", wheel=str(path), sha256="00" * 32))
    assert "SHA-256" in failed["detail"]
    assert daemon.shown()["bootId"] == before
    assert list((daemon.data / "daemon/environments").iterdir()) == []
