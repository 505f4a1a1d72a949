"""The hub of a simulation: the real engine, API and loops on a store in memory; killed and stopped at will."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from understudy.coordinator.nouns import Policy
from understudy.errors import StoreError, UnderstudyError
from understudy.hub.alarm_loop import Alarm
from understudy.hub.batch import Committed, Engine
from understudy.hub.calls import CutCalls
from understudy.hub.operation import Operation
from understudy.hub.starts import RecordStart
from understudy.hub.steps import Beside, Effect, Read, Sleep, Steps
from understudy.hub.takeover_loop import TakeoverLoop
from understudy.ids import IdMaker
from understudy.runtime.stepper import RETRY_MS_FIRST
from understudy.simulation.exchange import Answer, Exchange, Letter
from understudy.simulation.front import Asked, Front
from understudy.simulation.oracle import Oracle
from understudy.simulation.service import Service
from understudy.simulation.takeover_oracle import HUB_WORKER, StandIn
from understudy.simulation.weather import CALM, Weather
from understudy.simulation.world import ViolationError, World
from understudy.store.sqlite import SqliteStore

COMMIT_MS_MAX = 12
PROBE_URL = "http://probe.simulated/"


class HubKilledError(BaseException):
    """SIGKILL in the middle of a commit: nothing above may catch it as an error of the store."""


class Hub:
    """One hub and its store; the store survives what the process does not."""

    def __init__(
        self, world: World, weather: Weather, policy: Policy, oracle: Oracle, service: Service | None = None
    ) -> None:
        self._world = world
        self.weather = weather
        self.policy = policy
        self._oracle = oracle
        self.store = SqliteStore(None, before_commit=self._fail_point)
        self._ids = IdMaker(world.clock, world.random.getrandbits)
        self._front: Front | None = None
        self.is_up = False
        self.is_frozen = False
        self._life = 0  # which start this is: what was planned in an earlier one does not happen
        self._silent_since_ms = 0
        self._serving_since_ms = 0
        self._doom = ""  # "before" or "after": the next commit is its last
        self._is_dying = False
        self._inbox: list[Asked] = []
        self._backlog: list[Callable[[], None]] = []
        self._is_flushing = False
        self._alarm_at = -1
        self._service = service
        self.stand_in = StandIn(world, oracle, policy, service) if service is not None else None
        self._takeover_at = -1
        self._is_in_turn = self._is_woken = False

    # ---- its process

    def start(self) -> None:
        """Begin to serve."""
        self._life += 1
        self.is_up, self.is_frozen, self._doom, self._is_flushing = True, False, "", False
        self._inbox, self._backlog = [], []
        self._oracle.hears_again(self._silent_since_ms)
        self._serving_since_ms = self._world.now_ms
        self._takeover: TakeoverLoop | None = None
        self._engine = Engine(self.store, self._world.clock, self._ids, self.policy)
        self._alarm = Alarm(self._engine, _only_violations)
        self._front = Front(self._world, self._engine, self._put, self._unless_dead, self._finish, self._missed_a_sign)
        self._world.tell("hub starts")
        version = RecordStart(self._ids.uuid(), "0", "", "simulated")
        while isinstance(self._guarded(lambda: self._decide_one(version)), StoreError):
            pass
        self._set_alarm(0)
        if self._service is not None:
            self._start_takeover(self._service)

    def stop(self, how: str) -> None:
        """`stop` commits what is queued, `kill` does not; `before`, `after`: killed just then, at the next COMMIT."""
        if not self.is_up:
            return
        if how in ("before", "after"):
            self._doom = how
            return
        if how == "stop" and self._inbox and not self.is_frozen:
            self._guarded(self._commit)
        self._die(how)

    def freeze(self) -> None:
        """SIGSTOP: time passes, requests pile up."""
        if self.is_up and not self.is_frozen:
            self.is_frozen = True
            self._silent_since_ms = self._world.now_ms
            self._world.tell("hub is frozen")

    def thaw(self) -> None:
        """SIGCONT: everything that piled up comes at once, in any order."""
        if not self.is_up or not self.is_frozen:
            return
        self.is_frozen = False
        self._oracle.hears_again(self._silent_since_ms)
        self._serving_since_ms = self._world.now_ms
        self._world.tell("hub goes on")
        backlog, self._backlog = self._backlog, []
        self._world.random.shuffle(backlog)
        for step in backlog:
            self._world.after(self._world.between(0, 20), step)

    def recover(self) -> None:
        """All is well: it serves, and nothing is planned against it."""
        self._doom = ""
        self.weather = CALM
        if not self.is_up:
            self.start()
        self.thaw()

    def is_serving_since(self, ms: int) -> bool:
        """True if it has served without a pause for this time."""
        return self.is_up and not self.is_frozen and self._world.now_ms - self._serving_since_ms >= ms

    def _die(self, how: str) -> None:
        self._world.tell(f"hub is gone: {how}")
        self.is_up = False
        self._life += 1
        if not self.is_frozen:
            self._silent_since_ms = self._world.now_ms
        self._inbox, self._backlog = [], []
        self.close()

    def close(self) -> None:
        """Its process is gone; clients that wait for an answer see their connection break."""
        front, self._front = self._front, None
        for exchange in front.close() if front is not None else ():
            exchange.answer(None)

    def _unless_dead(self, step: Callable[[], None]) -> Callable[[], None]:
        life = self._life

        def go_on() -> None:
            if life != self._life:
                return
            if self.is_frozen:
                self._backlog.append(go_on)
            else:
                step()

        return go_on

    # ---- requests

    def receive(self, letter: Letter, answer: Answer) -> None:
        """A request arrives; `answer` is called once, now or later, or never if the hub is frozen for good."""
        if self._front is None:
            answer(None)
        else:
            self._unless_dead(partial(self._front.take_in, letter, answer))()

    def hang_up(self, letter: Letter) -> None:
        """The client of a request went away, and the hub sees it."""
        if self._front is not None:
            self._unless_dead(partial(self._front.hang_up, letter))()

    def _put(self, asked: Asked) -> None:
        """An operation for the next batch."""
        self._inbox.append(asked)
        self._flush_soon()

    def _missed_a_sign(self) -> None:
        self._engine.go_deaf()
        self._oracle.refused_a_sign()

    def _finish(self, exchange: Exchange) -> None:
        """A request was answered. What was decided is the hub's word, whether or not the answer arrives."""
        letter, reply = exchange.letter, exchange.reply
        known = reply or exchange.unsent()
        if exchange.is_decided and known is not None:
            self._oracle.saw(letter, known)
        if reply is None:  # its client is gone
            return
        if self._is_dying:
            exchange.answer(None)
            return
        said = f"{letter.sender} {letter.method} {letter.path} {letter.raw[:300].decode()}"
        self._world.tell(f"{said} -> {reply.status} {reply.raw[:300].decode(errors='replace')}")
        exchange.answer(reply)

    def _flush_soon(self) -> None:
        if not self._is_flushing:
            self._is_flushing = True
            self._world.after(self._world.between(0, COMMIT_MS_MAX), self._unless_dead(self._flush))

    def _flush(self) -> None:
        self._is_flushing = False
        if self._inbox:
            self._guarded(self._commit)

    # ---- commits

    def _guarded(self, step: Callable[[], Any]) -> Any:
        """Do a step that may turn out to be the hub's last."""
        try:
            return step()
        except HubKilledError:
            self._die("killed in a commit")
            return None

    def _decide_one(self, operation: Operation) -> Any:
        """An operation of the alarm: alone, or in one batch with the requests that wait."""
        if self._inbox and self._world.chance(0.5):
            return self._commit(operation)
        inbox, self._inbox = self._inbox, []
        try:
            return self._commit(operation)
        finally:
            self._inbox = inbox + self._inbox

    def _commit(self, last: Operation | None = None) -> Any:
        """One batch → the answer to `last`; HubKilledError if the process dies of it."""
        assert self._front is not None
        batch, self._inbox = self._inbox, []
        operations = [asked.operation for asked in batch]
        self._is_dying = bool(batch) and self._doom != ""
        committed = self._committed([*operations, *([last] if last is not None else [])])
        if any(not isinstance(answer, StoreError) for answer in committed.answers):
            self._oracle.hears()
        for asked, answer in zip(batch, committed.answers, strict=False):
            asked.settle(answer)
        self._front.waiting.wake(committed.ready)
        self._front.turn()
        self._tell_oracle(committed, last)
        if self._is_dying:
            raise HubKilledError
        self._alarm.look_at(committed)
        self._set_alarm(self._alarm.pause_ms())
        if self._takeover is not None and self._takeover.is_concerned(committed):
            self._set_takeover(0)
        return committed.answers[-1] if last is not None else None

    def _committed(self, operations: list[Operation]) -> Committed:
        """In two halves, as the real writer does it."""
        prepared = self._engine.prepare(operations)
        if prepared is None:
            return self._engine.run(operations)
        return self._engine.conclude(prepared, self._engine.commit())

    def _fail_point(self) -> None:
        """Just before each COMMIT."""
        if self._is_dying and self._doom == "before":
            raise HubKilledError
        if self._world.chance(self.weather.commit_fails):
            self._oracle.stumbled()
            raise StoreError("Store unavailable: simulated")

    def _tell_oracle(self, committed: Committed, last: Operation | None) -> None:
        """Report to the oracle what it cannot read from the answers to requests."""
        if self.stand_in is not None and last is not None and not isinstance(committed.answers[-1], StoreError):
            self.stand_in.saw(last, committed.answers[-1])
        self._oracle.committed(committed)
        if self.stand_in is not None:
            self.stand_in.committed(committed)

    # ---- its loops

    def _set_alarm(self, pause_ms: int) -> None:
        at_ms = self._world.now_ms + pause_ms + self._world.between(0, 5)
        if self._world.now_ms < self._alarm_at <= at_ms and pause_ms:
            return
        self._alarm_at = at_ms
        self._world.at(at_ms, self._unless_dead(lambda: self._ring(at_ms)))

    def _ring(self, at_ms: int) -> None:
        if at_ms != self._alarm_at:
            return  # an earlier or later one was set meanwhile
        self._alarm_at = -1
        self._drive(self._alarm.step(), self._set_alarm)

    def _start_takeover(self, service: Service) -> None:
        cut = CutCalls(HUB_WORKER)
        while isinstance(self._guarded(lambda: self._decide_one(cut)), StoreError):
            pass
        self._takeover = TakeoverLoop(HUB_WORKER, service.api, self._world.clock, probe_url=PROBE_URL)
        self._takeover_at, self._is_in_turn = -1, False
        self._set_takeover(0)

    def _set_takeover(self, pause_ms: int) -> None:
        """Make the next turn then, or earlier if an earlier one was planned; during a turn none is planned."""
        at_ms = self._world.now_ms + pause_ms + self._world.between(0, 50)
        if self._is_in_turn:
            self._is_woken = self._is_woken or not pause_ms
        elif not self._world.now_ms < self._takeover_at <= at_ms:
            self._takeover_at = at_ms
            self._world.at(at_ms, self._unless_dead(lambda: self._turn_takeover(at_ms)))

    def _turn_takeover(self, at_ms: int) -> None:
        if self._takeover is not None and at_ms == self._takeover_at:
            self._takeover_at, self._is_in_turn, self._is_woken = -1, True, False
            self._drive(self._takeover.step(), self._end_turn)

    def _end_turn(self, pause_ms: int) -> None:
        self._is_in_turn = False
        self._set_takeover(0 if self._is_woken else pause_ms)

    def _drive(self, steps: Steps, done: Callable[[int], None], answer: Any = None) -> None:
        """Carry out what a loop of the hub asks for, each effect in its time; `done` gets what the steps return."""
        go_on = partial(self._drive, steps, done)
        try:
            effect = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
        except StopIteration as end:
            done(end.value or 0)
        except StoreError:
            self._world.after(RETRY_MS_FIRST, self._unless_dead(lambda: done(0)))
        except Exception as bug:
            raise ViolationError("a loop never breaks", f"a loop of the hub: {bug!r}") from bug
        else:
            self._guarded(lambda: self._perform(effect, go_on))

    def _perform(self, effect: Effect, go_on: Callable[[Any], None]) -> None:
        match effect:
            case Operation():
                go_on(self._decide_one(effect))
            case Read():
                go_on(self.store.read(effect.show))
            case Sleep():
                self._world.after(effect.ms, self._unless_dead(lambda: go_on(None)))
            case Beside():
                self._drive(effect.steps, lambda _: self._set_takeover(0))
                go_on("")
            case _:
                assert self._service is not None
                took_ms, answer = self._service.asked(effect)
                self._world.after(took_ms, self._unless_dead(lambda: go_on(answer)))


def _only_violations(trouble: BaseException) -> None:
    """The alarm goes on whatever happens; but what the oracle found, and any defect, must be seen."""
    if isinstance(trouble, ViolationError):
        raise trouble
    if not isinstance(trouble, UnderstudyError):
        raise ViolationError("no request ends in a defect", f"the alarm met {trouble!r}") from trouble
