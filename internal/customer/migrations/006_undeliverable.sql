-- Why messages to an address come back, '' while none do, and when that was
-- reported; where it is '', when it was last seen to be wrong.
ALTER TABLE customer_identifier ADD COLUMN undeliverable TEXT NOT NULL DEFAULT '';
ALTER TABLE customer_identifier ADD COLUMN undeliverable_at BIGINT NOT NULL DEFAULT 0;
