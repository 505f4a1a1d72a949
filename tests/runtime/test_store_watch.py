"""What is wrong with the store is said once; what can be saved is saved; used again only when proven well."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

from understudy.clock import ManualClock
from understudy.errors import StoreError
from understudy.log import Log
from understudy.runtime.hub.store_watch import SAID_AGAIN_MS, WELL_AFTER_MS, StoreVoice, StoreWatch


class Files:
    """A store on files, as far as the watch sees it."""

    def __init__(self) -> None:
        self.found = ""
        self.checks = 0
        self.rescues = 0
        self.is_rescue_possible = True

    def look(self) -> str:
        return self.found

    trouble = look

    def check(self) -> str:
        self.checks += 1
        return self.found

    def rescue(self, now_ms: int) -> Path:
        self.rescues += 1
        if not self.is_rescue_possible:
            raise StoreError("Store unavailable: no room")
        return Path(f"hub.db.rescued-{now_ms}")


def watch_of(files: Any) -> tuple[StoreWatch, ManualClock, StringIO]:
    clock, said = ManualClock(), StringIO()
    return StoreWatch(files, clock, Log(clock, said)), clock, said


def passes(watch: StoreWatch, clock: ManualClock, seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(1_000)
        watch.step()


def test_lost_files_are_one_critical_line_and_saved_once() -> None:
    files = Files()
    watch, clock, said = watch_of(files)
    passes(watch, clock, 5)
    assert said.getvalue() == ""
    files.found = "hub.db was deleted while the hub runs"
    passes(watch, clock, 600)
    lines = said.getvalue().splitlines()
    assert ["CRITICAL" in line for line in lines] == [True, True]
    assert "was deleted" in lines[0]
    assert "hub.db.rescued-" in lines[1]
    assert files.rescues == 1
    files.found = ""
    passes(watch, clock, 5)
    assert "used again" in said.getvalue().splitlines()[2]


def test_rescue_that_is_not_possible_is_tried_each_minute() -> None:
    files = Files()
    files.found, files.is_rescue_possible = "hub.db was replaced while the hub runs", False
    watch, clock, _ = watch_of(files)
    passes(watch, clock, 181)
    assert files.rescues == 4


def test_damage_is_checked_ever_less_often_and_not_copied() -> None:
    files = Files()
    files.found = "hub.db is damaged: malformed"
    watch, clock, _ = watch_of(files)
    passes(watch, clock, 3_600)
    assert 8 <= files.checks <= 16
    assert files.rescues == 0


def test_store_that_fails_is_said_once_and_that_it_works_again() -> None:
    clock, said = ManualClock(), StringIO()
    voice = StoreVoice(clock, Log(clock, said))
    voice.works()
    for _ in range(SAID_AGAIN_MS // 1_000):
        voice.failed(StoreError("Store unavailable: disk I/O error"))
        clock.advance(1_000)
    assert said.getvalue().count("CRITICAL") == 1
    voice.failed(StoreError("Store unavailable: disk I/O error"))
    assert said.getvalue().count("CRITICAL") == 2
    voice.works()
    assert "works again" not in said.getvalue()
    clock.advance(WELL_AFTER_MS)
    voice.works()
    voice.works()
    assert said.getvalue().count("works again") == 1
