-- The limit that the shares of a budget were reported of: once it is raised, they are reported anew.
ALTER TABLE budget ADD COLUMN reported_limit INTEGER NOT NULL DEFAULT 0;
-- What was reported in the day and month of the update stays reported.
UPDATE budget SET reported_limit = 9007199254740991 WHERE told > 0;
