-- Each event's digest, and in each lane the chain of them: SHA-256 of the chain
-- before, the position and the digest. NULL for what an earlier release wrote.
ALTER TABLE event_pending ADD COLUMN digest BYTEA;
ALTER TABLE event_position ADD COLUMN digest BYTEA;
ALTER TABLE event_position ADD COLUMN chain BYTEA;
ALTER TABLE event_lease ADD COLUMN chain BYTEA;
