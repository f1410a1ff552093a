-- Messages on their way. handle is the keyed hash of the address. due_at is
-- from when whoever comes first may take the message; taking it moves due_at to
-- the end of the lease and writes lease_owner. dedup is the id where nothing is
-- to be told apart. sealed is under the customer's key, or the tenant's where
-- customer is ''; it is emptied when the message is no longer waiting.
-- state is 'waiting', 'sent' (kept for a while for its dedup) or 'dead'.
-- distribution: handle
CREATE TABLE notify_outbox (
    tenant      TEXT   NOT NULL,
    handle      BYTEA  NOT NULL,
    id          TEXT   NOT NULL,
    dedup       TEXT   NOT NULL,
    customer    TEXT   NOT NULL,
    brand       TEXT   NOT NULL,
    template    TEXT   NOT NULL,
    state       TEXT   NOT NULL,
    due_at      BIGINT NOT NULL,
    lease_owner TEXT   NOT NULL,
    attempts    BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    ended_at    BIGINT NOT NULL,
    reason      TEXT   NOT NULL,
    sealed      BYTEA  NOT NULL,
    PRIMARY KEY (tenant, handle, id),
    UNIQUE (tenant, handle, dedup)
);

CREATE INDEX notify_outbox_due ON notify_outbox (due_at) WHERE state = 'waiting';

CREATE INDEX notify_outbox_ended ON notify_outbox (ended_at) WHERE state <> 'waiting';
