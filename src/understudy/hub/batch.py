"""The four steps of a batch: state needs, load, decide one after the other, save all and commit once.

A batch of one and a batch of 256 run this same code. There are no savepoints: a refusal writes nothing; when the
store fails on a batch it is rolled back and each request is replayed alone, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from understudy.clock import Clock
from understudy.coordinator.changes import Decision, Removal
from understudy.coordinator.hearing import awake, deaf, hear, may_suspect, promised, silence_h
from understudy.coordinator.jumps import Clocks, booked, doubted, jump_ms, unsure_ms
from understudy.coordinator.nouns import (
    LEASED,
    QUEUED,
    Attempt,
    Daemon,
    Directive,
    Hearing,
    Notice,
    Now,
    Policy,
    Task,
)
from understudy.coordinator.timeline import gap_period
from understudy.errors import StoreDownError, UnderstudyError
from understudy.hub.beside import MustBeAloneError, refuse_hearing, refuse_strange_rows, runs_alone
from understudy.hub.bounds import DAEMONS_MAX
from understudy.hub.operation import Operation
from understudy.hub.outbox import outbox_rows
from understudy.hub.signs_of_life import date_back
from understudy.hub.unjudged import tell_unreadable
from understudy.hub.working_set import Needs, WorkingSet
from understudy.ids import IdMaker
from understudy.store.base import CommitsApart, Store, StoredEvent, Transaction
from understudy.store.queries import INCIDENTS_SINCE

BATCH_MAX = 256
DEAF_FOR_S = 30  # after a refusal; a daemon comes again within its interval, 10 s by default
DEAF_MOST_S = 600  # in a row: then silence counts again, because a true alarm must not wait without limit
DEAF_PART = 10  # over time every tenth second, so that refusals which somebody provokes silence no alarm
REPORTED_MAX = 10_000  # rows that cannot be judged; beyond that they are reported again and again rather than never


class Committed(Struct, frozen=True):
    """The outcome of a batch for those who wait for it; nothing in it is true before the commit."""

    answers: tuple[Any, ...]  # per request: its answer, or the exception that it ended with
    events: tuple[StoredEvent, ...] = ()
    ready: tuple[Task, ...] = ()  # tasks that somebody may claim now
    deadline_h: int = 0  # the nearest new deadline, 0: none
    available_at: int = 0
    now: Now = Now(0, 0)
    due: tuple[str, ...] = ()  # channels that have something waiting which they had not before
    ended: tuple[str, ...] = ()  # the outcomes of the attempts that ended


class _Seen(Struct):
    """Facts that a batch saw and later ones need; noted once the batch is durable."""

    clocks: Clocks = Clocks(0, 0)
    moved_ms: int = 0  # by which the wall clock was moved since the last batch
    unsure_ms: int = 0  # for which the wall clock may be wrong
    reported: set[str] = set()  # rows that could not be judged
    unreadable: int = 0  # rows of the store that were reported as such, since it was opened


class Engine:
    """Runs batches on a store; the runtime decides when and on which thread.

    On a store that several hubs share, `run` may be called from several threads: two batches of one hub are to each
    other as those of two hubs. What is remembered is noted after the COMMIT, and of a batch that ends late nothing
    moves back. Two that end in the same instant may note the older of both: still true, of a moment earlier.
    """

    def __init__(self, store: Store, clock: Clock, ids: IdMaker, policy: Policy, *, sleeps_ms: int = 0) -> None:
        """`sleeps_ms`: so long this hub may be put to sleep on purpose where it runs; 0: never."""
        self.store = store
        self.sleeps_ms = sleeps_ms
        self._apart = store if isinstance(store, CommitsApart) else None
        self.clock = clock
        self.ids = ids
        self.policy = policy
        self._deaf_until_mono = self._deaf_counted_mono = 0
        self._deaf_ms = 0.0  # granted; a tenth of the time that passes is taken off
        self.runs_again = 0  # batches that began beside others and had to be alone
        self.unsure_until_mono = 0  # on the clock that never jumps: until then the wall clock may be far ahead
        self._clocks: Clocks | None = None  # at the last batch
        self._prepared = _Seen()  # of the batch that is about to be committed, where that is done apart
        self._reported: set[str] = set()  # rows that could not be judged and were reported
        self._unreadable_reported = 0  # of the store's unreadable rows

    @property
    def runs_beside_itself(self) -> bool:
        """True if two batches may be run at once, in two threads."""
        return self.store.is_shared and self._apart is None

    def go_deaf(self) -> bool:
        """A sign of life was refused by our own fault: from now on all time is a gap, until it can have come again.

        At most 600 s in a row, and a tenth of the time → True if it was not deaf before. Called from any thread.
        """
        now, was_deaf = self.clock.mono_ms(), self.is_deaf
        self._deaf_ms = max(0.0, self._deaf_ms - (now - self._deaf_counted_mono) / DEAF_PART)
        self._deaf_counted_mono = now
        more_ms = now + DEAF_FOR_S * 1000 - max(now, self._deaf_until_mono)
        if self._deaf_ms + more_ms <= DEAF_MOST_S * 1000:
            self._deaf_ms += more_ms
            self._deaf_until_mono = now + DEAF_FOR_S * 1000
        return self.is_deaf and not was_deaf

    @property
    def is_deaf(self) -> bool:
        """True if silence does not count now."""
        return self.clock.mono_ms() < self._deaf_until_mono

    def run(self, operations: Sequence[Operation]) -> Committed:
        """Run one batch durably. Failures become the answers of those they hit, never a verdict.

        A store that cannot begin or commit fails all; what fails in between is one request's doing, so each is
        replayed alone, once.
        """
        try:
            seen = _Seen()
            return self._noted(self._committed(operations, seen, alone=runs_alone(self.store, operations)), seen)
        except StoreDownError as error:
            return Committed(tuple(error for _ in operations))
        except Exception as error:  # noqa: BLE001 - one request's bug must not fail the others; the edge logs it
            if len(operations) == 1:
                return Committed((error,))
        return joined([self.run([operation]) for operation in operations])

    def _committed(self, operations: Sequence[Operation], seen: _Seen, *, alone: bool) -> Committed:
        """One transaction, beside those of other hubs or alone; alone also if it finds out that it must be."""
        try:
            return self.store.transaction(lambda tx: self._decide_all(tx, operations, seen, alone=alone), alone=alone)
        except MustBeAloneError:
            self.runs_again += 1
            return self._committed(operations, seen, alone=True)

    def prepare(self, operations: Sequence[Operation]) -> Committed | None:
        """Everything before the COMMIT; None, and nothing kept, where `run` has to do all of it.

        Nothing in what it returns is true before `commit` and `conclude`.
        """
        if self._apart is None:
            return None
        try:
            return self._apart.prepare(lambda tx: self._decide_all(tx, operations, self._prepared))
        except Exception:  # noqa: BLE001 - whatever it was: `run` meets it again, and finds out whose it is
            return None

    def commit(self) -> Exception | None:
        """Make durable what was prepared, in a thread of its own; a COMMIT that fails keeps nothing → its error."""
        assert self._apart is not None
        try:
            self._apart.commit()
        except Exception as error:  # noqa: BLE001 - the edge logs what is none of ours
            return error
        return None

    def conclude(self, prepared: Committed, failure: Exception | None) -> Committed:
        """The outcome of the batch after its COMMIT: one failure is the answer of all."""
        assert self._apart is not None
        try:
            if failure is None:
                self._apart.confirm()
                return self._noted(prepared, self._prepared)
        except StoreDownError as error:
            failure = error
        return Committed(tuple(failure for _ in prepared.answers))

    def _noted(self, committed: Committed, seen: _Seen) -> Committed:
        """Note what later batches must know of a durable one; what was rolled back has moved nothing."""
        if self._clocks is None or seen.clocks.mono >= self._clocks.mono:
            self._clocks = seen.clocks
        if seen.unsure_ms:
            self.unsure_until_mono = max(self.unsure_until_mono, seen.clocks.mono + seen.unsure_ms)
        self._unreadable_reported = max(self._unreadable_reported, seen.unreadable)
        if len(self._reported) < REPORTED_MAX:
            self._reported |= seen.reported
        return committed

    def _decide_all(
        self, tx: Transaction, operations: Sequence[Operation], seen: _Seen, *, alone: bool = True
    ) -> Committed:
        work = WorkingSet(self.policy, self.ids)
        work.reported_before = self._reported
        needs = Needs()
        needs.row(Hearing, HEARING_KEY)
        for operation in operations:
            operation.needs(needs)
        work.load(tx, needs)
        if not alone:  # so that the time is read when all is locked: no row was changed after it
            _load_the_rest(tx, work, operations)
        seen.clocks, seen.moved_ms, seen.unsure_ms = self._hear(tx, work, alone=alone)
        now = work.now
        if alone:
            _load_what_is_due(tx, work, needs)
            _load_the_rest(tx, work, operations)
        answers = tuple(self._decide(operation, work, now) for operation in operations)
        unreadable = self._tell_unreadable(tx, work)
        committed = self._save(tx, work, now, answers, alone=alone)
        if any(isinstance(answer, Removal) for answer in answers):
            committed = replace(committed, answers=tuple(_removed(tx, answer) for answer in answers))
        seen.reported, seen.unreadable = work.reported_now, unreadable
        return woken(committed, self.policy.routes.channels) if seen.moved_ms else committed

    def _hear(self, tx: Transaction, work: WorkingSet, *, alone: bool) -> tuple[Clocks, int, int]:
        """Give the batch its time → both clocks, by how many ms the wall clock was moved, for how many it is unsure."""
        hearing = work.get(Hearing, HEARING_KEY) or Hearing()
        clocks = Clocks(tx.now_ms(self.clock), self.clock.mono_ms())
        before = self._clocks
        unbooked_ms = jump_ms(before, clocks, hearing)
        if unbooked_ms:  # before any row that it concerns is loaded, but for rows that requests named
            if not alone:
                raise MustBeAloneError
            tx.move_pauses(unbooked_ms, clocks.wall - unbooked_ms)
            work.reload(tx)
        counted = booked(hearing, unbooked_ms)
        if clocks.mono < self._deaf_until_mono:
            heard, work.now, gap = deaf(counted, clocks.wall, others_may_hear=self.store.is_shared)
            work.silence_h = silence_h(heard, work.now)
        else:
            heard, work.now, gap = hear(counted, clocks.wall)
            work.silence_h = work.now.h
        if gap is not None:
            work.apply(Decision(save=gap_period(hearing, work.now), events=(gap,)))
        moved_ms = counted.moved_ms - before.moved_ms if before is not None else unbooked_ms  # whichever hub moved them
        heard = doubted(before, heard, hearing, work.now.h, unsure_ms(before, clocks, hearing, moved_ms))
        if self.sleeps_ms and gap is None and (heard.gaps_ms, heard.unsure_h) == (hearing.gaps_ms, hearing.unsure_h):
            work.suppose(heard)
        elif heard is not hearing:
            work.apply(Decision(save=(heard,)))
        if not alone:
            refuse_hearing(hearing, heard)
        elif heard.resumed_h != hearing.resumed_h:
            date_back(tx, work, heard.resumed_h)
        return Clocks(clocks.wall, clocks.mono, counted.moved_ms), moved_ms, max(heard.unsure_h - work.now.h, 0)

    def _decide(self, operation: Operation, work: WorkingSet, now: Now) -> Any:
        try:
            decision = operation.decide(work, now)
        except UnderstudyError as refusal:
            return refusal.with_traceback(None)  # its frames would keep the whole working set until the next collection
        except Exception as bug:  # noqa: BLE001 - one request's bug must not fail the others; the edge logs it
            return bug
        work.apply(decision)
        return decision.answer

    def _tell_unreadable(self, tx: Transaction, work: WorkingSet) -> int:
        """Tell of the rows that could not be read whole and were not reported yet → the number of all such rows."""
        found, reported = tx.unreadable.found, self._unreadable_reported
        count = len(found)
        if count > reported:
            work.events += tell_unreadable(work, found[reported:count], work.now)
        return count

    def _save(self, tx: Transaction, work: WorkingSet, now: Now, answers: tuple[Any, ...], *, alone: bool) -> Committed:
        if _stay_awake(work, now) and not alone:
            raise MustBeAloneError
        rows_of_outbox = outbox_rows(tx, work, now)
        if rows_of_outbox:
            work.apply(Decision(save=rows_of_outbox))
        if not alone:
            refuse_strange_rows(work)
        if self.sleeps_ms and (work.dirty or any(not event.live_only for event in work.events)):
            _promise(work, now, self.sleeps_ms)
        _save_rows(tx, work)
        tasks = work.changed(Task)
        stored = [event for event in work.events if not event.live_only]
        events = tx.append_events(stored)
        events += [StoredEvent(0, event) for event in work.events if event.live_only]
        return Committed(
            answers,
            tuple(events),
            tuple(task for task in tasks if task.status == QUEUED),
            _nearest(_deadlines_h(work)),
            _nearest(task.available_at for task in tasks if _is_delayed(task)),
            now,
            tuple(
                {n.channel for n in work.changed(Notice) if n.state == "waiting"} if self.policy.routes.channels else ()
            ),
            tuple(attempt.outcome for attempt in work.changed(Attempt) if attempt.outcome),
        )


SUSPECT_WINDOW_MS = 30_000
HEARING_KEY = 1


def _save_rows(tx: Transaction, work: WorkingSet) -> None:
    """Save what has changed; the sums and the last instant heard come last, because every hub writes those rows."""
    heard = work.dirty.pop(Hearing, {})
    tx.save_many([row for changed in work.dirty.values() for row in changed.values() if row is not None])
    for noun, changed in work.dirty.items():
        if None in changed.values():
            tx.delete_many(noun, [key for key, row in changed.items() if row is None])
    if grown := work.bounds.grown():
        tx.add_usage(grown)
    if heard:
        tx.save_many(list(heard.values()))


def _removed(tx: Transaction, answer: Any) -> Any:
    """The answer; that of a removal, which is carried out here, is true if there may be more to remove."""
    return tx.purge(answer.what, answer.before, answer.limit) >= answer.limit if isinstance(answer, Removal) else answer


def _load_what_is_due(tx: Transaction, work: WorkingSet, needs: Needs) -> None:
    """The rows whose time has come."""
    now = work.now
    if needs.due_limit:
        work.load_due(tx.due(work.silence_h, now.wall, needs.due_limit))
        work.silent_lately = _silent_lately(tx, work) if work.due.daemons else frozenset()
    if needs.outboxes:
        work.load_outboxes(tx, needs.outboxes, now.wall)


def _silent_lately(tx: Transaction, work: WorkingSet) -> frozenset[str]:
    """The daemons that fell silent just before, each once; none while nothing would be made of them."""
    if not may_suspect(work.get(Hearing, HEARING_KEY) or Hearing(), work.now):
        return frozenset()
    found = tx.find(INCIDENTS_SINCE, work.now.h - SUSPECT_WINDOW_MS, limit=DAEMONS_MAX)
    return frozenset(incident.daemon_id for incident in found)


def _load_the_rest(tx: Transaction, work: WorkingSet, operations: Sequence[Operation]) -> None:
    """The second round of needs, and the third of those operations that have one."""
    more, details = Needs(), None
    for operation in operations:
        operation.more(work, more)
    work.load(tx, more)
    for operation in operations:
        if type(operation).details is not Operation.details:
            details = details or Needs()
            operation.details(work, details)
    if details is not None:
        work.load(tx, details)


def _stay_awake(work: WorkingSet, now: Now) -> bool:
    """Count hearing time from the first lease or watched daemon on → whether this is the first."""
    hearing = work.get(Hearing, HEARING_KEY) or Hearing()
    is_first = bool(hearing.idle) and any(_deadlines_h(work))
    if is_first:
        work.apply(Decision(save=(awake(hearing, now),)))
    return is_first


def _promise(work: WorkingSet, now: Now, sleeps_ms: int) -> None:
    """Save the promise when the hub listens next, with a batch that saves something anyway."""
    waits = [h - now.h for h in _deadlines_h(work) if h]
    hearing = work.get(Hearing, HEARING_KEY) or Hearing()
    if Hearing not in work.dirty or hearing.promised_at < now.wall or waits:
        hearing = promised(hearing, now, min([sleeps_ms, *waits]))
    work.apply(Decision(save=(hearing,)))


def _deadlines_h(work: WorkingSet) -> Iterator[int]:
    """The deadlines in hearing time of the rows that this batch saves; 0: a row without one."""
    for task in work.changed(Task):
        yield task.expires_h if task.status == LEASED else 0
    for directive in work.changed(Directive):
        yield directive.expires_h
    for daemon in work.changed(Daemon):
        yield daemon.deadline_h


def _is_delayed(task: Task) -> bool:
    return task.status == QUEUED and not task.ready and not task.waiting_for


def _nearest(deadlines: Any) -> int:
    return min((deadline for deadline in deadlines if deadline), default=0)


def woken(committed: Committed, channels: tuple[str, ...]) -> Committed:
    """The outcome after a jump of the clock: it wakes all that sleeps until some instant, to look at the clock anew."""
    return replace(committed, available_at=committed.now.wall, due=channels)


def joined(parts: Sequence[Committed]) -> Committed:
    """Several commits as one, in their order."""
    return Committed(
        tuple(answer for part in parts for answer in part.answers),
        tuple(event for part in parts for event in part.events),
        tuple(task for part in parts for task in part.ready),
        _nearest(part.deadline_h for part in parts),
        _nearest(part.available_at for part in parts),
        parts[-1].now,
        tuple({channel for part in parts for channel in part.due}),
        tuple(outcome for part in parts for outcome in part.ended),
    )
