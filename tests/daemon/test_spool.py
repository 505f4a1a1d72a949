"""The spool on a real disk, through crashes and other people's hands."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from understudy import private
from understudy.clock import SystemClock
from understudy.daemon import home as home_module
from understudy.daemon import spool as spool_module
from understudy.daemon.home import Home
from understudy.daemon.spool import Spool, SpoolFullError
from understudy.ids import IdMaker
from understudy.worker.results import RunResult


def result(name: str, **fields: object) -> RunResult:
    values = {"task_id": f"task-{name}", "token": 7, "success": True, **fields}
    return RunResult(name=name, **values)  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, "mini")


def test_kept_result_is_there_for_the_next_life(home: Home) -> None:
    kept = result("a", output="質問\x00\n", error="e", failure_class="exit_code", usage={"tokens": 3})
    Spool(home).keep(kept)
    assert Spool(home).load() == (kept,)


def test_results_come_back_oldest_first(home: Home) -> None:
    spool = Spool(home)
    for name, at in (("b", 2), ("a", 3), ("c", 1)):
        spool.keep(result(name, finished_at=at))
    assert [r.name for r in spool.load()] == ["c", "b", "a"]


def test_forgotten_result_is_gone_and_forgetting_twice_is_nothing(home: Home) -> None:
    spool = Spool(home)
    spool.keep(result("a"))
    spool.forget("a")
    spool.forget("a")
    assert spool.load() == ()


def test_files_are_for_their_owner_alone(home: Home) -> None:
    Spool(home).keep(result("a"))
    (path,) = home.spool.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.spool.stat().st_mode) == 0o700


def test_half_written_file_of_a_crash_is_not_taken_for_a_result(home: Home) -> None:
    (home.spool / ".tmp123").write_bytes(b'{"name":"x","taskId"')
    (home.spool / "torn.json").write_bytes(b'{"name":"torn","taskId"')
    spool = Spool(home)
    spool.keep(result("a"))
    assert [r.name for r in spool.load()] == ["a"]
    assert [path.name for path in home.evidence.iterdir()] == ["torn.json.unreadable"]
    assert not (home.spool / ".tmp123").exists()


def test_result_is_on_disk_before_it_has_its_name(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut would show: content synced, then renamed, then the directory synced."""
    steps: list[str] = []
    named = home.spool / "a.json"
    monkeypatch.setattr(private, "_sync", lambda _: steps.append(f"content, named: {named.exists()}"))
    monkeypatch.setattr(private, "sync_directory", lambda path: steps.append(f"{path.name}, named: {named.exists()}"))
    Spool(home).keep(result("a"))
    assert steps == ["content, named: False", "spool, named: True"]


def test_killed_writer_leaves_whole_results_only(home: Home) -> None:
    """A process is killed while it keeps results as fast as it can: what is there is readable, what it
    said was kept is there."""
    code = """
import sys
from pathlib import Path
from understudy.daemon.home import Home
from understudy.daemon.spool import Spool
from understudy.worker.results import RunResult
spool = Spool(Home(Path(sys.argv[1]), "mini"))
for n in range(900):
    spool.keep(RunResult(name=f"r{n}", task_id="t", token=n, success=True, output="x" * 20_000))
    print(n, flush=True)
"""
    argv = [sys.executable, "-c", code, str(home.data_dir)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ}) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(25)][-1]
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
    said = int(rest[-1]) if rest else said
    found = {r.token: r for r in Spool(home).load()}
    assert set(range(said + 1)) <= found.keys()
    assert all(len(r.output or "") == 20_000 for r in found.values())
    assert not list(home.evidence.iterdir())


def test_a_file_that_the_report_loop_removes_meanwhile_keeps_no_result_off_the_disk(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(home)
    spool.keep(result("a"))
    found = list(home.spool.glob("*.json"))
    monkeypatch.setattr(Path, "glob", lambda *_: iter([*found, home.spool / "gone.json"]))
    spool.keep(result("b"))
    monkeypatch.undo()
    assert [kept.name for kept in Spool(home).load()] == ["a", "b"]


def test_a_start_on_a_full_disk_finds_what_is_spooled(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    Spool(home).keep(result("a"))
    ids = IdMaker(SystemClock())
    home.machine_id(ids)
    first = home.new_boot_id(ids)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(home_module, "write_durably", full)
    monkeypatch.setattr(home_module, "write_private", full)
    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(os, "ftruncate", full)
    lock = home.lock()
    assert home.new_boot_id(ids) > first
    assert home.count_start(1) == 1
    assert [kept.name for kept in Spool(home).load()] == ["a"]
    lock.release()


def test_a_result_that_cannot_be_read_at_this_moment_stays_in_the_spool(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    Spool(home).keep(result("a"))

    def no_descriptor(_: Path) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Path, "read_bytes", no_descriptor)
    assert Spool(home).load() == ()
    monkeypatch.undo()
    assert [kept.name for kept in Spool(home).load()] == ["a"]


def test_spool_is_bounded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "FILES_MAX", 2)
    spool = Spool(home)
    spool.keep(result("a"))
    spool.keep(result("b"))
    with pytest.raises(SpoolFullError):
        spool.keep(result("c"))


def test_evidence_keeps_the_newest(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "EVIDENCE_MAX", 2)
    spool = Spool(home)
    for number, name in enumerate("abc"):
        spool.shelve(result(name), "lease_lost")
        os.utime(home.evidence / f"{name}.json", (number, number))
    spool.shelve(result("d"), "lease_lost")
    assert sorted(path.name for path in home.evidence.iterdir()) == ["c.json", "d.json"]
