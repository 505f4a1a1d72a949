"""Planted bugs, one a name: a checker that does not find them proves nothing (docs/measured.md, Proof by simulation).

Each is a context manager that changes product code in place and puts it back. The first three are the ones that
every queue of this kind had at some time; the others guard what this hub does beyond them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

from msgspec.structs import replace

from understudy.coordinator import budget, hearing, identity, jumps, leases, outbox, renewals, takeover
from understudy.coordinator.changes import Change, Decision
from understudy.coordinator.jumps import Clocks
from understudy.coordinator.nouns import LEASED, QUEUED, Hearing, Now, Policy, Task
from understudy.coordinator.takeover import CallOutcome
from understudy.coordinator.takeover_nouns import Reservation, TakeoverPolicy
from understudy.errors import StoreError
from understudy.hub import batch, starts
from understudy.hub.alarm_loop import Alarm
from understudy.hub.batch import Committed, Engine
from understudy.hub.calls import CutCalls
from understudy.hub.delivery import Delivery
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.leases import ReleaseLease, RenewLease
from understudy.hub.outbox import Outgoing, SettleNotice
from understudy.hub.results import ReportResult
from understudy.hub.working_set import WorkingSet
from understudy.notify.base import Sent
from understudy.runtime.one_loop.turns import NEVER, Turns
from understudy.store.base import Candidates, Due, Transaction
from understudy.store.rows import RowQueries
from understudy.store.takeover import TakeoverQueries
from understudy.worker.guard_policy import Guard

EARLY_MS = 5_000


@contextmanager
def _planted(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Replace attributes, and put them back."""
    with ExitStack() as undo:
        for owner, name, value in changes:
            undo.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


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

    return _planted(*((noun, "decide", believing(noun.decide)) for noun in (RenewLease, ReleaseLease, ReportResult)))


def any_token() -> AbstractContextManager[None]:
    """A result counts as long as somebody has the task."""

    def counts(task: Task, token: int, *, success: bool = True) -> bool:
        return task.status == LEASED or original(task, token, success=success)

    original = leases.counts_still
    return _planted((leases, "counts_still", counts))


def token_is_attempt() -> AbstractContextManager[None]:
    """The number of the attempt is the token: it comes again after a retry by hand."""
    original = leases.claim

    def claim(task: Task, grant: leases.Grant, now: Now, policy: Policy) -> Change[Task]:
        change = original(task, grant, now, policy)
        leased = replace(change.noun, token=task.attempts + task.losses + 1)
        events = tuple(replace(e, fields={**e.fields, "token": leased.token}) for e in change.events)
        return Change(leased, change.save, events)

    return _planted((leases, "claim", claim))


# ---- how long it lasts


def lease_end_ignored() -> AbstractContextManager[None]:
    """A lease never ends by itself."""
    original = RowQueries.due

    def due(self: RowQueries, h: int, wall: int, limit: int) -> Due:
        return replace(original(self, h, wall, limit), leases=[])

    return _planted((RowQueries, "due", due))


def lease_cut_short() -> AbstractContextManager[None]:
    """A lease ends five seconds before its time."""
    original = RowQueries.due

    def due(self: RowQueries, h: int, wall: int, limit: int) -> Due:
        early = original(self, h + EARLY_MS, wall, limit).leases
        cut = [replace(task, expires_h=task.expires_h - EARLY_MS) for task in early]
        return replace(original(self, h, wall, limit), leases=cut)

    return _planted((RowQueries, "due", due))


def gaps_are_silence() -> AbstractContextManager[None]:
    """Time in which no hub could hear is counted against leases and daemons."""

    def hear(hearing: Hearing, wall: int) -> tuple[Hearing, Now, None]:
        return replace(hearing, heard_at=wall), Now(wall, wall - hearing.gaps_ms, hearing.resumed_h), None

    return _planted((batch, "hear", hear))


# ---- what is kept


def enqueue_resets() -> AbstractContextManager[None]:
    """An enqueue that is sent again resets a running task."""
    original = EnqueueTasks.decide

    def decide(self: EnqueueTasks, work: WorkingSet, now: Now) -> Decision:
        decision = original(self, work, now)
        known = [work.get(Task, made.task_id) for made in decision.answer if not made.created]
        reset = (replace(t, status=QUEUED, ready=1, worker_id="") for t in known if t and t.status == LEASED)
        return replace(decision, save=(*decision.save, *reset))

    return _planted((EnqueueTasks, "decide", decide))


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

    return _planted((Engine, "commit", commit), (Engine, "_decide_all", decide), (Engine, "_committed", run))


def second_result_wins() -> AbstractContextManager[None]:
    """A result with the right token is applied again and again."""

    def counts(task: Task, token: int, **_: bool) -> bool:
        return token == task.token and task.status not in ("cancelled", "done")

    return _planted((leases, "counts_still", counts))


def late_result_refused() -> AbstractContextManager[None]:
    """Work is thrown away although nobody else has begun it."""
    return _planted((leases, "STILL_COUNTS", frozenset()))


# ---- whose machine it needs


def unnamed_wait_blocks() -> AbstractContextManager[None]:
    """A claim whose answer was lost reserves its task all the same."""
    return _planted((leases, "waits_for_its_machine", lambda task: task.lease_on_loss != leases.REQUEUE))


def reservation_forgotten() -> AbstractContextManager[None]:
    """Begun work that its machine claims again is free for all if that claim is lost."""
    return _planted((leases, "BEGUN", 0))


def old_boot_keeps_leases() -> AbstractContextManager[None]:
    """A restart does not free what the start before it held."""
    original = renewals.ended_by

    def ended_by(speaker: renewals.Speaker, task: Task, *arguments: Any) -> Change[Task] | None:
        return original(speaker, task, *arguments) if task.boot_id == speaker.boot_id else None

    return _planted((renewals, "ended_by", ended_by))


def late_beat_supersedes() -> AbstractContextManager[None]:
    """The last words of a dead start take the place of the one that lives."""
    return _planted((identity, "_is_earlier", lambda *_: False))


def overtaken_beat_counts() -> AbstractContextManager[None]:
    """A beat that a later one has overtaken takes up again what that one gave up."""
    return _planted((renewals, "judge", _never_overtaken(renewals.judge)))


def _never_overtaken(judge: Callable[..., Any]) -> Callable[..., Any]:
    return lambda speaker, *arguments: judge(replace(speaker, is_overtaken=False), *arguments)


# ---- the far side


def guard_forgets_deadlines() -> AbstractContextManager[None]:
    """A run outlives its lease if its daemon does not end it."""
    return _planted((Guard, "_end_what_is_due", lambda *_: ()))


# ---- takeover


def takeover_too_soon() -> AbstractContextManager[None]:
    """The hub steps in for a daemon that is only late."""
    return _planted((takeover, "AWAY_AT_ONCE", takeover.AWAY_AT_ONCE | {"late", "healthy"}))


def cut_calls_are_free() -> AbstractContextManager[None]:
    """A call whose answer never came is not counted, although it may be billed."""
    original = budget.cost_of

    def cost_of(call: Reservation, called: CallOutcome, policy: TakeoverPolicy) -> int:
        return 0 if called.billed == "unknown" else original(call, called, policy)

    return _planted((budget, "cost_of", cost_of))


def hub_closes_machine_tasks() -> AbstractContextManager[None]:
    """Every task counts as one that words can answer."""
    original = TakeoverQueries.candidates

    def candidates(self: TakeoverQueries, wanted: Candidates, h: int) -> list[Task]:
        return original(self, replace(wanted, text=True), h) + original(self, replace(wanted, text=False), h)

    return _planted((takeover, "is_for_machine", lambda _: False), (TakeoverQueries, "candidates", candidates))


# ---- several hubs on one store


def others_hear_nothing() -> AbstractContextManager[None]:
    """A hub takes the time in which it was away for a gap, although another one heard."""
    original = hearing.hear
    heard_by: dict[int, int] = {}

    def heard_at(self: Engine, row: Hearing) -> Hearing:
        return replace(row, heard_at=min(heard_by.get(id(self), row.heard_at), row.heard_at))

    def hear_of(self: Engine, tx: Transaction, work: WorkingSet, *, alone: bool) -> Any:
        def hear(row: Hearing, wall: int) -> Any:
            return original(heard_at(self, row), wall)

        with _planted((batch, "hear", hear)):
            found = hearing_of(self, tx, work, alone=alone)
        heard_by[id(self)] = work.now.wall
        return found

    hearing_of = vars(Engine)["_hear"]
    return _planted((Engine, "_hear", hear_of))


def each_hub_moves_the_pauses() -> AbstractContextManager[None]:
    """A jump of the clock that another hub has booked is moved once more."""

    def jump_ms(before: Clocks | None, now: Clocks, row: Hearing) -> int:
        return original(before, now, row if before is None else replace(row, moved_ms=before.moved_ms))

    original = jumps.jump_ms
    return _planted((batch, "jump_ms", jump_ms))


def alarm_minds_its_own() -> AbstractContextManager[None]:
    """The deadlines that a hub has set are forgotten when it dies, for as long as an alarm may sleep."""
    return _planted((Alarm, "_look_for_others", lambda *_: iter(())))


def start_cuts_all_calls() -> AbstractContextManager[None]:
    """A hub that starts takes the calls of the others for cut."""
    original = CutCalls.decide

    def decide(self: CutCalls, work: WorkingSet, now: Now) -> Decision:
        for key, call in work.rows[Reservation].items():
            work.rows[Reservation][key] = call and replace(call, worker_id=self.worker_id)
        return original(self, work, now)

    return _planted((CutCalls, "decide", decide))


# ---- a hub that is put to sleep


def promises_too_much() -> AbstractContextManager[None]:
    """A hub says that it will listen a minute later than its alarm is set to: so long it misses nobody."""
    later_ms = 60_000

    def promised(row: Hearing, now: Now, within_ms: int) -> Hearing:
        return original(row, now, within_ms + later_ms)

    def promised_anew(row: Hearing, now: Now, within_ms: int) -> Change[Hearing]:
        return anew(row, now, within_ms + later_ms)

    original, anew = hearing.promised, hearing.promised_anew
    return _planted((batch, "promised", promised), (starts, "promised_anew", promised_anew))


def absence_is_sleep() -> AbstractContextManager[None]:
    """A hub that was away takes it for sleep, however long it was."""
    return _planted((hearing, "_is_promised", lambda row, wall: row.heard_at <= wall and row.promised_at > 0))


def sleep_is_a_gap() -> AbstractContextManager[None]:
    """A hub that was put to sleep takes it for an absence."""
    return _planted((hearing, "_is_promised", lambda *_: False))


def alarm_stays_where_it_is() -> AbstractContextManager[None]:
    """A nearer deadline does not move the alarm of the place."""
    original = vars(Turns)["_set_bell"]

    def set_bell(self: Turns) -> None:
        if self._bell_mono == NEVER:  # none is set
            original(self)

    return _planted((Turns, "_set_bell", set_bell))


def promise_is_made_once() -> AbstractContextManager[None]:
    """The alarm rings when nothing is due, and the hub does not say again until when it sleeps."""
    original = vars(Alarm)["_promise"]

    def promise(self: Alarm) -> Any:
        yield from original(self)
        self._promised_mono = NEVER

    return _planted((Alarm, "_promise", promise))


def notice_counts_before_it_arrives() -> AbstractContextManager[None]:
    """A notice is noted as sent before its receiver has said so: forgotten meanwhile, it is lost."""
    original = vars(Delivery)["_deliver"]

    def deliver(self: Delivery, outgoing: Outgoing) -> Any:
        yield SettleNotice(outgoing.notice, Sent())
        yield from original(self, outgoing)

    return _planted((Delivery, "_deliver", deliver))


def notice_in_hand_is_left() -> AbstractContextManager[None]:
    """A notice that a life of the hub was sending when it was forgotten is not sent by the next one."""
    return _planted((outbox, "reclaim", lambda row, *_: Change(replace(row, taken_until=NEVER))))


_SLEEP = (
    promises_too_much,
    absence_is_sleep,
    sleep_is_a_gap,
    alarm_stays_where_it_is,
    promise_is_made_once,
    notice_counts_before_it_arrives,
    notice_in_hand_is_left,
)
ABOUT_SLEEP = frozenset(plant.__name__ for plant in _SLEEP)
ABOUT_TAKEOVER = frozenset(
    {"takeover_too_soon", "cut_calls_are_free", "hub_closes_machine_tasks", "start_cuts_all_calls"}
)
ABOUT_HUBS = frozenset(
    {"others_hear_nothing", "each_hub_moves_the_pauses", "alarm_minds_its_own", "start_cuts_all_calls"}
)
MUTANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    plant.__name__: plant
    for plant in (
        name_for_token,
        lease_end_ignored,
        enqueue_resets,
        lease_cut_short,
        any_token,
        token_is_attempt,
        gaps_are_silence,
        answer_before_commit,
        second_result_wins,
        late_result_refused,
        unnamed_wait_blocks,
        reservation_forgotten,
        old_boot_keeps_leases,
        late_beat_supersedes,
        overtaken_beat_counts,
        guard_forgets_deadlines,
        takeover_too_soon,
        cut_calls_are_free,
        hub_closes_machine_tasks,
        others_hear_nothing,
        each_hub_moves_the_pauses,
        alarm_minds_its_own,
        start_cuts_all_calls,
        *_SLEEP,
    )
}
