// Package cardea protects an API with the access tokens of Cardea, or of any
// other issuer that keeps to RFC 9068.
//
//	guard, err := cardea.New(cardea.Config{Issuer: "https://id.example.com", Audience: "https://id.example.com"})
//	if err != nil {
//		log.Fatal(err)
//	}
//	http.Handle("GET /orders", guard.Protect(orders, "orders:read"))
//
// and in the handler
//
//	who := cardea.From(r.Context())
//
// A token is good when a key that the issuer publishes signed it with one of
// the algorithms in Config, its type is at+jwt, issuer and audience are the
// ones in Config, and it is neither expired nor from the future. Everything
// else is answered as RFC 6750 says. Keys are found by discovery at the first
// request, so that an API starts whether or not its issuer is up, and kept as
// keys.go says.
//
// It does not know how customers sign in: that is a client's business, for
// which golang.org/x/oauth2 and coreos/go-oidc serve.
package cardea

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The signature algorithms that an issuer may use. There are no symmetric
// ones: whoever could check such a token could make one.
const (
	ES256 = string(jose.ES256) // what Cardea signs access tokens with
	ES384 = string(jose.ES384)
	PS256 = string(jose.PS256)
	RS256 = string(jose.RS256)
	EdDSA = string(jose.EdDSA)
)

// Config says which tokens are good. Issuer and Audience are required.
type Config struct {
	// Issuer is the tenant's issuer exactly as in its discovery document.
	Issuer string
	// Audience is what this API is called in tokens that are meant for it.
	Audience string
	// Algorithms are those that tokens may be signed with; none is ES256.
	Algorithms []string

	// Introspection, when set, asks the issuer about each token that is good
	// by itself, so that one that was revoked is refused before it expires.
	Introspection *Introspection
	// Proof checks the proof of possession of tokens that are bound to a key
	// (claim cnf: RFC 9449, RFC 8705). Without one, bound tokens are refused.
	Proof Proof

	// Skew is how far ahead the issuer's clock may be; 0 is 10 s. It never
	// makes a token live longer.
	Skew time.Duration
	// KeysFor is how long keys are used before they are fetched anew; 0 is
	// what the issuer says, between 1 minute and 1 hour.
	KeysFor time.Duration
	// StaleFor is how long keys serve on while the issuer cannot be reached;
	// 0 is 24 h.
	StaleFor time.Duration

	HTTP   *http.Client     // nil: one that gives up after 5 s and follows no redirects
	Logger *slog.Logger     // nil: nothing is logged; tokens never are
	Now    func() time.Time // nil: time.Now
}

const (
	defaultSkew     = 10 * time.Second
	defaultStaleFor = 24 * time.Hour
	fetchTimeout    = 5 * time.Second
)

// Guard verifies tokens. It is safe for concurrent use; an API has one for
// each issuer.
type Guard struct {
	config     Config
	algorithms []jose.SignatureAlgorithm
	issuer     *issuer
}

// New checks the configuration. It asks the issuer nothing yet.
func New(c Config) (*Guard, error) {
	if err := secureAddress(c.Issuer); err != nil {
		return nil, fmt.Errorf("cardea: the issuer %q: %w", c.Issuer, err)
	}
	if c.Audience == "" {
		return nil, errors.New("cardea: no audience: say what this API is called in tokens that are meant for it")
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = []string{ES256}
	}
	g := &Guard{}
	for _, name := range c.Algorithms {
		if !slices.Contains([]string{ES256, ES384, PS256, RS256, EdDSA}, name) {
			return nil, fmt.Errorf("cardea: the algorithm %q is not one of ES256, ES384, PS256, RS256 and EdDSA", name)
		}
		g.algorithms = append(g.algorithms, jose.SignatureAlgorithm(name))
	}
	if i := c.Introspection; i != nil && (i.ClientID == "" || i.ClientSecret == "") {
		return nil, errors.New("cardea: introspection needs a client id and a client secret")
	}
	if c.Skew < 0 || c.KeysFor < 0 || c.StaleFor < 0 {
		return nil, errors.New("cardea: durations are not negative")
	}
	if c.Skew == 0 {
		c.Skew = defaultSkew
	}
	if c.StaleFor == 0 {
		c.StaleFor = defaultStaleFor
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{
			Timeout:       fetchTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	g.config = c
	g.issuer = newIssuer(&g.config, g.algorithms)
	return g, nil
}

// secureAddress refuses addresses that anyone on the way could answer for:
// keys come over https, or from this machine.
func secureAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return err
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("it is not an address such as https://id.example.com")
	case u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return errors.New("it is not https")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Protect serves next to requests with a good token that has all the scopes.
// Next finds the token's claims with From.
func (g *Guard) Protect(next http.Handler, scopes ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, err := g.Request(r, scopes...)
		if err != nil {
			g.Refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(With(r.Context(), claims)))
	})
}

// Require is Protect for routers that chain middleware.
func (g *Guard) Require(scopes ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return g.Protect(next, scopes...) }
}

// Request returns the claims of a request's token. The error is an *Error for
// Refuse to answer with.
func (g *Guard) Request(r *http.Request, scopes ...string) (*Claims, error) {
	scheme, token, err := presented(r)
	if err != nil {
		return nil, err
	}
	claims, err := g.check(r.Context(), token)
	if err != nil {
		return nil, err
	}
	if err := g.bound(r, scheme, token, claims); err != nil {
		return nil, err
	}
	if err := g.alive(r.Context(), token, claims); err != nil {
		return nil, err
	}
	if !claims.HasScopes(scopes...) {
		return nil, lacks(scopes)
	}
	return claims, nil
}

// Verify returns the claims of a bearer token that came by another way than
// the Authorization header of an HTTP request. Tokens that are bound to a key
// are refused: there is nothing here that could prove possession of it.
func (g *Guard) Verify(ctx context.Context, token string) (*Claims, error) {
	claims, err := g.check(ctx, token)
	if err != nil {
		return nil, err
	}
	if claims.Has("cnf") {
		return nil, bad("The token is bound to a key and was presented without proof of it.")
	}
	if err := g.alive(ctx, token, claims); err != nil {
		return nil, err
	}
	return claims, nil
}

type claimsKey struct{}

// With returns a context that From finds the claims in, for tests of handlers.
func With(ctx context.Context, claims *Claims) context.Context {
	return context.WithValue(ctx, claimsKey{}, claims)
}

// From returns the claims of the token that a request came with, nil where the
// handler is not protected.
func From(ctx context.Context) *Claims {
	claims, _ := ctx.Value(claimsKey{}).(*Claims)
	return claims
}
