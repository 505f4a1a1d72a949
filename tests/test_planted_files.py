"""Files in a directory that others may write: what they put there is not written; links of our own go on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy import private
from understudy.errors import ConfigError
from understudy.log_file import LogFile, log_places
from understudy.private import PlantedError, open_private, write_private
from understudy.runtime.lock import FileLock
from understudy.runtime.machine.whole_file import WholeFile
from understudy.store.sqlite import SqliteStore

STRANGER = 61_217


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    made = tmp_path / "shared"
    made.mkdir()
    made.chmod(0o777)
    return made


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    file = tmp_path / "precious"
    file.write_text("precious")
    file.chmod(0o644)
    return file


@pytest.fixture
def is_root() -> None:
    if os.geteuid():
        pytest.skip("only root can make a file of somebody else")


def link_of_a_stranger(path: Path, target: Path) -> None:
    path.symlink_to(target)
    os.lchown(path, STRANGER, STRANGER)


def hard_link(path: Path, target: Path) -> None:
    path.hardlink_to(target)


def file_of_a_stranger(path: Path, _: Path) -> None:
    path.touch()
    os.chown(path, STRANGER, STRANGER)


def pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


Plant = Callable[[Path, Path], None]
PLANTED = pytest.mark.parametrize("plant", [link_of_a_stranger, hard_link, file_of_a_stranger, pipe])


@PLANTED
@pytest.mark.usefixtures("is_root")
def test_what_others_put_there_is_not_written(shared: Path, precious: Path, plant: Plant) -> None:
    plant(shared / "hub.log", precious)
    before = (shared / "hub.log").lstat()
    for mode in ("ab", "wb"):
        with pytest.raises(PlantedError, match="others may write the directory"):
            open_private(shared / "hub.log", mode)
    assert (precious.read_text(), precious.stat().st_mode & 0o777) == ("precious", 0o644)
    assert (shared / "hub.log").lstat().st_mode == before.st_mode


@PLANTED
@pytest.mark.usefixtures("is_root")
def test_a_log_says_so_and_goes_to_stderr(
    shared: Path, precious: Path, plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(shared / "hub.log", precious)
    places = log_places(str(shared), "hub", is_on_stderr=False)
    assert set(places) == {"copy"}
    assert str(shared / "hub.log") in capsys.readouterr().err
    places["copy"].write("a line\n")
    places["copy"].queue.drain(5)
    assert isinstance(places["copy"].queue.failure, PlantedError)
    assert precious.read_text() == "precious"


@PLANTED
@pytest.mark.usefixtures("is_root")
def test_store_lock_and_output_are_refused_alike(shared: Path, precious: Path, plant: Plant) -> None:
    for name in ("hub.db", "hub.lock", "run.out"):
        plant(shared / name, precious)
    with pytest.raises(ConfigError, match="others may write"):
        SqliteStore(shared / "hub.db")
    with pytest.raises(ConfigError, match="others may write"):
        FileLock(shared / "hub.lock").take("it")
    output = WholeFile(shared / "run.out")
    output.add(b"more")
    output.close()
    assert precious.read_text() == "precious"


def test_our_own_files_in_a_shared_directory_are_written(shared: Path) -> None:
    for _ in range(2):
        log = LogFile(shared, "hub")
        assert log.refusal() == ""
        log.write("line\n")
        assert log.queue.drain(5)
    assert (shared / "hub.log").read_text() == "line\n" * 2
    write_private(shared / "hub.log", b"anew")
    assert (shared / "hub.log").read_bytes() == b"anew"
    SqliteStore(shared / "hub.db").close()


@pytest.mark.parametrize("mode", [0o755, 0o777])
@pytest.mark.parametrize("is_linked", [False, True])
def test_a_log_that_is_a_pipe_without_a_reader_stops_no_start(tmp_path: Path, mode: int, *, is_linked: bool) -> None:
    """In a directory of ours, or behind a link of ours, it is written as soon as somebody reads."""
    place = tmp_path / "logs"
    place.mkdir()
    os.mkfifo(tmp_path / "pipe" if is_linked else place / "hub.log")
    if is_linked:
        (place / "hub.log").symlink_to(tmp_path / "pipe")
    place.chmod(mode)
    found: list[Any] = []
    start = threading.Thread(
        target=lambda: found.append(log_places(str(place), "hub", is_on_stderr=False)), daemon=True
    )
    start.start()
    start.join(30)
    assert found, "it waits for a reader"
    is_refused = mode == 0o777 and not is_linked
    assert set(found[0]) == {"copy" if is_refused else "stream"}


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777])
def test_a_link_of_our_own_goes_on(tmp_path: Path, precious: Path, mode: int) -> None:
    place = tmp_path / "logs"
    place.mkdir()
    place.chmod(mode)
    (place / "hub.log").symlink_to(Path("..") / precious.name)
    with open_private(place / "hub.log") as file:
        file.write(b" and more")
    assert precious.read_text() == "precious and more"


@pytest.mark.usefixtures("is_root")
def test_in_a_directory_of_ours_everything_goes_on(tmp_path: Path, precious: Path) -> None:
    (tmp_path / "logs").symlink_to(tmp_path)
    link_of_a_stranger(tmp_path / "hub.log", precious)
    with open_private(tmp_path / "logs" / "hub.log") as file:
        file.write(b" and more")
    assert precious.read_text() == "precious and more"


@pytest.mark.usefixtures("is_root")
def test_the_file_of_the_one_whose_directory_it_is_is_written(tmp_path: Path) -> None:
    place = tmp_path / "theirs"
    place.mkdir()
    (place / "hub.log").touch()
    for path in (place, place / "hub.log"):
        os.chown(path, STRANGER, STRANGER)
    with open_private(place / "hub.log") as file:
        file.write(b"line")
    assert (place / "hub.log").read_bytes() == b"line"


def test_a_group_counts_as_others_unless_it_is_for_this_user_alone(
    shared: Path, precious: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.chmod(0o770)
    hard_link(shared / "hub.log", precious)
    monkeypatch.setattr(private, "_is_group_of_one", lambda _: False)
    with pytest.raises(PlantedError):
        open_private(shared / "hub.log")
    monkeypatch.setattr(private, "_is_group_of_one", lambda _: True)
    open_private(shared / "hub.log").close()
