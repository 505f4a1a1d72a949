-- Notices and tests that wait, which go before any number of answers; and what later notices of a daemon depend on. Both
-- have no answers in them, of which there may be many.
CREATE INDEX notice_first ON notice (target, next_at) WHERE state = 'waiting' AND kind IN ('notice', 'test');
CREATE INDEX notice_story ON notice (daemon_id, created_at) WHERE cause IN ('daemon.stuck', 'digest');
DROP INDEX notice_of_daemon;
