-- One small row a minute for plots, and gaps of the hub as periods of nobody, as far as events still tell of them.
CREATE TABLE sample (
    at INTEGER PRIMARY KEY, waiting INTEGER NOT NULL, leased INTEGER NOT NULL, oldest_ms INTEGER NOT NULL,
    beats INTEGER NOT NULL, requests INTEGER NOT NULL, commits INTEGER NOT NULL, commit_ms INTEGER NOT NULL,
    commit_max_ms INTEGER NOT NULL
);
INSERT OR IGNORE INTO period
SELECT '', from_at, 'unknown', to_at FROM (
    SELECT CAST(round((julianday(json_extract(fields, '$.fromAt')) - 2440587.5) * 86400000) AS INTEGER) AS from_at,
           CAST(round((julianday(json_extract(fields, '$.toAt')) - 2440587.5) * 86400000) AS INTEGER) AS to_at
    FROM event WHERE name = 'hub.gap' AND json_valid(fields)
) WHERE from_at > 0 AND to_at > from_at;
