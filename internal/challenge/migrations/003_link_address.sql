-- The keyed hash of the address that a link was sent to, so that links can be
-- voided with the address. NULL for a link of an earlier release.
ALTER TABLE challenge_link ADD COLUMN address BYTEA;
