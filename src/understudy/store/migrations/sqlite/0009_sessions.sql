-- Sessions of the pages: who has logged in with a browser, by which key; of the cookie's secret only the hash is here.
CREATE TABLE session (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL, key_id TEXT NOT NULL, key_mark TEXT NOT NULL, owner TEXT NOT NULL,
    scopes TEXT NOT NULL, browser TEXT NOT NULL, created_at INTEGER NOT NULL, seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, ended_at INTEGER NOT NULL
);
CREATE INDEX session_by_age ON session (expires_at);
CREATE INDEX session_of_key ON session (key_id, seen_at);
