"""systemd: the unit is what systemd takes, says what it should, and its program is seen to run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import warnings

import pytest

from tests.fakes.systemd import FakeSystemd, argv_of
from tests.waiting import eventually
from understudy.clock import SystemClock
from understudy.daemon.service import CommandOutcome, Program, ServiceError, run
from understudy.daemon.service.commands import TIMED_OUT
from understudy.daemon.service.systemd import Systemd, environment_of, unit

READY = """
import os, socket, time
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to: to.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True: time.sleep(0.05)
"""
ODD = ["日本語", "a b", 'say "hi"', "back\\slash", "100%", "$HOME", "%h", "two\nlines", "'", ";", "-x", "#no"]


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    with FakeSystemd(tmp_path / "systemd", tmp_path / "units") as fake:
        monkeypatch.setenv("PATH", fake.path)
        yield fake


@pytest.fixture
def service(systemd, tmp_path):
    return Systemd("daemon", tmp_path / "units", systemd.run, SystemClock(), lambda _: None)


def program(tmp_path, code=READY, *words, **env):
    (tmp_path / "data dir").mkdir(exist_ok=True)
    argv = (sys.executable, "-S", "-c", code, *words)
    return Program(
        role="daemon", argv=argv, env={"PATH": os.environ["PATH"], **env}, data_dir=tmp_path / "data dir", stop_s=65
    )


def verified(folder, name):
    """What systemd itself thinks of a unit; the machine need not run systemd for that."""
    command = ["systemd-analyze", "--user", "verify", "--man=no", str(folder / name)]
    env = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)


def about(name, said):
    """Without what systemd finds wrong with units of the distribution, such as sockets below a long HOME."""
    return [line for line in said.splitlines() if name in line]


@pytest.mark.parametrize("role", ["daemon", "hub"])
def test_systemd_itself_finds_nothing_wrong_with_the_unit(tmp_path, role):
    if not shutil.which("systemd-analyze"):
        warnings.warn("systemd-analyze is not here: the units were NOT verified", stacklevel=1)
        pytest.skip("systemd-analyze is not installed: the generated units were not verified")
    made = program(tmp_path, "pass", *ODD, UNDERSTUDY_HUB="http://x", ODD='a "b" \\ % $c')
    made = Program(role=role, argv=made.argv, env=made.env, data_dir=made.data_dir, stop_s=65)
    path = tmp_path / f"understudy-{role}.service"
    path.write_text(unit(made))
    done = verified(tmp_path, path.name)
    assert (done.returncode, about(path.name, done.stdout + done.stderr)) == (0, [])


def test_a_run_that_the_kernel_kills_for_memory_does_not_stop_the_daemon(tmp_path):
    """By default systemd stops the whole unit (systemd.service(5), OOMPolicy=)."""
    assert "\nOOMPolicy=continue\n" in unit(program(tmp_path))


def test_systemd_would_have_complained(tmp_path):
    """The test above can fail: a key that this systemd does not know, a command that is not there."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    path = tmp_path / "understudy-daemon.service"
    path.write_text(unit(program(tmp_path)).replace("Restart=always", "Restart=allways\nRestartStepsX=4"))
    said = verified(tmp_path, path.name).stderr
    assert "RestartStepsX" in said
    assert "allways" in said


def test_keys_that_debian_12_does_not_know_are_not_written(tmp_path):
    text = unit(program(tmp_path))
    assert "RestartSteps" not in text
    assert "RestartMaxDelaySec" not in text


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "WatchdogSec=60",
        "Restart=always",
        "StartLimitIntervalSec=0",
        "KillMode=process",
        "TimeoutStopSec=65",
        "WantedBy=default.target",
    ],
)
def test_the_unit_says(tmp_path, line):
    assert line in unit(program(tmp_path)).splitlines()


def test_a_hub_has_nothing_that_must_outlive_it(tmp_path):
    made = program(tmp_path)
    hub = Program(role="hub", argv=made.argv, env=made.env, data_dir=made.data_dir, stop_s=65)
    assert "KillMode" not in unit(hub)


@pytest.mark.parametrize("word", ODD)
def test_any_word_survives_the_unit(tmp_path, word):
    text = unit(program(tmp_path, "pass", word, WORD=word))
    assert environment_of(text)["WORD"] == word
    assert argv_of(text)[-1] == word


def test_systemd_reads_arguments_as_we_wrote_them(tmp_path):
    """By its own parser, as far as it can be asked: `systemd-analyze verify` resolves and prints nothing else."""
    text = unit(program(tmp_path, "pass", "$HOME", "%h"))
    assert '"$$HOME" "%%h"' in text


def test_install_runs_it_now_and_after_each_start(systemd, service, tmp_path):
    service.install(program(tmp_path))
    state = service.state()
    assert (state.word, state.starts, state.last_exit) == ("running", 1, "")
    assert systemd.enabled == {"understudy-daemon.service"}
    os.kill(state.pid, 0)


def test_uninstall_leaves_nothing(systemd, service, tmp_path):
    service.install(program(tmp_path))
    service.uninstall()
    assert service.state().word == "absent"
    assert systemd.enabled == set()
    assert not systemd.running
    service.uninstall()  # twice is once


def test_stop_and_start(systemd, service, tmp_path):
    service.install(program(tmp_path))
    service.stop()
    assert service.state().word == "stopped"
    service.start()
    assert service.state().word == "running"


def test_a_start_that_systemd_gives_more_time_is_waited_for(systemd, tmp_path):
    """A hub that converts a large store; `systemctl` is cut off, the unit goes on."""
    states = ["activating", "activating"]
    verbs = []

    def slow(argv, within_s=15.0):
        _, _, _, verb, *rest = argv
        if rest[1:] == ["--property=ActiveState"]:
            return CommandOutcome(0, f"ActiveState={states.pop()}\n")
        if verb in ("start", "restart"):
            verbs.append(verb)
            if states:
                return CommandOutcome(TIMED_OUT, err="systemctl: no end after 190 s")
        return systemd.run(argv, within_s)

    service = Systemd("daemon", tmp_path / "units", slow, SystemClock(), lambda _: None)
    service.install(program(tmp_path))
    assert (service.state().word, verbs) == ("running", ["restart", "start", "start"])


def test_restart_gives_another_process(systemd, service, tmp_path):
    service.install(program(tmp_path))
    pid = service.state().pid
    service.restart()
    assert service.state().pid not in (0, pid)


def test_what_is_killed_comes_back(systemd, service, tmp_path):
    service.install(program(tmp_path))
    pid = service.state().pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: service.state().pid not in (0, pid), what="the next life")
    assert service.state().starts == 2


def test_a_program_that_ends_at_once_is_an_honest_failure(systemd, service, tmp_path):
    with pytest.raises(ServiceError, match=r"journalctl --user -u understudy-daemon\.service"):
        service.install(program(tmp_path, "import sys; sys.exit(3)"))
    state = service.state()
    assert (state.word, state.last_exit) == ("stopped", "3 (exit-code)")


def test_without_a_user_manager_the_mend_is_named(systemd, service, tmp_path):
    systemd.is_there = False
    with pytest.raises(ServiceError, match="enable-linger"):
        service.install(program(tmp_path))


def test_it_is_the_command_on_the_path_that_is_asked(systemd, tmp_path):
    service = Systemd("daemon", tmp_path / "units", run, SystemClock())
    service.install(program(tmp_path))
    assert service.state().word == "running"


def test_without_systemd_the_mend_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    service = Systemd("daemon", tmp_path / "units", run, SystemClock())
    with pytest.raises(ServiceError, match="under your own supervisor"):
        service.install(program(tmp_path))


def test_what_is_not_installed_is_not_started(systemd, service):
    for act in (service.start, service.restart, service.stop):
        with pytest.raises(ServiceError, match="not installed"):
            act()
