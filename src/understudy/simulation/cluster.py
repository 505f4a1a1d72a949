"""The hubs of a world over one store, and the load balancer in front of them; one hub alone needs none."""

from __future__ import annotations

from msgspec.structs import replace

from understudy.coordinator.nouns import Policy
from understudy.hub.batch import Committed
from understudy.simulation.company import Company, Ears
from understudy.simulation.exchange import Answer, Letter
from understudy.simulation.hub import SimulatedHub
from understudy.simulation.object_hub import ObjectHub
from understudy.simulation.oracle import Oracle
from understudy.simulation.service import Service
from understudy.simulation.shared_store import Database
from understudy.simulation.takeover_oracle import StandIn
from understudy.simulation.weather import Weather
from understudy.simulation.world import World

NAMES = ("simulated", "second", "third", "fourth")
SWITCHES = 0.1  # requests of a client that go to another hub than the last one, though that is well
SEEN_AFTER_MS = 2_000  # the balancer notices so late that a hub is gone
HINT_MS_MAX, HINTS_LOST = 30, 0.1


class Cluster:
    """All hubs as one: what is sent to it goes to one of them."""

    def __init__(
        self,
        world: World,
        weather: Weather,
        policy: Policy,
        oracle: Oracle,
        service: Service | None,
        count: int = 1,
        *,
        sleeps: bool = False,
    ) -> None:
        """`sleeps`: the hub, the only one then, is put to sleep between two events."""
        self._world = world
        database = Database(lambda: world.now_ms) if count > 1 else None
        self.stand_in = StandIn(world, oracle, policy, service) if service is not None else None
        company = Company(Ears(world, oracle), database, self.stand_in, self._spread)
        kind = ObjectHub if sleeps else SimulatedHub
        self.hubs: list[SimulatedHub | ObjectHub] = [
            kind(world, weather, policy, oracle, service, replace(company, name=name)) for name in NAMES[:count]
        ]
        self._database = database
        self.store = database.store if database is not None else self.hubs[0].store
        self._kept: dict[str, SimulatedHub | ObjectHub] = {}  # the hub that a client's connection leads to

    def start(self) -> None:
        """All begin to serve."""
        for hub in self.hubs:
            hub.start()

    def recover(self) -> None:
        """All is well with all of them."""
        for hub in self.hubs:
            hub.recover()

    def close(self) -> None:
        """All processes are gone."""
        for hub in self.hubs:
            hub.close()

    def hears(self) -> bool:
        """True if one of them is up and not frozen."""
        return any(hub.is_up and not hub.is_frozen for hub in self.hubs)

    def is_serving_since(self, ms: int) -> bool:
        """True if one of them has served without a pause for this time, and nothing was in its way."""
        held_ms = self._database.held_until_ms if self._database is not None else 0
        return (not held_ms or self._world.now_ms - held_ms >= ms) and any(
            hub.is_serving_since(ms) for hub in self.hubs
        )

    def check(self, *, steady: bool) -> None:
        """The oracle's look at takeover and notices."""
        if self.stand_in is not None:
            self.stand_in.check(self.store)
        for hub in self.hubs:
            if isinstance(hub, ObjectHub):
                hub.receiver.check(self.store, steady=steady)

    def is_at_rest(self) -> bool:
        """True if no notice waits."""
        return all(hub.receiver.is_done(self.store) for hub in self.hubs if isinstance(hub, ObjectHub))

    # ---- the balancer

    def receive(self, letter: Letter, answer: Answer) -> None:
        """A request arrives."""
        self._chosen(letter.sender).receive(letter, answer)

    def hang_up(self, letter: Letter) -> None:
        """Its client went away."""
        for hub in self.hubs:
            hub.hang_up(letter)

    def _chosen(self, sender: str) -> SimulatedHub | ObjectHub:
        """The hub of this client's connection, or another one that looks well."""
        if len(self.hubs) == 1:
            return self.hubs[0]
        hub = self._kept.get(sender)
        if hub is None or not self._looks_well(hub) or self._world.chance(SWITCHES):
            well = [other for other in self.hubs if self._looks_well(other)]
            hub = self._kept[sender] = self._world.random.choice(well or self.hubs)
        return hub

    def _looks_well(self, hub: SimulatedHub | ObjectHub) -> bool:
        is_well = hub.is_up and not hub.is_frozen
        return is_well or self._world.now_ms - hub.silent_since_ms < SEEN_AFTER_MS

    # ---- hints from hub to hub

    def _spread(self, sender: SimulatedHub, committed: Committed) -> None:
        """The others hear of a commit, a little later or never."""
        for hub in self.hubs:
            if isinstance(hub, SimulatedHub) and hub is not sender and hub.is_up and not self._world.chance(HINTS_LOST):
                hub.hear_of(committed, self._world.between(1, HINT_MS_MAX))
