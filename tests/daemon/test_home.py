"""Identity and the one lock per name."""

from __future__ import annotations

import errno
import re
import stat
from pathlib import Path

import pytest

from understudy.clock import SystemClock
from understudy.daemon.home import Home, aged_files, checked_daemon_id, default_daemon_id
from understudy.daemon.outputs import FILES_MAX, Outputs
from understudy.daemon.spool import EVIDENCE_MAX, Spool
from understudy.errors import ConfigError
from understudy.ids import IdMaker
from understudy.worker.results import RunResult

IDS = IdMaker(SystemClock())


def test_machine_id_is_made_once_and_kept(tmp_path: Path) -> None:
    first = Home(tmp_path, "mini").machine_id(IDS)
    assert Home(tmp_path, "another").machine_id(IDS) == first
    assert stat.S_IMODE((tmp_path / "machine-id").stat().st_mode) == 0o600


@pytest.mark.parametrize("spoilt", [b"", b"\xff\xfe{", b"\0" * 40, b"m" * 129], ids=str)
def test_a_machine_id_that_no_hub_takes_is_made_anew(tmp_path: Path, spoilt: bytes) -> None:
    (tmp_path / "machine-id").write_bytes(spoilt)
    made = Home(tmp_path, "mini").machine_id(IDS)
    assert made.startswith("machine-")
    assert Home(tmp_path, "mini").machine_id(IDS) == made


def refused(*_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("has_links", [True, False])
def test_two_first_starts_at_once_are_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_links: bool
) -> None:
    """The hub refuses a name that comes from another machine: the loser would stand idle after its next start."""
    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", refused)
    one, other = Home(tmp_path, "one"), Home(tmp_path, "other")
    made: list[str] = []

    class Meanwhile(IdMaker):
        def new(self, prefix: str) -> str:
            if not made:
                made.append(other.machine_id(IDS))
            return super().new(prefix)

    assert one.machine_id(Meanwhile(SystemClock())) == made[0]
    assert other.machine_id(IDS) == made[0]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_machine_id_is_kept_where_the_file_system_has_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "hardlink_to", refused)
    first = Home(tmp_path, "mini").machine_id(IDS)
    assert Home(tmp_path, "another").machine_id(IDS) == first


def test_a_machine_id_that_is_being_written_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "machine-id"
    path.touch()
    monkeypatch.setattr("understudy.daemon.home.time.sleep", lambda _: path.write_text("machine-1"))
    assert Home(tmp_path, "mini").machine_id(IDS) == "machine-1"


def test_second_start_of_the_same_name_is_refused_with_the_process_that_has_it(tmp_path: Path) -> None:
    home = Home(tmp_path, "mini")
    lock = home.lock()
    with pytest.raises(ConfigError, match=r"mini is already running here \(process \d+\)"):
        home.lock()
    lock.release()
    home.lock().release()


def test_other_names_may_run_beside_it(tmp_path: Path) -> None:
    locks = [Home(tmp_path, name).lock() for name in ("a", "b")]
    for lock in locks:
        lock.release()


@pytest.mark.parametrize("daemon_id", ["", ".", "..", "a/b", "a b", "x" * 129, "naïve"])
def test_name_that_could_be_a_path_or_no_id_is_refused(daemon_id: str) -> None:
    with pytest.raises(ConfigError):
        checked_daemon_id(daemon_id)


def test_default_name_is_an_id() -> None:
    assert re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", default_daemon_id())


@pytest.mark.parametrize("what", ["machine_id", "lock", "home"])
def test_a_first_start_that_cannot_keep_anything_says_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    made = Home(tmp_path, "mini")
    monkeypatch.setattr("understudy.daemon.home.write_first", full)
    monkeypatch.setattr("understudy.daemon.home.own_directory", full)
    monkeypatch.setattr("understudy.runtime.lock.FileLock.take", full)
    with pytest.raises(ConfigError, match=r"No space left on device.*df -h"):
        {"machine_id": lambda: made.machine_id(IDS), "lock": made.lock, "home": lambda: Home(tmp_path, "mini")}[what]()


def test_a_file_that_is_removed_while_it_is_looked_at_is_none(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"12")
    assert [(stat.st_size, path) for stat, path in aged_files([tmp_path / "gone", there])] == [(2, there)]


def test_evidence_and_outputs_keep_their_bounds_while_files_vanish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`stat` of a file that another loop has just removed ended the making of room."""
    home, outputs = Home(tmp_path, "mini"), tmp_path / "outputs"
    outputs.mkdir()
    for directory, suffix in ((home.evidence, ".json"), (outputs, ".out")):
        for nth in range(250):
            (directory / f"{nth}{suffix}").write_bytes(b"1")
        (directory / f"gone{suffix}").symlink_to(tmp_path / "nothing")
    Spool(home).shelve(RunResult("r", "t", 1, True, 0, 0), "lost")
    Outputs(outputs).begin("next")
    assert len(aged_files(home.evidence.iterdir())) == EVIDENCE_MAX
    assert len(aged_files(outputs.iterdir())) == FILES_MAX - 1


def test_a_spoilt_count_of_starts_is_no_reason_not_to_start(tmp_path: Path) -> None:
    home = Home(tmp_path, "mini")
    (home.root / "starts").write_text("1" * 5_000 + " 7 x \0")
    assert home.count_start(8) == 2


def test_files_that_this_machine_cannot_read_are_no_reason_not_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path, "mini")
    home.new_boot_id(IDS)
    home.count_start(1)

    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        for name in ("read_text", "exists", "glob"):
            patch.setattr(Path, name, broken)
        assert home.new_boot_id(IDS).startswith("boot-")
        assert home.count_start(2) == 1
        Spool(home)
