package adminapi

import "slices"

// Scopes are what tokens of the admin API may be good for.
var Scopes = []string{
	"tenants:read", "tenants:write",
	"brands:read", "brands:write",
	"applications:read", "applications:write",
	"customers:read", "customers:write",
	"sessions:read", "sessions:write",
	"organizations:read", "organizations:write",
	"events:read",
	"messages:read", "messages:write",
	"keys:read", "keys:write",
	"operators:read", "operators:write",
	"installation:read", "installation:write",
}

func knownScope(name string) bool { return slices.Contains(Scopes, name) }
