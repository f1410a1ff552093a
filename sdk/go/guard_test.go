package cardea_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	cardea "github.com/cardea-id/cardea/sdk/go"
)

func TestAGoodTokenOpens(t *testing.T) {
	w := newWorld(t)
	g := w.guard(nil)
	for name, token := range map[string]string{
		"as Cardea makes it":       w.token(nil),
		"one of several audiences": w.token(object{"aud": []string{"https://other.example", audience}}),
		"an application's own":     w.token(object{"sub": "app_shop", "scope": nil}),
		"a time in parts":          w.token(object{"exp": float64(w.clock.now().Unix()) + 60.5}),
		"the type as media type":   w.headed(object{"typ": "application/AT+jwt"}),
		"a clock that is ahead":    w.token(object{"iat": w.clock.now().Unix() + 8, "nbf": w.clock.now().Unix() + 8}),
	} {
		if got := call(g, "Bearer "+token); got.status != http.StatusOK || !strings.HasPrefix(got.body, "orders of ") {
			t.Errorf("%s: %+v", name, got)
		}
		if got := call(g, "bearer  "+token); got.status != http.StatusOK {
			t.Errorf("%s, the scheme in small letters: %+v", name, got)
		}
	}
	if asked := w.count("/.well-known/openid-configuration") + w.count("/jwks"); asked != 2 {
		t.Errorf("the issuer was asked %d times", asked)
	}
}

func TestClaims(t *testing.T) {
	w := newWorld(t)
	claims, err := w.guard(nil).Verify(t.Context(), w.token(object{"sid": "ses_1", "auth_time": 1, "amr": []string{"pwd"}}))
	if err != nil {
		t.Fatal(err)
	}
	if claims.Subject != "cus_ana" || claims.ClientID != "app_shop" || claims.ID != "one" || !slices.Equal(claims.Scopes, []string{"openid", "orders:read"}) ||
		!claims.HasScopes("orders:read", "openid") || claims.HasScopes("orders:read", "orders:write") || !claims.HasScopes() || claims.HasScopes("orders") {
		t.Errorf("%+v", claims)
	}
	var methods []string
	if err := claims.Get("amr", &methods); err != nil || !slices.Equal(methods, []string{"pwd"}) || !claims.Has("sid") || claims.Has("SID") {
		t.Errorf("%v %v", methods, err)
	}
	if err := claims.Get("email", &methods); err == nil {
		t.Error("a claim that is not there was read")
	}
	if cardea.From(context.Background()) != nil {
		t.Error("claims without a token")
	}
}

func TestRefusalsFollowRFC6750(t *testing.T) {
	w := newWorld(t)
	g := w.guard(nil)
	good := w.token(nil)
	for _, c := range []struct {
		name      string
		given     []string
		scopes    []string
		status    int
		challenge string
	}{
		{"no token", nil, nil, 401, "Bearer"}, // no error code where none was tried (section 3.1)
		{"another scheme", []string{"Basic YTpi"}, nil, 401, "Bearer"},
		{"the scheme alone", []string{"Bearer"}, nil, 400, `Bearer error="invalid_request", error_description="The Authorization header has no token, or more than one."`},
		{"two tokens", []string{"Bearer " + good + ", Bearer " + good}, nil, 400, `Bearer error="invalid_request"`},
		{"two headers", []string{"Bearer " + good, "Bearer " + good}, nil, 400, `Bearer error="invalid_request"`},
		{"not a token", []string{"Bearer x"}, nil, 401, `Bearer error="invalid_token"`},
		{"a scope too few", []string{"Bearer " + good}, []string{"orders:read", "orders:write"}, 403, `Bearer error="insufficient_scope", error_description="The token lacks a scope that this needs.", scope="orders:read orders:write"`},
		{"all scopes", []string{"Bearer " + good}, []string{"orders:read"}, 200, ""},
	} {
		got := callScoped(g, c.scopes, c.given...)
		if got.status != c.status || !strings.HasPrefix(strings.Join(got.challenge, "|"), c.challenge) || len(got.challenge) > 1 {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// proof takes one word for the proof.
type proof struct{}

func (proof) Check(r *http.Request, _ string, claims *cardea.Claims) error {
	var bound map[string]string
	if err := claims.Get("cnf", &bound); err != nil {
		return err
	}
	for name := range bound {
		if name != "jkt" && name != "x5t#S256" {
			return errors.New("the token is bound in a way that is not known here")
		}
	}
	if r.Header.Get("DPoP") != "good" && bound["x5t#S256"] != "good" {
		return errors.New("the proof is not good")
	}
	return nil
}

func TestBoundTokensNeedTheirProof(t *testing.T) {
	w := newWorld(t)
	without, with := w.guard(nil), w.guard(func(c *cardea.Config) { c.Proof = proof{} })
	plain, dpop := w.token(nil), w.token(object{"cnf": object{"jkt": "x"}})
	certificate, thief := w.token(object{"cnf": object{"x5t#S256": "good"}}), w.token(object{"cnf": object{"x5t#S256": "stolen"}})
	unknown := w.token(object{"cnf": object{"new": "x"}})
	for _, c := range []struct {
		name, scheme, token, proof string
		with, without              int
	}{
		{"a plain token", "Bearer", plain, "", 200, 200},
		{"a plain token as if bound", "DPoP", plain, "good", 401, 401},
		{"a bound token with its proof", "DPoP", dpop, "good", 200, 401},
		{"a bound token with another proof", "DPoP", dpop, "bad", 401, 401},
		{"a bound token as bearer", "Bearer", dpop, "", 401, 401},
		{"a bound token as bearer, with a proof", "Bearer", dpop, "good", 401, 401},
		{"a token of a certificate", "Bearer", certificate, "", 200, 401},
		{"a token of a certificate, stolen", "Bearer", thief, "", 401, 401},
		{"bound in an unknown way", "Bearer", unknown, "good", 401, 401},
		{"bound to nothing", "Bearer", w.token(object{"cnf": object{}}), "good", 401, 401},
		{"bound to null", "Bearer", w.headedClaims(object{"cnf": rawNull}), "good", 401, 401},
	} {
		for g, want := range map[*cardea.Guard]int{with: c.with, without: c.without} {
			r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
			r.Header.Set("Authorization", c.scheme+" "+c.token)
			r.Header.Set("DPoP", c.proof)
			out := httptest.NewRecorder()
			g.Protect(http.NotFoundHandler()).ServeHTTP(out, r)
			got := out.Code
			if got == http.StatusNotFound {
				got = http.StatusOK
			}
			if got != want {
				t.Errorf("%s (checks proofs: %t): %d, want %d: %s", c.name, g == with, got, want, out.Body)
			}
		}
	}
	if got := call(with, "Bearer "+dpop); len(got.challenge) != 1 || !strings.HasPrefix(got.challenge[0], `DPoP error="invalid_token"`) || !strings.HasSuffix(got.challenge[0], `, algs="ES256"`) {
		t.Errorf("%+v", got)
	}
	if got := call(with); !slices.Equal(got.challenge, []string{"Bearer", `DPoP algs="ES256"`}) {
		t.Errorf("%+v", got)
	}
	for _, token := range []string{dpop, certificate} {
		if _, err := with.Verify(t.Context(), token); err == nil {
			t.Error("a bound token was taken without a request")
		}
	}
}

func TestIntrospection(t *testing.T) {
	w := newWorld(t)
	g := w.guard(func(c *cardea.Config) {
		c.Introspection = &cardea.Introspection{ClientID: "api", ClientSecret: "s/cret"}
	})
	token := w.token(nil)
	if got := call(g, "Bearer "+token); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	asked := w.count("/introspect")
	refused(t, "rubbish", g, "x.y.z")
	refused(t, "expired", g, w.token(object{"exp": 1}))
	if w.count("/introspect") != asked {
		t.Error("the issuer was asked about what is not a good token by itself")
	}
	w.set(func() { w.revoked["one"] = true })
	refused(t, "revoked", g, token)
	if _, err := g.Verify(t.Context(), token); err == nil {
		t.Error("a revoked token was taken")
	}
	w.set(func() { w.down = true })
	if got := call(g, "Bearer "+token); got.status != http.StatusServiceUnavailable || len(got.challenge) != 0 {
		t.Errorf("an issuer that is down: %+v", got)
	}
}

func TestWhatCannotBeSafeDoesNotStart(t *testing.T) {
	for name, c := range map[string]cardea.Config{
		"nothing":                       {},
		"no audience":                   {Issuer: "https://id.example.com"},
		"an issuer over http":           {Issuer: "http://id.example.com", Audience: audience},
		"an issuer with a query":        {Issuer: "https://id.example.com/?x=1", Audience: audience},
		"no issuer":                     {Audience: audience},
		"a symmetric algorithm":         {Issuer: "https://id.example.com", Audience: audience, Algorithms: []string{"ES256", "HS256"}},
		"no algorithm":                  {Issuer: "https://id.example.com", Audience: audience, Algorithms: []string{"none"}},
		"an algorithm in small letters": {Issuer: "https://id.example.com", Audience: audience, Algorithms: []string{"es256"}},
		"introspection by nobody":       {Issuer: "https://id.example.com", Audience: audience, Introspection: &cardea.Introspection{}},
		"time that runs backwards":      {Issuer: "https://id.example.com", Audience: audience, Skew: -1},
	} {
		if _, err := cardea.New(c); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
