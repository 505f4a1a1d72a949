"""The operation of a claim: the rows that it needs, the tasks that it grants, and the answer with their content."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from msgspec import UNSET, Struct

from understudy.coordinator import claims
from understudy.coordinator.changes import Decision
from understudy.coordinator.claims import ANSWER_CHARS_MAX, MACHINE, Claimable
from understudy.coordinator.health import limits_of
from understudy.coordinator.identity import watch_name
from understudy.coordinator.leases import Grant
from understudy.coordinator.nouns import LEASED, QUEUED, Daemon, Memory, Now, Progress, Task, TaskBody
from understudy.errors import ConflictError, UnavailableError
from understudy.hub.conversations import conversation_fields
from understudy.hub.memory import CHARS_A_TOKEN, context_of
from understudy.hub.operation import Operation
from understudy.hub.signs_of_life import need_incident, need_watched, touch
from understudy.hub.working_set import Needs, WorkingSet
from understudy.store.base import UNREADABLE_SPEC
from understudy.store.queries import Part
from understudy.wire.answers.base import as_stored
from understudy.wire.answers.claims import Claimed, ClaimedItem, NoTasks, claimed_json
from understudy.wire.answers.leases import granted_lease_json
from understudy.wire.limits import RUNNING_MAX
from understudy.wire.tasks import ClaimBody

PENDING_COUNT_MAX = 1000
LEGACY_LEASE_S = 300
CONTEXT_TOKENS = 2000
CONTEXT_PART = Part(CONTEXT_TOKENS * CHARS_A_TOKEN + 1, CONTEXT_TOKENS * CHARS_A_TOKEN)
_NEW_KEYS = ("daemon_id", "boot_id", "request_id", "max", "wait_sec", "provides", "on_loss")


class NothingYet(Struct, frozen=True):
    """No task yet for a claim that may wait: the answer if none comes, and the tags of the tasks that it waits for."""

    answer: NoTasks
    provides: frozenset[str]
    is_barred: bool  # its daemon gets no work at all
    is_short: bool = False  # tasks are left that its batch had no room for: it asks again soon


class ClaimTasks(Operation):
    """One claim. `worker_id` is never empty: the edge names nameless workers `worker_<epoch ms>`."""

    runs_alone = False
    takes_from_queue = True

    def __init__(self, body: ClaimBody, worker_id: str) -> None:
        self.body = body
        self.worker_id = worker_id
        self.is_legacy = all(getattr(body, name) is None for name in _NEW_KEYS)
        self.count = min(body.max or 1, RUNNING_MAX)
        self.weight = self.count
        known_as = (body.daemon_id, self.worker_id, watch_name(self.worker_id))
        self.names = frozenset(name for name in known_as if name)

    def needs(self, needs: Needs) -> None:
        """The daemon, and the leases of the same request."""
        if self.body.daemon_id:
            needs.row(Daemon, self.body.daemon_id)
        need_watched(needs, self.worker_id)
        if self.body.request_id:
            needs.requests.add(self.body.request_id)
            if not (self.body.daemon_id and self.body.boot_id):  # else its daemon's row is locked, or it is refused
                needs.names.add(f"request {self.body.request_id}")

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """Candidates for what the worker provides; only now it is known what its daemon registered."""
        needs.claimable(self._provides(work), self.names, self.count)
        name = watch_name(self.worker_id)
        for daemon_id in {self.body.daemon_id or "", name} - {""}:
            need_incident(work, needs, daemon_id)

    def details(self, work: WorkingSet, needs: Needs) -> None:
        """The rows that are sent with the tasks that this claim may get, as far as its batch has room for them."""
        provides, again = self._provides(work), self._of_request(work)
        again = again if work.claim_room.take(*again) else []
        picked = [*self._picked(work, provides)]
        for task in (*again, *picked):
            needs.row(TaskBody, task.id)
            if task.token:  # it was leased before: there may be a checkpoint
                needs.row(Progress, task.id)
            if task.user_id:
                needs.memories[task.conversation] = CONTEXT_PART
        if not work.candidates[provides] or (not picked and self._is_short(work, provides, work.claim_room.taken)):
            needs.ready_count_max = PENDING_COUNT_MAX  # only an empty answer tells how many wait

    def _picked(self, work: WorkingSet, provides: frozenset[str]) -> Iterator[Task]:
        """The first tasks for it that no claim before it in this batch will get: as many as its answer may have.

        Claims are decided in this order. One that gets less than it picked leaves that to those after it.
        """
        count, room, taken, tasks = self.count, ANSWER_CHARS_MAX, work.claim_room.taken, work.rows[Task]
        for task_id in work.offered(provides, self.names):
            if task_id in taken:
                continue
            task: Task | None = tasks[task_id]
            if task is None or not claims.may_have(task, self.names):
                continue
            if not work.claim_room.take(task):
                return
            yield task
            count, room = count - 1, room - task.size_bytes
            if not count or room <= 0:
                return

    def _provides(self, work: WorkingSet) -> frozenset[str]:
        if self.body.provides is not None:
            return frozenset(self.body.provides)
        daemon = self._daemon(work)
        return claims.tags_of(daemon.provides, daemon.capabilities) if daemon is not None else frozenset((MACHINE,))

    def _daemon(self, work: WorkingSet) -> Daemon | None:
        name = self.body.daemon_id or watch_name(self.worker_id)
        return work.get(Daemon, name) if name else None

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Lease up to `max` tasks, or say how many wait."""
        daemon = self._checked_daemon(work)
        draft = touch(work, self.worker_id, now)
        grant = self._grant(work, daemon)
        again = [task for task in self._of_request(work) if claims.is_granted(task, grant)]
        if again:
            if not all(_is_read(work, task) for task in again):  # "none" would be wrong: it holds these leases
                raise UnavailableError("Too much is asked for at once: ask again")
            return draft.decision(self._answer(work, again, now))
        provides, is_barred = self._provides(work), daemon is not None and claims.is_barred(daemon)
        if is_barred:
            return draft.decision(self._nothing(work, provides, is_barred=True))
        for change in claims.lease(self._offered(work, provides), grant, self.names, self.count, now, work.policy):
            draft.take(change)
        granted = [row for row in draft.save if isinstance(row, Task) and row.status == LEASED]
        return draft.decision(self._answer(work, granted, now) if granted else self._nothing(work, provides))

    def _checked_daemon(self, work: WorkingSet) -> Daemon | None:
        """Only a heartbeat makes a boot current: claims with any other are refused."""
        daemon = self._daemon(work)
        if self.body.daemon_id and self.body.boot_id and (daemon is None or daemon.boot_id != self.body.boot_id):
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
            ((asked or LEGACY_LEASE_S) if self.is_legacy else (asked or 0)) * 1000,
            self.is_legacy,
            limits_of(daemon, work.policy).down_ms if daemon is not None else 0,
        )

    def _offered(self, work: WorkingSet, provides: frozenset[str]) -> Iterator[Claimable]:
        tasks, bodies = work.rows[Task], work.rows[TaskBody]
        for task_id in work.offered(provides, self.names):
            task: Task | None = tasks[task_id]
            if task is None or task.status != QUEUED or not _is_here(work, task):  # mostly another claim has it
                continue
            body: TaskBody | None = bodies[task_id]
            spec = body.spec if body is not None else ""
            yield Claimable(task, len(spec), spec != UNREADABLE_SPEC)

    def _of_request(self, work: WorkingSet) -> list[Task]:
        """The tasks that were ever granted to a request of this id."""
        found = (work.get(Task, task_id) for task_id in work.requests.get(self.body.request_id or "", ()))
        return [task for task in found if task is not None]

    def _nothing(self, work: WorkingSet, provides: frozenset[str], *, is_barred: bool = False) -> NothingYet | NoTasks:
        none = UNSET if self.body.max is None else list[ClaimedItem]()
        answer = NoTasks(success=False, message="No tasks available", pending=work.ready_count, tasks=none)
        if not self.body.wait_sec:
            return answer
        return NothingYet(answer, provides, is_barred, not is_barred and self._is_short(work, provides))

    def _is_short(self, work: WorkingSet, provides: frozenset[str], taken: Container[str] = ()) -> bool:
        """True if there may be tasks for it that were not read, because this batch had no room for more.

        `taken`: those that will be read.
        """
        if provides in work.claim_room.cut:
            return True
        offered = (work.get(Task, task_id) for task_id in work.offered(provides, self.names))
        left = (task for task in offered if task is not None and task.id not in taken)
        return any(claims.may_have(task, self.names) and not _is_here(work, task) for task in left)

    def _answer(self, work: WorkingSet, tasks: list[Task], now: Now) -> Claimed:
        items = [ClaimedItem(self._task_json(work, task), granted_lease_json(task, now)) for task in tasks]
        task, lease = items[0].task, items[0].lease
        return Claimed(True, tasks[0].id, task, lease, UNSET if self.body.max is None else items)  # noqa: FBT003

    def _task_json(self, work: WorkingSet, task: Task) -> Any:
        body, progress = work.get(TaskBody, task.id), work.rows[Progress].get(task.id)
        spec = body.spec if body else "{}"
        more: dict[str, Any] = conversation_fields(task, spec, is_legacy=self.is_legacy)
        if progress is not None and progress.checkpoint:
            more["checkpoint"] = as_stored(progress.checkpoint)
        if task.user_id and not self.is_legacy:
            messages: list[Memory] = work.memories.get(task.conversation, [])
            more["context"] = context_of(messages, CONTEXT_TOKENS)
        return claimed_json(task, spec, **more)


def _is_read(work: WorkingSet, task: Task) -> bool:
    """True if the text of a task and its conversation are here."""
    return task.id in work.rows[TaskBody] and (not task.user_id or task.conversation in work.memories)


def _is_here(work: WorkingSet, task: Task) -> bool:
    """True if all that is sent with a task is here, the checkpoint of an earlier attempt included."""
    return _is_read(work, task) and (not task.token or task.id in work.rows[Progress])
