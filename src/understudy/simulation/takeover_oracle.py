"""The oracle's part about takeover: only while nobody is there, only what is its own, and never beyond its budget.

What the hub grants to itself and settles is reported to the oracle as if it had come over the wire: the same rules of
leases, tokens and ends hold for it as for everybody.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from understudy.coordinator.nouns import Policy
from understudy.coordinator.takeover_look import Verdict
from understudy.coordinator.takeover_nouns import Budget, Reservation
from understudy.coordinator.utc_calendar import period_of
from understudy.hub.batch import Committed
from understudy.hub.call_ends import SettleCall
from understudy.hub.calls import CutCalls, ReserveCall, TakeoverCall
from understudy.hub.leases import NO_LEASE
from understudy.hub.operation import Operation
from understudy.hub.takeover import CheckTakeover
from understudy.simulation.exchange import Letter, Reply, reply_of
from understudy.simulation.ledger import OPEN
from understudy.simulation.oracle import Oracle
from understudy.simulation.service import Service
from understudy.simulation.world import ViolationError, World
from understudy.store.base import Reader, Store

ROWS_MAX = 10_000
SLACK_MS = 3_000
AWAY_AT_ONCE, AWAY_AFTER_A_WHILE = ("down", "stuck"), ("asleep", "draining", "planned")
STATES = ("late", "down", "stuck", "asleep", "paused", "draining", "stopped", "recovered", "registered")


class StandIn:
    """Sees every operation of takeover with its answer, and every event."""

    def __init__(self, world: World, oracle: Oracle, policy: Policy, service: Service) -> None:
        self._world = world
        self._oracle = oracle
        self._policy = policy
        self._service = service
        self._states: dict[str, tuple[str, int]] = {}  # daemon: state, since when
        self._is_open = False  # as its events say
        self._granted: list[TakeoverCall] = []
        self.answered = 0

    def saw(self, operation: Operation, answer: Any) -> None:
        """Note a request of takeover's loop and the hub's decision."""
        match operation:
            case ReserveCall() if isinstance(answer, TakeoverCall):
                self._reserved(answer, operation.worker_id)
            case SettleCall():
                self._settled(operation, answer)
            case CutCalls():
                self._cut(operation, answer)
            case CheckTakeover() if isinstance(answer, Verdict):
                self._lost(answer.lost)

    def _reserved(self, job: TakeoverCall, worker_id: str) -> None:
        self._granted.append(job)
        if job.token:
            body = {"workerId": worker_id, "provides": [], "requestId": job.call_id}
            granted = {"success": True, "tasks": [{"task": {"id": job.task_id}, "lease": job.lease}]}
            self._tell("/api/queue/claim", body, reply_of(granted))

    def _settled(self, operation: SettleCall, answer: Any) -> None:
        job, called = operation.job, operation.called
        if not job.token or answer is None:
            return
        said: dict[str, Any] = {"workerId": operation.worker_id, "token": job.token}
        if called.kind in ("again", "stop"):
            if answer != NO_LEASE:
                self._tell(f"/api/queue/{job.task_id}/release", said, reply_of(answer))
            return
        is_answer = called.kind == "answered"
        said |= {
            "success": is_answer,
            "output": called.text if is_answer else None,
            "failure": {"final": not is_answer},
        }
        reply = reply_of(answer)
        self._tell(f"/api/result/{job.task_id}", said, reply)
        self.answered += reply.body == {"success": True}

    def _cut(self, operation: CutCalls, answer: Any) -> None:
        """A hub that starts ends its own calls: what another one has called is going on."""
        for task_id, token in answer if isinstance(answer, tuple) else ():
            lease = self._oracle.ledger.entry(task_id).lease
            if lease is None or lease.worker != operation.worker_id:
                said = f"{task_id} {token} of {lease.worker if lease else None}, cut by {operation.worker_id}"
                raise ViolationError("T4 a hub cuts its own calls only", said, task_id)
        self._lost(answer)

    def _lost(self, leases: Any) -> None:
        for task_id, token in leases if isinstance(leases, tuple) else ():
            entry = self._oracle.ledger.entry(task_id)
            if entry.lease is None or entry.lease.token != token:
                raise ViolationError("I4 an old token changes nothing", f"{task_id} {token} lost", task_id)
            self._oracle.ledger.end(entry, "lost")

    def _tell(self, path: str, body: dict[str, Any], reply: Reply) -> None:
        worker_id = body["workerId"]
        self._world.tell(f"{worker_id} {path} {body} -> {reply.status} {reply.body}"[:600])
        self._oracle.saw(Letter(worker_id, "POST", path, body, b""), reply)

    def committed(self, committed: Committed) -> None:
        """The events of a commit; only then is it known whether its grants were right."""
        for stored in committed.events:
            noun, _, word = stored.event.name.partition(".")
            if word == "registered" and stored.event.daemon_id in self._states:
                continue  # introduced again; how it is was said otherwise
            if noun == "daemon" and word in STATES:
                state = self._since_recovery(stored.event.daemon_id) if word == "recovered" else word
                state = "healthy" if word == "registered" else state
                state = "planned" if stored.event.fields.get("reason") == "planned" else state
                if state in ("late", "asleep") and self._is_open:
                    continue  # it was away, and has said nothing since
                self._states[stored.event.daemon_id] = (state, self._world.now_ms)
            elif stored.event.name in ("takeover.opened", "takeover.closed"):
                self._is_open = stored.event.name == "takeover.opened"
            elif stored.event.name == "daemon.forgotten":
                self._states.pop(stored.event.daemon_id, None)
        granted, self._granted = self._granted, []
        for job in granted:
            self._check_grant(job)

    def _since_recovery(self, daemon_id: str) -> str:
        """Its state by the beat that ended its silence: that may have been its last word."""
        known = self._oracle.watch.watched.get(daemon_id)
        if known is None:
            return "healthy"
        if known.is_away or known.quiet_ms:
            return "planned"
        return "draining" if known.said == "draining" else "healthy"

    def _check_grant(self, job: TakeoverCall) -> None:
        entry = self._oracle.ledger.entry(job.task_id)
        if bool(job.token) == bool(entry.needs):
            said = f"{job.task_id} needs {set(entry.needs)}, token {job.token}"
            raise ViolationError("T1 what needs a machine is kept for it", said, job.task_id)
        if entry.status != OPEN:
            raise ViolationError("T1 what has ended is left alone", job.task_id, job.task_id)
        here = {name: state for name, state in self._states.items() if not self._is_away(*state)}
        if (here and job.token) or len(here) == len(self._states):
            raise ViolationError("T2 takeover only while nobody is there", f"{job.task_id}: {here}", job.task_id)

    def _is_away(self, state: str, since_ms: int) -> bool:
        if state in AWAY_AFTER_A_WHILE:
            return self._world.now_ms - since_ms >= self._policy.takeover.after_ms - SLACK_MS
        return state in AWAY_AT_ONCE

    # ---- money

    def check(self, store: Store) -> None:
        """Every budget is the sum of its calls, within its limit, and no less than the bill."""
        store.read(self._check)

    def _check(self, reader: Reader) -> None:
        calls = reader.load_all(Reservation, ROWS_MAX)
        spent: dict[str, int] = defaultdict(int)
        for call in calls:
            for kind in ("day", "month") if call.settled_at else ():
                spent[period_of(kind, call.settled_at)] += call.spent_micro_usd
        reserved = sum(call.reserved_micro_usd for call in calls if not call.settled_at)
        for row in reader.load_all(Budget, ROWS_MAX):
            if row.spent_micro_usd != spent[row.period]:
                said = f"{row.period}: {row.spent_micro_usd}, its calls {spent[row.period]}"
                raise ViolationError("T3 a budget is the sum of its calls", said)
            policy = self._policy.takeover
            if row.spent_micro_usd > (policy.day_micro_usd if row.kind == "day" else policy.month_micro_usd):
                raise ViolationError("T3 a budget is never exceeded", f"{row.period}: {row.spent_micro_usd}")
        known = sum(call.spent_micro_usd for call in calls) + reserved
        if self._service.billed_micro_usd > known:
            raise ViolationError("T3 what is billed is known", f"{self._service.billed_micro_usd} > {known}")
