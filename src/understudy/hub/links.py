"""Links that act: one purpose, expiring, known by the hash of their secret. Looking at one changes nothing."""

from __future__ import annotations

from msgspec import Struct

from understudy.coordinator import links
from understudy.coordinator.changes import Decision, Draft
from understudy.coordinator.nouns import Incident, Link, Now, Result, Task
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
    """The page of a link; NotFoundError once it has expired."""
    found = reader.load_many(Link, (hash_of_link(secret),))
    if not found or found[0].expires_at <= wall:
        raise NotFoundError(GONE)
    link = found[0]
    if link.purpose != "read":
        incidents = reader.load_many(Incident, (link.subject,))
        if not incidents:
            raise NotFoundError(GONE)
        incident = incidents[0]
        return LinkShown(link.purpose, link.subject, incident.daemon_id, incident.state, is_used=bool(link.used_at))
    tasks, results = reader.load_many(Task, (link.subject,)), reader.load_many(Result, (link.subject,))
    if not tasks or not results or not links.is_answer_of(link, tasks[0]):
        raise NotFoundError(GONE)
    text = text_of(results[0].output) or text_of(results[0].error)
    return LinkShown(link.purpose, link.subject, tasks[0].daemon_id, tasks[0].status, text, bool(results[0].degraded))


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
        """Act; NotFoundError once it has expired."""
        link = work.get(Link, self.hash)
        act = _act_of(link)
        if link is None or act is None or not links.is_good(link, now):
            raise NotFoundError(GONE)
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
