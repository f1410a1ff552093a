-- Which row of failures total counts: a success begins the next one. What is
-- given back late is not given to a later row.
ALTER TABLE budget ADD COLUMN round BIGINT NOT NULL DEFAULT 0;

-- Buckets of strangers have no total any more. What was counted of one would
-- keep its row from being swept.
UPDATE budget SET total = 0 WHERE substr(subject, 1, 7) = 'bucket_';
