"""From events to notices: which channels get one, and when. The rows are saved in the transaction of the change itself.

Theory of operation
-------------------
1. Notices are derived from events (docs/adr/0011-notices-are-derived-from-events.md): no rule sends anything. An event
   makes notices if its name is in STORY (incidents) or INFORMED, or if its level is warning or critical and its name is
   not in WITHOUT_NOTICE. Nothing called `notice.…` makes a notice, so a failure to send cannot feed itself.
2. Once. The id of a notice is a hash of its cause and its channel. The same cause makes the same id, so a rule that
   decides twice, a replayed batch or a second hub adds no second row: one WARNING, one CRITICAL and one RECOVERED for
   each incident and channel.
3. Waiting is a row. A route's delay, quiet hours, maintenance, a reminder and a digest are rows whose `due_at` lies in
   the future. Nothing lives in memory, so a restart loses none of it.
4. An incident, channel by channel:
   - late: a WARNING. If the daemon is flapping (FLAPS incidents within FLAP_WINDOW_MS) it is one notice about that, and
     a digest that each further incident and its end put off. A channel that joins by key (`Routes.joining`) gets each
     WARNING.
   - down: a CRITICAL, and the first reminder. A WARNING that would arrive later than the CRITICAL is folded into it.
   - recovered: rows that are still held back are folded; a RECOVERED goes where the alarm has gone or is on its way,
     without the route's delay. If a digest will report the recovery, only a CRITICAL gets a RECOVERED as well.
   - stuck: each reason is an alarm of its own; all of them are over with the next recovery.
   - its owner paused or forgot the daemon: rows that are still held back are folded. A channel that joins by key, whose
     alarm would stay open, gets its end.
5. The last resort. If a rule fails on the facts of an event, `add_plainly` makes a notice of the bare message: no
   change is undone and no notice is dropped because of what is to be said about it.

Whether and in which form a row is sent is decided when it is due (outbox.py). `known` are the rows about the same
incidents, tasks and daemons, with the changes of this batch.

Doubts. A channel whose alarm was refused (dead) still gets the RECOVERED, as if it had seen the alarm. Incidents are
counted for each daemon and not for each channel, so a channel may read that a daemon is flapping without having had the
earlier warnings. A change of the routes between alarm and recovery is judged by the new routes alone. The code reads
the rows of an incident several times over (`_of_incident`); with thousands of rows it would be slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import replace

from understudy.coordinator import daily_windows
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import Notice, Now
from understudy.coordinator.routes import LEVEL_RANKS, Route, Routes, is_of, route_of
from understudy.redact.cutting import beginning

LATE, DOWN, RECOVERED, STUCK = "daemon.late", "daemon.down", "daemon.recovered", "daemon.stuck"
TAKEN_AWAY = frozenset({"daemon.paused", "daemon.forgotten"})
STORY = frozenset({LATE, DOWN, RECOVERED, STUCK, *TAKEN_AWAY})
LOUD = frozenset({"warning", "critical"})
# for routes of level info, which the default route is not
INFORMED = frozenset(
    {
        "takeover.opened",
        "takeover.closed",
        "takeover.circuit_closed",
        "daemon.auth_restored",
        "incident.acknowledged",
    }
)
AUTH_FAILED = "daemon.auth_failed"
WITHOUT_NOTICE = frozenset({"lease.expired", "lease.lost", "task.failed", "hub.gap", "daemon.stretched", "notice.dead"})
REMINDER, DIGEST, FLAPPING, CLOSED = "reminder", "digest", "flapping", "closed"
DIGESTED = frozenset({LATE, FLAPPING})  # what a digest says the end of
FLAPS = 4  # so many incidents of a daemon ...
FLAP_WINDOW_MS = 3_600_000  # ... within an hour are flapping: one notice, then a digest
CALM_MS = 1_800_000  # a digest is sent after this time without another incident
DIGEST_WITHIN_MS = 6 * 3_600_000  # at the latest
BACK = "recovered before it was due"  # why a notice was folded
AWAY = "its owner took the daemon away before it was due"
FACTS_BYTES_MAX = 65_536
CUT_CHARS = 4_000


def makes_notice(event: Event) -> bool:
    """True if an event may make notices. It is called for each event, so it is cheap."""
    if event.name in STORY or event.name in INFORMED:
        return True
    if event.level not in LOUD or event.live_only:
        return False
    return event.name not in WITHOUT_NOTICE or event.fields.get("outcome") == "poison"


def notice_id(*parts: str) -> str:
    """The id of a notice, made of its cause and channel: the same cause never makes a second row."""
    return f"notice-{sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"


def facts_of(**facts: object) -> str:
    """Facts as JSON text, bounded: where there is too much of it, long texts are cut."""
    kept = {name: value for name, value in facts.items() if value is not None}
    text = msgspec.json.encode(kept)
    if len(text) > FACTS_BYTES_MAX:
        cut = {name: f"{beginning(value, CUT_CHARS)}…" for name, value in kept.items() if isinstance(value, str)}
        text = msgspec.json.encode(cut)
    return text.decode()


def read_facts(notice: Notice) -> dict[str, Any]:
    """Its facts; none where they cannot be read."""
    try:
        facts = msgspec.json.decode(notice.facts)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def is_untried(notice: Notice) -> bool:
    """True if no attempt to send it was made."""
    return notice.state == "waiting" and not notice.attempts and not notice.taken_until


def is_held(notice: Notice, now: Now) -> bool:
    """True while its route (delay, quiet hours, maintenance) still holds it back and no attempt to send it was made."""
    return is_untried(notice) and notice.due_at > now.wall


def once_each(events: Iterable[Event]) -> list[Event]:
    """The events, where a logged-out assistant makes its daemon stuck, as one event instead of two: a critical one.

    Another assistant that is logged out on the same daemon has an event of its own.
    """
    events = list(events)
    why = {
        (e.daemon_id, e.fields.get("what")) for e in events if e.name == STUCK and e.fields.get("code") == "auth_failed"
    }
    if not why:
        return events
    named = {STUCK: "what", AUTH_FAILED: "executor"}
    twice = [e.name in named and (e.daemon_id, e.fields.get(named[e.name])) in why for e in events]
    return [
        replace(event, level="critical") if is_twice else event
        for event, is_twice in zip(events, twice, strict=True)
        if not (is_twice and event.name == AUTH_FAILED)
    ]


class OutboxDraft:
    """The rows that a batch of events adds to or changes in the outbox; `known` are the earlier rows about the same."""

    def __init__(self, routes: Routes, now: Now, known: Iterable[Notice], flaps: Mapping[str, int]) -> None:
        self.routes = routes
        self.now = now
        self.rows = {notice.id: notice for notice in known}
        self.changed: dict[str, Notice] = {}
        self._flaps = flaps

    def put(self, notice: Notice) -> None:
        """Add or change a row."""
        self.rows[notice.id] = notice
        self.changed[notice.id] = notice

    def add(self, notice: Notice) -> None:
        """Add a row, unless this cause has one already."""
        if notice.id not in self.rows:
            self.put(notice)

    def fold(self, notice: Notice, why: str) -> None:
        """It is not worth telling any more."""
        self.put(replace(notice, state="folded", last_error=why))

    def add_event(self, event: Event) -> None:
        """Add what an event brings about."""
        match event.name:
            case "daemon.late":
                self._late(event)
            case "daemon.down":
                self._down(event)
            case "daemon.recovered":
                self._recovered(event)
                self._taken_away(event)
            case "daemon.paused" | "daemon.forgotten":
                self._taken_away(event)
            case _:
                self._plain(event)

    def add_plainly(self, event: Event) -> None:
        """The same if its facts cannot be put into a text: its bare message, to the same channels."""
        for channel, _ in self._routes_for(event.level, event.daemon_id):
            wall = self.now.wall
            key = notice_id(event.name, event.daemon_id, event.task_id, str(event.at), channel)
            facts = facts_of(message=str(event.message))
            row = Notice(key, channel, "notice", event.name, event.level, facts=facts, next_at=wall, due_at=wall)
            self.add(replace(row, task_id=event.task_id, daemon_id=event.daemon_id, created_at=wall))

    # ---- incidents

    def _late(self, event: Event) -> None:
        for channel, route in self._routes_for("warning", event.daemon_id):
            digest = self._digest(event.daemon_id, channel)
            if digest is not None:
                self._put_off(digest)
            elif self._flaps.get(event.daemon_id, 0) >= FLAPS and channel not in self.routes.joining:
                self._flapping(event, channel, route)
            else:
                self.add(self._row(event, channel, route, event.level))

    def _flapping(self, event: Event, channel: str, route: Route) -> None:
        count = self._flaps[event.daemon_id]
        for digest in self._digests(event.daemon_id, channel):
            self.fold(digest, "another one follows")  # it is being sent: if that fails, it is not sent again
        reported = self._row(event, channel, route, "warning")
        incident = reported.incident_id
        self.add(
            replace(reported, id=notice_id(FLAPPING, incident, channel), cause=FLAPPING, facts=facts_of(count=count))
        )
        until = self.now.wall + CALM_MS
        later = replace(reported, id=notice_id(DIGEST, incident, channel), cause=DIGEST, level="info", incident_id="")
        self.add(replace(later, facts=_calm(later, until), next_at=until, due_at=until))

    def _put_off(self, digest: Notice) -> None:
        until = min(self.now.wall + CALM_MS, digest.created_at + DIGEST_WITHIN_MS)
        self.put(replace(digest, facts=_calm(digest, until), next_at=until, due_at=until))

    def _down(self, event: Event) -> None:
        incident = str(event.fields.get("incidentId", ""))
        for channel, route in self._routes_for("critical", event.daemon_id):
            critical = self._row(event, channel, route, "critical")
            for earlier in self._of_incident(incident, channel):
                if is_untried(earlier) and max(critical.next_at, self.now.wall + 1) <= earlier.next_at:
                    self.fold(earlier, "told as critical")
            self.add(critical)
            self._remind(critical, route)

    def _remind(self, critical: Notice, route: Route) -> None:
        if route.remind_ms and critical.incident_id:
            self.add(reminder_after(critical, 1, route.remind_ms, critical.next_at))

    def _recovered(self, event: Event) -> None:
        """Its silence is over, and so is what it had been stuck with before."""
        incident = str(event.fields.get("incidentId", ""))
        for channel in self.routes.channels:
            for story in (incident, *self._stuck(event.daemon_id, channel)):
                if story:
                    self._close(event, channel, story, event.name)
            digest = self._digest(event.daemon_id, channel)
            if incident and digest is not None:
                self._put_off(digest)

    def _taken_away(self, event: Event) -> None:
        """Its owner paused or forgot it: no news to people, but a receiver that joins by key has to close its alarm."""
        for channel in self.routes.channels:
            stuck = self._stuck(event.daemon_id, channel) if event.name in TAKEN_AWAY else ()
            for story in (str(event.fields.get("closedIncidentId", "")), *stuck):
                if story and channel in self.routes.joining:
                    self._close(event, channel, story, CLOSED)
                elif story:
                    self._fold_held(story, channel, AWAY)

    def _fold_held(self, story: str, channel: str, why: str) -> list[Notice]:
        """Fold what is held back of a story; the alarms of it that were sent or are on their way."""
        reported = [row for row in self._of_incident(story, channel) if row.level != "recovered"]
        held = [row for row in reported if row.state == "waiting" and (row.cause == REMINDER or is_held(row, self.now))]
        for row in held:
            self.fold(row, why)
        return [row for row in reported if row not in held and not _is_untold(row)]

    def _close(self, event: Event, channel: str, story: str, cause: str) -> None:
        reached = self._fold_held(story, channel, BACK)
        is_digested = self._digest(event.daemon_id, channel) is not None
        if not reached or (is_digested and all(row.cause in DIGESTED for row in reached)):
            return  # the channel never got it, or a digest reports it; a critical alarm is always taken back
        for alarm in reached:
            if channel in self.routes.joining and self._waits_for_window(alarm):
                self.fold(alarm, BACK)  # it may be open there: its end does not wait for it
        route = route_of(self.routes, channel, event.daemon_id)
        row = self._row(event, channel, replace(route, delay_ms=0), "recovered")
        self.add(replace(row, id=notice_id(RECOVERED, story, channel), cause=cause, incident_id=story))

    def _waits_for_window(self, alarm: Notice) -> bool:
        route = route_of(self.routes, alarm.channel, alarm.daemon_id, alarm.level)
        window = (alarm.channel, alarm.level, alarm.daemon_id, self.now.wall)
        is_free = alarm.state == "waiting" and alarm.taken_until <= self.now.wall
        return is_free and held_by_windows_ms(self.routes, route, *window) > 0

    def _plain(self, event: Event) -> None:
        for channel, route in self._routes_for(event.level, event.daemon_id):
            row = self._row(event, channel, route, event.level)
            if not (channel in self.routes.joining and row.incident_id and row.level == "info"):
                self.add(row)  # else it would open its alarm anew, which may be over

    # ---- earlier rows

    def _of_incident(self, incident_id: str, channel: str) -> list[Notice]:
        return [row for row in self.rows.values() if row.incident_id == incident_id and row.channel == channel]

    def _stuck(self, daemon_id: str, channel: str) -> list[str]:
        """The stories of all that it is stuck with, as far as the channel knows: their end was not reported yet.

        A person who has read of one recovery takes all before it for over; a receiver that joins by key does not.
        """
        rows = [row for row in self.rows.values() if (row.daemon_id, row.channel) == (daemon_id, channel)]
        over = {row.incident_id: row.created_at for row in rows if row.level == "recovered"}
        since = 0 if channel in self.routes.joining else max(over.values(), default=0)
        stuck = [row for row in rows if row.cause == STUCK and not _is_untold(row) and row.created_at >= since]
        return [story for story in dict.fromkeys(row.incident_id for row in stuck) if story not in over]

    def _digest(self, daemon_id: str, channel: str) -> Notice | None:
        """The one that waits; none while it is being sent, and none where each silence and its end have a notice."""
        if channel in self.routes.joining:
            return None
        waiting = (row for row in self._digests(daemon_id, channel) if row.taken_until <= self.now.wall)
        return next(waiting, None)

    def _digests(self, daemon_id: str, channel: str) -> list[Notice]:
        found = [row for row in self.rows.values() if (row.cause, row.daemon_id) == (DIGEST, daemon_id)]
        return [row for row in found if row.channel == channel and row.state == "waiting"]

    # ---- routes

    def _routes_for(self, level: str, daemon_id: str) -> Iterator[tuple[str, Route]]:
        """Each channel that gets a notice, with the first route that fits."""
        seen = set()
        for route in self.routes.routes:
            if LEVEL_RANKS.get(level, 1) < LEVEL_RANKS[route.level] or not is_of(daemon_id, route.daemons):
                continue
            for channel in route.channels:
                if channel not in seen:
                    seen.add(channel)
                    yield channel, route

    def _row(self, event: Event, channel: str, route: Route, level: str) -> Notice:
        held_ms = held_by_windows_ms(self.routes, route, channel, level, event.daemon_id, self.now.wall)
        due_at = self.now.wall + max(route.delay_ms, held_ms)
        facts = facts_of(message=event.message, **event.fields)
        incident = str(event.fields.get("incidentId", ""))
        if event.name == STUCK and not incident:
            incident = f"stuck:{event.daemon_id}:{event.at}"
        story = (incident,) if incident else (event.daemon_id, event.task_id, str(event.at), facts)
        return Notice(
            notice_id(event.name, *story, channel),
            channel,
            "notice",
            event.name,
            level,
            incident_id=incident,
            task_id=event.task_id,
            daemon_id=event.daemon_id,
            facts=facts,
            next_at=due_at,
            due_at=due_at,
            created_at=self.now.wall,
        )


def _calm(digest: Notice, until: int) -> str:
    """The facts of a digest: how long it waits for calm, for `due_at` may become the end of quiet hours."""
    return facts_of(pauseMs=until - digest.created_at)


def _is_untold(notice: Notice) -> bool:
    """True if it was folded and no other message says it."""
    return notice.state == "folded" and not notice.folded_into


def held_by_windows_ms(routes: Routes, route: Route, channel: str, level: str, daemon_id: str, wall: int) -> int:
    """Milliseconds that quiet hours and maintenance still hold a notice, consecutive ones included; 0: not now.

    Nothing holds the end of an alarm that stays open at its receiver until then.
    """
    if level == "recovered" and channel in routes.joining:
        return 0
    at, latest = wall, wall + daily_windows.DAYS_MAX * 86_400_000
    while at < latest:
        left = 0 if level == "critical" else daily_windows.left_ms(route.quiet, at)
        for window in routes.maintenance:
            if is_of(daemon_id, window.daemons):
                once_ms = window.to_at - at if window.from_at <= at < window.to_at else 0
                left = max(left, once_ms, daily_windows.left_ms(window.windows, at))
        if not left:
            break
        at += left
    return at - wall


def reminder_after(reported: Notice, nth: int, every_ms: int, at: int) -> Notice:
    """The next reminder of an incident that goes on; `reported` is the critical notice or the reminder before it."""
    due_at = at + every_ms
    return Notice(
        notice_id(REMINDER, reported.incident_id, reported.channel, str(nth)),
        reported.channel,
        "notice",
        REMINDER,
        "critical",
        incident_id=reported.incident_id,
        daemon_id=reported.daemon_id,
        facts=facts_of(nth=nth, everyMs=every_ms),
        next_at=due_at,
        due_at=due_at,
        created_at=at,
    )
