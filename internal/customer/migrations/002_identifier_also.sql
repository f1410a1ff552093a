-- The other hash that an identifier is held under: set while the tenant's
-- look-up key is being replaced.
ALTER TABLE customer_identifier ADD COLUMN also BYTEA;
