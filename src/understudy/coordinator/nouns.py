"""The nouns of the hub as frozen values; each is one row of the store.

Suffixes: `_at` wall clock, ms since the epoch; `_h` hearing time in ms (see hearing.py); `_ms` durations.
Text fields are "" and numbers 0 where there is nothing: rows stay flat and comparable. `rename` keeps the older name of
a column whose field has a new name.
"""

from __future__ import annotations

from msgspec import Struct

from understudy.coordinator.routes import Routes
from understudy.coordinator.takeover_nouns import TakeoverPolicy

QUEUED, LEASED, DONE, FAILED, CANCELLED = "queued", "leased", "done", "failed", "cancelled"
FINISHED = frozenset({DONE, FAILED, CANCELLED})
# Flags of a lease. NAMED: the daemon has confirmed it (a heartbeat or renewal carried its token).
# BEGUN: the task was reserved for a machine when it was claimed, so an earlier attempt had started.
NAMED, BEGUN = 1, 2


class Flat(Struct, frozen=True, gc=False):
    """A value of texts, numbers and bytes alone: it leads to no other object, so it can be in no cycle.

    The garbage collector need not follow it (`gc`), which matters for what a batch makes by the thousand: the rows of
    this module and `Now` derive from it. The rows of takeover and the samples are few.
    """


class Now(Flat, frozen=True):
    """The time of a transaction: `wall` for people, `h` for deadlines, `resumed_h` when hearing resumed."""

    wall: int
    h: int
    resumed_h: int = 0


class Policy(Struct, frozen=True):
    """The owner's decisions for a hub (docs/configuration.md)."""

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


class Hearing(Flat, frozen=True):
    """The time that a hub could hear: one row (docs/adr/0006-hearing-time.md)."""

    id: int = 1
    heard_at: int = 0
    gaps_ms: int = 0
    resumed_h: int = 0
    idle: int = 1
    suspect_h: int = 0
    moved_ms: int = 0  # the sum of all jumps of the wall clock that pauses were moved by (coordinator/jumps.py)
    promised_at: int = 0  # the instant until which a hub sleeps on purpose, wall time; 0: it never does
    unsure_h: int = 0  # until then nothing is removed for its age (coordinator/jumps.py)


class Task(Flat, frozen=True, rename={"is_legacy": "is_old_way", "lease_flags": "is_named"}):
    """A task and its latest lease: the narrow row that every rule works on."""

    id: str  # chosen by the submitter, or made by the hub
    status: str = QUEUED  # queued, leased, done, failed or cancelled
    ready: int = 1  # 1: claimable now by a worker that covers its needs; 0: leased, finished, delayed or reserved
    waiting_for: str = ""  # the only daemon that may claim it; "": any
    needs: str = '["machine"]'  # tags as sorted JSON, so that equal sets are equal texts; "[]": any worker can do it
    order_key: int = 0  # place in the queue, in µs: 1000 × (queued_at − a head start by priority) + a counter
    priority: str = "medium"  # critical, high, medium or low
    source: str = ""  # the kind of place it comes from, as its submitter names it; "": not given
    submitter: str = ""  # name of the key it was submitted with
    dedup_key: str = ""  # a second task with it and the same submitter is this one; "": none
    body_hash: str = ""  # SHA-256 of what was submitted, hex: tells a repetition from another task with the same id
    queued_at: int = 0  # wall
    updated_at: int = 0  # wall, of its last change; a renewal does not count
    available_at: int = 0  # wall: not claimable before; a delay or a backoff
    finished_at: int = 0  # wall; 0: not finished
    on_loss: str = ""  # requeue, wait or ask, as submitted; "": as the claim says
    takeover: str = "allow"  # allow: the hub may answer it; never: it may not
    max_attempts: int = 1  # results without success after which it fails
    timeout_ms: int = 3_600_000  # how long one run may take
    attempts: int = 0  # results without success so far
    losses: int = 0  # leases that ended without a result so far
    note: str = ""  # status text set by a legacy client, or by the hub; "": none
    channel: str = ""  # of its conversation, not of notices; "": it belongs to none
    user_id: str = ""  # of its conversation; "": it belongs to none
    # The latest lease. It stays readable after its end, because a late result is judged by it.
    token: int = 0  # fencing token of the latest lease; 0: never leased
    worker_id: str = ""  # who holds or held it; "": never leased
    daemon_id: str = ""  # the daemon of that worker; "": a legacy client, or the hub itself
    boot_id: str = ""  # the boot that claimed it; "": a legacy client, or the hub itself
    request_id: str = ""  # of the claim, so that a repeated claim gets the same lease; "": none
    lease_on_loss: str = ""  # requeue, wait or ask, as decided when it was claimed
    is_legacy: int = 0  # 1: claimed without a token, by a legacy client (docs/contract.md, section 3)
    lease_flags: int = 0  # flags of the lease: NAMED | BEGUN
    claimed_at: int = 0  # wall; 0: never
    renewed_at: int = 0  # wall; 0: not renewed since it was claimed
    expires_h: int = 0  # the lease is held while now.h is less
    duration_ms: int = 0  # what each renewal gives
    hard_end_h: int = 0  # no renewal goes beyond: claim + timeout_ms + overtime
    ended: str = ""  # "" while held or never leased, else an outcome of Attempt
    reply_to: str = ""  # where its answer goes, as JSON: channel, chat, thread; "": the default place
    memory_of: str = ""  # whose memory its conversation is in: the submitter's own, or "" for the one that all share
    size_bytes: int = 0  # what it takes of the share of its key

    @property
    def conversation(self) -> tuple[str, str, str]:
        """(owner, user, channel): under this its memory is kept."""
        return self.memory_of, self.user_id, self.channel


class Usage(Flat, frozen=True):
    """The part of its share that a key has used; each batch adds its changes."""

    submitter: str
    open_tasks: int = 0  # queued or leased
    size_bytes: int = 0  # of all its tasks that are kept


class TaskBody(Flat, frozen=True):
    """The task as submitted, as JSON text; never rewritten."""

    task_id: str
    spec: str


class Attempt(Flat, frozen=True):
    """One lease of a task that has ended, kept as long as the task; the running one is in the row of its task."""

    task_id: str
    token: int
    worker_id: str
    daemon_id: str
    boot_id: str
    claimed_at: int
    ended_at: int = 0
    outcome: str = ""  # done|failed|blocked|timed_out|expired|released|lost|cancelled


class Result(Flat, frozen=True):
    """The end of a task; JSON texts where the worker may send anything."""

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


class Progress(Flat, frozen=True):
    """The last word of a run on its way, and what the next attempt may start from."""

    task_id: str
    token: int
    at: int
    progress: str = ""
    checkpoint: str = ""


class Evidence(Flat, frozen=True):
    """A report that came too late to count, kept for the owner."""

    id: str
    task_id: str
    token: int
    worker_id: str
    at: int
    reason: str
    body: str


class Daemon(Flat, frozen=True, rename={"interval_reported": "interval_told"}):
    """A watched machine: who it is, what it last said, how it is."""

    id: str  # chosen by its owner
    state: str = "new"  # new, healthy, late, down, stuck, asleep, paused, draining or stopped
    reason: str = ""  # why it is in this state, in words or as `planned`, `stopped`, `expected`; "": nothing to add
    machine_id: str = ""  # the machine that the id is bound to; "": a legacy client names none
    boot_id: str = ""  # its current start; "": a legacy client names none
    seq: int = 0  # number of the latest heartbeat of this boot: a smaller one came late and renews nothing
    version: str = ""  # of its program, as it says; "": not said
    interval_ms: int = 0  # between its heartbeats, as it announces; 0: not said
    capacity: int = 1  # runs at once
    capabilities: str = "[]"  # tags as JSON, of a legacy client
    provides: str = '["machine"]'  # tags as JSON
    running: str = "[]"  # its runs as JSON, as the last heartbeat named them
    loops: str = "{}"  # its loops as JSON: how long ago each made progress, and its limit
    auth: str = "{}"  # its executors as JSON: name → state of the login
    poll_interval_ms: int = 0  # of a legacy client; 0: none
    registered_at: int = 0  # wall, of a legacy registration; 0: never registered, it only sends heartbeats
    registered_as: str = ""  # the instant that a legacy client itself named, ISO 8601
    said_status: str = ""  # healthy, degraded or unhealthy, as a legacy client reports it
    tasks_processed: int = 0  # as a legacy client reports it
    current_task: str = ""  # as a legacy client reports it; "": none
    last_heartbeat: str = ""  # ISO 8601: of a legacy client as it says, else when it was received
    first_seen_at: int = 0  # wall
    last_seen_at: int = 0  # wall, of its last sign of life; 0: never
    last_seen_h: int = 0  # the same in hearing time: silence is counted from here
    since_at: int = 0  # wall, of its last change of state
    deadline_h: int = 0  # the next look at its health; 0: none
    late_after_ms: int = 0  # its own limit of silence; 0: the hub's
    down_after_ms: int = 0  # its own limit of silence; 0: the hub's
    expected_sleep: str = "[]"  # daily windows as JSON in which it may sleep
    paused: int = 0  # 1: its owner takes it out of work and of judgement
    incident_id: str = ""  # of its silence; "": it is not silent
    slept_ms: int = 0  # how long its machine slept between its last two heartbeats
    interval_reported: int = 0  # the interval in ms that `daemon.stretched` was reported for; 0: never
    beats: bytes = b""  # the last 120 distances between signs of life, 16 bits each, in tenths of a second
    open_directives: int = 0  # how many; a heartbeat of a daemon without any loads none
    restarting_at: int = 0  # wall, of the last `daemon.restarting`; 0: never


class Directive(Flat, frozen=True):
    """An owner's order to one daemon (coordinator/directives.py)."""

    id: str
    daemon_id: str
    kind: str
    arguments: str = "{}"  # what the daemon needs to do it, as JSON: version, wheel, sha256
    state: str = "asked"
    detail: str = ""  # how it ended, in words
    asked_by: str = ""
    asked_at: int = 0
    expires_h: int = 0  # 0 once it has ended
    boot_id: str = ""  # the start of the daemon that got it
    ended_at: int = 0


class Boot(Flat, frozen=True):
    """A start of a daemon that another start has taken the place of: it never becomes current again."""

    daemon_id: str
    boot_id: str
    superseded_at: int


class Incident(Flat, frozen=True):
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


class Period(Flat, frozen=True):
    """A stretch of time in one state of health: timelines come from these, not from beats."""

    daemon_id: str  # "": a gap of the hub itself, in the state `unknown`
    from_at: int  # wall
    state: str
    to_at: int = 0  # wall; 0: it lasts


class Key(Flat, frozen=True):
    """An API key; the secret itself is never stored, only its SHA-256."""

    id: str
    name: str
    hash: str
    scopes: str
    created_at: int
    revoked_at: int = 0
    rotated_to: str = ""
    lineage: str = ""  # the first key that this one descends from by rotation: tasks and conversations are its


class Memory(Flat, frozen=True):
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


class Deployment(Flat, frozen=True):
    """One start of a hub."""

    version_id: str
    created_at: int
    package_version: str
    config_fingerprint: str
    host: str
    name: str = ""  # of the hub
    seen_at: int = 0  # when it last said that it runs
    ended_at: int = 0  # in order; 0: it runs, or was killed


class Notice(Flat, frozen=True, rename={"channel": "target"}):
    """One message on its way to one channel, committed with what it tells (the outbox)."""

    id: str  # a hash of its cause and channel; a receiver knows a repetition by it
    channel: str  # the channel's name
    kind: str  # notice, progress, answer or test
    cause: str  # the name of its event, or reminder, digest, flapping, storm, progress, test
    level: str = "info"  # info, warning, critical or recovered
    incident_id: str = ""  # of the silence that it is about, or `stuck:…`; "": none
    task_id: str = ""  # of the task that it is about; "": none
    daemon_id: str = ""  # of the daemon that it is about; "": none
    facts: str = "{}"  # what its text is made of, as JSON
    chat: str = ""  # of an answer: in place of the channel's own; "": the channel's own
    thread: str = ""  # of an answer: the thread it goes into; "": none
    state: str = "waiting"  # waiting, sent, dead (given up) or folded (said by another one, or over)
    attempts: int = 0  # tries so far
    next_at: int = 0  # wall: not sent before
    due_at: int = 0  # wall: when it was first to be sent; given up 36 h later
    taken_until: int = 0  # wall: a hub is sending it until then; 0: none is
    part: int = 0  # how many of its parts have arrived
    ref: str = ""  # of the message at the service, for edits and threads; "": not sent, or the service gives none
    last_error: str = ""  # why the last try failed, or why it was folded; "": it did not
    folded_into: str = ""  # the notice that says it as well; "": none
    created_at: int = 0  # wall
    sent_at: int = 0  # wall; 0: not sent


class Session(Flat, frozen=True):
    """A browser that is logged in; the secret in its cookie is never stored, only its SHA-256."""

    id: str
    hash: str
    key_id: str  # the key it was made with, or `user:NAME` of a proxy in front
    key_mark: str  # the beginning of the hash of a key of the environment, which may change and keep its name; else ""
    owner: str  # of the tasks and conversations that it submits: the owner of that key's
    scopes: str
    browser: str  # what the browser calls itself, cut
    created_at: int
    seen_at: int  # wall, of its last request, to the minute
    expires_at: int
    ended_at: int = 0  # wall, of its logout; 0: it has not ended


class Link(Flat, frozen=True):
    """A link that acts; the secret in it is never stored, only its SHA-256."""

    hash: str
    purpose: str  # acknowledge | snooze | read | login
    subject: str
    created_at: int  # wall; of a link to an answer: when its task was queued
    expires_at: int
    used_at: int = 0
