-- What happened. holder and other name the customers whose keys seal personal
-- and other_personal; an empty holder is the tenant's key. Partitioned by id,
-- which begins with the time, so that old events are dropped by the month;
-- Log.Maintain makes the months ahead of time, and the default partition takes
-- what no month was made for.
-- distribution: customer
CREATE TABLE event (
    tenant         TEXT   NOT NULL,
    customer       TEXT   NOT NULL,
    id             TEXT   COLLATE "C" NOT NULL,
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
) PARTITION BY RANGE (id);
CREATE INDEX event_tenant_id ON event (tenant, id);
CREATE INDEX event_other ON event (tenant, other) WHERE other <> '';
-- distribution: customer
CREATE TABLE event_default PARTITION OF event DEFAULT;

-- A queue lives on dead rows being cleared by their number, not by their share.
ALTER TABLE event_pending SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000);
ALTER TABLE event_lease SET (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE event_cursor SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
