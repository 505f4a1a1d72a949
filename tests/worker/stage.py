"""A stage for loops: one thread, a clock that is moved, processes and a guard that are only played."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from understudy.clock import ManualClock
from understudy.ids import IdMaker
from understudy.worker.effects import (
    Abort,
    ArchiveResult,
    AskGuard,
    AwaitRun,
    Call,
    Ended,
    Failed,
    Fork,
    HubAnswer,
    Install,
    LoadDirectives,
    LoadedDirectives,
    LoadSpool,
    Loop,
    NotifyOwner,
    Probe,
    RunResult,
    SaveDirectives,
    Spawn,
    Spawned,
    SpoolResult,
    StartGuard,
    StopRun,
    TellGuard,
    UnspoolResult,
    Wait,
    WriteLog,
)
from understudy.worker.executors import Plan, TaskToRun
from understudy.worker.executors.command import CommandExecutor
from understudy.worker.guard_policy import Guard, Hello, Kill
from understudy.worker.state import Duties, Identity, WorkerState

# what the hub does with a call: after how many ms which answer; None for the delay means it never comes
Hub = Callable[[Call], tuple[int, HubAnswer | Failed]]


class Played:
    """A process that ends by itself at an instant, unless it is ended before."""

    def __init__(self, plan: Plan, ends_ms: int, ended: Ended) -> None:
        self.plan = plan
        self.ends_ms = ends_ms
        self.ended = ended

    def kill(self, now_ms: int) -> None:
        if now_ms < self.ends_ms:
            self.ends_ms = now_ms
            self.ended = Ended(code=-9)


class Stage:
    """Plays loops against a hub function; `run_until` moves the clock."""

    def __init__(self, hub: Hub, *, on_loss: str = "wait", **duties: Any) -> None:
        self.clock = ManualClock()
        self.hub = hub
        counter = itertools.count(1)
        ids = IdMaker(self.clock, lambda bits: next(counter) << (bits - 40) | next(counter))
        identity = Identity("mini", "machine-1", "boot-1", "0")
        executor = CommandExecutor(("work",), {}, on_loss=on_loss)
        self.state = WorkerState(identity, self.clock, ids, {"command": executor}, Duties(**duties))
        self.state.auth = {"command": "ok"}
        self.guard = Guard()
        self.killed: set[str] = set()  # by the guard
        self.guard_is_alive = False
        self.guard_cannot_start = False
        self.guard_looks = True  # False: it only takes notes
        self.processes: dict[str, Played] = {}
        self.started: list[str] = []  # task ids, one entry a process
        self.spool: dict[str, RunResult] = {}
        self.evidence: list[tuple[RunResult, str]] = []
        self.kept: list[RunResult] = []
        self.disk_is_full = False
        self.remembered = LoadedDirectives()
        self.has_arrived = False
        self.install: Callable[[Any], Any] = lambda _: Failed("nothing to install")
        self.calls: list[tuple[int, Call]] = []
        self.said: list[str] = []
        self.reported: list[str] = []
        self.play: Callable[[TaskToRun], tuple[int, Ended]] = lambda _: (1000, Ended(code=0, stdout=b"answer"))
        self._order = itertools.count()
        self.missing_threads: Counter[str] = Counter()  # by loop: how often there is none yet
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._waiting: dict[str, Callable[[Any], None]] = {}

    # ---- time ----------------------------------------------------------------------------------

    has_no_threads = False  # for runs
    cannot_start: Failed | None = None  # what comes instead of every process

    @property
    def now_ms(self) -> int:
        return self.clock.mono_ms()

    def at(self, at_ms: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at_ms, next(self._order), action))

    def after(self, ms: int, action: Callable[[], None]) -> None:
        self.at(self.now_ms + ms, action)

    def run_for(self, ms: int) -> None:
        end_ms = self.now_ms + ms
        self.run_until(lambda: False, end_ms=end_ms)

    def run_until(self, holds: Callable[[], bool], *, within_ms: int = 600_000, end_ms: int = 0) -> bool:
        end_ms = end_ms or self.now_ms + within_ms
        while not holds():
            if not self._due or self._due[0][0] > end_ms:
                self._move_to(end_ms)
                return holds()
            at_ms, _, action = heapq.heappop(self._due)
            self._move_to(at_ms)
            action()
            self._wake()
        return True

    def _move_to(self, at_ms: int) -> None:
        """The guard looks whenever time has passed."""
        while (due_ms := self.guard.next_due_ms()) is not None and due_ms <= at_ms and self._guard_looks():
            self.clock.advance(max(0, due_ms - self.now_ms))
            self._guard_acts(None)
        self.clock.advance(max(0, at_ms - self.now_ms))

    def _guard_looks(self) -> bool:
        return self.guard_is_alive and self.guard_looks

    # ---- loops ---------------------------------------------------------------------------------

    def start(self, loop: Loop) -> None:
        self._step(loop, lambda: next(loop))

    def _step(self, loop: Loop, resume: Callable[[], Any]) -> None:
        while True:
            try:
                effect = resume()
            except StopIteration:
                return
            try:
                later, value = self._perform(loop, effect)
            except RuntimeError as error:  # as the real driver does
                resume = lambda error=error: loop.throw(error)  # noqa: E731
                continue
            if later:
                return
            resume = lambda value=value: loop.send(value)  # noqa: E731

    def _later(self, loop: Loop, ms: int, value: Callable[[], Any]) -> tuple[bool, Any]:
        self.after(ms, lambda: self._step(loop, lambda: loop.send(value())))
        return True, None

    def _wait(self, loop: Loop, signal: str, timeout_ms: int, value: Callable[[bool], Any]) -> tuple[bool, Any]:
        if self.state.signals.take(signal):
            return False, value(True)
        is_over = False

        def go_on(raised: bool) -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._waiting.pop(signal, None)
                self._step(loop, lambda: loop.send(value(raised)))

        self._waiting[signal] = lambda _: go_on(True)
        self.after(timeout_ms, lambda: go_on(False))
        return True, None

    def _wake(self) -> None:
        while True:
            raised = next((name for name in list(self._waiting) if self.state.signals.take(name)), None)
            if raised is None:
                return
            self._waiting.pop(raised)(None)

    # ---- effects -------------------------------------------------------------------------------

    def _perform(self, loop: Loop, effect: Any) -> tuple[bool, Any]:  # noqa: C901, PLR0911, PLR0912 - a line per effect
        match effect:
            case Call():
                self.calls.append((self.now_ms, effect))
                delay_ms, answer = self.hub(effect)
                if delay_ms > effect.timeout_ms:
                    delay_ms, answer = effect.timeout_ms, Failed("timeout")
                return self._later(loop, delay_ms, lambda: answer)
            case Wait(signal, timeout_ms):
                return self._wait(loop, signal, timeout_ms, lambda raised: raised)
            case Fork(name) if self.has_no_threads and name.startswith("run:"):
                raise RuntimeError("can't start new thread")
            case Fork(name) if self.missing_threads[name] > 0:
                self.missing_threads[name] -= 1
                raise RuntimeError("can't start new thread")
            case Fork(_, factory):
                self.after(0, lambda: self.start(factory()))
            case WriteLog(level, component, message):
                self.said.append(f"{level} {component} {message}")
            case NotifyOwner(level, title):
                self.reported.append(f"{level} {title}")
            case Spawn() | Probe() if self.cannot_start is not None:
                return False, self.cannot_start
            case Spawn(run_id, plan):
                return False, self._spawn(run_id, plan)
            case AwaitRun(run_id, timeout_ms):
                if self.now_ms >= self.processes[run_id].ends_ms:
                    return False, self.processes[run_id].ended
                return self._wait(loop, f"run:{run_id}", timeout_ms, lambda _: self._look(run_id))
            case StopRun(run_id):
                return False, self._stop(run_id)
            case TellGuard(message):
                if self.guard_is_alive:
                    self._guard_acts(message)
                return False, self.guard_is_alive
            case AskGuard(run_id):
                return False, run_id in self.killed
            case StartGuard() if self.guard_cannot_start:
                return False, Failed("Cannot allocate memory")
            case StartGuard():
                self.guard, self.guard_is_alive = Guard(), True
                self._guard_acts(Hello("http://hub", "key", "mini"))
            case SpoolResult(result):
                if self.disk_is_full:
                    return False, Failed("No space left on device")
                self.spool[result.name] = result
                self.kept.append(result)
            case UnspoolResult(name):
                self.spool.pop(name, None)
            case ArchiveResult(result, reason):
                self.evidence.append((result, reason))
            case LoadDirectives(has_arrived):
                self.has_arrived = self.has_arrived or has_arrived
                return False, self.remembered
            case SaveDirectives() if self.disk_is_full:
                return False, Failed("No space left on device")
            case SaveDirectives(saved):
                self.remembered = msgspec.structs.replace(self.remembered, saved=saved)
            case Install():
                return False, self.install(effect.directive)
            case LoadSpool():
                return False, tuple(self.spool.values())
            case Abort():
                pass
        return False, None

    def _spawn(self, run_id: str, plan: Plan) -> Spawned:
        task = next(run.task for run in self.state.runs.values() if run.id == run_id)
        lasts_ms, ended = self.play(task)
        self.started.append(task.id)
        self.processes[run_id] = Played(plan, self.now_ms + lasts_ms, ended)
        self.after(lasts_ms, lambda: self.state.signals.raise_(f"run:{run_id}"))
        return Spawned(100 + len(self.started), 1.0)

    def _look(self, run_id: str) -> Ended | None:
        played = self.processes[run_id]
        return played.ended if self.now_ms >= played.ends_ms else None

    def _stop(self, run_id: str) -> Ended | None:
        if run_id not in self.processes:
            return None
        self.processes[run_id].kill(self.now_ms)
        return self.processes[run_id].ended

    def _guard_acts(self, message: Any) -> None:
        for action in self.guard.step(self.now_ms, message):
            if isinstance(action, Kill) and action.run.run_id in self.processes:
                self.killed.add(action.run.run_id)
                self.processes[action.run.run_id].kill(self.now_ms)
                self.after(0, lambda run_id=action.run.run_id: self.state.signals.raise_(f"run:{run_id}"))

    def living(self) -> list[str]:
        return [run_id for run_id, played in self.processes.items() if self.now_ms < played.ends_ms]
