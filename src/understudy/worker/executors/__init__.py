"""Executors: a pure plan before the run and a pure verdict after it; the runtime runs the process.

An executor knows one assistant (or command): how to ask it (`plan`), how to read what it says meanwhile
(`reading`), and whether what came back is an answer (`outcome`). It starts nothing and keeps nothing itself:
what it remembers of a conversation is an `AssistantSession`, given to it at the start and handed back with the outcome.
"""

from __future__ import annotations

import signal
from typing import Any, Protocol

import msgspec

KIB = 1024
MARKER = "UNDERSTUDY_RUN_ID"
TASK_MARKER = "UNDERSTUDY_TASK_ID"
OK = "ok"  # the word of an executor that can work
_STOPS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)  # by which a system that stops ends processes
_STOPPED_CODES = frozenset(code for number in _STOPS for code in (-number, 128 + number))  # 128: says who wrapped it


class TaskToRun(msgspec.Struct, frozen=True, rename="camel"):
    """The parts of a claimed task that a run needs; whatever else the hub says about it is ignored."""

    id: str
    content: str = ""
    timeout_sec: int = 3600
    executor: str | None = None
    workspace: str | None = None
    conversation: Any = None
    context: Any = None  # memory of its conversation
    checkpoint: Any = None  # what the attempt before left behind (a session id, say)
    metadata: Any = None
    source: Any = None


class AssistantSession(msgspec.Struct, frozen=True, omit_defaults=True):
    """An assistant's memory of a conversation, on this machine only."""

    id: str
    counters: dict[str, int] = {}  # usage so far, where the assistant counts by session (docs/measured.md, codex)
    used_at: int = 0  # wall clock, epoch ms


class Start(msgspec.Struct, frozen=True):
    """The circumstances of one start of a run."""

    session: AssistantSession | None = None  # to go on with; None: begin anew, with the memory as context
    cwd: str | None = None
    machine: str = ""  # the id of this machine: a session is good for nothing on another
    nth: int = 0  # 1: it was started before, and that came to nothing
    did: tuple[str, ...] = ()  # what the attempt before has done, as its checkpoint tells


NEW = Start()


class Plan(msgspec.Struct, frozen=True):
    """Everything needed to start one process; nothing of the daemon's own environment comes along."""

    argv: tuple[str, ...]
    env: dict[str, str]
    stdin: bytes = b""
    cwd: str | None = None
    nice: int = 10  # levels below the daemon, so that a busy build cannot starve the heartbeat (docs/measured.md)
    output_kept_bytes_max: int = 512 * KIB  # head and tail of stdout
    errors_kept_bytes_max: int = 64 * KIB  # of stderr
    output_bytes_max: int = 256 * KIB * KIB  # beyond that it is running away and is ended
    start_ms_max: int | None = None  # until its first sign of life; None: it need not give any
    idle_ms_max: int | None = None  # between two signs of life


class RunProgress(msgspec.Struct, frozen=True):
    """A sign of life out of a run: always the instant, sometimes words and a checkpoint to resume from."""

    at: int  # wall clock, epoch ms
    text: str | None = None
    checkpoint: str | None = None


class Ended(msgspec.Struct, frozen=True):
    """A process that has ended with all of its tree, but for `survivors`."""

    code: int | None  # exit code; negative: ended by that signal; None: it could not be learnt
    stdout: bytes = b""
    stderr: bytes = b""
    left_out_bytes: int = 0  # of stdout, between head and tail
    ran_away: bool = False  # more output than `output_bytes_max`
    survivors: int = 0  # processes that KILL did not end in time (not ours to kill, or stuck in the kernel)

    @property
    def was_interrupted(self) -> bool:
        """True if it has no exit code of its own: a signal ended it, or a wrapper says that one did."""
        return self.code is None or self.code < 0 or self.code in _STOPPED_CODES

    @property
    def has_crashed(self) -> bool:
        """True if a signal ended it that nobody sends to stop a process: its program is broken."""
        return self.code is not None and self.code < 0 and self.code not in _STOPPED_CODES

    @property
    def was_stopped(self) -> bool:
        """True if somebody else ended it, as a system does that stops; what ran away was ended by us."""
        return self.code in _STOPPED_CODES and not self.ran_away


class Outcome(msgspec.Struct, frozen=True):
    """The verdict on a run; `failure_class` is a stable word for programs, `error` is for people."""

    success: bool
    output: str | None = None
    error: str | None = None
    failure_class: str = ""
    failure_final: bool = False
    usage: dict[str, Any] | None = None
    again: str = ""  # why starting once more, without the session, is worth it: nothing was done yet
    auth: str = ""  # what it showed about the login, as a word of `readiness`
    is_untouched: bool = False  # it failed before it could do anything: the task may simply be given back


class Reading(Protocol):
    """Reads one run's output while it comes; called from one thread, must not block."""

    def feed(self, chunk: bytes, at: int) -> RunProgress | None:
        """Look at the next bytes of stdout, read at `at` (epoch ms); what they tell, if anything."""
        ...

    def said(self, ended: Ended) -> str | None:
        """The output so far of a run that was cut short."""
        ...

    def usage(self) -> dict[str, Any] | None:
        """Its usage so far, as far as it is known."""
        ...

    def session(self) -> AssistantSession | None:
        """The session with which the conversation can continue here."""
        ...


class PlainReading:
    """The plainest reading: any output shows that the run is alive."""

    def feed(self, chunk: bytes, at: int) -> RunProgress | None:
        return RunProgress(at=at) if chunk else None

    def said(self, ended: Ended) -> str | None:
        return ended.stdout.decode("utf-8", "replace") or None

    def usage(self) -> dict[str, Any] | None:
        return None

    def session(self) -> AssistantSession | None:
        return None


class Executor(Protocol):
    """One way of working on a task."""

    @property
    def name(self) -> str:
        """Provided as the tag `executor:<name>`."""
        ...

    @property
    def on_loss(self) -> str:
        """The handling of a task whose worker fell silent: `wait` if this executor has side effects."""
        ...

    def provides(self) -> tuple[str, ...]:
        """Further tags that having it brings."""
        ...

    def probe(self) -> Plan | None:
        """A cheap process that shows whether it is logged in; None if there is nothing to log in to."""
        ...

    def readiness(self, probed: Ended | None) -> str:
        """`ok`, or one word for what is wrong (`missing`, `logged_out`, …): goes into each beat as `auth`."""
        ...

    def plan(self, task: TaskToRun, run_id: str, start: Start = NEW) -> Plan:
        """The plan of its start for this task; ValueError if the task asks for something it cannot do."""
        ...

    def reading(self, start: Start = NEW) -> Reading:
        """A fresh reader for one start of a run."""
        ...

    def outcome(self, ended: Ended, reading: Reading | None = None) -> Outcome:
        """The verdict on what came back; `reading` is the one that was fed with it."""
        ...


def markers(task: TaskToRun, run_id: str) -> dict[str, str]:
    """The names a run's processes carry, by which any survivor is found."""
    return {MARKER: run_id, TASK_MARKER: task.id}


def tag(executor: Executor) -> str:
    """The tag that a task with `executor` needs."""
    return f"executor:{executor.name}"
