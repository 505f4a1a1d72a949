"""One start of a real daemon: its state, its real loops, and what carries out their effects on a played machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from understudy.coordinator.directives import COMES_BACK
from understudy.daemon.life import main_loop
from understudy.ids import IdMaker
from understudy.simulation.loops import LATER, GoOn, Loops
from understudy.simulation.network import Flight
from understudy.simulation.processes import MachineSeen, PlayedGuard, SimulatedProcess, Work
from understudy.simulation.world import ViolationError
from understudy.worker.directives import STARTED
from understudy.worker.effects import (
    Abort,
    ArchiveResult,
    AwaitRun,
    Call,
    Effect,
    Ended,
    Failed,
    Install,
    Installed,
    LoadDirectives,
    LoadSpool,
    Loop,
    NotifyOwner,
    RunResult,
    SaveDirectives,
    Spawn,
    Spawned,
    SpoolResult,
    StartGuard,
    StopRun,
    TellGuard,
    UnspoolResult,
    WriteLog,
)
from understudy.worker.executors import TASK_MARKER
from understudy.worker.executors.command import CommandExecutor
from understudy.worker.state import Identity, WorkerState

SPAWN_MS_MAX, DISK_MS_MAX, GUARD_MS_MIN, GUARD_MS_MAX = 50, 20, 20, 200
KILL_MS_MAX = 200
INSTALL_MS_MAX = 30_000


class Life:
    """From a boot to a crash or an orderly end."""

    def __init__(self, machine: MachineSeen) -> None:
        self._machine = machine
        self._world = machine.world
        ids = IdMaker(machine.clock, machine.world.random.getrandbits)
        self.identity = Identity(machine.name, machine.machine_id, machine.new_boot_id(ids), "0")
        executor = CommandExecutor(("work",), {}, on_loss=machine.on_loss)
        self.state = WorkerState(
            self.identity,
            machine.clock,
            ids,
            {executor.name: executor},
            machine.duties,
            jitter=machine.world.random.random,
            slept_ms=lambda: machine.slept_ms,
        )
        self.state.auth = {executor.name: "ok"}
        self._guard: PlayedGuard | None = None
        self._flights: dict[str, Flight] = {}
        self.loops = Loops(machine.world, machine.name, self.state.signals, self._perform)

    def begin(self) -> None:
        """Start the root loop."""
        self._world.tell(f"{self._machine.name} boots as {self.identity.boot_id}")
        self.loops.start("main", self._main)

    def _main(self) -> Loop:
        """The root loop; with its end, this life is over and its guard may go."""
        yield from main_loop(self.state)
        self._world.tell(f"{self._machine.name} has stopped in good order")
        self.loops.kill()
        if self._guard is not None:
            self._guard.bequeath()
        self._machine.over(self.loops)
        if self.state.successor:
            self._give_way()

    def _give_way(self) -> None:
        """Another life follows; a directive brings it about once."""
        for outcome in self.state.outcomes.values():
            if outcome.state == STARTED and outcome.boot_id == self.identity.boot_id and outcome.kind in COMES_BACK:
                self._machine.oracle.watch.gave_way(self._machine.name, outcome.id)
        self._machine.come_back(self.state.successor)

    def _installed(self, install: Install) -> Installed | Failed:
        if self._world.chance(0.3):
            return Failed("no such version")
        return Installed(f"env-{install.directive.version}", str(install.directive.version))

    def stop(self, planned_for_ms: int | None = None) -> None:
        """SIGTERM; `planned_for_ms` as its owner announced it."""
        self._world.tell(f"{self._machine.name} is asked to stop, planned: {planned_for_ms}")
        self.state.ask_to_stop(planned_for_ms)
        self.loops.raise_signal("main")

    def die(self, *, with_guard: bool) -> None:
        """SIGKILL: what is left of it is the guard, if it is not killed as well."""
        self.loops.kill()
        if self._guard is None or not self._guard.is_alive or with_guard:
            self._machine.oracle.unguarded(self._machine.name)
        if self._guard is not None and with_guard:
            self._guard.is_alive = False
        elif self._guard is not None:
            self._guard.bequeath()

    def lose_guard(self) -> None:
        """The guard alone dies."""
        if self._guard is not None and self._guard.is_alive:
            self._world.tell(f"{self._machine.name} loses its guard")
            self._machine.oracle.unguarded(self._machine.name)
            self._guard.is_alive = False
            self.loops.raise_signal("guard")

    # ---- effects

    def _perform(self, effect: Effect, go_on: GoOn) -> Any:  # noqa: C901, PLR0911, PLR0912 - one line per effect
        match effect:
            case Call():
                return self._call(effect, go_on)
            case WriteLog():
                return self._say(effect)
            case NotifyOwner():
                return None
            case TellGuard(message):
                return self._guard is not None and self._guard.tell(message)
            case AwaitRun(run_id, timeout_ms):
                return self._await_run(run_id, timeout_ms, go_on)
            case Spawn():
                return self._later(SPAWN_MS_MAX, self._spawn(effect), go_on)
            case StopRun(run_id, grace_ms):
                return self._stop_run(run_id, grace_ms, go_on)
            case SpoolResult(result):
                return self._keep(result, go_on)
            case UnspoolResult(name):
                return self._on_disk(lambda: self._machine.spool.pop(name, None), go_on)
            case ArchiveResult(result, reason):
                self._world.tell(f"{self._machine.name} shelves {result.task_id} {result.token}: {reason}")
                return self._later(DISK_MS_MAX, None, go_on)
            case LoadDirectives():
                return self._later(DISK_MS_MAX, self._machine.remembered(), go_on)
            case SaveDirectives(saved):
                return self._on_disk(lambda: self._machine.remember(saved), go_on)
            case Install():
                return self._later(INSTALL_MS_MAX, self._installed(effect), go_on)
            case LoadSpool():
                return self._later(DISK_MS_MAX, tuple(self._machine.spool.values()), go_on)
            case StartGuard():
                return self._start_guard(go_on)
            case Abort(name):
                return self._abort(name)
            case _:
                return None

    def _later(self, ms_max: int, value: Any, go_on: GoOn) -> Any:
        self._world.after(self._world.between(0, ms_max), partial(go_on, value))
        return LATER

    def _say(self, said: WriteLog) -> None:
        if said.level == "critical" and "error" in said.fields and said.component == "Daemon":
            raise ViolationError("a loop never breaks", f"{said.message}: {said.fields['error']}", self._machine.name)
        if said.level in ("warning", "critical"):
            self._world.tell(f"{self._machine.name} says: {said.message}")

    def _call(self, call: Call, go_on: GoOn) -> Any:
        flight = self._machine.network.send(self._machine, call, go_on)
        if call.abort:
            self._flights[call.abort] = flight
        return LATER

    def _abort(self, name: str) -> None:
        flight = self._flights.get(name)
        if flight is not None and not flight.is_over:
            self._world.after(1, partial(flight.end, Failed("aborted")))

    # ---- processes and guard

    def _spawn(self, effect: Spawn) -> Spawned | Failed:
        machine = self._machine
        work = msgspec.json.decode(effect.plan.stdin, type=Work)
        if self._world.chance(machine.disk_fails):
            return Failed("work: no such file")
        task_id = effect.plan.env[TASK_MARKER]
        token = self.state.runs[effect.run_id].lease.token
        self._world.tell(f"{machine.name} starts {task_id} {token}")
        machine.oracle.started(machine.name, task_id, token)
        machine.processes[effect.run_id] = SimulatedProcess(effect.run_id, task_id, token, work.code)
        ends = partial(machine.unless_asleep, partial(machine.end_process, effect.run_id))
        self._world.after(work.ms, ends)
        return Spawned(len(machine.processes), 0.0)

    def _await_run(self, run_id: str, timeout_ms: int, go_on: GoOn) -> Any:
        process = self._machine.processes.get(run_id)
        if process is None:
            return Ended(code=None)
        if process.ended is not None:
            return self._bury(run_id)
        self.loops.wait(f"run:{run_id}", timeout_ms, lambda _: go_on(self._bury(run_id)))
        return LATER

    def _bury(self, run_id: str) -> Ended | None:
        process = self._machine.processes.get(run_id)
        if process is None or process.ended is None:
            return None
        del self._machine.processes[run_id]
        return process.ended

    def _stop_run(self, run_id: str, grace_ms: int, go_on: GoOn) -> Any:
        if run_id not in self._machine.processes:
            return None

        def end() -> None:
            self._machine.end_process(run_id, -15 if grace_ms else -9)
            go_on(self._bury(run_id))

        after_ms = self._world.between(0, grace_ms + KILL_MS_MAX)
        self._world.after(after_ms, partial(self._machine.unless_asleep, end))
        return LATER

    def _start_guard(self, go_on: GoOn) -> Any:
        def stand() -> None:
            if self.loops.is_alive:
                self._guard = PlayedGuard(self._machine, self.identity.worker_id)
            go_on(None)

        self._world.after(self._world.between(GUARD_MS_MIN, GUARD_MS_MAX), stand)
        return LATER

    # ---- disk

    def _keep(self, result: RunResult, go_on: GoOn) -> Any:
        if self._world.chance(self._machine.disk_fails):
            return self._later(DISK_MS_MAX, Failed("No space left on device"), go_on)
        return self._on_disk(lambda: self._machine.spool.update({result.name: result}), go_on)

    def _on_disk(self, change: Callable[[], Any], go_on: GoOn) -> Any:
        """A kill while the disk works leaves it changed, or not."""
        is_first = self._world.chance(0.5)
        if is_first:
            change()

        def done() -> None:
            if not is_first and self.loops.is_alive:
                change()
            go_on(None)

        self._world.after(self._world.between(0, DISK_MS_MAX), done)
        return LATER
