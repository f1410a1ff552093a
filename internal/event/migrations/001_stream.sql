-- Events that have no position yet, in the order in which they will get one.
-- Distributed by lane.
-- ground
CREATE TABLE event_pending (
    lane     BIGINT NOT NULL,
    tenant   TEXT   NOT NULL,
    customer TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    seq      BIGINT NOT NULL,
    event    TEXT   NOT NULL,
    PRIMARY KEY (lane, tenant, customer, version, seq, event)
);

-- The order of each lane: positions 1, 2, 3 … without gaps. Distributed by
-- lane.
-- ground
CREATE TABLE event_position (
    lane     BIGINT NOT NULL,
    position BIGINT NOT NULL,
    tenant   TEXT   NOT NULL,
    customer TEXT   NOT NULL,
    event    TEXT   NOT NULL,
    PRIMARY KEY (lane, position),
    UNIQUE (lane, event)
);

-- Who may do what only one node does at a time. Role 'order' has a slot for
-- each lane, with the last position given in it; each consumer is a role of one
-- slot. epoch rises whenever a slot changes hands.
-- ground
CREATE TABLE event_lease (
    role     TEXT   NOT NULL,
    slot     BIGINT NOT NULL,
    holder   TEXT   NOT NULL,
    epoch    BIGINT NOT NULL,
    expires  BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (role, slot)
);

-- How far each consumer has come in each lane.
-- ground
CREATE TABLE event_cursor (
    consumer TEXT   NOT NULL,
    lane     BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (consumer, lane)
);

INSERT INTO event_lease (role, slot, holder, epoch, expires, position)
WITH RECURSIVE lanes (lane) AS (SELECT 0 UNION ALL SELECT lane + 1 FROM lanes WHERE lane < 63)
SELECT 'order', lane, '', 0, 0, 0 FROM lanes;
