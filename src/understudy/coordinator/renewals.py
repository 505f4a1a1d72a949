"""The runs of a heartbeat: it renews the leases that it names, and ends those that it should name and does not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from understudy.coordinator import leases
from understudy.coordinator.changes import Change
from understudy.coordinator.nouns import CANCELLED, LEASED, NAMED, Now, Policy, Progress, Task


class NamedRun(Struct, frozen=True):
    """A run as its daemon names it. Its token is what renews the lease; durations are counted by the daemon."""

    task_id: str
    token: int
    progress_at: str = ""
    idle_s: float | None = None
    idle_limit_s: float | None = None
    progress: str | None = None  # JSON text; None: nothing new
    checkpoint: str | None = None  # JSON text; None: nothing new


class Speaker(Struct, frozen=True):
    """The sender of a heartbeat, and how this heartbeat stands to earlier and later ones."""

    daemon_id: str
    boot_id: str = ""
    is_newer: bool = False  # than every beat of this boot that was heard before
    is_overtaken: bool = False  # a later beat of this boot was heard before: it renews nothing
    lists_runs: bool = False  # a lease that it leaves out has no run
    is_stopping: bool = False
    is_sign_of_life: bool = True  # else it neither ends nor renews anything


class Renewals(Struct, frozen=True):
    """The leases of a daemon after its heartbeat, and the answer about those that it named."""

    changes: list[Change[Task]]  # first what ended, then what was renewed
    lost: list[str]
    cancelled: list[str]
    shortest_ms: int  # of the renewed leases


def judge(
    speaker: Speaker,
    runs: Collection[NamedRun],
    held: Collection[Task],
    tasks: Mapping[str, Task],
    now: Now,
    policy: Policy,
) -> Renewals:
    """Judge `held`, the leases of this daemon, and `runs`, those that it names; `tasks` are the rows of the latter."""
    if not (runs or held):
        return Renewals([], [], [], policy.lease_ms)
    named = {run.task_id: run for run in runs}
    ended: list[Change[Task]] = []
    if speaker.is_sign_of_life:
        ended += (change for task in held if (change := ended_by(speaker, task, named.get(task.id), now, policy)))
    gone = {change.noun.id for change in ended}
    renewed: list[Change[Task]] = []
    lost, cancelled = [], []
    for task_id, run in named.items():
        task = tasks.get(task_id)
        if task is None or task.token != run.token or task_id in gone:
            lost.append(task_id)
        elif task.status == CANCELLED:
            cancelled.append(task_id)
        elif change := leases.renew(task, now):
            renewed.append(change)
        else:
            lost.append(task_id)
    if speaker.is_overtaken or not speaker.is_sign_of_life:
        renewed = []
    shortest_ms = min((change.noun.duration_ms for change in renewed), default=policy.lease_ms)
    return Renewals([*ended, *renewed], lost, cancelled, shortest_ms)


def ended_by(speaker: Speaker, task: Task, run: NamedRun | None, now: Now, policy: Policy) -> Change[Task] | None:
    """The end of a lease by this beat: it is of an older boot, or the beat no longer names it; None if it goes on."""
    is_its_own = task.status == LEASED and task.daemon_id == speaker.daemon_id
    if not (speaker.boot_id and is_its_own and task.boot_id) or (run is not None and run.token == task.token):
        return None
    if task.boot_id != speaker.boot_id:
        return leases.lose(task, now, policy, "lost", "its daemon was started anew")
    has_ended = speaker.lists_runs and (task.lease_flags & NAMED or speaker.is_stopping)
    if speaker.is_newer and has_ended:
        return leases.lose(task, now, policy, "lost", "its daemon runs it no more")
    return None


def progress_after(before: Progress | None, run: NamedRun, now: Now) -> Progress | None:
    """The row of a run's progress; None if it reports nothing new.

    What the run does not mention stays as it was: progress within this attempt, a checkpoint for later attempts too.
    """
    if run.progress is None and run.checkpoint is None:
        return None
    before = before or Progress(run.task_id, run.token, 0)
    earlier = before.progress if before.token == run.token else ""
    progress = earlier if run.progress is None else run.progress
    checkpoint = before.checkpoint if run.checkpoint is None else run.checkpoint
    return Progress(run.task_id, run.token, now.wall, progress, checkpoint)


def progress_of(
    runs: Iterable[NamedRun], tasks: Mapping[str, Task], before: Mapping[str, Progress], now: Now
) -> list[Progress]:
    """The rows of progress of all runs that still hold their tasks."""
    if not tasks:
        return []
    theirs = (run for run in runs if run.task_id in tasks and tasks[run.task_id].token == run.token)
    kept = (progress_after(before.get(run.task_id), run, now) for run in theirs)
    return [progress for progress in kept if progress is not None]
