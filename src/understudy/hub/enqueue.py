"""Taking tasks in: ids, idempotency, needs, conversation; all or none for a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from understudy.clock import parse_iso
from understudy.coordinator import tasks
from understudy.coordinator.changes import Decision, Draft
from understudy.coordinator.claims import MACHINE
from understudy.coordinator.nouns import Now, Task, TaskBody, Usage
from understudy.errors import BadRequestError, MismatchError
from understudy.hub.operation import Operation
from understudy.hub.reply import reply_of
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.answers.tasks import Created
from understudy.wire.memory import channel_of
from understudy.wire.tasks import EnqueueBody

TASK_BYTES = 1_000  # of a task's rows, indexes and events beside its body


class EnqueueTasks(Operation):
    """One task or many. `ids` are made at the edge, so that a replay makes the same rows.

    `submitter` owns them; `memory_of` is its own memory if it may not use the one that all share.
    """

    runs_alone = False

    def __init__(
        self,
        bodies: list[EnqueueBody],
        ids: list[str],
        submitter: str,
        extras: Sequence[dict[str, Any]] = (),
        memory_of: str = "",
        *,
        is_bounded: bool = True,
    ) -> None:
        """`extras` are the fields of each that are only kept; they do not distinguish two tasks.

        `is_bounded`: all that the submitter has here must not be more than its share.
        """
        self.bodies = bodies
        self.weight = len(bodies)
        self.ids = [body.id or made for body, made in zip(bodies, ids, strict=True)]
        self.submitter = submitter
        self.memory_of = memory_of
        self.is_bounded = is_bounded
        self.specs = [spec_of(body) for body in bodies]
        self.extras = extras if len(extras) == len(bodies) else [{} for _ in bodies]

    def needs(self, needs: Needs) -> None:
        """The tasks of these ids, and those of these idempotency keys."""
        needs.room = True
        needs.row(Usage, self.submitter)
        needs.new_needs.update(needs_of(body) for body in self.bodies)
        for task_id, body in zip(self.ids, self.bodies, strict=True):
            needs.row(Task, task_id)
            if body.dedup_key:
                needs.dedups.add((self.submitter, body.dedup_key))

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Create each, or find the one that it repeats; one that contradicts refuses the whole request."""
        draft = Draft()
        answers: list[Created] = []
        here: dict[str, Task] = {}
        keys: dict[str, str] = {}
        for nth, (task_id, body, spec) in enumerate(zip(self.ids, self.bodies, self.specs, strict=True)):
            known = self._known(work, task_id, body, here, keys)
            if known is not None:
                if not tasks.is_same(known, _hash(spec), self.submitter if self.memory_of else ""):
                    raise MismatchError(f"The id or idempotency key of {known.id} was used with another body")
                answers.append(Created(known.id, created=False))
                continue
            stored = _with(self.extras[nth], spec)
            reply_to = reply_of(body.reply_to, work.policy.routes)
            owned = Owned(self.submitter, self.memory_of, reply_to, _size_of(stored))
            task = task_of(body, task_id, owned, spec, now, nth, work.policy.timeout_s)
            here[task_id] = draft.take(tasks.enqueue(task, now))
            draft.add((TaskBody(task_id, stored),))
            if body.dedup_key:
                keys[body.dedup_key] = task_id
            answers.append(Created(task_id, created=True))
        if here:
            share = share_of(work, self.submitter) if self.is_bounded else None
            work.bounds.take(sum(task.size_bytes for task in here.values()), tuple(here.values()), share)
        return draft.decision(answers)

    def _known(
        self, work: WorkingSet, task_id: str, body: EnqueueBody, here: dict[str, Task], keys: dict[str, str]
    ) -> Task | None:
        if body.dedup_key:
            first = keys.get(body.dedup_key) or work.dedups.get((self.submitter, body.dedup_key))
            if first is not None:
                return here.get(first) or work.get(Task, first)
        return here.get(task_id) or work.get(Task, task_id)


def spec_of(body: EnqueueBody) -> str:
    """The fields it was enqueued with, as JSON text."""
    return msgspec.json.encode(body).decode()


def _with(extra: dict[str, Any], spec: str) -> str:
    """The spec with the fields that are only kept before those that we know."""
    return msgspec.json.encode(extra | msgspec.json.decode(spec)).decode() if extra else spec


def _size_of(stored: str) -> int:
    return len(stored.encode()) + TASK_BYTES


def share_of(work: WorkingSet, submitter: str) -> Usage:
    """The part of its share that a key had used before this batch."""
    return work.get(Usage, submitter) or Usage(submitter)


def _hash(spec: str) -> str:
    fields = msgspec.json.decode(spec)
    fields.pop("id", None)
    fields.pop("dedupKey", None)
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


class Owned(Struct, frozen=True):
    """The owner of a new task, the place of its answer, and its part of the owner's share."""

    submitter: str
    memory_of: str = ""
    reply_to: str = ""
    size_bytes: int = 0


def task_of(body: EnqueueBody, task_id: str, owned: Owned, spec: str, now: Now, nth: int, timeout_s: int) -> Task:
    """The row of a new task; BadRequestError for a malformed instant."""
    priority = body.priority or "medium"
    channel, user_id = conversation_of(body)
    return Task(
        id=task_id,
        needs=needs_of(body),
        order_key=tasks.order_key(priority, now.wall, nth),
        priority=priority,
        source=body.source or "",
        submitter=owned.submitter,
        memory_of=owned.memory_of,
        reply_to=owned.reply_to,
        size_bytes=owned.size_bytes,
        dedup_key=body.dedup_key or "",
        body_hash=_hash(spec),
        queued_at=now.wall,
        updated_at=now.wall,
        available_at=_available_at(body, now),
        on_loss=body.on_loss or "",
        takeover=body.takeover or "allow",
        max_attempts=body.max_attempts or 1,
        timeout_ms=(body.timeout_sec or timeout_s) * 1000,
        channel=channel,
        user_id=user_id,
    )


def needs_of(body: EnqueueBody) -> str:
    """Its tags as sorted JSON; absent is ["machine"]; an executor is one more tag."""
    tags = {MACHINE} if body.needs is None else set(body.needs)
    if body.executor:
        tags.add(f"executor:{body.executor}")
    return msgspec.json.encode(sorted(tags)).decode()


def _available_at(body: EnqueueBody, now: Now) -> int:
    if body.available_at is not None:
        return instant(body.available_at, "availableAt")
    return now.wall + round((body.delay_sec or 0) * 1000)


def instant(text: str, field: str) -> int:
    """Milliseconds of an ISO 8601 instant with a zone; BadRequestError names the field."""
    try:
        at = parse_iso(text)
    except (ValueError, OverflowError, OSError) as error:
        raise BadRequestError("Validation failed", (f"{field}: Expected an ISO 8601 instant with Z",)) from error
    if not 0 <= at <= INSTANT_MAX:
        raise BadRequestError("Validation failed", (f"{field}: Expected an instant between 1970 and 2200",))
    return at


INSTANT_MAX = 7_258_118_400_000  # 2200-01-01, far from every overflow


def conversation_of(body: EnqueueBody) -> tuple[str, str]:
    """(channel, user_id) of its memory, from the body, else from its metadata; ("", "") for none."""
    metadata = body.metadata or {}
    chosen: dict[str, Any] = {}
    if isinstance(body.conversation, dict):
        chosen = body.conversation
    elif body.conversation:
        named_channel, _, named_user = body.conversation.rpartition(":")
        chosen = {"channel": named_channel, "user_id": named_user}
    channel = chosen.get("channel") or metadata.get("channel") or body.source or ""
    user = chosen.get("user_id") or chosen.get("userId") or metadata.get("user_id") or metadata.get("userId")
    if user is None or user == "":
        return "", ""
    return channel_of(text_of(channel)), user_of(user)[:256]


def user_of(user: Any) -> str:
    """The name of a user: old clients send whole objects, whose `id` counts."""
    if isinstance(user, dict):
        user = user.get("id", "[object Object]")
    return text_of(user)


def text_of(value: Any) -> str:
    """A JSON value as text without NUL."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text.replace("\0", "\ufffd")
