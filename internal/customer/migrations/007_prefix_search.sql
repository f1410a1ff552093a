-- What a tenant's customers are found by from its first characters on: the
-- fields that its settings name, one a line. It stands here so that whatever
-- changes a customer reads it in its own transaction.
-- reference
CREATE TABLE customer_search (
    tenant TEXT NOT NULL PRIMARY KEY,
    fields TEXT NOT NULL
);

-- Beginnings of what customers are found by. lookup is a row of keyed hashes:
-- of the first three characters, then of the first four, and so on, so that all
-- that begin alike stand in one range. source is the identifier that they are
-- of, or 'profile'.
-- distribution: customer
CREATE TABLE customer_prefix (
    tenant   TEXT  NOT NULL,
    customer TEXT  NOT NULL,
    source   TEXT  NOT NULL,
    lookup   BYTEA NOT NULL,
    PRIMARY KEY (tenant, customer, source, lookup)
);
CREATE INDEX customer_prefix_lookup ON customer_prefix (tenant, lookup, customer);

-- Tenants whose customers' beginnings are to be written anew because the
-- settings or the look-up key have changed: from when on, how far that has come,
-- and which node works on it until when.
-- ground
CREATE TABLE search_pass (
    tenant      TEXT   NOT NULL PRIMARY KEY,
    begins_at   BIGINT NOT NULL,
    at_customer TEXT   NOT NULL,
    customers   BIGINT NOT NULL,
    lease_owner TEXT   NOT NULL,
    lease_until BIGINT NOT NULL
);
-- Whether the replacement of a look-up key has had beginnings written anew in
-- its present phase.
ALTER TABLE lookup_rotation ADD COLUMN searched BOOLEAN NOT NULL DEFAULT FALSE;
