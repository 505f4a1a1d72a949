"""The endpoints about tasks: queue, leases, results, owners' commands."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from understudy.api.endpoint import STRING, Endpoint, Request, task_id_of
from understudy.errors import BadRequestError, ForbiddenError
from understudy.hub.claims import ClaimTasks
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.leases import ReleaseLease, RenewLease
from understudy.hub.operation import Operation
from understudy.hub.results import ReportResult, ReportResults
from understudy.hub.task_commands import CommandTask, NoteTaskStatus, Verb
from understudy.hub.views import View, cursor_of, internal_status
from understudy.store.base import TaskFilter
from understudy.wire.answers.claims import Claimed, NoTasks
from understudy.wire.answers.leases import AlreadyCancelled, Released, Renewed
from understudy.wire.answers.records import TasksAnswer, WholeRecord
from understudy.wire.answers.results import ResultJson, ResultsAnswer, Taken
from understudy.wire.answers.tasks import BatchAnswer, EnqueueAnswer, Noted, QueueAnswer, TaskChanged, TaskJson
from understudy.wire.limits import RESULT_BYTES_MAX
from understudy.wire.tasks import (
    ClaimBody,
    EnqueueBatchBody,
    EnqueueBody,
    ReleaseBody,
    RenewBody,
    ResultBody,
    ResultsBody,
    StatusBody,
    extra_fields,
)

DEDUP_CHARS_MAX = 256


def _enqueue(request: Request) -> Operation:
    body = request.parsed(EnqueueBody)
    if request.idempotency_key and body.dedup_key is None:
        if len(request.idempotency_key) > DEDUP_CHARS_MAX:
            raise BadRequestError(
                "Validation failed", (f"Idempotency-Key: Expected at most {DEDUP_CHARS_MAX} characters",)
            )
        body = replace(body, dedup_key=request.idempotency_key)
    caller = request.caller
    extras, is_bounded = extra_fields(request.body), not caller.is_admin
    return EnqueueTasks(
        [body], [request.ids.new("task")], caller.owner, extras, caller.memory_of, is_bounded=is_bounded
    )


def _enqueue_batch(request: Request) -> Operation:
    bodies = request.parsed(EnqueueBatchBody).tasks
    caller, ids = request.caller, [request.ids.new("task") for _ in bodies]
    extras, is_bounded = extra_fields(request.body, is_batch=True), not caller.is_admin
    return EnqueueTasks(bodies, ids, caller.owner, extras, caller.memory_of, is_bounded=is_bounded)


def _claim(request: Request) -> Operation:
    body = request.parsed_if_any(ClaimBody)
    return ClaimTasks(body, body.worker_id or body.daemon_id or f"worker_{request.now_ms}")


def _renew(request: Request) -> Operation:
    body = request.parsed(RenewBody)
    if body.worker_id is None and body.token is None:
        raise BadRequestError("Validation failed", ("workerId: Object missing required field (or token)",))
    return RenewLease(task_id_of(request), body)


def _status(request: Request) -> Operation:
    body = request.parsed(StatusBody)
    return NoteTaskStatus(task_id_of(request), body.status, body.token)


def _result(request: Request) -> Operation:
    body = request.parsed(ResultBody)
    if body.token is None:  # an old daemon: ours clean their results before they leave the machine
        clean = request.redactor.clean_value
        body = replace(body, output=clean(body.output), error=clean(body.error))
    return ReportResult(task_id_of(request), body)


def _results(request: Request) -> Operation:
    return ReportResults(request.parsed(ResultsBody).results)


def _release(request: Request) -> Operation:
    task_id = task_id_of(request)
    return ReleaseLease(task_id, request.parsed_if_any(ReleaseBody))


def _steer(verb: Verb) -> Any:
    def make(request: Request) -> Operation:
        only_of = "" if request.caller.may("work") else request.caller.owner
        return CommandTask(verb, task_id_of(request), request.caller.key_id, only_of)

    return make


def _list_tasks(request: Request, view: View) -> Any:
    if not request.caller.may("read"):
        raise ForbiddenError(code="scope")
    at, task_id = cursor_of(request.query.get("cursor", ""))
    return view.tasks(
        TaskFilter(
            internal_status(request.query.get("status", "")),
            request.query.get("source", ""),
            text=request.query.get("q", ""),
            daemon_id=request.query.get("daemon", ""),
            before_key=at,
            before_id=task_id,
            limit=request.number("limit", 1, 1000, 50),
        )
    )


def _is_search(request: Request) -> bool:
    """True if rows are looked at that may not be shown."""
    return any(request.query.get(name) for name in ("q", "status", "source", "daemon"))


def _created(answer: Any) -> int:
    return 201 if answer.created else 200


CLAIM = Endpoint(
    "POST", "/api/queue/claim", "Claim tasks under leases; waitSec makes it a long poll", ("work",), make=_claim,
    shape=ClaimBody, needs_body=False, answer=(Claimed, NoTasks), errors=(409, 503), is_limited=False, waits=True,
)  # fmt: skip
RESULT = Endpoint(
    "POST", "/api/result/{task_id}", "Report the result of a run", ("work",), make=_result, shape=ResultBody,
    answer=(Taken,), errors=(404, 409), body_max=RESULT_BYTES_MAX, is_limited=False,
)  # fmt: skip

ENDPOINTS: tuple[Endpoint, ...] = (
    CLAIM,
    RESULT,
    Endpoint(
        "POST", "/api/results", "Report up to 100 results, each judged on its own", ("work",), make=_results,
        shape=ResultsBody, answer=(ResultsAnswer,), body_max=RESULT_BYTES_MAX, is_limited=False,
    ),
    Endpoint(
        "POST", "/api/queue", "Enqueue a task", ("submit",), make=_enqueue, shape=EnqueueBody,
        is_keyed=True, status=_created, answer=(EnqueueAnswer,),
        body_of=lambda made: EnqueueAnswer(success=True, task_id=made[0].task_id, created=made[0].created),
        errors=(422, 507),
    ),
    Endpoint(
        "POST", "/api/queue/batch", "Enqueue up to 1,000 tasks, all or none", ("submit",), make=_enqueue_batch,
        shape=EnqueueBatchBody, answer=(BatchAnswer,), body_of=BatchAnswer, errors=(422, 507),
    ),
    Endpoint(
        "POST", "/api/queue/{task_id}/renew", "Renew a lease", ("work",),
        make=_renew, shape=RenewBody, answer=(Renewed, AlreadyCancelled), errors=(403, 404, 409),
        is_limited=False,
    ),
    Endpoint(
        "POST", "/api/queue/{task_id}/release", "Give a task back", ("work",), make=_release, shape=ReleaseBody,
        needs_body=False, answer=(Released,), errors=(403, 409), is_limited=False,
    ),
    Endpoint(
        "POST", "/api/queue/{task_id}/status", "Note a status on a task", ("work",),
        make=_status, shape=StatusBody, answer=(Noted,), errors=(404, 409),
    ),
    Endpoint(
        "GET", "/api/queue", "The first 1,000 claimable tasks", ("read", "work"),
        show=lambda _, v: v.queue(), answer=(QueueAnswer,),
    ),
    Endpoint(
        "GET", "/api/queue/{task_id}", "A task that is not finished", ("read", "work", "submit"),
        show=lambda r, v: v.task(task_id_of(r), r.caller), answer=(TaskJson,), errors=(404,),
    ),
    Endpoint(
        "GET", "/api/result/{task_id}", "The result of a task", ("read", "work", "submit"),
        show=lambda r, v: v.result(task_id_of(r), r.caller), answer=(ResultJson,), errors=(404,),
    ),
    Endpoint(
        "GET", "/api/tasks", "Tasks, newest first", ("read",), show=_list_tasks, answer=(TasksAnswer,),
        searches=_is_search,
        query=(
            ("status", {"type": "string", "enum": ["pending", "claimed", "done", "failed", "cancelled"]}),
            ("source", STRING), ("q", STRING), ("daemon", STRING), ("cursor", STRING),
            ("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50}),
        ),
    ),
    Endpoint(
        "GET", "/api/tasks/{task_id}", "A whole record with attempts and history", ("read", "submit"),
        show=lambda r, v: v.record(task_id_of(r), r.caller), answer=(WholeRecord,), errors=(404,),
    ),
    Endpoint(
        "POST", "/api/tasks/{task_id}/cancel", "Cancel a task, for good", ("submit", "work"), make=_steer("cancel"),
        answer=(TaskChanged,), errors=(404, 409),
    ),
    Endpoint(
        "POST", "/api/tasks/{task_id}/retry", "Start a failed or cancelled task anew", ("submit", "work"),
        make=_steer("retry"), answer=(TaskChanged,), errors=(404, 409, 507),
    ),
    Endpoint(
        "POST", "/api/tasks/{task_id}/move", "Let a task that waits for its machine run elsewhere",
        ("submit", "work"), make=_steer("move"), answer=(TaskChanged,), errors=(404, 409),
    ),
)  # fmt: skip
