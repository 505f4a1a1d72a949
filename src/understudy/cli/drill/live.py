"""A drill of the owner's own alarm: a made-up daemon beats, falls silent and comes back; notices are really sent.

It takes no task: it never claims. It is refused where no other daemon is healthy, because then the hub would take the
made-up one for the last that is left, and step in.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from understudy import __version__
from understudy.cli.client import HubClient, path_of
from understudy.cli.connection import connect
from understudy.cli.drill.narrator import Narrator
from understudy.cli.drill.steps import NotSeenError, Values, play, require, until, wanted
from understudy.cli.exits import AbsentError, ClientError, Exit, RejectedError
from understudy.cli.terminal import note, safe, say
from understudy.cli.up import Interruption
from understudy.clock import SystemClock
from understudy.errors import ConfigError
from understudy.ids import IdMaker
from understudy.spans import span
from understudy.texts import t

BEAT_S, LATE_S, DOWN_S = 1, 2, 4
BEATS = 2
REPORTED = ("daemon.late", "daemon.down", "daemon.recovered")
REPORTED_MS = 10_000


class MadeUp:
    """The temporary daemon, and the hub's view of it."""

    def __init__(self, hub: HubClient) -> None:
        ids = IdMaker(SystemClock(), random.SystemRandom().getrandbits)
        self.hub = hub
        self.id = f"drill-{ids.new('x')[-6:].lower()}"
        self._machine_id, self._boot_id = ids.uuid(), ids.uuid()
        self._seq = 0

    def beat(self) -> None:
        """One heartbeat that offers nothing. ClientError."""
        self._seq += 1
        body = {
            "daemonId": self.id,
            "machineId": self._machine_id,
            "bootId": self._boot_id,
            "seq": self._seq,
            "intervalSec": BEAT_S,
            "version": __version__,
            "running": [],
            "capacity": 1,
            "provides": [self.id],
            "state": "running",
        }
        self.hub.post("/api/queue/heartbeat", body)

    def event(self, name: str) -> dict[str, Any]:
        """Its first event of that name, or nothing. ClientError."""
        found = self.hub.get("/api/events", search=self.id, limit=1000)["events"]
        mine = (e for e in found if e["name"] == name and e["fields"].get("daemonId") == self.id)
        return next(mine, {})

    def be_quiet(self) -> None:
        """The hub's own limits again, so that looking for the notices makes no second incident. ClientError."""
        self.hub.ask("PUT", path_of("daemons", self.id, "settings"), {}, repeatable=True)

    def forget(self) -> None:
        """Nothing of it is left but its story in the event log. ClientError."""
        with suppress(AbsentError):  # also of a second try: the answer to the first was lost
            self.hub.ask("DELETE", path_of("daemons", self.id), repeatable=True)


def play_live(*, is_agreed: bool, as_json: bool) -> int:
    """Say what will happen, ask, do it, clean up → exit code. ClientError, ConfigError."""
    hub = connect(admin=True)
    made_up = MadeUp(hub)
    if not as_json:
        say(t("drill.live_intro", url=hub.url, daemon=made_up.id, late=f"{LATE_S} s", down=f"{DOWN_S} s"))
    if not is_agreed:
        if as_json or not sys.stdin.isatty():
            raise ConfigError(t("drill.not_agreed"))
        click.confirm(t("drill.agree"), abort=True)
    narrator = Narrator(as_json=as_json)
    interruption = Interruption()
    with interruption.heeded():
        try:
            play(STEPS, made_up, narrator)
        finally:
            with interruption.ignored():  # a made-up daemon that stays would raise a real alarm
                _clean_up(made_up)  # first: nobody may be there to read what is said
                narrator.end(daemon=made_up.id)
    narrator.say(t("drill.happened", count=len(narrator.steps), span=span(narrator.elapsed_ms)))
    return Exit.OK


def _clean_up(made_up: MadeUp) -> None:
    try:
        made_up.forget()
    except ClientError as error:
        note(t("drill.not_forgotten", daemon=made_up.id, reason=error.message))


def _look(made_up: MadeUp) -> Values:
    daemons = made_up.hub.daemons()
    healthy = [row["daemonId"] for row in daemons if row["state"] == "healthy"]
    if not healthy:
        raise RejectedError(t("drill.nobody_healthy"))
    return {"url": made_up.hub.url, "count": len(healthy)}


def _made_up(made_up: MadeUp) -> Values:
    made_up.beat()
    limits = {"lateAfterSec": LATE_S, "downAfterSec": DOWN_S}
    made_up.hub.ask("PUT", path_of("daemons", made_up.id, "settings"), limits, repeatable=True)
    for _ in range(BEATS):
        time.sleep(BEAT_S / 2)
        made_up.beat()
    require(wanted(made_up.hub.get(path_of("daemons", made_up.id)), state="healthy"), "healthy")
    return {"daemon": made_up.id}


def _late(made_up: MadeUp) -> Values:
    return _alarmed(made_up, "daemon.late", LATE_S)


def _down(made_up: MadeUp) -> Values:
    return _alarmed(made_up, "daemon.down", DOWN_S)


def _alarmed(made_up: MadeUp, name: str, limit_s: int) -> Values:
    event = until(lambda: made_up.event(name), name, limit_s * 1000)
    return {"silent_ms": round(event["fields"]["elapsedSec"] * 1000)}


def _returned(made_up: MadeUp) -> Values:
    made_up.beat()
    until(lambda: made_up.event("daemon.recovered"), "daemon.recovered")
    made_up.be_quiet()
    return {}


def _delivered(made_up: MadeUp) -> Values:
    """Each notice of this story was sent, or became part of one that was. NotSeenError."""
    channels = [row["name"] for row in made_up.hub.get("/api/channels")["channels"] if row["configured"]]
    if not channels:
        return {"count": 0, "channels": t("drill.no_channel")}

    def sent() -> list[dict[str, Any]]:
        rows = made_up.hub.get("/api/notices", limit=1000)["notices"]
        mine = [row for row in rows if row.get("daemonId") == made_up.id and row["cause"] in REPORTED]
        for row in mine:
            if row["state"] == "dead":
                reason = safe(row.get("lastError") or "–")
                raise NotSeenError(t("drill.not_delivered", channel=safe(row["channel"]), reason=reason))
        return mine if mine and all(row["state"] in ("sent", "folded") for row in mine) else []

    rows = until(sent, "/api/notices: sent", REPORTED_MS)
    return {"count": len(rows), "channels": ", ".join(channels)}


def _forgotten(made_up: MadeUp) -> Values:
    made_up.forget()
    return {"daemon": made_up.id}


STEPS: tuple[tuple[str, Callable[[MadeUp], Values]], ...] = (
    ("look", _look),
    ("made_up", _made_up),
    ("late", _late),
    ("down", _down),
    ("returned", _returned),
    ("delivered", _delivered),
    ("forgotten", _forgotten),
)
