"""One world from its seed: its parts, its faults, its end, and the verdict."""

from __future__ import annotations

import random

import msgspec

from understudy.simulation.audit import Audit
from understudy.simulation.cluster import Cluster
from understudy.simulation.customers import Customers
from understudy.simulation.ledger import OPEN
from understudy.simulation.machine import SimulatedMachine
from understudy.simulation.network import Network
from understudy.simulation.oracle import Oracle
from understudy.simulation.owner import Owner
from understudy.simulation.scripted import Worker, aware_script, old_script
from understudy.simulation.service import Service
from understudy.simulation.trouble import FaultInjector
from understudy.simulation.weather import policy_of, takeover_of, weather_of
from understudy.simulation.world import ViolationError, World
from understudy.worker.effects import Call
from understudy.worker.state import Duties

TAGS = ("machine", "gpu", "eu")
NEEDS: tuple[tuple[str, ...] | None, ...] = (None, None, None, (), (), ("machine", "gpu"), ("eu",))
CHAOS_MS = ((60_000, 120_000), (120_000, 300_000), (300_000, 600_000))
NAMESAKES = 0.4  # two scripted workers that were given one name: only the token tells them apart
REST_MS_MAX = 40 * 60_000
AUDIT_EVERY_MS = 30_000
TWO_HUBS_SHARE = 0.3
SLEEPS_SHARE = 0.25  # of those with one hub: about every sixth world
OUT_OF_MANY_MS = (30_000, 60_000, 120_000)  # between the outages of each of several hubs
JUMPS_OF_MANY_MS = (0, 60_000, 300_000)  # between the jumps of the database's clock
TAKEOVER_SHARE, ABOUT_TAKEOVER_SHARE = 0.3, 0.1
STEADY_MS = 4_000  # the hub has been up for this time: what depends on its alarm must be right
OWNER_LOOKS_MS = 45_000


class WorldOutcome(msgspec.Struct, frozen=True):
    """The end of one world."""

    seed: int
    virtual_ms: int
    tasks: int
    grants: int
    digest: str
    violation: ViolationError | None = None
    story: tuple[str, ...] = ()
    answered: int = 0  # by the hub itself
    blows: int = 0  # daemons stopped, killed or frozen


class Scenario:
    """The world of one seed with everybody in it."""

    def __init__(self, seed: int, *, takeover: bool = False, hubs: int = 0, sleeps: bool = False) -> None:
        self.world = World(seed)
        chance = self.world.random
        self.weather = weather_of(chance)
        self.policy = policy_of(chance)
        self.is_about_takeover = takeover or random.Random(f"about {seed}").random() < ABOUT_TAKEOVER_SHARE
        self.service = self._take_over(seed)
        count = hubs or (1 if sleeps else self._count_hubs(seed))
        sleeps = sleeps or (not hubs and count == 1 and random.Random(f"sleeps {seed}").random() < SLEEPS_SHARE)
        if sleeps:  # nobody sets the clock of its place
            self.weather = msgspec.structs.replace(self.weather, clock_jump_ms=0)
        if count > 1 and not self.weather.is_calm:
            chance = random.Random(f"out {seed}")
            out_ms, jump_ms = chance.choice(OUT_OF_MANY_MS), chance.choice(JUMPS_OF_MANY_MS)
            self.weather = msgspec.structs.replace(self.weather, hub_out_ms=out_ms, clock_jump_ms=jump_ms)
        self.oracle = Oracle(self.world, self.policy)
        self.oracle.watch.is_calm = self.weather.is_calm
        self.hub = Cluster(self.world, self.weather, self.policy, self.oracle, self.service, count, sleeps=sleeps)
        self.network = Network(self.world, self.weather, self.hub)
        self.audit = Audit(self.world, self.hub.store, self.oracle.ledger, self.policy)
        self.trouble = FaultInjector(self.world, self.weather, self.hub, self.oracle.ledger)
        self.machines, self.workers = self._fleet()
        provided = {tag for m in self.machines for tag in m.duties.provides} | {
            t for w in self.workers for t in w.provides
        }
        needs = tuple(n for n in NEEDS if n is None or provided.issuperset(n))
        needs += ((),) * 6 if self.is_about_takeover else ()
        self.customers = Customers(self.world, self.network, self.weather, needs)
        self.owner = Owner(self.world, self.network, self.weather, self.machines)

    @staticmethod
    def _count_hubs(seed: int) -> int:
        """Some worlds have two hubs over one store."""
        return 2 if random.Random(f"hubs {seed}").random() < TWO_HUBS_SHARE else 1

    def _take_over(self, seed: int) -> Service | None:
        """Some worlds have a hub that takes over; those about takeover have machines that are away for long."""
        chance = random.Random(f"takeover {seed}")
        if not self.is_about_takeover and chance.random() >= TAKEOVER_SHARE:
            return None
        self.policy = msgspec.structs.replace(self.policy, takeover=takeover_of(chance))
        if self.is_about_takeover:
            self.policy = msgspec.structs.replace(self.policy, late_after_ms=30_000, down_after_ms=60_000)
            self.weather = msgspec.structs.replace(
                self.weather, machine_trouble_ms=chance.choice((30_000, 90_000)), restart_ms_max=400_000
            )
        return Service(self.world)

    def _fleet(self) -> tuple[list[SimulatedMachine], list[Worker]]:
        """One machine alone, a few, or a mixture with scripted workers."""
        chance = self.world.random
        kind = chance.choice(("one", "machines", "machines", "aware", "old", "mixed", "mixed"))
        if self.is_about_takeover:
            kind = chance.choice(("one", "one", "machines", "mixed"))
        machines = {"one": 1, "machines": chance.choice((2, 3)), "mixed": chance.choice((1, 2))}.get(kind, 0)
        aware = {"aware": chance.choice((1, 2, 4)), "mixed": chance.choice((0, 1, 2))}.get(kind, 0)
        old = {"old": chance.choice((1, 2)), "mixed": chance.choice((0, 1))}.get(kind, 0)
        names = [f"aware-{n}" for n in range(aware) for _ in range(1 + (chance.random() < NAMESAKES))]
        return (
            [self._machine(f"mini-{n}") for n in range(machines)],
            [Worker(self.world, self.network, name, aware_script, self._tags()) for name in names]
            + [Worker(self.world, self.network, f"daemon_host{n}", old_script, ("machine",)) for n in range(old)],
        )

    def _tags(self) -> tuple[str, ...]:
        chance = self.world.random
        return ("machine", *(tag for tag in TAGS[1:] if chance.random() < 0.5))  # noqa: PLR2004

    def _machine(self, name: str) -> SimulatedMachine:
        chance = self.world.random
        duties = Duties(
            capacity=chance.choice((1, 1, 2, 4)),
            provides=self._tags(),
            interval_ms=chance.choice((5_000, 10_000)),
            poll_wait_ms=chance.choice((2_000, 15_000)),
            drain_ms=chance.choice((1_000, 20_000)),
        )
        machine = SimulatedMachine(
            self.world, self.network, self.oracle, name, chance.choice(("wait", "requeue", "ask")), duties
        )
        machine.disk_fails = 0.0 if self.weather.is_calm else chance.choice((0.0, 0.0, 0.01))
        return machine

    def play(self) -> None:
        """Live through it; ViolationError if an invariant breaks."""
        self.world.tell(f"seed {self.world.seed}: {self.weather} {self.policy}")
        self.hub.start()
        for boot in [*(machine.boot for machine in self.machines), *(worker.boot for worker in self.workers)]:
            self.world.after(self.world.between(0, 3_000), boot)
        chaos_ms = self.world.between(*self.world.random.choice(CHAOS_MS[-1:] if self.is_about_takeover else CHAOS_MS))
        self.customers.begin(self.world.between(4, 30), chaos_ms)
        self.trouble.begin(self.machines, self.workers)
        self.owner.begin()
        self.world.after(AUDIT_EVERY_MS, self._look)
        if self.service is not None:
            self.world.after(OWNER_LOOKS_MS, self._owner_resumes)
        self.world.run_until(chaos_ms)
        self._put_right()
        if not self.world.run_until(self.world.now_ms + REST_MS_MAX, self._is_at_rest):
            left = sorted(e.id for e in self.oracle.ledger.tasks.values() if e.status == OPEN)
            raise ViolationError("I1 everything comes to an end", f"{left} or unanswered", left[0] if left else "")
        self.world.run_until(self.world.now_ms + STEADY_MS)
        self._judge()

    def _look(self) -> None:
        """The regular audit."""
        self.world.after(AUDIT_EVERY_MS, self._look)
        is_steady = self.hub.is_serving_since(STEADY_MS)
        self.audit.check(steady=is_steady)
        self.hub.check(steady=is_steady)
        if is_steady:
            self.oracle.watch.check()

    def _put_right(self) -> None:
        """The weather is good again, everybody is awake, and somebody who can do everything has come."""
        self.world.tell("the weather is good again")
        self.trouble.is_over = self.customers.has_stopped = self.owner.has_stopped = True
        self.network.calm_down()
        self.hub.recover()
        sweeper = SimulatedMachine(
            self.world, self.network, self.oracle, "sweeper", "requeue", Duties(capacity=8, provides=TAGS)
        )
        for machine in self.machines:
            machine.recover()
        for worker in self.workers:
            worker.hold(frozen=False)
            worker.cut_until_ms = 0
            worker.boot()
        sweeper.boot()
        self.world.after(OWNER_LOOKS_MS, self._owner_looks)

    def _owner_looks(self) -> None:
        """The owner moves tasks that wait for a machine that does not come back, and starts dead daemons."""
        self.world.after(OWNER_LOOKS_MS, self._owner_looks)
        self.owner.look_after()
        for machine in self.machines:
            machine.look_after()
        ledger = self.oracle.ledger
        for entry in ledger.tasks.values():
            if entry.reserved_for and entry.reserved_for not in {m.name for m in self.machines}:
                self.customers.ask(entry.id, "move")
            elif ledger.jumped_ms and entry.status == OPEN and not ledger.is_live(entry):
                self.customers.ask(entry.id, "retry")  # a clock that was set back holds delays for hours

    def _owner_resumes(self) -> None:
        """Somebody fixes the key, and says so."""
        self.world.after(OWNER_LOOKS_MS, self._owner_resumes)
        if not self.customers.has_stopped:
            self.network.send(self.customers, Call("POST", "/api/takeover/resume", {}, 8_000), lambda _: None)

    def _is_at_rest(self) -> bool:
        tasks = self.oracle.ledger.tasks.values()
        is_done = not self.customers.unanswered and all(entry.status != OPEN for entry in tasks)
        return is_done and self.hub.is_at_rest()

    def _judge(self) -> None:
        self.audit.check(steady=True)
        self.audit.check_story()
        self.audit.check_rows()
        self.hub.check(steady=True)
        ledger = self.oracle.ledger
        if not self.customers.acknowledged <= ledger.tasks.keys():
            raise ViolationError("I5 acknowledged is kept", str(self.customers.acknowledged - ledger.tasks.keys()))
        for entry in ledger.tasks.values() if self.weather.is_calm else ():
            ends = [lease.ended for lease in entry.leases]
            if entry.losses or {"expired", "lost"} & set(ends):
                raise ViolationError("a healthy task starts once", f"{entry.id} in good weather: {ends}", entry.id)


def play(seed: int, *, takeover: bool = False, hubs: int = 0, sleeps: bool = False) -> WorldOutcome:
    """One world; what it violated is in the outcome.

    With `takeover`, one whose hub answers for absent machines; with `hubs`, one of so many; with `sleeps`, one whose
    hub is put to sleep between two events; else as its seed says.
    """
    scenario = Scenario(seed, takeover=takeover, hubs=hubs, sleeps=sleeps)
    world, ledger = scenario.world, scenario.oracle.ledger
    violation: ViolationError | None = None
    try:
        scenario.play()
    except ViolationError as found:
        violation = found
    finally:
        scenario.hub.close()
        scenario.hub.store.close()
    return WorldOutcome(
        seed,
        world.now_ms,
        len(ledger.tasks),
        sum(len(entry.leases) for entry in ledger.tasks.values()),
        world.story.digest(),
        violation,
        tuple(_reported(world, violation)) if violation is not None else (),
        scenario.hub.stand_in.answered if scenario.hub.stand_in is not None else 0,
        scenario.trouble.blows,
    )


def _reported(world: World, violation: ViolationError) -> list[str]:
    """The last steps, and before them the last ones of the task or daemon in question."""
    about = world.story.last(about=violation.about) if violation.about else []
    return [*about, "…", *world.story.last()] if about else world.story.last()
