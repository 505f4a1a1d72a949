-- The first schema. Columns are the fields of coordinator/nouns.py, in their order.
-- Checks say OR, not IN: SQLite builds a table for each IN anew with every row (measured: half of an update's cost).
CREATE TABLE hearing (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    heard_at INTEGER NOT NULL, gaps_ms INTEGER NOT NULL, resumed_h INTEGER NOT NULL,
    idle INTEGER NOT NULL, suspect_h INTEGER NOT NULL
);
INSERT INTO hearing VALUES (1, 0, 0, 0, 1, 0);

CREATE TABLE task (
    id TEXT PRIMARY KEY,
    status TEXT NOT NULL CHECK (status = 'queued' OR status = 'leased' OR status = 'done' OR status = 'failed' OR status = 'cancelled'),
    ready INTEGER NOT NULL CHECK (ready = 0 OR ready = 1),
    waiting_for TEXT NOT NULL, needs TEXT NOT NULL, order_key INTEGER NOT NULL,
    priority TEXT NOT NULL, source TEXT NOT NULL, submitter TEXT NOT NULL,
    dedup_key TEXT NOT NULL, body_hash TEXT NOT NULL,
    queued_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, available_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    on_loss TEXT NOT NULL, takeover TEXT NOT NULL, max_attempts INTEGER NOT NULL, timeout_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL, losses INTEGER NOT NULL, note TEXT NOT NULL,
    channel TEXT NOT NULL, user_id TEXT NOT NULL,
    token INTEGER NOT NULL, worker_id TEXT NOT NULL, daemon_id TEXT NOT NULL, boot_id TEXT NOT NULL,
    request_id TEXT NOT NULL, lease_on_loss TEXT NOT NULL, is_old_way INTEGER NOT NULL, is_named INTEGER NOT NULL,
    claimed_at INTEGER NOT NULL, renewed_at INTEGER NOT NULL, expires_h INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL, hard_end_h INTEGER NOT NULL, ended TEXT NOT NULL,
    CHECK (ready = 0 OR (status = 'queued' AND waiting_for = '')),
    CHECK (waiting_for = '' OR status = 'queued'),
    CHECK ((finished_at > 0) = (status = 'done' OR status = 'failed' OR status = 'cancelled')),
    CHECK (status <> 'leased' OR (token > 0 AND expires_h > 0 AND ended = ''))
);
CREATE INDEX task_by_needs ON task (needs, order_key, id) WHERE ready = 1;
CREATE INDEX task_by_order ON task (order_key, id) WHERE ready = 1;
CREATE INDEX task_waiting ON task (waiting_for) WHERE waiting_for <> '';
CREATE INDEX task_expiring ON task (expires_h) WHERE status = 'leased';
CREATE INDEX task_held ON task (daemon_id) WHERE status = 'leased';
CREATE INDEX task_requested ON task (request_id) WHERE status = 'leased' AND request_id <> '';
CREATE INDEX task_delayed ON task (available_at) WHERE status = 'queued' AND ready = 0 AND waiting_for = '';
CREATE UNIQUE INDEX task_dedup ON task (submitter, dedup_key) WHERE dedup_key <> '';
CREATE INDEX task_dedup_finished ON task (finished_at) WHERE dedup_key <> '' AND finished_at > 0;
CREATE INDEX task_finished ON task (finished_at) WHERE finished_at > 0;
CREATE INDEX task_listed ON task (queued_at, id);

CREATE TABLE task_body (task_id TEXT PRIMARY KEY, spec TEXT NOT NULL);
CREATE TABLE attempt (
    task_id TEXT NOT NULL, token INTEGER NOT NULL, worker_id TEXT NOT NULL, daemon_id TEXT NOT NULL,
    boot_id TEXT NOT NULL, claimed_at INTEGER NOT NULL, ended_at INTEGER NOT NULL, outcome TEXT NOT NULL,
    PRIMARY KEY (task_id, token)
) WITHOUT ROWID;
CREATE TABLE result (
    task_id TEXT PRIMARY KEY, success INTEGER NOT NULL, output TEXT NOT NULL, error TEXT NOT NULL,
    failure TEXT NOT NULL, usage TEXT NOT NULL, duration_ms INTEGER NOT NULL, executor TEXT NOT NULL,
    degraded INTEGER NOT NULL, cost_micro_usd INTEGER NOT NULL, token INTEGER NOT NULL, at INTEGER NOT NULL
);
CREATE TABLE progress (
    task_id TEXT PRIMARY KEY, token INTEGER NOT NULL, at INTEGER NOT NULL, progress TEXT NOT NULL,
    checkpoint TEXT NOT NULL
);
CREATE TABLE evidence (
    id TEXT PRIMARY KEY, task_id TEXT NOT NULL, token INTEGER NOT NULL, worker_id TEXT NOT NULL,
    at INTEGER NOT NULL, reason TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX evidence_of_task ON evidence (task_id);
CREATE INDEX evidence_by_age ON evidence (at);

CREATE TABLE daemon (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, reason TEXT NOT NULL, machine_id TEXT NOT NULL, boot_id TEXT NOT NULL,
    seq INTEGER NOT NULL, version TEXT NOT NULL, interval_ms INTEGER NOT NULL, capacity INTEGER NOT NULL,
    capabilities TEXT NOT NULL, provides TEXT NOT NULL, running TEXT NOT NULL, loops TEXT NOT NULL, auth TEXT NOT NULL,
    poll_interval_ms INTEGER NOT NULL, registered_at INTEGER NOT NULL, registered_as TEXT NOT NULL,
    said_status TEXT NOT NULL, tasks_processed INTEGER NOT NULL, current_task TEXT NOT NULL,
    last_heartbeat TEXT NOT NULL, first_seen_at INTEGER NOT NULL, last_seen_at INTEGER NOT NULL,
    last_seen_h INTEGER NOT NULL, since_at INTEGER NOT NULL, deadline_h INTEGER NOT NULL,
    late_after_ms INTEGER NOT NULL, down_after_ms INTEGER NOT NULL, expected_sleep TEXT NOT NULL,
    paused INTEGER NOT NULL, incident_id TEXT NOT NULL, slept_ms INTEGER NOT NULL, interval_told INTEGER NOT NULL,
    beats BLOB NOT NULL,
    CHECK (state = 'new' OR state = 'healthy' OR state = 'late' OR state = 'down' OR state = 'stuck' OR state = 'asleep' OR state = 'paused' OR state = 'draining' OR state = 'stopped')
);
CREATE INDEX daemon_due ON daemon (deadline_h) WHERE deadline_h > 0;
CREATE TABLE boot (
    daemon_id TEXT NOT NULL, boot_id TEXT NOT NULL, superseded_at INTEGER NOT NULL,
    PRIMARY KEY (daemon_id, boot_id)
) WITHOUT ROWID;
CREATE TABLE incident (
    id TEXT PRIMARY KEY, daemon_id TEXT NOT NULL, state TEXT NOT NULL, opened_at INTEGER NOT NULL,
    late_at INTEGER NOT NULL, late_h INTEGER NOT NULL, down_at INTEGER NOT NULL, recovered_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL, length_ms INTEGER NOT NULL, missed_beats INTEGER NOT NULL,
    acknowledged_by TEXT NOT NULL, acknowledged_at INTEGER NOT NULL, snoozed_until INTEGER NOT NULL,
    slept_ms INTEGER NOT NULL
);
CREATE INDEX incident_by_age ON incident (opened_at, id);
CREATE INDEX incident_by_start ON incident (late_h);
CREATE TABLE period (
    daemon_id TEXT NOT NULL, from_at INTEGER NOT NULL, state TEXT NOT NULL, to_at INTEGER NOT NULL,
    PRIMARY KEY (daemon_id, from_at)
) WITHOUT ROWID;
CREATE INDEX period_by_age ON period (to_at) WHERE to_at > 0;

CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, level TEXT NOT NULL, name TEXT NOT NULL,
    component TEXT NOT NULL, message TEXT NOT NULL, fields TEXT NOT NULL, task_id TEXT NOT NULL,
    daemon_id TEXT NOT NULL
);
CREATE INDEX event_of_task ON event (task_id, id) WHERE task_id <> '';

CREATE TABLE api_key (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL, revoked_at INTEGER NOT NULL, rotated_to TEXT NOT NULL
);
CREATE TABLE memory (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL, channel TEXT NOT NULL, role TEXT NOT NULL, content TEXT NOT NULL,
    source TEXT NOT NULL, metadata TEXT NOT NULL, created_at INTEGER NOT NULL
);
CREATE INDEX memory_of_user ON memory (user_id, created_at, id);
CREATE INDEX memory_by_age ON memory (created_at);
CREATE TABLE deployment (
    version_id TEXT PRIMARY KEY, created_at INTEGER NOT NULL, package_version TEXT NOT NULL,
    config_fingerprint TEXT NOT NULL, host TEXT NOT NULL
);
CREATE INDEX deployment_by_age ON deployment (created_at);
