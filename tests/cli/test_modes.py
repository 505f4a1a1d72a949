"""Whatever is written is for its owner alone: a whole run's data directory is walked, and every place that writes."""

from __future__ import annotations

import ast
import os
import sqlite3
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from tests.cli.test_up import running_up
from tests.project.tree import SOURCES, nodes
from tests.waiting import eventually
from understudy import private
from understudy.private import make_directory, open_private, own_directory, tighten, write_private
from understudy.store.sqlite import SqliteStore

# what these write is no file of a data directory, or goes through `private` in the same function
MAY_WRITE = {
    "private.py",
    "cli/drill/assistant.py",
    "cloudflare/compiling.py",  # the packages of an upload, as public as what pip put there
}


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path):
    return stat.S_IMODE(path.lstat().st_mode)


def open_paths(data):
    """Everything in a data directory, and itself, that others could use; an installed Python is not walked."""
    paths = [data, *(path for path in data.rglob("*") if not path.is_symlink())]
    return {str(path.relative_to(data)): oct(mode_of(path)) for path in paths if mode_of(path) & 0o077}


def test_nothing_of_a_whole_run_is_open_to_others(tmp_path, open_umask):
    """The directory is the owner's, with a log and a store of an earlier version in it."""
    data = tmp_path / "var"
    for folder in (data, data / "logs", data / "daemons"):
        folder.mkdir(mode=0o777)
    for name in ("logs/hub.log", "logs/daemon.log", "daemons/old"):
        (data / name).write_text("of an earlier version\n")
    sqlite3.connect(data / "hub.db").close()
    with running_up(tmp_path, "--", sys.executable, "-c", "print('done')", UNDERSTUDY_LOG_DIR=str(data / "logs")) as up:
        up.started()
        assert up.client("submit", "go", "--wait").out.strip() == "done"
        names = {path.name for path in data.rglob("*")}
        assert {"hub.db", "hub.db-wal", "hub.lock", "boot-id", "starts", "machine-id", "hub.log", "daemon.log"} <= names
        assert eventually(lambda: list(data.rglob("*.out")), what="the output of a run")
        assert open_paths(data) == {}
        assert open_paths(up.home / "data" / "understudy") == {}
        up.stop()
    assert open_paths(data) == {}


def test_the_copy_before_a_migration_is_closed(tmp_path, open_umask):
    path = tmp_path / "hub.db"
    SqliteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    (tmp_path / "hub.db.schema0.copy").touch(0o644)  # of an earlier version
    connection.close()
    path.chmod(0o644)
    with pytest.raises(Exception, match=r"already exists|duplicate"):
        SqliteStore(path)  # its tables are there already: only the copy matters here
    assert (tmp_path / "hub.db.schema1.copy").exists()
    assert {mode_of(file) for file in tmp_path.iterdir()} == {0o600}


def test_a_directory_with_files_of_others_keeps_its_mode(tmp_path, open_umask):
    (tmp_path / "project").mkdir(mode=0o755)
    (tmp_path / "project" / "README").touch(0o644)
    (tmp_path / "project" / "hub.db").touch(0o644)
    tighten(tmp_path / "project")
    assert [mode_of(tmp_path / "project" / name) for name in (".", "README", "hub.db")] == [0o755, 0o644, 0o600]


def test_what_others_keep_under_names_with_a_dot_keeps_its_mode(tmp_path, open_umask):
    """A project or a home as the data directory: its repository, its environment, its settings."""
    for name in (".git/hooks", ".venv/bin"):
        (tmp_path / name).mkdir(mode=0o775, parents=True)
    (tmp_path / ".venv/bin/tool").touch(0o755)
    (tmp_path / ".profile").touch(0o644)
    theirs = {path: mode_of(path) for path in (tmp_path, *tmp_path.rglob("*"))}
    ours = [tmp_path / ".hub.db.rescued-1", Path(tempfile.mkstemp(dir=tmp_path, prefix=private.TEMPORARY)[1])]
    for path in ours:
        path.touch()
        path.chmod(0o644)
    tighten(tmp_path)
    assert {path: mode_of(path) for path in theirs} == theirs
    assert {mode_of(path) for path in ours} == {0o600}


@pytest.mark.parametrize("name", ["workspace", "daemon/environments"])
def test_what_assistants_and_installers_made_keeps_its_mode(tmp_path, open_umask, name):
    (tmp_path / name).mkdir(mode=0o755, parents=True)
    (tmp_path / name / "page.html").touch(0o644)
    tighten(tmp_path)
    assert mode_of(tmp_path / name) == 0o700
    assert mode_of(tmp_path / name / "page.html") == 0o644


def test_what_is_another_s_stays_as_it_is(tmp_path, open_umask, monkeypatch):
    (tmp_path / "hub.db").touch(0o644)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    tighten(tmp_path)
    assert mode_of(tmp_path / "hub.db") == 0o644


def test_a_link_is_not_followed(tmp_path, open_umask):
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    (tmp_path / "elsewhere" / "page").touch(0o644)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "logs").symlink_to(tmp_path / "elsewhere")
    tighten(tmp_path / "data")
    assert [mode_of(tmp_path / "elsewhere" / name) for name in (".", "page")] == [0o755, 0o644]


def test_looking_is_bounded(tmp_path, monkeypatch, open_umask):
    monkeypatch.setattr(private, "ENTRIES_MAX", 3)
    (tmp_path / "logs").mkdir()
    for number in range(9):
        (tmp_path / "logs" / str(number)).touch(0o666)
    tighten(tmp_path)
    assert sum(mode_of(path) == 0o600 for path in (tmp_path / "logs").iterdir()) == 2


def test_directories_on_the_way_are_closed_too(tmp_path, open_umask):
    made = make_directory(tmp_path / "a" / "b" / "c")
    assert {mode_of(path) for path in (made, *made.parents[:2])} == {0o700}
    (tmp_path / "open").mkdir(mode=0o755)
    assert mode_of(make_directory(tmp_path / "open")) == 0o755
    assert mode_of(own_directory(tmp_path / "open")) == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make_directory(tmp_path / "file")


def test_a_file_that_was_open_is_closed_before_more_is_written(tmp_path, open_umask):
    (tmp_path / "log").touch(0o666)
    with open_private(tmp_path / "log") as file:
        file.write(b"more")
        assert mode_of(tmp_path / "log") == 0o600
    write_private(tmp_path / "log", b"anew")
    assert (tmp_path / "log").read_bytes() == b"anew"


def test_a_new_file_is_closed_from_its_first_moment(tmp_path, open_umask, monkeypatch):
    monkeypatch.setattr(os, "fchmod", lambda *_: None)
    write_private(tmp_path / "new", b"x")
    assert mode_of(tmp_path / "new") == 0o600


def writes(node):
    """What a call writes, in words; "" if it does not."""
    if not isinstance(node, ast.Call):
        return ""
    called = ast.unparse(node.func)
    last = called.rpartition(".")[2]
    modes = [word.value for word in (*node.args, *(k.value for k in node.keywords)) if isinstance(word, ast.Constant)]
    if last in ("write_text", "write_bytes", "mkdir", "makedirs", "copyfile", "copy", "copy2", "touch"):
        return "" if last in ("copy", "touch") and "shutil" not in called else called
    if last == "open" and any(isinstance(m, str) and m[:1] in ("w", "a", "x") and len(m) <= 3 for m in modes):
        return called
    if called == "os.open" and "O_CREAT" in ast.unparse(node) and "384" not in ast.unparse(node):
        return called
    return ""


def test_every_place_that_writes_goes_through_private():
    for path in SOURCES.rglob("*.py"):
        name = str(path.relative_to(SOURCES))
        if name in MAY_WRITE or name.startswith("simulation/"):
            continue
        for node in nodes(path.read_text("utf-8")):
            what = writes(node)
            assert not what or "systemd" in name or "launchd" in name, f"{name}:{node.lineno}: {what}"
