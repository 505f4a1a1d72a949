"""The guard's rules: which runs to kill and when, from messages and time alone. Pure.

Law: a run is dead before anybody else may have its task. `requeue` runs (and those no accepted beat has
named yet) end with their lease; named `wait` and `ask` runs end only when they are lost or their daemon is gone.

Theory of operation
-------------------
1. Why a second process. A lease fences what the hub stores; the guard fences the world. A daemon that was killed,
   stopped or is stuck cannot end its own runs. macOS has no kernel feature for that, and those of Linux do not cover a
   daemon that is stopped but not dead (docs/adr/0005-guard-process.md).
2. One pipe. The daemon writes a line for each event of a run: Spawning before there is a process, Rooted with its pid,
   Held with each accepted renewal, Lost, RunDone. The end of the pipe is the end of the daemon, whatever the cause.
3. Deadlines. `deadline_ms` is counted from the sending of the last accepted renewal, less a margin, on a monotonic
   clock that goes on during sleep. So it lies before the hub's own end of the lease, at least by the time that the
   request took. It only moves forward.
4. Killing. KILL to the whole tree, found by its root's pid and start time and by the marker in its environment. A run
   that was killed before its root was known is killed again once the root is known. `Killed` is written before the
   signal, so that the daemon does not take this end for a failure of the task. The guard sends no TERM: a run that is
   cancelled or takes too long is ended by the daemon, which leaves it `GRACE_MS` between TERM and KILL (run.py).
5. The last will. When the pipe ends, all runs are killed, and then the lease of each one that is certainly dead is
   released. A run that the hub called lost leaves no will: its lease is somebody else's by now. A run that survives
   KILL leaves none either: its lease ends by itself.
6. A new guard knows nothing. The daemon starts one when the old one dies and repeats Spawning, Rooted and Held for
   every run; until then it starts no new run.

Doubts. If daemon and guard are killed together, nothing ends the runs before the next start of the daemon, which finds
them by their marker; until then only the lease fences them. A process that leaves its parent and clears its environment
between two notes of the tree escapes. Between fork and exec a child has no marker yet; the guard waits UNROOTED_MS for
it (guard.py), which is measured and not proven.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The hub's address and key for the last will: sent through the pipe, never in argv or environment."""

    hub_url: str
    api_key: str
    worker_id: str
    ca_file: str = ""


class Spawning(msgspec.Struct, frozen=True, tag="spawning"):
    """A run is about to get a process: from now on its marker is ours to find."""

    run_id: str
    task_id: str
    token: int
    on_loss: str
    deadline_ms: int  # mono
    is_named: bool = False


class Rooted(msgspec.Struct, frozen=True, tag="rooted"):
    """The root of its process tree."""

    run_id: str
    pid: int
    birth: float


class Held(msgspec.Struct, frozen=True, tag="held"):
    """The hub accepted a renewal: a new deadline (mono ms)."""

    run_id: str
    deadline_ms: int


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """The hub says the lease is gone: kill at once, and leave no will."""

    run_id: str


class RunDone(msgspec.Struct, frozen=True, tag="done"):
    """Nothing of it lives and its result is safe (or its lease given back): no business of ours any more."""

    run_id: str


class Gone(msgspec.Struct, frozen=True, tag="gone"):
    """The pipe is closed: there is no daemon any more. Never written, only seen."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The guard's first word: it is hidden from other processes, so it may get the key."""


class Killed(msgspec.Struct, frozen=True, tag="killed"):
    """Written before the killing: this end is no failure of the task."""

    run_id: str


Word = Ready | Killed
Message = Hello | Spawning | Rooted | Held | Lost | RunDone | Gone

Reason = Literal["lease_over", "lost", "daemon_gone"]


class WatchedRun(msgspec.Struct, frozen=True):
    """A run as the guard knows it."""

    run_id: str
    task_id: str
    token: int
    on_loss: str
    deadline_ms: int
    is_named: bool = False
    pid: int = 0
    birth: float = 0.0
    is_killed: bool = False
    has_will: bool = True

    @property
    def is_mortal(self) -> bool:
        """True if it ends with its lease."""
        return not self.is_killed and (self.on_loss == "requeue" or not self.is_named)


class WatchTree(msgspec.Struct, frozen=True):
    """Note the tree under this root from time to time."""

    run: WatchedRun


class Kill(msgspec.Struct, frozen=True):
    """KILL everything of this run, within a second."""

    run: WatchedRun
    reason: Reason


class Drop(msgspec.Struct, frozen=True):
    """Stop noting the tree of this run."""

    run_id: str


class Will(msgspec.Struct, frozen=True):
    """Give the lease back: its run is certainly dead."""

    run: WatchedRun


class EndGuard(msgspec.Struct, frozen=True):
    """Nothing is left to guard."""


Action = WatchTree | Kill | Drop | Will | EndGuard


class Guard:
    """The guard's memory and its rules. `step` with a message, or with None when time has passed."""

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self.runs: dict[str, WatchedRun] = {}

    def next_due_ms(self) -> int | None:
        """The nearest deadline (mono ms), or None if time alone kills nobody."""
        return min((run.deadline_ms for run in self.runs.values() if run.is_mortal), default=None)

    def step(self, now_ms: int, message: Message | None = None) -> tuple[Action, ...]:
        """The actions to take now, in order."""
        actions = self._heed(message) if message is not None else ()
        return actions if isinstance(message, Gone) else (*actions, *self._end_what_is_due(now_ms))

    def _heed(self, message: Message) -> tuple[Action, ...]:
        match message:
            case Hello():
                self.hello = message
            case Gone():
                return self._last_will()
            case Spawning():
                self._begin(message)
            case _ if message.run_id in self.runs:
                return self._heed_run(self.runs[message.run_id], message)
        return ()

    def _heed_run(self, run: WatchedRun, message: Rooted | Held | Lost | RunDone) -> tuple[Action, ...]:
        match message:
            case Rooted(pid=pid, birth=birth):
                run = self._change(run, pid=pid, birth=birth)
                # killed before its root was known: again, now that it is
                return (Kill(run, "lease_over"),) if run.is_killed else (WatchTree(run),)
            case Held(deadline_ms=deadline_ms):
                self._change(run, deadline_ms=max(run.deadline_ms, deadline_ms), is_named=True)
                return ()
            case Lost():
                return (Kill(self._change(run, is_killed=True, has_will=False), "lost"),)
            case RunDone():
                del self.runs[run.run_id]
                return (Drop(run.run_id),)

    def _change(self, run: WatchedRun, **changes: Any) -> WatchedRun:
        self.runs[run.run_id] = changed = msgspec.structs.replace(run, **changes)
        return changed

    def _begin(self, message: Spawning) -> None:
        self.runs[message.run_id] = WatchedRun(
            run_id=message.run_id,
            task_id=message.task_id,
            token=message.token,
            on_loss=message.on_loss,
            deadline_ms=message.deadline_ms,
            is_named=message.is_named,
        )

    def _end_what_is_due(self, now_ms: int) -> tuple[Action, ...]:
        due = [run for run in self.runs.values() if run.is_mortal and now_ms >= run.deadline_ms]
        for run in due:
            self._change(run, is_killed=True)
        return tuple(Kill(run, "lease_over") for run in due)

    def _last_will(self) -> tuple[Action, ...]:
        runs = tuple(self.runs.values())
        self.runs = {}
        kills = tuple(Kill(run, "daemon_gone") for run in runs)
        return (*kills, *(Will(run) for run in runs if run.has_will), EndGuard())
