"""Takeover's loop: looks whether the hub must step in, probes, and begins calls while it may.

What a turn decides is decided in transactions: a turn that comes twice, late or on two hubs does no harm. A call that
is cut off in the middle is settled as spent when the hub starts the next time (`CutCalls`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from msgspec.structs import replace

from understudy.clock import Clock
from understudy.coordinator.calls import LEASE_MARGIN_MS, NoCall
from understudy.coordinator.takeover import CallOutcome, Reach
from understudy.coordinator.takeover_look import Verdict
from understudy.errors import UnavailableError, UnderstudyError
from understudy.hub.batch import Committed
from understudy.hub.call_ends import SettleCall
from understudy.hub.calls import ReserveCall, TakeoverCall
from understudy.hub.steps import Beside, Effect, Sleep, Steps, asked, unless_over
from understudy.hub.takeover import CheckTakeover, RecordProbe
from understudy.hub.working_set import tags_in
from understudy.services.claude import ClaudeApi
from understudy.wire.outbound import HttpAnswer, HttpRequest, NoAnswer

TELL_EVERY_MS = 2_000
PAUSE_MS_MIN = 200  # between two turns, however much happens
PAUSES_A_TURN = 20  # a look reads all daemons: with very many of them it is taken less often
PAUSE_MS_LEAST_MAX = 5_000
PAUSE_MS_MAX_SHARED = 5_000  # of several hubs one may have died and left a call
NEVER = 1 << 62
PROBE_EVERY_MS = 5_000
PROBE_TIMEOUT_MS = 5_000
SETTLE_TRIES_MS = 500
BROKEN_STATUS = 500  # from this status on a server reports a fault of its own


class TakeoverLoop:
    """The hub's own worker."""

    def __init__(
        self,
        worker_id: str,
        api: ClaudeApi,
        clock: Clock,
        *,
        probe_url: str = "",
        clean: Callable[[str], str] = str,
        is_shared: bool = False,
    ) -> None:
        self.worker_id = worker_id
        self._api = api
        self._clock = clock
        self._probe_url = probe_url
        self._clean = clean
        self._pause_ms_max = PAUSE_MS_MAX_SHARED if is_shared else NEVER
        self._tell_mono = 0
        self._is_to_tell = False  # again in a while
        self._reach = Reach()

    def is_concerned(self, committed: Committed) -> bool:
        """True if a turn is due after this commit: a daemon came or went, or there is a task to take over."""
        needs = {task.needs for task in committed.ready} if self._reach.away else set[str]()
        may_open = any(self._reach.may_open(frozenset(tags_in(tags))) for tags in needs)
        return may_open or any(_concerns(e.event.name) for e in committed.events)

    def step(self) -> Steps:
        """One turn, and the pause that must follow it."""
        began_mono = self._clock.mono_ms()
        pause_ms = yield from self._turn()
        took_ms = self._clock.mono_ms() - began_mono
        least_ms = min(max(PAUSE_MS_MIN, PAUSES_A_TURN * took_ms), PAUSE_MS_LEAST_MAX)
        yield Sleep(least_ms)
        return max(min(pause_ms, self._pause_ms_max) - least_ms, 0)

    def _turn(self) -> Steps:
        verdict = yield from self._look()
        if verdict.wants_probe:
            if not _reaches_world((yield HttpRequest("GET", self._probe_url, timeout_ms=PROBE_TIMEOUT_MS))):
                return PROBE_EVERY_MS
            yield RecordProbe()
            self._tell_mono = 0  # senders whose tasks waited for that get their message at once
            verdict = yield from self._look()
        tell_ms = self._tell_mono - self._clock.mono_ms()
        pause_ms = min(verdict.pause_ms, tell_ms) if self._is_to_tell else verdict.pause_ms
        while verdict.may_call:
            job: TakeoverCall | NoCall = yield ReserveCall(self.worker_id)
            if isinstance(job, NoCall):
                return min(pause_ms, job.pause_ms)
            why_not = yield from self._unless_over(job, Beside(f"call {job.task_id}", self.call(job)))
            if why_not:  # no thread is left
                yield from self._settle_unmade(job, why_not)
        return pause_ms

    def _unless_over(self, job: TakeoverCall, effect: Effect) -> Generator[Effect, Any, Any]:
        """The answer to this effect; a call that the end of the hub prevents is given back."""
        return unless_over(asked(effect), self._settle_unmade(job, "the hub is stopping"))

    def _settle_unmade(self, job: TakeoverCall, why: str) -> Generator[Effect, Any, None]:
        """Nothing was asked, so nothing is spent."""
        yield from self._settle(job, self._api.outcome_of(NoAnswer(why, was_sent=False)))

    def _look(self) -> Generator[Effect, Any, Verdict]:
        mono = self._clock.mono_ms()
        tells = mono >= self._tell_mono or not self._reach.away
        verdict: Verdict = yield CheckTakeover(tells=tells)
        if tells:
            self._tell_mono = mono + TELL_EVERY_MS
        self._is_to_tell = verdict.is_open or not tells
        self._reach = verdict.reach
        return verdict

    def call(self, job: TakeoverCall) -> Steps:
        """One call and its end; a store that cannot take the end is asked again until its lease is over anyway."""
        request = self._api.request_for(job.prompt, job.timeout_ms)
        called = self._api.outcome_of((yield from self._unless_over(job, request)))
        called = replace(called, text=self._clean(called.text), said=self._clean(called.said))
        until_mono = self._clock.mono_ms() + job.timeout_ms + LEASE_MARGIN_MS
        while not (yield from self._settle(job, called)) and self._clock.mono_ms() < until_mono:
            yield Sleep(SETTLE_TRIES_MS)
        return 0

    def _settle(self, job: TakeoverCall, called: CallOutcome) -> Generator[Effect, Any, bool]:
        """Settle a call; False if the store cannot take it now."""
        try:
            yield SettleCall(job, called, self.worker_id)
        except UnavailableError:
            return False
        except UnderstudyError:  # fencing: the task is somebody else's, and the cost is settled
            return True
        return True


def _concerns(name: str) -> bool:
    return name.startswith("daemon.") or name in ("task.waiting", "takeover.paused", "takeover.resumed")


def _reaches_world(answer: HttpAnswer | NoAnswer) -> bool:
    """True if there is a way to the world: whatever it answered, but for a server that says it is broken."""
    return not isinstance(answer, NoAnswer) and answer.status < BROKEN_STATUS
