-- The one row 'ring': the epoch below which sealed tokens are dead, a counter
-- that every change of keys bumps, the id of the root key last started with,
-- and the id of the key store that belongs to this database.
-- ground
CREATE TABLE keyring_state (
	name TEXT NOT NULL PRIMARY KEY,
	epoch BIGINT NOT NULL,
	version BIGINT NOT NULL,
	root TEXT NOT NULL,
	store TEXT NOT NULL
);

-- Tenants' keys, each wrapped by the root key whose id stands beside it.
-- reference
CREATE TABLE tenant_key (
	tenant TEXT NOT NULL,
	generation BIGINT NOT NULL,
	root TEXT NOT NULL,
	wrapped BYTEA NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (tenant, generation)
);

CREATE INDEX tenant_key_root ON tenant_key (root);

-- Tenants' look-up keys: one, or two while a rotation runs. They are wrapped by
-- the root key, so that rotating tenant keys leaves look-up hashes alone.
-- reference
CREATE TABLE lookup_key (
	tenant TEXT NOT NULL,
	generation BIGINT NOT NULL,
	root TEXT NOT NULL,
	wrapped BYTEA NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (tenant, generation)
);

CREATE INDEX lookup_key_root ON lookup_key (root);
