"""A hub whose every name and text comes from an attacker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.browser.story import MAC, Day
from tests.browser.story_texts import STORIES
from tests.hub_process import ADMIN_KEY, HubProcess
from understudy.coordinator.nouns import Daemon
from understudy.hub.incidents import AcknowledgeIncident
from understudy.wire.daemons import RunningBody

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'--><b>bold</b>{{7*7}}${7*7}"
ANSI = "\x1b[2J\x1b[31mred\x1b]0;title\x07"
REVERSED = "abc\u202etxt.exe\u2066\u200f"
LONG = "W" * 10_000


class Names(NamedTuple):
    """Texts of each kind, and what nobody may read as it is."""

    all: tuple[str, ...] = (MARKUP, ANSI, REVERSED, LONG)
    signs: tuple[str, ...] = ("\x1b", "\x07", "\u202e", "\u2066")


NAMES = Names()


@contextmanager
def hub_of_hostile_names(folder: Path, **settings: Any) -> Iterator[HubProcess]:
    """Daemons, tasks, answers, errors, progress, people and keys of that kind."""
    hub = HubProcess(folder / "hub", **settings)
    hub.data_dir.mkdir(parents=True)
    day = Day(hub.data_dir / "hub.db", STORIES["en"], hours=1)
    for number, text in enumerate(NAMES.all):
        _fill(day, number, text)
    day.minutes(5)
    day.store.close()
    try:
        hub.start()
        for text in NAMES.all:
            hub.ask("POST", "/api/keys", {"name": text[:60], "scopes": ["submit"]}, key=ADMIN_KEY)
        yield hub
    finally:
        hub.close()


def _fill(day: Day, number: int, text: str) -> None:
    """One daemon with a task that failed and one that runs; its silence is acknowledged by somebody."""
    day.alive = {MAC}
    day.beats()
    day.submit(text, needs=["machine"])
    day.begin(MAC, text)
    day.end(MAC, error=text) if number % 2 else day.end(MAC, output=text)
    day.submit(text, needs=["machine"], source=text[:100])
    named = text[:64]
    day.alive = {named}
    day.beats()
    day.runs[named] = RunningBody(task_id=f"none-{number}", token=1, progress=text)
    day.alive = set()
    day.minutes(4)
    if incident := day.row(Daemon, named).incident_id:
        day.ask(AcknowledgeIncident(incident, text[:60]))
