-- reference
CREATE TABLE application (
    tenant      TEXT   NOT NULL,
    application TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    settings    TEXT   NOT NULL,
    revision    BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (tenant, application)
);
