-- The keys that a tenant signs tokens with. Of each algorithm at most one is
-- active; slot numbers the keys of one, so that two nodes that make the same
-- key at once end with one. private is sealed with the tenant's key, and empty
-- once the key has been retired.
-- reference
CREATE TABLE signing_key (
    tenant     TEXT   NOT NULL,
    kid        TEXT   NOT NULL,
    alg        TEXT   NOT NULL,
    slot       BIGINT NOT NULL,
    state      TEXT   NOT NULL,
    public     TEXT   NOT NULL,
    private    BYTEA  NOT NULL,
    created_at BIGINT NOT NULL,
    active_at  BIGINT NOT NULL,
    retired_at BIGINT NOT NULL,
    gone_at    BIGINT NOT NULL,
    PRIMARY KEY (tenant, kid),
    UNIQUE (tenant, alg, slot)
);

-- What Advance looks for.
CREATE INDEX signing_key_state ON signing_key (state);
