-- Which customer an answer tells of, so that it goes with the customer; NULL for
-- none.
ALTER TABLE idempotency_key ADD COLUMN customer TEXT;
CREATE INDEX idempotency_key_customer ON idempotency_key (tenant, customer) WHERE customer IS NOT NULL;
