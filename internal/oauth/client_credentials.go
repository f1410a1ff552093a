package oauth

import (
	"slices"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/organization"
)

// clientCredentials is the client credentials grant (RFC 6749, section 4.4).
// It writes nothing: its tokens name no lineage, and one that is revoked is
// marked. Scopes that are about a customer are not for it: there is none. One
// that names no scopes gets all of its own (section 3.3).
func (p *Provider) clientCredentials(x *exchange) (*issued, error) {
	if !x.authenticated {
		return nil, refuseClient("The grant needs an application that keeps a secret.")
	}
	scopes, err := scopesOf(x.form.get("scope"), x.app)
	if err != nil {
		return nil, err
	}
	if len(scopes) == 0 {
		scopes = slices.DeleteFunc(slices.Sorted(slices.Values(x.app.Scopes)), ofCustomers)
	}
	if slices.ContainsFunc(scopes, ofCustomers) {
		return nil, refuse(codeInvalidScope, "A scope is about a customer, such as openid, offline_access or email; an application has none for itself.")
	}
	resource, err := chooseResource(x, nil)
	if err != nil {
		return nil, err
	}
	return &issued{subject: string(x.app.ID), scopes: scopes, resource: resource}, nil
}

// ofCustomers tells whether a scope is about a customer.
func ofCustomers(scope string) bool {
	return scope == "openid" || scope == "offline_access" || scope == organization.Scope || len(customer.ClaimsOf(scope)) > 0
}
