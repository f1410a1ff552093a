-- A host belongs to one tenant, over whichever scheme.
CREATE UNIQUE INDEX tenant_host ON tenant (host) WHERE host <> '';
