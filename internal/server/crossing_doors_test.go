package server_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// SECURITY B4, E1, item 58: a page that one browser was shown, of whichever
// journey or of the account, does nothing in another: in an empty one, in one that
// has a journey of its own, in one that somebody else is signed in with, nor in
// another one of the customer's own.
func TestPagesGoOnInTheirOwnBrowserAlone(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, nil)
		l := &living{house: c.house}
		i.Customer(c.tenant, "ben@shop.example", anaPassword)
		who, invited := l.somebody(customer.Invited)
		type shown struct {
			page   *servertest.Page
			b      *servertest.Browser
			answer url.Values
			good   func(p *servertest.Page) bool
		}
		onward := func(field string) func(p *servertest.Page) bool {
			return func(p *servertest.Page) bool { return p.Has(field) }
		}
		says := func(words string) func(p *servertest.Page) bool {
			return func(p *servertest.Page) bool { return strings.Contains(servertest.Text(p.Body), words) }
		}
		pages := map[string]shown{}
		own, _ := c.signIn()
		for name, open := range choosers {
			if strings.Contains(name, "operator") || name == "an invitation" {
				continue // links are of whoever has them; an invitation is below
			}
			at := open(c, i)
			pages["a password, "+name] = shown{at.page, at.b, url.Values{"new_password": {newPassword}}, func(p *servertest.Page) bool { return p.Status < 400 && !p.Has("new_password") }}
		}
		b := i.Browser()
		p := b.Get(c.tenant.URL("/invitation") + "?link=" + l.linkTo(who, step.InvitationPurpose, invited))
		pages["an invitation"] = shown{p, b, url.Values{"decision": {"accept"}}, onward("new_password")}
		b = i.Browser()
		p, code := c.codePage(b, anaMail, true)
		pages["a code"] = shown{p, b, url.Values{"code": {code}}, signedIn}
		pages["joining"] = shown{own.Get(c.invite(c.organization("bolt"), anaMail, "owner")), own, url.Values{"decision": {"accept"}}, says("joined")}
		pages["consent"] = shown{own.Get(c.recipes.URL(i, c.recipes.Authorize(nil))), own, url.Values{"decision": {"allow"}}, signedIn}
		pages["the profile"] = shown{own.Get(c.tenant.URL("/account/profile")), own, url.Values{"given_name": {"Eve"}}, func(p *servertest.Page) bool { return p.Status < 400 }}
		pages["an address"] = shown{own.Get(c.tenant.URL("/account/addresses/new")), own, url.Values{"identifier": {"eve@evil.example"}}, onward("code")}
		pages["closing"] = shown{own.Get(c.tenant.URL("/account/close")), own, url.Values{"decision": {"close"}}, func(p *servertest.Page) bool { return p.Status < 400 }}
		empty, busy, ben, second := i.Browser(), i.Browser(), i.Browser(), i.Browser()
		c.passwordPage(busy, "ben@shop.example")
		c.shop.SignIn(i, ben, "ben@shop.example", anaPassword, nil)
		c.shop.SignIn(i, second, anaMail, anaPassword, nil)
		before := i.Count()
		for name, page := range pages {
			if len(page.page.Forms) == 0 || page.page.Forms[0].Hidden.Get("state") == "" {
				t.Errorf("%s: no page to begin with: %d %s", name, page.page.Status, servertest.Text(page.page.Body))
				continue
			}
			address, all := page.b.Filled(page.page, page.answer)
			for where, thief := range map[string]*servertest.Browser{"an empty browser": empty, "a browser with a journey": busy, "a browser signed in": ben, "another of hers": second} {
				got, err := thief.Do(http.MethodPost, address, all, "")
				if err != nil {
					t.Fatal(err)
				}
				if signedIn(got) || got.Status == http.StatusOK || got.Has("new_password") || got.Status >= 500 {
					t.Errorf("%s, in %s: %d %s", name, where, got.Status, servertest.Text(got.Body))
				}
			}
		}
		after := i.Count()
		maps.DeleteFunc(before, func(table string, n int64) bool { return after[table] == n || strings.HasPrefix(table, "event_") })
		for table, n := range before {
			t.Errorf("pages in other browsers made %d rows of %s", after[table]-n, table)
		}
		for name, page := range pages { // and in their own they go on, closing last
			if len(page.page.Forms) == 0 || page.b == own {
				continue
			}
			if got := page.b.Answer(page.page, page.answer); !page.good(got) {
				t.Errorf("%s does not go on in its own browser: %d %s", name, got.Status, servertest.Text(got.Body))
			}
		}
		for _, name := range []string{"joining", "consent", "the profile", "an address", "closing"} {
			page := pages[name]
			if got := own.Answer(page.page, page.answer); !page.good(got) {
				t.Errorf("%s does not go on in its own browser: %d %s", name, got.Status, servertest.Text(got.Body))
			}
		}
	})
}

// SECURITY A6, N3: no operation of the admin API stores an address that a browser
// would run, wherever one is stored.
func TestNoOperationStoresAnAddressThatRuns(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	system := i.System()
	i.Tenant("shop", nil)
	token := robotToken(i, i.Robot(system, operator.Everything()))
	const at = "/admin/v1/tenants/shop"
	says := func(method, path string, body any) (int, string) {
		t.Helper()
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		status, _, answered := i.Admin(token, method, at+path, string(text))
		return status, answered
	}
	app := func(address string, field string) map[string]any {
		made := map[string]any{"name": "App", "kind": "web", "redirect_uris": []string{"https://shop.example/cb"}}
		if made[field] = address; strings.HasSuffix(field, "s") {
			made[field] = []string{address}
		}
		return made
	}
	terms := func(address string) map[string]any {
		return map[string]any{"terms": map[string]any{"version": "1", "documents": []any{map[string]any{"title": map[string]string{"en": "Terms"}, "url": address}}}}
	}
	brand := func(address string) map[string]any {
		return map[string]any{"links": map[string]any{"en": map[string]string{"imprint": address}}}
	}
	made, text := says("POST", "/applications", app("https://shop.example/", "client_uri"))
	there := regexp.MustCompile(`app_[0-9a-z]+`).FindString(text)
	if made >= 300 || there == "" {
		t.Fatalf("%d %s", made, text)
	}
	before := i.Count()
	for _, evil := range []string{"JaVaScRiPt:alert(1)", "javascript://shop.example/%0aalert(1)", "data:text/html,x", "vbscript:x", "\tjavascript:alert(1)", "\x00javascript:alert(1)", "file:///etc/passwd", "//evil.example"} {
		for _, field := range []string{"redirect_uris", "post_logout_redirect_uris", "client_uri", "policy_uri", "tos_uri"} {
			for method, path := range map[string]string{"POST": "/applications", "PUT": "/applications/" + there} {
				if status, text := says(method, path, app(evil, field)); status != http.StatusUnprocessableEntity {
					t.Errorf("%s %s takes %q as %s: %d %s", method, path, evil, field, status, text)
				}
			}
		}
		for path, body := range map[string]any{"/settings": terms(evil), "/brand": brand(evil)} {
			if status, text := says("PUT", path, body); status != http.StatusUnprocessableEntity {
				t.Errorf("PUT %s takes %q: %d %s", path, evil, status, text)
			}
		}
	}
	after := i.Count()
	if before["application"] != after["application"] {
		t.Error("an application was made")
	}
	_, text = says("GET", "/applications/"+there, nil)
	for _, path := range []string{"/settings", "/brand"} {
		_, more := says("GET", path, nil)
		text += more
	}
	if lower := strings.ToLower(text); strings.Contains(lower, "script:") || strings.Contains(lower, "evil") || strings.Contains(lower, "data:text") {
		t.Errorf("stored is %s", text)
	}
	// What is in order is taken, or the refusals would prove nothing.
	const good = "https://shop.example/terms"
	for path, body := range map[string]any{"/settings": terms(good), "/brand": brand(good), "/applications/" + there: app(good, "tos_uri")} {
		if status, text := says("PUT", path, body); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}
