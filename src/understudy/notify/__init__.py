"""Channels: one file each, a pure pair `request_for(...)` and `outcome_of(...)`; the outbox sends and keeps count."""
