"""launchd: a service is started, stopped, replaced and brought back, whatever launchd does meanwhile."""

from __future__ import annotations

import contextlib
import os
import plistlib
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.launchd import FakeLaunchd
from tests.waiting import eventually
from understudy.clock import SystemClock
from understudy.daemon.service import Program, ServiceError, log_file, run
from understudy.daemon.service.commands import ABSENT, TIMED_OUT
from understudy.daemon.service.launchd import BOOTSTRAP_TRIES, Launchd, plist

WORK = "import time\nwhile True: time.sleep(0.05)"
# launchd.plist(5): everything that we may write, with its type
ALLOWED = {
    "Label": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "WorkingDirectory": str,
    "RunAtLoad": bool,
    "KeepAlive": bool,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "LegacyTimers": bool,
    "StandardOutPath": str,
    "StandardErrorPath": str,
    "Umask": int,
}


@pytest.fixture
def launchd(tmp_path):
    with FakeLaunchd(tmp_path / "launchd") as fake:
        yield fake


@pytest.fixture
def agent(launchd, tmp_path):
    return Launchd("daemon", tmp_path, 501, launchd.run, SystemClock(), lambda s: time.sleep(min(s, 0.01)))


def program(tmp_path, code=WORK, **env):
    argv = (sys.executable, "-S", "-c", code)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **env}
    (tmp_path / "data").mkdir(exist_ok=True)
    return Program(role="daemon", argv=argv, env=env, data_dir=tmp_path / "data", stop_s=5)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_plist_has_only_keys_that_launchd_knows_each_of_its_type(tmp_path):
    made = plistlib.loads(plist("org.understudy.daemon", program(tmp_path)))
    assert set(made) <= set(ALLOWED)
    assert {name: type(value) for name, value in made.items()} == {name: ALLOWED[name] for name in made}
    assert all(isinstance(word, str) for word in made["ProgramArguments"])
    assert all(isinstance(value, str) for value in made["EnvironmentVariables"].values())
    assert Path(made["ProgramArguments"][0]).is_absolute()


def test_the_plist_says_what_keeps_heartbeats_alive(tmp_path):
    made = plistlib.loads(plist("org.understudy.daemon", program(tmp_path)))
    assert (made["ProcessType"], made["LegacyTimers"], made["KeepAlive"], made["RunAtLoad"]) == (
        "Interactive",
        True,
        True,
        True,
    )
    assert made["StandardErrorPath"] == str(log_file(tmp_path / "data", "daemon"))


@pytest.mark.parametrize("word", ["日本語", "a b", "<&>\"'", "-x", "é\ttab"])
def test_any_argument_survives_the_plist(tmp_path, word):
    made = program(tmp_path)
    made = Program(role="hub", argv=(*made.argv, word), env={"A": word}, data_dir=made.data_dir, stop_s=made.stop_s)
    read = plistlib.loads(plist("x", made))
    assert (read["ProgramArguments"][-1], read["EnvironmentVariables"]["A"]) == (word, word)


def test_install_runs_it_and_says_as_what(launchd, agent, tmp_path):
    agent.install(program(tmp_path))
    state = agent.state()
    assert (state.word, state.starts, state.parked) == ("running", 1, "")
    assert is_alive(state.pid)
    assert agent.path == tmp_path / "Library/LaunchAgents/org.understudy.daemon.plist"


def test_it_is_the_command_on_the_path_that_is_asked(launchd, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", launchd.path)
    agent = Launchd("daemon", tmp_path, 501, run, SystemClock(), lambda s: time.sleep(min(s, 0.01)))
    agent.install(program(tmp_path))
    assert agent.state().word == "running"


@pytest.mark.parametrize("content", [b"<plist>", b"", b"<?xml version='1.0'?>\n<plist><dict>", b"\0\xff"])
def test_a_plist_that_is_none_breaks_no_command(agent, content):
    agent.path.parent.mkdir(parents=True)
    agent.path.write_bytes(content)
    state = agent.state()
    assert (state.word, state.program, dict(state.env)) == ("stopped", "", {})
    agent.uninstall()
    assert agent.state().word == "absent"


def test_nothing_is_there_before_and_after(launchd, agent, tmp_path):
    assert agent.state().word == "absent"
    agent.install(program(tmp_path))
    pid = agent.state().pid
    agent.uninstall()
    assert agent.state().word == "absent"
    assert not agent.path.exists()
    eventually(lambda: not is_alive(pid), what="its end")
    agent.uninstall()  # twice is once


def test_install_again_replaces_the_old_one(launchd, agent, tmp_path):
    agent.install(program(tmp_path))
    first = agent.state().pid
    agent.install(program(tmp_path, MARK="2"))
    assert agent.state().pid != first
    assert not is_alive(first)
    assert agent.state().env["MARK"] == "2"
    assert launchd.job("org.understudy.daemon").plist["EnvironmentVariables"]["MARK"] == "2"


def test_bootout_is_waited_for_before_the_next_bootstrap(launchd, agent, tmp_path):
    agent.install(program(tmp_path))
    launchd.leaves_after_s = 0.3
    launchd.asked.clear()
    agent.restart()
    verbs = [asked[1] for asked in launchd.asked]
    assert verbs.count("bootstrap") == 1, "a bootstrap while the old job is still there is error 5"
    assert verbs.index("bootout") < verbs.index("bootstrap")
    assert agent.state().word == "running"


def test_an_old_job_has_the_time_that_it_was_loaded_with(launchd, agent, tmp_path, monkeypatch):
    """A shorter drain is for the next end, not for the one that is waited for."""
    monkeypatch.setattr("understudy.daemon.service.launchd.GONE_MORE_S", 0.1)
    agent.install(replace(program(tmp_path), stop_s=30))
    launchd.leaves_after_s = 0.5
    agent.install(replace(program(tmp_path, MARK="2"), stop_s=0))
    assert (agent.state().word, agent.state().env["MARK"]) == ("running", "2")


def test_a_job_that_does_not_go_is_told_with_what_turns_it_on(launchd, agent, tmp_path, monkeypatch):
    monkeypatch.setattr("understudy.daemon.service.launchd.GONE_MORE_S", 0.1)
    agent.install(replace(program(tmp_path), stop_s=0))
    launchd.leaves_after_s = 1.0
    with pytest.raises(ServiceError, match="`understudy service restart daemon` turns it on"):
        agent.restart()
    launchd.leaves_after_s = 0
    eventually(lambda: agent.state().word == "stopped", what="the end of the old job")
    agent.restart()
    assert agent.state().word == "running"


@pytest.mark.parametrize("code", [ABSENT, TIMED_OUT])
def test_a_job_that_nobody_can_look_at_is_not_taken_for_gone(launchd, agent, tmp_path, code):
    """Its file stays, so that it can be stopped later."""
    agent.install(program(tmp_path))
    pid = agent.state().pid
    launchd.print_error = code
    for act in (agent.stop, agent.uninstall, agent.restart):
        with pytest.raises(ServiceError, match="does not say"):
            act()
    assert agent.path.exists()
    assert is_alive(pid)
    assert launchd.times("launchctl", "bootout") == 0
    launchd.print_error = 0
    agent.uninstall()
    assert not is_alive(pid)
    assert not agent.path.exists()


def test_a_look_that_fails_while_a_job_goes_is_no_sign_that_it_has_gone(launchd, agent, tmp_path):
    agent.install(program(tmp_path))
    pid = agent.state().pid
    launchd.leaves_after_s = 0.2
    launchd.blind_after_bootout = 3
    agent.stop()
    assert launchd.job(agent.name) is None
    assert not is_alive(pid)


def test_bootstrap_is_tried_again_on_error_5(launchd, agent, tmp_path):
    launchd.bootstrap_errors = [5, 5, 37]
    agent.install(program(tmp_path))
    assert agent.state().word == "running"
    assert launchd.times("launchctl", "bootstrap") == 4


def test_bootstrap_is_tried_a_bounded_number_of_times(launchd, agent, tmp_path):
    launchd.bootstrap_errors = [5] * 50
    with pytest.raises(ServiceError, match="Input/output error"):
        agent.install(program(tmp_path))
    assert launchd.times("launchctl", "bootstrap") == BOOTSTRAP_TRIES


def test_another_error_is_told_at_once(launchd, agent, tmp_path):
    launchd.bootstrap_errors = [78]
    with pytest.raises(ServiceError, match="78"):
        agent.install(program(tmp_path))
    assert launchd.times("launchctl", "bootstrap") == 1


def test_without_a_session_at_the_screen_that_is_said(launchd, agent, tmp_path):
    launchd.has_gui = False
    with pytest.raises(ServiceError, match="logged in at the screen"):
        agent.install(program(tmp_path))


def test_a_service_that_was_disabled_is_enabled(launchd, agent, tmp_path):
    launchd.disabled.add("gui/501/org.understudy.daemon")
    agent.install(program(tmp_path))
    assert agent.state().word == "running"


def test_a_pended_spawn_is_cured_by_kickstart(launchd, agent, tmp_path):
    launchd.pend = "inefficient"
    agent.install(program(tmp_path))
    assert agent.state().word == "running"
    assert launchd.times("launchctl", "kickstart") == 1


def test_a_healthy_start_is_not_kicked(launchd, agent, tmp_path):
    agent.install(program(tmp_path))
    assert launchd.times("launchctl", "kickstart") == 0


def test_a_spawn_that_stays_pended_is_an_honest_failure(launchd, agent, tmp_path, monkeypatch):
    monkeypatch.setattr("understudy.daemon.service.launchd.SPAWN_S", 0.1)
    launchd.pend, launchd.is_kick_useless = "speculative", True
    with pytest.raises(ServiceError, match=r"parked.*speculative"):
        agent.install(program(tmp_path))
    assert agent.state().word == "parked"


def test_a_program_that_ends_at_once_is_told_with_its_exit_code(launchd, agent, tmp_path, monkeypatch):
    monkeypatch.setattr("understudy.daemon.service.launchd.SPAWN_S", 0.1)
    monkeypatch.setattr("understudy.daemon.service.launchd.PENDED_S", 0.1)
    launchd.throttle_s = 60
    launchd.is_kick_useless = True
    made = program(tmp_path, "import sys; sys.exit(78)")
    with contextlib.suppress(ServiceError):  # the look after the spawn may still see it alive
        agent.install(made)
    eventually(lambda: not agent.state().pid, what="its end")
    with pytest.raises(ServiceError, match="78"):
        agent.start()
    assert agent.state().last_exit == "78"


def test_stop_lasts_until_start(launchd, agent, tmp_path):
    agent.install(program(tmp_path))
    agent.stop()
    assert agent.state().word == "stopped"
    agent.stop()
    agent.start()
    pid = agent.state().pid
    assert pid
    agent.start()
    assert agent.state().pid == pid, "started twice is started once"


def test_restart_gives_another_process(launchd, agent, tmp_path):
    agent.install(program(tmp_path))
    pid = agent.state().pid
    agent.restart()
    assert agent.state().pid not in (0, pid)


def test_what_is_killed_comes_back_by_itself(launchd, agent, tmp_path):
    agent.install(program(tmp_path))
    pid = agent.state().pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: agent.state().pid not in (0, pid), what="the next life")
    assert agent.state().starts == 2


def test_what_parked_later_is_started_by_start(launchd, agent, tmp_path):
    agent.install(program(tmp_path))
    launchd.pend = "inefficient"
    os.kill(agent.state().pid, signal.SIGKILL)
    eventually(lambda: agent.state().word == "parked", what="a parked service")
    assert agent.state().parked == "inefficient"
    agent.start()
    assert agent.state().word == "running"


def test_nested_lines_of_print_are_not_the_jobs(launchd, agent, tmp_path):
    launchd.pend, launchd.is_kick_useless = "inefficient", True
    agent.path.parent.mkdir(parents=True)
    agent.path.write_bytes(agent.file(program(tmp_path)))
    assert launchd.run(("launchctl", "bootstrap", "gui/501", str(agent.path))).code == 0
    assert "pid = 1" in launchd.run(("launchctl", "print", "gui/501/org.understudy.daemon")).out
    assert agent.state().pid == 0


def test_what_is_not_installed_is_not_started(launchd, agent):
    for act in (agent.start, agent.restart):
        with pytest.raises(ServiceError, match="not installed"):
            act()
