package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/organization"
)

// badCode answers for every code that is not good: it does not tell why.
func badCode() error {
	return refuse(codeInvalidGrant, "The code is unknown, expired, used before, or was made for another application, redirect_uri or code_verifier.")
}

// redeemCode is the authorization code grant (RFC 6749, section 4.1.3; RFC
// 7636, section 4.6).
func (p *Provider) redeemCode(x *exchange) (*issued, error) {
	presented := x.form.get("code")
	if presented == "" {
		return nil, refuse(codeInvalidRequest, "The code is missing.")
	}
	c, ok, err := p.openCode(x.ctx, x.tenant, presented)
	if err != nil {
		return nil, err
	}
	trail := explain.Of(x.ctx)
	if !ok {
		trail.Because("The code is none that this tenant has made, or is from before a restore.")
		return nil, badCode()
	}
	if c.Application != x.app.ID {
		trail.Because("The code was made for another application, " + string(c.Application) + ".")
		return nil, badCode()
	}
	trail.About(c.Customer)
	// The redirect URI is repeated where the request named one; OAuth 2.1 drops
	// that, and with PKCE it may be left out.
	if uri := x.form.get("redirect_uri"); uri != c.RedirectURI && (uri != "" || c.Challenge == "") {
		trail.Because("The redirect_uri is not the one of the authorization request.")
		return nil, badCode()
	}
	if !verifierFits(c.Challenge, x.form) {
		trail.Because("The code_verifier is not the one that the code_challenge was made from.")
		return nil, badCode()
	}
	scopes := strings.Fields(c.Scope)
	// A scope that the application has lost since is not given any more.
	scopes = slices.DeleteFunc(scopes, func(s string) bool { return !slices.Contains(x.app.Scopes, s) })

	resource, err := chooseResource(x, c.Resources)
	if err != nil {
		return nil, err
	}
	member, good, err := p.belonging(x, c.Customer, c.Organization)
	if err != nil {
		return nil, err
	}
	if !good {
		return nil, badCode()
	}
	settings := x.tenant.Settings.Tokens
	refresh := x.app.Allows(application.GrantRefresh)
	absolute := settings.RefreshAbsolute.D()
	if !refresh {
		absolute = lifetime(x.app.AccessTTL, settings.Access)
	}
	redeemed, err := p.Grants.Redeem(x.ctx, x.tenant, grant.Redemption{
		Ref:        grant.Ref{Customer: c.Customer, Application: c.Application, Session: c.Session, Lineage: c.Lineage},
		FirstParty: x.app.FirstParty, Scopes: scopes, Claims: claimNames(scopes),
		Organization: c.Organization,
		Context:      lineageContext{c.AuthTime, c.Methods, c.ACR, c.Resources}.String(),
		Expires:      time.Unix(c.Expires, 0), Refresh: refresh, Idle: lifetime(x.app.RefreshIdle, settings.RefreshIdle), Absolute: absolute,
	})
	if err != nil {
		return nil, err
	}
	if redeemed.Outcome != grant.Began {
		return nil, badCode()
	}
	given := &issued{
		subject: string(c.Customer), scopes: scopes, refresh: redeemed.Refresh, member: member, resource: resource,
		access: accessClaims{session: c.Session, lineage: c.Lineage, authTime: c.AuthTime, methods: c.Methods, acr: c.ACR},
	}
	if slices.Contains(scopes, "openid") {
		given.id = &idClaims{session: c.Session, nonce: c.Nonce, authTime: c.AuthTime, methods: c.Methods, acr: c.ACR}
	}
	return given, nil
}

// verifierFits tells whether the code_verifier is the one that the challenge
// was made from, and that neither is there without the other (RFC 9700,
// section 4.8.2).
func verifierFits(challenge string, f form) bool {
	verifier := f.get("code_verifier")
	if challenge == "" {
		return !f.has("code_verifier")
	}
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

// claimNames is every claim that scopes release.
func claimNames(scopes []string) []string {
	var names []string
	for _, scope := range scopes {
		names = append(names, customer.ClaimsOf(scope)...)
		names = append(names, organization.ClaimsOf(scope)...)
	}
	return names
}

// lineageContext is what later tokens of a lineage repeat of its beginning.
type lineageContext struct {
	authTime  int64
	methods   string
	acr       string
	resources []string // that the authorization was for, of which none has a space or a bar
}

func (c lineageContext) String() string {
	text := strconv.FormatInt(c.authTime, 10) + "|" + c.methods + "|" + c.acr
	if len(c.resources) > 0 {
		text += "|" + strings.Join(c.resources, " ")
	}
	return text
}

func parseLineageContext(text string) lineageContext {
	time, rest, _ := strings.Cut(text, "|")
	methods, rest, _ := strings.Cut(rest, "|")
	acr, resources, _ := strings.Cut(rest, "|")
	at, err := strconv.ParseInt(time, 10, 64)
	if err != nil {
		at = 0
	}
	return lineageContext{at, methods, acr, strings.Fields(resources)}
}
