-- Why the status is what it is, sealed with the customer's key. reason is what
-- the release before wrote, until it is sealed too; it goes one release later.
ALTER TABLE customer ADD COLUMN reason_sealed BYTEA;
CREATE INDEX customer_open_reason ON customer (tenant, customer) WHERE reason <> '';
