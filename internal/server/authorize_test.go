package server_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
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
