"""Views of the hub: each reads a snapshot and changes nothing."""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import UNSET, Raw

from understudy.clock import iso
from understudy.coordinator import starts
from understudy.coordinator.health import down_deadline, is_planned, late_deadline, limits_of
from understudy.coordinator.hearing import at_wall, hear
from understudy.coordinator.leases import attempts_of
from understudy.coordinator.nouns import (
    FINISHED,
    LEASED,
    Daemon,
    Deployment,
    Hearing,
    Notice,
    Now,
    Policy,
    Progress,
    Result,
    Task,
    TaskBody,
)
from understudy.coordinator.stuck import trouble_said
from understudy.coordinator.takeover_nouns import TaskTakeover
from understudy.errors import BadRequestError, ForbiddenError, NotFoundError
from understudy.hub.daemon_list import LIST_BYTES_MAX, daemons_that_fit, each_daemon, size_of
from understudy.hub.keys import Caller, EnvironmentKey, listed_keys
from understudy.hub.memory import CHARS_A_TOKEN, lines_that_fit
from understudy.hub.working_set import MEMORY_READ_MAX
from understudy.redact import Redactor
from understudy.store.base import Backlog, EventFilter, Reader, StoredEvent, TaskFilter
from understudy.store.queries import (
    DEPLOYMENTS,
    DIRECTIVES_OF,
    HUBS_SEEN,
    INCIDENTS,
    INCIDENTS_BEFORE,
    LAST_ATTEMPTS_OF,
    NOTICES,
    NOTICES_BEFORE,
    NOTICES_IN,
    SESSIONS,
    Part,
)
from understudy.wire.answers.base import as_stored, if_any
from understudy.wire.answers.daemons import (
    DaemonJson,
    DaemonsAnswer,
    OldHealthAnswer,
    OldStatusJson,
    OneDaemon,
    directive_json,
    old_status_json,
    settings_json,
    stuck_json,
)
from understudy.wire.answers.events import (
    DeploymentJson,
    DeploymentsAnswer,
    EventJson,
    EventsAnswer,
    IncidentsAnswer,
    deployment_json,
    event_json,
    incident_json,
)
from understudy.wire.answers.keys import KeysAnswer, key_json
from understudy.wire.answers.leases import lease_json
from understudy.wire.answers.memory import ContextAnswer, HistoryAnswer, message_json
from understudy.wire.answers.notices import ChannelJson, ChannelsAnswer, NoticeJson, NoticesAnswer, notice_json
from understudy.wire.answers.records import TaskRecord, TasksAnswer, WholeRecord, interim_json, record_json
from understudy.wire.answers.results import ResultJson, result_json
from understudy.wire.answers.sessions import SessionsAnswer, session_json
from understudy.wire.answers.tasks import STATUS_WORDS, QueueAnswer, task_json
from understudy.wire.limits import MEMORY_CONTENT_BYTES_MAX

QUEUE_LIST_MAX = 1000
NEVER = 1 << 62  # ms since the epoch: after all instants
HISTORY_MAX = 500
ATTEMPTS_MAX = 1000  # of a record, the last ones: a task may be given back any number of times
DEPLOYMENTS_MAX = 100
DIRECTIVES_SHOWN = 20
SESSIONS_MAX = 1000
_INTERNAL = {word: status for status, word in STATUS_WORDS.items()}

D = TypeVar("D", bound=DaemonJson)


class View:
    """A reader with the time and policy of this moment."""

    def __init__(
        self,
        reader: Reader,
        wall: int,
        policy: Policy,
        redactor: Redactor | None = None,
        environment_keys: tuple[EnvironmentKey, ...] = (),
        start_id: str = "",
    ) -> None:
        self.reader = reader
        self.policy = policy
        self.redactor = redactor or Redactor()
        self.environment_keys = environment_keys
        self.start_id = start_id  # of the hub that answers: it runs, whatever its row says
        (hearing,) = reader.load_many(Hearing, (1,)) or [Hearing()]
        _, self.now, _ = hear(hearing, wall)

    # ---- tasks

    def queue(self) -> QueueAnswer:
        """`GET /api/queue`: claimable tasks; a lease that has ended is swept at its deadline, to the ms."""
        ids = self.reader.ready_ids(QUEUE_LIST_MAX)
        return QueueAnswer(ids, len(ids))

    def task(self, task_id: str, caller: Caller) -> Raw:
        """`GET /api/queue/{id}`: a task that is not finished."""
        task = self._task(task_id, caller, "Task not found")
        if task.status in FINISHED:
            raise NotFoundError("Task not found")
        return task_json(task, self._spec(task_id))

    def result(self, task_id: str, caller: Caller) -> ResultJson:
        """`GET /api/result/{id}`: how a finished task ended."""
        task = self._task(task_id, caller, "Result not found")
        if task.status not in FINISHED:
            raise NotFoundError("Result not found")
        return self._result(task_id) or ResultJson(success=False, error=task.status)

    def record(self, task_id: str, caller: Caller) -> Raw:
        """`GET /api/tasks/{id}`: the whole record, with attempts and history, also when it is finished."""
        task = self._task(task_id, caller, "Task not found")
        events = self.reader.list_events(EventFilter(task_id=task_id, limit=HISTORY_MAX))
        more: dict[str, Any] = {"history": [_event(stored, self.redactor) for stored in events]}
        for progress in self.reader.load_many(Progress, (task_id,)):
            if progress.progress:
                more |= {"progress": as_stored(progress.progress), "progress_at": iso(progress.at)}
        for done in self.reader.load_many(TaskTakeover, (task_id,)):
            if done.interim_answer:
                more["provisional"] = interim_json(done)
        if task.status == LEASED:
            more["lease"] = lease_json(task, self.now)
        return self._record(task, WholeRecord, **more)

    def tasks(self, wanted: TaskFilter) -> TasksAnswer:
        """`GET /api/tasks`: newest first, with a cursor to go on."""
        rows = self.reader.list_tasks(wanted)
        shaped: list[Any] = []
        room = LIST_BYTES_MAX
        for task in rows:
            record = self._record(task)
            room -= len(bytes(record))
            if room < 0 and shaped:  # the rest is on the next page
                break
            shaped.append(record)
        is_more = len(rows) == wanted.limit or len(shaped) < len(rows)
        last = rows[len(shaped) - 1] if shaped else None
        return TasksAnswer(shaped, f"{last.queued_at}~{last.id}" if last and is_more else UNSET)

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

    def _result(self, task_id: str) -> ResultJson | None:
        rows = self.reader.load_many(Result, (task_id,))
        return result_json(rows[0]) if rows else None

    def _record(self, task: Task, shape: type[TaskRecord] = TaskRecord, **more: Any) -> Raw:
        if task.finished_at:
            more["result"] = self._result(task.id) or ResultJson()
        attempts = attempts_of(task, self.reader.find(LAST_ATTEMPTS_OF, task.id, limit=ATTEMPTS_MAX)[::-1])
        return record_json(task, self._spec(task.id), attempts, shape, **more)

    # ---- daemons

    def daemons(self, after: str = "") -> DaemonsAnswer:
        """`GET /api/daemons`: by id, with a cursor to go on."""
        found, last = daemons_that_fit(self.reader, after)
        return DaemonsAnswer([self.daemon_as(daemon, DaemonJson) for daemon in found], if_any(last))

    def daemon(self, daemon_id: str) -> OneDaemon:
        """`GET /api/daemons/{id}`."""
        found = self.reader.load_many(Daemon, (daemon_id,))
        if not found:
            raise NotFoundError("Daemon not found")
        directives = self.reader.find(DIRECTIVES_OF, daemon_id, limit=DIRECTIVES_SHOWN)
        return self.daemon_as(found[0], OneDaemon, directives=if_any([directive_json(row) for row in directives]))

    def daemon_as(self, daemon: Daemon, shape: type[D], **more: Any) -> D:
        """A daemon in one of the shapes of the wire; `more` are further fields of that shape."""
        limits, now = limits_of(daemon, self.policy), self.now
        is_quiet = daemon.deadline_h and (daemon.paused or is_planned(daemon))
        trouble = trouble_said(daemon) if daemon.state == "stuck" else None
        return shape(
            daemon_id=daemon.id,
            state=daemon.state,
            last_seen_at=iso(daemon.last_seen_at) if daemon.last_seen_at else None,
            silent_for_sec=max(now.h - daemon.last_seen_h, 0) / 1000,
            late_at=iso(at_wall(now, late_deadline(daemon, limits, now))),
            down_at=iso(at_wall(now, down_deadline(daemon, limits, now))),
            interval_sec=daemon.interval_ms / 1000 or None,
            version=daemon.version,
            boot_id=daemon.boot_id,
            machine_id=daemon.machine_id,
            capacity=daemon.capacity,
            provides=as_stored(daemon.provides),
            running=as_stored(daemon.running),
            loops=as_stored(daemon.loops),
            auth=as_stored(daemon.auth),
            settings=settings_json(daemon),
            since_at=iso(daemon.since_at),
            reason=if_any(daemon.reason),
            quiet_until=iso(at_wall(now, daemon.deadline_h)) if is_quiet else UNSET,
            stuck=stuck_json(trouble) if trouble is not None else UNSET,
            incident_id=if_any(daemon.incident_id),
            **more,
        )

    def old_health(self) -> OldHealthAnswer:
        """`GET /api/daemon/health`: reading changes nothing."""
        active: list[OldStatusJson] = []
        stale: list[OldStatusJson] = []
        total_active = left_out = 0
        room = LIST_BYTES_MAX
        for daemon in each_daemon(self.reader):
            is_stale = _is_stale(daemon, self.policy, self.now)
            total_active += not is_stale
            room -= size_of(daemon)
            if room >= 0:
                (stale if is_stale else active).append(old_status_json(daemon))
            else:
                left_out += 1
        return OldHealthAnswer(active, stale, total_active, if_any(left_out))

    # ---- the rest

    def events(self, wanted: EventFilter, live: list[StoredEvent]) -> EventsAnswer:
        """`GET /api/events`: stored ones, and live-only ones of the same stretch when asked for."""
        found = self.reader.list_events(wanted)
        stored, lines = _last_of_both(found, live, wanted.limit)
        shown = sorted((*stored, *lines), key=_order) if lines else stored
        is_more = stored and (len(stored) < len(found) or len(found) == wanted.limit)
        return EventsAnswer([_event(row, self.redactor) for row in shown], str(stored[0].id) if is_more else UNSET)

    def incidents(self, before_at: int, before_id: str, limit: int) -> IncidentsAnswer:
        """`GET /api/incidents`: newest first."""
        if before_id:
            rows = self.reader.find(INCIDENTS_BEFORE, before_at, before_id, limit=limit)
        else:
            rows = self.reader.find(INCIDENTS, limit=limit)
        more = f"{rows[-1].opened_at}~{rows[-1].id}" if len(rows) == limit else UNSET
        return IncidentsAnswer([incident_json(row) for row in rows], more)

    # ---- notices

    def notices(self, state: str, before_at: int, before_id: str, limit: int) -> NoticesAnswer:
        """`GET /api/notices`: newest first."""
        if state:
            rows = self.reader.find(NOTICES_IN, state, before_at if before_id else NEVER, before_id, limit=limit)
        elif before_id:
            rows = self.reader.find(NOTICES_BEFORE, before_at, before_id, limit=limit)
        else:
            rows = self.reader.find(NOTICES, limit=limit)
        more = f"{rows[-1].created_at}~{rows[-1].id}" if len(rows) == limit else UNSET
        return NoticesAnswer([notice_json(row) for row in rows], more)

    def notice(self, notice_id: str) -> NoticeJson:
        """`GET /api/notices/{id}`."""
        found = self.reader.load_many(Notice, (notice_id,))
        if not found:
            raise NotFoundError("Notice not found")
        return notice_json(found[0])

    def channels(self) -> ChannelsAnswer:
        """`GET /api/channels`: those that are configured, and those that still have something to send or dead."""
        backlogs = {backlog.channel: backlog for backlog in self.reader.backlogs(self.now.wall)}
        names = [*self.policy.routes.channels, *sorted(set(backlogs) - set(self.policy.routes.channels))]
        return ChannelsAnswer([self._channel(name, backlogs.get(name)) for name in names])

    def _channel(self, name: str, backlog: Backlog | None) -> ChannelJson:
        is_configured = name in self.policy.routes.channels
        if backlog is None:
            return ChannelJson(name, is_configured, 0, 0, 0)
        oldest_s = max(self.now.wall - backlog.oldest_at, 0) / 1000 if backlog.oldest_at else 0
        return ChannelJson(name, is_configured, backlog.waiting, oldest_s, backlog.dead, if_any(backlog.last_error))

    def outbox_oldest_s(self) -> float:
        """The wait of the oldest notice that is due, in s; 0: none waits."""
        at = self.reader.oldest_notice_at(self.now.wall)
        return max(self.now.wall - at, 0) / 1000 if at else 0

    def deployments(self) -> DeploymentsAnswer:
        """`GET /api/deployments`: every start of a hub, newest first."""
        rows = self.reader.find(DEPLOYMENTS, limit=DEPLOYMENTS_MAX)
        return DeploymentsAnswer([self._deployment(row) for row in rows])

    def hubs(self) -> list[DeploymentJson]:
        """The hubs that run now, the newest first."""
        seen = self.reader.find(HUBS_SEEN, *starts.lately(self.now.wall), limit=DEPLOYMENTS_MAX)
        rows = {row.version_id: row for row in (*seen, *self.reader.load_many(Deployment, (self.start_id,)))}
        newest_first = sorted(rows.values(), key=lambda row: (row.created_at, row.version_id), reverse=True)
        return [self._deployment(row) for row in newest_first]

    def _deployment(self, row: Deployment) -> DeploymentJson:
        is_running = row.version_id == self.start_id or starts.is_running(row, self.now.wall)
        return deployment_json(row, is_running=is_running)

    def keys(self) -> KeysAnswer:
        """`GET /api/keys`: without their secrets."""
        return KeysAnswer([key_json(key) for key in listed_keys(self.reader)])

    def sessions(self) -> SessionsAnswer:
        """`GET /api/sessions`: without their secrets."""
        return SessionsAnswer([session_json(row) for row in self.reader.find(SESSIONS, limit=SESSIONS_MAX)])

    def context(self, user_id: str, channel: str, tokens_max: int, chars_max: int) -> ContextAnswer:
        """`GET /api/memory/context/{userId}`."""
        room = min(tokens_max * CHARS_A_TOKEN, chars_max + 1)
        conversation, part, limit = ("", user_id, channel), Part(room + 1, room), MEMORY_READ_MAX
        lines = lines_that_fit(self.reader.last_said(conversation, part, limit), tokens_max, chars_max)
        while len(lines) == limit:  # all of them were short: more may fit
            limit *= 4
            lines = lines_that_fit(self.reader.last_said(conversation, part, limit), tokens_max, chars_max)
        return ContextAnswer("\n".join(reversed(lines)), user_id)

    def history(self, user_id: str, channel: str, limit: int) -> HistoryAnswer:
        """`GET /api/memory/history/{userId}`: oldest first; the metadata is not shown, nor read."""
        part = Part(MEMORY_CONTENT_BYTES_MAX, limit * MEMORY_CONTENT_BYTES_MAX)
        messages = self.reader.last_said(("", user_id, channel), part, limit)
        return HistoryAnswer([message_json(message) for message in reversed(messages)], len(messages))


def _is_stale(daemon: Daemon, policy: Policy, now: Now) -> bool:
    silent = now.h >= late_deadline(daemon, limits_of(daemon, policy), now)
    return daemon.state in ("late", "down", "stopped") or silent


def _last_of_both(
    stored: list[StoredEvent], live: list[StoredEvent], limit: int
) -> tuple[list[StoredEvent], list[StoredEvent]]:
    """The stored and the live-only ones among the last of both.

    At least one is stored, if any is: the next page goes on before the first one of them, so none is left out.
    """
    last = sorted((*stored, *live), key=_order)[-limit:]
    lines = [row for row in last if row.event.live_only]
    if stored and len(lines) == limit:
        del lines[0]
    return stored[len(stored) - (len(last) - len(lines)) :], lines


def _order(row: StoredEvent) -> tuple[int, int]:
    return row.event.at, row.id


def _event(stored: StoredEvent, redactor: Redactor) -> EventJson:
    return event_json(stored.id, stored.event, redactor)


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
