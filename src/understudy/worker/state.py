"""All that the loops of one daemon share; touched only between two yields, so it needs no lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from understudy.clock import MS_PER_S, Clock, iso
from understudy.ids import IdMaker
from understudy.redact import Redactor
from understudy.wire.limits import TAG_CHARS_MAX
from understudy.worker.directives import DirectiveOutcome, ReceivedDirective
from understudy.worker.executors import OK, AssistantSession, Executor, Plan, Reading, RunProgress, TaskToRun, tag
from understudy.worker.liveness import Liveness
from understudy.worker.result_batches import ResultBatches
from understudy.worker.results import RunResult
from understudy.worker.untouched import Untouched
from understudy.worker.workspaces import Workspaces

RUNNING, DRAINING, STOPPING, IDLE = "running", "draining", "stopping", "idle"
REQUEUE = "requeue"
NO_LOGIN = "diagnostic"  # can always work, and answers nobody's question
HAS_TOKEN = "claude_code"  # noqa: S105 - an executor: its token lasts a year (docs/measured.md, Logins)
TOKEN_WARNED_MS = 30 * 86_400_000
GUARD_MARGIN_MS = 1000  # docs/adr/0005-guard-process.md: the lease is over for us a second before it is for the hub
RUNNING_NAMED_MAX = 256  # what a beat may name (wire limits)
PROVIDES_MAX = 256  # what a claim or beat may name (wire limits); a longer list would refuse the whole of it
UNDELIVERED_MAX = 200  # results waiting for the hub: beyond that nothing new is claimed


class Identity(msgspec.Struct, frozen=True):
    """The identity of this daemon: its name, its machine, and this one life of it."""

    daemon_id: str
    machine_id: str
    boot_id: str
    version: str

    @property
    def worker_id(self) -> str:
        """The name on its leases, the same in each life: it is the token that tells lives apart."""
        return self.daemon_id


class Duties(msgspec.Struct, frozen=True):
    """The amounts and intervals of this daemon's work."""

    capacity: int = 1
    provides: tuple[str, ...] = ("machine",)
    interval_ms: int = 10_000  # between heartbeats
    poll_wait_ms: int = 15_000  # how long the hub may hold a claim that finds nothing
    drain_ms: int = 20_000  # how long runs may go on after a SIGTERM
    token_ends_at: int = 0  # wall clock, of the assistant's token; 0: unknown
    may_update: bool = True  # whether the directive `update` is obeyed
    run_ms_max: int = 0  # no run is longer, whatever its task says; 0: the task alone decides
    hub_away_ms: int = 300_000  # the owner gets a notice when the hub was out of reach this long; 0: never


class Lease(msgspec.Struct, frozen=True):
    """A lease as the hub granted it; durations only, no instants of its clock."""

    token: int
    on_loss: str
    duration_ms: int  # of a renewal
    first_ms: int  # until the first renewal
    held_ms: int | None = None  # what of `first_ms` was over at the claim's answer; None: the hub does not say


def guard_deadline(sent_ms: int, lasts_ms: int) -> int:
    """The instant (mono ms) at which this daemon takes a lease for over that a request sent at `sent_ms` renewed.

    A second before the hub's own end; leases of less than 4 s give up a quarter of their length instead.
    """
    return sent_ms + lasts_ms - min(GUARD_MARGIN_MS, lasts_ms // 4)


class Run:
    """One claimed task on its way through this daemon: waiting, then a process, then gone."""

    def __init__(self, run_id: str, task: TaskToRun, lease: Lease, sent_ms: int, now_at: int) -> None:
        self.id = run_id
        self.task = task
        self.lease = lease
        self.deadline_ms = guard_deadline(sent_ms, lease.first_ms)  # mono
        self.is_named = False  # a beat that named the token was accepted
        self.is_guarded = False  # a guard knows it
        self.has_process = False
        self.pid = 0
        self.birth = 0.0  # of the root process: tells its pid from a reused one
        self.plan: Plan | None = None  # of its process
        self.reading: Reading | None = None
        self.counted_ms = sent_ms  # mono: since when the hub may count its time limit
        self.has_turn = False  # what it needs for itself is its own (worker/turns.py)
        self.started_ms = 0  # mono
        self.heard_ms: int | None = None  # awake time of its last sign of life
        self.stop = ""  # why it must end: "", "lost", "cancelled", "drain"
        self.progress = RunProgress(at=now_at)
        self.killed_until_ms: int | None = None  # mono: KILL is repeated until then; None: it needs no repetition
        self.reported = RunProgress(at=0)  # what the last accepted beat said of it
        self.quiet: tuple[RunProgress | None, int] = (None, 0)  # its last sign, and the contact time of that

    @property
    def signal(self) -> str:
        """Raised when there is news for its loop."""
        return f"run:{self.id}"

    @property
    def is_mortal(self) -> bool:
        """True if it must end with its lease: work that may run again elsewhere, or was never named."""
        return self.lease.on_loss == REQUEUE or not self.is_named

    def is_lease_over(self, mono_ms: int) -> bool:
        """True if another worker may already have the task."""
        return self.is_mortal and mono_ms >= self.deadline_ms


class Signals:
    """Named flags; a raised one wakes its single waiter and is taken down by it."""

    def __init__(self) -> None:
        self._raised: set[str] = set()
        self.changes = 0  # grows with each raise, so that a runtime sees when to wake its waiters

    def raise_(self, name: str) -> None:
        """Wake the loop that waits for it, now or at its next wait."""
        self._raised.add(name)
        self.changes += 1

    def take(self, name: str) -> bool:
        """True if it was raised; it is down afterwards."""
        if name in self._raised:
            self._raised.discard(name)
            return True
        return False

    def forget(self, name: str) -> None:
        """Nobody will ever wait for it again."""
        self._raised.discard(name)


class Slept(msgspec.Struct):
    """The machine's sleep that was dealt with, in ms."""

    said_ms: int = 0  # accepted heartbeats have reported it
    heeded_ms: int = 0  # had passed when an awakening was last acted on


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
        self.identity = identity  # its names, fixed for this life
        self.clock = clock
        self.ids = ids
        self.executors = executors  # the first one takes tasks that ask for none
        self.duties = duties  # how much it does, and how often
        self.jitter = jitter  # 0 to 1, for pauses
        self.slept_ms = slept_ms  # how long the machine has slept since it was started
        tags = (t for e in executors.values() for t in (*e.provides(), tag(e)))
        fitting = (t for t in (*duties.provides, *tags) if len(t) <= TAG_CHARS_MAX)
        self.provides = tuple(dict.fromkeys(fitting))[:PROVIDES_MAX]  # its tags and those of its executors
        self.workspaces = Workspaces()  # directories that tasks may name
        self.redactor = Redactor()  # for what leaves this machine: results, progress, checkpoints
        self.auth: dict[str, str] = {}  # executor → state of its login; the first one is that of tasks that name none
        self.auth_shown: dict[str, str] = {}  # the same as runs showed it, until the auth loop looks
        self.sessions: dict[str, AssistantSession] = {}  # by conversation, the one used last at the end
        self.sessions_nth = 0  # how often they were saved
        self.signals = Signals()  # wake the loops
        self.runs: dict[str, Run] = {}  # claimed and not yet ended, by run id
        self.results: dict[str, RunResult] = {}  # ended and not yet accepted, by run id, oldest first
        self.batches = ResultBatches(clock, jitter)  # of those: which go next
        self.places: dict[str, int] = {}  # tasks that have not begun, by id, the first to come first
        self.places_nth = 0  # how many there were
        self.unkept: set[str] = set()  # of those: not on disk
        self.shortened: set[str] = set()  # of those: too large for the hub, the whole is evidence
        self.start_faults: dict[str, str | None] = {}  # executors that this machine could not start, and where
        self.untouched = Untouched()  # tasks given back although their process had begun
        self.auth_asked: set[str] = set()  # executors whose login was looked at in this life
        self.liveness = Liveness()  # which loops make progress
        self.directives: dict[str, ReceivedDirective] = {}  # as the hub offers them, by id, oldest first
        self.outcomes: dict[str, DirectiveOutcome] = {}  # outcomes of directives, kept across lives
        self.has_unkept_outcomes = False  # the disk has not taken the latest of them
        self.is_drained = False  # drained by a directive: claims nothing until `resume`
        self.drain_until_ms = 0  # mono: when an ordered drain must be over; 0: no such drain
        self.successor = ""  # what this life ends for: "", "restart" or the environment of an update
        self.mode = RUNNING  # RUNNING, DRAINING, STOPPING or IDLE
        self.idle_reason = ""  # superseded or id_taken; "": not idle
        self.is_known = False  # a heartbeat of this boot was accepted
        self.open_alarms: set[str] = set()  # what the owner was alarmed about by this daemon, earlier lives included
        self.is_hub_foreign = False  # its leases cannot be held (worker/foreign_hub.py)
        self.must_ask = False  # the machine slept: what is ours is not known until a heartbeat is accepted
        self.starts_last_hour = 0  # of this daemon, this one included
        self.is_guarded = False  # a guard lives and knows every run
        self.is_stop_asked = False  # this life is to end
        self.ends_for_good_ms: int | None = (
            None  # mono: when that was asked for, not for another start; None: it was not
        )
        self.is_in_a_hurry = False  # that was asked a second time: without a drain
        self.planned_for_ms: int | None = None  # of an announced stop; 0: until a start; None: not announced
        self.has_stopped_beating = False  # the last heartbeat is sent, or given up
        self.is_stopped = False  # nothing is left to do in this life
        self.seq = 0  # of the last heartbeat, from 1; 0: none sent
        self.slept = Slept()  # of `slept_ms`: how far it was reported, and heeded

    def mark(self, loop: str) -> None:
        """A loop succeeded, or has nothing to do: each beat reports it, so that the hub sees a dead or deaf loop."""
        self.liveness.mark(loop)

    def free_slots(self) -> int:
        """The number of further tasks that may be claimed now.

        Runs and undelivered results together are never more than a beat may name: the hub takes what a beat leaves out
        for lost.
        """
        return max(0, min(self.duties.capacity, RUNNING_NAMED_MAX - len(self.results)) - len(self.runs))

    def may_claim(self) -> bool:
        """True if this daemon may claim: known to the hub, guarded, its spool healthy and its login working."""
        return (
            self.mode == RUNNING
            and self.is_known
            and not self.must_ask
            and self.is_guarded
            and not self.unkept
            and len(self.results) < UNDELIVERED_MAX
            and self.is_ready()
        )

    def is_ready(self) -> bool:
        """True if the default executor works; without it a claim would mostly bring tasks that fail."""
        return self.auth.get(next(iter(self.executors))) == OK

    def offers(self) -> tuple[str, ...]:
        """The tags of a claim: those of executors that cannot work are left out."""
        idle = {tag(executor) for name, executor in self.executors.items() if self.auth.get(name) != OK}
        return tuple(t for t in self.provides if t not in idle)

    def set_auth(self, name: str, word: str, *, is_shown_by_run: bool = False) -> None:
        """Set the state of an executor's login: it goes into the next heartbeat, which is sent at once if it is new."""
        is_news = self.auth.get(name) != word
        self.auth[name] = word
        self.auth_asked.add(name)
        if is_shown_by_run:
            self.auth_shown[name] = word
            self.signals.raise_("auth")
        if is_news:
            for signal in ("beat", "claim"):
                self.signals.raise_(signal)

    def logins(self) -> dict[str, str]:
        """The logins for a heartbeat, the one of unnamed tasks first; empty until that one was checked."""
        first = next(iter(self.executors))
        if first not in self.auth_asked and self.auth.get(first) != OK:
            return {}
        return {
            name: self.token_word(name, word)
            for name, word in self.auth.items()
            if (name in self.auth_asked or word == OK) and (name == first or name != NO_LOGIN)
        }

    def token_word(self, name: str, word: str) -> str:
        """The word of a login for a heartbeat: `expiring` and the date if it is well, but its token ends soon."""
        ends_at = self.duties.token_ends_at
        if word != OK or name != HAS_TOKEN or not ends_at or self.clock.now_ms() < ends_at - TOKEN_WARNED_MS:
            return word
        return f"expiring:{iso(ends_at)[:10]}"

    def turns(self, task: TaskToRun) -> frozenset[str]:
        """The resources that this task must have for itself while it runs."""
        executor = self.executor_for(task)
        return self.workspaces.turns(task, executor.name) if executor is not None else frozenset()

    def awake_ms(self) -> int:
        """Elapsed time without the sleep of the machine, in which nobody can be expected to do anything."""
        return self.clock.mono_ms() - self.slept_ms()

    def executor_for(self, task: TaskToRun) -> Executor | None:
        """The executor for a task: the one it names, else the first; None if this daemon does not have it."""
        if task.executor is not None:
            return self.executors.get(task.executor)
        return next(iter(self.executors.values()))

    def claims_with(self) -> str:
        """The `onLoss` of this daemon's claims: the most careful one among those of its executors."""
        words = {executor.on_loss for executor in self.executors.values()}
        return next(word for word in ("ask", "wait", REQUEUE) if word in words)

    def ask_to_stop(self, planned_for_ms: int | None = None) -> None:
        """Somebody wants this life to end for good: the first time with a drain, the second time at once."""
        self.planned_for_ms = planned_for_ms
        self.is_in_a_hurry = self.ends_for_good_ms is not None
        if self.ends_for_good_ms is None:
            self.ends_for_good_ms = self.clock.mono_ms()
        self.is_stop_asked = True
        self.successor = ""
        for name in ("main", "report"):
            self.signals.raise_(name)

    def give_way(self, successor: str) -> None:
        """End this life, with a drain, for another start of this daemon."""
        if self.is_stop_asked:
            return
        self.is_stop_asked = True
        self.successor = successor
        for name in ("main", "report"):
            self.signals.raise_(name)

    def begin_drain(self) -> None:
        """Claim and begin nothing more: what waits is given back, what has begun may go on."""
        self.mode = DRAINING
        for run in self.runs.values():
            if not run.has_process:
                self.stop_run(run, "drain")

    def stop_run(self, run: Run, why: str) -> None:
        """Ask a run's loop to end it; being lost outweighs every other reason."""
        if not run.stop or why == "lost":
            run.stop = why
            self.signals.raise_(run.signal)

    def stand_down(self, reason: str) -> None:
        """Another life or machine has this name: end all runs and beat no more."""
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
