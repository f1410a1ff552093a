-- Replacements of tenants' look-up keys that are under way: since when, from
-- when on every node has the new key (0 until that is known), when the old one
-- was dropped (0 before), how far the present pass has come, what it has done,
-- and which node works on it until when.
-- ground
CREATE TABLE lookup_rotation (
    tenant        TEXT    NOT NULL PRIMARY KEY,
    started_at    BIGINT  NOT NULL,
    ready_at      BIGINT  NOT NULL,
    ended_at      BIGINT  NOT NULL,
    at_customer   TEXT    NOT NULL,
    at_identifier TEXT    NOT NULL,
    found         BOOLEAN NOT NULL,
    rewritten     BIGINT  NOT NULL,
    failed        BIGINT  NOT NULL,
    lease_owner   TEXT    NOT NULL,
    lease_until   BIGINT  NOT NULL
);
