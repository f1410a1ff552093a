package oauth

import (
	"context"
	"slices"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Caller is whose access token was presented to another surface of ours.
type Caller struct {
	Subject     string // the customer, or the application for a token of its own
	Application id.Application
	Scopes      []string
}

// Authenticate reads an access token that a request to the tenant carries, and
// everything that it hangs on, as introspection does. It answers nil for one
// that is not good, whatever the reason.
func (p *Provider) Authenticate(ctx context.Context, t *tenant.Tenant, compact string) (*Caller, error) {
	token, err := p.readAccessToken(ctx, t, compact)
	if err != nil || token == nil {
		return nil, err
	}
	// One that is for another API as well is known there too, and opens nothing here.
	if len(token.raw.Audience) != 1 || token.raw.Audience[0] != t.Issuer {
		return nil, nil
	}
	active, _, err := p.active(ctx, t, token)
	if err != nil || !active {
		return nil, err
	}
	return &Caller{token.subject, token.application, token.scopes}, nil
}

// narrow leaves a token of the system tenant the scopes of the admin API that
// its subject holds now. Whoever is no operator is given none of them.
func (p *Provider) narrow(x *exchange, given *issued) error {
	if x.tenant.ID != id.SystemTenant || !slices.ContainsFunc(given.scopes, operator.Known) {
		return nil
	}
	held, err := p.Held(x.ctx, given.subject)
	if err != nil {
		return err
	}
	given.scopes = slices.DeleteFunc(slices.Clone(given.scopes), func(scope string) bool {
		return operator.Known(scope) && !slices.Contains(held, scope)
	})
	return nil
}

// scopesOfTenant are those that discovery names beside the standard ones.
func scopesOfTenant(t *tenant.Tenant) []string {
	if t.ID == id.SystemTenant {
		return operator.Scopes()
	}
	return nil
}
