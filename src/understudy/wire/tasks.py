"""Bodies about tasks: enqueue, claim, renew, release, status, result."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from understudy.wire.limits import (
    BATCH_RESULTS_MAX,
    BATCH_TASKS_MAX,
    CLAIM_TASKS_MAX,
    EXECUTOR_PATTERN,
    WAIT_S_MAX,
    Count,
    DaemonName,
    Id,
    LeaseSec,
    LongText,
    Name,
    ShortText,
    Tags,
    Text,
    Token,
    WorkerName,
    whole,
)

DAY_S = 86_400
_EXECUTOR = whole(EXECUTOR_PATTERN)
OnLoss = Literal["requeue", "wait", "ask"]


class EnqueueBody(Struct, rename="camel", frozen=True, omit_defaults=True):
    """A task that somebody wants done (docs/contract.md, section 2)."""

    content: LongText
    id: Id | None = None
    source: Annotated[str, Meta(max_length=128)] | None = None
    metadata: dict[str, Any] | None = None
    priority: Annotated[str, Meta(max_length=32)] | None = None
    needs: Tags | None = None
    delay_sec: Annotated[float, Meta(ge=0, le=366 * DAY_S)] | None = None
    available_at: Annotated[str, Meta(max_length=40)] | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=100)] | None = None
    timeout_sec: Annotated[int, Meta(ge=1, le=7 * DAY_S)] | None = None
    on_loss: OnLoss | None = None
    takeover: Literal["allow", "never"] | None = None
    dedup_key: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    conversation: dict[str, Any] | ShortText | None = None
    executor: Annotated[str, _EXECUTOR] | None = None
    workspace: ShortText | None = None
    group: Name | None = None
    reply_to: dict[str, Any] | ShortText | None = None


EXTRA_FIELDS_MAX = 32
EXTRA_BYTES_MAX = 16 << 10
# what an answer about a task may say: a field of that name would be taken for the hub's own word
_SAID_BY_THE_HUB = frozenset(
    {"approval", "attempt", "attempts", "cancel", "checkpoint", "context", "created", "finishedAt", "lease", "losses"}
    | {"lost", "note", "position", "progress", "provisional", "queuedAt", "result", "status", "stillRuns"}
    | {"submitter", "success", "taskId", "token", "updatedAt", "waitingFor"}
)
_KNOWN = _SAID_BY_THE_HUB.union(EnqueueBody.__struct_encode_fields__)
_Fields = dict[str, Raw]


class _Batch(Struct):
    tasks: list[_Fields] = []


def extra_fields(body: bytes, *, is_batch: bool = False) -> list[dict[str, Any]]:
    """Fields of each task that we do not know, such as the old hub's `type`: they come back when it is claimed.

    `body` was decoded before. What is too much, or no JSON that could be kept, is left out.
    """
    try:
        read = msgspec.json.decode(body, type=_Batch).tasks if is_batch else [msgspec.json.decode(body, type=_Fields)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return [_kept({name: raw for name, raw in fields.items() if name not in _KNOWN}) for fields in read]


def _kept(fields: _Fields) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    room = EXTRA_BYTES_MAX
    for name, raw in list(fields.items())[:EXTRA_FIELDS_MAX]:
        room -= len(name) + len(bytes(raw))
        if room < 0 or "\0" in name or b"\\u0000" in bytes(raw):
            continue
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            kept[name] = msgspec.json.decode(raw)
    return kept


class EnqueueBatchBody(Struct, rename="camel", frozen=True):
    """Up to 1,000 tasks, all or none."""

    tasks: Annotated[list[EnqueueBody], Meta(min_length=1, max_length=BATCH_TASKS_MAX)]


class ClaimBody(Struct, rename="camel", frozen=True):
    """A worker asks for work; any key after `leaseDurationSec` makes it token-aware (docs/contract.md, section 3)."""

    heals_nul: ClassVar[bool] = True
    worker_id: WorkerName | None = None
    lease_duration_sec: LeaseSec | None = None
    daemon_id: DaemonName | None = None
    boot_id: Name | None = None
    request_id: Name | None = None
    max: Annotated[int, Meta(ge=1, le=CLAIM_TASKS_MAX)] | None = None
    wait_sec: Annotated[float, Meta(ge=0, le=WAIT_S_MAX)] | None = None
    provides: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=256)] | None = None
    on_loss: OnLoss | None = None


class RenewBody(Struct, rename="camel", frozen=True):
    """A worker goes on with a task."""

    heals_nul: ClassVar[bool] = True
    worker_id: WorkerName | None = None
    extend_sec: LeaseSec | None = None
    token: Token | None = None
    progress: Any = None
    checkpoint: Any = None


class ReleaseBody(Struct, rename="camel", frozen=True):
    """A worker gives a task back, or its guard does after its death; `daemon_gone`: the run died with its daemon."""

    heals_nul: ClassVar[bool] = True
    worker_id: WorkerName | None = None
    reason: Text | None = None
    token: Token | None = None


class StatusBody(Struct, rename="camel", frozen=True):
    """A note on a task; it never takes a task out of the queue."""

    heals_nul: ClassVar[bool] = True
    status: Annotated[str, Meta(min_length=1, max_length=256)]
    token: Token | None = None


class FailureBody(Struct, rename={"class_": "class"}, frozen=True):
    """The failure of a run; `final`: another attempt is useless."""

    class_: Annotated[str, Meta(max_length=64)] = "failed"
    final: bool = False


class ResultBody(Struct, rename="camel", frozen=True, gc=False):
    """The result of a run. Legacy daemons send `status` instead of `success` (docs/contract.md, section 2)."""

    allows_nul: ClassVar[tuple[str, ...]] = ("output", "error")
    success: bool | None = None
    status: ShortText | None = None
    worker_id: WorkerName | None = None
    token: Token | None = None
    output: Any = None
    error: Any = None
    failure: FailureBody | None = None
    usage: dict[str, Any] | None = None
    duration_ms: Count | None = None


class ResultItem(ResultBody, rename="camel", frozen=True, kw_only=True):
    """One of the results of a batch: here the token is a must."""

    task_id: Id
    token: Token
    success: bool


class ResultsBody(Struct, rename="camel", frozen=True):
    """Up to 100 results, each judged on its own, in one commit."""

    allows_nul: ClassVar[tuple[str, ...]] = ("results",)
    results: Annotated[list[ResultItem], Meta(min_length=1, max_length=BATCH_RESULTS_MAX)]
