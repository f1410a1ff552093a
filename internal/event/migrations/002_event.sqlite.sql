-- What happened. holder and other name the customers whose keys seal personal
-- and other_personal; an empty holder is the tenant's key.
-- distribution: customer
CREATE TABLE event (
    tenant         TEXT   NOT NULL,
    customer       TEXT   NOT NULL,
    id             TEXT   NOT NULL,
    version        BIGINT NOT NULL,
    seq            BIGINT NOT NULL,
    type           TEXT   NOT NULL,
    at             BIGINT NOT NULL,
    actor          TEXT   NOT NULL,
    request        TEXT   NOT NULL,
    data           TEXT   NOT NULL,
    holder         TEXT   NOT NULL,
    personal       BYTEA,
    other          TEXT   NOT NULL,
    other_personal BYTEA,
    PRIMARY KEY (tenant, customer, id)
);
CREATE INDEX event_tenant_id ON event (tenant, id);
CREATE INDEX event_other ON event (tenant, other) WHERE other <> '';
