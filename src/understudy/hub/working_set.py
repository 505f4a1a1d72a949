"""The rows that a batch loaded and locked, as the decisions made in it so far have left them."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from heapq import merge
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from understudy.coordinator.changes import Decision, Event
from understudy.coordinator.nouns import LEASED, Boot, Directive, Notice, Now, Policy, Session, Task, TaskBody
from understudy.coordinator.outbox import GIVE_UP_AFTER_MS, RECENT_MAX, STORM_WINDOW_MS
from understudy.coordinator.takeover_nouns import DaemonGroup, Reservation
from understudy.hub.bounds import Bounds
from understudy.hub.claim_room import ClaimRoom
from understudy.ids import IdMaker
from understudy.store.base import Candidates, Claimant, Deadlines, Due, Transaction
from understudy.store.needs import candidates_of_each
from understudy.store.queries import (
    BY_DEDUP,
    CLAIMED_WITH,
    HELD_BY,
    NOTICES_ASTRAY,
    NOTICES_FOLDED_INTO,
    NOTICES_FORGOTTEN,
    NOTICES_SENT,
    OPEN_CALLS,
    OPEN_DIRECTIVES,
    READY,
    SESSIONS_NOT_ENDED,
    SUPERSEDED_BOOTS,
    WAITING_FOR,
    Part,
    notices_about,
    queue_front,
)
from understudy.store.tables import KEY_OF, LOCKED

N = TypeVar("N", bound=Struct)

MEMORY_READ_MAX = 200
CALLS_READ_MAX = 1000
RESERVED_MAX = 10_000  # that wait for a daemon which is forgotten
OUTBOX_DUE_MAX = 1000
ASTRAY_MAX = 500
SESSIONS_READ_MAX = 10_000
FOLLOWED = frozenset((Task, Boot, Directive))  # what later requests of a batch find by more than the key


class TakeoverNeeds(Struct):
    """The needs of takeover beside single rows: open calls, all daemons, tasks that it may answer or keep."""

    daemons: bool = False
    candidates: set[Candidates] = set()
    queue_head: int = 0


class Needs(Struct):
    """The rows that the requests of a batch need from the store, all at once."""

    room: bool = False
    daemon_count: bool = False
    key_count: bool = False
    new_needs: set[str] = set()
    rows: dict[type[Struct], set[Any]] = {}
    names: set[str] = set()  # to be locked where there is no row yet that could be
    claims: dict[Claimant, int] = {}  # the number of tasks that each may get
    reserved_for: set[str] = set()  # daemons that are no more: all that waits for them
    held: set[str] = set()
    requests: set[str] = set()
    dedups: set[tuple[str, str]] = set()
    boots: set[str] = set()
    directives: set[str] = set()
    memories: dict[tuple[str, str, str], Part] = {}  # how much of each conversation
    all_messages_of: set[str] = set()
    takeover: TakeoverNeeds | None = None
    due_limit: int = 0
    ready_count_max: int = 0
    deadlines: bool = False
    outboxes: set[str] = set()
    stories: set[tuple[str, str]] = set()
    storms: set[str] = set()
    astray: bool = False
    forgotten: bool = False
    sessions: bool = False  # all that have not ended

    def row(self, noun: type[Struct], key: Any) -> None:
        """One row by key."""
        wanted = self.rows.get(noun)
        if wanted is None:
            self.rows[noun] = {key}
        else:
            wanted.add(key)

    def add_takeover(self, candidates: Sequence[Candidates] = (), head: int = 0, *, daemons: bool = True) -> None:
        """The needs of takeover; `head`: so many of the first tasks of the queue."""
        self.takeover = self.takeover or TakeoverNeeds()
        self.takeover.daemons = self.takeover.daemons or daemons
        self.takeover.candidates.update(candidates)
        self.takeover.queue_head = max(self.takeover.queue_head, head)

    def claimable(self, provides: frozenset[str], names: frozenset[str], count: int) -> None:
        """`count` tasks for a worker that provides these tags and answers to these names."""
        self.claims[provides, names] = self.claims.get((provides, names), 0) + count


NOTHING = Needs()


class DueOutbox(Struct, frozen=True):
    """The rows that are due for a channel, and those it got recently, oldest first."""

    due: list[Notice]
    recent: list[Notice]


class WorkingSet:
    """Rows by noun and key, candidates for claims, and what has been decided so far."""

    def __init__(self, policy: Policy, ids: IdMaker) -> None:
        self.policy = policy
        self.ids = ids
        self.rows: defaultdict[type[Struct], dict[Any, Any]] = defaultdict(dict)
        self.candidates: dict[frozenset[str], list[str]] = {}  # ids by what is provided, in queue order
        self.reserved: dict[str, list[str]] = {}  # ids by the daemon that they wait for
        self.claim_room = ClaimRoom()
        self.held: dict[str, set[str]] = {}
        self.requests: dict[str, list[str]] = {}
        self.dedups: dict[tuple[str, str], str] = {}
        self.boots: dict[str, set[str]] = {}
        self.directives: dict[str, list[str]] = {}  # the ids of those not ended, by daemon, oldest first
        self.memories: dict[tuple[str, str, str], list[Any]] = {}
        self.message_ids: dict[str, list[str]] = {}
        self.daemon_groups: list[DaemonGroup] = []
        self.found: dict[Candidates, list[str]] = {}
        self.queue_head: list[str] = []
        self.now = Now(0, 0)  # from the second round on
        self.silence_h = 0  # until then it is known who was silent: `now.h`, unless this hub is deaf
        self.due = Due([], [], [])
        self.ready_count = 0
        self.deadlines: Deadlines | None = None
        self.silent_lately: frozenset[str] = frozenset()
        self.bounds = Bounds(policy)
        self.outboxes: dict[str, DueOutbox] = {}
        self.members: dict[str, list[Notice]] = {}
        self.astray: list[Notice] = []
        self.dirty: defaultdict[type[Struct], dict[Any, Any]] = defaultdict(dict)  # changed rows; None is a removal
        self.events: list[Event] = []
        self.reported_before: frozenset[str] | set[str] = frozenset()  # rows that could not be judged (hub/unjudged.py)
        self.reported_now: set[str] = set()
        self.looked_for: defaultdict[type[Struct], set[Any]] = defaultdict(set)  # of those locked: here, or not there

    def get(self, noun: type[N], key: Any) -> N | None:
        """The row as it stands now, or None; a key that nobody asked for is a KeyError: a rule forgot a need."""
        found: N | None = self.rows[noun][key]
        return found

    def load(self, tx: Transaction, needs: Needs) -> None:
        """Load everything asked for that is not here yet."""
        if needs == NOTHING:
            return
        if needs.names:
            tx.lock(needs.names)
        self._load_rows(tx, needs.rows)
        if needs.claims or needs.reserved_for:
            self._load_candidates(tx, needs)
        if needs.held or needs.requests:
            self._load_leases(tx, needs)
        for pair in needs.dedups:
            for task in tx.find(BY_DEDUP, *pair):
                self.dedups[pair] = self._keep(task)
        if needs.boots:
            for boot in tx.find(SUPERSEDED_BOOTS, needs.boots):
                self.boots.setdefault(boot.daemon_id, set()).add(boot.boot_id)
        if needs.directives:
            self._load_directives(tx, needs.directives)
        self.bounds.load(tx, needs.new_needs, room=needs.room, daemons=needs.daemon_count, keys=needs.key_count)
        self._load_notices(tx, needs)
        self._load_rest(tx, needs)

    def reload(self, tx: Transaction) -> None:
        """All rows that are here once more, after they were moved in the store."""
        here = {noun: set(rows) for noun, rows in self.rows.items()}
        self.rows.clear()
        self._load_rows(tx, here)

    def _load_rows(self, tx: Transaction, wanted: Mapping[type[Struct], set[Any]]) -> None:
        """The rows that are not here yet, first those that are locked, in their order; None: it is not there."""
        missing: dict[type[Struct], set[Any]] = {}
        for noun, keys in wanted.items():
            if new := keys.difference(self.rows[noun]):
                missing[noun] = new
                self.rows[noun] |= dict.fromkeys(new)
                if noun in LOCKED:
                    self.looked_for[noun] |= new
        if not missing:
            return
        if len(missing) > 1:
            missing = {noun: missing[noun] for noun in LOCKED if noun in missing} | missing
        for noun, rows in tx.load_each(missing).items():
            self.rows[noun].update(zip(map(KEY_OF[noun], rows), rows, strict=True))

    def _load_candidates(self, tx: Transaction, needs: Needs) -> None:
        ready, reserved = tx.offered(needs.claims) if needs.claims else ({}, [])
        for provides, tasks in ready.items():
            self.candidates[provides] = [self._keep(task) for task in tasks]
            if len(tasks) >= candidates_of_each(sum(needs.claims.values()), len(ready)):
                self.claim_room.cut.add(provides)
        if needs.reserved_for:
            known = {task.id for task in reserved}
            waiting = tx.find(WAITING_FOR, needs.reserved_for, limit=RESERVED_MAX + 1)
            reserved += [task for task in waiting if task.id not in known]
        for task in reserved:
            self.reserved.setdefault(task.waiting_for, []).append(self._keep(task))

    def _load_leases(self, tx: Transaction, needs: Needs) -> None:
        for daemon_id in needs.held:
            self.held.setdefault(daemon_id, set())
        if needs.held:
            for task in tx.find(HELD_BY, needs.held):
                self.held[task.daemon_id].add(self._keep(task))
        if needs.requests:
            for task in tx.find(CLAIMED_WITH, needs.requests):
                self.requests.setdefault(task.request_id, []).append(self._keep(task))

    def _load_directives(self, tx: Transaction, daemon_ids: set[str]) -> None:
        for daemon_id in daemon_ids:
            self.directives.setdefault(daemon_id, [])
        for directive in tx.find(OPEN_DIRECTIVES, daemon_ids):
            self.rows[Directive].setdefault(directive.id, directive)
            if directive.id not in self.directives[directive.daemon_id]:
                self.directives[directive.daemon_id].append(directive.id)

    def open_directives(self, daemon_id: str) -> list[Directive]:
        """Those of a daemon that were open when this batch began or were asked in it, as they stand now."""
        found = (self.rows[Directive][key] for key in self.directives.get(daemon_id, ()))
        return [directive for directive in found if directive is not None]

    def sessions(self) -> list[Session]:
        """Those that are here and have not ended, as they stand now; all of them after `needs.sessions`."""
        rows = self.rows[Session].values()
        return [row for row in rows if row is not None and not row.ended_at]

    def _load_notices(self, tx: Transaction, needs: Needs) -> None:
        if needs.stories:
            incidents, tasks = ({ids[n] for ids in needs.stories} - {""} for n in (0, 1))
            for notice in notices_about(tx, incidents, tasks, ()):
                self.rows[Notice].setdefault(notice.id, notice)
        if needs.storms:
            self.members |= {storm: [] for storm in needs.storms}
            for notice in tx.find(NOTICES_FOLDED_INTO, needs.storms):
                self.members[notice.folded_into].append(notice)
        if needs.astray:
            self.astray = tx.find(NOTICES_ASTRAY, self.policy.routes.channels, limit=ASTRAY_MAX)
        if needs.forgotten:
            before, wall = self.now.wall - GIVE_UP_AFTER_MS, self.now.wall
            self.astray = tx.find(NOTICES_FORGOTTEN, self.policy.routes.channels, before, wall, limit=ASTRAY_MAX)

    def _load_rest(self, tx: Transaction, needs: Needs) -> None:
        if needs.ready_count_max:
            self.ready_count = tx.count(READY, limit=needs.ready_count_max)
        if needs.deadlines:
            self.deadlines = tx.next_deadlines()
        if needs.sessions:
            for session in tx.find(SESSIONS_NOT_ENDED, limit=SESSIONS_READ_MAX):
                self.rows[Session].setdefault(session.id, session)
        if needs.takeover is not None:
            self._load_takeover(tx, needs.takeover)
        for conversation, part in needs.memories.items():
            self.memories[conversation] = tx.last_said(conversation, part, MEMORY_READ_MAX)
        for user_id in needs.all_messages_of:
            self.message_ids[user_id] = tx.message_ids(user_id)

    def _load_takeover(self, tx: Transaction, takeover: TakeoverNeeds) -> None:
        if takeover.daemons and not self.daemon_groups:
            self.daemon_groups = tx.daemon_groups()
        for call in tx.find(OPEN_CALLS, limit=CALLS_READ_MAX):
            self.rows[Reservation].setdefault(call.id, call)
        for wanted in takeover.candidates:
            self.found[wanted] = [self._keep(task) for task in tx.candidates(wanted, self.now.h)]
        if takeover.queue_head:
            self.queue_head = [self._keep(task) for task in queue_front(tx, takeover.queue_head)]

    def _keep(self, task: Task) -> str:
        self.looked_for[Task].add(task.id)
        self.rows[Task].setdefault(task.id, task)
        if self.rows[Task][task.id] is None:
            self.rows[Task][task.id] = task
        return task.id

    def load_due(self, due: Due) -> None:
        """Add the rows that the alarm found; rows that are already loaded stay as they are."""
        self.due = due
        for task in (*due.leases, *due.delayed):
            self._keep(task)
        for daemon in due.daemons:
            self.rows[type(daemon)].setdefault(daemon.id, daemon)
        for directive in due.directives:
            self.rows[Directive].setdefault(directive.id, directive)

    def load_outboxes(self, tx: Transaction, channels: set[str], wall: int) -> None:
        """Add the rows that are due to be sent; rows that are already loaded stay as they are."""
        for channel in channels:
            due = tx.notices_due(channel, wall, OUTBOX_DUE_MAX)
            recent = tx.find(NOTICES_SENT, channel, wall - STORM_WINDOW_MS, limit=RECENT_MAX)[::-1] if due else []
            self.outboxes[channel] = DueOutbox(due, recent)
            for notice in due:
                self.rows[Notice].setdefault(notice.id, notice)

    def suppose(self, row: Struct) -> None:
        """Let the decisions see this row; it is saved only if something makes it so."""
        self.rows[type(row)][KEY_OF[type(row)](row)] = row

    def apply(self, decision: Decision) -> None:
        """Let the next decisions see this one."""
        followed: list[Any] = []
        for row in decision.save:
            noun = type(row)
            key, here = KEY_OF[noun](row), self.rows[noun]
            if noun in FOLLOWED:
                followed.append(row)
                if isinstance(row, Task):
                    self.bounds.follow(here.get(key), row)
            here[key] = self.dirty[noun][key] = row
        for noun, key in decision.delete:
            self.rows[noun][key] = self.dirty[noun][key] = None
        self.events += decision.events
        for row in followed:  # once all rows are here: a task is offered with its body
            if isinstance(row, Task):
                self._follow(row)
            elif isinstance(row, Boot):
                self.boots.setdefault(row.daemon_id, set()).add(row.boot_id)
            elif row.daemon_id in self.directives:
                line = self.directives[row.daemon_id]
                if row.id not in line:
                    line.append(row.id)

    def changed(self, noun: type[N]) -> list[N]:
        """The rows of one noun that this batch saves."""
        changed = self.dirty.get(noun)
        return [row for row in changed.values() if row is not None] if changed else []

    def _follow(self, task: Task) -> None:
        if task.dedup_key:
            self.dedups[task.submitter, task.dedup_key] = task.id
        if task.status != LEASED:
            self._offer(task)
            return
        if task.daemon_id in self.held:
            self.held[task.daemon_id].add(task.id)
        if task.request_id:
            known = self.requests.setdefault(task.request_id, [])
            if task.id not in known:
                known.append(task.id)

    def _offer(self, task: Task) -> None:
        """Let the claims of this batch see a task that an earlier request of it made claimable."""
        if task.id not in self.rows[TaskBody] or not (task.ready or task.waiting_for):
            return
        if task.user_id and task.conversation not in self.memories:
            return  # the wake-up after the commit brings it, with its memory
        lines = [
            line
            for provides, line in self.candidates.items()
            if task.ready and provides.issuperset(tags_in(task.needs))
        ]
        if task.waiting_for:
            lines.append(self.reserved.setdefault(task.waiting_for, []))
        for line in lines:
            if task.id not in line:
                insort(line, task.id, key=self._place)

    def offered(self, provides: frozenset[str], names: frozenset[str]) -> Iterator[str]:
        """The ids that a claim may look at, in the order of the queue."""
        lines = [line for name in names if (line := self._covered(self.reserved.get(name, ()), provides))]
        if not lines:
            return iter(self.candidates.get(provides, ()))
        return merge(self.candidates.get(provides, ()), *lines, key=self._place)

    def _covered(self, line: Sequence[str], provides: frozenset[str]) -> list[str]:
        """Those whose needs are covered: a daemon that a task waits for may provide less since a restart."""
        return [task_id for task_id in line if provides.issuperset(tags_in(self.rows[Task][task_id].needs))]

    def _place(self, task_id: str) -> tuple[int, str]:
        task: Task = self.rows[Task][task_id]
        return task.order_key, task.id


@lru_cache(maxsize=1024)
def tags_in(needs: str) -> tuple[str, ...]:
    """The tags that a task asks for; what cannot be read has its stand-in already (store/reading.py)."""
    return tuple(msgspec.json.decode(needs))
