-- Keys have a lineage, and conversations belong to the key that named them unless it has the memory scope.
ALTER TABLE api_key ADD COLUMN lineage TEXT NOT NULL DEFAULT '';
ALTER TABLE task ADD COLUMN memory_of TEXT NOT NULL DEFAULT '';
ALTER TABLE memory ADD COLUMN owner TEXT NOT NULL DEFAULT '';
DROP INDEX memory_of_user;
CREATE INDEX memory_of_user ON memory (user_id, owner, created_at, id);
-- A key that was rotated before owns what its successors submitted.
WITH RECURSIVE line(id, first) AS (
    SELECT id, id FROM api_key WHERE id NOT IN (SELECT rotated_to FROM api_key WHERE rotated_to <> '')
    UNION SELECT k.rotated_to, line.first FROM api_key k JOIN line ON line.id = k.id WHERE k.rotated_to <> ''
)
UPDATE api_key SET lineage = coalesce((SELECT first FROM line WHERE line.id = api_key.id), id);
UPDATE OR IGNORE task SET submitter = (SELECT lineage FROM api_key WHERE api_key.id = task.submitter)
    WHERE submitter IN (SELECT id FROM api_key WHERE lineage <> id);
-- What such keys have named so far goes on as theirs.
UPDATE task SET memory_of = submitter WHERE submitter IN (
    SELECT id FROM api_key WHERE instr(' ' || scopes || ' ', ' memory ') = 0 AND instr(' ' || scopes || ' ', ' admin ') = 0
);
UPDATE memory SET owner = coalesce(
    (SELECT memory_of FROM task WHERE task.id = substr(memory.id, 1, length(memory.id) - 4) AND memory.id LIKE '%:ask'),
    (SELECT memory_of FROM task WHERE task.id = substr(memory.id, 1, length(memory.id) - 7) AND memory.id LIKE '%:answer'),
    ''
) WHERE source = 'task';
