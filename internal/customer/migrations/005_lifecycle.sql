-- The life of an account: since when it has its status and until when, 0 for no
-- end; the latest sign of life that is noted here, which sessions and lineages
-- that are still there may tell later ones of; when the customer was last told
-- of what is about to happen; and when a rule looks at him next, 0 for never.
ALTER TABLE customer ADD COLUMN status_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE customer ADD COLUMN until_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE customer ADD COLUMN seen_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE customer ADD COLUMN warned_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE customer ADD COLUMN due_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX customer_due ON customer (due_at) WHERE due_at > 0;

-- Addresses that customers were invited at and have not proved yet. A row finds
-- somebody only for whoever has just proved the address.
-- distribution: lookup
CREATE TABLE invitation (
    tenant   TEXT  NOT NULL,
    kind     TEXT  NOT NULL,
    lookup   BYTEA NOT NULL,
    customer TEXT  NOT NULL,
    PRIMARY KEY (tenant, kind, lookup)
);

-- Tenants whose customers' dates are to be set anew because the settings have
-- changed: from when on every node knows them, and how far it has come.
-- ground
CREATE TABLE lifecycle_pass (
    tenant      TEXT   NOT NULL PRIMARY KEY,
    begins_at   BIGINT NOT NULL,
    at_customer TEXT   NOT NULL
);
