package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// ownClaims are an operator's: of the customer, of the grant, of nobody, and one
// that fails.
var ownClaims = []claim.Mapping{
	{Name: "https://shop.example/hello", Value: `"Hello " + profile.given_name`, In: claim.Targets, Scope: "profile", Label: map[string]string{"en": "Your greeting"}},
	{Name: "login_mail", Value: `identifiers.email`, In: claim.Targets},
	{Name: "plan", Value: `"profile" in grant.scopes ? "full" : "small"`, In: []claim.Target{claim.AccessToken, claim.IDToken}},
	{Name: "nickname_length", Value: `size(profile.nickname)`, In: claim.Targets},
	{Name: "api_only", Value: `"x"`, In: []claim.Target{claim.AccessToken}, Audience: []string{"https://api.example"}},
}

func withClaims(s *tenant.Settings) { s.Claims = slices.Clone(ownClaims) }

// Mapped claims are in ID tokens, access tokens, introspection and userinfo, at
// every way to get one, and a mapping that fails breaks nothing.
func TestMappedClaims(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", withClaims)
		browser := i.Browser()
		tokens := h.shop.SignIn(i, browser, anaMail, anaPassword, nil)
		if tokens.Status != http.StatusOK {
			t.Fatalf("a mapping that fails breaks the sign-in: %+v", tokens)
		}
		check := func(what string, got map[string]any, want map[string]any) {
			t.Helper()
			for name, value := range want {
				if got[name] != value {
					t.Errorf("%s: %s is %v in place of %v", what, name, got[name], value)
				}
			}
			for _, name := range []string{"nickname_length", "api_only"} {
				if _, has := got[name]; has {
					t.Errorf("%s: %s is there", what, name)
				}
			}
		}
		hello := "https://shop.example/hello"
		all := map[string]any{hello: "Hello Ana", "login_mail": anaMail, "plan": "full"}
		check("the ID token", claims(t, tokens.ID), all)
		check("the access token", claims(t, tokens.Access), all)
		_, info := h.shop.UserInfo(i, tokens.Access)
		check("userinfo", info, map[string]any{hello: "Hello Ana", "login_mail": anaMail, "plan": nil})
		refreshed := h.shop.Token(i, refreshing(tokens.Refresh))
		check("a refreshed ID token", claims(t, refreshed.ID), all)
		narrow := h.shop.Token(i, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshed.Refresh}, "scope": {"openid"}})
		check("a token of fewer scopes", claims(t, narrow.Access), map[string]any{hello: nil, "login_mail": anaMail, "plan": "small"})
		if sub := claims(t, tokens.ID)["sub"]; sub != string(h.ana) {
			t.Errorf("the sub is %v", sub)
		}
		status, _, body, err := h.shop.Post(i, "/introspect", url.Values{"token": {tokens.Access}})
		if err != nil || status != http.StatusOK || !strings.Contains(body, `"Hello Ana"`) || !strings.Contains(body, `"plan":"full"`) {
			t.Errorf("introspection says %s, %v", body, err)
		}
		_, _, discovery := send(t, http.MethodGet, i.Base+h.tenant.Path+"/.well-known/openid-configuration", "", nil)
		if !strings.Contains(discovery, `"`+hello+`"`) || !strings.Contains(discovery, `"plan"`) {
			t.Error("discovery does not tell of the tenant's claims")
		}
		metrics := h.metric("cardea_claims_dropped_total")
		if metrics == 0 {
			t.Error("what is dropped is not counted")
		}
		// An application for itself has no customer to map.
		own := h.machine().Token(i, url.Values{"grant_type": {"client_credentials"}})
		if got := claims(t, own.Access); got["plan"] != nil || got["login_mail"] != nil {
			t.Errorf("a machine's token has %v", got)
		}
		// Changed settings hold at once, and what reserved names mean is not for sale.
		settings := h.tenant.Settings
		settings.Claims = []claim.Mapping{{Name: "sub", Value: `"somebody"`, In: claim.Targets}}
		if _, err := i.Tenants.Apply(t.Context(), h.tenant.ID, 0, settings, "test"); err == nil || !strings.Contains(err.Error(), "meaning of its own") {
			t.Errorf("sub is mapped: %v", err)
		}
		settings.Claims = nil
		if _, err := i.Tenants.Apply(t.Context(), h.tenant.ID, 0, settings, "test"); err != nil {
			t.Fatal(err)
		}
		if later := h.shop.Token(i, refreshing(narrow.Refresh)); claims(t, later.Access)["plan"] != nil {
			t.Error("a mapping that is no more is in a token")
		}
	})
}

func (h *house) metric(name string) int {
	h.t.Helper()
	w := httptest.NewRecorder()
	h.MetricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if rest, is := strings.CutPrefix(line, name+" "); is && strings.TrimSpace(rest) != "0" {
			return 1
		}
	}
	return 0
}

// V2: a third party gets what its customer was shown, with the value, and has
// allowed; a claim of another meaning is asked for again.
func TestMappedClaimsAreAllowedFirst(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", withClaims)
		browser := i.Browser()
		r := h.recipes.Authorize(nil)
		p := browser.Answer(browser.Get(h.recipes.URL(i, r)), url.Values{"identifier": {anaMail}})
		p = browser.Answer(p, url.Values{"password": {anaPassword}})
		text := servertest.Text(p.Body)
		if !p.Has("decision") || !strings.Contains(text, "Your greeting") || !strings.Contains(text, "Hello Ana") || !strings.Contains(text, "login_mail") {
			t.Fatalf("the customer is not shown what leaves: %s", text)
		}
		if strings.Contains(text, "plan") {
			t.Errorf("what says nothing of the customer is shown: %s", text)
		}
		tokens := h.recipes.Redeem(i, r, browser.Answer(p, url.Values{"decision": {"allow"}}))
		if got := claims(t, tokens.ID); got["https://shop.example/hello"] != "Hello Ana" || got["login_mail"] != anaMail {
			t.Errorf("what was allowed is not given: %v", got)
		}
		settings := h.tenant.Settings
		settings.Claims = slices.Clone(settings.Claims)
		settings.Claims[0].Value = `"Hello " + identifiers.email`
		if _, err := i.Tenants.Apply(t.Context(), h.tenant.ID, 0, settings, "test"); err != nil {
			t.Fatal(err)
		}
		refreshed := h.recipes.Token(i, refreshing(tokens.Refresh))
		if got := claims(t, refreshed.ID); got["https://shop.example/hello"] != nil || got["login_mail"] != anaMail {
			t.Errorf("a claim of another meaning leaves without being asked for: %v", got)
		}
		if _, info := h.recipes.UserInfo(i, refreshed.Access); info["https://shop.example/hello"] != nil {
			t.Errorf("userinfo gives it: %v", info)
		}
		if p := browser.Get(h.recipes.URL(i, h.recipes.Authorize(nil))); !p.Has("decision") {
			t.Error("it is not asked for again")
		}
	})
}

// A preview says what tokens have.
func TestPreviewSaysWhatTokensHave(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", withClaims)
		scopes := []string{"openid", "profile", "email"}
		who, err := i.Directory.Get(t.Context(), h.tenant.ID, h.ana)
		if err != nil {
			t.Fatal(err)
		}
		preview, err := i.OAuth.PreviewClaims(t.Context(), h.tenant, h.shop.Application, who, scopes, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		tokens := h.shop.SignIn(i, i.Browser(), anaMail, anaPassword, url.Values{"scope": {strings.Join(scopes, " ")}})
		_, info := h.shop.UserInfo(i, tokens.Access)
		for what, pair := range map[string][2]map[string]any{"id_token": {preview.IDToken, claims(t, tokens.ID)}, "access_token": {preview.AccessToken, claims(t, tokens.Access)}, "userinfo": {preview.UserInfo, info}} {
			for _, m := range h.tenant.Settings.Claims {
				if pair[0][m.Name] != pair[1][m.Name] {
					t.Errorf("%s: %s is previewed as %v and is %v", what, m.Name, pair[0][m.Name], pair[1][m.Name])
				}
			}
		}
		if len(preview.Dropped) != 3 {
			t.Errorf("dropped are %v", preview.Dropped)
		}
		// One that is not stored yet is tried.
		tried, err := i.OAuth.PreviewClaims(t.Context(), h.tenant, h.shop.Application, who, scopes, "", []claim.Mapping{{Name: "plan", Value: `"paid"`, In: []claim.Target{claim.IDToken}}})
		if err != nil || tried.IDToken["plan"] != "paid" || tried.AccessToken["plan"] != "full" {
			t.Errorf("%+v, %v", tried, err)
		}
	})
}
