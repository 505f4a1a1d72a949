-- The whole schema as of 10. Columns are the fields of the nouns (coordinator/nouns.py); texts are ordered by their bytes, as in SQLite.
CREATE TABLE understudy_schema (
    is_it BOOLEAN PRIMARY KEY DEFAULT true CHECK (is_it), version INTEGER NOT NULL, compatible_from INTEGER NOT NULL
);
INSERT INTO understudy_schema (version, compatible_from) VALUES (10, 10);

CREATE TABLE hearing (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    heard_at BIGINT NOT NULL, gaps_ms BIGINT NOT NULL, resumed_h BIGINT NOT NULL,
    idle BIGINT NOT NULL, suspect_h BIGINT NOT NULL, moved_ms BIGINT NOT NULL
);
INSERT INTO hearing VALUES (1, 0, 0, 0, 1, 0, 0);

CREATE TABLE task (
    id TEXT COLLATE "C" PRIMARY KEY,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('queued', 'leased', 'done', 'failed', 'cancelled')),
    ready BIGINT NOT NULL CHECK (ready = 0 OR ready = 1),
    waiting_for TEXT COLLATE "C" NOT NULL, needs TEXT COLLATE "C" NOT NULL, order_key BIGINT NOT NULL,
    priority TEXT COLLATE "C" NOT NULL, source TEXT COLLATE "C" NOT NULL, submitter TEXT COLLATE "C" NOT NULL,
    dedup_key TEXT COLLATE "C" NOT NULL, body_hash TEXT COLLATE "C" NOT NULL,
    queued_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, available_at BIGINT NOT NULL,
    finished_at BIGINT NOT NULL,
    on_loss TEXT COLLATE "C" NOT NULL, takeover TEXT COLLATE "C" NOT NULL,
    max_attempts BIGINT NOT NULL, timeout_ms BIGINT NOT NULL,
    attempts BIGINT NOT NULL, losses BIGINT NOT NULL, note TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL, user_id TEXT COLLATE "C" NOT NULL,
    token BIGINT NOT NULL, worker_id TEXT COLLATE "C" NOT NULL, daemon_id TEXT COLLATE "C" NOT NULL,
    boot_id TEXT COLLATE "C" NOT NULL, request_id TEXT COLLATE "C" NOT NULL,
    lease_on_loss TEXT COLLATE "C" NOT NULL, is_old_way BIGINT NOT NULL, is_named BIGINT NOT NULL,
    claimed_at BIGINT NOT NULL, renewed_at BIGINT NOT NULL, expires_h BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL, hard_end_h BIGINT NOT NULL, ended TEXT COLLATE "C" NOT NULL,
    reply_to TEXT COLLATE "C" NOT NULL, memory_of TEXT COLLATE "C" NOT NULL, size_bytes BIGINT NOT NULL,
    CHECK (ready = 0 OR (status = 'queued' AND waiting_for = '')),
    CHECK (waiting_for = '' OR status = 'queued'),
    CHECK ((finished_at > 0) = (status IN ('done', 'failed', 'cancelled'))),
    CHECK (status <> 'leased' OR (token > 0 AND expires_h > 0 AND ended = ''))
) WITH (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.05
);
CREATE INDEX task_by_order ON task (order_key, id) WHERE ready = 1;
-- After the one above: of two that cost the same, as in an empty table, PostgreSQL takes the later one.
CREATE INDEX task_by_needs ON task (needs, order_key, id) WHERE ready = 1;
CREATE INDEX task_waiting ON task (waiting_for) WHERE waiting_for <> '';
-- No condition of an index follows from that of another: PostgreSQL would take any of them for a few leased tasks,
-- and read through all that vacuum has not yet removed from it.
CREATE INDEX task_expiring ON task (expires_h) WHERE status = 'leased' AND expires_h > 0;
CREATE INDEX task_held ON task (daemon_id) WHERE status = 'leased' AND daemon_id <> '';
CREATE INDEX task_requested ON task (request_id) WHERE status = 'leased' AND request_id <> '';
CREATE INDEX task_delayed ON task (available_at) WHERE status = 'queued' AND ready = 0 AND waiting_for = '';
CREATE UNIQUE INDEX task_dedup ON task (submitter, dedup_key) WHERE dedup_key <> '';
CREATE INDEX task_dedup_finished ON task (finished_at) WHERE dedup_key <> '' AND finished_at > 0;
CREATE INDEX task_finished ON task (finished_at) WHERE finished_at > 0;
CREATE INDEX task_listed ON task (queued_at, id);
CREATE INDEX task_open_needs ON task (needs) WHERE status IN ('queued', 'leased') AND needs <> '';

-- What each key has used of its share; a task that is removed takes its own part away by itself.
CREATE TABLE usage (
    submitter TEXT COLLATE "C" PRIMARY KEY, open_tasks BIGINT NOT NULL, size_bytes BIGINT NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
CREATE FUNCTION understudy_task_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE usage SET
        open_tasks = open_tasks - (CASE WHEN old.status IN ('queued', 'leased') THEN 1 ELSE 0 END),
        size_bytes = size_bytes - old.size_bytes
    WHERE submitter = old.submitter;
    RETURN NULL;
END $$;
CREATE TRIGGER task_removed AFTER DELETE ON task FOR EACH ROW EXECUTE FUNCTION understudy_task_removed();

CREATE TABLE task_body (
    task_id TEXT COLLATE "C" PRIMARY KEY, spec TEXT COLLATE "C" NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);
-- The instant that a task's submitter named; of what is no JSON, none.
CREATE FUNCTION understudy_named_instant(spec TEXT) RETURNS TEXT LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN spec::json ->> 'availableAt';
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;
CREATE TABLE attempt (
    task_id TEXT COLLATE "C" NOT NULL, token BIGINT NOT NULL, worker_id TEXT COLLATE "C" NOT NULL,
    daemon_id TEXT COLLATE "C" NOT NULL, boot_id TEXT COLLATE "C" NOT NULL, claimed_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL, outcome TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (task_id, token)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);
CREATE TABLE result (
    task_id TEXT COLLATE "C" PRIMARY KEY, success BIGINT NOT NULL, output TEXT COLLATE "C" NOT NULL,
    error TEXT COLLATE "C" NOT NULL, failure TEXT COLLATE "C" NOT NULL, usage TEXT COLLATE "C" NOT NULL,
    duration_ms BIGINT NOT NULL, executor TEXT COLLATE "C" NOT NULL, degraded BIGINT NOT NULL,
    cost_micro_usd BIGINT NOT NULL, token BIGINT NOT NULL, at BIGINT NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);
CREATE TABLE progress (
    task_id TEXT COLLATE "C" PRIMARY KEY, token BIGINT NOT NULL, at BIGINT NOT NULL,
    progress TEXT COLLATE "C" NOT NULL, checkpoint TEXT COLLATE "C" NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE evidence (
    id TEXT COLLATE "C" PRIMARY KEY, task_id TEXT COLLATE "C" NOT NULL, token BIGINT NOT NULL,
    worker_id TEXT COLLATE "C" NOT NULL, at BIGINT NOT NULL, reason TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL
);
CREATE INDEX evidence_of_task ON evidence (task_id);
CREATE INDEX evidence_by_age ON evidence (at);

CREATE TABLE daemon (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN (
        'new', 'healthy', 'late', 'down', 'stuck', 'asleep', 'paused', 'draining', 'stopped')),
    reason TEXT COLLATE "C" NOT NULL, machine_id TEXT COLLATE "C" NOT NULL, boot_id TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL, version TEXT COLLATE "C" NOT NULL, interval_ms BIGINT NOT NULL, capacity BIGINT NOT NULL,
    capabilities TEXT COLLATE "C" NOT NULL, provides TEXT COLLATE "C" NOT NULL, running TEXT COLLATE "C" NOT NULL,
    loops TEXT COLLATE "C" NOT NULL, auth TEXT COLLATE "C" NOT NULL, poll_interval_ms BIGINT NOT NULL,
    registered_at BIGINT NOT NULL, registered_as TEXT COLLATE "C" NOT NULL, said_status TEXT COLLATE "C" NOT NULL,
    tasks_processed BIGINT NOT NULL, current_task TEXT COLLATE "C" NOT NULL,
    last_heartbeat TEXT COLLATE "C" NOT NULL, first_seen_at BIGINT NOT NULL, last_seen_at BIGINT NOT NULL,
    last_seen_h BIGINT NOT NULL, since_at BIGINT NOT NULL, deadline_h BIGINT NOT NULL,
    late_after_ms BIGINT NOT NULL, down_after_ms BIGINT NOT NULL, expected_sleep TEXT COLLATE "C" NOT NULL,
    paused BIGINT NOT NULL, incident_id TEXT COLLATE "C" NOT NULL, slept_ms BIGINT NOT NULL,
    interval_told BIGINT NOT NULL, beats BYTEA NOT NULL, open_directives BIGINT NOT NULL,
    restarting_at BIGINT NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX daemon_due ON daemon (deadline_h) WHERE deadline_h > 0;
CREATE TABLE boot (
    daemon_id TEXT COLLATE "C" NOT NULL, boot_id TEXT COLLATE "C" NOT NULL, superseded_at BIGINT NOT NULL,
    PRIMARY KEY (daemon_id, boot_id)
);
CREATE TABLE incident (
    id TEXT COLLATE "C" PRIMARY KEY, daemon_id TEXT COLLATE "C" NOT NULL, state TEXT COLLATE "C" NOT NULL,
    opened_at BIGINT NOT NULL, late_at BIGINT NOT NULL, late_h BIGINT NOT NULL, down_at BIGINT NOT NULL,
    recovered_at BIGINT NOT NULL, last_seen_at BIGINT NOT NULL, length_ms BIGINT NOT NULL,
    missed_beats BIGINT NOT NULL, acknowledged_by TEXT COLLATE "C" NOT NULL, acknowledged_at BIGINT NOT NULL,
    snoozed_until BIGINT NOT NULL, slept_ms BIGINT NOT NULL
);
CREATE INDEX incident_by_age ON incident (opened_at, id);
CREATE INDEX incident_by_start ON incident (late_h);
CREATE INDEX incident_of_daemon ON incident (daemon_id, opened_at);
CREATE TABLE period (
    daemon_id TEXT COLLATE "C" NOT NULL, from_at BIGINT NOT NULL, state TEXT COLLATE "C" NOT NULL,
    to_at BIGINT NOT NULL,
    PRIMARY KEY (daemon_id, from_at)
);
CREATE INDEX period_by_age ON period (to_at) WHERE to_at > 0;

CREATE SEQUENCE event_id;
CREATE TABLE event (
    id BIGINT PRIMARY KEY DEFAULT nextval('event_id'), at BIGINT NOT NULL, level TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL, component TEXT COLLATE "C" NOT NULL, message TEXT COLLATE "C" NOT NULL,
    fields TEXT COLLATE "C" NOT NULL, task_id TEXT COLLATE "C" NOT NULL, daemon_id TEXT COLLATE "C" NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
ALTER SEQUENCE event_id OWNED BY event.id;
CREATE INDEX event_of_task ON event (task_id, id) WHERE task_id <> '';

CREATE TABLE api_key (
    id TEXT COLLATE "C" PRIMARY KEY, name TEXT COLLATE "C" NOT NULL, hash TEXT COLLATE "C" NOT NULL UNIQUE,
    scopes TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL, revoked_at BIGINT NOT NULL,
    rotated_to TEXT COLLATE "C" NOT NULL, lineage TEXT COLLATE "C" NOT NULL
);
CREATE TABLE memory (
    id TEXT COLLATE "C" PRIMARY KEY, user_id TEXT COLLATE "C" NOT NULL, channel TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL, content TEXT COLLATE "C" NOT NULL, source TEXT COLLATE "C" NOT NULL,
    metadata TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL, owner TEXT COLLATE "C" NOT NULL
);
CREATE INDEX memory_of_user ON memory (user_id, owner, created_at, id);
CREATE INDEX memory_by_age ON memory (created_at);
CREATE TABLE deployment (
    version_id TEXT COLLATE "C" PRIMARY KEY, created_at BIGINT NOT NULL, package_version TEXT COLLATE "C" NOT NULL,
    config_fingerprint TEXT COLLATE "C" NOT NULL, host TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL, seen_at BIGINT NOT NULL, ended_at BIGINT NOT NULL
);
CREATE INDEX deployment_by_age ON deployment (created_at);

CREATE TABLE directive (
    id TEXT COLLATE "C" PRIMARY KEY, daemon_id TEXT COLLATE "C" NOT NULL, kind TEXT COLLATE "C" NOT NULL,
    arguments TEXT COLLATE "C" NOT NULL, state TEXT COLLATE "C" NOT NULL, detail TEXT COLLATE "C" NOT NULL,
    asked_by TEXT COLLATE "C" NOT NULL, asked_at BIGINT NOT NULL, expires_h BIGINT NOT NULL,
    boot_id TEXT COLLATE "C" NOT NULL, ended_at BIGINT NOT NULL
);
CREATE INDEX directive_open ON directive (daemon_id) WHERE ended_at = 0;
CREATE INDEX directive_of_daemon ON directive (daemon_id, asked_at, id);
CREATE INDEX directive_due ON directive (expires_h) WHERE expires_h > 0;
CREATE INDEX directive_by_age ON directive (ended_at) WHERE ended_at > 0;

CREATE TABLE notice (
    id TEXT COLLATE "C" PRIMARY KEY, target TEXT COLLATE "C" NOT NULL, kind TEXT COLLATE "C" NOT NULL,
    cause TEXT COLLATE "C" NOT NULL, level TEXT COLLATE "C" NOT NULL, incident_id TEXT COLLATE "C" NOT NULL,
    task_id TEXT COLLATE "C" NOT NULL, daemon_id TEXT COLLATE "C" NOT NULL, facts TEXT COLLATE "C" NOT NULL,
    chat TEXT COLLATE "C" NOT NULL, thread TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'sent', 'dead', 'folded')),
    attempts BIGINT NOT NULL, next_at BIGINT NOT NULL, due_at BIGINT NOT NULL, taken_until BIGINT NOT NULL,
    part BIGINT NOT NULL, ref TEXT COLLATE "C" NOT NULL, last_error TEXT COLLATE "C" NOT NULL,
    folded_into TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL, sent_at BIGINT NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX notice_due ON notice (target, next_at) WHERE state = 'waiting';
CREATE INDEX notice_sent ON notice (target, sent_at) WHERE kind = 'notice' AND sent_at > 0;
CREATE INDEX notice_dead ON notice (target) WHERE state = 'dead';
CREATE INDEX notice_taken ON notice (taken_until) WHERE taken_until > 0;
CREATE INDEX notice_of_incident ON notice (incident_id) WHERE incident_id <> '';
CREATE INDEX notice_of_task ON notice (task_id) WHERE task_id <> '';
CREATE INDEX notice_of_daemon ON notice (daemon_id, created_at) WHERE daemon_id <> '';
CREATE INDEX notice_folded ON notice (folded_into) WHERE folded_into <> '';
CREATE INDEX notice_listed ON notice (created_at, id);
CREATE TABLE link (
    hash TEXT COLLATE "C" PRIMARY KEY, purpose TEXT COLLATE "C" NOT NULL, subject TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, used_at BIGINT NOT NULL
);
CREATE INDEX link_by_age ON link (expires_at);

CREATE TABLE takeover_state (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    is_open BIGINT NOT NULL, since_at BIGINT NOT NULL, paused BIGINT NOT NULL, circuit TEXT COLLATE "C" NOT NULL,
    circuit_at BIGINT NOT NULL, circuit_until_at BIGINT NOT NULL, access TEXT COLLATE "C" NOT NULL,
    failures BIGINT NOT NULL, failure TEXT COLLATE "C" NOT NULL, resting_until_h BIGINT NOT NULL,
    minute BIGINT NOT NULL, minute_calls BIGINT NOT NULL, probed_h BIGINT NOT NULL
);
CREATE TABLE task_takeover (
    task_id TEXT COLLATE "C" PRIMARY KEY, kept_at BIGINT NOT NULL, tries BIGINT NOT NULL,
    not_before_h BIGINT NOT NULL, spent_micro_usd BIGINT NOT NULL, provisional TEXT COLLATE "C" NOT NULL,
    provisional_at BIGINT NOT NULL
);
CREATE TABLE budget (
    period TEXT COLLATE "C" PRIMARY KEY, kind TEXT COLLATE "C" NOT NULL,
    spent_micro_usd BIGINT NOT NULL CHECK (spent_micro_usd >= 0), calls BIGINT NOT NULL, told BIGINT NOT NULL
);
CREATE TABLE reservation (
    id TEXT COLLATE "C" PRIMARY KEY, task_id TEXT COLLATE "C" NOT NULL, token BIGINT NOT NULL,
    worker_id TEXT COLLATE "C" NOT NULL, model TEXT COLLATE "C" NOT NULL,
    reserved_micro_usd BIGINT NOT NULL CHECK (reserved_micro_usd >= 0), expires_h BIGINT NOT NULL,
    at BIGINT NOT NULL, settled_at BIGINT NOT NULL, spent_micro_usd BIGINT NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL
);
CREATE INDEX reservation_open ON reservation (at) WHERE settled_at = 0;
CREATE INDEX reservation_by_age ON reservation (settled_at) WHERE settled_at > 0;

CREATE TABLE sample (
    at BIGINT PRIMARY KEY, waiting BIGINT NOT NULL, leased BIGINT NOT NULL, oldest_ms BIGINT NOT NULL,
    beats BIGINT NOT NULL, requests BIGINT NOT NULL, commits BIGINT NOT NULL, commit_ms BIGINT NOT NULL,
    commit_max_ms BIGINT NOT NULL
);
CREATE TABLE session (
    id TEXT COLLATE "C" PRIMARY KEY, hash TEXT COLLATE "C" NOT NULL, key_id TEXT COLLATE "C" NOT NULL,
    key_mark TEXT COLLATE "C" NOT NULL, owner TEXT COLLATE "C" NOT NULL, scopes TEXT COLLATE "C" NOT NULL,
    browser TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL, seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL, ended_at BIGINT NOT NULL
);
CREATE INDEX session_by_age ON session (expires_at);
CREATE INDEX session_of_key ON session (key_id, seen_at);

-- How far a copy of another store into this one has come; hubs do not start on it meanwhile.
CREATE TABLE store_copy (
    id BIGINT PRIMARY KEY CHECK (id = 1), source TEXT COLLATE "C" NOT NULL, state TEXT COLLATE "C" NOT NULL,
    noun TEXT COLLATE "C" NOT NULL, place TEXT COLLATE "C" NOT NULL, rows BIGINT NOT NULL, began_at BIGINT NOT NULL
);
