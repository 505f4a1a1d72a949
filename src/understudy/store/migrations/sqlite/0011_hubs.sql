-- Several hubs on one store: which of them run.
ALTER TABLE deployment ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE deployment ADD COLUMN seen_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN ended_at INTEGER NOT NULL DEFAULT 0;
