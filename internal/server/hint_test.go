package server_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/jose"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// rotate changes the tenant's signing key, to the end: the former one is not
// published any more.
func (h *house) rotate(alg jose.Alg) {
	h.t.Helper()
	if _, err := h.SigningKeys.Rotate(h.t.Context(), h.tenant.ID, alg, "test"); err != nil {
		h.t.Fatal(err)
	}
	for _, later := range []time.Duration{6 * time.Minute, 26 * time.Hour} {
		h.Clock.Advance(later)
		if err := h.SigningKeys.Advance(h.t.Context()); err != nil {
			h.t.Fatal(err)
		}
		h.Clock.Advance(configversion.Staleness + time.Millisecond)
	}
}

// staying signs ana in, who chooses to stay.
func (h *house) staying() (*servertest.Browser, servertest.Tokens) {
	h.t.Helper()
	browser := h.Browser()
	r := h.shop.Authorize(nil)
	p := browser.Answer(browser.Get(h.shop.URL(h.Installation, r)), url.Values{"identifier": {anaMail}})
	p = browser.Answer(p, url.Values{"password": {anaPassword}, "stay": {"true"}})
	return browser, h.shop.Redeem(h.Installation, r, p)
}

// An ID token is a hint at who is signed in for as long as he may be, whatever
// became of the key that signed it.
func TestAHintOutlivesItsKey(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		browser, tokens := h.staying()
		h.rotate(jose.ES256)
		if _, _, set := send(t, http.MethodGet, i.Base+h.tenant.Path+"/jwks", "", nil); len(set) == 0 || kidIn(t, tokens.ID, set) {
			t.Fatalf("the former key is published: %s", set)
		}
		if h.shop.Active(i, tokens.Access) {
			t.Error("an access token outlives its key")
		}
		silent := h.shop.Authorize(url.Values{"id_token_hint": {tokens.ID}, "prompt": {"none"}})
		if p := browser.Get(h.shop.URL(i, silent)); p.Location == nil || p.Location.Query().Get("code") == "" {
			t.Errorf("the hint led to %v (%d)", p.Location, p.Status)
		}
		leave := i.Base + h.tenant.Path + "/end_session?" + url.Values{"id_token_hint": {tokens.ID}, "client_id": {string(h.shop.ID)}, "post_logout_redirect_uri": {"https://shop.example/bye"}}.Encode()
		p := browser.Get(leave)
		if !p.Has("decision") {
			t.Fatalf("sign-out does not ask: %d %s", p.Status, servertest.Text(p.Body))
		}
		if p = browser.Answer(p, url.Values{"decision": {"sign_out"}}); p.Location == nil || p.Location.String() != "https://shop.example/bye" {
			t.Errorf("signing out led to %v", p.Location)
		}
	})
}

// A hint that cannot be read names nobody (OpenID Connect Core 1.0, section
// 3.1.2.1; RP-Initiated Logout 1.0, section 4): the customer is asked, and
// nothing is done on its word.
func TestAHintThatCannotBeReadNamesNobody(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		other := newHouse(t, i, "other", nil)
		_, foreign := other.signIn()
		browser, tokens := h.staying()
		third := h.recipes.SignIn(i, browser, anaMail, anaPassword, nil)
		for name, hint := range map[string]string{"no token": "x.y.z", "another tenant's": foreign.ID, "another application's": third.ID, "an access token": tokens.Access} {
			silent := h.shop.Authorize(url.Values{"id_token_hint": {hint}, "prompt": {"none"}})
			if p := browser.Get(h.shop.URL(i, silent)); p.Location == nil || p.Location.Query().Get("error") != "login_required" {
				t.Errorf("%s: prompt=none led to %v (%d)", name, p.Location, p.Status)
			}
			r := h.shop.Authorize(url.Values{"id_token_hint": {hint}})
			p := browser.Get(h.shop.URL(i, r))
			if !p.Has("password") {
				t.Fatalf("%s: the customer is not asked: %v %s", name, p.Location, servertest.Text(p.Body))
			}
			if got := h.shop.Redeem(i, r, browser.Answer(p, url.Values{"password": {anaPassword}})); got.Status != http.StatusOK || genuineSub(t, got.Access) != string(h.ana) {
				t.Errorf("%s: %+v", name, got)
			}
		}
		leave := func(values url.Values) *servertest.Page {
			return browser.Get(i.Base + h.tenant.Path + "/end_session?" + values.Encode())
		}
		bye := url.Values{"id_token_hint": {foreign.ID}, "post_logout_redirect_uri": {"https://shop.example/bye"}}
		p := leave(bye)
		if !p.Has("decision") {
			t.Fatalf("sign-out does not ask: %d %s", p.Status, servertest.Text(p.Body))
		}
		if p = browser.Answer(p, url.Values{"decision": {"stay"}}); p.Location != nil {
			t.Errorf("on the word of a hint that cannot be read the browser was sent to %v", p.Location)
		}
		bye.Set("client_id", string(h.shop.ID))
		p = leave(bye)
		if !p.Has("decision") {
			t.Fatalf("sign-out with client_id does not ask: %d %s", p.Status, servertest.Text(p.Body))
		}
		if p = browser.Answer(p, url.Values{"decision": {"sign_out"}}); p.Location == nil || p.Location.String() != "https://shop.example/bye" {
			t.Errorf("signing out led to %v", p.Location)
		}
		// The hint of one application and the client_id of another do not go together.
		bye.Set("id_token_hint", third.ID)
		if p = leave(bye); p.Location != nil || p.Status != http.StatusBadRequest {
			t.Errorf("two applications at once: %d to %v", p.Status, p.Location)
		}
	})
}

// A disabled application is as unknown at sign-out as everywhere.
func TestADisabledApplicationIsNotGoneTo(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	browser, tokens := h.signIn()
	settings := h.shop.Settings
	settings.Disabled = true
	if _, err := i.Applications.Update(t.Context(), h.tenant.ID, h.shop.ID, h.shop.Revision, settings, "test"); err != nil {
		t.Fatal(err)
	}
	for _, values := range []url.Values{{"client_id": {string(h.shop.ID)}}, {"id_token_hint": {tokens.ID}}} {
		values.Set("post_logout_redirect_uri", "https://shop.example/bye")
		for _, b := range []*servertest.Browser{browser, i.Browser()} {
			if p := b.Get(i.Base + h.tenant.Path + "/end_session?" + values.Encode()); p.Location != nil || p.Status != http.StatusBadRequest {
				t.Errorf("%v: %d to %v", values, p.Status, p.Location)
			}
		}
	}
}
