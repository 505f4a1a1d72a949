"""The oracle: judges every answer of the hub, in the order in which the hub decided, by what it said before.

It knows the contract, not the code: which lease was granted until when, which token is the newest, what was
acknowledged. Each rule that breaks is a ViolationError that names the invariant.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from understudy.clock import parse_iso
from understudy.coordinator.nouns import Policy
from understudy.hub.batch import Committed
from understudy.simulation.beats import Beats
from understudy.simulation.events import Events
from understudy.simulation.exchange import Letter, Reply
from understudy.simulation.ledger import CANCELLED, DONE, FAILED, OPEN, Entry, LeaseSeen, Ledger, must_be
from understudy.simulation.process_oracle import Bodies
from understudy.simulation.verdicts import Verdicts
from understudy.simulation.watch import Watch
from understudy.simulation.world import ViolationError, World

OVERTIME_MS = 60_000  # past its limit by so much the hub renews no more
REFUSED_FOR_MS = 30_000  # after a refusal by its own fault silence does not count for this time


class Oracle:
    """Sees every request with its answer, every event, and every process."""

    def __init__(self, world: World, policy: Policy) -> None:
        self._world = world
        self.ledger = Ledger(world)
        self.verdicts = Verdicts(self.ledger)
        self.watch = Watch(self.ledger, policy)
        self.bodies = Bodies(self.ledger)
        self._beats = Beats(self.ledger, self.watch)
        self._events = Events(self.ledger, self.verdicts, self.watch, policy)

    # ---- what happens

    def hears_again(self, since_ms: int) -> None:
        """The hub was out since then."""
        self.ledger.hears_again(since_ms)

    def stumbled(self) -> None:
        """A commit failed: nothing was heard by it."""
        self.ledger.may_gap = True

    def refused_a_sign(self) -> None:
        """The hub could not take a sign of life, so for a while silence may not count."""
        self.ledger.refused_until_ms = self._world.now_ms + REFUSED_FOR_MS

    def hears(self) -> None:
        """A batch was committed: from here on it has heard."""
        self.ledger.has_jumped = False

    def started(self, machine: str, task_id: str, token: int) -> None:
        """A process was started."""
        self.bodies.started(machine, task_id, token)

    def stopped(self, machine: str, task_id: str, token: int) -> None:
        """A process is dead."""
        self.bodies.stopped(machine, task_id, token)

    def slept(self, machine: str) -> None:
        """A machine stands still: nobody can end what is on it."""
        self.bodies.excuse(machine)

    def unguarded(self, machine: str) -> None:
        """A guard died: nobody ends what its daemon leaves."""
        self.bodies.excuse(machine)

    def committed(self, committed: Committed) -> None:
        """The events of a commit, after its answers."""
        self._events.saw(committed)

    # ---- answers

    def saw(self, letter: Letter, reply: Reply) -> None:  # noqa: C901 - one case a kind of request
        """One request and what the hub decided on it."""
        if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR and reply.status != HTTPStatus.SERVICE_UNAVAILABLE:
            raise ViolationError("no request ends in a defect", f"{letter.method} {letter.path}: {reply.status}")
        if reply.status == HTTPStatus.SERVICE_UNAVAILABLE or letter.method != "POST":
            return
        self.watch.heard_of(letter.sender)
        parts = letter.path.strip("/").split("/")
        match parts[1:]:
            case ["queue"]:
                self._enqueued(letter.body, reply)
            case ["queue", "claim"]:
                self._claimed(letter, reply)
            case ["queue", "heartbeat"]:
                self._beats.saw(letter, reply)
            case ["queue", task_id, "renew"]:
                self._renewed(letter, task_id, reply)
            case ["queue", task_id, "release"]:
                self._released(letter, task_id, reply)
            case ["result", task_id]:
                self._explain(self.verdicts.judge(task_id, letter.body, reply.body), task_id)
            case ["results"]:
                self._results(letter, reply)
            case ["tasks", task_id, verb]:
                self._steered(task_id, verb, reply)

    def _explain(self, was_applied: bool, task_id: str) -> None:  # noqa: FBT001 - an outcome
        if was_applied:
            self._events.explain(task_id)

    def _results(self, letter: Letter, reply: Reply) -> None:
        if reply.status != HTTPStatus.OK:
            raise ViolationError("results are judged one by one", f"{letter.path}: {reply.status}")
        for item, reported in zip(letter.body["results"], reply.body["results"], strict=True):
            self._explain(self.verdicts.judge(item["taskId"], item, reported), item["taskId"])

    def _enqueued(self, body: dict[str, Any], reply: Reply) -> None:
        if reply.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            return
        task_id, created = reply.body["taskId"], reply.body["created"]
        first = self.ledger.dedups.get(body.get("dedupKey", ""), body.get("id") or "")
        if created == (task_id in self.ledger.tasks) or (first and first != task_id):
            raise ViolationError("I6 replays are idempotent", f"{task_id} created={created} for {first!r}", task_id)
        if created:
            entry = self.ledger.tasks[task_id] = Entry(task_id, body)
            if body.get("delaySec"):
                entry.not_before_at = self._world.clock.now_ms() + round(body["delaySec"] * 1000)
        if body.get("dedupKey"):
            self.ledger.dedups[body["dedupKey"]] = task_id

    # ---- leases

    def _claimed(self, letter: Letter, reply: Reply) -> None:
        body = letter.body
        if reply.status != HTTPStatus.OK:
            return
        self.watch.sign(letter.sender)
        granted = reply.body.get("tasks") or ([reply.body] if reply.body["success"] else [])
        reported = {(item["task"]["id"], item["lease"].get("token", 0)) for item in granted}
        who = (body.get("workerId"), body.get("daemonId") or "", body.get("bootId") or "")
        for entry, lease in self.ledger.requests.get(body.get("requestId") or "", ()):
            is_his = who == (lease.worker, lease.daemon, lease.boot) and entry.lease is lease
            if is_his and self.ledger.is_live(entry) and (entry.id, lease.token) not in reported:
                raise ViolationError("I6 replays are idempotent", f"{entry.id} {lease.token} not again", entry.id)
        for item in granted:
            self._granted(body, item)

    def _granted(self, body: dict[str, Any], item: dict[str, Any]) -> None:
        entry, reported = self.ledger.entry(item["task"]["id"]), item["lease"]
        latest = entry.lease
        if latest is not None and "token" in reported and reported["token"] == latest.token:
            if latest.request != (body.get("requestId") or "") or not latest.request or latest.ended:
                raise ViolationError("I3 tokens grow", f"{entry.id} {latest.token} granted twice", entry.id)
            return
        now = self.ledger.heard()
        lasts_ms = parse_iso(reported["expiresAt"]) - self._world.clock.now_ms()
        lease = LeaseSeen(body, reported, expires=now + lasts_ms, hard_end=now + entry.timeout_ms + OVERTIME_MS)
        lease.on_loss = self._on_loss(entry, lease, body)
        self._check_grant(entry, lease, body)
        entry.had_begun, entry.reserved_for = entry.has_begun, ""
        entry.leases.append(lease)
        if lease.request:
            self.ledger.requests[lease.request].append((entry, lease))

    def _on_loss(self, entry: Entry, lease: LeaseSeen, body: dict[str, Any]) -> str:
        """The task's own field wins, then text only, then the claim's word."""
        right = entry.on_loss or ("requeue" if not entry.needs else body.get("onLoss") or "requeue")
        if lease.worker.startswith("hub/"):
            right = "requeue"  # a call of the hub touches no machine
        if lease.on_loss not in ("", right):
            raise ViolationError("onLoss is the task's, else the claim's", f"{entry.id} {lease.on_loss}", entry.id)
        return right

    def _check_grant(self, entry: Entry, lease: LeaseSeen, body: dict[str, Any]) -> None:
        latest = entry.lease
        if latest is not None and not lease.is_old and lease.token <= latest.token:
            raise ViolationError("I3 tokens grow", f"{entry.id} {latest.token} then {lease.token}", entry.id)
        if entry.status != OPEN:
            raise ViolationError("I7 no claim after the end", f"{entry.id} is {entry.status}", entry.id)
        if latest is not None and not latest.ended:
            if self.ledger.heard() < latest.expires:
                left = latest.expires - self.ledger.heard()
                raise ViolationError("I2 one live lease", f"{entry.id} {latest.token} had {left} ms left", entry.id)
            self.ledger.end(entry, "expired")
        if entry.reserved_for and entry.reserved_for not in (lease.worker, lease.daemon):
            said = f"{entry.id} waits for {entry.reserved_for}, granted to {lease.holder}"
            raise ViolationError("I9 begun work waits for its machine", said, entry.id)
        if self._world.clock.now_ms() < entry.not_before_at:
            raise ViolationError("I8 backoff", f"{entry.id} granted before its time", entry.id)
        provides = frozenset(("machine",) if body.get("provides") is None else body["provides"])
        if not entry.needs <= provides:
            raise ViolationError("needs are covered", f"{entry.id} needs {set(entry.needs)}", entry.id)
        boot = self.ledger.boots[lease.daemon].current if lease.daemon and lease.boot else lease.boot
        if boot != lease.boot:
            raise ViolationError("claims are for the current boot", f"{entry.id} {lease.boot}", entry.id)

    def _renewed(self, letter: Letter, task_id: str, reply: Reply) -> None:
        body, token = letter.body, letter.body.get("token")
        if reply.status != HTTPStatus.OK:
            entry = self.ledger.tasks.get(task_id)
            if entry is not None and self._holds(entry, body.get("workerId"), token) and self.ledger.is_live(entry):
                raise ViolationError("a holder renews", f"{task_id} {token} refused: {reply.status}", task_id)
            return
        entry = self.ledger.entry(task_id)
        self.watch.sign(letter.sender)
        if not self._holds(entry, body.get("workerId"), token):
            raise ViolationError("I4 an old token changes nothing", f"{task_id} {token} renewed", task_id)
        if reply.body.get("cancel"):
            must_be(entry, CANCELLED)
            return
        must_be(entry, OPEN)
        lasts_ms = parse_iso(reply.body["lease"]["expiresAt"]) - self._world.clock.now_ms()
        self.ledger.named(entry, self.ledger.heard() + lasts_ms)

    @staticmethod
    def _holds(entry: Entry, worker: str | None, token: int | None) -> bool:
        lease = entry.lease
        if lease is None:
            return False
        return token == lease.token if token is not None else lease.is_old and worker == lease.worker

    def _released(self, letter: Letter, task_id: str, reply: Reply) -> None:
        if reply.status != HTTPStatus.OK or "message" in reply.body:
            return
        entry, body = self.ledger.entry(task_id), letter.body
        lease, token, worker = entry.lease, body.get("token"), body.get("workerId")
        is_legacy = lease is not None and lease.is_old and worker in (None, "", lease.worker)
        if lease is None or (token != lease.token if token is not None else not is_legacy):
            raise ViolationError("I4 an old token changes nothing", f"{task_id} {token} released", task_id)
        must_be(entry, OPEN)
        reason = body.get("reason") or ""
        self.ledger.end(entry, "lost" if reason == "daemon_gone" else "released", reason)

    # ---- owners

    def _steered(self, task_id: str, verb: str, reply: Reply) -> None:
        entry = self.ledger.tasks.get(task_id)
        if reply.status != HTTPStatus.OK or entry is None:
            if entry is not None and verb == "cancel" and entry.status == OPEN:
                self._events.must_have_ended(task_id, f"{task_id} refused: {reply.status}")
            return
        if verb == "cancel":
            if entry.status in (DONE, FAILED):
                raise ViolationError("I7 I10 an end is final", f"{task_id} was {entry.status}", task_id)
            entry.status, entry.reserved_for = CANCELLED, ""
            if entry.lease is not None and not entry.lease.ended:
                entry.lease.ended = "cancelled"
            return
        self._events.explain(task_id)
        entry.hand_ms, entry.not_before_at = self._world.now_ms, 0
        if verb == "retry" and entry.status == OPEN:
            return
        if verb == "retry":
            entry.status, entry.failures, entry.losses, entry.is_poisoned = OPEN, 0, 0, False
        self.ledger.free(entry)
