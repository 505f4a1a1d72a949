"""An owner who sends directives to daemons: drain, resume, restart, update, at any moment."""

from __future__ import annotations

from understudy.simulation.machine import SimulatedMachine
from understudy.simulation.network import Network
from understudy.simulation.weather import Weather
from understudy.simulation.world import World
from understudy.worker.effects import Call

TIMEOUT_MS = 8_000
KINDS = ("drain", "resume", "resume", "restart", "restart", "update")
EXPIRES_S = (10, 60, 600)


class Owner:
    """An owner who gives orders without waiting for them, and resumes a daemon that stays drained."""

    name = "owner"
    is_cut = False

    def __init__(self, world: World, network: Network, weather: Weather, machines: list[SimulatedMachine]) -> None:
        self._world = world
        self._network = network
        self._weather = weather
        self._machines = machines
        self.has_stopped = False

    def begin(self) -> None:
        """Steer now and then, where anybody interferes at all."""
        if self._weather.steering_ms and self._machines:
            self._world.after(self._next_ms(), self._steer)

    def look_after(self) -> None:
        """Let drained daemons work again."""
        for machine in self._machines:
            if machine.directives.is_drained:
                self._ask(machine, "resume")

    def _next_ms(self) -> int:
        return round(self._world.random.expovariate(1 / (2 * self._weather.steering_ms)))

    def _steer(self) -> None:
        if self.has_stopped:
            return
        self._world.after(self._next_ms(), self._steer)
        self._ask(self._world.random.choice(self._machines), self._world.random.choice(KINDS))

    def _ask(self, machine: SimulatedMachine, kind: str) -> None:
        order: dict[str, object] = {"kind": kind, "expiresSec": self._world.random.choice(EXPIRES_S)}
        if kind == "update":
            order["version"] = str(self._world.now_ms)
        call = Call("POST", f"/api/daemons/{machine.name}/directives", order, TIMEOUT_MS)
        self._network.send(self, call, lambda _: None)
