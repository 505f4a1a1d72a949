"""The health of a daemon: deadlines, incidents, and events for changes only.

```
new/healthy ──silent for late_after──> late ──silent for down_after──> down
     ^                                  │                               │
     └──────────── a sign of life: recovered, once, with its length ────┘
```
Theory of operation
-------------------
1. One deadline. A daemon has one deadline in hearing time, `deadline_h`, with an index. A heartbeat moves `last_seen_h`
   and leaves the deadline alone, unless its limits have become shorter since. When the deadline has come, the alarm
   works out the true one from `last_seen_h`. If that lies ahead, it becomes the deadline; if not, the daemon was silent
   for long enough. So a heartbeat writes no index, and a healthy daemon costs one look of the alarm each `late_after`.
   Deadlines are half-open: late when `now.h >= deadline`.
2. Only changes are written: an event, a period and perhaps an incident when the state changes, nothing in between.
   The incident opens with late, grows to down and closes with the recovery; stuck and asleep have none. One that is
   late when its window of expected sleep opens keeps its incident: it is asleep, and down if it oversleeps.
3. Who is judged (`is_judged`). A daemon that stopped or was draining is judged like any other: a machine that shuts
   down says goodbye too. Only an announcement of the owner silences the alarm: a pause, a planned stop, or a daily time
   of expected sleep. Each may have an end, from which on silence counts: `last_seen_h` is moved there, so that limits,
   grace and new settings count from it too. A daemon that is registered but was never seen has no deadline.
4. After a gap of the hub nobody is late before a grace period has passed since the hub resumed (`_deadline`): two
   heartbeats or GRACE_MS (the limit, if that is smaller), whichever is longer. There is one grace period for a silence,
   however many gaps it had. It is worked out at the look, so a gap rewrites one row and not one for each daemon.
5. Longer intervals. A daemon that announces an interval too long for its limits is judged by longer ones: late after
   two intervals at least, and down as long after late as before.

Doubts. The state is spread over `state`, `reason`, `paused` and `incident_id`: a planned stop is `stopped` with the
reason `planned`, and a pause hides what the daemon was before. Windows of expected sleep are wall time while silence is
hearing time; one that ends in a gap of the hub, or by a step of the clock, is seen to be over at the next look, up to
`late_after` later. The end of a planned stop or pause is hearing time and moves with each gap. A daemon that announces
an interval of a day is late after two days: its own word postpones its alarm, with one event to say so.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from understudy.clock import iso
from understudy.coordinator import daily_windows
from understudy.coordinator.changes import Change, Event, make_event
from understudy.coordinator.hearing import at_wall
from understudy.coordinator.nouns import Daemon, Incident, Now, Period, Policy

JUDGED = frozenset({"healthy", "late", "stuck", "draining", "stopped", "paused"})  # unless announced: is_judged
PLANNED = "planned"  # the reason of a stop that an owner announced
EXPECTED = "expected"  # the reason of one that is asleep, while its window is open
STOPPED = "stopped"  # a state, and the reason of a late or down daemon whose last word was its stop
SILENT = frozenset({"late", "down", "asleep"})
GRACE_MS = 30_000  # after a gap, unless the configured limit is smaller
UNKNOWN_INTERVAL_MS = 150_000  # a client that announced none: old daemons renew every 120 s
BEATS_KEPT = 120
_BEAT_UNIT_MS = 100
_BEAT_MAX = 0xFFFF


class Limits(Struct, frozen=True):
    """After how much silence a daemon is late and down, and the grace after a gap."""

    late_ms: int
    down_ms: int
    grace_late_ms: int
    grace_down_ms: int


def limits_of(daemon: Daemon, policy: Policy) -> Limits:
    """Its own limits, else the hub's; a long announced interval makes late later, and down by as much."""
    late = daemon.late_after_ms or policy.late_after_ms
    down = max(daemon.down_after_ms or policy.down_after_ms, late)
    stretched = _late_ms(daemon, policy)
    two_beats = 2 * (daemon.interval_ms or UNKNOWN_INTERVAL_MS)
    return Limits(
        stretched, stretched + (down - late), max(two_beats, min(GRACE_MS, late)), max(two_beats, min(GRACE_MS, down))
    )


def _late_ms(daemon: Daemon, policy: Policy) -> int:
    return max(daemon.late_after_ms or policy.late_after_ms, 2 * daemon.interval_ms)


def is_planned(daemon: Daemon) -> bool:
    """True if it stopped as an owner had announced."""
    return daemon.state == STOPPED and daemon.reason == PLANNED


def is_judged(daemon: Daemon) -> bool:
    """True if its silence is judged: not while its owner has announced it (a pause, a planned stop, expected sleep)."""
    return daemon.state in JUDGED and not daemon.paused and not is_planned(daemon)


def late_deadline(daemon: Daemon, limits: Limits, now: Now) -> int:
    """The hearing instant at which it becomes late if it stays silent; after a gap not before resume + grace."""
    return _deadline(daemon, daemon.last_seen_h + limits.late_ms, limits.grace_late_ms, now)


def down_deadline(daemon: Daemon, limits: Limits, now: Now) -> int:
    """The hearing instant at which it becomes down if it stays silent."""
    return _deadline(daemon, daemon.last_seen_h + limits.down_ms, limits.grace_down_ms, now)


def _deadline(daemon: Daemon, plain: int, grace_ms: int, now: Now) -> int:
    if daemon.last_seen_h > now.resumed_h:
        return plain
    return max(plain, min(now.resumed_h, plain) + grace_ms)  # however often the hub stalls: one grace, not one each


def seen(
    daemon: Daemon, now: Now, policy: Policy, said: str = "healthy", reason: str = "", **why: object
) -> Change[Daemon]:
    """A sign of life: whatever its state was, it is now what it reports; a recovery makes one event.

    `why` goes into the event of a daemon that says it is stuck; another reason is another event.
    """
    since_last = now.wall - daemon.last_seen_at if daemon.last_seen_at else 0
    alive = replace(
        daemon,
        last_seen_at=now.wall,
        last_seen_h=now.h + (now.h == now.resumed_h),  # a word in the very ms of the resumption comes after the gap
        beats=_with_beat(daemon.beats, since_last),
        reason=reason,
    )
    state = "paused" if daemon.paused else said
    if state == daemon.state:
        change = (_stuck(alive, now, why),) if state == "stuck" and reason != daemon.reason else ()
        return Change(_armed(alive, daemon, now, policy) if is_judged(alive) else alive, events=change)
    is_armed = is_judged(replace(alive, state=state))
    armed = late_deadline(alive, limits_of(alive, policy), now) if is_armed else 0
    return _changed(daemon, replace(alive, deadline_h=armed), state, now, why)


def _armed(alive: Daemon, before: Daemon, now: Now, policy: Policy) -> Daemon:
    """With the deadline that it has, unless that may hold a grace, or is too far away for the limits of today."""
    if 0 < before.deadline_h <= alive.last_seen_h + _late_ms(alive, policy) and before.last_seen_h > now.resumed_h:
        return alive
    return replace(alive, deadline_h=late_deadline(alive, limits_of(alive, policy), now))


def with_incident(alive: Change[Daemon], before: Daemon, incident: Incident | None, now: Now) -> Change[Daemon]:
    """A sign of life, and the end of the incident that was open until then; `before` knows how long it was silent."""
    if incident is None or alive.noun.incident_id:
        return alive
    return replace(alive, save=(*alive.save, closed(incident, before, now)))


def touched(daemon: Daemon, incident: Incident | None, now: Now, policy: Policy) -> Change[Daemon] | None:
    """A sign of life by the name of a worker; None for a daemon that is bound to a machine: its beats name that."""
    if daemon.machine_id:
        return None
    said = daemon.state if daemon.state in ("stuck", "draining") else "healthy"
    reason = daemon.reason if said == "stuck" else ""
    return with_incident(seen(daemon, now, policy, said, reason), daemon, incident, now)


def stretched(daemon: Daemon, now: Now, policy: Policy) -> Change[Daemon]:
    """A daemon that announces an interval too long for its limits is judged by longer ones: one event an interval."""
    if daemon.interval_ms == daemon.interval_reported:
        return Change(daemon)
    plain = daemon.late_after_ms or policy.late_after_ms
    if 2 * daemon.interval_ms <= plain:
        return Change(daemon)
    limits = limits_of(daemon, policy)
    message = (
        f"Daemon {daemon.id} beats every {daemon.interval_ms / 1000:g} s: "
        f"it is late after {limits.late_ms / 1000:g} s, not {plain / 1000:g} s"
    )
    event = health_event(daemon, now, "daemon.stretched", "warning", message, lateAfterSec=limits.late_ms / 1000)
    return Change(replace(daemon, interval_reported=daemon.interval_ms), (), (event,))


def stopped_as_planned(daemon: Daemon, now: Now, policy: Policy, for_ms: int) -> Change[Daemon]:
    """It stopped as announced: its silence counts again after this time, or (0) only after its next start."""
    after = seen(daemon, now, policy, STOPPED, PLANNED)
    if not is_planned(after.noun):
        return replace(after, noun=within_pause(after.noun, now.h + for_ms if for_ms else 0))
    return replace(after, noun=replace(after.noun, deadline_h=now.h + for_ms if for_ms else 0))


def within_pause(daemon: Daemon, ends_h: int) -> Daemon:
    """A paused daemon whose planned stop may outlast its pause: its silence counts from the end of both; 0: no end."""
    return replace(daemon, reason="", last_seen_h=max(daemon.last_seen_h, ends_h)) if ends_h else daemon


def _pause_over(daemon: Daemon, now: Now, policy: Policy) -> Change[Daemon]:
    """The pause had an end, which has come; a planned stop that was announced before that goes on."""
    ends_h = daemon.last_seen_h if daemon.last_seen_h > now.h else 0
    if daemon.reason != PLANNED and not ends_h:
        return set_state(replace(daemon, paused=0), "healthy", now, policy)
    stopped = replace(daemon, paused=0, reason=PLANNED, deadline_h=ends_h, last_seen_h=min(daemon.last_seen_h, now.h))
    return _changed(daemon, stopped, STOPPED, now)


def plan_ended(daemon: Daemon, now: Now, policy: Policy) -> Change[Daemon]:
    """The owner takes a planned stop back: silence counts from now."""
    judged = replace(daemon, reason="", last_seen_h=max(daemon.last_seen_h, now.h))
    return Change(replace(judged, deadline_h=late_deadline(judged, limits_of(judged, policy), now)))


def _stuck(daemon: Daemon, now: Now, why: dict[str, object]) -> Event:
    message = f"Daemon {daemon.id} is stuck: {daemon.reason}" if daemon.reason else f"Daemon {daemon.id} is stuck"
    return health_event(daemon, now, "daemon.stuck", "warning", message, reason=daemon.reason or None, **why)


def rung(daemon: Daemon, incident: Incident | None, now: Now, policy: Policy, incident_id: str) -> Change[Daemon]:
    """The alarm's look when the deadline has come: re-arm it, or say late, then down."""
    limits = limits_of(daemon, policy)
    if daemon.state == "asleep":
        return _asleep(daemon, incident, limits, now, incident_id)
    if daemon.paused:
        return _pause_over(daemon, now, policy)
    if is_planned(daemon):
        daemon = _counted_from(replace(daemon, reason=""), daemon.deadline_h)
    if is_judged(daemon):
        return _silent(daemon, incident, limits, now, incident_id)
    return Change(replace(daemon, deadline_h=0))


def _silent(daemon: Daemon, incident: Incident | None, limits: Limits, now: Now, incident_id: str) -> Change[Daemon]:
    """It may be late, or down if it was late before, or expected to sleep."""
    was_late = daemon.state == "late" or bool(daemon.incident_id)
    deadline_of = down_deadline if was_late else late_deadline
    deadline = deadline_of(daemon, limits, now)
    if now.h < deadline:
        return Change(replace(daemon, deadline_h=deadline))
    sleep_left = daily_windows.left_ms(daemon.expected_sleep, now.wall)
    if sleep_left:
        return _fell_asleep(daemon, _next_look_h(sleep_left, limits, now), now)
    counted = _counted_from(daemon, _awake_h(daemon, now))
    deadline = deadline_of(counted, limits, now)
    if now.h < deadline:
        return Change(replace(counted, deadline_h=deadline))
    if was_late:
        return _down(counted, incident, now, max(deadline, daemon.deadline_h))
    return _late(counted, limits, now, deadline, incident_id)


def _fell_asleep(daemon: Daemon, looked_h: int, now: Now) -> Change[Daemon]:
    asleep = replace(daemon, state="asleep", deadline_h=looked_h, since_at=now.wall, reason=EXPECTED)
    event = health_event(asleep, now, "daemon.asleep", "info", f"Daemon {daemon.id} is asleep, as expected")
    return Change(asleep, _periods(daemon, asleep, now), (event,))


def _asleep(daemon: Daemon, incident: Incident | None, limits: Limits, now: Now, incident_id: str) -> Change[Daemon]:
    """It is expected to sleep: from the end of its window on its silence counts again."""
    sleep_left = daily_windows.left_ms(daemon.expected_sleep, now.wall)
    if sleep_left:
        return Change(replace(daemon, reason=EXPECTED, deadline_h=_next_look_h(sleep_left, limits, now)))
    if daemon.reason == EXPECTED:
        daemon = _counted_from(replace(daemon, reason=""), now.h)
    return _silent(daemon, incident, limits, now, incident_id)


def _awake_h(daemon: Daemon, now: Now) -> int:
    """The end of its latest window, if all that passed since was heard; else 0."""
    closed_ms = daily_windows.closed_ms(daemon.expected_sleep, now.wall)
    return now.h - closed_ms if closed_ms is not None and now.h - closed_ms >= now.resumed_h else 0


def _next_look_h(sleep_left: int, limits: Limits, now: Now) -> int:
    """The end of its window, in hearing time: looked at as often as one that is awake, for that end moves in a gap."""
    return now.h + min(sleep_left, limits.late_ms)


def _counted_from(daemon: Daemon, h: int) -> Daemon:
    """The time for which it was expected to be silent ended at this instant: its silence counts from there."""
    return replace(daemon, last_seen_h=max(daemon.last_seen_h, h))


def _late(daemon: Daemon, limits: Limits, now: Now, deadline: int, incident_id: str) -> Change[Daemon]:
    late = replace(
        daemon,
        state="late",
        reason=STOPPED if daemon.state == STOPPED else daemon.reason,
        since_at=now.wall,
        incident_id=incident_id,
        deadline_h=down_deadline(daemon, limits, now),
    )
    incident = Incident(
        incident_id,
        daemon.id,
        "late",
        now.wall,
        at_wall(now, deadline),
        late_h=now.h,
        last_seen_at=daemon.last_seen_at,
    )
    event = _silence_event(late, now, deadline, "daemon.late", "warning", "Warning: Daemon heartbeat delayed")
    return Change(late, (incident, *_periods(daemon, late, now)), (event,))


def _down(daemon: Daemon, incident: Incident | None, now: Now, deadline: int) -> Change[Daemon]:
    down = replace(daemon, state="down", since_at=now.wall, deadline_h=0)
    rows = (replace(incident, state="down", down_at=at_wall(now, deadline)),) if incident else ()
    message = f"CRITICAL: daemon {daemon.id} unresponsive"
    event = _silence_event(down, now, deadline, "daemon.down", "critical", message)
    return Change(down, (*rows, *_periods(daemon, down, now)), (event,))


def silence_ms(last_seen_at: int, last_seen_h: int, now: Now) -> int:
    """Its silence in ms by the wall clock, or in hearing time if that clock was set back."""
    return max(now.wall - last_seen_at, now.h - last_seen_h, 0)


def closed(incident: Incident, daemon: Daemon, now: Now) -> Incident:
    """The incident at its end: its length from the last sign of life, and how many beats were missed."""
    length = silence_ms(incident.last_seen_at, daemon.last_seen_h, now)
    interval = daemon.interval_ms or UNKNOWN_INTERVAL_MS
    return replace(
        incident,
        state="recovered",
        recovered_at=now.wall,
        length_ms=length,
        missed_beats=max(length // interval - 1, 0),
        slept_ms=daemon.slept_ms,
    )


def _changed(
    before: Daemon, after: Daemon, state: str, now: Now, why: dict[str, object] | None = None
) -> Change[Daemon]:
    changed = replace(after, state=state, since_at=now.wall)
    rows = _periods(before, changed, now)
    if before.state in SILENT:
        changed = replace(changed, incident_id="")
        silent_ms = silence_ms(before.last_seen_at, before.last_seen_h, now)
        event = health_event(
            changed,
            now,
            "daemon.recovered",
            "info",
            f"Daemon {after.id} recovered after {silent_ms / 1000:.0f} s",
            was=before.state,
            lengthSec=silent_ms / 1000,
            incidentId=before.incident_id or None,
            sleptSec=after.slept_ms / 1000 or None,
        )
        return Change(changed, rows, (event, _stuck(changed, now, why or {})) if state == "stuck" else (event,))
    if state == "stuck":
        return Change(changed, rows, (_stuck(changed, now, why or {}),))
    name, level = _NAMES.get(state, ("daemon.recovered", "info"))
    if before.state == "new" and state == "healthy":
        return Change(changed, rows)
    event = health_event(changed, now, name, level, f"Daemon {after.id} is {state}", reason=after.reason or None)
    return Change(changed, rows, (event,))


_NAMES = {
    "paused": ("daemon.paused", "info"),
    "draining": ("daemon.draining", "info"),
    "stopped": ("daemon.stopped", "info"),
    "asleep": ("daemon.asleep", "info"),
}


def set_state(daemon: Daemon, state: str, now: Now, policy: Policy, for_ms: int = 0) -> Change[Daemon]:
    """An owner's pause or resume: judged again from now on, or at the end of the pause; 0: a pause without an end."""
    judged = is_judged(replace(daemon, state=state, reason=""))
    armed = replace(daemon, last_seen_h=max(daemon.last_seen_h, now.h)) if judged else daemon
    quiet = now.h + for_ms if for_ms else 0
    deadline = late_deadline(armed, limits_of(armed, policy), now) if judged else quiet
    return _changed(replace(daemon, incident_id=""), replace(armed, deadline_h=deadline, incident_id=""), state, now)


def _with_beat(beats: bytes, since_last_ms: int) -> bytes:
    distance = min(since_last_ms // _BEAT_UNIT_MS, _BEAT_MAX) if since_last_ms > 0 else 0
    return (beats + distance.to_bytes(2, "big"))[-2 * BEATS_KEPT :]


def _periods(before: Daemon, after: Daemon, now: Now) -> tuple[Period, ...]:
    opened = Period(after.id, now.wall, after.state)
    if not before.since_at or before.since_at == now.wall:
        return (opened,)
    return (Period(before.id, before.since_at, before.state, now.wall), opened)


def _silence_event(daemon: Daemon, now: Now, deadline: int, name: str, level: str, message: str) -> Event:
    return health_event(
        daemon,
        now,
        name,
        level,
        message,
        lastHeartbeat=iso(daemon.last_seen_at),
        elapsedSec=round((now.h - daemon.last_seen_h) / 1000),
        deadlineAt=iso(at_wall(now, deadline)),
        stoppedAt=iso(daemon.last_seen_at) if daemon.reason == STOPPED else None,
        incidentId=daemon.incident_id or None,
    )


def health_event(daemon: Daemon, now: Now, name: str, level: str, message: str, **fields: object) -> Event:
    """An event of the daemon's story."""
    return make_event(now, name, message, {"daemonId": daemon.id, **fields}, level=level, daemon_id=daemon.id)
