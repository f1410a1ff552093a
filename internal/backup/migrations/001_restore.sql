-- While a restore is under way, or was interrupted, this has one row 'restore':
-- which backup is being restored, and an epoch that the restored database must
-- exceed. Nothing serves a database that has it.
-- ground
CREATE TABLE restore_mark (
    name     TEXT   NOT NULL PRIMARY KEY,
    backup   TEXT   NOT NULL,
    epoch    BIGINT NOT NULL,
    begun_at BIGINT NOT NULL
);

-- The erasure ledger that the key store had before, so that it outlives an
-- interruption: the lines of keyring.ExportLedger, cut into parts.
-- ground
CREATE TABLE restore_ledger (
    part    BIGINT NOT NULL PRIMARY KEY,
    content BYTEA  NOT NULL
);
