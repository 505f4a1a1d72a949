-- The limit that the shares of a budget were reported of: once it is raised, they are reported anew.
ALTER TABLE budget ADD COLUMN reported_limit BIGINT NOT NULL DEFAULT 0;
