package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// authTime is when an ID token says that its customer proved himself.
func authTime(t *testing.T, tokens servertest.Tokens) time.Time {
	t.Helper()
	at, _ := claims(t, tokens.ID)["auth_time"].(float64)
	return time.Unix(int64(at), 0)
}

// max_age holds when the code is made, not only when it is asked for: a page
// that was left open in between does not stretch it.
func TestMaxAgeHoldsAfterConsent(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		browser, _ := h.signIn()
		r := h.recipes.Authorize(url.Values{"max_age": {"60"}})
		p := browser.Get(h.recipes.URL(i, r))
		if !p.Has("decision") {
			t.Fatalf("no consent is asked for: %s", servertest.Text(p.Body))
		}
		i.Clock.Advance(40 * time.Minute)
		p = browser.Answer(p, url.Values{"decision": {"allow"}})
		if p.Location != nil || !p.Has("password") {
			t.Fatalf("40 minutes later max_age=60 does not ask: %v %s", p.Location, servertest.Text(p.Body))
		}
		p = browser.Answer(p, url.Values{"password": {anaPassword}})
		if tokens := h.recipes.Redeem(i, r, p); i.Clock.Now().Sub(authTime(t, tokens)) > time.Minute {
			t.Errorf("the ID token's auth_time is %s", authTime(t, tokens))
		}
		// To prove himself and to allow are asked once each, whatever the pages took.
		for _, change := range []url.Values{
			{"max_age": {"0"}, "prompt": {"consent"}}, {"max_age": {"10"}, "prompt": {"login consent"}}, {"prompt": {"consent login"}},
		} {
			r := h.recipes.Authorize(change)
			p := browser.Get(h.recipes.URL(i, r))
			began := i.Clock.Now()
			for _, step := range []struct {
				field string
				value string
			}{{"password", anaPassword}, {"decision", "allow"}} {
				if !p.Has(step.field) {
					t.Fatalf("%v: %s is not asked for: %v %s", change, step.field, p.Location, servertest.Text(p.Body))
				}
				i.Clock.Advance(2 * time.Minute)
				p = browser.Answer(p, url.Values{step.field: {step.value}})
			}
			if tokens := h.recipes.Redeem(i, r, p); authTime(t, tokens).Before(began.Truncate(time.Second)) {
				t.Errorf("%v: auth_time is %s, the request of %s", change, authTime(t, tokens), began)
			}
		}
		// One who is signed in and lets the question stand proves himself, allows
		// it and is done.
		r = h.recipes.Authorize(url.Values{"max_age": {"600"}, "prompt": {"consent"}})
		p = browser.Get(h.recipes.URL(i, r))
		i.Clock.Advance(11 * time.Minute)
		p = browser.Answer(p, url.Values{"decision": {"allow"}})
		p = browser.Answer(p, url.Values{"password": {anaPassword}})
		i.Clock.Advance(11 * time.Minute)
		p = browser.Answer(p, url.Values{"decision": {"allow"}})
		if tokens := h.recipes.Redeem(i, r, p); tokens.Status != http.StatusOK {
			t.Errorf("%+v", tokens)
		}
	})
}

// A parameter without a value is as if it were not there (RFC 6749, sections
// 3.1 and 3.2).
func TestEmptyParametersAreNone(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	spa := i.Application(h.tenant, func(s *application.Settings) { s.Kind = application.SPA })
	post := i.Application(h.tenant, func(s *application.Settings) { s.AuthMethod, s.PKCEOptional = application.AuthPost, true })
	browser, _ := h.signIn()
	empty := url.Values{}
	for _, name := range []string{"request", "request_uri", "response_mode", "prompt", "max_age", "login_hint", "ui_locales", "acr_values", "id_token_hint", "nonce", "claims", "display"} {
		empty.Set(name, "")
	}
	r := spa.Authorize(empty)
	p := browser.Get(spa.URL(i, r))
	more := redemption(r, "")
	if p.Location == nil || p.Location.Query().Get("code") == "" {
		t.Fatalf("empty parameters led to %v (%d)", p.Location, p.Status)
	}
	more.Set("code", p.Location.Query().Get("code"))
	for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type", "scope", "refresh_token"} {
		more.Set(name, "")
	}
	tokens := spa.Token(i, more)
	if tokens.Status != http.StatusOK {
		t.Errorf("an empty client_secret: %+v", tokens)
	}
	more = refreshing(tokens.Refresh)
	more.Set("scope", "")
	more.Set("client_secret", "")
	if got := spa.Token(i, more); got.Status != http.StatusOK || got.Scope != tokens.Scope {
		t.Errorf("an empty scope: %+v", got)
	}
	// Without openid, an application with one redirect URI need not name it.
	r = post.Authorize(url.Values{"scope": {"email"}, "redirect_uri": {""}, "code_challenge": {""}, "code_challenge_method": {""}})
	if p = browser.Get(post.URL(i, r)); p.Location == nil || p.Location.Query().Get("code") == "" {
		t.Fatalf("an empty redirect_uri led to %v (%d)", p.Location, p.Status)
	}
	status, _, body := send(t, http.MethodPost, i.Base+h.tenant.Path+"/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {p.Location.Query().Get("code")}, "redirect_uri": {""},
		"client_id": {string(post.ID)}, "client_secret": {post.Secret},
	}.Encode(), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
	if status != http.StatusOK {
		t.Errorf("an empty redirect_uri: %d %s", status, body)
	}
	for name, status := range map[string]int{"client_id": http.StatusUnauthorized, "grant_type": http.StatusBadRequest} {
		values := url.Values{"grant_type": {"client_credentials"}, "client_id": {string(post.ID)}, "client_secret": {post.Secret}}
		values.Set(name, "")
		if got, _, body := send(t, http.MethodPost, i.Base+h.tenant.Path+"/token", values.Encode(), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}); got != status {
			t.Errorf("an empty %s was answered %d %s", name, got, body)
		}
	}
}

// Initiating User Registration 1.0: prompt=create opens an account, whoever is
// signed in; where no accounts are opened, it signs in.
func TestPromptCreate(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		browser, _ := h.signIn()
		r := h.shop.Authorize(url.Values{"prompt": {"create"}})
		p := browser.Get(h.shop.URL(i, r))
		if p.Location != nil || !p.Has("identifier") || p.Has("password") || !strings.Contains(servertest.Text(p.Body), "Create") {
			t.Fatalf("prompt=create shows %v %s", p.Location, servertest.Text(p.Body))
		}
		p = browser.Answer(p, url.Values{"identifier": {"new@shop.example"}})
		p = browser.Answer(p, url.Values{"code": {i.Code("new@shop.example")}})
		p = browser.Answer(p, url.Values{"new_password": {"thyme-and-olives-at-noon"}})
		tokens := h.shop.Redeem(i, r, p)
		if _, claims := h.shop.UserInfo(i, tokens.Access); claims["email"] != "new@shop.example" || claims["sub"] == string(h.ana) {
			t.Errorf("userinfo answers %v", claims)
		}
		closed := newHouse(t, i, "closed", func(s *tenant.Settings) { s.SignUp.Enabled = false })
		r = closed.shop.Authorize(url.Values{"prompt": {"create"}})
		other := i.Browser()
		if p = other.Answer(other.Get(closed.shop.URL(i, r)), url.Values{"identifier": {anaMail}}); !p.Has("password") {
			t.Fatalf("where no accounts are opened prompt=create shows %s", servertest.Text(p.Body))
		}
		if tokens := closed.shop.Redeem(i, r, other.Answer(p, url.Values{"password": {anaPassword}})); tokens.Status != http.StatusOK {
			t.Errorf("%+v", tokens)
		}
	})
}

// OpenID Connect Core 1.0, section 3.1.2.1: prompts together ask for all that
// each asks for; none goes with no other.
func TestPromptsTogether(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	browser, _ := h.signIn()
	h.code(browser, h.recipes, nil) // allowed once, so that only prompts ask
	for _, c := range []struct {
		prompt string
		fields []string // asked for, one after another
		fault  string
	}{
		{"", nil, ""},
		{"none", nil, ""},
		{"consent", []string{"decision"}, ""},
		{"login", []string{"password"}, ""},
		{"login consent", []string{"password", "decision"}, ""},
		{"consent  login", []string{"password", "decision"}, ""},
		{"select_account", []string{"identifier", "password"}, ""},
		{"login select_account", []string{"identifier", "password"}, ""},
		{"select_account consent", []string{"identifier", "password", "decision"}, ""},
		{"none login", nil, "invalid_request"},
		{"none none", nil, "invalid_request"},
		{"consent none", nil, "invalid_request"},
		{"dance", nil, "invalid_request"},
		{"LOGIN", nil, "invalid_request"},
	} {
		r := h.recipes.Authorize(url.Values{"prompt": {c.prompt}})
		p := browser.Get(h.recipes.URL(i, r))
		for _, field := range c.fields {
			if p.Location != nil || !p.Has(field) {
				t.Fatalf("prompt=%s does not ask for %s: %v %s", c.prompt, field, p.Location, servertest.Text(p.Body))
			}
			p = browser.Answer(p, url.Values{field: {map[string]string{"decision": "allow", "password": anaPassword, "identifier": anaMail}[field]}})
		}
		if p.Location == nil || p.Location.Query().Get("error") != c.fault || p.Location.Query().Has("code") != (c.fault == "") {
			t.Errorf("prompt=%s led to %v: %s", c.prompt, p.Location, servertest.Text(p.Body))
		}
	}
}

// OpenID Connect Core 1.0, section 3.1.2.1: acr_values are wishes. What was
// reached is what the tokens say, whatever was wished for.
func TestWhatWasReachedIsSaid(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	browser, _ := h.signIn()
	for _, wished := range []string{"", "urn:cardea:acr:1fa", "urn:cardea:acr:2fa", "phr urn:cardea:acr:1fa", "\"}{"} {
		r, code := h.code(browser, h.shop, url.Values{"acr_values": {wished}})
		tokens := h.shop.Token(i, redemption(r, code))
		for name, token := range map[string]string{"ID": tokens.ID, "access": tokens.Access} {
			said := claims(t, token)
			if methods := texts(said["amr"]); said["acr"] != "urn:cardea:acr:1fa" || len(methods) != 1 || methods[0] != "pwd" {
				t.Errorf("acr_values=%q: the %s token says %v by %v", wished, name, said["acr"], said["amr"])
			}
		}
	}
}
