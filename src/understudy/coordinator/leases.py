"""Leases and their fencing tokens: claim, renew, release, lose, settle (docs/contract.md, section 3).

Theory of operation
-------------------
The latest lease of a task is kept in the task's own row, so one locked row decides every dispute about it. A lease is
held while `now.h < expires_h`; `h` is hearing time (hearing.py), so the hub's own absence expires nothing.

1. Fencing. Each claim gives the token `max(previous + 1, now in ms)`. Everything that a worker reports names the token,
   and an older one changes nothing. Because tokens start from the clock, they grow even over retries, reused ids and
   restored backups. Legacy clients know no token; their results are matched by worker (`closes_legacy_attempt`).
2. The end of a lease. A result settles it, its holder releases it, its time runs out (`expire`), or it is certainly
   lost (`lose`): its daemon is gone, or started anew, or no longer names the run.
3. After the end. The token goes on counting until somebody else claims the task: a late renewal takes the lease up
   again, unless its run died with its daemon; a late result is applied (`counts_still`), even to a task that has failed
   as poison meanwhile, and a late success to one that the alarm has ended at its time limit. A result that comes after
   the next claim is kept as evidence and changes nothing.
4. Started work. Work with side effects (`wait`, `ask`) is reserved for its machine when its lease is lost, but only if
   it may have started: the daemon named the token (NAMED), or an earlier attempt had started (BEGUN). Until it is
   named, such a lease is as short as any other (docs/adr/0008-a-wait-lease-starts-short.md).
5. Two counts. A result without success is an attempt, tried again after a backoff up to `max_attempts`. A lease that
   ends without a result is a loss; `losses_max` of them make the task poison. A run that outlives its hard end has
   timed out, which counts as a failed attempt and not as a loss.

Doubts. Between `expires_h` and the alarm's transaction the row still says leased: a renewal that comes in between is
accepted, which is harmless for the hub but not what the first paragraph says. The true state of a task lies in five
fields (status, ended, ready, waiting_for, lease_flags); TRANSITIONS guards the first one only, the rest is held by the
frozensets below and by tests. Two tokens can be equal if an id is used again after its purge while the clock was set
back. A token fences what the hub stores, not what a run does to the world: that is the guard's task.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from understudy.backoff import dice_of, doubled_ms, spread
from understudy.clock import iso
from understudy.coordinator.changes import Change, Event
from understudy.coordinator.identity import watch_name
from understudy.coordinator.nouns import (
    BEGUN,
    FAILED,
    FINISHED,
    LEASED,
    NAMED,
    QUEUED,
    Attempt,
    Now,
    Policy,
    Result,
    Task,
)
from understudy.coordinator.transitions import status_after

NO_NEEDS = "[]"
REQUEUE, WAIT, ASK = "requeue", "wait", "ask"
# how a lease may have ended so that its token still counts while nobody else has the task
STILL_COUNTS = frozenset({"expired", "lost", "released", "timed_out"})
# how an attempt ends by a result: the same result again is a repetition
# (an alarm's `timed_out` leaves room for a success)
SETTLED_AS = frozenset({"failed", "blocked", "timed_out"})
LOST_AS = frozenset({"expired", "lost"})
OUTCOMES_OF_FAILURE = frozenset({"blocked", "timed_out", "cancelled"})
BACKOFF_FIRST_MS = 10_000
BACKOFF_MAX_MS = 600_000


class Grant(Struct, frozen=True):
    """The terms of a claim."""

    worker_id: str
    daemon_id: str = ""
    boot_id: str = ""
    request_id: str = ""
    on_loss: str = ""
    duration_ms: int = 0  # asked for; 0: the hub's choice
    is_legacy: bool = False
    down_after_ms: int = 0  # of the claiming daemon
    exactly_ms: int = 0  # the length of a lease of the hub itself: never renewed; lost, its task is requeued


def on_loss_of(task: Task, claimed_with: str) -> str:
    """The handling on loss: as the task says, else `requeue` for text-only tasks, else as the claim says."""
    if task.on_loss:
        return task.on_loss
    if task.needs == NO_NEEDS:
        return REQUEUE
    return claimed_with or REQUEUE


def is_held(task: Task, now: Now) -> bool:
    """True if somebody holds a lease on the task at this instant."""
    return task.status == LEASED and now.h < task.expires_h


def waits_for_its_machine(task: Task) -> bool:
    """True if the task must wait for its machine when this lease is lost; only work that may have started does."""
    return task.lease_on_loss != REQUEUE and bool(task.lease_flags)


def claim(task: Task, grant: Grant, now: Now, policy: Policy) -> Change[Task]:
    """Lease a claimable task; a `wait` lease starts as short as any until its token is first named."""
    token = max(task.token + 1, now.wall)
    on_loss = REQUEUE if grant.exactly_ms else on_loss_of(task, grant.on_loss)
    duration = grant.duration_ms if grant.is_legacy else duration_of(on_loss, grant, policy)
    first = duration if grant.is_legacy or grant.exactly_ms else min(duration, policy.lease_ms)
    hard_end = now.h + task.timeout_ms + policy.overtime_ms
    leased = replace(
        task,
        status=status_after(task.status, "claim"),
        ready=0,
        waiting_for="",
        updated_at=now.wall,
        token=token,
        worker_id=grant.worker_id,
        daemon_id=grant.daemon_id,
        boot_id=grant.boot_id,
        request_id=grant.request_id,
        lease_on_loss=on_loss,
        is_legacy=int(grant.is_legacy),
        lease_flags=BEGUN if task.waiting_for else 0,
        claimed_at=now.wall,
        renewed_at=0,
        expires_h=min(now.h + first, hard_end),
        duration_ms=duration,
        hard_end_h=hard_end,
        ended="",
    )
    event = task_event(
        leased, now, "task.claimed", f"Task {task.id} claimed by {grant.worker_id}", workerId=grant.worker_id
    )
    return Change(leased, (), (event,))


def duration_of(on_loss: str, grant: Grant, policy: Policy) -> int:
    """The hub's choice for token-aware claims; the claim may only shorten it."""
    if grant.exactly_ms:
        return grant.exactly_ms
    chosen = policy.lease_ms if on_loss == REQUEUE else (grant.down_after_ms or policy.down_after_ms)
    return min(chosen, grant.duration_ms) if grant.duration_ms else chosen


def renew(task: Task, now: Now, extend_ms: int = 0) -> Change[Task] | None:
    """Go on with a lease whose holder is already proven; None where it cannot be renewed any more.

    An ended lease that nobody took is taken up again. Past the run's hard end nothing is renewed; a run that died with
    its daemon has come to it.
    """
    is_taken_up = task.status == QUEUED and task.ended in LOST_AS
    if not (task.status == LEASED or is_taken_up) or now.h >= task.hard_end_h:
        return None
    renewed = replace(
        task,
        status=status_after(task.status, "renew"),
        ready=0,
        waiting_for="",
        ended="",
        lease_flags=task.lease_flags | NAMED,
        renewed_at=now.wall,
        updated_at=now.wall if is_taken_up else task.updated_at,
        expires_h=min(now.h + (extend_ms or task.duration_ms), task.hard_end_h),
    )
    if not is_taken_up:
        return Change(renewed, (), ())
    event = task_event(renewed, now, "task.claimed", f"Lease of {task.id} taken up again", workerId=task.worker_id)
    return Change(renewed, (), (event,))


def release(task: Task, now: Now, policy: Policy, reason: str) -> Change[Task]:
    """The holder gives the task back. What died with its daemon is a loss; a drain keeps a reservation."""
    if reason == "daemon_gone":  # its run is dead: no beat that is still on its way renews it
        return lose(replace(task, hard_end_h=now.h), now, policy, "lost", "its daemon is gone")
    reserved = waits_for_its_machine(task) and (reason != "not_started" or bool(task.lease_flags & BEGUN))
    released = _back_in_queue(task, now, "released", "release", reserved=reserved)
    event = task_event(
        released,
        now,
        "lease.released",
        f"Lease of {task.id} released by {task.worker_id}",
        workerId=task.worker_id,
        reason=reason or None,
    )
    return Change(released, (attempt_of(released),), (event, *_waiting_event(released, now)))


def lose(task: Task, now: Now, policy: Policy, how: str, why: str) -> Change[Task]:
    """A lease ended without a result: `expired` in silence, or certainly `lost`. A loss is no failed attempt."""
    losses = task.losses + 1
    name = "lease.expired" if how == "expired" else "lease.lost"
    loss = task_event(
        task, now, name, f"Lease of {task.id} {how}: {why}", level="warning", workerId=task.worker_id, losses=losses
    )
    if losses >= policy.losses_max:
        return _poisoned(task, now, how, losses, loss)
    lost = _back_in_queue(replace(task, losses=losses), now, how, "lose", reserved=waits_for_its_machine(task))
    return Change(lost, (attempt_of(lost),), (loss, *_waiting_event(lost, now)))


def rung(task: Task, now: Now, policy: Policy) -> Change[Task] | None:
    """The alarm's look at a lease: it outlived its limit, or its worker fell silent; None while it is held."""
    if task.status != LEASED or is_held(task, now):
        return None
    if now.h >= task.hard_end_h:
        result = Result(task.id, 0, error='"timed out: the run outlived its limit"', failure='{"class":"timed_out"}')
        return settle(task, replace(result, token=task.token, at=now.wall), now, is_final=False, outcome="timed_out")
    return lose(task, now, policy, "expired", "no renewal in time")


def settle(task: Task, result: Result, now: Now, *, is_final: bool, outcome: str) -> Change[Task]:
    """Apply a result by the current token: done, failed for good, or queued again after a backoff."""
    if result.success:
        done = _finished(task, now, "succeed", "done")
        event = task_event(done, now, "task.done", f"Task {task.id} done", workerId=task.worker_id)
        return Change(done, (attempt_of(done), result), (event,))
    attempts = task.attempts + 1
    counted = replace(task, attempts=attempts)
    if is_final or attempts >= task.max_attempts:
        failed = _finished(counted, now, "fail", outcome)
        event = task_event(
            failed,
            now,
            "task.failed",
            f"Task {task.id} failed",
            level="warning",
            workerId=task.worker_id,
            outcome=outcome,
        )
        return Change(failed, (attempt_of(failed), result), (event,))
    wait_ms = backoff_ms(task.id, attempts)
    again = replace(
        counted,
        status=status_after(task.status, "try_again"),
        ready=0,
        waiting_for="",
        finished_at=0,
        available_at=now.wall + wait_ms,
        updated_at=now.wall,
        ended=outcome,
    )
    event = task_event(
        again,
        now,
        "task.retrying",
        f"Task {task.id} failed, tried again",
        workerId=task.worker_id,
        inSec=wait_ms / 1000,
    )
    return Change(again, (attempt_of(again),), (event,))


def backoff_ms(task_id: str, attempts: int) -> int:
    """10 s × 2ⁿ ± 20 %, at most 10 min; the spread comes from the id, so the rule stays pure."""
    plain_ms = doubled_ms(BACKOFF_FIRST_MS, BACKOFF_MAX_MS, attempts - 1)
    return round(spread(plain_ms, dice_of(f"{task_id}/{attempts}"), 0.8, 1.2))


def counts_still(task: Task, token: int, *, success: bool = True) -> bool:
    """True if a result with this token may be applied; one attempt never fails twice."""
    if token != task.token or not token:
        return False
    if task.status == LEASED:
        return True
    return task.status in (QUEUED, FAILED) and task.ended in STILL_COUNTS and (success or task.ended not in SETTLED_AS)


def is_settled(task: Task, token: int) -> bool:
    """True if the attempt of this token, the latest one, has its result already: what comes now repeats it."""
    return token == task.token and (task.status in FINISHED or (task.status == QUEUED and task.ended in SETTLED_AS))


def closes_legacy_attempt(task: Task, worker_id: str) -> bool:
    """True if a result without a token may be applied: by the rules for old clients (docs/contract.md, section 3)."""
    if not task.is_legacy or (worker_id and worker_id != task.worker_id):
        return False
    return task.status == LEASED or (task.status == QUEUED and task.ended in ("released", "expired"))


def renews_legacy_lease(task: Task, worker_id: str) -> bool:
    """True if a renewal without a token may be granted."""
    is_open = task.status == LEASED or (task.status == QUEUED and task.ended in LOST_AS)
    return bool(task.is_legacy and is_open and task.token) and worker_id == task.worker_id


def releases_old_lease(task: Task, worker_id: str) -> bool:
    """True if a release without a token may be granted."""
    return bool(task.is_legacy) and (not worker_id or worker_id == task.worker_id)


def attempt_of(task: Task) -> Attempt:
    """The attempt of the task's latest lease; it is stored when it ends, and until then the task's own row tells it."""
    ended_at = task.updated_at if task.ended else 0
    return Attempt(
        task.id, task.token, task.worker_id, task.daemon_id, task.boot_id, task.claimed_at, ended_at, task.ended
    )


def attempts_of(task: Task, stored: Sequence[Attempt]) -> list[Attempt]:
    """All attempts of a task in the order of their tokens, the running one too, from the rows that are stored of it.

    A lease that ended and was taken up again has a row; it is the running one all the same.
    """
    if task.status != LEASED:
        return [*stored]
    return [*(attempt for attempt in stored if attempt.token != task.token), attempt_of(task)]


def task_event(task: Task, now: Now, name: str, message: str, level: str = "info", **fields: object) -> Event:
    """An event of the task's story."""
    said: dict[str, object] = {"taskId": task.id, "token": task.token} if task.token else {"taskId": task.id}
    said |= {key: value for key, value in fields.items() if value is not None}
    return Event(now.wall, level, name, "TaskQueue", message, said, task.id, task.daemon_id)


def _back_in_queue(task: Task, now: Now, outcome: str, event: str, *, reserved: bool) -> Task:
    holder = task.daemon_id or watch_name(task.worker_id) or task.worker_id  # an old daemon restarts with a new name
    return replace(
        task,
        status=status_after(task.status, event),
        ready=0 if reserved else 1,
        waiting_for=holder if reserved else "",
        updated_at=now.wall,
        ended=outcome,
    )


def _finished(task: Task, now: Now, event: str, outcome: str) -> Task:
    return replace(
        task,
        status=status_after(task.status, event),
        ready=0,
        waiting_for="",
        updated_at=now.wall,
        finished_at=now.wall,
        ended=outcome,
    )


def _poisoned(task: Task, now: Now, how: str, losses: int, loss: Event) -> Change[Task]:
    failed = replace(_finished(task, now, "poison", how), losses=losses)
    error = f"poison: lost {losses} times without a result"
    result = Result(task.id, 0, error=json.dumps(error), failure='{"class":"poison"}', token=task.token, at=now.wall)
    event = task_event(failed, now, "task.failed", f"Task {task.id} failed: {error}", level="warning", outcome="poison")
    return Change(failed, (attempt_of(failed), result), (loss, event))


def _waiting_event(task: Task, now: Now) -> tuple[Event, ...]:
    if not task.waiting_for:
        return ()
    asks = task.lease_on_loss == ASK or not task.boot_id
    event = task_event(
        task,
        now,
        "task.waiting",
        f"Task {task.id} waits for {task.waiting_for}",
        waitingFor=task.waiting_for,
        asksOwner=asks,
        since=iso(now.wall),
    )
    return (event,)
