"""Links that act: one purpose, expiring, known by the hash of their secret. Looking at one changes nothing."""

from __future__ import annotations

from msgspec import Struct

from understudy.coordinator import links
from understudy.coordinator.changes import Decision, Draft
from understudy.coordinator.nouns import Incident, Link, Now, Result, Task
from understudy.coordinator.takeover_nouns import TaskTakeover
from understudy.errors import NotFoundError
from understudy.hub.incidents import AcknowledgeIncident, SnoozeIncident
from understudy.hub.messages import text_of
from understudy.hub.operation import Operation
from understudy.hub.outbox import hash_of_link
from understudy.hub.working_set import Needs, WorkingSet
from understudy.store.base import Reader
from understudy.wire.answers.base import DONE

BY = "link"
GONE = "This link is unknown or has expired"


class EmptyLinkError(NotFoundError):
    """A link of this hub with nothing to show or do any more; following it is no guess."""


class LinkShown(Struct, frozen=True):
    """The subject of a link, for its page."""

    purpose: str
    subject: str
    daemon_id: str = ""
    state: str = ""
    text: str = ""
    degraded: bool = False
    is_used: bool = False


def shown_by(reader: Reader, secret: str, wall: int) -> LinkShown:
    """The page of a link; NotFoundError if it is unknown, EmptyLinkError once it has expired."""
    found = reader.load_many(Link, (hash_of_link(secret),))
    if not found:
        raise NotFoundError(GONE)
    link = found[0]
    shown = None
    if wall < link.expires_at:
        shown = _answer_shown(reader, link) if link.purpose == "read" else _incident_shown(reader, link)
    if shown is None:
        raise EmptyLinkError(GONE)
    return shown


def _incident_shown(reader: Reader, link: Link) -> LinkShown | None:
    """The incident, as long as it is kept."""
    for incident in reader.load_many(Incident, (link.subject,)):
        return LinkShown(link.purpose, link.subject, incident.daemon_id, incident.state, is_used=bool(link.used_at))
    return None


def _answer_shown(reader: Reader, link: Link) -> LinkShown | None:
    """The result of the task, or its interim answer until there is one."""
    for task in reader.load_many(Task, (link.subject,)):
        if not links.is_answer_of(link, task):
            return None
        for result in reader.load_many(Result, (task.id,)):
            text = text_of(result.output) or text_of(result.error)
            return LinkShown(link.purpose, task.id, task.daemon_id, task.status, text, bool(result.degraded))
        for done in reader.load_many(TaskTakeover, (task.id,)):
            if done.interim_answer:
                text = text_of(done.interim_answer)
                return LinkShown(link.purpose, task.id, task.daemon_id, task.status, text, degraded=True)
    return None


class FollowLink(Operation):
    """`POST` of a link: does what it is for; doing it twice does nothing the second time."""

    def __init__(self, secret: str) -> None:
        self.hash = hash_of_link(secret)

    def needs(self, needs: Needs) -> None:
        """The link."""
        needs.row(Link, self.hash)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The row that it acts on."""
        link = work.get(Link, self.hash)
        act = _act_of(link)
        if act is not None:
            act.needs(needs)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Act; NotFoundError if it is unknown, EmptyLinkError if it has expired or only shows something."""
        link = work.get(Link, self.hash)
        act = _act_of(link)
        if link is None:
            raise NotFoundError(GONE)
        if act is None or not links.is_good(link, now):
            raise EmptyLinkError(GONE)
        if link.used_at:
            return Decision(DONE)
        done, draft = act.decide(work, now), Draft()
        draft.add((*done.save, links.used(link, now)), done.events)
        return draft.decision(done.answer)


def _act_of(link: Link | None) -> Operation | None:
    """The operation that a link stands for."""
    if link is None:
        return None
    if link.purpose == "acknowledge":
        return AcknowledgeIncident(link.subject, BY)
    return SnoozeIncident(link.subject, links.SNOOZE_MS, BY) if link.purpose == "snooze" else None
