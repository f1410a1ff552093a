package server_test

import (
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/tenant"
)

const (
	stock  = "https://stock.example"
	orders = "https://orders.example/v1"
)

// RFC 8707: a token is for the resource that is asked for, among those that the
// application has and the authorization was for; it opens nothing elsewhere.
// SECURITY C3, C4, items 50 and 77.
func TestATokenIsForOneResource(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", func(s *tenant.Settings) {
			s.Claims = []claim.Mapping{{Name: "warehouse", Value: `"north"`, In: []claim.Target{claim.AccessToken}, Audience: []string{stock}}}
		})
		app := i.Application(h.tenant, func(s *application.Settings) { s.Resources = []string{stock, orders} })
		api := i.Application(h.tenant, func(s *application.Settings) {
			s.Kind, s.Name, s.RedirectURIs, s.PostLogoutURIs, s.ResourceServer = application.Machine, "Stock", nil, nil, stock
			s.Resources = []string{orders}
		})
		wants := func(what string, got servertest.Tokens, audience any, warehouse any) {
			t.Helper()
			if got.Status != http.StatusOK {
				t.Errorf("%s: %+v", what, got)
				return
			}
			if c := claims(t, got.Access); !reflect.DeepEqual(c["aud"], audience) || c["warehouse"] != warehouse {
				t.Errorf("%s: aud %v, warehouse %v", what, c["aud"], c["warehouse"])
			}
		}
		refused := func(what string, got servertest.Tokens) {
			t.Helper()
			if got.Status != http.StatusBadRequest || got.Error != "invalid_target" {
				t.Errorf("%s: %d %s", what, got.Status, got.Error)
			}
		}
		both := []any{stock, h.tenant.Issuer}
		browser, _ := h.signIn()

		// Asked for at the authorization endpoint, repeated or not.
		r, code := h.code(browser, app, url.Values{"resource": {stock}})
		refused("another than the authorization's", app.Token(i, with(redemption(r, code), "resource", orders)))
		first := app.Token(i, redemption(r, code))
		wants("the authorization's", first, both, "north")
		if status, _ := app.UserInfo(i, first.Access); status != http.StatusOK {
			t.Errorf("userinfo answers %d", status)
		}
		refused("another by refresh", app.Token(i, with(refreshing(first.Refresh), "resource", orders)))
		second := app.Token(i, refreshing(first.Refresh)) // what was refused has used nothing up
		wants("refreshed", second, both, "north")
		narrow := app.Token(i, with(refreshing(second.Refresh), "scope", "profile"))
		wants("without openid", narrow, stock, "north")
		if status, _ := app.UserInfo(i, narrow.Access); status != http.StatusUnauthorized {
			t.Errorf("a token that is for another resource alone opens userinfo: %d", status)
		}

		// For several: one at a time.
		r, code = h.code(browser, app, url.Values{"resource": {stock, orders}})
		refused("none of several", app.Token(i, redemption(r, code)))
		refused("both at once", app.Token(i, with(redemption(r, code), "resource", stock, orders)))
		first = app.Token(i, with(redemption(r, code), "resource", orders))
		wants("one of several", first, []any{orders, h.tenant.Issuer}, nil)
		wants("the other", app.Token(i, with(refreshing(first.Refresh), "resource", stock)), both, "north")

		// Not asked for at the authorization endpoint.
		r, code = h.code(browser, app, nil)
		first = app.Token(i, redemption(r, code))
		wants("none", first, h.tenant.Issuer, nil)
		wants("at the token endpoint alone", app.Token(i, with(refreshing(first.Refresh), "resource", stock)), both, "north")

		// Whom introspection answers.
		for _, asker := range []struct {
			name string
			app  *servertest.App
			good bool
		}{{"the application", app, true}, {"the resource", api, true}, {"another", h.recipes, false}} {
			status, _, body, err := asker.app.Post(i, "/introspect", url.Values{"token": {second.Access}})
			if err != nil || status != http.StatusOK || strings.Contains(body, `"active":true`) != asker.good || strings.Contains(body, stock) != asker.good {
				t.Errorf("%s is told %d %s %v", asker.name, status, body, err)
			}
		}
		if _, _, body, _ := api.Post(i, "/introspect", url.Values{"token": {first.Access}}); strings.Contains(body, "true") {
			t.Errorf("a resource is told of a token that is not for it: %s", body)
		}

		// An application for itself, and what is nobody's.
		own := url.Values{"grant_type": {"client_credentials"}, "resource": {orders}}
		wants("a machine", api.Token(i, own), orders, nil)
		refused("a machine's of others", api.Token(i, with(own, "resource", stock)))
		for _, bad := range []string{"https://evil.example", stock + "/", "HTTPS://STOCK.EXAMPLE", stock + "#x", h.tenant.Issuer, strings.Repeat("a", 3000)} {
			p := browser.Get(app.URL(i, app.Authorize(url.Values{"resource": {bad}})))
			if p.Location == nil || p.Location.Query().Get("error") != "invalid_target" || p.Location.Query().Get("code") != "" {
				t.Errorf("%.40s: %v", bad, p.Location)
			}
		}

		// What is taken from the application is given no more.
		r, code = h.code(browser, app, url.Values{"resource": {stock}})
		settings := app.Settings
		settings.Resources = []string{orders}
		if _, err := i.Applications.Update(t.Context(), h.tenant.ID, app.ID, 0, settings, "test"); err != nil {
			t.Fatal(err)
		}
		refused("taken since", app.Token(i, redemption(r, code)))
		refused("taken since, by refresh", app.Token(i, refreshing(narrow.Refresh)))
	})
}

// A token of the system tenant that is for another API too opens no admin API.
func TestATokenForAnotherAPIAdministersNothing(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		robot := i.Robot(system, operator.Everything())
		settings := robot.Settings
		settings.Resources = []string{stock}
		if _, err := i.Applications.Update(t.Context(), system.ID, robot.ID, 0, settings, "test"); err != nil {
			t.Fatal(err)
		}
		asked := url.Values{"grant_type": {"client_credentials"}}
		if status, _, body := i.Admin(robot.Token(i, asked).Access, http.MethodGet, "/admin/v1/tenants", ""); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		if status, _, _ := i.Admin(robot.Token(i, with(asked, "resource", stock)).Access, http.MethodGet, "/admin/v1/tenants", ""); status != http.StatusUnauthorized {
			t.Errorf("%d", status)
		}
	})
}

// with is values with others in place of one.
func with(values url.Values, name string, others ...string) url.Values {
	changed := url.Values{}
	for key, all := range values {
		changed[key] = slices.Clone(all)
	}
	changed[name] = others
	return changed
}
