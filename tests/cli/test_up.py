"""`understudy up`, for real: a first task answered, Ctrl-C leaves nothing, whatever dies takes the rest along."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests import prepared
from tests.cli.program import understudy
from tests.waiting import eventually
from understudy import config
from understudy.cli.exits import UnreachableError
from understudy.cli.up import Interruption, UpSession, answers_with, command_here
from understudy.runtime.lock import FileLock


@pytest.mark.parametrize(
    ("environ", "command", "expected"),
    [
        ({}, ("cat", "-"), "cat -"),
        ({}, (), "a diagnostic report"),
        ({"UNDERSTUDY_CLAUDE_CLI": sys.executable}, (), "Claude Code"),
        ({"UNDERSTUDY_CODEX_CLI": sys.executable}, (), "Codex"),
        ({"UNDERSTUDY_CLAUDE_CLI": sys.executable, "UNDERSTUDY_EXECUTOR": "diagnostic"}, (), "a diagnostic report"),
    ],
)
def test_what_answers_is_what_the_daemon_will_choose(tmp_path, monkeypatch, environ, command, expected):
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = config.load(environ, tmp_path).settings
    assert answers_with(settings, tmp_path, command) == expected


@pytest.mark.parametrize(
    ("answers", "is_noted", "is_ready"),
    [((), False, True), ((None,) * 3, True, True), ((503, 503, 503), False, False)],
    ids=["at once", "after minutes", "never ready"],
)
def test_a_hub_that_still_opens_its_store_is_waited_for(tmp_path, monkeypatch, capsys, answers, is_noted, is_ready):
    monkeypatch.setattr("understudy.cli.up.READY_MS_MAX", 0)
    left = [*answers]

    def status_of(path):
        answer = left.pop(0) if left else 200
        if answer is None:
            raise UnreachableError("no answer yet")
        return answer, {}

    session = UpSession(config.Settings(), tmp_path, 1, "http://127.0.0.1:1", {}, (), Interruption())
    session._children.append(SimpleNamespace(is_alive=True, log=tmp_path / "hub.log"))
    with contextlib.nullcontext() if is_ready else pytest.raises(UnreachableError, match="did not become ready"):
        session._wait_ready(SimpleNamespace(status_of=status_of))
    assert capsys.readouterr().err.count("still opening its store") == is_noted


class Up:
    """One run in a terminal of its own (a pipe), with an empty home."""

    def __init__(self, folder, *arguments, **more):
        self.home, self.data = folder / "home", folder / "var"
        self.home.mkdir(exist_ok=True)
        names = {"XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config", "XDG_STATE_HOME": "state"}
        folders = {name: str(self.home / where) for name, where in names.items()}
        self.env = {**os.environ, **folders, "HOME": str(self.home), **more}
        self._log = folder / "up.log"
        self._from = len(self.said) if self._log.exists() else 0
        command = ["up", "--port", "0", "--data", str(self.data), *arguments]
        with self._log.open("ab") as log:
            self.process = prepared.start(command, env=self.env, stdout=log, stderr=log, has_session=True)

    @property
    def said(self):
        return self._log.read_text()

    def until(self, words, within_s=30.0):
        def look():
            assert self.process.poll() is None or words in self.said[self._from :], self.said
            return words in self.said[self._from :]

        eventually(look, within_s=within_s, what=f"{words!r}")

    def started(self):
        self.until("Ctrl-C stops")
        return self

    @property
    def url(self):
        return re.findall(r"http://127\.0\.0\.1:\d+", self.said[self._from :])[0]

    def tree(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, name):
        return next(p for p in self.tree() if name in p.cmdline()[4:5])

    def stop(self, number=signal.SIGINT, within_s=30):
        self.process.send_signal(number)
        return self.process.wait(within_s)

    def client(self, *arguments):
        return understudy(*arguments, env=self.env, cwd=self.home)


@contextlib.contextmanager
def running_up(folder, *arguments, **more):
    up = Up(folder, *arguments, **more)
    known = []
    try:
        yield up
        known = up.tree() if up.process.poll() is None else []
    finally:
        if up.process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                known = known or up.tree()
            up.process.kill()
            up.process.wait()
        for process in known:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def are_gone(processes):
    return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_the_first_five_minutes(tmp_path):
    with running_up(tmp_path) as up:
        up.started()
        assert "received: Is anybody there?" in up.said
        assert "The hub and the daemon run on one machine" in up.said
        assert up.client("submit", "hello", "--wait").out.startswith("received: hello\n")
        assert up.client("status").code == 0
        assert up.client("keys", "list").code == 0
        tree = up.tree()
        assert len(tree) >= 3
        for process in tree:
            assert "usk_" not in " ".join(process.cmdline())
        assert up.stop() == 0
        assert are_gone(tree)
        lock = FileLock(up.data / "hub.lock")
        lock.take("The data directory")
        lock.release()
        assert "Stopped." in up.said
        assert "usk_" not in up.said
        assert "Traceback" not in up.said


def test_what_to_type_next_is_what_the_shell_would_find(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(Path(sys.executable).parent.parent)
    assert command_here() == f"{Path(sys.executable).relative_to(Path.cwd())} -P -m understudy"
    (tmp_path / "understudy").touch(0o755)
    assert command_here() == "understudy"


def test_a_second_start_goes_on_with_what_is_there_and_one_that_is_killed_takes_its_children_along(tmp_path):
    with running_up(tmp_path) as up:
        up.started()
        task_id = up.client("submit", "keep me", "--needs", "gpu").out.strip()
        assert up.stop(signal.SIGTERM) == 0
    with running_up(tmp_path) as up:
        up.started()
        assert "keep me" in up.client("task", task_id).out
        tree = up.tree()
        up.process.kill()
        up.process.wait()
        eventually(lambda: are_gone(tree), within_s=20)
    with running_up(tmp_path) as up:
        up.started()
        assert "keep me" in up.client("task", task_id).out
        assert up.stop(signal.SIGHUP) == 0


def test_a_command_answers_instead_of_the_report_and_settings_of_the_environment_bring_their_own_key(tmp_path):
    command = ("--", sys.executable, "-c", "print(input()[::-1])")
    with running_up(tmp_path, *command, UNDERSTUDY_API_KEY="usk_" + "e" * 32) as up:
        up.started()
        assert not (up.data / "api-key").exists()
        saved = (up.home / "data/understudy/client.json").read_text()
        assert "usk_" not in saved
        assert up.client("submit", "abc", "--wait").out == "cba\n"
        up.until("[Daemon] Finished task-")
        assert up.stop() == 0


def test_ctrl_c_while_it_starts_leaves_nothing(tmp_path):
    with running_up(tmp_path) as up:
        eventually(lambda: len(up.tree()) >= 1, within_s=15)
        tree = up.tree()
        assert up.stop() == 0
        assert are_gone(tree)


@pytest.mark.parametrize("name", ["hub", "daemon"])
def test_a_child_that_dies_is_told_with_its_last_words_and_ends_all(tmp_path, name):
    with running_up(tmp_path) as up:
        up.started()
        tree = up.tree()
        up.child(name).kill()
        assert up.process.wait(30) == 1
        assert f"the {name} ended with code -9" in up.said
        assert str(up.data / "logs" / f"{name}.log") in up.said
        eventually(lambda: are_gone(tree), within_s=10)


def test_a_port_of_our_own_hub_and_data_that_is_in_use_are_told(tmp_path):
    with running_up(tmp_path) as up:
        up.started()
        port = up.url.rpartition(":")[2]
        done = understudy("up", "--port", port, "--data", str(tmp_path / "other"), env=up.env)
        assert done.code == 2
        assert f"already running at {up.url}" in done.err
        assert "understudy status" in done.err
        assert not (tmp_path / "other").exists()
        done = understudy("up", "--port", "0", "--data", str(up.data), env=up.env)
        assert done.code == 1
        assert "in use by process" in done.err
        assert up.client("status").code == 0  # it is still found


def test_a_port_of_somebody_else_is_told_with_the_way_out(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        done = understudy("up", "--port", str(port), "--data", str(tmp_path / "var"))
    assert done.code == 2
    owners = [f"process {os.getpid()}", *([] if os.geteuid() == 0 else ["another program"])]  # not all may look
    assert any(f"port {port} is taken by {owner}" in done.err for owner in owners)
    assert re.search(r"choose another: --port \d+$", done.err.strip())


def test_nothing_is_opened_to_the_network_without_a_key(tmp_path):
    done = understudy("up", "--host", "0.0.0.0", "--port", "0", "--data", str(tmp_path / "var"))
    assert done.code == 2
    assert "without any key" in done.err
