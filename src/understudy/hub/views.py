"""What the hub shows: every view reads a snapshot and changes nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.clock import iso
from understudy.coordinator.health import down_deadline, is_planned, late_deadline, limits_of
from understudy.coordinator.hearing import at_wall, hear
from understudy.coordinator.liveness import trouble_said
from understudy.coordinator.nouns import (
    FINISHED,
    LEASED,
    Attempt,
    Daemon,
    Deployment,
    Hearing,
    Key,
    Notice,
    Now,
    Policy,
    Progress,
    Result,
    Task,
    TaskBody,
)
from understudy.coordinator.takeover import EXECUTOR
from understudy.coordinator.takeover_nouns import TaskTakeover
from understudy.errors import BadRequestError, ForbiddenError, NotFoundError
from understudy.hub.claims import STATUS_WORDS, lease_json, task_json
from understudy.hub.directives import directive_json
from understudy.hub.incidents import incident_json
from understudy.hub.keys import KEYS_MAX, Caller, key_json
from understudy.hub.memory import lines_that_fit, message_json
from understudy.hub.outbox import notice_json
from understudy.hub.registry import old_status_json, settings_json
from understudy.hub.working_set import MEMORY_READ_MAX
from understudy.redact import Redactor
from understudy.store.base import Backlog, EventFilter, Reader, StoredEvent, TaskFilter

QUEUE_LIST_MAX = 1000
LIST_BYTES_MAX = 8 << 20  # of one page, whatever its limit in rows
DAEMONS_MAX = 100_000
HISTORY_MAX = 500
DEPLOYMENTS_MAX = 100
DIRECTIVES_SHOWN = 20
_INTERNAL = {word: status for status, word in STATUS_WORDS.items()}


class View:
    """A reader with the time and policy of this moment."""

    def __init__(self, reader: Reader, wall: int, policy: Policy, redactor: Redactor | None = None) -> None:
        self.reader = reader
        self.policy = policy
        self.redactor = redactor or Redactor()
        (hearing,) = reader.load_many(Hearing, (1,)) or [Hearing()]
        _, self.now, _ = hear(hearing, wall)

    # ---- tasks

    def queue(self) -> dict[str, Any]:
        """`GET /api/queue`: claimable tasks; a lease that has ended is swept at its deadline, to the ms."""
        ids = self.reader.ready_ids(QUEUE_LIST_MAX)
        return {"pending": ids, "count": len(ids)}

    def task(self, task_id: str, caller: Caller) -> dict[str, Any]:
        """`GET /api/queue/{id}`: a task that is not finished."""
        task = self._task(task_id, caller, "Task not found")
        if task.status in FINISHED:
            raise NotFoundError("Task not found")
        return task_json(task, self._spec(task_id))

    def result(self, task_id: str, caller: Caller) -> dict[str, Any]:
        """`GET /api/result/{id}`: how a finished task ended."""
        task = self._task(task_id, caller, "Result not found")
        if task.status not in FINISHED:
            raise NotFoundError("Result not found")
        return self._result(task_id) or {"success": False, "error": task.status}

    def record(self, task_id: str, caller: Caller) -> dict[str, Any]:
        """`GET /api/tasks/{id}`: the whole record, with attempts and history, also when it is finished."""
        task = self._task(task_id, caller, "Task not found")
        shaped = self._record(task)
        shaped["attempts"] = [attempt_json(attempt) for attempt in self.reader.attempts_of(task_id)]
        events = self.reader.list_events(EventFilter(task_id=task_id, limit=HISTORY_MAX))
        shaped["history"] = [event_json(event, self.redactor) for event in events]
        for progress in self.reader.load_many(Progress, (task_id,)):
            if progress.progress:
                shaped["progress"] = msgspec.json.decode(progress.progress)
                shaped["progressAt"] = iso(progress.at)
        for done in self.reader.load_many(TaskTakeover, (task_id,)):
            if done.provisional:
                answer = {"output": msgspec.json.decode(done.provisional), "executor": EXECUTOR, "degraded": True}
                shaped["provisional"] = answer | {"at": iso(done.provisional_at)}
        if task.status == LEASED:
            shaped["lease"] = lease_json(task, self.now)
        return shaped

    def tasks(self, wanted: TaskFilter) -> dict[str, Any]:
        """`GET /api/tasks`: newest first, with a cursor to go on."""
        rows = self.reader.list_tasks(wanted)
        shaped: list[dict[str, Any]] = []
        room = LIST_BYTES_MAX
        for task in rows:
            record = self._record(task)
            room -= len(msgspec.json.encode(record))
            if room < 0 and shaped:  # the rest is on the next page
                break
            shaped.append(record)
        is_more = len(rows) == wanted.limit or len(shaped) < len(rows)
        last = rows[len(shaped) - 1] if shaped else None
        return {"tasks": shaped, **({"next": f"{last.queued_at}~{last.id}"} if last and is_more else {})}

    def _task(self, task_id: str, caller: Caller, unknown: str) -> Task:
        found = self.reader.load_many(Task, (task_id,))
        if not found:
            raise NotFoundError(unknown)
        if not caller.may("read", "work") and found[0].submitter != caller.owner:
            raise ForbiddenError(code="scope")
        return found[0]

    def _spec(self, task_id: str) -> str:
        bodies = self.reader.load_many(TaskBody, (task_id,))
        return bodies[0].spec if bodies else "{}"

    def _result(self, task_id: str) -> dict[str, Any]:
        return {key: value for row in self.reader.load_many(Result, (task_id,)) for key, value in _result_items(row)}

    def _record(self, task: Task) -> dict[str, Any]:
        shaped = {"source": "", "metadata": {}, **task_json(task, self._spec(task.id))}
        shaped |= {
            "priority": task.priority,
            "needs": msgspec.json.decode(task.needs),
            "onLoss": task.on_loss or None,
            "takeover": task.takeover,
            "maxAttempts": task.max_attempts,
            "timeoutSec": task.timeout_ms / 1000,
            "availableAt": iso(task.available_at),
            "losses": task.losses,
            "attempts": [attempt_json(attempt) for attempt in self.reader.attempts_of(task.id)],
        }
        if task.waiting_for:
            shaped["waitingFor"] = task.waiting_for
        if task.note:
            shaped["note"] = task.note
        if task.finished_at:
            shaped["finishedAt"] = iso(task.finished_at)
            shaped["result"] = self._result(task.id)
        return shaped

    # ---- daemons

    def daemons(self) -> dict[str, Any]:
        """`GET /api/daemons`."""
        return {"daemons": [self._daemon(daemon) for daemon in self.reader.load_all(Daemon, DAEMONS_MAX)]}

    def daemon(self, daemon_id: str) -> dict[str, Any]:
        """`GET /api/daemons/{id}`."""
        found = self.reader.load_many(Daemon, (daemon_id,))
        if not found:
            raise NotFoundError("Daemon not found")
        shown = self._daemon(found[0])
        directives = self.reader.directives_of(daemon_id, DIRECTIVES_SHOWN)
        return shown | ({"directives": [directive_json(row) for row in directives]} if directives else {})

    def _daemon(self, daemon: Daemon) -> dict[str, Any]:
        limits = limits_of(daemon, self.policy)
        shaped: dict[str, Any] = {
            "daemonId": daemon.id,
            "state": daemon.state,
            "lastSeenAt": iso(daemon.last_seen_at) if daemon.last_seen_at else None,
            "silentForSec": max(self.now.h - daemon.last_seen_h, 0) / 1000,
            "lateAt": iso(at_wall(self.now, late_deadline(daemon, limits, self.now))),
            "downAt": iso(at_wall(self.now, down_deadline(daemon, limits, self.now))),
            "intervalSec": daemon.interval_ms / 1000 or None,
            "version": daemon.version,
            "bootId": daemon.boot_id,
            "machineId": daemon.machine_id,
            "capacity": daemon.capacity,
            "provides": msgspec.json.decode(daemon.provides),
            "running": msgspec.json.decode(daemon.running),
            "loops": msgspec.json.decode(daemon.loops),
            "auth": msgspec.json.decode(daemon.auth),
            "settings": settings_json(daemon),
            "sinceAt": iso(daemon.since_at),
        }
        if daemon.reason:
            shaped["reason"] = daemon.reason
        if daemon.deadline_h and (daemon.paused or is_planned(daemon)):
            shaped["quietUntil"] = iso(at_wall(self.now, daemon.deadline_h))
        trouble = trouble_said(daemon) if daemon.state == "stuck" else None
        if trouble is not None:
            shaped["stuck"] = {"code": trouble.code, "what": trouble.what}
            said = {"state": trouble.word, "limitSec": trouble.limit_s, "mend": trouble.mend}
            shaped["stuck"] |= {name: value for name, value in said.items() if value}
        if daemon.incident_id:
            shaped["incidentId"] = daemon.incident_id
        return shaped

    def old_health(self) -> dict[str, Any]:
        """`GET /api/daemon/health`: reading changes nothing."""
        active: list[dict[str, Any]] = []
        stale: list[dict[str, Any]] = []
        for daemon in self.reader.load_all(Daemon, DAEMONS_MAX):
            (stale if _is_stale(daemon, self.policy, self.now) else active).append(old_status_json(daemon))
        return {"activeDaemons": active, "stale": stale, "totalActive": len(active)}

    # ---- the rest

    def events(self, wanted: EventFilter, live: list[StoredEvent]) -> dict[str, Any]:
        """`GET /api/events`: stored ones, and live-only ones of the same stretch when asked for."""
        stored = self.reader.list_events(wanted)
        mixed = sorted((*stored, *live), key=lambda e: (e.event.at, e.id))[-wanted.limit :]
        if wanted.after_id:
            mixed = stored
        more = {"next": str(stored[0].id)} if stored and len(stored) == wanted.limit else {}
        return {"events": [event_json(event, self.redactor) for event in mixed], **more}

    def incidents(self, before_at: int, before_id: str, limit: int) -> dict[str, Any]:
        """`GET /api/incidents`: newest first."""
        rows = self.reader.list_incidents(before_at, before_id, limit)
        more = {"next": f"{rows[-1].opened_at}~{rows[-1].id}"} if len(rows) == limit else {}
        return {"incidents": [incident_json(row) for row in rows], **more}

    # ---- notices

    def notices(self, state: str, before_at: int, before_id: str, limit: int) -> dict[str, Any]:
        """`GET /api/notices`: newest first."""
        rows = self.reader.list_notices(state, before_at, before_id, limit)
        more = {"next": f"{rows[-1].created_at}~{rows[-1].id}"} if len(rows) == limit else {}
        return {"notices": [notice_json(row) for row in rows], **more}

    def notice(self, notice_id: str) -> dict[str, Any]:
        """`GET /api/notices/{id}`."""
        found = self.reader.load_many(Notice, (notice_id,))
        if not found:
            raise NotFoundError("Notice not found")
        return notice_json(found[0])

    def channels(self) -> dict[str, Any]:
        """`GET /api/channels`: those that are configured, and those that still have something to send or dead."""
        backlogs = {backlog.target: backlog for backlog in self.reader.backlogs(self.now.wall)}
        names = [*self.policy.routes.targets, *sorted(set(backlogs) - set(self.policy.routes.targets))]
        return {"channels": [self._channel(name, backlogs.get(name)) for name in names]}

    def _channel(self, name: str, backlog: Backlog | None) -> dict[str, Any]:
        shaped: dict[str, Any] = {"name": name, "configured": name in self.policy.routes.targets}
        if backlog is None:
            return shaped | {"waiting": 0, "oldestSec": 0, "dead": 0}
        oldest_s = max(self.now.wall - backlog.oldest_at, 0) / 1000 if backlog.oldest_at else 0
        shaped |= {"waiting": backlog.waiting, "oldestSec": oldest_s, "dead": backlog.dead}
        return shaped | ({"lastError": backlog.last_error} if backlog.last_error else {})

    def outbox_oldest_s(self) -> float:
        """How long the oldest notice that is due waits already; 0: none does."""
        at = self.reader.oldest_notice_at(self.now.wall)
        return max(self.now.wall - at, 0) / 1000 if at else 0

    def deployments(self) -> dict[str, Any]:
        """`GET /api/deployments`: every start of a hub, newest first."""
        rows = self.reader.list_deployments(DEPLOYMENTS_MAX)
        return {"deployments": [deployment_json(row) for row in rows]}

    def keys(self) -> dict[str, Any]:
        """`GET /api/keys`: without their secrets."""
        return {"keys": [key_json(key) for key in self.reader.load_all(Key, KEYS_MAX)]}

    def context(self, user_id: str, channel: str, tokens_max: int, chars_max: int) -> dict[str, Any]:
        """`GET /api/memory/context/{userId}`."""
        limit = MEMORY_READ_MAX
        lines = lines_that_fit(self.reader.messages_of(user_id, channel, limit), tokens_max, chars_max)
        while len(lines) == limit:  # all of them were short: more may fit
            limit *= 4
            lines = lines_that_fit(self.reader.messages_of(user_id, channel, limit), tokens_max, chars_max)
        return {"context": "\n".join(reversed(lines)), "userId": user_id}

    def history(self, user_id: str, channel: str, limit: int) -> dict[str, Any]:
        """`GET /api/memory/history/{userId}`: oldest first."""
        messages = self.reader.messages_of(user_id, channel, limit)
        shaped = [message_json(message) for message in reversed(messages)]
        return {"history": shaped, "count": len(shaped)}


def _is_stale(daemon: Daemon, policy: Policy, now: Now) -> bool:
    silent = now.h >= late_deadline(daemon, limits_of(daemon, policy), now)
    return daemon.state in ("late", "down", "stopped") or silent


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt as the contract shapes it."""
    shaped: dict[str, Any] = {
        "token": attempt.token,
        "workerId": attempt.worker_id,
        "claimedAt": iso(attempt.claimed_at),
    }
    if attempt.ended_at:
        shaped["endedAt"] = iso(attempt.ended_at)
        shaped["outcome"] = attempt.outcome
    return shaped


def _result_items(row: Result) -> list[tuple[str, Any]]:
    items: list[tuple[str, Any]] = [("success", bool(row.success))]
    texts = (("output", row.output), ("error", row.error), ("failure", row.failure), ("usage", row.usage))
    items += [(name, msgspec.json.decode(text)) for name, text in texts if text]
    if row.executor:
        items.append(("executor", row.executor))
    if row.degraded:
        items.append(("degraded", True))
    if row.cost_micro_usd:
        items.append(("costUsd", row.cost_micro_usd / 1_000_000))
    return items


def event_json(stored: StoredEvent, redactor: Redactor) -> dict[str, Any]:
    """An event as the contract shapes it, without secrets that somebody's error or reason brought along."""
    event = stored.event
    message, fields = event.message, event.fields
    told = msgspec.json.encode((message, fields)).decode()
    if redactor.clean(told) != told:  # one look at the whole is the rule, a walk through it the exception
        message, fields = redactor.clean(message), redactor.clean_value(fields)
    shaped: dict[str, Any] = {
        "id": stored.id,
        "at": iso(event.at),
        "level": event.level,
        "name": event.name,
        "component": event.component,
        "message": message,
        "fields": fields,
    }
    return shaped | ({"live": True} if event.live_only else {})


def deployment_json(row: Deployment) -> dict[str, Any]:
    """A start of a hub as the contract shapes it."""
    return {
        "versionId": row.version_id,
        "createdAt": iso(row.created_at),
        "packageVersion": row.package_version,
        "configFingerprint": row.config_fingerprint,
        "host": row.host,
    }


def cursor_of(text: str) -> tuple[int, str]:
    """The two parts of a cursor; BadRequestError for anything else."""
    if not text:
        return 0, ""
    at, _, key = text.partition("~")
    if not (at.isdecimal() and at.isascii() and key and len(at) < 16):  # noqa: PLR2004
        raise BadRequestError("Validation failed", ("cursor: Expected the `next` of an earlier answer",))
    return int(at), key


def internal_status(word: str) -> str:
    """The status behind a word of the wire; BadRequestError for an unknown one."""
    if word and word not in (*_INTERNAL, "done", "failed", "cancelled"):
        expected = "Expected one of pending, claimed, done, failed, cancelled"
        raise BadRequestError("Validation failed", (f"status: {expected}",))
    return _INTERNAL.get(word, word)
