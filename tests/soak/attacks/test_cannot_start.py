"""A machine that cannot start processes: every queued task survives it and is finished once it can again."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import psutil
import pytest

from tests.daemon.fake_hub import FakeHub
from tests.daemon.live import LiveDaemon, living
from tests.ordinary_user import Ordinary, folder_of_theirs, give, ordinary_user
from tests.waiting import eventually

pytestmark = pytest.mark.soak
TASKS = 20
WITHIN_S = 240.0  # a trial comes after at most 15 s, then 30 s, then a minute
SCRIPT = "#!/bin/sh\ncat >/dev/null\necho done\n"
LONG = (
    "#!/bin/sh\ncat >/dev/null\necho $$ >>{folder}/started\nwhile [ ! -e {folder}/go ]; do sleep 0.2; done\necho done\n"
)


class GivingHub(FakeHub):
    """Offers again what is given back, as a real hub does."""

    def _release(self, task_id, body):  # type: ignore[no-untyped-def]
        answer = super()._release(task_id, body)
        self.queue.append({"id": task_id, "content": ""})
        self._changed.notify_all()
        return answer


@contextmanager
def hub_with_tasks() -> Iterator[GivingHub]:
    hub = GivingHub()
    try:
        yield hub
    finally:
        hub.close()


def work_in(folder: Path, script: str = SCRIPT) -> Path:
    folder.mkdir()
    work = folder / "work"
    work.write_text(script.format(folder=folder))
    work.chmod(0o755)
    return work


def word_of(hub: GivingHub) -> str:
    beats = hub.beats()
    return str((beats[-1].get("auth") or {}).get("command", "")) if beats else ""


def attack(hub: GivingHub, daemon: LiveDaemon, words: set[str]) -> None:
    """Hand in all tasks while nothing starts: the daemon says why, and no task is touched."""
    for nth in range(TASKS):
        hub.submit(f"t{nth}")
    eventually(lambda: word_of(hub) in words, what=f"{words} in a beat", within_s=60)
    assert hub.results == {}
    assert daemon.process.poll() is None


def all_done(hub: GivingHub) -> None:
    eventually(lambda: len(hub.results) == TASKS, what="all results", within_s=WITHIN_S)
    assert all(result["success"] for result in hub.results.values())


@pytest.mark.parametrize("what", ["command", "directory"])
def test_a_command_or_directory_that_is_gone(tmp_path: Path, what: str) -> None:
    work = work_in(tmp_path / "bin")
    place = tmp_path / "place"
    place.mkdir()
    lost = work if what == "command" else place
    more = {} if what == "command" else {"task_cwd": str(place)}
    with (
        hub_with_tasks() as hub,
        living(hub.url, tmp_path / "data", str(work), heartbeat_interval_ms=1_000, **more) as daemon,
    ):
        eventually(lambda: word_of(hub) == "ok" or hub.beats(), what="a beat")
        lost.rename(tmp_path / "aside")
        attack(hub, daemon, {"missing", "no_directory"})
        (tmp_path / "aside").rename(lost)
        all_done(hub)


@contextmanager
def limited(daemon: LiveDaemon, limit: str, to: int, start: tuple[str, ...] = ()) -> Iterator[None]:
    """Within, the daemon that runs has no more than so many: `nofile`, `nproc` or `fsize` of prlimit(1)."""
    before = resource.getrlimit(getattr(resource, f"RLIMIT_{limit.upper()}"))[0]
    set_limit(daemon, limit, to, start)
    try:
        yield
    finally:
        set_limit(daemon, limit, before, start)


def set_limit(daemon: LiveDaemon, limit: str, to: int, start: tuple[str, ...] = ()) -> None:
    """The soft one. Not even root may set that of another user everywhere."""
    value = "unlimited" if to == resource.RLIM_INFINITY else str(to)
    subprocess.run([*start, "prlimit", f"--pid={daemon.process.pid}", f"--{limit}={value}:"], check=True)


def working(hub: GivingHub, daemon: LiveDaemon) -> psutil.Process:
    eventually(hub.beats, what="a beat", within_s=60)
    daemon.guard_pid()
    return psutil.Process(daemon.process.pid)


def leaving(process: psutil.Process, spare: int) -> int:
    """The limit below which so many numbers are free now."""
    taken = {int(path.name) for path in Path(f"/proc/{process.pid}/fd").iterdir()}
    free = (number for number in range(1_000_000) if number not in taken)
    return next(islice(free, spare, None))


@pytest.mark.parametrize("spare", [0, 2, 4, 6, 7, 8, 9])
def test_no_descriptors(tmp_path: Path, spare: int) -> None:
    """With some left, a start fails in the middle of it."""
    work = work_in(tmp_path / "bin")
    with hub_with_tasks() as hub, living(hub.url, tmp_path / "data", str(work), heartbeat_interval_ms=1_000) as daemon:
        with limited(daemon, "nofile", leaving(working(hub, daemon), spare)):
            for nth in range(TASKS):
                hub.submit(f"t{nth}")
            eventually(
                lambda: (
                    word_of(hub) in {"no_descriptors", "no_processes"} or len(hub.results) == TASKS or spare == 0
                ),  # then no beat needs to get through
                what="a word",
                within_s=60,
            )
            assert all(result["success"] for result in hub.results.values())
            assert daemon.process.poll() is None
        all_done(hub)


def test_a_run_goes_on_while_there_are_no_descriptors(tmp_path: Path) -> None:
    """What cannot be looked at is not gone: it is neither lost nor started again."""
    folder = tmp_path / "bin"
    work = work_in(folder, LONG)
    with hub_with_tasks() as hub, living(hub.url, tmp_path / "data", str(work), heartbeat_interval_ms=1_000) as daemon:
        process = working(hub, daemon)
        hub.submit("t0")
        eventually((folder / "started").exists, what="the run")
        with limited(daemon, "nofile", leaving(process, 0)):
            beats = len(hub.beats())
            eventually(lambda: len(hub.beats()) >= beats + 8, what="8 beats", within_s=60)  # it is noted every 3 s
            assert [run["taskId"] for run in hub.beats()[-1]["running"]] == ["t0"]
            (folder / "go").touch()
            eventually(lambda: "t0" in hub.results, what="its result", within_s=60)
        assert hub.results["t0"]["success"]
        assert len((folder / "started").read_text().split()) == 1


@contextmanager
def theirs(hub: GivingHub, *before: str) -> Iterator[LiveDaemon]:
    """A daemon of an ordinary user."""
    with folder_of_theirs() as place:
        work, data = work_in(place / "bin"), place / "data"
        data.mkdir()
        user: Ordinary = ordinary_user()
        more = {"start": (*before, *user.start), "python": user.python, "env": user.env}
        with living(hub.url, give(data), str(work), heartbeat_interval_ms=1_000, **more) as daemon:
            yield daemon


def test_no_processes_and_no_guard() -> None:
    """Neither a run nor a new guard can be started: the daemon says so, and works when both can."""
    with hub_with_tasks() as hub, theirs(hub) as daemon:
        working(hub, daemon)
        with limited(daemon, "nproc", 1, ordinary_user().start):
            attack(hub, daemon, {"no_processes"})
            psutil.Process(daemon.guard_pid()).kill()
            eventually(lambda: daemon.log.count("The guard has ended") >= 3, what="that it says so", within_s=60)
            assert (hub.results, daemon.process.poll()) == ({}, None)
        all_done(hub)


@pytest.mark.parametrize("threads", [1, 3, 5, 8])
def test_a_start_with_too_few_threads(threads: int) -> None:
    """Started where there are hardly any threads, it waits for them."""
    with hub_with_tasks() as hub, theirs(hub, "prlimit", f"--nproc={threads}:4096") as daemon:
        hub.submit("t0")
        said = ("cannot start a thread", "The guard has ended", "given back")
        eventually(lambda: any(word in daemon.log for word in said), what="that it says so", within_s=60)
        assert (hub.results, daemon.process.poll()) == ({}, None)
        set_limit(daemon, "nproc", 4096, ordinary_user().start)
        eventually(lambda: hub.results.get("t0", {}).get("success"), what="its result", within_s=WITHIN_S)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True, check=False
    )
    if mounting.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(tmp_path: Path) -> None:
    """Also its log is on it."""
    work = work_in(tmp_path / "bin")
    with (
        small_disk(tmp_path / "disk") as disk,
        hub_with_tasks() as hub,
        living(hub.url, disk / "data", str(work), heartbeat_interval_ms=1_000) as daemon,
    ):
        working(hub, daemon)
        fill(disk / "full")
        attack(hub, daemon, {"disk_full"})
        (disk / "full").unlink()
        all_done(hub)


def fill(path: Path) -> None:
    """Until not a byte more finds room."""
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 1):
            with pytest.raises(OSError, match="No space left"):
                sum(iter(lambda: file.write(b"x" * size), 0))  # noqa: B023 - called here only


def test_files_that_must_not_grow(tmp_path: Path) -> None:
    """As with a quota or `ulimit -f`: where no disk can be mounted, the next best."""
    work = work_in(tmp_path / "bin")
    with hub_with_tasks() as hub, living(hub.url, tmp_path / "data", str(work), heartbeat_interval_ms=1_000) as daemon:
        working(hub, daemon)
        with limited(daemon, "fsize", 0):
            attack(hub, daemon, {"cannot_start"})
        all_done(hub)
