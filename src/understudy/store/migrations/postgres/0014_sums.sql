-- The number of daemons in each state, kept with every change of one, so that no page counts them. Each connection adds
-- to a row of its own, so that two hubs do not wait for each other; a state's number is the sum of its rows.
CREATE TABLE daemon_count (
    state TEXT COLLATE "C" NOT NULL, part BIGINT NOT NULL, daemons BIGINT NOT NULL, PRIMARY KEY (state, part)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
CREATE FUNCTION understudy_daemons_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO daemon_count
        SELECT state, pg_backend_pid() % 64, CASE WHEN TG_OP = 'INSERT' THEN 1 ELSE -1 END * count(*)
        FROM changed GROUP BY state ORDER BY state
        ON CONFLICT (state, part) DO UPDATE SET daemons = daemon_count.daemons + excluded.daemons;
    RETURN NULL;
END $$;
CREATE FUNCTION understudy_daemon_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO daemon_count VALUES (old.state, pg_backend_pid() % 64, -1), (new.state, pg_backend_pid() % 64, 1)
        ON CONFLICT (state, part) DO UPDATE SET daemons = daemon_count.daemons + excluded.daemons;
    RETURN NULL;
END $$;
CREATE TRIGGER daemons_added AFTER INSERT ON daemon REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION understudy_daemons_counted();
CREATE TRIGGER daemons_removed AFTER DELETE ON daemon REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION understudy_daemons_counted();
CREATE TRIGGER daemon_moved AFTER UPDATE OF state ON daemon FOR EACH ROW
    WHEN (old.state IS DISTINCT FROM new.state) EXECUTE FUNCTION understudy_daemon_moved();
INSERT INTO daemon_count SELECT state, 0, count(*) FROM daemon GROUP BY state;
-- Those that people look at first. A heartbeat of one that is well changes nothing here, and costs one comparison.
CREATE INDEX daemon_ailing ON daemon (state, id) WHERE state <> 'healthy';
CREATE INDEX incident_open ON incident (opened_at, id) WHERE recovered_at = 0;
CREATE INDEX boot_by_age ON boot (superseded_at);
CREATE INDEX notice_by_state ON notice (state, created_at, id);
CREATE INDEX task_ended ON task (status, queued_at, id) WHERE finished_at > 0;
