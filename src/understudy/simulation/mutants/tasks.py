"""Planted bugs of a task on its way: leases and tokens, what is kept, machines, the guard on the far side."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

from msgspec.structs import replace

from understudy.coordinator import identity, leases, renewals
from understudy.coordinator.changes import Change, Decision
from understudy.coordinator.nouns import LEASED, QUEUED, Hearing, Now, Policy, Task
from understudy.errors import StoreError
from understudy.hub import batch
from understudy.hub.batch import Committed, Engine
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.leases import ReleaseLease, RenewLease
from understudy.hub.results import ReportResult
from understudy.hub.working_set import WorkingSet
from understudy.simulation.mutants.planting import planted
from understudy.store.base import Due
from understudy.store.rows import RowQueries
from understudy.worker.guard_policy import Guard

EARLY_MS = 5_000


# ---- whose lease it is


def name_for_token() -> AbstractContextManager[None]:
    """The worker's name is compared instead of the token."""

    def believing(decide: Callable[[Any, WorkingSet, Now], Decision]) -> Any:
        def believe(self: Any, work: WorkingSet, now: Now) -> Decision:
            task = work.get(Task, self.task_id)
            if task is not None and self.body.token is not None and self.body.worker_id == task.worker_id:
                self.body = replace(self.body, token=task.token)
            return decide(self, work, now)

        return believe

    return planted(*((noun, "decide", believing(noun.decide)) for noun in (RenewLease, ReleaseLease, ReportResult)))


def any_token() -> AbstractContextManager[None]:
    """A result counts as long as somebody has the task."""

    def counts(task: Task, token: int, *, success: bool = True) -> bool:
        return task.status == LEASED or original(task, token, success=success)

    original = leases.counts_still
    return planted((leases, "counts_still", counts))


def token_is_attempt() -> AbstractContextManager[None]:
    """The number of the attempt is the token: it comes again after a retry by hand."""
    original = leases.claim

    def claim(task: Task, grant: leases.Grant, now: Now, policy: Policy) -> Change[Task]:
        change = original(task, grant, now, policy)
        leased = replace(change.noun, token=task.attempts + task.losses + 1)
        events = tuple(replace(e, fields={**e.fields, "token": leased.token}) for e in change.events)
        return Change(leased, change.save, events)

    return planted((leases, "claim", claim))


# ---- how long it lasts


def lease_end_ignored() -> AbstractContextManager[None]:
    """A lease never ends by itself."""
    original = RowQueries.due

    def due(self: RowQueries, h: int, wall: int, limit: int) -> Due:
        return replace(original(self, h, wall, limit), leases=[])

    return planted((RowQueries, "due", due))


def lease_cut_short() -> AbstractContextManager[None]:
    """A lease ends five seconds before its time."""
    original = RowQueries.due

    def due(self: RowQueries, h: int, wall: int, limit: int) -> Due:
        early = original(self, h + EARLY_MS, wall, limit).leases
        cut = [replace(task, expires_h=task.expires_h - EARLY_MS) for task in early]
        return replace(original(self, h, wall, limit), leases=cut)

    return planted((RowQueries, "due", due))


def gaps_are_silence() -> AbstractContextManager[None]:
    """Time in which no hub could hear is counted against leases and daemons."""

    def hear(hearing: Hearing, wall: int) -> tuple[Hearing, Now, None]:
        return replace(hearing, heard_at=wall), Now(wall, wall - hearing.gaps_ms, hearing.resumed_h), None

    return planted((batch, "hear", hear))


# ---- what is kept


def enqueue_resets() -> AbstractContextManager[None]:
    """An enqueue that is sent again resets a running task."""
    original = EnqueueTasks.decide

    def decide(self: EnqueueTasks, work: WorkingSet, now: Now) -> Decision:
        decision = original(self, work, now)
        known = [work.get(Task, made.task_id) for made in decision.answer if not made.created]
        reset = (replace(t, status=QUEUED, ready=1, worker_id="") for t in known if t and t.status == LEASED)
        return replace(decision, save=(*decision.save, *reset))

    return planted((EnqueueTasks, "decide", decide))


def answer_before_commit() -> AbstractContextManager[None]:
    """Answers leave although the store kept nothing, whether it commits apart from deciding or not."""
    decide_all, committed = Engine._decide_all, Engine._committed  # noqa: SLF001 - the bug is inside
    decided: list[Committed] = []

    def commit(self: Engine) -> None:
        with suppress(StoreError):
            self._apart.commit()  # type: ignore[union-attr]

    def decide(self: Engine, *given: Any, **how: Any) -> Committed:
        decided[:] = [decide_all(self, *given, **how)]
        return decided[0]

    def run(self: Engine, *given: Any, **how: Any) -> Committed:
        decided.clear()
        try:
            return committed(self, *given, **how)
        except StoreError:
            if not decided:
                raise
            return decided[0]

    return planted((Engine, "commit", commit), (Engine, "_decide_all", decide), (Engine, "_committed", run))


def second_result_wins() -> AbstractContextManager[None]:
    """A result with the right token is applied again and again."""

    def counts(task: Task, token: int, **_: bool) -> bool:
        return token == task.token and task.status not in ("cancelled", "done")

    return planted((leases, "counts_still", counts))


def late_result_refused() -> AbstractContextManager[None]:
    """Work is thrown away although nobody else has begun it."""
    return planted((leases, "STILL_COUNTS", frozenset()))


# ---- whose machine it needs


def unnamed_wait_blocks() -> AbstractContextManager[None]:
    """A claim whose answer was lost reserves its task all the same."""
    return planted((leases, "waits_for_its_machine", lambda task: task.lease_on_loss != leases.REQUEUE))


def reservation_forgotten() -> AbstractContextManager[None]:
    """Begun work that its machine claims again is free for all if that claim is lost."""
    return planted((leases, "BEGUN", 0))


def old_boot_keeps_leases() -> AbstractContextManager[None]:
    """A restart does not free what the start before it held."""
    original = renewals.ended_by

    def ended_by(speaker: renewals.Speaker, task: Task, *arguments: Any) -> Change[Task] | None:
        return original(speaker, task, *arguments) if task.boot_id == speaker.boot_id else None

    return planted((renewals, "ended_by", ended_by))


def late_beat_supersedes() -> AbstractContextManager[None]:
    """The last words of a dead start take the place of the one that lives."""
    return planted((identity, "_is_earlier", lambda *_: False))


def overtaken_beat_counts() -> AbstractContextManager[None]:
    """A beat that a later one has overtaken takes up again what that one gave up."""
    return planted((renewals, "judge", _never_overtaken(renewals.judge)))


def _never_overtaken(judge: Callable[..., Any]) -> Callable[..., Any]:
    return lambda speaker, *arguments: judge(replace(speaker, is_overtaken=False), *arguments)


# ---- the far side


def guard_forgets_deadlines() -> AbstractContextManager[None]:
    """A run outlives its lease if its daemon does not end it."""
    return planted((Guard, "_end_what_is_due", lambda *_: ()))
