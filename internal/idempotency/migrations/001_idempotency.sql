-- Requests that were sent with a key of their sender's, so that sending one
-- again has no second effect. answer is sealed with the tenant's key, and NULL
-- while the request is under way.
-- distribution: hash
CREATE TABLE idempotency_key (
    tenant     TEXT   NOT NULL,
    hash       BYTEA  NOT NULL,
    request    BYTEA  NOT NULL,
    answer     BYTEA,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, hash)
);

CREATE INDEX idempotency_key_expires ON idempotency_key (expires_at);
