"""A hub as it is known here: its last answer, heartbeats since then, the time of its last word. No clock, no input."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field
from msgspec.structs import force_setattr

from understudy.clock import parse_iso

REFRESH_MS = 60_000  # what makes no event: renewals, a bar that moves on
PROGRESS_MS = 2_000  # a heartbeat may bring progress of a run
SILENT_MS = 20_000  # the stream says something every 15 s
QUIET = frozenset(("alarm.triggered", "heartbeat.recorded"))  # events that change nothing of the overview


class HubSnapshot(Struct, frozen=True):
    """One answer of the hub; `mono` is when it came, on this machine's clock that never jumps, in ms."""

    mono: int
    hub: dict[str, Any]  # url, version, startedAt, isReady, sharesMachine
    overview: dict[str, Any]
    channels: list[dict[str, Any]]
    names: frozenset[str] = frozenset()  # of its daemons
    busy: frozenset[str] = frozenset()  # those that run something

    def __post_init__(self) -> None:
        """Gather the names: each heartbeat asks for them."""
        force_setattr(self, "names", frozenset(row["daemonId"] for row in self.overview["daemons"]))
        force_setattr(self, "busy", frozenset(run.get("daemonId", "") for run in self.overview["runs"]))


class SceneUpdate(Struct, frozen=True):
    """One thing that a thread brings: `event`, `alive`, `connected`, `away`, `look`, `failed` or `error`."""

    kind: str
    value: Any = None


class Scene(Struct):
    """The state of what is drawn; `take` what was heard, then look at the rest."""

    look: HubSnapshot
    beats: dict[str, int] = field(default_factory=dict)  # of daemons since the last look: mono in ms
    heard_mono: int = 0
    asked_mono: int = 0
    away: str = ""  # why the hub is not heard; "": it is
    stale_mono: int = 0  # when it was last heard before that
    wants: bool = False  # True: the state should be read again

    def take(self, heard: SceneUpdate, mono: int) -> None:
        """Note what was heard. The error itself if there is no use in going on."""
        match heard.kind:
            case "error":
                raise heard.value
            case "away" | "failed":
                self._lost(str(heard.value))
                return
            case "look":
                self.away, self.look = "", heard.value
                self.beats = {name: at for name, at in self.beats.items() if at > self.look.mono}
            case "connected":
                self.wants = True
            case "event":
                self._event(heard.value, mono)
        self.heard_mono = mono

    def _lost(self, reason: str) -> None:
        if not self.away:
            self.stale_mono = max(self.heard_mono, self.look.mono)
        self.away = reason or self.away

    def _event(self, event: dict[str, Any], mono: int) -> None:
        if event["name"] not in QUIET:
            self.wants = True
            return
        daemon_id = str(event["fields"].get("daemonId", ""))
        if daemon_id in self.look.names:
            self.beats[daemon_id] = mono
        if daemon_id in self.look.busy and mono - max(self.look.mono, self.asked_mono) >= PROGRESS_MS:
            self.wants = True

    def asks(self, mono: int) -> bool:
        """True if the state is to be read again; then it is asked for, and not again until something happens."""
        is_due = self.wants or mono - max(self.look.mono, self.asked_mono) >= REFRESH_MS
        if is_due:
            self.wants, self.asked_mono = False, mono
        return is_due

    def stale_ms(self, mono: int) -> int:
        """The time since the last word, in ms; 0 while the hub is heard."""
        if self.away:
            return max(mono - self.stale_mono, 1)
        silent = mono - max(self.heard_mono, self.look.mono)
        return silent if silent >= SILENT_MS else 0

    def now_at(self, mono: int) -> int:
        """The instant by the hub's clock: that of its answer and what has passed since; it stands while stale."""
        return parse_iso(self.look.overview["at"]) + mono - self.stale_ms(mono) - self.look.mono

    def silent_ms(self, row: dict[str, Any], mono: int) -> int:
        """The silence of a daemon, in ms."""
        heard = self.beats.get(row["daemonId"])
        if heard is not None:
            return max(mono - self.stale_ms(mono) - heard, 0)
        return int(row["silentForSec"] * 1000) + mono - self.stale_ms(mono) - self.look.mono

    def left_ms(self, row: dict[str, Any], deadline: str, mono: int) -> int:
        """The time until a deadline of its silence (`lateAt`, `downAt`), counted from its last sign of life."""
        at = parse_iso(self.look.overview["at"])
        allowed = parse_iso(row[deadline]) - at + int(row["silentForSec"] * 1000)
        return allowed - self.silent_ms(row, mono)
