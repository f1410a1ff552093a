package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/expr"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/tenant"
)

// mapped evaluates the mapped claims for a customer, who may have been read
// already. It reads what they name and nothing else, and writes nothing. Who was
// erased meanwhile has none.
func (p *Provider) mapped(ctx context.Context, t *tenant.Tenant, app *application.Application, set *claim.Set, who id.Customer, known *customer.Customer, member *organization.Membership, scopes []string) ([]claim.Given, error) {
	if set.Empty() {
		return nil, nil
	}
	facts := claim.Facts{Customer: string(who), Scopes: scopes, Application: string(app.ID), Name: app.Name, FirstParty: app.FirstParty, Now: p.Clock.Now().UTC().Truncate(time.Second)}
	if member != nil && slices.Contains(scopes, organization.Scope) {
		facts.Organization, facts.Slug, facts.Roles = string(member.Organization.ID), member.Organization.Slug, member.Roles
	}
	if set.NeedsCustomer() {
		if known == nil {
			var err error
			known, err = p.Directory.Get(ctx, t.ID, who)
			if errors.Is(err, customer.ErrErased) || errors.Is(err, customer.ErrNotFound) {
				return nil, nil
			}
			if err != nil {
				return nil, fmt.Errorf("read what mapped claims name: %w", err)
			}
		}
		facts.Profile, facts.Identifiers = known.Facts()
		facts.CreatedAt = known.CreatedAt
	}
	if set.NeedsGrant(app.FirstParty) {
		granted, found, err := p.Grants.Find(ctx, t.ID, who, app.ID)
		if err != nil {
			return nil, err
		}
		if found {
			facts.GrantedAt = granted.GrantedAt
			if !granted.FirstParty { // what was never asked for allows nothing
				facts.Allowed = granted.Claims
			}
		}
	}
	return set.Evaluate(ctx, facts), nil
}

// appendMapped writes the mapped claims of a target after those that a token has.
func (p *Provider) appendMapped(ctx context.Context, t *tenant.Tenant, app *application.Application, c []byte, given []claim.Given, target claim.Target, audience ...string) []byte {
	for _, g := range p.kept(ctx, t, app, claim.For(given, target, audience...)) {
		c = append(c, ',')
		c = appendString(c, g.Name)
		c = append(c, ':')
		c = append(c, g.JSON...)
	}
	return c
}

// kept are the claims that did not fail. Those that did are counted, and told to
// the log unless all that happened is that the customer has not told something.
func (p *Provider) kept(ctx context.Context, t *tenant.Tenant, app *application.Application, given []claim.Given) []claim.Given {
	kept := given[:0]
	for _, g := range given {
		if g.Err == nil {
			kept = append(kept, g)
			continue
		}
		if p.ClaimDropped != nil {
			p.ClaimDropped()
		}
		level := slog.LevelWarn
		if errors.Is(g.Err, expr.ErrMissing) {
			level = slog.LevelDebug
		}
		p.Logger.LogAttrs(ctx, level, "a mapped claim was dropped", slog.String("tenant", string(t.ID)), slog.String("application", string(app.ID)),
			slog.String("claim", g.Name), slog.String("why", g.Err.Error()))
	}
	return kept
}

// Preview is what an application would get of a customer.
type Preview struct {
	Scopes      []string       `json:"scopes"`
	IDToken     map[string]any `json:"id_token"`
	AccessToken map[string]any `json:"access_token"`
	UserInfo    map[string]any `json:"userinfo"`
	Dropped     []DroppedClaim `json:"dropped"`
}

// DroppedClaim is a mapped claim that an application would not get.
type DroppedClaim struct {
	Name string `json:"name"`
	In   string `json:"in"`
	Why  string `json:"why"`
}

// PreviewClaims shows what an application would get of a customer with scopes, and
// in an access token for a resource ("" for none), by the same code that makes its tokens. Mappings, where they are given, are
// tried in place of the application's own. For a third party it is what the
// customer would be asked to allow, as if it were allowed. Where the scopes ask
// for an organization it is the customer's only one, or the first of several by
// name, as if he had chosen it.
func (p *Provider) PreviewClaims(ctx context.Context, t *tenant.Tenant, app *application.Application, who *customer.Customer, scopes []string, resource string, mappings []claim.Mapping) (*Preview, error) {
	set := app.ClaimSet(p.Claims, t)
	if mappings != nil {
		set = claim.Compile(t.Settings.Claims, mappings)
	}
	asked := *app
	asked.FirstParty = true // as if all were allowed
	member, err := p.previewed(ctx, t, who.ID, scopes)
	if err != nil {
		return nil, err
	}
	given, err := p.mapped(ctx, t, &asked, set, who.ID, who, member, scopes)
	if err != nil {
		return nil, err
	}
	audience := audienceOf(&exchange{tenant: t}, &issued{scopes: scopes, resource: resource})
	preview := &Preview{Scopes: scopes, Dropped: []DroppedClaim{}, UserInfo: who.Claims(scopes),
		IDToken:     map[string]any{"iss": t.Issuer, "sub": who.ID, "aud": app.ID},
		AccessToken: map[string]any{"iss": t.Issuer, "sub": who.ID, "aud": oneOrMany(audience), "client_id": app.ID, "scope": scopes}}
	preview.UserInfo["sub"] = who.ID
	for _, into := range []map[string]any{preview.IDToken, preview.AccessToken, preview.UserInfo} {
		addOrganization(into, member, scopes)
	}
	for target, into := range map[claim.Target]map[string]any{claim.IDToken: preview.IDToken, claim.AccessToken: preview.AccessToken, claim.UserInfo: preview.UserInfo} {
		for _, g := range claim.For(given, target, audience...) {
			if g.Err != nil {
				preview.Dropped = append(preview.Dropped, DroppedClaim{g.Name, string(target), g.Err.Error()})
				continue
			}
			into[g.Name] = g.Value
		}
	}
	return preview, nil
}

// previewed is the membership that a preview is for, nil for none.
func (p *Provider) previewed(ctx context.Context, t *tenant.Tenant, who id.Customer, scopes []string) (*organization.Membership, error) {
	if !slices.Contains(scopes, organization.Scope) {
		return nil, nil //nolint:nilnil // no membership is an answer
	}
	memberships, err := p.Organizations.Memberships(ctx, t.ID, who)
	if err != nil || len(memberships) == 0 {
		return nil, err
	}
	return &memberships[0], nil
}
