package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// belongingClaims depend on what the customer belongs to, and on himself.
var belongingClaims = []claim.Mapping{
	{Name: "buyer", Value: `"buyer" in organization.roles`, In: claim.Targets, Label: map[string]string{"en": "Whether you buy for them"}},
	{Name: "company", Value: `organization.slug`, In: claim.Targets, Scope: organization.Scope, Label: map[string]string{"en": "Your company's short name"}},
	{Name: "greeting", Value: `"Hello " + profile.given_name`, In: claim.Targets, Label: map[string]string{"en": "Your greeting", "de": "Ihr Gruß"}},
	{Name: "shoe", Value: `profile.shoe_size`, In: claim.Targets, Label: map[string]string{"en": "Your shoe size"}},
	{Name: "plan", Value: `"free"`, In: claim.Targets},
}

// What the consent page, the account and the preview say that an application gets
// is what its tokens have, of the organization too that they are for.
func TestWhatApplicationsGetIsWhatIsShown(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, func(s *tenant.Settings) {
			s.Claims = slices.Clone(belongingClaims)
			s.Organizations.Roles = []string{"admin", "buyer", "reader"}
		})
		sage, salt := c.organization("sage"), c.organization("salt")
		c.join(sage, c.ana, "buyer")
		ledger := i.Application(c.tenant, func(s *application.Settings) {
			withOrganization(s)
			s.Name, s.FirstParty, s.RedirectURIs = "Ledger by Bea", false, []string{"https://ledger.example/cb"}
		})
		ask := ledger.Authorize(url.Values{"scope": {"openid profile organization"}})
		browser := i.Browser()
		p := browser.Answer(browser.Get(ledger.URL(i, ask)), url.Values{"identifier": {anaMail}})
		p = browser.Answer(p, url.Values{"password": {anaPassword}})
		gets := []string{"Your organization and your roles in it SAGE Ltd (buyer)", "Whether you buy for them Yes", "Your company's short name sage", "Your greeting Hello Ana"}
		shows := func(what, body string, all ...string) {
			t.Helper()
			text := strings.NewReplacer("&#39;", "'", " : ", " ", ": ", " ").Replace(servertest.Text(body))
			for _, part := range all {
				if !strings.Contains(text, part) {
					t.Errorf("%s does not say %q: %s", what, part, text)
				}
			}
			if strings.Contains(text, "plan") {
				t.Errorf("%s says what is nothing of the customer: %s", what, text)
			}
		}
		if !p.Has("decision") {
			t.Fatalf("nothing is asked: %s", servertest.Text(p.Body))
		}
		shows("the consent page", p.Body, append(gets, "Your shoe size")...)
		tokens := ledger.Redeem(i, ask, browser.Answer(p, url.Values{"decision": {"allow"}}))
		got := claims(t, tokens.ID)
		if got["buyer"] != true || got["company"] != "sage" || got["greeting"] != "Hello Ana" {
			t.Fatalf("the ID token has %v", got)
		}
		connected := c.tenant.URL("/account/applications")
		each := connected + "/" + string(ledger.Application.ID)
		for _, address := range []string{connected, each} {
			shows(address, browser.Get(address).Body, gets...)
		}
		shows(each, browser.Get(each).Body, "Your shoe size")
		if german := servertest.Text(browser.Get(each + "?ui_locales=de").Body); !strings.Contains(german, "Ihr Gruß Hello Ana") || !strings.Contains(german, "Whether you buy for them Ja") {
			t.Errorf("in German it says %s", german)
		}
		who, err := i.Directory.Get(t.Context(), c.tenant.ID, c.ana)
		if err != nil {
			t.Fatal(err)
		}
		preview, err := i.OAuth.PreviewClaims(t.Context(), c.tenant, ledger.Application, who, []string{"openid", "profile", "organization"}, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"buyer", "company", "greeting", "org_name"} {
			if preview.IDToken[name] != got[name] {
				t.Errorf("%s is previewed as %v and is %v", name, preview.IDToken[name], got[name])
			}
		}

		// Of several organizations each may be what it gets, until one is chosen.
		c.join(salt, c.ana, "admin")
		shows("of two", browser.Get(each).Body, "SAGE Ltd (buyer) · SALT Ltd (admin)", "Whether you buy for them Yes · No", "short name sage · salt")
		again := ledger.Authorize(url.Values{"scope": {"openid profile organization"}})
		p = browser.Answer(browser.Get(ledger.URL(i, again)), url.Values{"organization": {string(salt.ID)}})
		if tokens := ledger.Redeem(i, again, p); claims(t, tokens.ID)["company"] != "salt" {
			t.Fatalf("the ID token is %v", claims(t, tokens.ID))
		}
		shows("of the one that was chosen", browser.Get(each).Body, "SALT Ltd (admin)", "Whether you buy for them No", "short name salt")

		// A claim of another meaning is not shown as given before it is allowed; nor
		// does an application without the scope learn of the organization.
		settings := c.tenant.Settings
		settings.Claims = slices.Clone(settings.Claims)
		settings.Claims[2].Value = `"Goodbye " + profile.given_name`
		if _, err := i.Tenants.Apply(t.Context(), c.tenant.ID, 0, settings, "test"); err != nil {
			t.Fatal(err)
		}
		if text := servertest.Text(browser.Get(each).Body); strings.Contains(text, "greeting") || strings.Contains(text, "Goodbye") {
			t.Errorf("what is not given is shown: %s", text)
		}
		if page := browser.Get(each); page.Status != http.StatusOK {
			t.Errorf("the page answers %d", page.Status)
		}
	})
}

// An application that does not ask for the organization is shown to get nothing
// of it: what depends on it is as in its tokens.
func TestWithoutTheScopeNothingOfTheOrganizationIsShown(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, func(s *tenant.Settings) {
			s.Claims = slices.Clone(belongingClaims)
			s.Organizations.Roles = []string{"admin", "buyer", "reader"}
		})
		c.join(c.organization("sage"), c.ana, "buyer")
		ask := c.recipes.Authorize(url.Values{"scope": {"openid profile"}})
		browser := i.Browser()
		p := browser.Answer(browser.Get(c.recipes.URL(i, ask)), url.Values{"identifier": {anaMail}})
		p = browser.Answer(p, url.Values{"password": {anaPassword}})
		each := c.tenant.URL("/account/applications") + "/" + string(c.recipes.Application.ID)
		consent := servertest.Text(p.Body)
		tokens := c.recipes.Redeem(i, ask, browser.Answer(p, url.Values{"decision": {"allow"}}))
		if got := claims(t, tokens.ID); got["buyer"] != false || got["company"] != nil {
			t.Fatalf("the ID token has %v", got)
		}
		for what, text := range map[string]string{"the consent page": consent, "the account": servertest.Text(browser.Get(each).Body)} {
			if !strings.Contains(text, "Whether you buy for them No") || strings.Contains(text, "SAGE") || strings.Contains(text, "short name") {
				t.Errorf("%s says %s", what, text)
			}
		}
	})
}

// A consent is to what the page showed. What is mapped while the customer reads it
// is not given, and is asked for the next time.
func TestAConsentIsToWhatWasShown(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "shop", nil)
		ask := h.recipes.Authorize(nil)
		browser := i.Browser()
		p := browser.Answer(browser.Get(h.recipes.URL(i, ask)), url.Values{"identifier": {anaMail}})
		p = browser.Answer(p, url.Values{"password": {anaPassword}})
		if !p.Has("decision") {
			t.Fatalf("nothing is asked: %s", servertest.Text(p.Body))
		}
		settings := h.tenant.Settings
		settings.Claims = []claim.Mapping{{Name: "greeting", Value: `"Hello " + profile.given_name`, In: claim.Targets, Label: map[string]string{"en": "Your greeting"}}}
		if _, err := i.Tenants.Apply(t.Context(), h.tenant.ID, 0, settings, "test"); err != nil {
			t.Fatal(err)
		}
		tokens := h.recipes.Redeem(i, ask, browser.Answer(p, url.Values{"decision": {"allow"}}))
		if got := claims(t, tokens.ID); got["greeting"] != nil {
			t.Errorf("what was not shown is given: %v", got)
		}
		again := h.recipes.Authorize(nil)
		p = browser.Get(h.recipes.URL(i, again))
		if !p.Has("decision") || !strings.Contains(servertest.Text(p.Body), "Your greeting") {
			t.Fatalf("it is not asked for: %s", servertest.Text(p.Body))
		}
		tokens = h.recipes.Redeem(i, again, browser.Answer(p, url.Values{"decision": {"allow"}}))
		if got := claims(t, tokens.ID); got["greeting"] != "Hello Ana" {
			t.Errorf("the ID token has %v", got)
		}
	})
}
