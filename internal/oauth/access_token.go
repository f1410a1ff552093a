package oauth

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/jose"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/tenant"
)

// accessClaims are the claims of an access token that come from its grant.
type accessClaims struct {
	session  id.Session
	lineage  id.Lineage // "" for an application's own token
	authTime int64      // Unix seconds
	methods  string     // separated by spaces
	acr      string
}

// signAccessToken makes an access token (RFC 9068). Its audience is what audience
// says. The claim lin names its lineage, so that introspection sees when that has
// ended.
func (p *Provider) signAccessToken(x *exchange, given *issued, now time.Time, life time.Duration) (string, error) {
	signer, err := p.SigningKeys.Signer(x.ctx, x.tenant.ID, jose.ES256)
	if err != nil {
		return "", err
	}
	epoch, err := p.Ring.Epoch(x.ctx)
	if err != nil {
		return "", err
	}
	c := make([]byte, 0, 768)
	c = append(c, `{"iss":`...)
	c = appendString(c, x.tenant.Issuer)
	c = append(c, `,"sub":"`...)
	c = append(c, given.subject...)
	c = append(c, `","aud":`...)
	audience := audienceOf(x, given)
	c = appendAudience(c, audience)
	c = append(c, `,"client_id":"`...)
	c = append(c, x.app.ID...)
	c = append(c, `","iat":`...)
	c = appendInt(c, max(now.Unix(), epoch+1)) // after the second of a restore, see readAccessToken
	c = append(c, `,"exp":`...)
	c = appendInt(c, now.Add(life).Unix())
	c = append(c, `,"jti":"`...)
	c = appendRandom(c, p.Random)
	c = append(c, '"')
	if len(given.scopes) > 0 {
		c = append(c, `,"scope":`...)
		c = appendScope(c, given.scopes)
	}
	if a := given.access; a.lineage != "" {
		c = append(c, `,"lin":"`...)
		c = append(c, a.lineage...)
		c = append(c, `","sid":"`...)
		c = append(c, a.session...)
		c = append(c, `","auth_time":`...)
		c = appendInt(c, a.authTime)
		c = appendContext(c, a.acr, a.methods)
	}
	in, err := organizationClaims(given.member, given.scopes)
	if err != nil {
		return "", err
	}
	c = append(c, in...)
	c = p.appendMapped(x.ctx, x.tenant, x.app, c, given.mapped, claim.AccessToken, audience...)
	return signer.Sign("at+jwt", append(c, '}'))
}

// clockSkew is how far ahead the clock of the node may be that made a token
// (FAPI 2.0, section 5.3.2.1). It never makes a token live longer.
const clockSkew = 10 * time.Second

// accessToken is an access token of this issuer that was presented.
type accessToken struct {
	raw         jose.Claims
	subject     string
	application id.Application
	scopes      []string
	jti         string
	lineage     id.Lineage
	session     id.Session
	issued      time.Time
	expires     time.Time

	member *organization.Membership // that it is for, as active has read it; nil for none
}

// readAccessToken verifies an access token of the tenant, for whichever audience.
// It answers nil for everything that is not a good one: another issuer's, another
// type's, expired, or from before the installation was last restored. It does not
// tell whether it has been revoked, nor whether it is meant for whoever has it.
func (p *Provider) readAccessToken(ctx context.Context, t *tenant.Tenant, compact string) (*accessToken, error) {
	keys, err := p.SigningKeys.Verifier(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	token, err := jose.Verify(compact, jose.Expect{Algs: []jose.Alg{jose.ES256}, Types: []string{"at+jwt"}}, keys)
	if err != nil {
		return nil, nil
	}
	now := p.Clock.Now()
	if token.Claims.Issuer != t.Issuer || len(token.Claims.Audience) == 0 || token.Claims.ValidateTimes(now, clockSkew) != nil || !now.Before(token.Claims.Expires) {
		return nil, nil
	}
	a := &accessToken{
		raw: token.Claims, subject: token.Claims.Subject, jti: token.Claims.ID,
		issued: token.Claims.IssuedAt, expires: token.Claims.Expires,
	}
	var scope, application, lineage, session string
	if err := errors.Join(
		optional(token.Claims, "scope", &scope), token.Claims.Get("client_id", &application),
		optional(token.Claims, "lin", &lineage), optional(token.Claims, "sid", &session),
	); err != nil {
		return nil, nil
	}
	a.scopes, a.application = strings.Fields(scope), id.Application(application)
	a.lineage, a.session = id.Lineage(lineage), id.Session(session)
	epoch, err := p.Ring.Epoch(ctx)
	if err != nil {
		return nil, err
	}
	if a.issued.Unix() <= epoch {
		return nil, nil // from before a backup was restored, if only in the same second
	}
	return a, nil
}

func optional(claims jose.Claims, name string, into *string) error {
	if !claims.Has(name) {
		return nil
	}
	return claims.Get(name, into)
}

// active tells whether an access token is still good: its lineage, grant,
// session and customer, and the membership of the organization that it is for;
// for an application's own token the application and that it was not revoked. It
// returns the application that it was given to.
func (p *Provider) active(ctx context.Context, t *tenant.Tenant, a *accessToken) (bool, *application.Application, error) {
	if t.Suspended {
		return false, nil, nil
	}
	app, err := p.Applications.Get(ctx, t.ID, a.application)
	if err != nil || app.Disabled || !mayHave(app, t, a.raw.Audience) {
		return false, nil, notFoundIsNil(err)
	}
	if a.lineage == "" {
		revoked, err := p.Grants.Revoked(ctx, t.ID, a.jti)
		return !revoked, app, err
	}
	batch := p.DB.Batch()
	alive := p.Grants.QueueAlive(batch, t, grant.Ref{
		Customer: id.Customer(a.subject), Application: a.application, Session: a.session, Lineage: a.lineage,
	})
	if err := batch.Run(ctx); err != nil {
		return false, nil, err
	}
	state := alive()
	if !state.Active || (!app.FirstParty && state.Unasked) {
		return false, nil, nil
	}
	var good bool
	a.member, good, err = p.belonging(&exchange{ctx: ctx, tenant: t}, id.Customer(a.subject), state.Organization)
	return good, app, err
}

// appendContext adds acr and amr where they are known.
func appendContext(c []byte, acr, methods string) []byte {
	if acr != "" {
		c = append(c, `,"acr":`...)
		c = appendString(c, acr)
	}
	if methods != "" {
		c = append(c, `,"amr":[`...)
		for i, method := range strings.Fields(methods) {
			if i > 0 {
				c = append(c, ',')
			}
			c = appendString(c, method)
		}
		c = append(c, ']')
	}
	return c
}

func appendInt(c []byte, n int64) []byte { return strconv.AppendInt(c, n, 10) }

// appendScope writes scopes as one JSON string. Scope tokens hold no character
// that JSON escapes (RFC 6749, section 3.3).
func appendScope(c []byte, scopes []string) []byte {
	c = append(c, '"')
	for i, scope := range slices.All(scopes) {
		if i > 0 {
			c = append(c, ' ')
		}
		c = append(c, scope...)
	}
	return append(c, '"')
}
