package organization

// Scope is what an application asks for to learn the organization that a
// customer acts for. "organization:" with an id or a slug behind it asks for
// that one.
const Scope = "organization"

// The claims that the scope releases. Auth0 has the first two of these names;
// Keycloak's one claim "organization" holds several organizations, where a token
// of ours is for one.
const (
	claimID    = "org_id"
	claimName  = "org_name"
	claimRoles = "org_roles"
)

// ClaimNames are the claims that the scope releases.
func ClaimNames() []string { return []string{claimID, claimName, claimRoles} }

// Claims are what the membership says in tokens and userinfo.
func (m *Membership) Claims() map[string]any {
	return map[string]any{claimID: m.Organization.ID, claimName: m.Organization.Name, claimRoles: m.Roles}
}

// ClaimsOf returns the names of the claims that scope asks for.
func ClaimsOf(scope string) []string {
	if scope == Scope {
		return ClaimNames()
	}
	return nil
}
