"""`status --watch` until Ctrl-C: it draws on a terminal, and writes a line for each change elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from understudy.cli.client import HUNG_S, HubClient
from understudy.cli.connection import HubAddress
from understudy.cli.exits import AbsentError, ClientError, UnreachableError
from understudy.cli.machine import host_of, shares_machine
from understudy.cli.terminal import can_draw, clock_time, json_of, safe, say
from understudy.cli.watch.changes import NOTHING, Change, changes, text_of
from understudy.cli.watch.scene import HubSnapshot, Scene
from understudy.cli.watch.threads import Threads
from understudy.clock import SystemClock, iso
from understudy.texts import t

ANSWER_S = HUNG_S
TICK_S = 1.0
FRAME_MS = 100  # at most ten drawings a second, whatever happens
COLUMNS_MIN, LINES_MIN = 20, 8


def watch(place: HubAddress, *, as_json: bool) -> None:
    """Without end. ClientError if the hub refuses, or cannot be reached at the very beginning."""
    reading, stream = (HubClient(place.url, place.key, ca_file=place.ca_file, answer_s=ANSWER_S) for _ in range(2))
    clock = SystemClock()
    read = partial(read_look, reading, place, clock.mono_ms)
    scene = Scene(read())
    threads = Threads(stream, read)
    if is_drawn(as_json=as_json):
        draw(scene, threads, clock.mono_ms)
    else:
        Lines(scene, clock, as_json=as_json).write(threads)


def is_drawn(*, as_json: bool) -> bool:
    """True for a terminal that can be drawn on."""
    return can_draw(sys.stdout) and not as_json


def read_look(hub: HubClient, place: HubAddress, mono_ms: Callable[[], int]) -> HubSnapshot:
    """Everything that is shown. ClientError."""
    try:
        overview = hub.get("/api/overview")
    except AbsentError:
        raise ClientError(t("cli.watch.too_old", url=hub.url)) from None
    mono = mono_ms()
    if rest := overview.pop("daemonsNext", ""):
        overview["daemons"] += hub.daemons(rest)  # without periods
    health = hub.get("/health")
    return HubSnapshot(
        mono,
        {
            "url": place.url,
            "version": health.get("version"),
            "startedAt": health.get("startedAt"),
            "isReady": _is_ready(hub),
            "sharesMachine": shares_machine(place, overview["daemons"], host_of(hub)),
        },
        overview,
        hub.get("/api/channels").get("channels", []),
    )


def _is_ready(hub: HubClient) -> bool:
    """False also if no answer comes: this hub has just answered something else."""
    try:
        _, ready = hub.status_of("/ready")
    except UnreachableError:
        return False
    return isinstance(ready, dict) and bool(ready.get("ready"))


def draw(scene: Scene, threads: Threads, mono_ms: Callable[[], int]) -> None:
    """Draw again each second, and when something has happened."""
    from rich.console import Console
    from rich.live import Live

    from understudy.cli.watch.screen import Drawing

    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    has_blocks = (console.encoding or "").lower().startswith("utf")

    def page() -> Any:
        width, height = max(console.width - 1, COLUMNS_MIN), max(console.height - 1, LINES_MIN)
        return Drawing(scene, mono_ms(), width, has_blocks=has_blocks).within(height)

    with Live(page(), console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            advance(scene, threads, mono_ms, TICK_S)
            live.update(page(), refresh=True)
            time.sleep(FRAME_MS / 1000)


def advance(scene: Scene, threads: Threads, mono_ms: Callable[[], int], within_s: float) -> None:
    """Take in what comes, at the latest after a while, and ask for another look where one is due."""
    for heard in threads.heard(within_s):
        scene.take(heard, mono_ms())
    if scene.asks(mono_ms()):
        threads.ask()


class Lines:
    """A line for each change: text for people and logs, or JSON."""

    def __init__(self, scene: Scene, clock: SystemClock, *, as_json: bool) -> None:
        self._scene = scene
        self._clock = clock
        self._as_json = as_json
        self._shown: dict[str, Any] = NOTHING
        self._is_stale = False

    def write(self, threads: Threads) -> None:
        """All there is, then what changes, without end."""
        if self._as_json:
            self._say({"kind": "overview", "hub": self._scene.look.hub, **self._scene.look.overview})
            self._shown = self._scene.look.overview
        while True:
            self.write_news(self._clock.mono_ms())
            advance(self._scene, threads, self._clock.mono_ms, TICK_S)

    def write_news(self, mono: int) -> None:
        """The changes since the last time."""
        stale_ms = self._scene.stale_ms(mono)
        if stale_ms and not self._is_stale:
            reason = self._scene.away or t("cli.watch.no_word")
            self._say({"kind": "hub", "state": "stale", "staleSec": stale_ms / 1000, "reason": reason})
        elif self._is_stale and not stale_ms:
            self._say({"kind": "hub", "state": "back", "url": self._scene.look.hub["url"]})
        self._is_stale = bool(stale_ms)
        after = self._scene.look.overview
        if after is not self._shown:
            for change in changes(self._shown, after):
                self._say(change, after["at"])
            self._shown = after

    def _say(self, change: Change, at: str = "") -> None:
        shown_at = at or iso(self._clock.now_ms())
        if self._as_json:
            say(json_of({"at": shown_at, **change}))
        else:
            say(f"{clock_time(shown_at)}  {safe(text_of(change))}")
