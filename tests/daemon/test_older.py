"""Older daemons are found wherever they are, each with the commands that stop it, and nothing else is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import eventually
from understudy.daemon.service import CommandOutcome, find_older, run
from understudy.daemon.service.older import SeenProcess, ThisMachine

NODE = ("/usr/local/bin/node", "/Users/me/assistant-daemon.js")


class Played:
    """A machine with these processes and files."""

    def __init__(self, *processes, files=()):
        self._processes, self._files = processes, {Path(file) for file in files}

    def processes(self):
        return iter(self._processes)

    def exists(self, path):
        return path in self._files


def commands(**outputs):
    """What `launchctl` and `tmux` answer, by a word of the question."""

    def answer(argv):
        return next(
            (CommandOutcome(0, out) for word, out in outputs.items() if word.replace("_", "/") in " ".join(argv)),
            CommandOutcome(113),
        )

    return answer


def found(view, run_=None, **more):
    return find_older(run_ or commands(), home=Path("/Users/me"), uid=501, view=view, **more)


def test_nothing_is_there():
    assert found(Played(), is_darwin=True) == ()


def test_a_user_agent():
    path = "/Users/me/Library/LaunchAgents/com.assistant.daemon.plist"
    played = commands(**{"gui/501": "gui/501/com.assistant.daemon = {\n\tpid = 77\n}\n"})
    (one,) = found(Played(SeenProcess(77, NODE, (1,)), files=[path]), played, is_darwin=True)
    assert (one.kind, one.where, one.pid) == ("agent", path, 77)
    assert one.stop == ("launchctl bootout gui/501/com.assistant.daemon", f"mv {path} {path}.off")


def test_an_agent_that_is_loaded_without_its_file():
    played = commands(**{"gui/501": "x = {\n\tstate = running\n}\n"})
    (one,) = found(Played(), played, is_darwin=True)
    assert one.stop == ("launchctl bootout gui/501/com.assistant.daemon",)


def test_a_file_that_waits_for_the_next_login():
    path = "/Users/me/Library/LaunchAgents/com.assistant.daemon.plist"
    (one,) = found(Played(files=[path]), is_darwin=True)
    assert (one.pid, one.stop) == (0, (f"mv {path} {path}.off",))


def test_a_root_daemon():
    path = "/Library/LaunchDaemons/com.assistant.daemon.plist"
    played = commands(system="system/com.assistant.daemon = {\n\tpid = 9\n}\n")
    (one,) = found(Played(files=[path]), played, is_darwin=True)
    assert (one.kind, one.pid) == ("root", 9)
    assert one.stop == ("sudo launchctl bootout system/com.assistant.daemon", f"sudo mv {path} {path}.off")


def test_all_three_places_are_told_apart():
    files = [
        "/Users/me/Library/LaunchAgents/com.assistant.daemon.plist",
        "/Library/LaunchAgents/com.assistant.daemon.plist",
        "/Library/LaunchDaemons/com.assistant.daemon.plist",
    ]
    assert [one.where for one in found(Played(files=files), is_darwin=True)] == files


def test_a_process_in_tmux():
    played = commands(tmux="500 work\n700 assistant bot\n")
    (one,) = found(Played(SeenProcess(801, NODE, (800, 700, 1))), played)
    assert (one.kind, one.where, one.stop) == ("tmux", "assistant bot", ("tmux kill-session -t 'assistant bot'",))


def test_a_process_by_hand():
    (one,) = found(Played(SeenProcess(801, NODE, (1,))))
    assert (one.kind, one.stop) == ("process", ("kill 801",))


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("vim", "assistant-daemon.js"),
        ("node", "other.js"),
        ("node", "--watch", "not-assistant-daemon.js.bak"),
        ("grep", "node", "assistant-daemon.js"),
        ("/work/python", "-m", "understudy", "daemon"),
    ],
)
def test_what_is_none(argv):
    assert found(Played(SeenProcess(801, argv, (1,)))) == ()


def test_launchd_is_not_asked_elsewhere():
    def refuse(argv):
        raise AssertionError(argv)

    assert found(Played(), refuse) == ()


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Under a name of its own: tests beside this one must not take it for an older daemon."""
    path = tmp_path / f"assistant-daemon-{os.getpid()}.js"
    monkeypatch.setattr("understudy.daemon.service.older.SCRIPT", path.name)
    path.write_text("import time\nwhile True: time.sleep(0.1)\n")
    node = tmp_path / "node"
    node.symlink_to(sys.executable)
    return node, path


def real(tmp_path):
    return find_older(run, home=tmp_path, view=ThisMachine())


def test_a_real_process_is_found(script, tmp_path):
    node, path = script
    with subprocess.Popen([node, "-S", path]) as process:
        try:
            found_here = eventually(lambda: [one for one in real(tmp_path) if one.pid == process.pid], what="it")
            assert found_here[0].stop == (f"kill {process.pid}",)
        finally:
            process.kill()


@pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed: the real one was NOT tried")
def test_a_real_tmux_session_is_found_and_its_command_ends_it(script, tmp_path, monkeypatch):
    node, path = script
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))
    monkeypatch.delenv("TMUX", raising=False)
    subprocess.run(["tmux", "-f", "/dev/null", "new-session", "-d", "-s", "old bot", f"{node} -S {path}"], check=True)
    try:
        (one,) = eventually(lambda: [one for one in real(tmp_path) if one.kind == "tmux"], what="it")
        assert one.where == "old bot"
        subprocess.run(["sh", "-c", one.stop[0]], check=True)
        eventually(lambda: not [o for o in real(tmp_path) if o.pid == one.pid], what="its end")
    finally:
        subprocess.run(["tmux", "kill-server"], check=False, capture_output=True)
