-- Who holds every scope for all tenants is marked with "*" beside the scopes, and
-- holds those too that later releases make. Of earlier releases, which read it as
-- a scope that nothing asks for, it is every scope that there was.
UPDATE operator SET scopes = '* ' || scopes
WHERE tenants = '*' AND scopes = 'applications:read applications:write brands:read brands:write customers:read customers:write events:read installation:read installation:write keys:read keys:write messages:read messages:write operators:read operators:write organizations:read organizations:write sessions:read sessions:write tenants:read tenants:write';
