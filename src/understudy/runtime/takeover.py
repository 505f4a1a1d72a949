"""Takeover's loop: looks whether the hub must step in, probes, and makes calls while it may; each call in a thread.

`step` is one turn and says how long to sleep; the simulator drives the same one. What a turn decides is decided
in transactions: a turn that comes twice, late or on two hubs does no harm.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from msgspec.structs import replace

from understudy.coordinator.takeover import Called
from understudy.errors import UnavailableError, UnderstudyError
from understudy.hub.batch import Committed
from understudy.hub.call_ends import Settle
from understudy.hub.calls import Job, Nothing, Reserve
from understudy.hub.takeover import LOOK_EVERY_MS, Look, Probed, Verdict
from understudy.runtime.transport import Transport
from understudy.runtime.writer import Writer
from understudy.services.claude import ClaudeApi
from understudy.wire.outbound import HttpRequest, NoAnswer

TELL_EVERY_MS = 2_000
PAUSE_MS_MIN = 200  # between two turns, however much happens
PAUSES_A_TURN = 20  # a look reads all daemons: with very many of them it is taken less often
PAUSE_MS_LEAST_MAX = 5_000
PROBE_EVERY_MS = 5_000
PROBE_TIMEOUT_MS = 5_000
RETRY_MS = 1_000
SETTLE_TRIES_MS = 500
STOP_WITHIN_S = 2.0  # a probe on its way is not waited for


class Takeover:
    """The hub's own worker, apart from its threads."""

    def __init__(
        self,
        writer: Writer,
        worker_id: str,
        *,
        start_call: Callable[[Job], None],
        probe: Callable[[], bool],
    ) -> None:
        self._writer = writer
        self.worker_id = worker_id
        self._start_call = start_call
        self._probe = probe
        self._clock = writer.engine.clock
        self._tell_mono = 0
        self.is_open = False
        self.on_wake: Callable[[], None] = lambda: None
        writer.after_commit(self.look_at)

    def look_at(self, committed: Committed) -> None:
        """After a commit: wake up if a daemon came or went, or there is a task to take over."""
        if (committed.ready and self.is_open) or any(_concerns(stored.event.name) for stored in committed.events):
            self.on_wake()

    def step(self) -> int:
        """One turn; how many ms may pass until the next."""
        verdict = self._look()
        if verdict.wants_probe:
            if not self._probe():
                return PROBE_EVERY_MS
            self._writer.decide_blocking(Probed())
            verdict = self._look()
        pause_ms = min(verdict.pause_ms, self._tell_mono - self._clock.mono_ms()) if self.is_open else verdict.pause_ms
        while verdict.may_call:
            job: Job | Nothing = self._writer.decide_blocking(Reserve(self.worker_id))
            if isinstance(job, Nothing):
                return min(pause_ms, job.pause_ms)
            self._start_call(job)
        return pause_ms

    def _look(self) -> Verdict:
        mono = self._clock.mono_ms()
        tells = mono >= self._tell_mono or not self.is_open
        verdict: Verdict = self._writer.decide_blocking(Look(tells=tells))
        if tells:
            self._tell_mono = mono + TELL_EVERY_MS
        self.is_open = verdict.is_open
        return verdict

    def settle(self, job: Job, called: Called) -> Any:
        """The end of a call. UnavailableError if the store cannot take it; ConflictError: the lease is lost."""
        answer = self._writer.decide_blocking(Settle(job, called, self.worker_id))
        self.on_wake()
        return answer


def _concerns(name: str) -> bool:
    return name.startswith("daemon.") or name in ("task.waiting", "takeover.resumed")


class TakeoverThreads:
    """Runs the loop in one thread and each call in another."""

    def __init__(
        self,
        writer: Writer,
        api: ClaudeApi,
        transport: Transport,
        on_trouble: Callable[[BaseException], None],
        *,
        worker_id: str,
        probe_url: str = "",
        clean: Callable[[str], str] = str,
    ) -> None:
        self._clock = writer.engine.clock
        self._api = api
        self._transport = transport
        self._on_trouble = on_trouble
        self._probe_url = probe_url
        self._clean = clean
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="takeover", daemon=True)
        self.loop = Takeover(writer, worker_id, start_call=self._start, probe=self._reaches_world)
        self.loop.on_wake = self._wake.set

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def stop(self) -> None:
        """Start nothing more. A call on its way is not waited for: it is settled as spent at the next start."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=STOP_WITHIN_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            began_ms = self._clock.mono_ms()
            pause_ms = self._safe_step()
            took_ms = self._clock.mono_ms() - began_ms
            least_ms = min(max(PAUSE_MS_MIN, PAUSES_A_TURN * took_ms), PAUSE_MS_LEAST_MAX)
            self._stopped.wait(least_ms / 1000)
            self._wake.wait(max(pause_ms - least_ms, 0) / 1000)
            self._wake.clear()

    def _safe_step(self) -> int:
        """A turn, and when anything fails: say so and look again soon. This loop never ends by itself."""
        try:
            return min(self.loop.step(), LOOK_EVERY_MS)
        except Exception as trouble:  # noqa: BLE001 - the outermost place of takeover
            if not self._stopped.is_set():
                self._on_trouble(trouble)
            return RETRY_MS

    def _start(self, job: Job) -> None:
        """As many at once as reservations allow. No thread pool: the interpreter would wait for its threads at exit."""
        try:
            threading.Thread(target=self._call, args=(job,), name=f"call {job.task_id}", daemon=True).start()
        except RuntimeError as error:  # "can't start new thread": nothing was asked, so nothing is spent
            self._settled(job, self._api.outcome_of(NoAnswer(str(error), was_sent=False)))

    def _call(self, job: Job) -> None:
        """One call and its end; a store that cannot take the end is asked again until its lease is over anyway."""
        try:
            answer = self._transport.http(self._api.request_for(job.prompt, job.timeout_ms))
            called = self._api.outcome_of(answer)
            called = replace(called, text=self._clean(called.text), said=self._clean(called.said))
            until_ms = self._clock.mono_ms() + job.timeout_ms
            while not self._settled(job, called) and self._clock.mono_ms() < until_ms:
                if self._stopped.wait(SETTLE_TRIES_MS / 1000):
                    return
        except Exception as trouble:  # noqa: BLE001 - the outermost place of a call: it will be settled as spent
            if not self._stopped.is_set():
                self._on_trouble(trouble)

    def _settled(self, job: Job, called: Called) -> bool:
        try:
            self.loop.settle(job, called)
        except UnavailableError:
            return False
        except UnderstudyError:  # fencing: the task is somebody else's, and the cost is settled
            self._wake.set()
        return True

    def _reaches_world(self) -> bool:
        answer = self._transport.http(HttpRequest("GET", self._probe_url, timeout_ms=PROBE_TIMEOUT_MS))
        return not isinstance(answer, NoAnswer) and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
