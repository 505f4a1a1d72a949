-- The outbox: notices and answers on their way to people, committed with what they tell.
CREATE TABLE notice (
    id TEXT PRIMARY KEY, target TEXT NOT NULL, kind TEXT NOT NULL, cause TEXT NOT NULL, level TEXT NOT NULL,
    incident_id TEXT NOT NULL, task_id TEXT NOT NULL, daemon_id TEXT NOT NULL, facts TEXT NOT NULL,
    chat TEXT NOT NULL, thread TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state = 'waiting' OR state = 'sent' OR state = 'dead' OR state = 'folded'),
    attempts INTEGER NOT NULL, next_at INTEGER NOT NULL, due_at INTEGER NOT NULL, taken_until INTEGER NOT NULL,
    part INTEGER NOT NULL, ref TEXT NOT NULL, last_error TEXT NOT NULL, folded_into TEXT NOT NULL,
    created_at INTEGER NOT NULL, sent_at INTEGER NOT NULL
);
CREATE INDEX notice_due ON notice (target, next_at) WHERE state = 'waiting';
CREATE INDEX notice_sent ON notice (target, sent_at) WHERE kind = 'notice' AND sent_at > 0;
CREATE INDEX notice_dead ON notice (target) WHERE state = 'dead';
CREATE INDEX notice_taken ON notice (taken_until) WHERE taken_until > 0;
CREATE INDEX notice_of_incident ON notice (incident_id) WHERE incident_id <> '';
CREATE INDEX notice_of_task ON notice (task_id) WHERE task_id <> '';
CREATE INDEX notice_of_daemon ON notice (daemon_id, created_at) WHERE daemon_id <> '';
CREATE INDEX notice_folded ON notice (folded_into) WHERE folded_into <> '';
CREATE INDEX notice_listed ON notice (created_at, id);
-- Links that act: one purpose, expiring, only the hash of their secret is here.
CREATE TABLE link (
    hash TEXT PRIMARY KEY, purpose TEXT NOT NULL, subject TEXT NOT NULL, created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, used_at INTEGER NOT NULL
);
CREATE INDEX link_by_age ON link (expires_at);
ALTER TABLE task ADD COLUMN reply_to TEXT NOT NULL DEFAULT '';
CREATE INDEX incident_of_daemon ON incident (daemon_id, opened_at);
