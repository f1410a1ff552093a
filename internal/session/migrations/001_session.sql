-- A session that lives. One that was ended is deleted, as its event tells of
-- it; one that ran out is swept. agent is sealed with the customer's key.
-- distribution: customer
CREATE TABLE session (
    tenant           TEXT    NOT NULL,
    customer         TEXT    NOT NULL,
    session          TEXT    NOT NULL,
    secret_hash      BYTEA   NOT NULL,
    device           TEXT    NOT NULL,
    epoch            BIGINT  NOT NULL,
    methods          TEXT    NOT NULL,
    acr              TEXT    NOT NULL,
    stay             BOOLEAN NOT NULL,
    agent            BYTEA   NOT NULL,
    created_at       BIGINT  NOT NULL,
    authenticated_at BIGINT  NOT NULL,
    last_seen_at     BIGINT  NOT NULL,
    idle_until       BIGINT  NOT NULL,
    absolute_until   BIGINT  NOT NULL,
    PRIMARY KEY (tenant, customer, session)
);

-- What the sweep looks for. It stands on absolute_until, which no renewal of
-- last_seen_at changes, so that those need not touch an index.
CREATE INDEX session_absolute_until ON session (absolute_until);
