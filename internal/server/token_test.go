package server_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/jose"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// OpenID Connect Core 1.0, sections 2 and 3.1.3.6: an ID token is signed as the
// application registered, by a published key, and says which access token it
// came with.
func TestIDTokensAreSignedAsRegistered(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		browser, _ := h.signIn()
		for registered, alg := range map[string]jose.Alg{"": jose.RS256, "RS256": jose.RS256, "ES256": jose.ES256, "EdDSA": jose.EdDSA} {
			app := i.Application(h.tenant, func(s *application.Settings) { s.IDTokenAlg = registered })
			r := app.Authorize(url.Values{"scope": {"openid offline_access"}})
			tokens := app.Redeem(i, r, browser.Get(app.URL(i, r)))
			refreshed := app.Token(i, refreshing(tokens.Refresh))
			_, _, set := send(t, http.MethodGet, h.tenant.Issuer+"/jwks", "", nil)
			keys, err := jose.ParseJWKS([]byte(set))
			if err != nil {
				t.Fatal(err)
			}
			for name, got := range map[string]servertest.Tokens{"redeemed": tokens, "refreshed": refreshed} {
				token, err := jose.Verify(got.ID, jose.Expect{Algs: []jose.Alg{alg}, Types: []string{"JWT"}}, keys)
				if err != nil {
					t.Fatalf("%q, %s: %v", registered, name, err)
				}
				sum := sha256.Sum256([]byte(got.Access))
				half := sum[:16]
				if alg == jose.EdDSA {
					sum := sha512.Sum512([]byte(got.Access))
					half = sum[:32]
				}
				said := claims(t, got.ID)
				if said["at_hash"] != base64.RawURLEncoding.EncodeToString(half) || said["aud"] != string(app.ID) || said["sub"] != string(h.ana) || said["iss"] != h.tenant.Issuer {
					t.Errorf("%q, %s: %v", registered, name, said)
				}
				if nonce := said["nonce"]; (name == "redeemed" && nonce != r.Nonce) || (name == "refreshed" && nonce != nil) {
					t.Errorf("%q, %s: the nonce is %v", registered, name, nonce)
				}
				if err := token.Claims.Validate(i.Clock.Now(), h.tenant.Issuer, string(app.ID), 0); err != nil {
					t.Errorf("%q, %s: %v", registered, name, err)
				}
			}
		}
	})
}

// Item 61: an application proves itself by the method that it registered, and
// by no other.
func TestASecretInTheForm(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	app := i.Application(h.tenant, func(s *application.Settings) { s.AuthMethod = application.AuthPost })
	browser, _ := h.signIn()
	r, code := h.code(browser, app, nil)
	post := func(path string, values url.Values, secret string) (int, string) {
		t.Helper()
		values.Set("client_id", string(app.ID))
		values.Set("client_secret", secret)
		status, _, body := send(t, http.MethodPost, h.tenant.Issuer+path, values.Encode(), formed)
		return status, body
	}
	if got := app.Token(i, redemption(r, code)); got.Error != "invalid_client" { // servertest speaks Basic
		t.Errorf("by another method: %+v", got)
	}
	if status, body := post("/token", redemption(r, code), app.Secret+"x"); status != http.StatusUnauthorized {
		t.Errorf("a wrong secret: %d %s", status, body)
	}
	status, body := post("/token", redemption(r, code), app.Secret)
	if status != http.StatusOK || !strings.Contains(body, `"access_token"`) {
		t.Fatalf("%d %s", status, body)
	}
	_, refresh, _ := strings.Cut(body, `"refresh_token":"`)
	refresh, _, _ = strings.Cut(refresh, `"`)
	if status, body := post("/introspect", url.Values{"token": {refresh}}, app.Secret); status != http.StatusOK || !strings.Contains(body, `"active":true`) {
		t.Errorf("introspection: %d %s", status, body)
	}
	if status, body := post("/token", refreshing(refresh), app.Secret); status != http.StatusOK {
		t.Errorf("refresh: %d %s", status, body)
	}
	if status, body := post("/revoke", url.Values{"token": {refresh}}, app.Secret); status != http.StatusOK {
		t.Errorf("revocation: %d %s", status, body)
	}
	if _, body := post("/introspect", url.Values{"token": {refresh}}, app.Secret); strings.Contains(body, "true") {
		t.Errorf("after the revocation: %s", body)
	}
}

// RFC 6749, section 6: a narrowed scope is the access token's, not the refresh
// token's.
func TestANarrowedScopeIsForOneToken(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		_, tokens := h.signIn()
		more := refreshing(tokens.Refresh)
		more.Set("scope", "profile openid")
		narrow := h.shop.Token(i, more)
		status, claims := h.shop.UserInfo(i, narrow.Access)
		if narrow.Scope != "openid profile" || status != http.StatusOK || claims["email"] != nil || claims["email_verified"] != nil || claims["given_name"] != "Ana" {
			t.Errorf("narrowed to %q, userinfo %d %v", narrow.Scope, status, claims)
		}
		more = refreshing(narrow.Refresh)
		more.Set("scope", "email")
		if bare := h.shop.Token(i, more); bare.Status != http.StatusOK || bare.ID != "" {
			t.Errorf("without openid: %+v", bare)
		} else if status, claims := h.shop.UserInfo(i, bare.Access); status != http.StatusForbidden || claims["error"] != "insufficient_scope" {
			t.Errorf("userinfo without openid: %d %v", status, claims)
		} else {
			whole := h.shop.Token(i, refreshing(bare.Refresh))
			if status, claims := h.shop.UserInfo(i, whole.Access); whole.Scope != tokens.Scope || status != http.StatusOK || claims["email"] != anaMail {
				t.Errorf("the next one has %q, userinfo %d %v", whole.Scope, status, claims)
			}
		}
	})
}

// SECURITY D5, items 38, 60: the lifetimes that an application has of its own.
func TestAnApplicationsOwnLifetimes(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", func(s *tenant.Settings) {
			s.Session.Idle, s.Session.Absolute = tenant.Duration(10*24*time.Hour), tenant.Duration(90*24*time.Hour)
		})
		strict := i.Application(h.tenant, func(s *application.Settings) {
			s.Name, s.AccessTTL, s.RefreshIdle, s.SessionMaxAge = "Bank", tenant.Duration(2*time.Minute), tenant.Duration(time.Hour), tenant.Duration(3*time.Hour)
		})
		browser, shops := h.signIn()
		open := func(prompt string) *servertest.Page {
			return browser.Get(strict.URL(i, strict.Authorize(url.Values{"prompt": {prompt}})))
		}
		r, code := h.code(browser, strict, nil)
		tokens := strict.Token(i, redemption(r, code))
		if tokens.Expires != 120 || shops.Expires != 600 {
			t.Errorf("access tokens are good for %d and %d seconds", tokens.Expires, shops.Expires)
		}
		i.Clock.Advance(119 * time.Second)
		if !strict.Active(i, tokens.Access) {
			t.Error("the access token has run out early")
		}
		i.Clock.Advance(2 * time.Second)
		if status, _ := strict.UserInfo(i, tokens.Access); strict.Active(i, tokens.Access) || status != http.StatusUnauthorized || !h.shop.Active(i, shops.Access) {
			t.Error("the access token outlives the application's own lifetime, or another's ends with it")
		}
		i.Clock.Advance(50 * time.Minute)
		if tokens = strict.Token(i, refreshing(tokens.Refresh)); tokens.Status != http.StatusOK {
			t.Fatalf("used within its time: %+v", tokens)
		}
		i.Clock.Advance(61 * time.Minute)
		if got := strict.Token(i, refreshing(tokens.Refresh)); got.Error != "invalid_grant" {
			t.Errorf("a refresh token unused for longer than the application allows: %+v", got)
		}
		if got := h.shop.Token(i, refreshing(shops.Refresh)); got.Status != http.StatusOK {
			t.Errorf("another application's: %+v", got)
		}
		if p := open("none"); p.Location == nil || !p.Location.Query().Has("code") {
			t.Fatalf("two hours after the sign-in it is asked again: %v", p.Location)
		}
		i.Clock.Advance(70 * time.Minute)
		if p := open("none"); p.Location == nil || p.Location.Query().Get("error") != "login_required" {
			t.Errorf("a session older than the application allows is taken: %v", p.Location)
		}
		if p := browser.Get(h.shop.URL(i, h.shop.Authorize(url.Values{"prompt": {"none"}}))); p.Location == nil || !p.Location.Query().Has("code") {
			t.Errorf("another application does not take it: %v", p.Location)
		}
		p := browser.Answer(open(""), url.Values{"password": {anaPassword}})
		if p.Location == nil || !p.Location.Query().Has("code") {
			t.Errorf("who proved himself again gets no code: %s", servertest.Text(p.Body))
		}
		// What was given under a longer lifetime ends under a shorter one.
		settings := h.shop.Settings
		settings.RefreshIdle = tenant.Duration(time.Minute)
		kept := h.shop.Token(i, refreshing(shops.Refresh))
		if kept.Status == http.StatusOK {
			t.Fatal("a replaced refresh token is taken")
		}
		r, code = h.code(browser, h.shop, nil)
		kept = h.shop.Token(i, redemption(r, code))
		if _, err := i.Applications.Update(t.Context(), h.tenant.ID, h.shop.ID, h.shop.Revision, settings, "test"); err != nil {
			t.Fatal(err)
		}
		i.Clock.Advance(2 * time.Minute)
		if got := h.shop.Token(i, refreshing(kept.Refresh)); got.Error != "invalid_grant" {
			t.Errorf("under a shorter lifetime: %+v", got)
		}
	})
}

// SECURITY items 3, O5: a password counts to its last letter.
func TestPasswordsCountWhole(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	common := strings.Repeat("lemon-orchard-at-dusk ", 4)[:72]
	h.Customer(h.tenant, "ben@shop.example", common+"with thyme")
	for _, wrong := range []string{common, common + "with sage!", common + "with thym", common + "with thymE", common + "with thyme "} {
		browser := i.Browser()
		if p := browser.Answer(h.passwordPage(browser, "ben@shop.example"), url.Values{"password": {wrong}}); signedIn(p) {
			t.Errorf("%q is taken", wrong)
		}
	}
	if tokens := h.shop.SignIn(i, i.Browser(), "ben@shop.example", common+"with thyme", nil); tokens.Status != http.StatusOK {
		t.Errorf("the right one: %+v", tokens)
	}
}

// SECURITY item 10: a password that was hashed under former parameters is
// hashed anew when its customer next signs in with it.
func TestASignInRehashes(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		stored := func() string {
			t.Helper()
			found, err := i.Passwords.Password(t.Context(), h.tenant.ID, h.ana)
			if err != nil {
				t.Fatal(err)
			}
			key, err := i.Directory.Key(t.Context(), h.tenant.ID, h.ana)
			if err != nil {
				t.Fatal(err)
			}
			hash, err := found.Hash(key)
			if err != nil {
				t.Fatal(err)
			}
			return string(hash)
		}
		before := stored()
		if !strings.Contains(before, "m=7168,t=5,p=1") {
			t.Fatalf("the hash is %.40s", before)
		}
		h.signIn()
		if stored() != before {
			t.Error("a sign-in under the same parameters changes the hash")
		}
		settings := h.tenant.Settings
		settings.Password.MemoryKiB, settings.Password.Time = 12*1024, 3
		if _, err := i.Tenants.Apply(t.Context(), h.tenant.ID, h.tenant.Revision, settings, "test"); err != nil {
			t.Fatal(err)
		}
		browser := i.Browser()
		if p := browser.Answer(h.passwordPage(browser, anaMail), url.Values{"password": {anaPassword + "x"}}); signedIn(p) || stored() != before {
			t.Error("a wrong password is taken, or changes the hash")
		}
		_, tokens := h.signIn()
		after := stored()
		if !strings.Contains(after, "m=12288,t=3,p=1") {
			t.Errorf("after a sign-in under new parameters the hash is %.40s", after)
		}
		h.signIn()
		if stored() != after || !h.shop.Active(i, tokens.Access) {
			t.Error("the new hash is not taken as it is, or the change ended sessions")
		}
	})
}
