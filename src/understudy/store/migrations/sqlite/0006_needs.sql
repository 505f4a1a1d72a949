-- Sets of needs are counted among all unfinished tasks: those that are delayed or leased become claimable by themselves.
CREATE INDEX task_open_needs ON task (needs) WHERE status IN ('queued', 'leased');
