package server_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// production is an installation as it is in earnest, but for where it listens.
func production(e *server.Environment) { e.Development = false }

// DESIGN.md, rule 13: a tenant has pages on its own origin and on no other.
func TestATenantIsServedOnItsOwnHostOnly(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		create := func(n tenant.New) *tenant.Tenant {
			t.Helper()
			n.Settings, n.Name = servertest.Settings(), n.Slug
			made, err := i.Tenants.Create(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			return made
		}
		create(tenant.New{Slug: "bank", Issuer: "https://login.bank.example"})
		create(tenant.New{Slug: "thyme", Issuer: "https://id.example", ByPath: true})
		create(tenant.New{Slug: "odd", Issuer: "https://odd.example:8443"})
		handler := i.Handler()
		ask := func(host, path string) *http.Response {
			r := httptest.NewRequest(http.MethodGet, "https://"+host+path, nil)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			return w.Result()
		}
		const discovery = "/.well-known/openid-configuration"
		for _, tt := range []struct {
			host, path string
			status     int
		}{
			{"login.bank.example", discovery, 200},
			{"LOGIN.bank.example:443", discovery, 200},
			{"login.bank.example.", discovery, 200},
			{"login.bank.example:8443", discovery, 404},
			{"odd.example:8443", discovery, 200},
			{"odd.example", discovery, 404},
			{"evil.login.bank.example", discovery, 404},
			{"id.example", "/t/thyme" + discovery, 200},
			{"id.example:443", "/t/thyme/sign-in", 200},
			{"id.example", "/.well-known/oauth-authorization-server/t/thyme", 200},
			{"id.example", discovery, 404},
			{"login.bank.example", "/t/thyme/sign-in", 404},
			{"login.bank.example", "/t/thyme" + discovery, 404},
			{"login.bank.example", "/t/bank/sign-in", 404},
			{"login.bank.example", "/.well-known/oauth-authorization-server/t/thyme", 404},
			{"odd.example:8443", "/t/thyme/sign-in", 404},
			{"", "/t/thyme/sign-in", 404},
		} {
			response := ask(tt.host, tt.path)
			if response.StatusCode != tt.status {
				t.Errorf("https://%s%s: %d, not %d", tt.host, tt.path, response.StatusCode, tt.status)
			}
			if tt.status == 404 && len(response.Cookies()) > 0 {
				t.Errorf("https://%s%s sets cookies", tt.host, tt.path)
			}
		}
	}, production)
}

// SECURITY item 42, in production and through the whole handler: what a
// browser is told to keep is for this origin alone and for https alone.
func TestCookiesInProductionAreForThisOriginAlone(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		browser := i.Browser()
		page := browser.Get(h.shop.URL(i, h.shop.Authorize(nil)))
		set := page.Header.Values("Set-Cookie")
		page = browser.Answer(page, map[string][]string{"identifier": {anaMail}})
		page = browser.Answer(page, map[string][]string{"password": {anaPassword}})
		set = append(set, page.Header.Values("Set-Cookie")...)
		if len(set) < 3 {
			t.Fatalf("the sign-in set %q", set)
		}
		for _, cookie := range set {
			name, attributes, _ := strings.Cut(cookie, "=")
			if !strings.HasPrefix(name, "__Host-cardea_") || !strings.HasSuffix(name, "_thyme") {
				t.Errorf("the cookie's name is %s", name)
			}
			for _, want := range []string{"; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"} {
				if !strings.Contains(attributes, want) {
					t.Errorf("%s lacks %q: %s", name, want, attributes)
				}
			}
			if strings.Contains(attributes, "Domain=") {
				t.Errorf("%s is for other hosts too: %s", name, attributes)
			}
		}
		if got := page.Header.Get("Strict-Transport-Security"); !strings.Contains(got, "max-age=63072000") {
			t.Errorf("Strict-Transport-Security is %q", got)
		}
	}, production, func(e *server.Environment) { e.Logger = slog.New(slog.DiscardHandler) })
}
