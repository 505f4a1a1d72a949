-- The instant until which a hub that sleeps on purpose is not missed.
ALTER TABLE hearing ADD COLUMN promised_at BIGINT NOT NULL DEFAULT 0;
