-- A code asked of someone. handle is the keyed hash of the address that it was
-- sent to; customer is '' where the address has no account, so that both cost
-- the same. code_mac is keyed and bound to the challenge.
-- distribution: handle
CREATE TABLE challenge (
    tenant       TEXT   NOT NULL,
    handle       BYTEA  NOT NULL,
    challenge    TEXT   NOT NULL,
    customer     TEXT   NOT NULL,
    purpose      TEXT   NOT NULL,
    run          TEXT   NOT NULL,
    code_mac     BYTEA  NOT NULL,
    attempts     BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    solved_at    BIGINT NOT NULL,
    spent_at     BIGINT NOT NULL,
    PRIMARY KEY (tenant, handle, challenge)
);

CREATE INDEX challenge_expires_at ON challenge (expires_at);
CREATE INDEX challenge_customer ON challenge (tenant, customer) WHERE customer <> '';
