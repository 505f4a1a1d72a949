"""The nouns of the house as frozen values; each is one row of the store.

Suffixes: `_at` wall clock, ms since the epoch; `_h` hearing time in ms (see hearing.py); `_ms` durations.
Text fields are "" and numbers 0 where there is nothing: rows stay flat and comparable.
"""

from __future__ import annotations

from msgspec import Struct

from understudy.coordinator.routes import Routes
from understudy.coordinator.takeover_nouns import TakeoverPolicy

QUEUED, LEASED, DONE, FAILED, CANCELLED = "queued", "leased", "done", "failed", "cancelled"
FINISHED = frozenset({DONE, FAILED, CANCELLED})
# bits of Task.is_named: a beat or renewal named this lease's token; the task was reserved when it was claimed,
# so work on it has begun under an earlier lease
NAMED, BEGUN = 1, 2


class Now(Struct, frozen=True):
    """The time of a transaction: `wall` for people, `h` for deadlines, `resumed_h` when hearing resumed."""

    wall: int
    h: int
    resumed_h: int = 0


class Policy(Struct, frozen=True):
    """What the owner of a hub decides once for all (docs/configuration.md)."""

    lease_ms: int = 30_000
    late_after_ms: int = 180_000
    down_after_ms: int = 300_000
    losses_max: int = 5
    overtime_ms: int = 60_000
    timeout_s: int = 3600
    heartbeat_interval_ms: int = 10_000
    task_kept_ms: int = 30 * 86_400_000
    event_kept_ms: int = 30 * 86_400_000
    events_max: int = 1_000_000
    store_bytes_max: int = 4 << 30  # beyond it no new tasks and messages are taken
    disk_free_bytes_min: int = 256 << 20  # nor when the disk has less
    key_tasks_max: int = 50_000  # unfinished ones of one key that is not an admin's
    key_bytes_max: int = 2 << 30  # that the tasks of one such key take, finished ones included
    evidence_kept_ms: int = 30 * 86_400_000
    period_kept_ms: int = 400 * 86_400_000
    memory_kept_ms: int = 90 * 86_400_000
    memory_messages_max: int = 1000
    dedup_kept_ms: int = 7 * 86_400_000
    notice_kept_ms: int = 30 * 86_400_000
    routes: Routes = Routes()
    takeover: TakeoverPolicy = TakeoverPolicy()


class Hearing(Struct, frozen=True):
    """How much of the past a hub could hear: one row (docs/adr/0006-hearing-time.md)."""

    id: int = 1
    heard_at: int = 0
    gaps_ms: int = 0
    resumed_h: int = 0
    idle: int = 1
    suspect_h: int = 0


class Task(Struct, frozen=True):
    """A task and its latest lease: the narrow row that every rule works on."""

    id: str
    status: str = QUEUED
    ready: int = 1  # claimable by whoever covers its needs, now
    waiting_for: str = ""  # the only daemon that may claim it
    needs: str = '["machine"]'  # sorted JSON, so that equal sets are equal texts
    order_key: int = 0  # microseconds: order_at × 1000 + a counter, so that equal instants keep their order
    priority: str = "medium"
    source: str = ""
    submitter: str = ""
    dedup_key: str = ""
    body_hash: str = ""
    queued_at: int = 0
    updated_at: int = 0
    available_at: int = 0
    finished_at: int = 0
    on_loss: str = ""
    takeover: str = "allow"
    max_attempts: int = 1
    timeout_ms: int = 3_600_000
    attempts: int = 0
    losses: int = 0
    note: str = ""
    channel: str = ""
    user_id: str = ""
    # the latest lease; it stays readable after its end, because a late result is judged by it
    token: int = 0
    worker_id: str = ""
    daemon_id: str = ""
    boot_id: str = ""
    request_id: str = ""
    lease_on_loss: str = ""
    is_old_way: int = 0
    is_named: int = 0  # NAMED | BEGUN
    claimed_at: int = 0
    renewed_at: int = 0
    expires_h: int = 0
    duration_ms: int = 0
    hard_end_h: int = 0
    ended: str = ""  # "" while held, else how it ended: an outcome of Attempt
    reply_to: str = ""  # where its answer goes: JSON with channel, chat, thread
    memory_of: str = ""  # whose memory its conversation is in: the submitter's own, or "" for the one that all share
    size_bytes: int = 0  # what it takes of its key's share

    @property
    def conversation(self) -> tuple[str, str, str]:
        """(owner, user, channel): under this its memory is kept."""
        return self.memory_of, self.user_id, self.channel


class Usage(Struct, frozen=True):
    """What a key has used of its share; each batch adds to it what it changes."""

    submitter: str
    open_tasks: int = 0  # queued or leased
    size_bytes: int = 0  # of all its tasks that are kept


class TaskBody(Struct, frozen=True):
    """What was enqueued, as JSON text; never rewritten."""

    task_id: str
    spec: str


class Attempt(Struct, frozen=True):
    """One lease of a task, kept for ever (as long as the task)."""

    task_id: str
    token: int
    worker_id: str
    daemon_id: str
    boot_id: str
    claimed_at: int
    ended_at: int = 0
    outcome: str = ""  # done|failed|blocked|timed_out|expired|released|lost|cancelled


class Result(Struct, frozen=True):
    """How a task ended; JSON texts where the worker may send anything."""

    task_id: str
    success: int
    output: str = ""
    error: str = ""
    failure: str = ""
    usage: str = ""
    duration_ms: int = 0
    executor: str = ""
    degraded: int = 0
    cost_micro_usd: int = 0
    token: int = 0
    at: int = 0


class Progress(Struct, frozen=True):
    """The last word of a run on its way, and what the next attempt may start from."""

    task_id: str
    token: int
    at: int
    progress: str = ""
    checkpoint: str = ""


class Evidence(Struct, frozen=True):
    """A report that came too late to count, kept for the owner."""

    id: str
    task_id: str
    token: int
    worker_id: str
    at: int
    reason: str
    body: str


class Daemon(Struct, frozen=True):
    """A watched machine: who it is, what it last said, how it is."""

    id: str
    state: str = "new"
    reason: str = ""
    machine_id: str = ""
    boot_id: str = ""
    seq: int = 0
    version: str = ""
    interval_ms: int = 0  # announced; 0: it never said
    capacity: int = 1
    capabilities: str = "[]"
    provides: str = '["machine"]'
    running: str = "[]"
    loops: str = "{}"
    auth: str = "{}"
    poll_interval_ms: int = 0
    registered_at: int = 0
    registered_as: str = ""  # the instant that an old daemon itself named
    said_status: str = ""
    tasks_processed: int = 0
    current_task: str = ""
    last_heartbeat: str = ""
    first_seen_at: int = 0
    last_seen_at: int = 0
    last_seen_h: int = 0
    since_at: int = 0  # in this state
    deadline_h: int = 0  # the next look at its health; 0: none
    late_after_ms: int = 0  # 0: the hub's
    down_after_ms: int = 0
    expected_sleep: str = "[]"
    paused: int = 0
    incident_id: str = ""
    slept_ms: int = 0
    interval_told: int = 0
    beats: bytes = b""  # the last 120 distances, 16 bits each, tenths of a second
    open_directives: int = 0  # so that a beat of a daemon without any loads none
    restarting_at: int = 0  # when it was last said that it is started too often


class Directive(Struct, frozen=True):
    """What an owner asks of one daemon from afar (coordinator/directives.py)."""

    id: str
    daemon_id: str
    kind: str
    arguments: str = "{}"  # what the daemon needs to do it, as JSON: version, wheel, sha256
    state: str = "asked"
    detail: str = ""  # how it ended, in words
    asked_by: str = ""
    asked_at: int = 0
    expires_h: int = 0  # 0 once it has ended
    boot_id: str = ""  # the start that was told to
    ended_at: int = 0


class Boot(Struct, frozen=True):
    """A start of a daemon that another start has taken the place of: it never becomes current again."""

    daemon_id: str
    boot_id: str
    superseded_at: int


class Incident(Struct, frozen=True):
    """One silence of one daemon, from its warning to its end."""

    id: str
    daemon_id: str
    state: str  # late | down | recovered
    opened_at: int
    late_at: int
    late_h: int = 0
    down_at: int = 0
    recovered_at: int = 0
    last_seen_at: int = 0
    length_ms: int = 0
    missed_beats: int = 0
    acknowledged_by: str = ""
    acknowledged_at: int = 0
    snoozed_until: int = 0
    slept_ms: int = 0


class Period(Struct, frozen=True):
    """A stretch of time in one state of health: timelines come from these, not from beats."""

    daemon_id: str
    from_at: int
    state: str
    to_at: int = 0


class Key(Struct, frozen=True):
    """An API key; the secret itself is never stored, only its SHA-256."""

    id: str
    name: str
    hash: str
    scopes: str
    created_at: int
    revoked_at: int = 0
    rotated_to: str = ""
    lineage: str = ""  # the first key that this one descends from by rotation: tasks and conversations are its


class Memory(Struct, frozen=True):
    """One message of a conversation."""

    id: str
    user_id: str
    channel: str
    role: str
    content: str
    source: str
    metadata: str
    created_at: int
    owner: str = ""  # the lineage of keys that has it for itself; "" for all that may use memory


class Deployment(Struct, frozen=True):
    """One start of a hub."""

    version_id: str
    created_at: int
    package_version: str
    config_fingerprint: str
    host: str


class Notice(Struct, frozen=True):
    """One message on its way to one channel, committed with what it tells (the outbox)."""

    id: str  # made of cause and channel, so it is also the key by which a receiver knows a repetition
    target: str  # the channel's name
    kind: str  # notice | progress | answer | test
    cause: str  # the name of the event that it tells
    level: str = "info"  # info | warning | critical | recovered
    incident_id: str = ""
    task_id: str = ""
    daemon_id: str = ""
    facts: str = "{}"
    chat: str = ""  # instead of the channel's own, for an answer
    thread: str = ""
    state: str = "waiting"  # waiting | sent | dead | folded: told by another one, or not worth telling any more
    attempts: int = 0
    next_at: int = 0
    due_at: int = 0  # when it was first to be sent
    taken_until: int = 0  # a hub is sending it
    part: int = 0  # how many parts of it have arrived
    ref: str = ""  # of the message at the service, for edits and threads
    last_error: str = ""
    folded_into: str = ""
    created_at: int = 0
    sent_at: int = 0


class Link(Struct, frozen=True):
    """A link that acts; the secret in it is never stored, only its SHA-256."""

    hash: str
    purpose: str  # acknowledge | snooze | read
    subject: str
    created_at: int
    expires_at: int
    used_at: int = 0
