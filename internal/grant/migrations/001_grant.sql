-- What one customer has allowed one application.
-- distribution: customer
CREATE TABLE customer_grant (
    tenant      TEXT    NOT NULL,
    customer    TEXT    NOT NULL,
    application TEXT    NOT NULL,
    grant_id    TEXT    NOT NULL,
    first_party BOOLEAN NOT NULL,
    scopes      TEXT    NOT NULL,
    claims      TEXT    NOT NULL,
    revision    BIGINT  NOT NULL,
    granted_at  BIGINT  NOT NULL,
    updated_at  BIGINT  NOT NULL,
    PRIMARY KEY (tenant, customer, application)
);

-- One redeemed code and the chain of refresh tokens that began with it. The row
-- is the mark that the code was redeemed, and is kept for longer than a code.
-- distribution: customer
CREATE TABLE lineage (
    tenant         TEXT    NOT NULL,
    customer       TEXT    NOT NULL,
    lineage        TEXT    NOT NULL,
    grant_id       TEXT    NOT NULL,
    application    TEXT    NOT NULL,
    session        TEXT    NOT NULL,
    generation     BIGINT  NOT NULL,
    scopes         TEXT    NOT NULL,
    context        TEXT    NOT NULL,
    offline        BOOLEAN NOT NULL,
    epoch          BIGINT  NOT NULL,
    started_at     BIGINT  NOT NULL,
    rotated_at     BIGINT  NOT NULL,
    idle_until     BIGINT  NOT NULL,
    absolute_until BIGINT  NOT NULL,
    ended_at       BIGINT  NOT NULL,
    end_reason     TEXT    NOT NULL,
    PRIMARY KEY (tenant, customer, lineage)
);

-- What the sweep looks for. No rotation changes it.
CREATE INDEX lineage_absolute_until ON lineage (absolute_until);

-- Tokens that were revoked by themselves, having no lineage.
-- distribution: marker
CREATE TABLE token_marker (
    tenant     TEXT   NOT NULL,
    marker     BYTEA  NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, marker)
);

CREATE INDEX token_marker_expires_at ON token_marker (expires_at);

-- Authorization codes too long for an address, sealed.
-- distribution: handle
CREATE TABLE oauth_code (
    tenant     TEXT   NOT NULL,
    handle     BYTEA  NOT NULL,
    content    TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, handle)
);

CREATE INDEX oauth_code_expires_at ON oauth_code (expires_at);
