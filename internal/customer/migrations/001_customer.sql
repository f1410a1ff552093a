-- distribution: customer
CREATE TABLE customer (
    tenant     TEXT   NOT NULL,
    customer   TEXT   NOT NULL,
    status     TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    revision   BIGINT NOT NULL,
    epoch      BIGINT NOT NULL,
    profile    BYTEA,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, customer)
);

-- distribution: customer
CREATE TABLE customer_identifier (
    tenant      TEXT    NOT NULL,
    customer    TEXT    NOT NULL,
    identifier  TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    lookup      BYTEA   NOT NULL,
    value       BYTEA   NOT NULL,
    verified    BOOLEAN NOT NULL,
    verified_at BIGINT  NOT NULL,
    created_at  BIGINT  NOT NULL,
    PRIMARY KEY (tenant, customer, identifier),
    UNIQUE (tenant, customer, kind, lookup)
);

-- distribution: lookup
CREATE TABLE identifier_holder (
    tenant     TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    lookup     BYTEA  NOT NULL,
    customer   TEXT   NOT NULL,
    identifier TEXT   NOT NULL,
    PRIMARY KEY (tenant, kind, lookup)
);
