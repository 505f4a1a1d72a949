"""Results, judged by token and never by boot; what comes too late is kept as evidence."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from understudy.coordinator import leases
from understudy.coordinator.changes import Decision, Draft
from understudy.coordinator.identity import watch_name
from understudy.coordinator.leases import OUTCOMES_OF_FAILURE, task_event
from understudy.coordinator.nouns import (
    FINISHED,
    LEASED,
    Attempt,
    Daemon,
    Evidence,
    Incident,
    Memory,
    Now,
    Result,
    Task,
    TaskBody,
)
from understudy.errors import BadRequestError, NotFoundError, UnderstudyError
from understudy.hub.leases import lease_lost
from understudy.hub.life import touch
from understudy.hub.operation import Operation
from understudy.hub.tight import TIGHT_BYTES, tight
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.limits import INT_MAX, MEMORY_CONTENT_BYTES_MAX
from understudy.wire.tasks import ResultBody, ResultItem

DUPLICATE = {"success": True, "duplicate": True}


class Report(Operation):
    """`POST /api/result/{id}`: one result."""

    def __init__(self, task_id: str, body: ResultBody) -> None:
        self.task_id = task_id
        self.body = body
        self.success = success_of(body)

    def needs(self, needs: Needs) -> None:
        """The task, what was asked, and the worker if it gives its name."""
        needs.row(Task, self.task_id)
        needs.row(TaskBody, self.task_id)
        needs.row(Evidence, _evidence_id(self.task_id, self.body.token))
        needs.room = True
        if self.body.token is not None:
            needs.row(Attempt, (self.task_id, self.body.token))

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The daemon that holds the lease: a result is a sign of its life."""
        name = self._holder(work)
        if name:
            needs.row(Daemon, name)

    def details(self, work: WorkingSet, needs: Needs) -> None:
        """The incident that this sign of life may close."""
        name = self._holder(work)
        daemon = work.get(Daemon, name) if name else None
        if daemon is not None and daemon.incident_id:
            needs.row(Incident, daemon.incident_id)

    def _holder(self, work: WorkingSet) -> str:
        task = work.get(Task, self.task_id)
        return watch_name(self.body.worker_id or (task.worker_id if task else ""))

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Apply it, or keep it as evidence."""
        task = work.get(Task, self.task_id)
        if task is None:
            raise NotFoundError("Task not found")
        worker = self.body.worker_id or task.worker_id
        draft = touch(work, worker, now) if self._may_touch(task) else Draft()
        token = self.body.token
        if token is None:
            if leases.closes_old_attempt(task, self.body.worker_id or ""):
                return self._apply(work, task, now, draft)
            return self._keep(work, task, now, draft, DUPLICATE, "no lease of this worker")
        if leases.counts_still(task, token, success=self.success):
            return self._apply(work, task, now, draft)
        if leases.is_settled(task, token):
            return self._repeated(work, task, now, draft)
        return self._keep(work, task, now, draft, lease_lost(task), "an older token")

    def _may_touch(self, task: Task) -> bool:
        """A result says that its worker lives, if it names itself or is the one that holds the lease."""
        return bool(self.body.worker_id) or (task.status == LEASED and bool(task.is_old_way))

    def _apply(self, work: WorkingSet, task: Task, now: Now, draft: Draft) -> Decision:
        failure = self.body.failure
        outcome = failure.class_ if failure and failure.class_ in OUTCOMES_OF_FAILURE else "failed"
        kept = self._kept(work)
        row = self._row(task, now, kept)
        after = draft.take(leases.settle(task, row, now, is_final=bool(failure and failure.final), outcome=outcome))
        draft.add(conversation_rows(work, after, kept, now, self._text_max(kept)))
        answer = {"success": True, "cut": True} if kept != self.body else {"success": True}
        is_revived = task.status in FINISHED and after.status not in FINISHED  # poison, and tried again after all
        dropped = ((Result, task.id),) if is_revived else ()
        return draft.decision(answer, dropped)

    def _kept(self, work: WorkingSet) -> ResultBody:
        """What of it is stored: all, or what a full store takes in any case."""
        size_bytes = len(msgspec.json.encode(self.body))
        if not work.bounds.has_room(size_bytes):
            return tight(self.body)
        work.bounds.add(size_bytes)
        return self.body

    def _text_max(self, kept: ResultBody) -> int:
        return MEMORY_CONTENT_BYTES_MAX if kept is self.body else TIGHT_BYTES

    def _row(self, task: Task, now: Now, body: ResultBody) -> Result:
        return Result(
            task.id,
            int(self.success),
            _json(body.output),
            _json(body.error),
            "" if body.failure is None else msgspec.json.encode(body.failure).decode(),
            "" if body.usage is None else msgspec.json.encode(body.usage).decode(),
            body.duration_ms or 0,
            cost_micro_usd=_cost_of(body.usage),
            token=task.token,
            at=now.wall,
        )

    def _repeated(self, work: WorkingSet, task: Task, now: Now, draft: Draft) -> Decision:
        """The same result again, a cancellation confirmed, or a run that finished anyway."""
        if task.status == "cancelled" and self.success:
            return self._keep(work, task, now, draft, DUPLICATE, "finished anyway")
        return draft.decision(DUPLICATE)

    def _keep(
        self,
        work: WorkingSet,
        task: Task,
        now: Now,
        draft: Draft,
        answer: dict[str, Any] | UnderstudyError,
        reason: str,
    ) -> Decision:
        if self.body.token is not None and work.get(Attempt, (self.task_id, self.body.token)) is None:
            return draft.decision(answer)  # no such lease was ever granted: there is nothing to keep
        event = task_event(
            task, now, "result.late", f"A result for {task.id} came too late and is kept as evidence", reason=reason
        )
        draft.add(events=(event,))
        evidence_id = _evidence_id(task.id, self.body.token)
        if work.get(Evidence, evidence_id) is not None:
            return draft.decision(answer)  # the first word of a lease stays
        worker, body = self.body.worker_id or "", msgspec.json.encode(self._kept(work)).decode()
        kept = Evidence(evidence_id, task.id, self.body.token or 0, worker, now.wall, reason, body)
        draft.add((kept,))
        return draft.decision(answer)


class ReportMany(Operation):
    """`POST /api/results`: up to 100 results, each judged on its own, in one commit."""

    def __init__(self, items: list[ResultItem]) -> None:
        self.weight = len(items)
        self.parts = [Report(item.task_id, item) for item in items]

    def needs(self, needs: Needs) -> None:
        """What each part needs."""
        for part in self.parts:
            part.needs(needs)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """What each part needs."""
        for part in self.parts:
            part.more(work, needs)

    def details(self, work: WorkingSet, needs: Needs) -> None:
        """What each part needs."""
        for part in self.parts:
            part.details(work, needs)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """One answer a part; a part that is refused does not hinder the others."""
        answers: list[dict[str, Any]] = []
        for part in self.parts:
            try:
                decision = part.decide(work, now)
            except UnderstudyError as refusal:
                answers.append({"taskId": part.task_id, "error": refusal.message, **_code(refusal)})
                continue
            work.apply(decision)
            answer = decision.answer
            if isinstance(answer, UnderstudyError):
                answers.append({"taskId": part.task_id, "error": answer.message, **answer.fields})
            else:
                answers.append({"taskId": part.task_id, **answer})
        return Decision({"results": answers})


def _cost_of(usage: dict[str, Any] | None) -> int:
    """What the worker says that its run has cost, in micro-USD; 0 if it says nothing that can be."""
    told = (usage or {}).get("costMicroUsd")
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= INT_MAX else 0


def _evidence_id(task_id: str, token: int | None) -> str:
    """One piece of evidence a lease, and one a task without a token: whoever repeats or invents fills no disk."""
    return f"evidence-{sha256(f'{task_id} {token}'.encode()).hexdigest()[:32]}"


def _code(refusal: UnderstudyError) -> dict[str, Any]:
    return {"code": "not_found"} if isinstance(refusal, NotFoundError) else dict(refusal.fields)


def success_of(body: ResultBody) -> bool:
    """`success`, or what old daemons say instead: `status` completed; BadRequestError for neither."""
    if body.success is not None:
        return body.success
    if body.status in ("completed", "failed"):
        return body.status == "completed"
    raise BadRequestError("Validation failed", ("success: Expected `bool`",))


def conversation_rows(
    work: WorkingSet, task: Task, body: ResultBody, now: Now, text_bytes_max: int = MEMORY_CONTENT_BYTES_MAX
) -> tuple[Memory, ...]:
    """Question and final answer of a finished task, for clients that do not keep memory themselves."""
    if not task.user_id or task.is_old_way or task.status not in FINISHED:
        return ()
    asked = work.get(TaskBody, task.id)
    spec = msgspec.json.decode(asked.spec) if asked else {}
    content = _cut(spec.get("content", ""), text_bytes_max)
    question = _message(task, "ask", "user", content, task.queued_at)
    if task.status != "done":
        return (question,)
    answer = body.output if isinstance(body.output, str) else _json(body.output)
    return question, _message(task, "answer", "assistant", _cut(answer, text_bytes_max), now.wall)


def _message(task: Task, part: str, role: str, text: str, at: int) -> Memory:
    """One side of it. Ids of tasks are chosen outside and may come again: the instant keeps other messages safe."""
    message_id = f"{task.id}:{task.queued_at}:{part}"
    return Memory(message_id, task.user_id, task.channel, role, text, "task", "", at, task.memory_of)


def _cut(text: str, bytes_max: int) -> str:
    clean = text.replace("\0", "\ufffd")
    return clean.encode()[:bytes_max].decode(errors="ignore")


def _json(value: Any) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()
