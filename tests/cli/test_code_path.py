"""No code comes from the current directory, wherever our own Python is started."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading

import pytest

from tests.project.tree import SOURCES, nodes
from tests.waiting import allowed_s
from understudy.cli.children import LoggedChild
from understudy.cli.code_path import NAME, drop_empty, drop_empty_programs
from understudy.daemon.installation import Installation
from understudy.daemon.succession import same_again

TRAP = 'import os\nopen(os.environ["TRAP"], "w").close()\nraise SystemExit("a stranger\'s code was run")\n'
# modules of the standard library and of dependencies, and our own name
TRAPS = ("pathlib.py", "queue.py", "click.py", "msgspec.py", "understudy/__init__.py", "understudy/__main__.py")


@pytest.fixture
def trapped(tmp_path, monkeypatch):
    """A directory full of a stranger's modules, in which we are → the file that shows that one was run."""
    folder = tmp_path / "cloned"
    for name in TRAPS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(TRAP)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    return tmp_path / "sprung"


def places():
    """(file, line, words) of every list of words in our sources that starts a Python."""
    for path in SOURCES.rglob("*.py"):
        for node in nodes(path.read_text("utf-8")):
            if isinstance(node, ast.List | ast.Tuple) and any(starts_python(word) for word in node.elts):
                yield path.relative_to(SOURCES), node.lineno, [ast.unparse(word) for word in node.elts]


def starts_python(word):
    """True for `sys.executable` and "-m"."""
    return getattr(word, "attr", "") == "executable" or getattr(word, "value", "") == "-m"


def test_every_place_that_starts_python_keeps_the_current_directory_out():
    found = list(places())
    assert len(found) >= 8
    for path, line, words in found:
        if path.name == "codex.py":  # there it names a model
            continue
        module = words.index("'-m'") if "'-m'" in words else len(words)
        assert {"'-P'", "'-I'"}.intersection(words[:module]), f"{path}:{line}: {' '.join(words)}"  # -I is more than -P


def test_every_written_command_keeps_the_current_directory_out():
    """Scripts and hints that hold `-m understudy`."""
    for path in SOURCES.rglob("*.py"):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if "-m {PACKAGE}" in line or "-m understudy" in line.replace("understudy.simulation", ""):
                assert "-P -m" in line, f"{path}:{number}"


def test_children_of_up_and_drill_take_no_code_from_here(trapped, tmp_path):
    ended = threading.Event()
    child = LoggedChild("hub", ["--version"], os.environ, tmp_path / "logs" / "hub.log", ended.set, is_quiet=True)
    assert ended.wait(30)
    child.stop(1)
    assert "stranger" not in child.last_words()
    assert not trapped.exists()


@pytest.mark.parametrize(
    ("words", "path"), [((), ""), (("-P",), os.pathsep)], ids=["without -P", "an empty part of PYTHONPATH"]
)
def test_nothing_is_taken_once_this_program_has_begun(trapped, tmp_path, words, path):
    """Python looks there for the package and for what it needs itself, and nobody after it."""
    for name in TRAPS[-2:]:
        (tmp_path / "cloned" / name).unlink()
    (tmp_path / "cloned" / "understudy").rmdir()
    command = [sys.executable, *words, "-m", "understudy", "doctor", "--help"]
    environ = {**os.environ, NAME: path + os.environ.get(NAME, "")}
    done = subprocess.run(command, env=environ, capture_output=True, timeout=allowed_s(30), check=False)
    assert done.returncode == 0, done.stderr
    assert not trapped.exists()


def test_what_a_service_starts_takes_no_code_from_here(trapped, tmp_path):
    launcher = Installation(tmp_path / "data", os.environ).launcher()
    done = subprocess.run([launcher, "--version"], capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert not trapped.exists()


def test_a_script_of_an_older_version_is_written_anew(tmp_path):
    made = Installation(tmp_path, os.environ)
    script = made.launcher().resolve()
    script.write_text("#!/bin/sh\nexec python3 -m understudy\n")
    made.launcher()
    assert " -P -m understudy" in script.read_text()


def test_a_restart_in_place_keeps_the_current_directory_out():
    command = same_again(sys.executable, ["python", "-m", "understudy", "daemon"])
    assert sys.flags.safe_path or command[1:4] == ("-P", "-m", "understudy")


@pytest.mark.parametrize(("given", "kept"), [(":/x", "/x"), ("/x:", "/x"), ("/x::/y", "/x:/y"), (":", "")])
def test_an_empty_part_of_pythonpath_is_not_the_current_directory(given, kept):
    environ = {NAME: given}
    assert drop_empty(environ)
    assert environ[NAME] == kept


def test_a_named_directory_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environ = {NAME: "src"}
    assert not drop_empty(environ)
    assert environ[NAME] == str(tmp_path / "src")
    assert not drop_empty({})


@pytest.mark.parametrize(
    ("given", "kept"),
    [("/x:", "/x"), (":/x", "/x"), ("/x::.", "/x:."), ("/x", "/x"), ("", os.defpath), (":", os.defpath), (None, None)],
)
def test_an_empty_part_of_path_is_not_the_current_directory(given, kept):
    environ = {} if given is None else {"PATH": given}
    drop_empty_programs(environ)
    assert environ.get("PATH") == kept


def test_an_assistant_of_the_current_directory_is_none_of_ours(tmp_path, monkeypatch):
    (tmp_path / "claude").write_text("#!/bin/sh\ntouch was-run\n")
    (tmp_path / "claude").chmod(0o700)
    monkeypatch.chdir(tmp_path)
    code = (
        "import shutil, subprocess; from understudy.cli.code_path import without_current_directory as begin;"
        "begin(); print(shutil.which('claude'))"
    )
    environ = {**os.environ, "PATH": "/usr/bin:/bin:"}
    done = subprocess.run([sys.executable, "-P", "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(("/", "None"))
