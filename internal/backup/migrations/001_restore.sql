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

-- The erasure ledgers that the restore applies, so that they outlive an
-- interruption: each the text of keyring.ExportLedger, cut into parts.
-- ground
CREATE TABLE restore_ledger (
    ledger  BIGINT NOT NULL,
    part    BIGINT NOT NULL,
    content BYTEA  NOT NULL,
    PRIMARY KEY (ledger, part)
);
