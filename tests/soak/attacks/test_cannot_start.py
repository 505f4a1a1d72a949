"""A machine that cannot start processes: every queued task survives it and is finished once it can again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.fake_hub import FakeHub
from tests.daemon.live import LiveDaemon, living
from tests.waiting import eventually

pytestmark = pytest.mark.soak
TASKS = 20
WITHIN_S = 240.0  # a trial comes after at most 15 s, then 30 s, then a minute
SCRIPT = "#!/bin/sh\ncat >/dev/null\necho done\n"


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


def work_in(folder: Path) -> Path:
    folder.mkdir()
    work = folder / "work"
    work.write_text(SCRIPT)
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
    more = {} if what == "command" else {"command_cwd": str(place)}
    with (
        hub_with_tasks() as hub,
        living(hub.url, tmp_path / "data", str(work), heartbeat_interval_ms=1_000, **more) as daemon,
    ):
        eventually(lambda: word_of(hub) == "ok" or hub.beats(), what="a beat")
        lost.rename(tmp_path / "aside")
        attack(hub, daemon, {"missing", "no_directory"})
        (tmp_path / "aside").rename(lost)
        all_done(hub)
