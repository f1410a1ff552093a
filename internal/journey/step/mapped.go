package step

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/organization"
)

// Sharing is what an application gets, or would get, of a customer.
type Sharing struct {
	Application *application.Application
	Customer    *customer.Customer
	Scopes      []string
	Allowed     []string                 // the claims of the operator's own that are allowed, as claim.Set names them
	GrantedAt   time.Time                // since when
	Member      *organization.Membership // that its tokens are for, nil for none
	Now         time.Time
}

// Mapped are the operator's own claims that say something of the customer, as the
// application gets them: by the same facts that its tokens are made from. One
// that cannot be said now is among them, without a value.
func (s Sharing) Mapped(ctx context.Context, set *claim.Set) []Claim {
	if set.Empty() {
		return nil
	}
	profile, identifiers := s.Customer.Facts()
	facts := claim.Facts{
		Customer: string(s.Customer.ID), CreatedAt: s.Customer.CreatedAt, Profile: profile, Identifiers: identifiers, Scopes: s.Scopes, GrantedAt: s.GrantedAt,
		Application: string(s.Application.ID), Name: s.Application.Name, FirstParty: s.Application.FirstParty, Allowed: s.Allowed, Now: s.Now.UTC().Truncate(time.Second),
	}
	if s.Member != nil && slices.Contains(s.Scopes, organization.Scope) {
		facts.Organization, facts.Slug, facts.Roles = string(s.Member.Organization.ID), s.Member.Organization.Slug, s.Member.Roles
	}
	var claims []Claim
	for _, g := range set.Evaluate(ctx, facts) {
		if g.Personal && !slices.ContainsFunc(claims, func(c Claim) bool { return c.Name == g.Name }) {
			claims = append(claims, Claim{Name: g.Name, Value: g.Value, Label: g.Label, Mapped: true})
		}
	}
	return claims
}

// Belonging is a membership as its customer reads it.
func Belonging(m organization.Membership) string {
	return m.Organization.Name + " (" + strings.Join(m.Roles, ", ") + ")"
}
