"""The effects of a loop: frozen values that a runtime (real or simulated) carries out.

A loop is a generator: it yields one of these and is sent the answer named in its docstring. Between two
yields it runs alone (the runtime holds the one lock), so what it does to the shared state is atomic.
"""

from __future__ import annotations

from collections.abc import Generator
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from understudy.wire.refusals import has_words
from understudy.worker.directives import ReceivedDirective, SavedDirectives
from understudy.worker.executors import AssistantSession, Ended, Plan, RunProgress
from understudy.worker.guard_policy import Message
from understudy.worker.results import RunResult

T = TypeVar("T")
NOT_HERE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)  # of the path itself
NOT_NOW = (  # a new key, another hub or a pause fixes it
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    *NOT_HERE,
)
NOT_OF_THE_CONTENT = (  # whatever is sent, the answer is the same
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
    *NOT_HERE,
)

TOO_LARGE_ON_THE_WAY = "too_large_on_the_way"  # a proxy's 413: the hub itself was not asked


class Call(msgspec.Struct, frozen=True):
    """Send one request to the hub → `HubAnswer` or `Failed`.

    `abort` names it for `Abort`; a request that is not on its way is not affected by that.
    """

    method: str
    path: str
    body: dict[str, Any]
    timeout_ms: int
    abort: str = ""


class HubAnswer(msgspec.Struct, frozen=True):
    """The hub answered: any status, and the JSON object of the body."""

    status: int
    body: dict[str, Any]

    @property
    def is_final(self) -> bool:
        """True if asking again would change nothing: done, or refused by the hub itself.

        Proxies refuse too, with 4xx and a page; only the hub's refusals are objects with a sentence as their `error`.
        That a path is unknown says nothing about what was sent to it: a hub answers for each result, lease or run.
        """
        is_refused = HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR
        return self.status == HTTPStatus.OK or (is_refused and self.status not in NOT_NOW and has_words(self.body))


class Failed(msgspec.Struct, frozen=True):
    """Nothing usable came back: the request may or may not have been carried out."""

    reason: str
    word: str = ""  # of a start: what this machine lacks (worker/start_faults.py)
    status: int = 0  # of a whole answer that was not the hub's: a firewall or a proxy spoke; 0: there was none


def may_mean_the_content(answer: HubAnswer | Failed) -> bool:
    """True if a request with other content may get through: a 4xx that is not about the key, the path or the pace."""
    is_refused = HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
    return is_refused and answer.status not in NOT_OF_THE_CONTENT


class Abort(msgspec.Struct, frozen=True):
    """Cut the call of that name short, if one is on its way: it ends as `Failed` → None."""

    name: str


class ResetConnections(msgspec.Struct, frozen=True):
    """Forget kept connections: after a sleep they are dead without saying so → None."""


class Wait(msgspec.Struct, frozen=True):
    """Sleep until the signal is raised (and take it down) or the time is over → whether it was raised.

    A signal raised before the wait counts; each signal has one waiter. See `state.Signals`.
    """

    signal: str
    timeout_ms: int


class Fork(msgspec.Struct, frozen=True):
    """Run another loop beside this one → None. If it ends by an exception, it is started anew if `again`."""

    name: str
    start: Any  # Callable[[], Loop], which msgspec cannot name
    again: bool = True


class WriteLog(msgspec.Struct, frozen=True):
    """Write one log event → None."""

    level: str
    component: str
    message: str
    fields: dict[str, Any] = {}


class NotifyOwner(msgspec.Struct, frozen=True):
    """Send this machine's owner a notice by a channel of its own, past the hub → None, at once."""

    level: str
    title: str
    text: str
    about: str = ""  # the same of an alarm and its end, by which a receiver joins them


class Spawn(msgspec.Struct, frozen=True):
    """Start a run's process → `Spawned` or `Failed`. Raises the signal `run:<id>` when there is news."""

    run_id: str
    plan: Plan
    reading: Any = None  # executors.Reading: fed with the output while it comes


class Spawned(msgspec.Struct, frozen=True):
    """The root of a run's process tree; `birth` tells it from a later process with its pid."""

    pid: int
    birth: float


class AwaitRun(msgspec.Struct, frozen=True):
    """Wait for news of a run, at most this long → `Ended` (nothing of its tree lives), `RunProgress` or None."""

    run_id: str
    timeout_ms: int


class StopRun(msgspec.Struct, frozen=True):
    """End a run's whole tree → `Ended` once nothing of it lives, or None if there is no such run.

    TERM, then `grace_ms`, then KILL; with 0, KILL at once.
    """

    run_id: str
    grace_ms: int


class Probe(msgspec.Struct, frozen=True):
    """Run a small process to its end → `Ended`, or `Failed` if it cannot be started or does not end in time."""

    plan: Plan
    timeout_ms: int


class SaveSessions(msgspec.Struct, frozen=True):
    """Write the sessions of all conversations to disk, best effort → None.

    Runs that end together save at once: of those the highest `nth` is the last word, in whichever order they come.
    """

    sessions: dict[str, AssistantSession]
    nth: int


class LoadDirectives(msgspec.Struct, frozen=True):
    """Load the directives of earlier lives → `LoadedDirectives`.

    `has_arrived`: a heartbeat of this life was accepted; the process that watches an update waits for it.
    """

    has_arrived: bool = False


class LoadedDirectives(msgspec.Struct, frozen=True):
    """The directives of earlier lives. `verdicts`: why an update was undone; `environment`: of this life."""

    saved: SavedDirectives = SavedDirectives()
    verdicts: dict[str, str] = {}
    environment: str = ""


class SaveDirectives(msgspec.Struct, frozen=True):
    """Write the directives to disk → None, or `Failed`."""

    saved: SavedDirectives


class Install(msgspec.Struct, frozen=True):
    """Install a version into an environment of its own, beside this one → `Installed` or `Failed`."""

    directive: ReceivedDirective
    timeout_ms: int


class Installed(msgspec.Struct, frozen=True):
    """The environment of a version that is ready to be started."""

    environment: str
    version: str


class LoadSpool(msgspec.Struct, frozen=True):
    """Load the spooled results that are not yet delivered, oldest first → `tuple[RunResult, ...]`."""


class SpoolResult(msgspec.Struct, frozen=True):
    """Write a result to the spool (fsync) → None, or `Failed` if the disk refuses or the spool is full."""

    result: RunResult


class UnspoolResult(msgspec.Struct, frozen=True):
    """A result was accepted: remove it from the spool → None."""

    name: str


class ArchiveResult(msgspec.Struct, frozen=True):
    """A result that no hub will accept any more: move it from the spool to the evidence → None."""

    result: RunResult
    reason: str


class StartGuard(msgspec.Struct, frozen=True):
    """Start a guard and tell it how to reach the hub → None, or `Failed`. Raises `guard` when it dies."""


class TellGuard(msgspec.Struct, frozen=True):
    """Write to the guard's pipe → whether it took the message.

    Never blocks, and the loop is not interrupted by it, so messages keep the order of decisions.
    """

    message: Message


class AskGuard(msgspec.Struct, frozen=True):
    """Ask whether the guard has killed this run by itself, because its lease was over → bool."""

    run_id: str


Effect = (
    Call
    | Abort
    | ResetConnections
    | Wait
    | Fork
    | WriteLog
    | NotifyOwner
    | Spawn
    | AwaitRun
    | StopRun
    | Probe
    | SaveSessions
    | LoadDirectives
    | SaveDirectives
    | Install
    | LoadSpool
    | SpoolResult
    | UnspoolResult
    | ArchiveResult
    | StartGuard
    | TellGuard
    | AskGuard
)
Steps = Generator[Effect, Any, T]
Loop = Steps[None]

__all__ = [
    "TOO_LARGE_ON_THE_WAY",
    "Abort",
    "ArchiveResult",
    "AskGuard",
    "AwaitRun",
    "Call",
    "Effect",
    "Ended",
    "Failed",
    "Fork",
    "HubAnswer",
    "Install",
    "Installed",
    "LoadDirectives",
    "LoadSpool",
    "LoadedDirectives",
    "Loop",
    "NotifyOwner",
    "Plan",
    "Probe",
    "ResetConnections",
    "RunProgress",
    "RunResult",
    "SaveDirectives",
    "SaveSessions",
    "Spawn",
    "Spawned",
    "SpoolResult",
    "StartGuard",
    "Steps",
    "StopRun",
    "TellGuard",
    "UnspoolResult",
    "Wait",
    "WriteLog",
]
