-- The one row 'store': the key store's id, the ledger's last sequence, how
-- often orphaned keys were swept, and how far and in which epoch.
-- ground
CREATE TABLE key_store (
	name TEXT NOT NULL PRIMARY KEY,
	store TEXT NOT NULL,
	sequence BIGINT NOT NULL,
	sweeps BIGINT NOT NULL,
	swept_until BIGINT NOT NULL,
	swept_epoch BIGINT NOT NULL
);

-- Customers' data keys. The row of generation 1 stays when the customer is
-- erased, emptied, with tenant_generation 0: whoever creates, adds or destroys
-- a customer's key writes this row, which puts them in an order.
-- distribution: customer
CREATE TABLE customer_key (
	tenant TEXT NOT NULL,
	customer TEXT NOT NULL,
	generation BIGINT NOT NULL,
	tenant_generation BIGINT NOT NULL,
	wrapped BYTEA NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (tenant, customer, generation)
);

CREATE INDEX customer_key_rewrap ON customer_key (tenant, tenant_generation, customer);

CREATE INDEX customer_key_created ON customer_key (created_at, tenant, customer);

-- Who was erased. Sequences follow the order of the commits, without gaps.
-- distribution: customer
CREATE TABLE erasure_ledger (
	tenant TEXT NOT NULL,
	customer TEXT NOT NULL,
	erased_at BIGINT NOT NULL,
	sequence BIGINT NOT NULL,
	PRIMARY KEY (tenant, customer)
);

CREATE INDEX erasure_ledger_sequence ON erasure_ledger (sequence);
