package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/jose"
	"github.com/cardea-id/cardea/internal/tenant"
)

// idClaims are the claims of an ID token that come from its grant.
type idClaims struct {
	session  id.Session
	nonce    string
	authTime int64
	methods  string
	acr      string
}

// signIDToken makes an ID token (OpenID Connect Core 1.0, section 2) with the
// algorithm that the application registered. What is known of the customer is
// had from userinfo, not from here (section 5.4).
func (p *Provider) signIDToken(x *exchange, given *issued, access string, now time.Time) (string, error) {
	alg := jose.Alg(x.app.IDTokenAlg)
	signer, err := p.SigningKeys.Signer(x.ctx, x.tenant.ID, alg)
	if err != nil {
		return "", err
	}
	c := make([]byte, 0, 768)
	c = append(c, `{"iss":`...)
	c = appendString(c, x.tenant.Issuer)
	c = append(c, `,"sub":"`...)
	c = append(c, given.subject...)
	c = append(c, `","aud":"`...)
	c = append(c, x.app.ID...)
	c = append(c, `","iat":`...)
	c = appendInt(c, now.Unix())
	c = append(c, `,"exp":`...)
	c = appendInt(c, now.Add(x.tenant.Settings.Tokens.ID.D()).Unix())
	c = append(c, `,"auth_time":`...)
	c = appendInt(c, given.id.authTime)
	c = append(c, `,"sid":"`...)
	c = append(c, given.id.session...)
	c = append(c, `","at_hash":"`...)
	c = appendHalfHash(c, alg, access)
	c = append(c, '"')
	if given.id.nonce != "" {
		c = append(c, `,"nonce":`...)
		c = appendString(c, given.id.nonce)
	}
	c = appendContext(c, given.id.acr, given.id.methods)
	in, err := organizationClaims(given.member, given.scopes)
	if err != nil {
		return "", err
	}
	c = append(c, in...)
	c = p.appendMapped(x.ctx, x.tenant, x.app, c, given.mapped, claim.IDToken)
	return signer.Sign("JWT", append(c, '}'))
}

// appendHalfHash writes the left half of a token's hash: at_hash (OpenID
// Connect Core 1.0, section 3.1.3.6). Ed25519 goes with SHA-512.
func appendHalfHash(c []byte, alg jose.Alg, token string) []byte {
	if alg == jose.EdDSA {
		sum := sha512.Sum512([]byte(token))
		return base64.RawURLEncoding.AppendEncode(c, sum[:len(sum)/2])
	}
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.AppendEncode(c, sum[:len(sum)/2])
}

// idToken is an ID token of ours that was presented as a hint.
type idToken struct {
	subject  id.Customer
	audience []string
	session  id.Session
}

// readIDToken verifies that a hint is an ID token that this tenant signed. It
// may have expired, and its key be published no more. It answers nil for what is
// not one.
func (p *Provider) readIDToken(ctx context.Context, t *tenant.Tenant, compact string) (*idToken, error) {
	keys, err := p.SigningKeys.HintVerifier(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	token, err := jose.Verify(compact, jose.Expect{Algs: []jose.Alg{jose.RS256, jose.ES256, jose.EdDSA}, Types: []string{"JWT"}}, keys)
	if err != nil || token.Claims.Issuer != t.Issuer || token.Claims.ValidateNotFuture(p.Clock.Now(), clockSkew) != nil {
		return nil, nil
	}
	var session string
	if err := optional(token.Claims, "sid", &session); err != nil || strings.HasPrefix(token.Claims.Subject, "app_") {
		return nil, nil
	}
	return &idToken{subject: id.Customer(token.Claims.Subject), audience: token.Claims.Audience, session: id.Session(session)}, nil
}
