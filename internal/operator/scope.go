package operator

import (
	"slices"
	"strings"
)

// scopes are what an operator may hold: one to read and one to change each
// kind of thing. There is no wildcard: a scope that is made later is held by
// nobody who was not given it but those who hold everything.
var scopes = []string{
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

// Scopes returns all scopes that there are.
func Scopes() []string { return slices.Clone(scopes) }

// Known tells whether there is a scope of that name.
func Known(scope string) bool { return slices.Contains(scopes, scope) }

// Writes tells whether a scope is for changing things.
func Writes(scope string) bool { return strings.HasSuffix(scope, ":write") }
