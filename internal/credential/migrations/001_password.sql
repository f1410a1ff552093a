-- A customer's password: its Argon2id hash in PHC format, sealed with the
-- customer's key. params is the hash's cost ("m=19456,t=2,p=1"), to be counted.
-- changes counts how often it was set; changed_at is when it last was, which a
-- hash made anew from the same password leaves as it is.
-- distribution: customer
CREATE TABLE credential_password (
    tenant     TEXT   NOT NULL,
    customer   TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    hash       BYTEA  NOT NULL,
    params     TEXT   NOT NULL,
    changes    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, customer)
);
