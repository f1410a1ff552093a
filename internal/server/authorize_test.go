package server_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/server/servertest"
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
