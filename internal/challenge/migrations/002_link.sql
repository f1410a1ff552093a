-- A link that was sent in a message: secret_hash is the SHA-256 of the 256 bits
-- in it. It is spent once.
-- distribution: customer
CREATE TABLE challenge_link (
    tenant      TEXT   NOT NULL,
    customer    TEXT   NOT NULL,
    link        TEXT   NOT NULL,
    purpose     TEXT   NOT NULL,
    secret_hash BYTEA  NOT NULL,
    expires_at  BIGINT NOT NULL,
    spent_at    BIGINT NOT NULL,
    PRIMARY KEY (tenant, customer, link)
);

CREATE INDEX challenge_link_expires_at ON challenge_link (expires_at);
