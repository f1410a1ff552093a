-- reference
CREATE TABLE tenant (
    tenant     TEXT    NOT NULL PRIMARY KEY,
    slug       TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    issuer     TEXT    NOT NULL UNIQUE,
    host       TEXT    NOT NULL,
    suspended  BOOLEAN NOT NULL,
    settings   TEXT    NOT NULL,
    revision   BIGINT  NOT NULL,
    created_at BIGINT  NOT NULL,
    updated_at BIGINT  NOT NULL
);

-- reference
CREATE TABLE brand (
    tenant     TEXT   NOT NULL,
    brand      TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    theme      TEXT   NOT NULL,
    revision   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, brand)
);
