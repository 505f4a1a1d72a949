"""Queries as data: the same words for every backend, which writes only its own placeholders.

`?` stands for a value and `IN ?` for a collection of texts. A condition that follows from another, such as
`dedup_key <> ''`, is there because a partial index has it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from understudy.coordinator.nouns import (
    Attempt,
    Boot,
    Daemon,
    Deployment,
    Directive,
    Evidence,
    Incident,
    Key,
    Memory,
    Notice,
    Period,
    Progress,
    Session,
    Task,
)
from understudy.coordinator.samples import Sample
from understudy.coordinator.takeover_nouns import Reservation

N = TypeVar("N", bound=Struct)
ABOUT_DAEMON_MAX = 200
_QUEUE = "order_key, id"


class Query(Struct, Generic[N], frozen=True):
    """Rows of one noun: a condition, and their order."""

    noun: type[N]
    where: str = "1 = 1"
    order: str = ""


class Series(Struct, Generic[N], frozen=True):
    """Rows of one noun gathered by buckets of time: the column of their instant, and an aggregate for each value.

    Values are whole numbers. What is written here every backend understands.
    """

    noun: type[N]
    at: str
    values: tuple[str, ...]
    where: str = "1 = 1"


READY = Query(Task, "ready = 1", _QUEUE)
READY_FROM = Query(Task, "ready = 1 AND (order_key, id) >= (?, ?)", _QUEUE)
READY_BEFORE = Query(Task, "ready = 1 AND (order_key, id) < (?, ?)", _QUEUE)
WAITING_FOR_ANY = Query(Task, "waiting_for <> ''", _QUEUE)
WAITING_FOR = Query(Task, "waiting_for <> '' AND waiting_for IN ?", _QUEUE)  # daemons
WAITING_WITH = Query(Task, "waiting_for <> '' AND waiting_for = ? AND needs IN ?", _QUEUE)  # a daemon, sets of needs
HELD_BY = Query(Task, "status = 'leased' AND daemon_id <> '' AND daemon_id IN ?")
RUNNING = Query(Task, "status = 'leased' AND expires_h > 0", "claimed_at, id")
DELAYED = Query(Task, "status = 'queued' AND ready = 0 AND waiting_for = ''")
CLAIMED_WITH = Query(Task, "status = 'leased' AND request_id <> '' AND request_id IN ?", _QUEUE)
BY_DEDUP = Query(Task, "dedup_key <> '' AND submitter = ? AND dedup_key = ?")
LAST_ATTEMPTS_OF = Query(Attempt, "task_id = ?", "token DESC")
EVIDENCE_OF = Query(Evidence, "task_id = ?", "at DESC, id")

AILING = tuple(  # the worst first
    Query(Daemon, f"state <> 'healthy' AND state = '{state}'", "id") for state in ("down", "stuck", "late")
)
SEEN_IN = Query(Daemon, "last_seen_h > ? AND last_seen_h <= ?", "id")
SUPERSEDED_BOOTS = Query(Boot, "daemon_id IN ?")  # these never become current again
OPEN_DIRECTIVES = Query(Directive, "ended_at = 0 AND daemon_id IN ?", "asked_at, id")
DIRECTIVES_OF = Query(Directive, "daemon_id = ?", "asked_at DESC, id DESC")
DEPLOYMENTS = Query(Deployment, order="created_at DESC, version_id DESC")
HUBS_SEEN = Query(  # between two instants, however long ago they were started
    Deployment, "ended_at = 0 AND seen_at > ? AND seen_at < ?", DEPLOYMENTS.order
)

INCIDENTS = Query(Incident, order="opened_at DESC, id DESC")
INCIDENTS_BEFORE = Query(Incident, "(opened_at, id) < (?, ?)", INCIDENTS.order)
INCIDENTS_OF = Query(Incident, "daemon_id = ? AND opened_at >= ?", "opened_at")
INCIDENTS_OF_LATELY = Query(Incident, f"{INCIDENTS_OF.where} AND late_h >= ?", "opened_at")  # by both times
INCIDENTS_OF_BEFORE = Query(Incident, "daemon_id = ? AND (opened_at, id) < (?, ?)", INCIDENTS.order)
INCIDENTS_OPEN = Query(Incident, "recovered_at = 0", INCIDENTS.order)
INCIDENTS_SINCE = Query(Incident, "late_h >= ?")

PERIODS = Query(Period, "to_at > 0 AND to_at > ?", "to_at DESC")  # that ended after an instant, gaps included
PERIODS_OF = Query(Period, "daemon_id = ? AND to_at > ?", "from_at DESC")

VALID_KEYS = Query(Key, "revoked_at = 0", "created_at, id")
REVOKED_KEYS = Query(Key, "revoked_at > 0", "revoked_at DESC, id DESC")

SESSIONS_OF = Query(Session, "key_id = ?", "seen_at DESC, id")
SESSIONS = Query(Session, order="seen_at DESC, id")
SESSIONS_NOT_ENDED = Query(Session, "ended_at = 0", SESSIONS.order)

MESSAGES = Query(Memory, "user_id = ? AND owner = ? AND (? = '' OR channel = ?)", "created_at DESC, id DESC")

NOTICES = Query(Notice, order="created_at DESC, id DESC")
NOTICES_BEFORE = Query(Notice, "(created_at, id) < (?, ?)", NOTICES.order)
NOTICES_IN = Query(Notice, "state = ? AND (created_at, id) < (?, ?)", NOTICES.order)
NOTICES_SENT = Query(  # as messages of their own to a channel since then; answers and recoveries are none
    Notice,
    "kind = 'notice' AND sent_at > 0 AND target = ? AND sent_at > ? AND folded_into = '' AND level <> 'recovered'",
    "sent_at DESC, id",
)
NOTICES_LISTED_SINCE = Query(Notice, "created_at > ?", NOTICES.order)
NOTICES_FOLDED_INTO = Query(Notice, "folded_into <> '' AND folded_into IN ?", "id")
NOTICES_ASTRAY = Query(  # a hub had taken it, or its channel is none of these
    Notice, "state = 'waiting' AND (taken_until > 0 OR NOT target IN ?)", "id"
)
NOTICES_FORGOTTEN = Query(  # due before an instant, to none of these channels, and nobody is sending it
    Notice, "state = 'waiting' AND NOT target IN ? AND due_at < ? AND taken_until <= ?", "id"
)
_OF_INCIDENTS = Query(Notice, "incident_id <> '' AND incident_id IN ?")
_OF_TASKS = Query(Notice, "task_id <> '' AND task_id IN ?")
_OF_DAEMON = Query(  # what its later notices depend on; the index `notice_story` has the same words
    Notice,
    "daemon_id = ? AND cause IN ('daemon.stuck', 'digest') AND (cause = 'daemon.stuck' OR state = 'waiting')",
    "created_at DESC",
)

SAMPLED = Series(
    Sample,
    "at",
    (
        *("max(waiting)", "max(leased)", "max(oldest_ms)", "sum(beats)", "sum(requests)"),
        *("sum(commits)", "sum(commit_ms)", "max(commit_max_ms)"),
    ),
)
_FREE_AT = "CASE WHEN available_at > queued_at THEN available_at ELSE queued_at END"
_PICKUP, _RUN = f"claimed_at - {_FREE_AT}", "finished_at - claimed_at"
FINISHED_TASKS = Series(  # by their end; what was never claimed was never picked up
    Task,
    "finished_at",
    ("count(*)", f"sum({_PICKUP})", f"max({_PICKUP})", f"sum({_RUN})", f"max({_RUN})"),
    f"finished_at > 0 AND claimed_at >= {_FREE_AT} AND finished_at >= claimed_at",
)
SPENT = Series(Reservation, "settled_at", ("count(*)", "sum(spent_micro_usd)"), "settled_at > 0")

OPEN_CALLS = Query(Reservation, "settled_at = 0", "at, id")
SETTLED_CALLS = Query(Reservation, "settled_at > 0", "settled_at DESC, id DESC")


class Finder(Protocol):
    """The part of a reader that these need."""

    def find(self, query: Query[N], *values: Any, limit: int = 0) -> list[N]:
        """The rows, in the order of the query; 0: all of them."""
        ...


class Part(Struct, frozen=True):
    """The part of a conversation that is read: characters of each message, and of all together."""

    message_chars: int
    chars: int


class PartFinder(Protocol):
    """The part of a reader that brings no more of long texts than is used."""

    def last_said(self, conversation: tuple[str, str, str], part: Part, limit: int) -> list[Memory]:
        """The last messages of (owner, user, channel; "": any), newest first, as many as `part` has room for.

        The last one may go beyond it; each is cut at its end, without its metadata.
        """
        ...

    def progress_shown(self, task_ids: Collection[str], chars: int) -> list[Progress]:
        """The progress of these tasks without checkpoints; "" for one that is longer."""
        ...


def queue_front(reader: Finder, limit: int) -> list[Task]:
    """The first tasks that wait for a worker, reserved ones included, in the order of the queue."""
    return in_queue_order(reader.find(READY, limit=limit), reader.find(WAITING_FOR_ANY, limit=limit))[:limit]


def in_queue_order(*lines: list[Task]) -> list[Task]:
    """Several lines as one."""
    return sorted((task for line in lines for task in line), key=lambda task: (task.order_key, task.id))


def notices_about(
    reader: Finder, incident_ids: Collection[str], task_ids: Collection[str], daemon_ids: Collection[str]
) -> list[Notice]:
    """All notices about these incidents and tasks, and about what these daemons were stuck with; waiting digests."""
    of_daemons = [row for one in daemon_ids for row in reader.find(_OF_DAEMON, one, limit=ABOUT_DAEMON_MAX)]
    stories = {*incident_ids, *(row.incident_id for row in of_daemons)} - {""}
    found = of_daemons + (reader.find(_OF_TASKS, task_ids) if task_ids else [])
    found += reader.find(_OF_INCIDENTS, stories) if stories else []
    return list({row.id: row for row in found}.values())
