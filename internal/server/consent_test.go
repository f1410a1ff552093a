package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Items 75, 80, 88: the consent page and the account page name all that an
// application is allowed, also what the customer has not given yet: it goes out
// once he has.
func TestConsentNamesWhatIsNotKnownYet(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		browser, _ := h.signIn()
		r := h.recipes.Authorize(url.Values{"scope": {"openid phone address"}})
		p := browser.Get(h.recipes.URL(i, r))
		for _, want := range []string{"Once you have given it", "Your phone number", "Your address"} {
			if text := servertest.Text(p.Body); !strings.Contains(text, want) {
				t.Errorf("the consent page does not say %q: %s", want, text)
			}
		}
		p = browser.Answer(p, url.Values{"decision": {"allow"}})
		tokens := h.recipes.Redeem(i, r, p)
		account := servertest.Text(browser.Get(i.Base + h.tenant.Path + "/account/applications/" + string(h.recipes.ID)).Body)
		for _, want := range []string{"Once you have given it", "Your phone number", "Your address"} {
			if !strings.Contains(account, want) {
				t.Errorf("the account page does not say %q: %s", want, account)
			}
		}
		who, err := i.Directory.Get(t.Context(), h.tenant.ID, h.ana)
		if err != nil {
			t.Fatal(err)
		}
		key, err := i.Directory.Key(t.Context(), h.tenant.ID, h.ana)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := i.Ring.Tenant(t.Context(), h.tenant.ID)
		if err != nil {
			t.Fatal(err)
		}
		h.write(func(tx *sqldb.Tx) error {
			return i.Directory.SetProfile(tx, keys, key, h.tenant.ID, h.ana, who.Revision, map[string]any{"address": map[string]any{"locality": "Lemnos"}}, "test")
		})
		if _, claims := h.recipes.UserInfo(i, tokens.Access); claims["address"] == nil {
			t.Errorf("what was asked for is not given once it is known: %v", claims)
		}
		if text := servertest.Text(browser.Get(i.Base + h.tenant.Path + "/account/applications/" + string(h.recipes.ID)).Body); !strings.Contains(text, "Lemnos") {
			t.Errorf("the account page does not have the new value: %s", text)
		}
	})
}

// An application that is the tenant's own no more asks its customers, who keep
// what they had where they allow it.
func TestAnApplicationThatIsOfOthersNowAsks(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		h.party(h.recipes, true)
		browser := i.Browser()
		before := h.recipes.SignIn(i, browser, anaMail, anaPassword, nil)
		h.party(h.recipes, false)
		for _, asks := range []bool{true, false} {
			r := h.recipes.Authorize(nil)
			p := browser.Get(h.recipes.URL(i, r))
			if p.Has("decision") != asks {
				t.Fatalf("consent is asked for: %t, not %t", !asks, asks)
			}
			if asks {
				if h.recipes.Active(i, before.Access) || h.recipes.Token(i, refreshing(before.Refresh)).Error != "invalid_grant" {
					t.Error("before the customer allowed anything the application's tokens are good")
				}
				p = browser.Answer(p, url.Values{"decision": {"allow"}})
			}
			if tokens := h.recipes.Redeem(i, r, p); tokens.Status != http.StatusOK || !h.recipes.Active(i, tokens.Access) {
				t.Fatalf("after consent: %+v", tokens)
			}
		}
		if !h.recipes.Active(i, before.Access) || h.recipes.Token(i, refreshing(before.Refresh)).Status != http.StatusOK {
			t.Error("what was allowed since is not good with the tokens from before")
		}
	})
}

// Item 75: of every scope that an application may ask for the consent page has
// a line.
func TestConsentShowsEveryScope(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	app := i.Application(h.tenant, func(s *application.Settings) {
		s.Name, s.FirstParty = "Pantry", false
		s.Scopes = []string{"openid", "profile", "email", "phone", "address", "offline_access", "orders:read"}
	})
	browser, _ := h.signIn()
	seen := func(scope string) string {
		t.Helper()
		p := browser.Get(app.URL(i, app.Authorize(url.Values{"scope": {scope}})))
		if !p.Has("decision") {
			t.Fatalf("%s: no consent is asked for: %d %s", scope, p.Status, servertest.Text(p.Body))
		}
		return servertest.Text(p.Body)
	}
	for scope, want := range map[string][]string{
		"openid":         {"That you have an account here"},
		"email":          {"Your e-mail " + anaMail},
		"phone":          {"Your phone number"},
		"address":        {"Your address"},
		"offline_access": {"Access while you&#39;re away"},
		"orders:read":    {"orders:read"},
		"profile": {"Your name Ana", "Your first name Ana", "Your last name", "Your middle name", "Your nickname", "Your username", "Your profile", "Your picture",
			"Your website", "Your gender", "Your date of birth", "Your time zone", "Your language"},
	} {
		text := seen("openid " + scope)
		for _, want := range want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the page does not say %q: %s", scope, want, text)
			}
		}
	}
}
