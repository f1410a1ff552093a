package step

import (
	"context"
	"fmt"
	"slices"

	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/organization"
)

// Consent asks whether an application may have what it asks for, and shows the
// very values that it would get, and what it would get once that is known.
type Consent struct{ Capabilities }

// ConsentPrompt lists what the application would get.
type ConsentPrompt struct {
	As     string // the customer's own address
	Claims []Claim
	// Offline says that the application keeps its access while the customer is
	// away.
	Offline bool
	// Other are scopes of the tenant's own that release no claim.
	Other []string
}

// Claim is one thing that would be shared.
type Claim struct {
	Name  string // of OpenID Connect, or of the operator's own
	Value any    // nil when nothing is known yet
	// Label is what the operator calls a claim of his own, by language; nil for
	// one of OpenID Connect. Mapped says that it is one of his.
	Label  map[string]string
	Mapped bool
}

func (ConsentPrompt) Kind() string { return "consent" }

func (Consent) Outcomes() []string                               { return []string{"allowed", "denied"} }
func (Consent) Check(c journey.Config) error                     { return c.Only() }
func (Consent) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (c Consent) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	found, err := c.Directory.Get(ctx, run.Tenant.ID, run.State.Customer)
	if err != nil {
		return nil, fmt.Errorf("read what would be shared: %w", err)
	}
	p := ConsentPrompt{}
	if it, has := found.Primary(identifier.Email); has {
		p.As = it.Display
	}
	member, err := c.settled(ctx, run)
	if err != nil {
		return nil, err
	}
	values := found.Claims(run.State.Scopes)
	for _, scope := range run.State.Scopes {
		if scope == organization.Scope {
			claim := Claim{Name: organization.Scope}
			if member != nil {
				claim.Value = Belonging(*member)
			}
			p.Claims = append(p.Claims, claim)
			continue
		}
		names := customer.ClaimsOf(scope)
		for _, name := range names {
			if !slices.Contains(unshown, name) {
				p.Claims = append(p.Claims, Claim{Name: name, Value: values[name]})
			}
		}
		switch {
		case scope == "offline_access":
			p.Offline = true
		case scope != "openid" && len(names) == 0:
			p.Other = append(p.Other, scope)
		}
	}
	set := c.mappedOf(run)
	allowed := set.Consents(run.State.Scopes)
	// What is allowed is what is shown, whatever the operator maps until the
	// answer comes.
	run.State.Asked = allowed
	if run.Application != nil {
		p.Claims = append(p.Claims, Sharing{
			Application: run.Application, Customer: found, Scopes: run.State.Scopes, Allowed: allowed,
			GrantedAt: run.Now, Member: member, Now: run.Now,
		}.Mapped(ctx, set)...)
	}
	// What is not known yet is allowed with the rest, and goes out once it is:
	// it is listed too, after what there is.
	slices.SortStableFunc(p.Claims, func(a, b Claim) int {
		switch {
		case (a.Value == nil) == (b.Value == nil):
			return 0
		case a.Value == nil:
			return 1
		default:
			return -1
		}
	})
	return p, nil
}

// unshown are claims that only say something about another one.
var unshown = []string{"email_verified", "phone_number_verified", "updated_at"}

// mappedOf are the operator's own claims for the application of a run, none
// where a journey was begun for no application.
func (c Capabilities) mappedOf(run *journey.Run) *claim.Set {
	if run.Application == nil {
		return nil
	}
	return run.Application.ClaimSet(c.Claims, run.Tenant)
}

func (Consent) Answer(_ context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if run.Application == nil || run.State.Session == "" {
		return journey.Result{}, journey.ErrForged
	}
	// The answer is worth what the session is: it must still be there.
	if now := run.Client.Session; now == nil || now.ID != run.State.Session || now.Customer != run.State.Customer {
		return journey.Result{}, journey.ErrCrossed
	}
	if answer.Choice != "" {
		return journey.Again(), nil
	}
	switch answer.Value("decision") {
	case "allow":
		return journey.To("allowed"), nil
	case "deny":
		return journey.To("denied"), nil
	}
	return journey.Again(), nil
}

// claimsOf is every claim that scopes release.
func claimsOf(scopes []string) []string {
	var names []string
	for _, scope := range scopes {
		names = append(names, customer.ClaimsOf(scope)...)
		names = append(names, organization.ClaimsOf(scope)...)
	}
	return names
}
