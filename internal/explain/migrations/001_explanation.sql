-- What stands behind the ids of errors that were shown, found by the id alone:
-- who quotes one does not know which tenant it is of. How many a node writes is
-- bounded, and each expires.
-- ground
CREATE TABLE explanation (
    fault      TEXT   NOT NULL PRIMARY KEY,
    tenant     TEXT   NOT NULL,
    customer   TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    record     TEXT   NOT NULL
);
CREATE INDEX explanation_expires ON explanation (expires_at);
CREATE INDEX explanation_customer ON explanation (tenant, customer) WHERE customer <> '';

-- How many of a minute's errors are not in the table above, on all nodes.
-- ground
CREATE TABLE explanation_dropped (
    minute  BIGINT NOT NULL PRIMARY KEY,
    dropped BIGINT NOT NULL
);
