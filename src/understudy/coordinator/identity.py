"""The identity behind a request: watch names, machines, boots (docs/contract.md, section 2)."""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from understudy.coordinator.changes import Change, Event, make_event
from understudy.coordinator.health import STOPPED
from understudy.coordinator.nouns import Boot, Daemon, Now

LEGACY = "legacy"
_START_TIME = re.compile(r"_\d{13}$")
_OUR_BOOT = re.compile(r"boot-[0-9A-Z]{26}")  # ids.py; our daemons see to it that later starts sort later
_MADE_BY_HUB = re.compile(r"^worker_\d{13}$")
MAY_LOSE_ITS_ID = frozenset({"down", STOPPED})


@lru_cache(maxsize=4_096)
def watch_name(worker_id: str) -> str:
    """The daemon behind a worker's name: old daemons put their start time at its end. "" if never watched."""
    if _MADE_BY_HUB.match(worker_id):
        return ""
    return _START_TIME.sub("", worker_id) or worker_id


class Arrival(Struct, frozen=True):
    """The meaning of a heartbeat's machine and boot: its daemon bound to both, or the reason of its refusal."""

    change: Change[Daemon]
    refused: str = ""  # "", "id_taken" or "superseded"
    is_new_boot: bool = False
    is_sign_of_life: bool = True


def arrive(daemon: Daemon, machine_id: str, boot_id: str, old_boots: frozenset[str], now: Now) -> Arrival:
    """Judge a beat: another machine may take the id only of one that is down or stopped."""
    if daemon.machine_id and not machine_id:
        return Arrival(Change(daemon), is_sign_of_life=False)
    if daemon.machine_id and machine_id != daemon.machine_id:
        return _from_elsewhere(daemon, machine_id, boot_id, old_boots, now)
    if not boot_id or boot_id == daemon.boot_id:
        return Arrival(Change(replace(daemon, machine_id=machine_id) if machine_id != daemon.machine_id else daemon))
    if boot_id in old_boots or _is_earlier(boot_id, daemon.boot_id):
        return Arrival(Change(daemon), "superseded")
    return Arrival(_started(daemon, machine_id, boot_id, now), is_new_boot=True)


def goes_on(daemon: Daemon, machine_id: str, boot_id: str) -> bool:
    """True if a beat is one more of the boot that its daemon has: then earlier boots do not matter."""
    return boot_id == daemon.boot_id and machine_id == daemon.machine_id


def _from_elsewhere(daemon: Daemon, machine_id: str, boot_id: str, old_boots: frozenset[str], now: Now) -> Arrival:
    if daemon.state not in MAY_LOSE_ITS_ID and daemon.reason != STOPPED:
        return Arrival(Change(daemon, events=(_cloned(daemon, machine_id, now),)), "id_taken")
    if boot_id in old_boots:
        return Arrival(Change(daemon), "superseded")
    return Arrival(_started(daemon, machine_id, boot_id, now, _moved(daemon, machine_id, now)), is_new_boot=True)


def _started(daemon: Daemon, machine_id: str, boot_id: str, now: Now, *events: Event) -> Change[Daemon]:
    """The daemon with a new boot, which no beat of an older one may take the place of."""
    old = (Boot(daemon.id, daemon.boot_id, now.wall),) if daemon.boot_id else ()
    new = replace(daemon, machine_id=machine_id or daemon.machine_id, boot_id=boot_id, seq=0, running="[]")
    return Change(new, old, events)


def _is_earlier(boot_id: str, current: str) -> bool:
    """True if a beat that was long on its way comes from a start before the current one."""
    return bool(_OUR_BOOT.fullmatch(boot_id) and _OUR_BOOT.fullmatch(current)) and boot_id < current


def _cloned(daemon: Daemon, machine_id: str, now: Now) -> Event:
    fields = {"daemonId": daemon.id, "machineId": machine_id, "boundTo": daemon.machine_id}
    message = f"Another machine beats as {daemon.id}: refused"
    return make_event(now, "daemon.cloned", message, fields, level="warning", daemon_id=daemon.id)


def _moved(daemon: Daemon, machine_id: str, now: Now) -> Event:
    fields = {"daemonId": daemon.id, "machineId": machine_id, "was": daemon.machine_id}
    message = f"The id {daemon.id} moves to another machine"
    return make_event(now, "daemon.moved", message, fields, level="warning", daemon_id=daemon.id)
