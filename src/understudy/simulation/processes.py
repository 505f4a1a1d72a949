"""The played processes of runs on one machine, and the guard that ends them; both outlive the daemon."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from understudy.clock import Clock
from understudy.ids import IdMaker
from understudy.simulation.loops import Loops
from understudy.simulation.network import Network
from understudy.simulation.oracle import Oracle
from understudy.simulation.world import World
from understudy.worker.directives import SavedDirectives
from understudy.worker.effects import Call, Ended, Failed, HubAnswer, LoadedDirectives, RunResult
from understudy.worker.guard_policy import Action, Gone, Guard, Kill, Message, WatchedRun, Will
from understudy.worker.release import release_path
from understudy.worker.state import Duties

KILL_MS_MAX = 400  # the whole tree is dead within a second
NOTICE_MS_MAX = 50
WILL_TRIES, WILL_TIMEOUT_MS, WILL_PAUSE_MS = 4, 3_000, 250


class Work(msgspec.Struct, frozen=True):
    """The work that a task's content asks for: its length and its exit code."""

    ms: int
    code: int = 0


class SimulatedProcess:
    """The tree of one run: ends by itself, unless it is ended before."""

    def __init__(self, run_id: str, task_id: str, token: int, code: int) -> None:
        self.run_id = run_id
        self.task_id = task_id
        self.token = token
        self.ended: Ended | None = None
        self._code = code

    def end(self, code: int | None = None) -> None:
        """It is dead: by itself (None), or by a signal."""
        if self.ended is None:
            output = f"{self.task_id}|{self.token}|{self.run_id}".encode()
            self.ended = Ended(code=self._code, stdout=output) if code is None else Ended(code=code)


class MachineSeen(Protocol):
    """The machine as its daemon and its guards see it."""

    world: World
    network: Network
    oracle: Oracle
    name: str
    machine_id: str
    on_loss: str
    duties: Duties
    clock: Clock
    spool: dict[str, RunResult]
    processes: dict[str, SimulatedProcess]
    disk_fails: float
    slept_ms: int
    directives: SavedDirectives

    @property
    def is_cut(self) -> bool:
        """True if nothing gets through at the moment."""
        ...

    def remembered(self) -> LoadedDirectives:
        """The directives and updates on its disk."""
        ...

    def come_back(self, successor: str) -> None:
        """Its daemon has ended for another life: the same version, or the one in that environment."""
        ...

    def remember(self, saved: SavedDirectives) -> None:
        """Its daemon's directives are on its disk now."""
        ...

    def new_boot_id(self, ids: IdMaker) -> str:
        """A name for a start, later than all before."""
        ...

    def unless_asleep(self, step: Callable[[], None]) -> None:
        """Do it now, or at the next wake-up."""
        ...

    def end_process(self, run_id: str, code: int | None = None) -> None:
        """A process is dead from here on."""
        ...

    def over(self, loops: Loops) -> None:
        """The daemon with these loops ended by itself."""
        ...


class PlayedGuard:
    """The real policy of the guard with played processes; dies only when it is killed or has spoken its will."""

    def __init__(self, place: MachineSeen, worker_id: str) -> None:
        self._place = place
        self._worker_id = worker_id
        self._policy = Guard()
        self.is_alive = True

    def tell(self, message: Message) -> bool:
        """Write to its pipe → whether it takes it; messages keep their order."""
        if self.is_alive:
            self._after(1, partial(self._step, message))
        return self.is_alive

    def bequeath(self) -> None:
        """Its daemon is gone: the pipe is closed."""
        self._after(self._place.world.between(1, NOTICE_MS_MAX), partial(self._step, Gone()))

    def _after(self, ms: int, step: Callable[[], None]) -> None:
        self._place.world.after(ms, lambda: self._place.unless_asleep(step))

    def _step(self, message: Message | None) -> None:
        if not self.is_alive:
            return
        world = self._place.world
        self._act(self._policy.step(world.clock.mono_ms(), message))
        due_ms = self._policy.next_due_ms()
        if due_ms is not None:
            self._after(max(0, due_ms - world.clock.mono_ms()) + world.between(0, NOTICE_MS_MAX), self._look)

    def _look(self) -> None:
        due_ms = self._policy.next_due_ms()
        if due_ms is not None and due_ms <= self._place.world.clock.mono_ms():
            self._step(None)

    def _act(self, actions: tuple[Action, ...]) -> None:
        last_kill_ms = 0
        for action in actions:
            match action:
                case Kill(run):
                    kill_ms = self._place.world.between(0, KILL_MS_MAX)
                    last_kill_ms = max(last_kill_ms, kill_ms)
                    self._after(kill_ms, partial(self._place.end_process, run.run_id, -9))
                case Will(run):
                    self._after(last_kill_ms + 1, partial(self._speak, run, 0))
                case _:
                    pass

    def _speak(self, run: WatchedRun, tries: int) -> None:
        if not self.is_alive:
            return
        body = {"workerId": self._worker_id, "token": run.token, "reason": "daemon_gone"}
        call = Call("POST", release_path(run.task_id), body, timeout_ms=WILL_TIMEOUT_MS)

        def again(answer: HubAnswer | Failed) -> None:
            is_heard = isinstance(answer, HubAnswer) and answer.is_final
            if not is_heard and tries + 1 < WILL_TRIES:
                self._after(WILL_PAUSE_MS * 2**tries, partial(self._speak, run, tries + 1))

        self._place.network.send(self._place, call, again)
