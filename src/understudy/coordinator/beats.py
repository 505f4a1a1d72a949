"""A heartbeat: who beats, what becomes of its leases, what it says of itself, and whether it is well.

`judge` goes through the modules of these questions once, in this order: identity, renewals (leases), stuck,
directives, health. A beat that is no sign of life (it does not name the machine that its daemon is bound to)
changes nothing; one that a later beat has overtaken renews nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from understudy.clock import iso
from understudy.coordinator import directives, health, identity, renewals, stuck
from understudy.coordinator.changes import Change, Draft, Event
from understudy.coordinator.health import health_event
from understudy.coordinator.identity import Arrival
from understudy.coordinator.kept import SAID_BYTES_MAX, kept_json, kept_runs
from understudy.coordinator.nouns import Daemon, Directive, Incident, Now, Policy, Progress, Task
from understudy.coordinator.renewals import NamedRun, Renewals, Speaker
from understudy.coordinator.stuck import Trouble

STARTS_MAX = 5  # within an hour; more are an event
HOUR_MS = 3_600_000
_STATES = {"draining": "draining", "paused": "paused", "stopping": "stopped"}


class ReceivedBeat(Struct, frozen=True):
    """The content of a heartbeat; None for what it does not mention."""

    daemon_id: str
    machine_id: str = ""
    boot_id: str = ""
    seq: int | None = None  # counted from its start
    interval_ms: int | None = None
    version: str | None = None
    capacity: int | None = None
    provides: list[str] | None = None
    runs: tuple[NamedRun, ...] | None = None
    loops: dict[str, Any] | None = None
    auth: dict[str, Any] | None = None
    state: str = ""  # running | draining | paused | stopping; "": an old client
    planned_for_ms: int | None = None  # with `stopping`: its owner announced it; 0: until it is started again
    slept_ms: int = 0
    reports: Mapping[str, tuple[str, str]] = {}  # by directive: the state that it has reached, and a detail
    starts_last_hour: int = 0


class Facts(Struct, frozen=True):
    """The rows that a beat is about, as they stand before it."""

    known: Daemon | None
    old_boots: frozenset[str] = frozenset()
    held: tuple[Task, ...] = ()
    tasks: Mapping[str, Task] = {}  # those that the beat names
    progress: Mapping[str, Progress] = {}
    directives: tuple[Directive, ...] | None = None  # None: it has no open ones
    incident: Incident | None = None


class Heard(Struct, frozen=True):
    """The outcome of a heartbeat: its changes, and the answer to the daemon."""

    draft: Draft
    refused: str = ""  # "", "id_taken" or "superseded"
    lost: list[str] = []
    cancelled: list[str] = []
    offered: list[Directive] = []
    next_ms: int = 0  # until the next beat, at the latest


def judge(facts: Facts, beat: ReceivedBeat, now: Now, policy: Policy) -> Heard:
    """Take a beat into account."""
    draft = Draft()
    known = facts.known or Daemon(beat.daemon_id, first_seen_at=now.wall, since_at=now.wall)
    arrival = identity.arrive(known, beat.machine_id, beat.boot_id, facts.old_boots, now)
    before = draft.pass_on(arrival.change)
    if arrival.refused:
        return Heard(draft, arrival.refused)
    draft.add(events=(*_recorded(before, now), *_started(facts.known, beat, arrival, now)))

    speaker = _speaker(before, beat, arrival)
    leased = renewals.judge(speaker, beat.runs or (), facts.held, facts.tasks, now, policy)
    if not arrival.is_sign_of_life:
        return _heard(draft, before, beat, leased, policy)
    for change in leased.changes:
        draft.take(change)
    draft.add(renewals.progress_of(beat.runs or (), facts.tasks, facts.progress, now))

    daemon = described(before, beat, now)
    if beat.auth and daemon.auth != before.auth:
        draft.add(events=stuck.login_events(before, beat.auth, now))
    trouble = stuck.trouble_in(daemon, beat.loops, beat.auth, beat.runs or ())

    offer = None
    if facts.directives is not None:
        drains = beat.state == "draining"
        offer = directives.offer(daemon, facts.directives, beat.reports, beat.boot_id, now, drains=drains)
        daemon = draft.pass_on(offer.change)

    if arrival.is_new_boot:
        daemon = draft.pass_on(_restarting(daemon, beat, now))
    daemon = draft.pass_on(health.stretched(daemon, now, policy))
    alive = _alive(daemon, beat, trouble, now, policy, comes_back=offer is not None and offer.comes_back)
    daemon = draft.take(health.with_incident(alive, daemon, facts.incident, now))
    return _heard(draft, daemon, beat, leased, policy, offer.offered if offer is not None else None)


def described(daemon: Daemon, beat: ReceivedBeat, now: Now) -> Daemon:
    """The daemon with all that it says of itself, as far as that is kept."""
    provides = daemon.provides if beat.provides is None else kept_json(beat.provides, SAID_BYTES_MAX)
    loops = daemon.loops if beat.loops is None else _json(beat.loops)
    auth = daemon.auth if beat.auth is None else _json(beat.auth)
    return replace(
        daemon,
        last_heartbeat=iso(now.wall),
        slept_ms=beat.slept_ms,
        seq=daemon.seq if beat.seq is None else max(beat.seq, daemon.seq),
        running=daemon.running if beat.runs is None else kept_runs(beat.runs, provides, loops, auth),
        interval_ms=daemon.interval_ms if beat.interval_ms is None else beat.interval_ms,
        version=daemon.version if beat.version is None else beat.version,
        capacity=daemon.capacity if beat.capacity is None else beat.capacity,
        provides=provides,
        loops=loops,
        auth=auth,
    )


def _speaker(daemon: Daemon, beat: ReceivedBeat, arrival: Arrival) -> Speaker:
    is_ordered = beat.seq is not None and bool(beat.boot_id)
    is_newer = beat.seq is not None and beat.seq > daemon.seq
    return Speaker(
        daemon.id,
        beat.boot_id,
        is_newer=is_newer,
        is_overtaken=is_ordered and not is_newer and not arrival.is_new_boot,
        lists_runs=beat.runs is not None,
        is_stopping=beat.state == "stopping",
        is_sign_of_life=arrival.is_sign_of_life,
    )


def _recorded(daemon: Daemon, now: Now) -> tuple[Event, Event]:
    """The two lines that operators search for; too frequent to keep."""
    fields = {"daemonId": daemon.id}
    said = ("debug", "heartbeat.recorded")
    return (
        Event(now.wall, *said, "Queue API", "Heartbeat recorded", fields, live_only=True),
        Event(now.wall, *said, "TaskCoordinator", "Heartbeat recorded", fields, live_only=True),
    )


def _started(known: Daemon | None, beat: ReceivedBeat, arrival: Arrival, now: Now) -> tuple[Event, ...]:
    """An event of a daemon that was never seen before, or was started anew."""
    daemon = arrival.change.noun
    if known is None:
        message = f"Daemon {daemon.id} seen for the first time"
        return (health_event(daemon, now, "daemon.registered", "info", message, version=beat.version),)
    if arrival.is_new_boot:
        message = f"Daemon {daemon.id} was started anew"
        return (
            health_event(daemon, now, "daemon.started", "info", message, bootId=beat.boot_id, version=beat.version),
        )
    return ()


def _restarting(daemon: Daemon, beat: ReceivedBeat, now: Now) -> Change[Daemon]:
    """An event, at most once an hour, of a daemon that is started again and again."""
    starts = beat.starts_last_hour
    if starts <= STARTS_MAX or 0 <= now.wall - daemon.restarting_at < HOUR_MS:
        return Change(daemon)
    message = f"Daemon {daemon.id} was started {starts} times within an hour"
    event = health_event(daemon, now, "daemon.restarting", "warning", message, startsLastHour=starts)
    return Change(replace(daemon, restarting_at=now.wall), (), (event,))


def _alive(
    daemon: Daemon, beat: ReceivedBeat, trouble: Trouble | None, now: Now, policy: Policy, *, comes_back: bool
) -> Change[Daemon]:
    """It is as it says, unless what it says of its parts shows that it is stuck."""
    state = _STATES.get(beat.state, "healthy")
    if state == "stopped" and beat.planned_for_ms is not None:
        return health.stopped_as_planned(daemon, now, policy, beat.planned_for_ms)
    if state == "stopped" and comes_back:
        state = "healthy"
    if state == "healthy" and trouble is not None:
        why = {
            "code": trouble.code,
            "what": trouble.what,
            "state": trouble.word or None,
            "limitSec": max(round(trouble.limit_s), 1) if trouble.limit_s else None,
            "mend": trouble.fix or None,
        }
        return health.seen(daemon, now, policy, "stuck", trouble.reason, **why)
    return health.seen(daemon, now, policy, state)


def _heard(
    draft: Draft,
    daemon: Daemon,
    beat: ReceivedBeat,
    leased: Renewals,
    policy: Policy,
    offered: list[Directive] | None = None,
) -> Heard:
    next_ms = daemon.interval_ms or policy.heartbeat_interval_ms
    if beat.runs:
        next_ms = min(next_ms, leased.shortest_ms // 3)  # a lease is renewed twice before it would end
    return Heard(draft, "", leased.lost, leased.cancelled, offered or [], next_ms)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
