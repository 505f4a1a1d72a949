-- Directives: what an owner asks of a daemon from afar.
ALTER TABLE daemon ADD COLUMN open_directives INTEGER NOT NULL DEFAULT 0;
ALTER TABLE daemon ADD COLUMN restarting_at INTEGER NOT NULL DEFAULT 0;
CREATE TABLE directive (
    id TEXT PRIMARY KEY, daemon_id TEXT NOT NULL, kind TEXT NOT NULL, arguments TEXT NOT NULL, state TEXT NOT NULL,
    detail TEXT NOT NULL, asked_by TEXT NOT NULL, asked_at INTEGER NOT NULL, expires_h INTEGER NOT NULL,
    boot_id TEXT NOT NULL, ended_at INTEGER NOT NULL
);
CREATE INDEX directive_open ON directive (daemon_id) WHERE ended_at = 0;
CREATE INDEX directive_of_daemon ON directive (daemon_id, asked_at, id);
CREATE INDEX directive_due ON directive (expires_h) WHERE expires_h > 0;
CREATE INDEX directive_by_age ON directive (ended_at) WHERE ended_at > 0;
