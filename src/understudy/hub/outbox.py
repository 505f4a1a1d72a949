"""The outbox's part of a batch, and its operations: take what is due, settle it, send it again."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256

from msgspec import Struct

from understudy.coordinator import answers, outbox
from understudy.coordinator.changes import Decision, Draft, Event
from understudy.coordinator.links import LINK_KEPT_MS
from understudy.coordinator.notices import (
    DIGEST,
    FLAP_WINDOW_MS,
    LATE,
    LOUD,
    REMINDER,
    STORY,
    OutboxDraft,
    makes_notice,
    once_each,
    read_facts,
)
from understudy.coordinator.nouns import Daemon, Incident, Link, Notice, Now, Progress, Task
from understudy.errors import BadRequestError, ConflictError, NotFoundError
from understudy.hub.operation import HEAVY, Operation
from understudy.hub.working_set import ASTRAY_MAX, Needs, WorkingSet
from understudy.notify.base import Later, Outcome, Refused, Sent
from understudy.store.base import Transaction
from understudy.store.queries import ABOUT_DAEMON_MAX, INCIDENTS_OF_LATELY, notices_about
from understudy.wire.answers.notices import NoticeChanged, TestsAnswer, notice_json

LINK_PREFIX = "usl"


def outbox_rows(tx: Transaction, work: WorkingSet, now: Now) -> tuple[Notice, ...]:
    """The rows that the events of a batch add to the outbox. Called in each batch, so it is quick if there are none."""
    routes = work.policy.routes
    if not routes.channels:
        return ()
    noticed: list[Event] = []
    asked: list[tuple[Event, Task]] = []
    for event in work.events:
        if event.name in answers.WITH_MESSAGE:
            task = work.rows[Task].get(event.task_id)
            if task is not None and (task.reply_to or routes.reply_to):
                asked.append((event, task))
        if makes_notice(event):
            noticed.append(event)
    progressed = [(progress, task) for progress in _progressed(work) if (task := work.rows[Task].get(progress.task_id))]
    progressed = [(progress, task) for progress, task in progressed if task.reply_to or routes.reply_to]
    if not (noticed or asked or progressed):
        return ()
    box = OutboxDraft(
        routes, now, _known(tx, work, noticed, {task.id for _, task in (*asked, *progressed)}), _flaps(tx, noticed, now)
    )
    for progress, task in progressed:
        with suppress(Exception):  # one that fails is left out; the next one is not
            answers.add_progress(box, progress, task)
    for event, task in asked:
        with suppress(Exception):
            answers.add_answer(box, event, task)
    for event in once_each(noticed):
        _add(box, event)
    return tuple(box.changed.values())


def _add(box: OutboxDraft, event: Event) -> None:
    """Add what an event brings about; if that fails, its bare message: no change is undone, and no notice dropped."""
    try:
        box.add_event(event)
    except Exception:  # noqa: BLE001 - whatever it is: there is a notice that it happened
        box.add_plainly(event)


def _progressed(work: WorkingSet) -> list[Progress]:
    rows = work.rows[Progress]
    changed = work.dirty.get(Progress, ())
    return [row for key, row in rows.items() if row is not None and key in changed]


def _known(tx: Transaction, work: WorkingSet, noticed: list[Event], task_ids: set[str]) -> list[Notice]:
    """The earlier notices about the same incidents, tasks and daemons, with the changes of this batch."""
    ids = ("incidentId", "closedIncidentId")
    incidents = {str(event.fields[name]) for event in noticed for name in ids if name in event.fields}
    daemons = {event.daemon_id for event in noticed if event.name in STORY and event.daemon_id}
    rows = {row.id: row for row in notices_about(tx, incidents, task_ids, daemons)}
    rows |= {row.id: row for row in work.changed(Notice)}
    return list(rows.values())


def _flaps(tx: Transaction, noticed: list[Event], now: Now) -> dict[str, int]:
    """The number of recent incidents of each daemon, the one that begins with this batch included."""
    late = {event.daemon_id for event in noticed if event.name == LATE}
    since = now.wall - FLAP_WINDOW_MS, now.h - FLAP_WINDOW_MS  # a clock that was ahead has left incidents to come
    return {
        daemon_id: tx.count(INCIDENTS_OF_LATELY, daemon_id, *since, limit=ABOUT_DAEMON_MAX) + 1 for daemon_id in late
    }


class Outgoing(Struct, frozen=True):
    """The message that a channel is to be sent now; `links` are (purpose, secret)."""

    notice: Notice
    edits: str = ""
    thread: str = ""
    members: tuple[Notice, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


class TakeNotice(Operation):
    """Take the next message of a channel, so that no other hub sends it meanwhile. The answer: an Outgoing or None."""

    weight = HEAVY

    def __init__(self, channel: str) -> None:
        self.channel = channel

    def needs(self, needs: Needs) -> None:
        """The rows that are due."""
        needs.outboxes.add(self.channel)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The stories of what is due, and the daemons of reminders and digests."""
        for row in work.outboxes[self.channel].due:
            if row.cause in (REMINDER, DIGEST):
                needs.row(Daemon, row.daemon_id)
            if row.incident_id:
                needs.row(Incident, row.incident_id)
            needs.stories.add((row.incident_id, row.task_id))
            if row.cause == outbox.STORM:
                needs.storms.add(row.id)

    def details(self, work: WorkingSet, needs: Needs) -> None:
        """The storms that contain some of these rows and are not sent yet."""
        for row in work.rows[Notice].values():
            if row is not None and row.folded_into and not row.sent_at:
                needs.row(Notice, row.folded_into)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Choose, note that it is taken, and make its links."""
        found = work.outboxes[self.channel]
        due = [row for row in (work.rows[Notice].get(r.id, r) for r in found.due) if row and row.state == "waiting"]
        siblings = [row for row in work.rows[Notice].values() if row is not None]
        incidents = {row.id: row for row in work.rows[Incident].values() if row is not None}
        daemons = {row.id: row for row in work.rows[Daemon].values() if row is not None}
        facts = outbox.OutboxFacts(siblings, incidents, found.recent, work.policy.routes, daemons)
        chosen = outbox.choose(due, facts, now)
        if chosen.notice is None:
            return Decision(save=chosen.save)
        links, rows = self._links(work, chosen.notice, now)
        members = chosen.members or tuple(work.members.get(chosen.notice.id, ()))
        outgoing = Outgoing(chosen.notice, chosen.edits, chosen.thread, members, links)
        return Decision(outgoing, (*chosen.save, *rows))

    @staticmethod
    def _links(work: WorkingSet, notice: Notice, now: Now) -> tuple[tuple[tuple[str, str], ...], tuple[Link, ...]]:
        if not work.policy.routes.public_url:
            return (), ()
        subjects: tuple[tuple[str, str], ...] = ()
        if notice.kind == "answer" and notice.cause in answers.READABLE:
            subjects = (("read", notice.task_id),)
        elif notice.level in LOUD and notice.incident_id.startswith("incident-"):
            subjects = (("acknowledge", notice.incident_id), ("snooze", notice.incident_id))
        secrets = tuple((purpose, work.ids.secret(LINK_PREFIX)) for purpose, _ in subjects)
        made_at = read_facts(notice).get(answers.ASKED_AT, now.wall)
        rows = tuple(
            Link(hash_of_link(secret), purpose, subject, made_at, now.wall + LINK_KEPT_MS)
            for (purpose, subject), (_, secret) in zip(subjects, secrets, strict=True)
        )
        return secrets, rows


def hash_of_link(secret: str) -> str:
    """The stored form of a link: its secret is random, so no slower hash is needed."""
    return sha256(secret.encode()).hexdigest()


class SettleNotice(Operation):
    """The outcome of one part of a message. The answer is the row afterwards."""

    is_last_word = True

    def __init__(self, taken: Notice, outcome: Outcome, parts: int = 1) -> None:
        self.taken = taken
        self.outcome = outcome
        self.parts = parts

    def needs(self, needs: Needs) -> None:
        """The row, and those that it contains if it is a storm."""
        needs.row(Notice, self.taken.id)
        if self.taken.cause == outbox.STORM:
            needs.storms.add(self.taken.id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Sent is sent, each part once; any other outcome counts only from the hub that has it taken."""
        row = work.get(Notice, self.taken.id)
        if row is None or row.part != self.taken.part or not self._is_open(row):
            return Decision(row)
        if isinstance(self.outcome, Sent):
            members = work.members.get(row.id, ())
            ref, remark = self.outcome.ref, self.outcome.remark
            change = outbox.arrived(row, self.taken, self.parts, ref, remark, members, now)
            return change.decision(change.noun)
        if not outbox.is_same_take(row, self.taken):
            return Decision(row)
        later = self.outcome if isinstance(self.outcome, Later) else Later("")
        is_refused = isinstance(self.outcome, Refused)
        members, reason = work.members.get(row.id, ()), self.outcome.reason
        change = outbox.failed(
            row, reason, later.after_ms, members, now, is_refused=is_refused, is_partial=later.is_partial
        )
        return change.decision(change.noun)

    def _is_open(self, row: Notice) -> bool:
        """True while it waits; a digest that another one has followed meanwhile may still have arrived."""
        is_followed = row.state == "folded" and row.cause == DIGEST and outbox.is_same_take(row, self.taken)
        return row.state == "waiting" or (is_followed and isinstance(self.outcome, Sent))


class ReturnNotice(Operation):
    """A message that was taken, and that this hub does not send any more: another one need not wait for it."""

    is_last_word = True

    def __init__(self, taken: Notice) -> None:
        self.taken = taken

    def needs(self, needs: Needs) -> None:
        """The row."""
        needs.row(Notice, self.taken.id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Free it, unless somebody else has it by now."""
        row = work.get(Notice, self.taken.id)
        if row is None or row.state != "waiting" or not outbox.is_same_take(row, self.taken):
            return Decision(row)
        change = outbox.given_back(row)
        return change.decision(change.noun)


class ReclaimNotices(Operation):
    """At the start of a hub: what nobody is sending is free, and what goes to a channel that is no more is dead.

    The only hub of a store has taken all that is taken, in an earlier life. Where there may be others, what a dead one
    has taken is free after a minute by itself, and a channel that only they know may be theirs: what goes there is
    dead when it would be given up anyway.
    """

    weight = HEAVY

    def __init__(self, *, is_shared: bool = False) -> None:
        self.is_shared = is_shared

    def needs(self, needs: Needs) -> None:
        """The rows that were taken, or have no channel."""
        needs.astray = not self.is_shared

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The rows that have no channel here and are long due."""
        needs.forgotten = self.is_shared

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Free it. The answer says whether there may be more."""
        draft = Draft()
        for row in work.astray:
            draft.take(outbox.reclaim(row, work.policy.routes.channels, now))
        return draft.decision(len(work.astray) >= ASTRAY_MAX)


class ResendNotice(Operation):
    """An owner sends a dead letter again, or hurries a waiting one."""

    def __init__(self, notice_id: str, by: str) -> None:
        self.notice_id = notice_id
        self.by = by

    def needs(self, needs: Needs) -> None:
        """The row."""
        needs.row(Notice, self.notice_id)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The daemon, incident or task that it is about."""
        row = work.get(Notice, self.notice_id)
        if row is not None and row.incident_id:
            needs.row(Incident, row.incident_id)
            needs.stories.add((row.incident_id, ""))
        if row is not None and row.daemon_id:
            needs.row(Daemon, row.daemon_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Due at once."""
        row = work.get(Notice, self.notice_id)
        if row is None:
            raise NotFoundError("Notice not found")
        if row.state not in ("dead", "waiting"):
            raise ConflictError(f"Notice is {row.state}: there is nothing to send again", "not_resendable")
        if row.channel not in work.policy.routes.channels:
            raise ConflictError(f"There is no channel {row.channel} any more", "no_channel")
        story = [one for one in work.rows[Notice].values() if one and one.incident_id == row.incident_id]
        incident, daemon = work.rows[Incident].get(row.incident_id), work.rows[Daemon].get(row.daemon_id)
        why = outbox.why_not_again(row, story, incident, daemon)
        if why:
            raise ConflictError(f"Notice is not sent again: {why}", "not_resendable")
        change = outbox.resend(row, self.by, now)
        return change.decision(NoticeChanged(success=True, notice=notice_json(change.noun)))


class SendTestNotice(Operation):
    """One message to a channel, or to each, to see whether it arrives. It is tried once."""

    def __init__(self, channel: str) -> None:
        self.channel = channel

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """A row each."""
        known = work.policy.routes.channels
        names = (self.channel,) if self.channel else known
        if not known:
            raise ConflictError("No channel is configured", "no_channel")
        if not set(names) <= set(known):
            raise BadRequestError("Validation failed", (f"channel: Expected one of {', '.join(known)}",))
        rows = tuple(
            Notice(work.ids.new("notice"), name, "test", "test", next_at=now.wall, due_at=now.wall, created_at=now.wall)
            for name in names
        )
        return Decision(TestsAnswer([notice_json(row) for row in rows]), rows)
