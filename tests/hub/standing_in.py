"""A bench whose daemon can be lost: `bench = StandIn(mode="answer")`, `bench.lose_daemon()`, `bench.job()`."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tests.hub.conftest import Bench
from understudy.coordinator.calls import NoCall
from understudy.coordinator.nouns import Policy, Result, Task
from understudy.coordinator.prices import Price, Tokens
from understudy.coordinator.takeover import CallOutcome
from understudy.coordinator.takeover_look import Verdict
from understudy.coordinator.takeover_nouns import Budget, Reservation, TakeoverPolicy, TakeoverState, TaskTakeover
from understudy.coordinator.utc_calendar import period_of
from understudy.hub.call_ends import SettleCall
from understudy.hub.calls import ReserveCall, TakeoverCall
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.takeover import CheckTakeover
from understudy.store.base import EventFilter, Store
from understudy.wire.daemons import HeartbeatBody
from understudy.wire.tasks import EnqueueBody

WORKER = "hub/test"
ANSWERED = CallOutcome("answered", text="four", tokens=Tokens(100, 10), billed="tokens")


def policy_of(**decided: Any) -> Policy:
    """What an owner decides who has switched takeover on, with a key and a price."""
    takeover = TakeoverPolicy(
        **{
            "mode": "answer",
            "has_key": True,
            "access": "a",
            "model": "m",
            "price": Price(1, 5),
            "answer_tokens_max": 1000,
            "calls_a_minute": 1000,
            **decided,
        }
    )
    return Policy(takeover=takeover)


class StandIn(Bench):
    """A hub whose takeover is asked by hand."""

    def __init__(self, store: Store | None = None, **decided: Any) -> None:
        super().__init__(policy_of(**decided), store)
        self._seq = 0

    def decide(self, **decided: Any) -> None:
        """The owner decides anew."""
        before = self.engine.policy
        self.engine.policy = replace(before, takeover=replace(before.takeover, **decided))

    def beat(self, name: str = "mini", **said: Any) -> Any:
        """A sign of life."""
        self._seq += 1
        return self.ask(
            RecordHeartbeat(HeartbeatBody(daemon_id=name, machine_id=f"m-{name}", boot_id="b", seq=self._seq, **said))
        )[0]

    def lose_daemon(self) -> None:
        """A daemon was there, and is down."""
        self.beat()
        self.pass_time(301_000)

    def enqueue(self, task_id: str = "t", content: str = "2 + 2?", **fields: Any) -> None:
        """A task, without needs unless told."""
        self.ask(EnqueueTasks([EnqueueBody(content=content, id=task_id, **{"needs": [], **fields})], [task_id], "key"))

    def look(self) -> Verdict:
        (verdict,) = self.ask(CheckTakeover())
        assert isinstance(verdict, Verdict), verdict
        return verdict

    def reserve(self, *, tells: bool = True) -> TakeoverCall | NoCall:
        """A look, then the next call, if there is one."""
        self.ask(CheckTakeover(tells=tells))
        (job,) = self.ask(ReserveCall(WORKER))
        assert isinstance(job, TakeoverCall | NoCall), job
        return job

    def job(self) -> TakeoverCall:
        job = self.reserve()
        assert isinstance(job, TakeoverCall), job
        return job

    def settle(self, job: TakeoverCall, called: CallOutcome = ANSWERED) -> Any:
        return self.ask(SettleCall(job, called, WORKER))[0]

    def row(self, noun: Any, key: Any = "t") -> Any:
        found = self.store.read(lambda reader: reader.load_many(noun, (key,)))
        return found[0] if found else None

    def task(self, task_id: str = "t") -> Task:
        return self.row(Task, task_id)

    def result(self, task_id: str = "t") -> Result | None:
        return self.row(Result, task_id)

    def state(self) -> TakeoverState:
        return self.row(TakeoverState, 1) or TakeoverState()

    def done(self, task_id: str = "t") -> TaskTakeover:
        return self.row(TaskTakeover, task_id) or TaskTakeover(task_id)

    def spent(self, kind: str = "day") -> int:
        row = self.row(Budget, period_of(kind, self.clock.now_ms()))
        return row.spent_micro_usd if row else 0

    def calls(self) -> list[Reservation]:
        return self.store.read(lambda reader: reader.load_all(Reservation, 10_000))

    def names(self) -> list[str]:
        """Every event of takeover and its budget so far."""
        rows = self.store.read(lambda tx: tx.list_events(EventFilter(limit=1000)))
        return [row.event.name for row in rows if row.event.name.startswith(("takeover.", "budget."))]
