"""The next message of one channel: which row, in which place, and what becomes of the row afterwards.

```
waiting ──sent──> sent        ──refused, or tried for 36 h──> dead ──resend──> waiting
   │ └──try again later──> waiting
   └──recovered, acknowledged, or part of another message──> folded
```
Theory of operation
-------------------
Each channel has one loop (hub/delivery.py), which takes one message, sends it and settles it; taking and settling are a
transaction each. What is taken carries `taken_until`: another hub leaves it alone until then, and may send it after.

`choose` decides on the rows that are due, in this order:
1. Judge each row (due_notices.py). A reminder, or an alarm that a route held back, is folded if its incident is over or
   acknowledged, and put off if it is snoozed. A digest is put off while its daemon is silent. Any notice is put off by
   a window (quiet hours, maintenance) that has begun since, a reminder also by the expected sleep of its daemon.
2. Keep the order. A recovery waits for its alarm and an answer for the one before it (`_earlier`), also if a storm
   carries the earlier one. It waits 1 ms longer than the other, however often that one is put off.
3. Find the place (`_place`). A recovery changes the message of its alarm, or answers it in a thread where the alarm
   came with others. A message that changes another one is quiet and counts for no storm.
4. Mind the storm. More than STORM_MESSAGES_MAX notices within STORM_WINDOW_MS become one message: its members are
   folded into a new row. Warnings wait for the window; with a critical one among them it goes CRITICAL_WAIT_MS after
   the last message. A channel that joins by key (`Routes.joining`) gets each by itself: the recovery of what a storm
   has reported would never reach it.
5. Take the oldest of the most important kind: notices, tests, answers, progress.

Afterwards `sent`, `put_off` or `dead`. A message whose facts changed while it was sent is due again; a reminder
that was sent or given up, by itself or in a storm, makes the next one. A message is given up after GIVE_UP_AFTER_MS,
but never before TRIES_MIN tries: a hub that was off for days has not tried for days.

Doubts. Delivery is at least once: a hub that dies between the service's answer and its own commit sends again, and only
channels with an idempotency key hide that. Two hubs that send to one channel may exceed the storm's count by what both
have taken and not settled. A row that cannot be judged is sent as it stands, because silence would be worse.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from understudy.backoff import dice_of, doubled_ms, spread
from understudy.coordinator import due_notices
from understudy.coordinator.answers import changed_again
from understudy.coordinator.changes import Change, make_event
from understudy.coordinator.notices import LOUD, REMINDER, facts_of, notice_id, read_facts, reminder_after
from understudy.coordinator.nouns import Daemon, Incident, Notice, Now
from understudy.coordinator.routes import LEVEL_RANKS, Routes

REASON_CHARS_MAX = 300
STORM = due_notices.STORM
STORM_MESSAGES_MAX = 5  # within STORM_WINDOW_MS; what is beyond them is a storm
STORM_WINDOW_MS = 30_000
# A storm with a critical notice in it does not wait for the end of the window: the first one is sent at once, then one
# every 5 s with all that has gathered. That is less than the 20 a minute that Telegram allows a group.
CRITICAL_WAIT_MS = 5_000
RECENT_MAX = STORM_MESSAGES_MAX + 1
TAKEN_MS = 60_000  # longer than any one request may take; each part begins it anew
KINDS_FIRST = ("notice", "test", "answer", "progress")  # of what is due
RETRY_FIRST_MS = 1_000
RETRY_MAX_MS = 300_000
RETRY_AFTER_MAX_MS = 3_600_000  # a service may ask for longer; it is asked again all the same
GIVE_UP_AFTER_MS = 36 * 3_600_000
DEAD_REMINDER_MS = 3_600_000  # at least, from a reminder that was given up to the next one
_STORMS = (STORM, STORM)  # the place of storms among stories
TRIES_MIN = 10  # before it is given up: a hub that was off for days has not tried for days


class NextMessage(Struct, frozen=True):
    """The message to send now, and the rows that this changes."""

    notice: Notice | None = None
    edits: str = ""  # the message to change
    thread: str = ""
    members: tuple[Notice, ...] = ()  # of a storm
    save: tuple[Notice, ...] = ()


class OutboxFacts(Struct, frozen=True):
    """Facts about the rows that are due: their siblings, their incidents, and the owner's windows."""

    siblings: Sequence[Notice]
    incidents: Mapping[str, Incident]
    recent: Sequence[Notice]  # alarms and storms that the channel got within the window, oldest first
    routes: Routes = Routes()
    daemons: Mapping[str, Daemon] = {}  # that reminders and digests are about


def choose(due: Iterable[Notice], known: OutboxFacts, now: Now) -> NextMessage:
    """The next message. Rows that are no longer worth sending are folded, and a storm becomes one message."""
    save: dict[str, Notice] = {}
    ready: list[tuple[Notice, str, str]] = []
    stories = _by_story(known.siblings)
    for row in due:
        about = replace(known, siblings=stories[_story(row)] + stories[_STORMS])
        try:
            judged = _judged(row, about, now)
            place = _place(judged, about.siblings)
        except Exception:  # noqa: BLE001 - what cannot be judged is sent as it is; it stops no other row
            judged, place = row, ("", "")
        if judged is not row:
            save[row.id] = judged
        if judged.state == "waiting" and judged.next_at <= now.wall:
            ready.append((judged, *place))
    loud = [row for row, edits, _ in ready if _is_loud(row, edits) and row.channel not in known.routes.joining]
    room = STORM_MESSAGES_MAX - len(known.recent)
    until = _room_at(loud, known.recent, now) if len(loud) > room else 0
    if until > now.wall:
        save |= {row.id: replace(row, next_at=until) for row in loud}
        ready = [found for found in ready if found[0].id not in save]
    elif len(loud) > max(room, 1):
        return _storm(loud, save, now)
    if not ready:
        return NextMessage(save=tuple(save.values()))
    row, edits, thread = min(ready, key=lambda found: _rank(found[0]))  # the oldest of its kind
    taken = _taken(row, now)
    save[row.id] = taken
    return NextMessage(taken, edits, thread, save=tuple(save.values()))


def _by_story(siblings: Iterable[Notice]) -> defaultdict[tuple[str, str], list[Notice]]:
    """The siblings of each story, and the storms: with a thousand rows due nobody looks through a thousand for each."""
    found: defaultdict[tuple[str, str], list[Notice]] = defaultdict(list)
    for row in siblings:
        found[_STORMS if row.cause == STORM else _story(row)].append(row)
    return found


def _story(row: Notice) -> tuple[str, str]:
    return row.incident_id, "" if row.incident_id else row.task_id


def _rank(row: Notice) -> int:
    return KINDS_FIRST.index(row.kind) if row.kind in KINDS_FIRST else len(KINDS_FIRST)


def _room_at(loud: Sequence[Notice], recent: Sequence[Notice], now: Now) -> int:
    """The instant at which the channel may get another message; 0: now."""
    if len(recent) < STORM_MESSAGES_MAX:
        return 0
    until = min(recent[-STORM_MESSAGES_MAX].sent_at, now.wall) + STORM_WINDOW_MS + 1
    if all(row.level != "critical" for row in loud):
        return until
    soon = min(recent[-1].sent_at, now.wall) + CRITICAL_WAIT_MS
    return min(until, soon) if len(recent) > STORM_MESSAGES_MAX else 0


def _is_loud(row: Notice, edits: str) -> bool:
    """True if it counts for a storm: a notice that is a message of its own."""
    return row.kind == "notice" and row.cause != STORM and not edits


def _storm(loud: Sequence[Notice], save: dict[str, Notice], now: Now) -> NextMessage:
    channel = loud[0].channel
    key = notice_id(STORM, channel, *sorted(row.id for row in loud))
    level = max((row.level for row in loud), key=lambda level: LEVEL_RANKS.get(level, 1))
    due_at = min(row.due_at for row in loud)
    storm = Notice(key, channel, "notice", STORM, level, next_at=now.wall, due_at=due_at, created_at=now.wall)
    members = tuple(replace(row, state="folded", folded_into=key, taken_until=0) for row in loud)
    taken = _taken(storm, now)
    save |= {row.id: row for row in (*members, taken)}
    return NextMessage(taken, members=members, save=tuple(save.values()))


def _taken(row: Notice, now: Now) -> Notice:
    return replace(row, taken_until=now.wall + TAKEN_MS)


def is_same_take(row: Notice, taken: Notice) -> bool:
    """True if a row is still taken as it was then; a clock that was set meanwhile has moved both of its instants."""
    return bool(row.taken_until) and row.taken_until - row.created_at == taken.taken_until - taken.created_at


def _judged(row: Notice, known: OutboxFacts, now: Now) -> Notice:
    """The row, or what it has become; one that is to be sent may have to wait for another one."""
    judged = due_notices.judged(
        row, known.incidents.get(row.incident_id), known.daemons.get(row.daemon_id), known.routes, now
    )
    first = _earlier(row, known.siblings) if judged is row else None
    return replace(row, next_at=max(first.next_at, first.taken_until, now.wall) + 1) if first else judged


def _earlier(row: Notice, siblings: Iterable[Notice]) -> Notice | None:
    """The message that must be delivered before this one: an alarm before its recovery, the earlier of two answers."""
    if row.level != "recovered" and row.kind != "answer":
        return None
    siblings = list(siblings)
    storms = {other.id: other for other in siblings if other.cause == STORM}
    for other in siblings:
        is_same = (other.channel, other.incident_id, other.task_id) == (row.channel, row.incident_id, row.task_id)
        if row.kind == "answer":
            is_first = other.kind == "answer" and other.created_at < row.created_at
        else:
            is_first = other.level != "recovered" and other.cause != REMINDER
        carrier = storms.get(other.folded_into, other)
        if other.id != row.id and is_same and carrier.state == "waiting" and is_first:
            return carrier
    return None


def _place(row: Notice, siblings: Iterable[Notice]) -> tuple[str, str]:
    """(the message to change, the thread): a recovery changes the alarm that it ends, or answers it."""
    if row.kind != "notice":
        return row.ref, row.thread
    if row.level != "recovered":
        return "", ""
    earlier = [s for s in siblings if s.channel == row.channel and s.incident_id == row.incident_id and s.ref]
    earlier = [s for s in earlier if s.id != row.id and s.state == "sent"]
    if not earlier:
        return "", ""
    first = max(earlier, key=lambda s: (LEVEL_RANKS.get(s.level, 1), -s.created_at))
    return ("" if first.folded_into else first.ref), first.ref


# ---- afterwards


def has_changed(row: Notice, taken: Notice) -> bool:
    """True if a message to a submitter says something else by now than what was taken to be sent."""
    return row.kind != "notice" and row.facts != taken.facts


def arrived(
    row: Notice, taken: Notice, parts: int, ref: str, remark: str, members: Iterable[Notice], now: Now
) -> Change[Notice]:
    """A part of it has arrived; with the last one it is sent, and so are `members`, the rows that a storm contains."""
    remark = remark[:REASON_CHARS_MAX]
    if has_changed(row, taken):
        return Change(_said_before(row, ref, now))
    if row.part + 1 < parts:
        return Change(part_sent(row, ref, now))
    if remark and row.kind == "test":  # its owner asked whether it arrives
        return with_dead_event(dead(row, remark), now)
    there, *more = sent(row, ref, now)
    for member in members:
        more += (replace(member, state="sent", sent_at=now.wall, ref=there.ref), *next_reminder(member, now.wall))
    return Change(replace(there, last_error=remark), tuple(more))


def failed(
    row: Notice, reason: str, after_ms: int, members: Iterable[Notice], now: Now, *, is_refused: bool, is_partial: bool
) -> Change[Notice]:
    """It did not arrive: again later, or never if the service refused it. Of what is given up, reminders go on."""
    why = reason[:REASON_CHARS_MAX]
    if is_partial:  # some of several receivers get each try: the pauses grow longer
        after_ms = max(after_ms, retry_ms(row.id, row.attempts + 1, RETRY_AFTER_MAX_MS))
    change = with_dead_event(dead(row, why) if is_refused else put_off(row, why, after_ms, now), now)
    if change.noun.state != "dead":
        return change
    reminders = [one for one in (change.noun, *members) if one.cause == REMINDER]
    later = [after for one in reminders for after in next_reminder(one, now.wall, DEAD_REMINDER_MS)]
    # without its distance: sent again by its owner, it makes no second next one
    ended = {one.id: replace(one, facts=facts_of(nth=read_facts(one).get("nth"))) for one in reminders}
    return replace(change, noun=ended.pop(row.id, change.noun), save=(*ended.values(), *later))


def given_back(row: Notice) -> Change[Notice]:
    """It was taken, but not tried: it is free, and due as before."""
    return Change(replace(row, taken_until=0))


def part_sent(row: Notice, ref: str, now: Now) -> Notice:
    """One part of it has arrived; the rest follows."""
    return replace(row, part=row.part + 1, ref=_ref_after(row, ref), taken_until=now.wall + TAKEN_MS)


def sent(row: Notice, ref: str, now: Now) -> tuple[Notice, ...]:
    """It has arrived as a whole; a reminder has a next one."""
    there = replace(
        row,
        state="sent",
        attempts=row.attempts + 1,
        ref=_ref_after(row, ref),
        taken_until=0,
        last_error="",
        sent_at=now.wall,
    )
    return there, *next_reminder(row, now.wall)


def _said_before(row: Notice, ref: str, now: Now) -> Notice:
    """The message, of which an earlier version or a part of that has arrived: it is sent again from its beginning."""
    there = replace(row, ref=_ref_after(row, ref), taken_until=0, last_error="", sent_at=now.wall)
    return changed_again(there, row.cause, row.facts, now.wall)


def _ref_after(row: Notice, ref: str) -> str:
    """The ref of its first part: that of the message which was sent last in its place."""
    return row.ref if row.part else (ref or row.ref)


def next_reminder(row: Notice, wall: int, least_ms: int = 0) -> tuple[Notice, ...]:
    """The reminder after this one, in its distance or in this one if that is longer; none after anything else."""
    facts = read_facts(row) if row.cause == REMINDER else {}
    nth, every_ms = facts.get("nth"), facts.get("everyMs")
    if not (isinstance(nth, int) and isinstance(every_ms, int) and every_ms > 0):
        return ()
    after = reminder_after(row, nth + 1, every_ms, wall)
    at = max(after.due_at, wall + least_ms)
    return (replace(after, next_at=at, due_at=at),)


def put_off(row: Notice, reason: str, after_ms: int, now: Now) -> Notice:
    """It did not arrive, or that is unknown: again later, until it has been tried for too long."""
    attempts = row.attempts + 1
    wait_ms = max(retry_ms(row.id, attempts), min(after_ms, RETRY_AFTER_MAX_MS))
    is_too_old = now.wall + wait_ms - row.due_at > GIVE_UP_AFTER_MS
    if row.kind == "test" or (is_too_old and attempts >= TRIES_MIN):
        return dead(row, reason)
    return replace(row, attempts=attempts, next_at=now.wall + wait_ms, taken_until=0, last_error=reason)


def with_dead_event(notice: Notice, now: Now) -> Change[Notice]:
    """A row, with an event if it is dead: for the log; an error about sending never makes a notice."""
    if notice.state != "dead":
        return Change(notice)
    fields = {"noticeId": notice.id, "channel": notice.channel, "cause": notice.cause, "reason": notice.last_error}
    message = f"A notice to {notice.channel} could not be sent"
    story = {"task_id": notice.task_id, "daemon_id": notice.daemon_id}
    event = make_event(now, "notice.dead", message, fields, level="warning", component="Outbox", **story)
    return Change(notice, (), (event,))


def why_not_again(row: Notice, story: Iterable[Notice], incident: Incident | None, daemon: Daemon | None) -> str:
    """The reason that keeps an owner from sending it again; "": there is none.

    An alarm that was given up and is over by now would stay open at a receiver that joins by key.
    """
    is_announced = any((one.channel, one.level) == (row.channel, "recovered") for one in story)
    is_over = is_announced or (incident is not None and incident.state == "recovered")
    if row.state == "dead" and row.level in LOUD and row.incident_id and is_over:
        return "what it is about is over"
    return due_notices.why_moot(row, incident, daemon)


def resend(notice: Notice, by: str, now: Now) -> Change[Notice]:
    """An owner sends it again: due at once, unless it is being sent."""
    waiting = again(notice, now) if not notice.taken_until or notice.state == "dead" else notice
    fields = {"noticeId": notice.id, "channel": notice.channel, "by": by}
    message = f"A notice to {notice.channel} is sent again"
    return Change(waiting, (), (make_event(now, "notice.resent", message, fields, component="Outbox"),))


def reclaim(notice: Notice, channels: Collection[str], now: Now) -> Change[Notice]:
    """At the start of a hub, a row that nobody is sending: it is free; if its channel is no more, it is dead."""
    if notice.channel in channels:
        return Change(replace(notice, taken_until=0))
    return with_dead_event(dead(notice, f"there is no channel {notice.channel}"), now)


def dead(row: Notice, reason: str) -> Notice:
    """Trying again is useless, as far as is known: somebody has to look, and may send it again."""
    return replace(row, state="dead", attempts=row.attempts + 1, taken_until=0, last_error=reason)


def again(row: Notice, now: Now) -> Notice:
    """An owner sends it once more. One that was tried, or was due by itself, is still none that a route holds back."""
    attempts, due_at = min(row.attempts, 1), now.wall if row.attempts else min(row.due_at, now.wall)
    return replace(
        row, state="waiting", attempts=attempts, next_at=now.wall, due_at=due_at, taken_until=0, last_error=""
    )


def retry_ms(key: str, attempts: int, longest_ms: int = RETRY_MAX_MS) -> int:
    """1 s × 2ⁿ ± 20 %, at most `longest_ms`; the spread comes from the id, so the rule stays pure."""
    return round(spread(doubled_ms(RETRY_FIRST_MS, longest_ms, attempts - 1), dice_of(f"{key}/{attempts}"), 0.8, 1.2))
