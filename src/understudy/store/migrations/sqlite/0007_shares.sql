-- What each key has used of its share: kept with each batch, so that nothing has to be counted anew.
-- A task of before counts as its rows without its body: to read all bodies could take minutes.
ALTER TABLE task ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 1000;
CREATE TABLE usage (
    submitter TEXT PRIMARY KEY, open_tasks INTEGER NOT NULL, size_bytes INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO usage SELECT submitter, sum(status IN ('queued', 'leased')), sum(size_bytes) FROM task GROUP BY submitter;
CREATE TRIGGER task_removed AFTER DELETE ON task BEGIN
    UPDATE usage SET
        open_tasks = open_tasks - (old.status IN ('queued', 'leased')), size_bytes = size_bytes - old.size_bytes
    WHERE submitter = old.submitter;
END;
