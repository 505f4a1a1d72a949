"""Claims: who may have which tasks, and the same lease again for the same request."""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.clock import iso
from understudy.coordinator import leases
from understudy.coordinator.changes import Decision
from understudy.coordinator.health import limits_of
from understudy.coordinator.hearing import at_wall
from understudy.coordinator.identity import watch_name
from understudy.coordinator.leases import Grant
from understudy.coordinator.nouns import LEASED, QUEUED, Daemon, Memory, Now, Progress, Task, TaskBody
from understudy.errors import ConflictError
from understudy.hub.enqueue import MACHINE, user_of
from understudy.hub.life import need_incident, need_watched, touch
from understudy.hub.memory import context_of
from understudy.hub.operation import Operation
from understudy.hub.unjudged import set_aside
from understudy.hub.working_set import Needs, WorkingSet
from understudy.store.base import UNREADABLE_SPEC
from understudy.wire.limits import RUNNING_MAX
from understudy.wire.tasks import ClaimBody

PENDING_COUNT_MAX = 1000
OLD_LEASE_S = 300
CONTEXT_TOKENS = 2000
ANSWER_BYTES_MAX = 8 << 20  # about as much as one answer may carry; the rest waits for the next claim
NO_WORK_IN = frozenset({"paused", "draining", "stopped"})
_NEW_KEYS = ("daemon_id", "boot_id", "request_id", "max", "wait_sec", "provides", "on_loss")


class Claim(Operation):
    """One claim. `worker_id` is never empty: the edge names nameless workers `worker_<epoch ms>`."""

    def __init__(self, body: ClaimBody, worker_id: str) -> None:
        self.body = body
        self.worker_id = worker_id
        self.is_old_way = all(getattr(body, name) is None for name in _NEW_KEYS)
        self.count = min(body.max or 1, RUNNING_MAX)
        self.weight = self.count
        self.provides: frozenset[str] = frozenset()
        known_as = (body.daemon_id, self.worker_id, watch_name(self.worker_id))
        self.names = frozenset(name for name in known_as if name)
        self.is_barred = False  # after `decide`: its daemon is given no work at all

    def needs(self, needs: Needs) -> None:
        """The daemon, and the leases of the same request."""
        if self.body.daemon_id:
            needs.row(Daemon, self.body.daemon_id)
        need_watched(needs, self.worker_id)
        if self.body.request_id:
            needs.requests.add(self.body.request_id)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """Candidates for what the worker provides; only now it is known what its daemon registered."""
        self.provides = self._provides(work)
        needs.claimable(self.provides, self.names, self.count)
        name = watch_name(self.worker_id)
        for daemon_id in {self.body.daemon_id or "", name} - {""}:
            need_incident(work, needs, daemon_id)

    def details(self, work: WorkingSet, needs: Needs) -> None:
        """What goes out with the tasks that this claim may get."""
        if not work.candidates[self.provides]:
            needs.ready_count_max = PENDING_COUNT_MAX  # only an empty answer tells how many wait
        seen = needs.rows.get(TaskBody, ())
        for task_id in (*work.offered(self.provides, self.names), *self._again(work)):
            if task_id in seen:  # another claim of this batch looks at the same ones
                continue
            needs.row(TaskBody, task_id)
            needs.row(Progress, task_id)
            task = work.get(Task, task_id)
            if task is not None and task.user_id:
                needs.memories.add(task.conversation)

    def _provides(self, work: WorkingSet) -> frozenset[str]:
        if self.body.provides is not None:
            return frozenset(self.body.provides)
        daemon = work.get(Daemon, self.body.daemon_id) if self.body.daemon_id else self._watched(work)
        if daemon is None:
            return frozenset((MACHINE,))
        tags = msgspec.json.decode(daemon.provides) + msgspec.json.decode(daemon.capabilities)
        return frozenset((MACHINE, *tags)) if daemon.provides == '["machine"]' else frozenset(tags)

    def _watched(self, work: WorkingSet) -> Daemon | None:
        name = watch_name(self.worker_id)
        return work.get(Daemon, name) if name else None

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Lease up to `max` tasks, or say how many wait."""
        daemon = self._checked_daemon(work)
        draft = touch(work, self.worker_id, now)
        again = self._again(work)
        if again:
            tasks = [self._task(work, task_id) for task_id in again]
            return draft.decision(self._answer(work, tasks, now))
        self.is_barred = daemon is not None and bool(daemon.paused or daemon.state in NO_WORK_IN)
        if self.is_barred:
            return draft.decision(self._nothing(work))
        granted: list[Task] = []
        grant = self._grant(work, daemon)
        room = ANSWER_BYTES_MAX
        for task in self._free(work):
            body = work.get(TaskBody, task.id)
            if body is not None and body.spec == UNREADABLE_SPEC:
                draft.add((set_aside(task, now),))
                continue
            granted.append(draft.take(leases.claim(task, grant, now, work.policy)))
            room -= len(body.spec) if body else 0
            if len(granted) == self.count or room <= 0:
                break
        return draft.decision(self._answer(work, granted, now) if granted else self._nothing(work))

    def _checked_daemon(self, work: WorkingSet) -> Daemon | None:
        """Only a heartbeat makes a boot current: claims with any other are refused."""
        if not self.body.daemon_id:
            return self._watched(work)
        daemon = work.get(Daemon, self.body.daemon_id)
        if self.body.boot_id and (daemon is None or daemon.boot_id != self.body.boot_id):
            raise ConflictError("This boot is not the current one: send a heartbeat first", "unknown_boot")
        return daemon

    def _grant(self, work: WorkingSet, daemon: Daemon | None) -> Grant:
        asked = self.body.lease_duration_sec
        return Grant(
            self.worker_id,
            self.body.daemon_id or "",
            self.body.boot_id or "",
            self.body.request_id or "",
            self.body.on_loss or "",
            ((asked or OLD_LEASE_S) if self.is_old_way else (asked or 0)) * 1000,
            self.is_old_way,
            limits_of(daemon, work.policy).down_ms if daemon is not None else 0,
        )

    def _free(self, work: WorkingSet) -> list[Task]:
        free = []
        for task_id in work.offered(self.provides, self.names):
            task = self._task(work, task_id)
            if task.status == QUEUED and (task.ready or task.waiting_for in self.names):
                free.append(task)
                if len(free) == self.count:
                    break
        return free

    def _again(self, work: WorkingSet) -> list[str]:
        """The tasks that this very request was granted, still held by this very worker and boot."""
        if not self.body.request_id:
            return []
        found = []
        for task_id in work.requests.get(self.body.request_id, ()):
            task = self._task(work, task_id)
            mine = (task.worker_id, task.daemon_id, task.boot_id) == (
                self.worker_id,
                self.body.daemon_id or "",
                self.body.boot_id or "",
            )
            if mine and task.status == LEASED and task.request_id == self.body.request_id:
                found.append(task_id)
        return found

    @staticmethod
    def _task(work: WorkingSet, task_id: str) -> Task:
        task = work.get(Task, task_id)
        assert task is not None
        return task

    def _nothing(self, work: WorkingSet) -> dict[str, Any]:
        answer: dict[str, Any] = {"success": False, "message": "No tasks available", "pending": work.ready_count}
        if self.body.max is not None:
            answer["tasks"] = []
        return answer

    def _answer(self, work: WorkingSet, tasks: list[Task], now: Now) -> dict[str, Any]:
        items = [{"task": self._task_json(work, t), "lease": lease_json(t, now)} for t in tasks]
        answer: dict[str, Any] = {"success": True, "taskId": tasks[0].id, **items[0]}
        if self.body.max is not None:
            answer["tasks"] = items
        return answer

    def _task_json(self, work: WorkingSet, task: Task) -> dict[str, Any]:
        body = work.get(TaskBody, task.id)
        fields = task_json(task, body.spec if body else "{}")
        if task.memory_of:
            fields |= own_conversation(task, fields.get("metadata"), is_old_way=self.is_old_way)
        progress = work.rows[Progress].get(task.id)
        if progress is not None and progress.checkpoint:
            fields["checkpoint"] = msgspec.json.decode(progress.checkpoint)
        if task.user_id and not self.is_old_way:
            messages: list[Memory] = work.memories.get(task.conversation, [])
            fields["context"] = context_of(messages, CONTEXT_TOKENS)
        return fields


def own_conversation(task: Task, metadata: Any, *, is_old_way: bool) -> dict[str, Any]:
    """Names for a conversation that belongs to one key, as its worker shall know it: nobody else's can be equal.

    Daemons keep a session by conversation; old ones also keep memory themselves, by the user in the metadata.
    Owners are ids made by the hub, so none has a slash.
    """
    fields: dict[str, Any] = {}
    if task.user_id:
        fields["conversation"] = {"channel": task.channel, "user_id": f"{task.memory_of}/{task.user_id}"}
    if is_old_way and isinstance(metadata, dict):
        users = {name: metadata[name] for name in ("user_id", "userId") if metadata.get(name)}
        fields["metadata"] = metadata | {name: f"{task.memory_of}/{user_of(user)}" for name, user in users.items()}
    return fields


STATUS_WORDS = {"queued": "pending", "leased": "claimed"}


def task_json(task: Task, spec: str) -> dict[str, Any]:
    """The task as old clients know it: what it was enqueued with, and where it stands."""
    fields: dict[str, Any] = msgspec.json.decode(spec)
    fields["id"] = task.id
    fields["status"] = STATUS_WORDS.get(task.status, task.status)
    fields["queuedAt"] = iso(task.queued_at)
    fields["updatedAt"] = iso(task.updated_at)
    return fields


def lease_json(task: Task, now: Now) -> dict[str, Any]:
    """A lease as the contract shapes it; token and duration only for token-aware claims."""
    lease: dict[str, Any] = {
        "workerId": task.worker_id,
        "claimedAt": iso(task.claimed_at),
        "expiresAt": iso(at_wall(now, task.expires_h)),
    }
    if task.renewed_at:
        lease["renewedAt"] = iso(task.renewed_at)
    if not task.is_old_way:
        lease |= {
            "token": task.token,
            "attempt": task.attempts + task.losses + 1,
            "onLoss": task.lease_on_loss,
            "durationSec": task.duration_ms / 1000,
        }
    return lease
