package oauth

import (
	"context"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/organization"
)

// refresh is the refresh token grant (RFC 6749, section 6) with rotation (RFC
// 9700, section 4.14.2).
func (p *Provider) refresh(x *exchange) (*issued, error) {
	presented := x.form.get("refresh_token")
	if presented == "" {
		return nil, refuse(codeInvalidRequest, "The refresh_token is missing.")
	}
	requested, named, err := organizationScope(strings.Fields(x.form.get("scope")), false)
	if err != nil {
		return nil, err
	}
	var member *organization.Membership
	var resource string
	settings := x.tenant.Settings.Tokens
	refreshed, err := p.Grants.Rotate(x.ctx, x.tenant, grant.Presented{
		Application: x.app.ID, FirstParty: x.app.FirstParty, Token: presented, Allowed: x.app.Scopes, Requested: requested,
		Idle: lifetime(x.app.RefreshIdle, settings.RefreshIdle), Absolute: settings.RefreshAbsolute.D(),
		Suits: func(context string) (err error) {
			resource, err = chooseResource(x, parseLineageContext(context).resources)
			return err
		},
		Belongs: func(_ context.Context, who id.Customer, in id.Organization) (belongs bool, err error) {
			member, belongs, err = p.belonging(x, who, in)
			// Another organization is another authorization.
			return belongs && (named == "" || (member != nil && (named == string(in) || named == member.Organization.Slug))), err
		},
	})
	if err != nil {
		return nil, err
	}
	switch refreshed.Outcome {
	case grant.Rotated, grant.Repeated:
	case grant.Exceeded:
		return nil, refuse(codeInvalidScope, "The scope is more than the refresh token is good for.")
	default:
		return nil, refuse(codeInvalidGrant, "The refresh token is unknown, expired, revoked or used before.")
	}
	scopes := refreshed.Scopes
	if len(requested) > 0 {
		scopes = slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !slices.Contains(requested, s) })
	}
	began := parseLineageContext(refreshed.Context)
	given := &issued{
		subject: string(refreshed.Customer), scopes: scopes, refresh: refreshed.Refresh, member: member, resource: resource,
		access: accessClaims{session: refreshed.Session, lineage: refreshed.Lineage, authTime: began.authTime, methods: began.methods, acr: began.acr},
	}
	if slices.Contains(scopes, "openid") {
		// OpenID Connect Core 1.0, section 12.2: auth_time as it was, no nonce.
		given.id = &idClaims{session: refreshed.Session, authTime: began.authTime, methods: began.methods, acr: began.acr}
	}
	return given, nil
}
