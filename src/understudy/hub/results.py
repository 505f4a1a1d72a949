"""The operations of results: the rows that they need, and an answer for each; coordinator/reports.py has the rules."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
from msgspec import UNSET

from understudy.coordinator import reports
from understudy.coordinator.changes import Decision, Draft
from understudy.coordinator.identity import watch_name
from understudy.coordinator.nouns import (
    Attempt,
    Daemon,
    Evidence,
    Incident,
    Now,
    Result,
    Task,
    TaskBody,
)
from understudy.errors import BadRequestError, NotFoundError, UnderstudyError
from understudy.hub.cut_results import TEXT_BYTES_KEPT, cut_result
from understudy.hub.leases import lease_lost
from understudy.hub.operation import Operation
from understudy.hub.signs_of_life import touch
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.answers.results import ResultsAnswer, Taken, TakenOrNot
from understudy.wire.limits import INT_MAX, MEMORY_CONTENT_BYTES_MAX
from understudy.wire.tasks import ResultBody, ResultItem

DUPLICATE = Taken(success=True, duplicate=True)
APPLIED = Taken(success=True)


class ReportResult(Operation):
    """`POST /api/result/{id}`: one result."""

    runs_alone = False

    def __init__(self, task_id: str, body: ResultBody) -> None:
        self.task_id = task_id
        self.body = body
        self.report = report_of(body)

    def needs(self, needs: Needs) -> None:
        """The task, and the worker if it gives its name."""
        needs.row(Task, self.task_id)
        needs.room = True
        if name := watch_name(self.body.worker_id or ""):  # mostly its holder, and daemons are locked before tasks
            needs.row(Daemon, name)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The daemon that holds the lease: a result is a sign of its life; and what was asked, if memory keeps it.

        A token that is not the task's own may be an invented one: only its attempt shows that it was granted.
        """
        task, token = work.get(Task, self.task_id), self.body.token
        if task is not None and task.user_id:
            needs.row(TaskBody, self.task_id)
        if token is not None and (task is None or not token or token != task.token):
            needs.row(Attempt, (self.task_id, token))
        if name := self._holder(task):
            needs.row(Daemon, name)

    def details(self, work: WorkingSet, needs: Needs) -> None:
        """The incident that this sign of life may close."""
        name = self._holder(work.get(Task, self.task_id))
        daemon = work.get(Daemon, name) if name else None
        if daemon is not None and daemon.incident_id:
            needs.row(Incident, daemon.incident_id)

    def _holder(self, task: Task | None) -> str:
        return watch_name(self.body.worker_id or (task.worker_id if task else ""))

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Apply it, or keep it as evidence."""
        task = work.get(Task, self.task_id)
        if task is None:
            raise NotFoundError("Task not found")
        report = self.report
        lives = reports.is_sign_of_life(task, report)
        draft = touch(work, report.worker_id or task.worker_id, now) if lives else Draft()
        verdict = reports.verdict(task, report)
        if verdict == reports.COUNTS:
            return self._apply(work, task, now, draft)
        if verdict != reports.REPEATED:
            self._keep(work, task, verdict, now, draft)
        return draft.decision(lease_lost(task) if verdict == reports.OLDER_TOKEN else DUPLICATE)

    def _apply(self, work: WorkingSet, task: Task, now: Now, draft: Draft) -> Decision:
        kept = self._kept(work)
        after = draft.take(reports.settle(task, self.report, self._row(task, now, kept), now))
        if reports.is_remembered(after):
            texts = _texts(work.get(TaskBody, task.id), kept, TEXT_BYTES_KEPT if kept is not self.body else None)
            draft.add(reports.conversation(after, *texts, now))
        answer = APPLIED if kept is self.body or kept == self.body else Taken(success=True, cut=True)
        return draft.decision(answer, ((Result, task.id),) if reports.is_revived(task, after) else ())

    def _kept(self, work: WorkingSet) -> ResultBody:
        """The stored part of it: all, or what a full store takes in any case."""
        size_bytes = len(msgspec.json.encode(self.body))
        if not work.bounds.has_room(size_bytes):
            return cut_result(self.body)
        work.bounds.add(size_bytes)
        return self.body

    def _row(self, task: Task, now: Now, body: ResultBody) -> Result:
        return Result(
            task.id,
            int(self.report.success),
            _json(body.output),
            _json(body.error),
            "" if body.failure is None else msgspec.json.encode(body.failure).decode(),
            "" if body.usage is None else msgspec.json.encode(body.usage).decode(),
            body.duration_ms or 0,
            cost_micro_usd=_cost_of(body.usage),
            token=task.token,
            at=now.wall,
        )

    def _keep(self, work: WorkingSet, task: Task, why: str, now: Now, draft: Draft) -> None:
        """Keep as evidence the first late report of each lease that was granted, and the first one without a token."""
        token = self.body.token
        lease, attempts = (self.task_id, token), work.rows[Attempt]
        if lease in attempts and attempts[lease] is None:  # looked for, and never granted
            return
        draft.add(events=(reports.late(task, why, now),))
        evidence_id = _evidence_id(task.id, token)
        if evidence_id not in work.rows[Evidence]:  # one that is stored stays as it is
            body = msgspec.json.encode(self._kept(work)).decode()
            draft.add((Evidence(evidence_id, task.id, token or 0, self.body.worker_id or "", now.wall, why, body),))


class ReportResults(Operation):
    """`POST /api/results`: up to 100 results, each judged on its own, in one commit."""

    runs_alone = False

    def __init__(self, items: list[ResultItem]) -> None:
        self.weight = len(items)
        self.parts = [ReportResult(item.task_id, item) for item in items]

    def needs(self, needs: Needs) -> None:
        """The needs of each part."""
        for part in self.parts:
            part.needs(needs)

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """The needs of each part."""
        for part in self.parts:
            part.more(work, needs)

    def details(self, work: WorkingSet, needs: Needs) -> None:
        """The needs of each part."""
        for part in self.parts:
            part.details(work, needs)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """One answer a part; a part that is refused does not hinder the others."""
        answers: list[TakenOrNot] = []
        for part in self.parts:
            try:
                decision = part.decide(work, now)
            except UnderstudyError as refusal:
                answers.append(_taken_or_not(part.task_id, refusal))
                continue
            work.apply(decision)
            answers.append(_taken_or_not(part.task_id, decision.answer))
        return Decision(ResultsAnswer(answers))


def _taken_or_not(task_id: str, answer: Taken | UnderstudyError) -> TakenOrNot:
    if isinstance(answer, Taken):
        return TakenOrNot(task_id=task_id, success=True, duplicate=answer.duplicate, cut=answer.cut)
    code = "not_found" if isinstance(answer, NotFoundError) else answer.fields.get("code", UNSET)
    return TakenOrNot(task_id=task_id, error=answer.message, code=code, held_by=answer.fields.get("heldBy", UNSET))


def _cost_of(usage: dict[str, Any] | None) -> int:
    """The cost of the run in micro-USD, as the worker reports it; 0 if it reports none or an impossible one."""
    cost = (usage or {}).get("costMicroUsd")
    return cost if isinstance(cost, int) and not isinstance(cost, bool) and 0 <= cost <= INT_MAX else 0


def _evidence_id(task_id: str, token: int | None) -> str:
    """One piece of evidence for each lease, and one for each task without a token: repetitions fill no disk."""
    return f"evidence-{sha256(f'{task_id} {token}'.encode()).hexdigest()[:32]}"


def success_of(body: ResultBody) -> bool:
    """`success`, or what old daemons say instead: `status` completed; BadRequestError for neither."""
    if body.success is not None:
        return body.success
    if body.status in ("completed", "failed"):
        return body.status == "completed"
    raise BadRequestError("Validation failed", ("success: Expected `bool`",))


def report_of(body: ResultBody) -> reports.ReceivedResult:
    """A result as the rules judge it."""
    failure = body.failure
    named = (failure.class_ or "", bool(failure.final)) if failure is not None else ()
    return reports.ReceivedResult(success_of(body), body.worker_id or "", body.token, *named)


def _texts(asked: TaskBody | None, body: ResultBody, bytes_max: int | None) -> tuple[str, str]:
    """Question and answer, as memory keeps them."""
    spec = msgspec.json.decode(asked.spec) if asked is not None else {}
    answer = body.output if isinstance(body.output, str) else _json(body.output)
    bytes_max = bytes_max or MEMORY_CONTENT_BYTES_MAX
    return _cut(spec.get("content", ""), bytes_max), _cut(answer, bytes_max)


def _cut(text: str, bytes_max: int) -> str:
    clean = text.replace("\0", "\ufffd")
    return clean.encode()[:bytes_max].decode(errors="ignore")


def _json(value: Any) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()
