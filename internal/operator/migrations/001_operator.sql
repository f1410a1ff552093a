-- Who runs the installation: customers of the system tenant and applications
-- of it, with the scopes that they hold. tenants is "*", or ids of tenants.
-- reference
CREATE TABLE operator (
    tenant     TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    scopes     TEXT   NOT NULL,
    tenants    TEXT   NOT NULL,
    revision   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, subject)
);

-- One-time links that make somebody an operator. kind is "first", of which
-- there is one at most, or the hash of the link.
-- reference
CREATE TABLE operator_link (
    tenant     TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    hash       BYTEA  NOT NULL,
    customer   TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, kind)
);
