package oauth

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/tenant"
)

// issued is what a grant gives, before it is written as tokens.
type issued struct {
	subject string // the customer, or the application for its own tokens
	scopes  []string
	access  accessClaims
	id      *idClaims                // nil for no ID token
	refresh string                   // "" for no refresh token
	member  *organization.Membership // that the tokens are for, nil for none
	mapped  []claim.Given            // the operator's own claims

	resource string // that the access token is for, "" for the issuer's own endpoints
}

// grantType is one way to get tokens. By the time that it is called the
// application has proved itself and may use it.
type grantType func(*Provider, *exchange) (*issued, error)

// grantTypes is every grant type that the token endpoint takes.
var grantTypes = map[string]grantType{
	application.GrantCode:        (*Provider).redeemCode,
	application.GrantRefresh:     (*Provider).refresh,
	application.GrantCredentials: (*Provider).clientCredentials,
}

func grantTypeNames() []string { return slices.Sorted(maps.Keys(grantTypes)) }

// token is the token endpoint (RFC 6749, section 3.2): the pipeline that every
// grant goes through.
func (p *Provider) token(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	f, err := readForm(w, r)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	x := &exchange{ctx: r.Context(), tenant: t, form: f, basic: r.Header.Get("Authorization"), address: p.Resolver.Client(r).IP}
	if err := p.check(atToken, x); err != nil {
		p.writeError(w, r, err)
		return
	}
	if t.Suspended {
		p.writeError(w, r, refuse(codeInvalidGrant, "This service is closed."))
		return
	}
	explain.Of(r.Context()).Uses(f.get("grant_type"))
	given, err := grantTypes[f.get("grant_type")](p, x)
	if err != nil {
		explain.Of(r.Context()).Decided("the grant "+f.get("grant_type"), passed(atToken, "")...)
		p.writeError(w, r, err)
		return
	}
	if err := p.narrow(x, given); err != nil {
		p.writeError(w, r, err)
		return
	}
	body, err := p.writeTokens(x, given)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // a reader who has gone is no fault
}

// writeTokens signs the tokens of a response (RFC 6749, section 5.1).
func (p *Provider) writeTokens(x *exchange, given *issued) ([]byte, error) {
	now := p.Clock.Now()
	life := lifetime(x.app.AccessTTL, x.tenant.Settings.Tokens.Access)
	if given.access.lineage != "" {
		var err error
		given.mapped, err = p.mapped(x.ctx, x.tenant, x.app, x.app.ClaimSet(p.Claims, x.tenant), id.Customer(given.subject), nil, given.member, given.scopes)
		if err != nil {
			return nil, err
		}
	}
	access, err := p.signAccessToken(x, given, now, life)
	if err != nil {
		return nil, err
	}
	body := make([]byte, 0, 3072)
	body = append(body, `{"access_token":"`...)
	body = append(body, access...)
	body = append(body, `","token_type":"Bearer","expires_in":`...)
	body = appendInt(body, int64(life/time.Second))
	if len(given.scopes) > 0 {
		body = append(body, `,"scope":`...)
		body = appendScope(body, given.scopes)
	}
	if given.refresh != "" {
		body = append(body, `,"refresh_token":"`...)
		body = append(body, given.refresh...)
		body = append(body, '"')
	}
	if given.id != nil {
		token, err := p.signIDToken(x, given, access, now)
		if err != nil {
			return nil, err
		}
		body = append(body, `,"id_token":"`...)
		body = append(body, token...)
		body = append(body, '"')
	}
	return append(body, '}', '\n'), nil
}
