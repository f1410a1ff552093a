-- When the customer had proved the address that a link was sent to, so that an
-- address which the link brings back is as old as it was. NULL for a link of an
-- earlier release, 0 for one of which it is not known.
ALTER TABLE challenge_link ADD COLUMN proved_at BIGINT;
