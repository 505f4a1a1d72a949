-- The number of daemons in each state, kept with every change of one, so that no page counts them.
CREATE TABLE daemon_count (state TEXT PRIMARY KEY, daemons INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO daemon_count SELECT state, count(*) FROM daemon GROUP BY state;
CREATE TRIGGER daemon_added AFTER INSERT ON daemon BEGIN
    INSERT INTO daemon_count (state, daemons) VALUES (new.state, 1)
        ON CONFLICT (state) DO UPDATE SET daemons = daemons + 1;
END;
CREATE TRIGGER daemon_removed AFTER DELETE ON daemon BEGIN
    UPDATE daemon_count SET daemons = daemons - 1 WHERE state = old.state;
END;
CREATE TRIGGER daemon_moved AFTER UPDATE OF state ON daemon WHEN old.state <> new.state BEGIN
    UPDATE daemon_count SET daemons = daemons - 1 WHERE state = old.state;
    INSERT INTO daemon_count (state, daemons) VALUES (new.state, 1)
        ON CONFLICT (state) DO UPDATE SET daemons = daemons + 1;
END;
-- Those that people look at first. A heartbeat of one that is well changes nothing here, and costs one comparison.
CREATE INDEX daemon_ailing ON daemon (state, id) WHERE state <> 'healthy';
CREATE INDEX incident_open ON incident (opened_at, id) WHERE recovered_at = 0;
CREATE INDEX notice_by_state ON notice (state, created_at, id);
CREATE INDEX boot_by_age ON boot (superseded_at);
CREATE INDEX task_ended ON task (status, queued_at, id) WHERE finished_at > 0;
