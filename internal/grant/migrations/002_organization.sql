-- The organization that the lineage's tokens are for, '' for none.
ALTER TABLE lineage ADD COLUMN organization TEXT NOT NULL DEFAULT '';
