-- Takeover: how it stands, what it did for each task, budgets, and one row a call.
CREATE TABLE takeover_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    is_open INTEGER NOT NULL, since_at INTEGER NOT NULL, paused INTEGER NOT NULL, circuit TEXT NOT NULL,
    circuit_at INTEGER NOT NULL, circuit_until_at INTEGER NOT NULL, access TEXT NOT NULL, failures INTEGER NOT NULL, failure TEXT NOT NULL,
    resting_until_h INTEGER NOT NULL, minute INTEGER NOT NULL, minute_calls INTEGER NOT NULL, probed_h INTEGER NOT NULL
);
CREATE TABLE task_takeover (
    task_id TEXT PRIMARY KEY, kept_at INTEGER NOT NULL, tries INTEGER NOT NULL, not_before_h INTEGER NOT NULL,
    spent_micro_usd INTEGER NOT NULL, provisional TEXT NOT NULL, provisional_at INTEGER NOT NULL
);
CREATE TABLE budget (
    period TEXT PRIMARY KEY, kind TEXT NOT NULL, spent_micro_usd INTEGER NOT NULL CHECK (spent_micro_usd >= 0),
    calls INTEGER NOT NULL, told INTEGER NOT NULL
);
CREATE TABLE reservation (
    id TEXT PRIMARY KEY, task_id TEXT NOT NULL, token INTEGER NOT NULL, worker_id TEXT NOT NULL, model TEXT NOT NULL,
    reserved_micro_usd INTEGER NOT NULL CHECK (reserved_micro_usd >= 0), expires_h INTEGER NOT NULL,
    at INTEGER NOT NULL, settled_at INTEGER NOT NULL, spent_micro_usd INTEGER NOT NULL, outcome TEXT NOT NULL
);
CREATE INDEX reservation_open ON reservation (at) WHERE settled_at = 0;
CREATE INDEX reservation_by_age ON reservation (settled_at) WHERE settled_at > 0;
