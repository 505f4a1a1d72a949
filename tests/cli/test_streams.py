"""Whatever a shell hands over, the answer is a sentence: closed streams, other encodings, no home, a gone directory."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_process import KEY, running_hub
from tests.unread import unread
from tests.waiting import allowed_s

ALL_CLOSED = "<&- >&- 2>&-"
# Streams are opened at the start, the same for every command: one of them with each, the others with none at all.
CLOSED = [*(("submit -", which) for which in ("<&-", ">&-", "2>&-")), ("tasks", ALL_CLOSED), ("doctor", ALL_CLOSED)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(tmp_path_factory.mktemp("streams")) as h:
        yield h


@pytest.fixture
def shell(tmp_path, hub):
    """A line of a shell in which the hub is known."""

    def run(line, cwd=tmp_path, **more):
        environ = {**os.environ, "HOME": str(tmp_path), "UNDERSTUDY_HUB": hub.url, "UNDERSTUDY_API_KEY": KEY, **more}
        environ = {name: value for name, value in environ.items() if value is not None}
        program = f'"{sys.executable}" -P -m understudy'
        command = line.replace("understudy", program, 1)
        return subprocess.run(["sh", "-c", command], cwd=cwd, env=environ, capture_output=True, timeout=60, check=False)

    return run


def is_sentence(done):
    said = done.stdout + done.stderr
    return done.returncode in range(6) and b"Traceback" not in said and b"defect" not in said


@pytest.mark.parametrize("module", ["understudy.cli.code_path", "understudy.cli.start", "click"])
def test_ctrl_c_while_modules_are_read_is_no_traceback(module):
    """It comes there if somebody thinks better of a command at once."""
    code = f"""
import sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
sys.argv = ["understudy", "status"]
from understudy.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.parametrize(("words", "closed"), CLOSED)
def test_closed_streams(shell, words, closed):
    assert is_sentence(shell(f"understudy {words} {closed}"))


def test_a_program_that_runs_for_long_does_not_wait_for_the_reader_of_its_stderr(tmp_path):
    """Not even to say why it cannot start: all of these waited for ever."""
    environ = {**os.environ, "HOME": str(tmp_path), "UNDERSTUDY_LATE_AFTER": "nonsense"}
    with unread() as pipe:
        programs = [
            subprocess.Popen([sys.executable, "-m", "understudy", name], env=environ, stderr=pipe.end)
            for name in ("hub", "daemon", "up")
        ]
        try:
            assert [program.wait(allowed_s(30)) for program in programs] == [2, 2, 2]
        finally:
            for program in programs:
                program.kill()
                program.wait()


def test_a_closed_stdout_is_said(shell):
    done = shell("understudy tasks >&-")
    assert b"stdout is closed" in done.stderr


def test_a_full_disk_behind_stdout_is_a_sentence(shell):
    done = shell("understudy tasks --json >/dev/full")
    assert (done.returncode, b"No space left" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    "more", [{"LANG": "C", "LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_other_encodings_of_the_terminal(shell, hub, more):
    hub.post("/api/queue", {"content": "ハブ", "id": "hub-in-kana"})
    assert is_sentence(shell("understudy tasks", **more))
    assert is_sentence(shell("understudy doctor", **more))
    assert shell("understudy --help", **more, UNDERSTUDY_LANG="ja").returncode == 0
    listed = shell("understudy tasks --json", **more)
    assert "ハブ" in {task["content"] for task in json.loads(listed.stdout)["tasks"]}


@pytest.mark.parametrize("words", [("submit", b"caf\xe9"), ("tail", "--data", b"\xe9"), ("hub", "--data", b"\xff")])
def test_arguments_that_are_not_utf_8(shell, words):
    line = b" ".join(word if isinstance(word, bytes) else word.encode() for word in words)
    done = shell(f"understudy {os.fsdecode(line)}")
    assert (done.returncode, b"UTF-8" in done.stderr) == (2, True), done.stderr


def test_standard_input_that_is_not_utf_8(shell):
    done = shell("printf 'a\\ncaf\\351' | understudy submit -".replace("understudy", "understudy", 1))
    assert (done.returncode, b"standard input, line 2" in done.stderr) == (2, True), done.stderr
    assert shell("printf '\\357\\273\\277after a mark' | understudy submit -").returncode == 0
    assert b'"after a mark"' in shell("understudy tasks --json").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("tasks", b"there is no key for the hub"),
        ("doctor", b"the current directory is gone"),
        ("daemon", b"no hub is configured"),
        ("hub --data x", b"the current directory is gone"),
    ],
)
def test_a_directory_that_is_gone(shell, tmp_path, words, said):
    (tmp_path / "gone").mkdir()
    environ = {"UNDERSTUDY_HUB": None} if words == "daemon" else {}
    done = shell(f"rmdir ../gone; exec understudy {words}", cwd=tmp_path / "gone", **environ, UNDERSTUDY_API_KEY=None)
    assert (is_sentence(done), said in done.stderr) == (True, True), done.stderr


def test_a_command_that_needs_no_directory_works_in_one_that_is_gone(shell, tmp_path):
    (tmp_path / "gone").mkdir()
    done = shell("rmdir ../gone; exec understudy tasks", cwd=tmp_path / "gone")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", ["hub", "up", "service status", "doctor"])
def test_a_home_that_is_not_utf_8(shell, tmp_path, words):
    place = os.fsdecode(os.fsencode(str(tmp_path)) + b"/caf\xe9")
    Path(place).mkdir()
    done = shell(f"understudy {words}", HOME=place, UNDERSTUDY_DATA=None, XDG_DATA_HOME=None)
    assert is_sentence(done), done.stderr


@pytest.mark.parametrize("words", ["status", "hub --data ~nobody-of-this-name/x", "doctor"])
def test_no_home(shell, words):
    done = shell(f"understudy {shlex.join(words.split())}", HOME="", UNDERSTUDY_HUB=None, UNDERSTUDY_API_KEY=None)
    assert is_sentence(done), done.stderr


def test_utf8_is_read_in_a_locale_that_knows_nothing_of_it(shell):
    handed = shell("understudy submit '日本語 ✓' --json", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert handed.returncode == 0, handed.stderr
    shown = shell(f"understudy task {json.loads(handed.stdout)['taskId']} --json")
    assert json.loads(shown.stdout)["content"] == "日本語 ✓"


def test_a_command_hears_of_the_ends_of_its_children_also_where_who_started_it_did_not():
    """An ignored SIGCHLD is inherited; the system then takes each exit code, and every failure looks like a success."""
    code = (
        "import signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "import understudy.cli.start as start\n"
        "from understudy.cli import main\n"
        "start.run = lambda *_: int(signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL)\n"
        "main()"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], timeout=60, check=False).returncode == 0
