"""All that the loops of one daemon share; touched only between two yields, so it needs no lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from understudy.clock import MS_PER_S, Clock
from understudy.ids import IdMaker
from understudy.worker.executors import Executor, Progress, Task, tag
from understudy.worker.results import Result

RUNNING, DRAINING, STOPPING, IDLE = "running", "draining", "stopping", "idle"
REQUEUE = "requeue"
GUARD_MARGIN_MS = 1000  # DESIGN 3, Guard: the lease is over for us a second before it is for the hub
RUNNING_NAMED_MAX = 256  # what a beat may name (wire limits)
UNDELIVERED_MAX = 200  # results waiting for the hub: beyond that nothing new is claimed


class Identity(msgspec.Struct, frozen=True):
    """Who this daemon is: its name, its machine, and this one life of it."""

    daemon_id: str
    machine_id: str
    boot_id: str
    version: str

    @property
    def worker_id(self) -> str:
        """The name on its leases: stable, what tells lives apart is the token."""
        return self.daemon_id


class Duties(msgspec.Struct, frozen=True):
    """How much this daemon does, and how often."""

    capacity: int = 1
    provides: tuple[str, ...] = ("machine",)
    interval_ms: int = 10_000  # between heartbeats
    poll_wait_ms: int = 15_000  # how long the hub may hold a claim that finds nothing
    drain_ms: int = 20_000  # how long runs may go on after a SIGTERM


class Lease(msgspec.Struct, frozen=True):
    """What the hub granted; durations only, no instants of its clock."""

    token: int
    on_loss: str
    duration_ms: int  # of a renewal
    first_ms: int  # until the first renewal


def guard_deadline(sent_ms: int, lasts_ms: int) -> int:
    """When (mono ms) a lease renewed by a request sent at `sent_ms` is over for us.

    A second before the hub's own end; leases of less than 4 s give up a quarter of their length instead.
    """
    return sent_ms + lasts_ms - min(GUARD_MARGIN_MS, lasts_ms // 4)


class Run:
    """One claimed task on its way through this daemon: waiting, then a process, then gone."""

    def __init__(self, run_id: str, task: Task, lease: Lease, sent_ms: int, now_at: int) -> None:
        self.id = run_id
        self.task = task
        self.lease = lease
        self.deadline_ms = guard_deadline(sent_ms, lease.first_ms)  # mono
        self.is_named = False  # a beat that named the token was accepted
        self.is_guarded = False  # a guard was told of it
        self.has_process = False
        self.pid = 0
        self.birth = 0.0  # of the root process: tells its pid from a reused one
        self.started_ms = 0  # mono
        self.stop = ""  # why it must end: "", "lost", "cancelled", "drain"
        self.progress = Progress(at=now_at)
        self.told = Progress(at=0)  # what the last accepted beat said of it

    @property
    def signal(self) -> str:
        """Raised when there is news for its loop."""
        return f"run:{self.id}"

    @property
    def is_mortal(self) -> bool:
        """Whether it must end with its lease: work that may run again elsewhere, or was never named."""
        return self.lease.on_loss == REQUEUE or not self.is_named

    def is_lease_over(self, mono_ms: int) -> bool:
        """Whether somebody else may already be working on it."""
        return self.is_mortal and mono_ms >= self.deadline_ms


class Signals:
    """Named flags; a raised one wakes its single waiter and is taken down by it."""

    def __init__(self) -> None:
        self._raised: set[str] = set()
        self.changes = 0  # grows with each raise, so that a runtime sees when to wake its waiters

    def raise_(self, name: str) -> None:
        """Wake whoever waits for it, now or at its next wait."""
        self._raised.add(name)
        self.changes += 1

    def take(self, name: str) -> bool:
        """Whether it was raised; it is down afterwards."""
        if name in self._raised:
            self._raised.discard(name)
            return True
        return False


class WorkerState:
    """The daemon as its loops see it."""

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        ids: IdMaker,
        executors: Mapping[str, Executor],
        duties: Duties,
        *,
        jitter: Callable[[], float] = lambda: 0.5,
        slept_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self.identity = identity
        self.clock = clock
        self.ids = ids
        self.executors = executors  # the first one takes tasks that ask for none
        self.duties = duties
        self.jitter = jitter
        self.slept_ms = slept_ms  # how long the machine has slept since it was started
        tags = (t for e in executors.values() for t in (*e.provides(), tag(e)))
        self.provides = tuple(dict.fromkeys((*duties.provides, *tags)))
        self.auth: dict[str, str] = {}  # executor → readiness
        self.signals = Signals()
        self.runs: dict[str, Run] = {}  # claimed and not yet ended, by run id
        self.results: dict[str, Result] = {}  # ended and not yet accepted, by run id, oldest first
        self.unkept: set[str] = set()  # of those: not on disk
        self.progress: dict[str, int] = {}  # loop → wall clock of its last step
        self.mode = RUNNING
        self.idle_reason = ""  # superseded or id_taken
        self.is_known = False  # a beat of this boot was accepted
        self.is_guarded = False
        self.is_stop_asked = False
        self.is_in_a_hurry = False  # asked a second time
        self.has_stopped_beating = False
        self.is_stopped = False  # nothing is left to do in this life
        self.seq = 0
        self.slept_said_ms = 0

    def mark(self, loop: str) -> None:
        """A loop made a step: its instant goes into each beat, so a dead loop is seen from outside."""
        self.progress[loop] = self.clock.now_ms()

    def free_slots(self) -> int:
        """How many more tasks may be claimed now."""
        return max(0, self.duties.capacity - len(self.runs))

    def may_claim(self) -> bool:
        """Whether new work would be in good hands."""
        return (
            self.mode == RUNNING
            and self.is_known
            and self.is_guarded
            and not self.unkept
            and len(self.results) < UNDELIVERED_MAX
            and any(state == "ok" for state in self.auth.values())
        )

    def executor_for(self, task: Task) -> Executor | None:
        """Who works on it: the one it names, else the first; None if it names one we do not have."""
        if task.executor is not None:
            return self.executors.get(task.executor)
        return next(iter(self.executors.values()))

    def claims_with(self) -> str:
        """The declared side effects of this daemon: the most careful word of its executors."""
        words = {executor.on_loss for executor in self.executors.values()}
        return next(word for word in ("ask", "wait", REQUEUE) if word in words)

    def ask_to_stop(self) -> None:
        """Somebody wants this life to end: the first time with a drain, the second time at once."""
        self.is_in_a_hurry = self.is_stop_asked
        self.is_stop_asked = True
        for name in ("main", "report"):
            self.signals.raise_(name)

    def stop_run(self, run: Run, why: str) -> None:
        """Ask a run's loop to end it; being lost outweighs every other reason."""
        if not run.stop or why == "lost":
            run.stop = why
            self.signals.raise_(run.signal)

    def stand_down(self, reason: str) -> None:
        """Another life or machine has this name: end all runs and beat no more (DESIGN 3, Identity)."""
        if self.mode == IDLE:
            return
        self.mode = IDLE
        self.idle_reason = reason
        for run in self.runs.values():
            self.stop_run(run, "lost")
        for name in ("claim", "beat", "main"):
            self.signals.raise_(name)


def seconds(ms: int) -> float:
    """Milliseconds as seconds for the wire; whole ones as integers."""
    return ms // MS_PER_S if ms % MS_PER_S == 0 else ms / MS_PER_S
