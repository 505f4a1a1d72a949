"""`doctor` on the daemon's own machine: services that do not run, files, older daemons; and what `--fix` does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys

import pytest

from tests.cli.services import on_a_mac, on_linux
from tests.fakes.launchd import FakeLaunchd
from tests.hub_process import KEY, running_hub
from tests.ports import free_port
from tests.waiting import eventually
from understudy.cli.doctor import fixes_of
from understudy.cli.findings import OK, Here, look_around
from understudy.cli.service import refuse_others
from understudy.daemon.service import run, supervisor_of
from understudy.errors import ConfigError


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(
        tmp_path_factory.mktemp("here"), late_after="1s", down_after="2s", heartbeat_interval="500ms"
    ) as h:
        yield h


@pytest.fixture(scope="module")
def installed(tmp_path_factory, hub):
    """A Linux machine whose daemon runs as a service; a test that breaks something repairs it."""
    with on_linux(tmp_path_factory.mktemp("m"), UNDERSTUDY_HUB=hub.url, UNDERSTUDY_API_KEY=KEY) as machine:
        done = machine("service", "install")
        assert done.code == 0, done.err
        yield machine


@pytest.fixture
def mac(tmp_path, hub):
    more = {"UNDERSTUDY_HUB": hub.url, "UNDERSTUDY_API_KEY": KEY, "UNDERSTUDY_DAEMON_ID": "mac"}
    with on_a_mac(tmp_path, **more) as machine:
        yield machine


@pytest.fixture
def older(tmp_path, monkeypatch):
    """A program called node that runs a script, under a name of its own: tests beside this one must not find it."""
    script = tmp_path / f"assistant-daemon-{os.getpid()}.js"
    monkeypatch.setattr("understudy.daemon.service.older.SCRIPT", script.name)
    script.write_text("import time\nwhile True: time.sleep(0.1)\n")
    node = tmp_path / "node"
    node.symlink_to(sys.executable)
    process = subprocess.Popen([node, "-S", script])
    yield process
    process.kill()
    process.wait()


def here_on(machine, **environ):
    """What `doctor` is given when it is typed on that machine."""

    def run_there(argv, within_s=15.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", machine.system.path)
            return run(argv, within_s)

    platform = "darwin" if isinstance(machine.system, FakeLaunchd) else "linux"
    return Here({**machine.environ, **environ}, machine.folder, platform=platform, run=run_there)


def examined(machine, **environ):
    """The findings that are not well, by name."""
    return {finding.name: finding for finding in look_around(here_on(machine, **environ)) if finding.level != OK}


def fixed(machine):
    """What `--fix` did by the finding's name: whether it was done, and what was said; then what is still found."""
    here = here_on(machine)
    done = {finding.name: (is_done, told) for finding, is_done, told in fixes_of(look_around(here), here)}
    return done, examined(machine)


def test_a_machine_that_is_well(installed):
    assert set(examined(installed)) <= {"machine", "interval", "channels"}, "what a hub for tests is told about"
    done = installed("doctor")
    assert (done.code, "The daemon's service runs (pid" in done.out) == (0, True)


def test_a_service_that_is_stopped(installed):
    assert installed("service", "stop").code == 0
    assert examined(installed)["service"].fix == "understudy service start daemon"
    done = json.loads(installed("doctor", "--fix", "--json").out)
    assert [(fix["name"], fix["done"]) for fix in done["fixes"]] == [("service", True)]
    assert "service" not in {finding["name"] for finding in done["findings"] if finding["level"] != "ok"}


def test_a_silent_daemon_on_its_own_machine(installed, hub):
    pid = json.loads(installed("service", "status", "--json").out)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: hub.get("/api/daemons/mini")["state"] in ("late", "down"), what="its silence")
        assert examined(installed)["daemon"].fix == "understudy service restart"
    finally:
        os.kill(pid, signal.SIGCONT)
        eventually(lambda: hub.get("/api/daemons/mini")["state"] == "healthy", what="its return")


def test_a_key_file_that_others_can_read(installed):
    path = installed.data / "service/daemon/api-key"
    path.chmod(0o644)
    assert examined(installed)["mode"].fix == f"chmod 600 '{path}'"
    done, seen = fixed(installed)
    assert done["mode"][0]
    assert "mode" not in seen
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_file_that_is_gone_or_empty(installed):
    path = installed.data / "service/daemon/api-key"
    kept = path.read_text()
    try:
        path.write_text("\n")
        assert "is empty" in examined(installed)["key_file"].what
        path.unlink()
        finding = examined(installed)["key_file"]
        assert "UNDERSTUDY_API_KEY_FILE" in finding.what
        assert "understudy service install daemon" in finding.fix
        assert fixed(installed)[0] == {}, "no key is made up"
    finally:
        path.write_text(kept)
        path.chmod(0o600)


def test_a_program_that_was_moved(installed):
    path = installed.data / "daemon/current"
    kept = path.readlink()
    path.unlink()
    try:
        assert examined(installed)["program"].fix == "understudy service install daemon"
    finally:
        path.symlink_to(kept)


def test_a_program_whose_python_was_moved(installed):
    script = (installed.data / "daemon/current/bin/understudy").resolve()
    kept = script.read_text()
    script.write_text("#!/bin/sh\nexec '/gone/.venv/bin/python' -P -m understudy \"$@\"\n")
    try:
        finding = examined(installed)["program"]
        assert "/gone/.venv/bin/python no longer exists" in finding.what
        assert finding.fix == "understudy service install daemon"
    finally:
        script.write_text(kept)


def test_a_service_that_ends_with_the_session(installed):
    installed.system.lingers = False
    assert examined(installed)["linger"].fix == "loginctl enable-linger"
    installed.system.may_linger = False
    done, seen = fixed(installed)
    assert not done["linger"][0]
    assert "Access denied" in done["linger"][1]
    assert "linger" in seen
    installed.system.may_linger = True
    assert fixed(installed)[0]["linger"][0]
    assert installed.system.lingers


def test_the_shell_means_another_hub(installed, tmp_path_factory):
    with running_hub(tmp_path_factory.mktemp("other")) as other:
        finding = examined(installed, UNDERSTUDY_HUB=other.url)["other_hub"]
    assert other.url in finding.what


def test_fix_says_that_there_was_nothing_and_what_is_left(installed):
    text = installed("doctor", "--fix", UNDERSTUDY_LATE_AFTER="15s").out
    assert text.startswith("There was nothing that --fix can fix.")
    assert "Left to you (" in text


def test_two_machines_with_one_name(installed, tmp_path, hub):
    with on_linux(tmp_path, UNDERSTUDY_HUB=hub.url, UNDERSTUDY_API_KEY=KEY) as other:
        assert other("service", "install", "--no-verify").code == 0
        find = lambda: hub.get("/api/events?search=daemon.cloned")["events"]  # noqa: E731
        eventually(find, what="the hub's word that two machines have one name")
        finding = examined(other)["cloned"]
    assert finding.fix.startswith("understudy service install daemon --id")


def test_a_data_directory_that_is_gone(tmp_path, hub):
    with on_linux(tmp_path, UNDERSTUDY_HUB=hub.url, UNDERSTUDY_API_KEY=KEY, UNDERSTUDY_DAEMON_ID="gone") as machine:
        assert machine("service", "install", "--no-verify").code == 0
        assert machine("service", "stop").code == 0
        shutil.rmtree(machine.data)
        assert str(machine.data) in examined(machine)["data"].what
        assert fixed(machine)[0]["data"][0]
        assert machine.data.is_dir()


def test_a_service_that_ends_again_and_again(tmp_path, hub):
    with on_linux(tmp_path, UNDERSTUDY_HUB=hub.url, UNDERSTUDY_API_KEY=KEY) as machine:
        assert machine("service", "install", "daemon", "--", "/nowhere/assistant").code == 1
        finding = examined(machine)["crash"]
        assert "2 (exit-code)" in finding.what
        assert finding.fix.startswith("journalctl --user")


def test_a_hub_service_that_is_stopped_is_started(tmp_path):
    port = str(free_port())
    with on_linux(tmp_path, UNDERSTUDY_PORT=port, UNDERSTUDY_API_KEY=KEY) as machine:
        assert machine("service", "install", "hub").code == 0
        assert machine("service", "stop", "hub").code == 0
        assert examined(machine)["hub"].fix == "understudy service start hub"
        assert [done for done, _ in fixed(machine)[0].values()] == [True], "one fix for two findings is done once"


def test_a_drain_that_has_become_longer_than_launchd_gives(mac, hub):
    del mac.environ["UNDERSTUDY_DRAIN"]
    assert mac("service", "install").code == 0
    assert "drain" not in examined(mac)
    (mac.data / "understudy.toml").write_text('drain = "30m"\n')
    finding = examined(mac)["drain"]
    assert "1845 s" in finding.what
    assert finding.fix == "understudy service install daemon"


def test_a_service_that_launchd_has_parked(mac, hub):
    assert mac("service", "install").code == 0
    mac.system.pend = "inefficient"
    job = mac.system.job("org.understudy.daemon")
    job.process.kill()
    eventually(lambda: job.pended, what="a parked service")
    finding = examined(mac)["parked"]
    assert "inefficient" in finding.what
    assert finding.fix == "understudy service start daemon"
    done, seen = fixed(mac)
    assert done["parked"][0]
    assert "parked" not in seen
    assert mac.system.times("launchctl", "kickstart") == 1


@pytest.mark.parametrize(
    ("pmset", "shown"),
    [
        (" standby  1\n sleep    10 (sleep prevented by coreaudiod)\n powernap    1\n", "sleep 10, powernap 1"),
        (" sleep                0\n powernap             0\n displaysleep         10\n", ""),
    ],
)
def test_a_mac_that_sleeps(mac, pmset, shown):
    played(mac, "pmset", pmset)
    played(mac, "defaults", "me\n")
    mac.plist.parent.mkdir(parents=True)
    mac.plist.write_text("<plist/>")
    seen = examined(mac)
    assert ("sleep" in seen) is bool(shown)
    assert "autologin" not in seen
    if shown:
        assert shown in seen["sleep"].what
        assert seen["sleep"].fix == "sudo pmset -a sleep 0 disksleep 0 powernap 0"


@pytest.mark.parametrize(("vault", "word"), [("FileVault is On.\n", "FileVault"), ("FileVault is Off.\n", "screen")])
def test_a_mac_without_automatic_login(mac, vault, word):
    played(mac, "pmset", "")
    played(mac, "defaults", "", code=1)
    played(mac, "fdesetup", vault)
    mac.plist.parent.mkdir(parents=True)
    mac.plist.write_text("<plist/>")
    finding = examined(mac)["autologin"]
    assert (finding.level, word in finding.why) == ("notice", True)


def played(machine, name, out, code=0):
    """A command that says this."""
    path = machine.system.bin / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{out}END\nexit {code}\n")
    path.chmod(0o755)


def test_an_older_daemon_is_named_and_never_joined(installed, older, monkeypatch):
    finding = examined(installed)["older"]
    assert finding.fix == f"kill {older.pid}"
    assert "assistant-daemon-" in finding.what
    monkeypatch.setenv("PATH", installed.system.path)
    supervisor = supervisor_of("daemon", installed.environ)
    with pytest.raises(ConfigError, match=f"kill {older.pid}"):
        refuse_others(supervisor, installed.data, supervisor.state().env)
