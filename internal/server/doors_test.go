package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/route"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// These tests ask every route that is mounted, so that one that is added is
// asked too.

// door is a route of a house, with something of ana's at its address.
type door struct {
	route.Route
	address string
}

// everyDoor is all that a tenant's host answers, but for answers to other sites'
// scripts before they ask.
func (c *company) everyDoor() []door {
	c.t.Helper()
	acme := c.organization("acme")
	c.join(acme, c.ana, "member")
	ana, err := c.Directory.Get(c.t.Context(), c.tenant.ID, c.ana)
	if err != nil {
		c.t.Fatal(err)
	}
	at := strings.NewReplacer("{$}", "", "{name}", "x", "{application}", string(c.recipes.ID), "{organization}", string(acme.ID), "{identifier}", string(ana.Identifiers[0].ID))
	var all []door
	for _, mounted := range append(c.OAuth.Routes(), c.Pages.Routes()...) {
		path := at.Replace(mounted.Pattern)
		if strings.Contains(path, "{") {
			c.t.Fatalf("%s has a parameter that this test does not know: say what it names", mounted.Pattern)
		}
		if mounted.Method == http.MethodGet || mounted.Method == http.MethodPost {
			all = append(all, door{mounted, c.Base + c.tenant.Path + path})
		}
	}
	if len(all) < 45 {
		c.t.Fatalf("%d doors", len(all))
	}
	return all
}

// protocol are the routes that take forms of applications' servers, or that
// other sites may send a browser to: no cookie says anything at them.
var protocol = []string{"/authorize", "/token", "/userinfo", "/introspect", "/revoke", "/end_session"}

// SECURITY N4, F7, item 70: no form of ours is taken from another site, nor
// from a neighbour on the same one; what other sites may post to does nothing
// with the customer's cookies.
func TestNoFormIsTakenFromAnotherSite(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, nil)
		doors := c.everyDoor()
		b, _ := c.signIn()
		c.recipes.SignIn(i, b, anaMail, anaPassword, nil)
		signing := c.passwordPage(i.Browser(), anaMail)
		before, posted := i.Count(), 0
		for _, d := range doors {
			if d.Method != http.MethodPost {
				continue
			}
			posted++
			if d.Cookies == slices.Contains(protocol, d.Pattern) {
				t.Errorf("POST %s: reads cookies: %t", d.Pattern, d.Cookies)
			}
			all := url.Values{"state": {signing.Forms[0].Hidden.Get("state")}, "password": {anaPassword}, "client_id": {string(c.shop.ID)}}
			if page := b.Get(d.address); d.Cookies && len(page.Forms) > 0 {
				_, all = b.Filled(page, nil)
			}
			for name, value := range map[string]string{"decision": "remove", "choose": "sign_out", "end": "others", "given_name": "Eve"} {
				if !all.Has(name) {
					all.Set(name, value)
				}
			}
			for name, header := range map[string]http.Header{
				"another site":        {"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}},
				"a neighbour":         {"Origin": {strings.Replace(i.Base, "127.0.0.1", "evil.127.0.0.1", 1)}, "Sec-Fetch-Site": {"same-site"}},
				"nowhere":             {"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}},
				"an older browser":    {"Origin": {"https://evil.example"}},
				"an older, of no one": {"Origin": {"null"}},
			} {
				header.Set("Content-Type", "application/x-www-form-urlencoded")
				header.Set("Cookie", cookieHeader(b))
				status, answered, body := send(t, http.MethodPost, d.address, all.Encode(), header)
				if d.Cookies && status != http.StatusForbidden {
					t.Errorf("POST %s from %s: %d %s", d.Pattern, name, status, servertest.Text(body))
				}
				if answered.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("POST %s from %s may be read with cookies", d.Pattern, name)
				}
			}
		}
		if posted < 15 {
			t.Errorf("%d forms were tried", posted)
		}
		if !onAccount(b.Get(c.tenant.URL("/account"))) {
			t.Error("another site signed ana out")
		}
		for table, n := range i.Count() {
			if n != before[table] && !strings.HasPrefix(table, "event_") {
				t.Errorf("another site's forms made %d rows of %s", n-before[table], table)
			}
		}
	})
}

// SECURITY E3, items 42, 68 to 70: whatever is asked for, by whoever, the answer
// is kept by nobody on the way, framed by nobody, runs nothing inline, tells the
// next site nothing, and sends on by 303 or not at all.
func TestEveryAnswerIsBounded(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	c := newCompany(t, i, nil)
	doors := c.everyDoor()
	b, _ := c.signIn()
	c.recipes.SignIn(i, b, anaMail, anaPassword, nil)
	link := c.invite(c.organization("bolt"), newcomer, "member")
	doors = append(doors, door{route.Route{Method: http.MethodGet, Pattern: "/join with a link"}, link},
		door{route.Route{Method: http.MethodGet, Pattern: "nothing"}, c.Base + c.tenant.Path + "/nothing-here"},
		door{route.Route{Method: http.MethodGet, Pattern: "the admin API"}, c.Base + "/admin/v1/tenants"},
		door{route.Route{Method: http.MethodPost, Pattern: "mail hooks"}, c.Base + "/hooks/mail/generic"})
	public := []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/jwks", "/assets/{name}", "/assets/brand/{name}"}
	pages := 0
	for _, d := range doors {
		for name, cookies := range map[string]string{"a stranger": "", "ana": cookieHeader(b)} {
			for _, query := range []string{"", "link=x", c.shop.Authorize(nil).Params.Encode()} {
				address, body := d.address, ""
				if d.Method == http.MethodPost {
					body = query
				} else if query != "" {
					joined := "?"
					if strings.Contains(address, "?") {
						joined = "&"
					}
					address += joined + query
				}
				status, head, text := send(t, d.Method, address, body, http.Header{"Cookie": {cookies}, "Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"}})
				what := d.Method + " " + d.Pattern + " by " + name
				if kept := head.Get("Cache-Control"); kept != "no-store" && (!slices.Contains(public, d.Pattern) || len(head["Set-Cookie"]) > 0) &&
					(kept != "private, no-cache" || d.Pattern != "/journey" || len(head["Set-Cookie"]) > 0) && d.Pattern != "the admin API" && d.Pattern != "mail hooks" {
					t.Errorf("%s: %d, Cache-Control %q, %d cookies", what, status, kept, len(head["Set-Cookie"]))
				}
				if referrer := head.Get("Referrer-Policy"); head.Get("X-Content-Type-Options") != "nosniff" || referrer != "no-referrer" && referrer != "same-origin" {
					t.Errorf("%s: X-Content-Type-Options %q, Referrer-Policy %q", what, head.Get("X-Content-Type-Options"), referrer)
				}
				for _, cookie := range head["Set-Cookie"] {
					if !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Lax") || !strings.Contains(cookie, "Path=/") || strings.Contains(cookie, "Domain") {
						t.Errorf("%s sets %s", what, cookie)
					}
				}
				if status >= 300 && status < 400 && status != http.StatusSeeOther && (status != http.StatusFound || d.Method != http.MethodGet) {
					t.Errorf("%s sends on by %d", what, status)
				}
				if !strings.HasPrefix(head.Get("Content-Type"), "text/html") {
					continue
				}
				pages++
				csp := head.Get("Content-Security-Policy")
				for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action"} {
					if !strings.Contains(csp, want) {
						t.Errorf("%s: the policy lacks %s: %q", what, want, csp)
					}
				}
				if strings.Contains(csp, "unsafe") || strings.Contains(text, "<script>") || strings.Contains(text, " style=\"") || strings.Contains(text, "onclick") {
					t.Errorf("%s has inline code, or may have", what)
				}
				for _, outer := range []string{"src=\"http", "src=\"//"} {
					if at := strings.Index(text, outer); at >= 0 && !strings.HasPrefix(text[at+5:], i.Base) {
						t.Errorf("%s has something of another host: %.100s", what, text[at:])
					}
				}
			}
		}
	}
	if pages < 100 {
		t.Errorf("%d pages were looked at", pages)
	}
}

// SECURITY E5: at every door a cookie that cannot be read is none: no error, and
// nobody signed in.
func TestBrokenCookiesOpenNoDoor(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, nil)
		doors := c.everyDoor()
		b, _ := c.signIn()
		good, device := cookie(b, "session", c.tenant), cookie(b, "device", c.tenant)
		name := "cardea_session_" + c.tenant.Slug
		broken := []string{name + "=!!!", name + "=" + good[:len(good)-1], name + "=" + good + "; " + name + "=" + good, name + "=" + strings.Repeat("A", 12000), name + "=a\tb",
			name + "=" + device, "cardea_journey_" + c.tenant.Slug + "=!; cardea_device_" + c.tenant.Slug + "=" + good}
		for _, d := range doors {
			if !d.Cookies {
				continue
			}
			for _, value := range broken {
				status, header, body := send(t, d.Method, d.address, "", http.Header{"Cookie": {value}, "Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"}})
				if text := servertest.Text(body); status >= 500 || strings.Contains(text, "Ana") || strings.Contains(text, "Sign out") || strings.Contains(header.Get("Location"), "code=") {
					t.Errorf("%s %s with %.60q: %d %s", d.Method, d.Pattern, value, status, servertest.Text(body))
				}
			}
		}
	})
}

// SECURITY H1, H2, item 17: every form draws on its network's allowance, and
// none has one of its own.
func TestEveryFormIsLimited(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, nil)
		b, _ := c.signIn()
		i.Clock.Advance(time.Minute)
		post := func(d door) int {
			status, _, _ := send(t, http.MethodPost, d.address, "state=x", http.Header{"Cookie": {cookieHeader(b)}, "X-Forwarded-For": {"203.0.113.7"},
				"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"}})
			return status
		}
		for _, d := range c.everyDoor() {
			if d.Method != http.MethodPost || slices.Contains([]string{"/token", "/userinfo", "/introspect", "/revoke"}, d.Pattern) {
				continue // applications' servers are counted by what they fail at
			}
			var last int
			for range 30 {
				if last = post(d); last == http.StatusTooManyRequests {
					break
				}
			}
			if last != http.StatusTooManyRequests {
				t.Errorf("%s is never limited: %d", d.Pattern, last)
			}
		}
	}, slow, behindProxy)
}
