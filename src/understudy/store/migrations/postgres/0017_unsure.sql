-- The hearing instant until which nothing is removed for its age, because the clock may be far ahead.
ALTER TABLE hearing ADD COLUMN unsure_h BIGINT NOT NULL DEFAULT 0;
