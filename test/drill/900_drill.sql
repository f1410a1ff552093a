-- What a release after this one may bring: columns and an index on tables that
-- every request reads or writes. `make drill` builds a program with it.
ALTER TABLE session ADD COLUMN drill BIGINT NOT NULL DEFAULT 0;
ALTER TABLE customer ADD COLUMN drill TEXT NOT NULL DEFAULT '';
CREATE INDEX session_drill ON session (tenant, customer, drill);
