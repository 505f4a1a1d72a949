-- The sum of the jumps of the wall clock that pauses were moved by, so that of several hubs only one moves them.
ALTER TABLE hearing ADD COLUMN moved_ms INTEGER NOT NULL DEFAULT 0;
