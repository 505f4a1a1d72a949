"""Faults of hub and machines: outages, kills, stalls, sleeps, cut links, jumps of the clock."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from understudy.simulation.cluster import Cluster
from understudy.simulation.hub import SimulatedHub
from understudy.simulation.ledger import Ledger
from understudy.simulation.machine import SimulatedMachine
from understudy.simulation.object_hub import ObjectHub
from understudy.simulation.scripted import Worker
from understudy.simulation.weather import Weather
from understudy.simulation.world import World

OUTAGES_MS = ((200, 1_500), (200, 1_500), (3_000, 40_000), (60_000, 200_000))
STALLS_MS = ((1_000, 8_000), (8_000, 45_000), (45_000, 130_000))
SLEEPS_MS = ((5_000, 60_000), (60_000, 400_000))
DEAD_MS, ALIVE_MS = (50, 500), (600, 2_500)
MISFORTUNES = ("crash", "crash", "flap", "flap", "power", "stall", "stall", "sleep", "cut", "stop", "guard")
PLANNED_MS = (None, None, None, 0, 30_000, 600_000)  # of a stop: not announced, without an end, for this time
JUMP_MS_MIN, JUMP_MS_MAX = 5_000, 3_600_000


class FaultInjector:
    """Plans one fault after the other, until it is asked to end."""

    def __init__(self, world: World, weather: Weather, cluster: Cluster, ledger: Ledger) -> None:
        self._world = world
        self._weather = weather
        self._cluster = cluster
        self._ledger = ledger
        self.is_over = False
        self.blows = 0  # against daemons and workers

    def begin(self, machines: list[SimulatedMachine], workers: list[Worker]) -> None:
        """From now on anything may happen."""
        for hub in self._cluster.hubs:
            self._again(self._weather.hub_out_ms, partial(self._trouble_hub, hub))
        self._again(self._weather.clock_jump_ms, self._jump)
        for machine in machines:
            self._again(self._weather.machine_trouble_ms, partial(self._trouble_machine, machine))
        for worker in workers:
            self._again(self._weather.machine_trouble_ms, partial(self._trouble_worker, worker))

    def _again(self, every_ms: int, misfortune: Callable[[], None]) -> None:
        if not every_ms:
            return

        def strike() -> None:
            if not self.is_over:
                misfortune()
                self._again(every_ms, misfortune)

        self._world.after(round(self._world.random.expovariate(1 / every_ms)), strike)

    def _of(self, spans: tuple[tuple[int, int], ...]) -> int:
        return self._world.between(*self._world.random.choice(spans))

    def _later(self, ms: int, step: Callable[[], None]) -> None:
        """Afterwards; at the end of all trouble everything is put right anyway."""
        self._world.after(ms, lambda: None if self.is_over else step())

    # ---- hub

    def _trouble_hub(self, hub: SimulatedHub | ObjectHub) -> None:
        if not hub.is_up or hub.is_frozen:
            return
        how = self._world.random.choice(("stop", "kill", "before", "after", "freeze"))
        out_ms = self._of(OUTAGES_MS)
        if how == "freeze":
            hub.freeze()
            self._later(out_ms, hub.thaw)
            return
        hub.stop(how)
        self._later(out_ms, partial(self._revive, hub))

    def _revive(self, hub: SimulatedHub | ObjectHub) -> None:
        """A hub that was to die at its next commit may still be up."""
        if not hub.is_up:
            hub.start()
        else:
            self._later(1_000, partial(self._revive, hub))

    def _jump(self) -> None:
        if self._cluster.hears():
            ms = self._world.between(JUMP_MS_MIN, JUMP_MS_MAX) * self._world.random.choice((-1, 1))
            self._world.tell(f"the hub's wall clock jumps by {ms} ms")
            self._ledger.jump(ms)

    # ---- machines

    def _trouble_machine(self, machine: SimulatedMachine) -> None:
        if machine.life is None or machine.is_asleep:
            return
        self.blows += 1
        match self._world.random.choice(MISFORTUNES):
            case "crash":
                machine.crash(with_guard=self._world.chance(self._weather.will_lost))
                self._restart(machine.boot)
            case "flap":
                self._flap(machine, self._world.between(1, 4))
            case "power":
                machine.lose_power()
                self._restart(machine.boot)
            case "stall":
                machine.stop_daemon()
                self._later(self._of(STALLS_MS), machine.continue_daemon)
            case "sleep":
                machine.sleep()
                self._later(self._of(SLEEPS_MS), machine.wake)
            case "cut":
                machine.cut_until_ms = self._world.now_ms + self._of(STALLS_MS)
                self._world.tell(f"{machine.name} is cut off until {machine.cut_until_ms} ms")
            case "stop":
                machine.life.stop(self._world.random.choice(PLANNED_MS))
                self._restart(machine.boot)
            case "guard":
                machine.life.lose_guard()

    def _flap(self, machine: SimulatedMachine, times: int) -> None:
        """A service manager starts it again and again, and it dies each time after a moment."""
        machine.crash(with_guard=self._world.chance(self._weather.will_lost))
        self._later(self._world.between(*DEAD_MS), machine.boot)
        if times:
            self._later(self._world.between(*ALIVE_MS), partial(self._flap, machine, times - 1))

    def _trouble_worker(self, worker: Worker) -> None:
        self.blows += 1
        match self._world.random.choice(("crash", "stall", "stall", "cut")):
            case "crash":
                worker.crash()
                self._restart(worker.boot)
            case "stall":
                worker.hold(frozen=True)
                self._later(self._of(STALLS_MS), partial(worker.hold, frozen=False))
            case "cut":
                worker.cut_until_ms = self._world.now_ms + self._of(STALLS_MS)

    def _restart(self, boot: Callable[[], None]) -> None:
        after_ms = self._world.between(100, self._weather.restart_ms_max)
        self._later(after_ms, boot)
        self._later(after_ms + 60_000, boot)  # it was still draining: then there is nobody to start again before
