"""A simulated hub that sleeps: its host, with storage and alarm, and the hub's lives in it.

The host forgets a hub that has had no request for some seconds, and wakes it for a request or by the alarm that the hub
has set. It also forgets it in the middle of its work, and is down itself at times: then its alarm comes late, or twice.
An alarm comes at least once, and again after a failure, six times (Cloudflare's documentation of Durable Objects).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from understudy.config.policy import HubInputs
from understudy.config.table import Settings
from understudy.coordinator.nouns import Policy
from understudy.errors import StoreError
from understudy.hub.batch import Committed
from understudy.hub.operation import Operation
from understudy.ids import IdMaker
from understudy.runtime.one_loop.woken import sleeps_ms_of
from understudy.services.claude import ClaudeApi
from understudy.simulation.company import Company, Ears
from understudy.simulation.exchange import Answer, Letter, SimulatedExchange
from understudy.simulation.front import KEY
from understudy.simulation.hub_loops import PROBE_URL
from understudy.simulation.object_life import ForgottenError, ObjectClock, ObjectLife, Surroundings
from understudy.simulation.oracle import Oracle
from understudy.simulation.receiver import CHANNEL, ROUTES, URL, Receiver
from understudy.simulation.service import Service
from understudy.simulation.weather import CALM, Weather
from understudy.simulation.world import World
from understudy.store.base import Store
from understudy.store.sqlite import SqliteStore
from understudy.wire.outbound import HttpRequest, OutboundAnswer, OutboundRequest

IDLE_MS = (8_000, 12_000)  # without an event, then it is forgotten
ALARM_LATE_MS_MAX = 5
GATE_MS_MAX = 12  # an answer is held back until what it tells of is on disk
AGAIN_MS_MAX = 5_000
TRIES, TRY_AGAIN_MS = 6, 2_000  # of an alarm that fails; doubled each time
BEHIND_MS_MAX = 3
OVERDUE_MS_MAX = 2_000  # after the place was away
FORGOTTEN_AT_ONCE, ALARM_AGAIN, ALARM_HELD = 0.01, 0.05, 0.02  # events: in bad weather
HELD_MS = (1_000, 60_000)
UNLIMITED = 1_000_000_000  # requests: nobody here sends too many


class ObjectHub:
    """One hub, its place, and what is kept there."""

    def __init__(
        self,
        world: World,
        weather: Weather,
        policy: Policy,
        oracle: Oracle,
        service: Service | None = None,
        company: Company | None = None,
    ) -> None:
        self._world = world
        self.weather = weather
        self._oracle = oracle
        oracle.ledger.may_sleep(sleeps_ms_of(policy), BEHIND_MS_MAX)
        self._company = company or Company(Ears(world, oracle))
        self.store: Store = SqliteStore(None, before_commit=self._fail_point)
        self.stand_in = self._company.stand_in
        self._service = service
        self.receiver = Receiver(world, lambda: self.weather is not CALM and not weather.is_calm)
        self.is_up = self.is_frozen = False
        self.silent_since_ms = self._serving_since_ms = 0
        self._life: ObjectLife | None = None
        self._doom = ""  # "before" or "after": the next commit is the last of this life
        self._alarm_at = -1  # as it is kept; -1: none is
        self._held_until_ms = 0  # no alarm is rung before
        self._events = 0
        self._leaving: list[SimulatedExchange] = []
        self._backlog: list[Callable[[], None]] = []
        clock = ObjectClock(world.clock)
        self._around = Surroundings(
            world,
            _inputs_of(policy, service),
            self.store,
            clock,
            IdMaker(clock, world.random.getrandbits),
            asked=self._asked,
            set_bell=self._set_alarm,
            leave=self._leave,
            decided=oracle.saw,
            saw=self._saw,
            missed_a_sign=oracle.refused_a_sign,
        )

    # ---- its place

    def start(self) -> None:
        """The place is there (again): what was due meanwhile is rung, and now and then twice."""
        self.is_up, self._doom = True, ""
        self._opens()
        if self._alarm_at < 0:
            self._set_alarm(0)
        else:
            self._world.after(self._world.between(0, OVERDUE_MS_MAX), partial(self._ring, self._alarm_at))

    def stop(self, how: str) -> None:
        """The place is away, with all that it had in memory; `before`, `after`: just then, at the next COMMIT."""
        if self.is_up and how in ("before", "after"):
            self._doom = how
        elif self.is_up:
            self._away(how)

    def freeze(self) -> None:
        """Requests and alarms are held back until the place is there again."""
        if self.is_up and not self.is_frozen:
            self._forget("held back")
            self.is_frozen = True
            self._closes()

    def thaw(self) -> None:
        """Everything that was held back comes, in any order."""
        if not self.is_frozen:
            return
        self.is_frozen = False
        backlog, self._backlog = self._backlog, []
        self._world.random.shuffle(backlog)
        for step in backlog:
            self._world.after(self._world.between(0, 20), step)
        self.start()

    def recover(self) -> None:
        """All is well."""
        self._doom = ""
        self.weather = CALM
        self._held_until_ms = min(self._held_until_ms, self._world.now_ms)
        self._ring(self._alarm_at)  # if it was held back
        self.thaw()
        if not self.is_up:
            self.start()

    def is_serving_since(self, ms: int) -> bool:
        """True if requests and alarms have come through for this time."""
        since_ms = max(self._serving_since_ms, self._held_until_ms)
        return self.is_up and not self.is_frozen and self._world.now_ms - since_ms >= ms

    def close(self) -> None:
        """It is gone."""
        self._forget("closed")

    def _opens(self) -> None:
        self._company.ears.open(self._company.name)
        self._serving_since_ms = self._world.now_ms
        self._world.tell("the hub's place is there")

    def _closes(self) -> None:
        self.silent_since_ms = self._world.now_ms
        self._company.ears.close(self._company.name)

    def _away(self, how: str) -> None:
        self._forget(how)
        if self.is_up and not self.is_frozen:
            self._closes()
        self.is_up = self.is_frozen = False
        self._backlog = []

    # ---- lives

    def _there(self) -> ObjectLife:
        """The hub, made if it was forgotten."""
        self._events += 1
        if self._life is None:
            self._world.tell("the hub wakes")
            self._life = ObjectLife(self._around)
        return self._life

    def _forget(self, why: str) -> None:
        """Everything that is not stored is lost."""
        life, self._life = self._life, None
        if life is None:
            return
        self._world.tell(f"the hub is forgotten: {why}")
        self.receiver.excuse()
        leaving, self._leaving = self._leaving, []
        for exchange in {id(one): one for one in (*leaving, *life.end())}.values():
            exchange.answer(None)

    def _forget_when_idle(self) -> None:
        """After an event: unless another one comes, or a request waits."""
        events, life = self._events, self._life

        def forget() -> None:
            if life is not None and life is self._life and events == self._events:
                if life.requests.are_open:
                    self._forget_when_idle()
                else:
                    self._forget("idle")

        self._world.after(self._world.between(*IDLE_MS), forget)
        if not self.weather.is_calm and self._world.chance(FORGOTTEN_AT_ONCE):
            self._world.after(self._world.between(0, 50), lambda: self._forget_this(life, "in the middle"))

    def _forget_this(self, life: ObjectLife | None, why: str) -> None:
        if life is not None and life is self._life:
            self._forget(why)

    # ---- requests

    def receive(self, letter: Letter, answer: Answer) -> None:
        """A request arrives; it wakes the hub."""
        if self.is_frozen:
            self._backlog.append(partial(self.receive, letter, answer))
        elif not self.is_up or (self._life is not None and self._life.is_over):
            answer(None)
        else:
            life = self._there()
            self._around.clock.behind_ms = 0
            life.receive(letter, answer)
            self._forget_when_idle()

    def hang_up(self, letter: Letter) -> None:
        """The client of a request went away."""
        if self._life is not None and not self._life.is_over:
            self._life.requests.hang_up(letter)

    def _leave(self, exchange: SimulatedExchange) -> None:
        """An answer sets out: it is lost if the hub is forgotten before it is on its way."""
        if self._life is None or self._life.is_over:
            exchange.answer(None)
            return
        self._leaving.append(exchange)
        self._world.after(self._world.between(0, GATE_MS_MAX), lambda: self._leaves(exchange))

    def _leaves(self, exchange: SimulatedExchange) -> None:
        if exchange not in self._leaving:
            return
        self._leaving.remove(exchange)
        letter, reply = exchange.letter, exchange.reply
        if reply is not None:
            said = f"{letter.sender} {letter.method} {letter.path} {letter.raw[:300].decode()}"
            self._world.tell(f"{said} -> {reply.status} {reply.raw[:300].decode(errors='replace')}")
        exchange.answer(reply)

    # ---- alarm

    def _set_alarm(self, ms: int) -> None:
        """It takes the place of the one before."""
        at_ms = self._world.now_ms + ms
        if at_ms != self._alarm_at:
            self._alarm_at = at_ms
            late_ms = self._world.between(0, ALARM_LATE_MS_MAX)
            self._world.at(at_ms + late_ms, partial(self._ring, at_ms))

    def _ring(self, at_ms: int, tries: int = 1) -> None:
        """The alarm of this instant, unless another one was set meanwhile or the place is away: it is kept then."""
        world = self._world
        if at_ms < 0 or at_ms != self._alarm_at or not self.is_up or self.is_frozen:
            return
        if world.now_ms < self._held_until_ms:
            world.at(self._held_until_ms, partial(self._ring, at_ms, tries))
            return
        if not self.weather.is_calm and world.chance(ALARM_HELD):
            self._held_until_ms = world.now_ms + world.between(*HELD_MS)
            world.tell(f"the alarm is held back until {self._held_until_ms} ms")
            self._ring(at_ms, tries)
            return
        self._rung(at_ms, tries)

    def _rung(self, at_ms: int, tries: int) -> None:
        world = self._world
        self._alarm_at = -1
        self._around.clock.behind_ms = world.between(0, BEHIND_MS_MAX)
        life = self._there()
        outcome: list[bool] = []
        life.rung(outcome.append)
        if life.is_over or outcome == [False]:
            self._ring_again(at_ms, tries)
        elif not self.weather.is_calm and world.chance(ALARM_AGAIN):
            world.after(world.between(0, AGAIN_MS_MAX), partial(self._rung_twice, life))
        self._forget_when_idle()

    def _ring_again(self, at_ms: int, tries: int) -> None:
        """It failed: the place tries again, unless the hub has set another one."""
        if self._alarm_at >= 0 or tries > TRIES:
            return
        self._alarm_at = at_ms
        again_ms = TRY_AGAIN_MS << (tries - 1)
        self._held_until_ms = max(self._held_until_ms, self._world.now_ms + again_ms)
        self._world.after(again_ms, partial(self._ring, at_ms, tries + 1))

    def _rung_twice(self, life: ObjectLife) -> None:
        if self.is_up and not self.is_frozen and not life.is_over:
            self._world.tell("the alarm comes twice")
            self._there().rung(lambda _: None)
            self._forget_when_idle()

    # ---- other servers

    def _asked(self, request: OutboundRequest) -> tuple[int, OutboundAnswer]:
        assert isinstance(request, HttpRequest)
        if request.url.startswith(URL):
            return self.receiver.asked(request)
        assert self._service is not None
        return self._service.asked(request)

    # ---- commits

    def _fail_point(self) -> None:
        """Just before each COMMIT."""
        if self._life is None:
            return
        if self._doom == "before":
            self._dies()
            raise ForgottenError
        if self._world.chance(self.weather.commit_fails):
            self._stumbled()
            raise StoreError("Store unavailable: simulated")

    def _dies(self) -> None:
        life, how, self._doom = self._life, self._doom, ""
        assert life is not None
        life.is_over = True
        self._world.after(0, lambda: self._away(f"killed {how} a commit") if life is self._life else None)

    def _stumbled(self) -> None:
        self._oracle.stumbled()
        self.receiver.excuse()

    def _saw(self, operation: Operation | None, committed: Committed) -> None:
        """A commit: what the oracle cannot read from the answers to requests."""
        answer = committed.answers[-1]
        has_failed = isinstance(answer, StoreError)
        if self._world.now_ms < self._held_until_ms + AGAIN_MS_MAX:
            self._oracle.stumbled()  # its alarm was held back: it could not keep its promise
        if not has_failed:
            self._oracle.hears()
        if self.stand_in is not None and operation is not None and not has_failed:
            self.stand_in.saw(operation, answer)
        self._oracle.committed(committed)
        if self.stand_in is not None:
            self.stand_in.committed(committed)
        if has_failed:
            self._stumbled()
        if self._doom == "after" and self._life is not None:
            self._dies()


def _inputs_of(policy: Policy, service: Service | None) -> HubInputs:
    """As its owner set it up: one channel, and takeover where the world has it."""
    settings = Settings(
        rate_per_s=UNLIMITED, rate_burst=UNLIMITED, probe_url=PROBE_URL if policy.takeover.probes else ""
    )
    return HubInputs(
        settings,
        environment_keys={"ADMIN_API_KEY": KEY},
        policy=replace(policy, routes=ROUTES),
        channels=(CHANNEL,),
        claude=service.api if service is not None else ClaudeApi(""),
    )
