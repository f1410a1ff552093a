-- ground
CREATE TABLE config_version (
    one     BIGINT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL
);
INSERT INTO config_version (one, version) VALUES (1, 0);

-- ground
CREATE TABLE config_change (
    version BIGINT NOT NULL PRIMARY KEY,
    tenant  TEXT   NOT NULL,
    kind    TEXT   NOT NULL,
    ref     TEXT   NOT NULL,
    at      BIGINT NOT NULL
);
