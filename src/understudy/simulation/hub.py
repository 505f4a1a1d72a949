"""The hub of a simulation: the real engine, API and loops on a store in memory; killed and stopped at will."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from understudy.coordinator.nouns import Policy
from understudy.errors import StoreDownError, StoreError
from understudy.hub.batch import Committed, Engine
from understudy.hub.calls import CutCalls
from understudy.hub.operation import Operation
from understudy.hub.starts import RecordStart
from understudy.ids import IdMaker
from understudy.simulation.company import Company, Ears
from understudy.simulation.exchange import Answer, Letter, Reply, SimulatedExchange
from understudy.simulation.front import Front, WaitingOperation
from understudy.simulation.hub_loops import HubLoops
from understudy.simulation.oracle import Oracle
from understudy.simulation.service import Service
from understudy.simulation.shared_store import Database, SharedStore
from understudy.simulation.weather import CALM, Weather
from understudy.simulation.world import World
from understudy.store.base import Store
from understudy.store.sqlite import SqliteStore

COMMIT_MS_MAX = 12
# Of a database that several hubs share: transactions that it rolls back once, claimable tasks that another hub has
# locked at this moment, and freezes that catch a hub in the middle of a transaction.
RUNS_AGAIN, PASSED_OVER, IN_TRANSACTION = 0.02, 0.02, 0.7
UNKNOWN = Reply(503, {"error": "the outcome of the COMMIT is unknown"})


class HubKilledError(BaseException):
    """SIGKILL in the middle of a commit: nothing above may catch it as an error of the store."""


class SimulatedHub:
    """One hub and its store; the store survives what the process does not."""

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
        self.policy = policy
        self._oracle = oracle
        self._company = company = company or Company(Ears(world, oracle))
        self._database = company.database
        self._shared = self._way_to(company.database) if company.database is not None else None
        self.store: Store = self._shared or SqliteStore(None, before_commit=self._fail_point)
        self._ids = IdMaker(world.clock, world.random.getrandbits)
        self._front: Front | None = None
        self.is_up = False
        self.is_frozen = False
        self._life = 0  # which start this is: what was planned in an earlier one does not happen
        self.silent_since_ms = 0
        self._serving_since_ms = 0
        self._doom = ""  # "before" or "after": the next commit is its last
        self._is_dying = False
        self._inbox: list[WaitingOperation] = []
        self._caught: list[WaitingOperation] = []  # the batch in the middle of which it was frozen
        self._backlog: list[Callable[[], None]] = []
        self._is_flushing = False
        self._service = service
        self.stand_in = company.stand_in

    def _way_to(self, database: Database) -> SharedStore:
        """To the database, with what may happen on it."""
        chance = self._world.chance
        return SharedStore(
            database,
            again=lambda: chance(RUNS_AGAIN),
            passed_over=lambda: chance(PASSED_OVER),
            before_commit=self._fail_point,
            outcome_lost=lambda: not self._is_dying and chance(self.weather.commit_fails),
        )

    # ---- its process

    def start(self) -> None:
        """Begin to serve."""
        self._life += 1
        self.is_up, self.is_frozen, self._doom, self._is_flushing = True, False, "", False
        self._inbox, self._backlog, self._caught = [], [], []
        self._company.ears.open(self._company.name)
        if self._database is not None:
            self._database.wait()
        self._serving_since_ms = self._world.now_ms
        self._engine = Engine(self.store, self._world.clock, self._ids, self.policy)
        self._loops = HubLoops(self._world, self._engine, self._unless_dead, self._guarded, self._decide_one)
        self._front = Front(self._world, self._engine, self._put, self._unless_dead, self._finish, self._missed_a_sign)
        self._tell("starts")
        self._decide_at_last(RecordStart(self._ids.uuid(), "0", "", "simulated"))
        self._loops.set_alarm(0)
        if self._service is not None:
            worker_id = self._company.worker_id
            self._decide_at_last(CutCalls(worker_id))
            self._loops.start_takeover(self._service, worker_id)

    def _decide_at_last(self, operation: Operation) -> None:
        while isinstance(self._guarded(lambda: self._decide_one(operation)), StoreError):
            pass

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
            self.silent_since_ms = self._world.now_ms
            self._company.ears.close(self._company.name)
            self._tell("is frozen")
            if self._database is not None and self._inbox and self._world.chance(IN_TRANSACTION):
                self._caught, self._inbox = self._inbox, []
                self._database.hold(self, alone=any(asked.operation.runs_alone for asked in self._caught))
                self._tell("stands still in a transaction")

    def thaw(self) -> None:
        """SIGCONT: everything that piled up comes at once, in any order."""
        if not self.is_up or not self.is_frozen:
            return
        self.is_frozen = False
        self._company.ears.open(self._company.name)
        self._serving_since_ms = self._world.now_ms
        self._tell("goes on")
        self._end_transaction()
        backlog, self._backlog = self._backlog, []
        self._world.random.shuffle(backlog)
        for step in backlog:
            self._world.after(self._world.between(0, 20), step)

    def _end_transaction(self) -> None:
        """The batch in which it was frozen: it goes on, or its connection was cut."""
        caught, self._caught = self._caught, []
        if self._database is None or not caught:
            return
        if self._database.let_go(self):
            self._inbox = caught + self._inbox
            self._flush_soon()
            return
        for asked in caught:
            asked.settle(StoreDownError("Store unavailable: the database has cut the connection"))
        if self._front is not None:
            self._front.turn()

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
        self._tell(f"is gone: {how}")
        self.is_up = False
        self._life += 1
        if not self.is_frozen:
            self.silent_since_ms = self._world.now_ms
        self._company.ears.close(self._company.name)
        if self._database is not None:
            self._database.let_go(self)
        self._inbox, self._backlog, self._caught = [], [], []
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

    def _tell(self, what: str) -> None:
        name = f" {self._company.name}" if self._database is not None else ""
        self._world.tell(f"hub{name} {what}")

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

    def _put(self, asked: WaitingOperation) -> None:
        """An operation for the next batch."""
        self._inbox.append(asked)
        self._flush_soon()

    def _missed_a_sign(self) -> None:
        self._engine.go_deaf()
        self._oracle.refused_a_sign()

    def _finish(self, exchange: SimulatedExchange) -> None:
        """A request was answered. What was decided is the hub's word, whether or not the answer arrives."""
        letter, reply = exchange.letter, exchange.reply
        known = reply or exchange.unsent()
        if exchange.is_decided and known is not None:
            self._oracle.saw(letter, known)
        if reply is None:  # its client is gone
            return
        if exchange.is_unknown:
            self._missed_a_sign()
            reply = UNKNOWN
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
        kept = self._kept(committed)
        has_failed = all(isinstance(answer, StoreError) for answer in kept.answers)
        if not has_failed:
            self._oracle.hears()
        for asked, answer in zip(batch, kept.answers, strict=False):
            asked.settle(answer, is_unknown=kept is not committed)
        self._front.waiting.wake(committed.ready)
        self._front.turn()
        self._tell_oracle(kept, last)
        if has_failed:
            self._oracle.stumbled()
        if self._is_dying:
            raise HubKilledError
        self._company.spread(self, committed)
        self._loops.look_at(committed)
        return committed.answers[-1] if last is not None else None

    def _committed(self, operations: list[Operation]) -> Committed:
        """In two halves, as the real writer does it."""
        prepared = self._engine.prepare(operations)
        if prepared is None:
            return self._engine.run(operations)
        return self._engine.conclude(prepared, self._engine.commit())

    def _kept(self, committed: Committed) -> Committed:
        """The outcome as the store holds it: more than the hub knows, if that of its COMMIT was lost."""
        unknown: Committed | None = self._shared.unknown if self._shared is not None else None
        return unknown or committed

    def hear_of(self, committed: Committed, after_ms: int) -> None:
        """A hint of another hub: what it has committed."""
        self._world.after(after_ms, self._unless_dead(lambda: self._heed(committed)))

    def _heed(self, committed: Committed) -> None:
        if self._front is None:
            return
        self._front.waiting.wake(committed.ready)
        self._front.turn()
        self._loops.heed(committed)

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
