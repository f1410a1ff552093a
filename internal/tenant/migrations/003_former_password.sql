-- What a password's hash cost before the settings last changed that, as JSON;
-- '' where they never did.
ALTER TABLE tenant ADD COLUMN former TEXT NOT NULL DEFAULT '';
