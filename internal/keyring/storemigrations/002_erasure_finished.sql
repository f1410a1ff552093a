-- When the rows of an erased customer were gone from the main database; 0 while
-- that is still to be done, or not known to be.
ALTER TABLE erasure_ledger ADD COLUMN finished_at BIGINT NOT NULL DEFAULT 0;

CREATE INDEX erasure_ledger_unfinished ON erasure_ledger (sequence) WHERE finished_at = 0;
