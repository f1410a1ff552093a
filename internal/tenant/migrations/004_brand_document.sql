-- What a brand is beside its theme, and what is known of its assets, as JSON.
-- The previous release writes rows without.
ALTER TABLE brand ADD COLUMN document TEXT NOT NULL DEFAULT '{}';
ALTER TABLE brand ADD COLUMN assets TEXT NOT NULL DEFAULT '[]';

-- The bytes of a brand's assets, one a role. They are read by their name,
-- which is made of their hash.
-- reference
CREATE TABLE brand_asset (
    tenant     TEXT   NOT NULL,
    brand      TEXT   NOT NULL,
    role       TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    body       BYTEA  NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, brand, role)
);
