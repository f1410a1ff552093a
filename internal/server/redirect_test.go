package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// SECURITY A1–A4, items 51 and 52: a redirect URI that is not, letter for
// letter, one that is registered is never gone to, by whichever endpoint.
func TestUnregisteredAddressesAreNeverGoneTo(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	for _, c := range []struct {
		registered string
		good, bad  []string
	}{
		{"https://rp1.example/cb", []string{"https://rp1.example/cb"}, []string{
			"https://rp1.example@evil.example/cb", "https://a@b@evil.example/", "https://rp1.example\\@evil.example/cb", "https://evil.example#@rp1.example/cb",
			"https://rp1.example/cb/..;/x", "https://rp1.example/cb/%2e%2e/x", "https://rp1.example/cb/../x", "https://rp1.example/cb%2f..%2fx",
			"https://rp1.example/cb#f", "https://rp1.example/CB", "https://RP1.example/cb", "HTTPS://rp1.example/cb", "https://rp1.example:443/cb",
			"https://rp1.example/cb/", "https://rp1.example/cb?x=y", "https://rp1.example/cb ", " https://rp1.example/cb", "https://rp1.example/cb\x00",
			"https://rp1.example/cb%00", "https://rp1.example./cb", "http://rp1.example/cb", "//rp1.example/cb", "/cb", "cb", "", "https://rp1.example",
			"javascript:alert(1)", "data:text/html,x", "https://evil.example/https://rp1.example/cb", "https://rp1.example/cb\r\nLocation: https://evil.example",
		}},
		{"https://portal.example.com", []string{"https://portal.example.com"}, []string{
			"https://portal.example.com.evil.tld/", "https://portalXexample.com/", "https://portal.example.com/", "https://portal.example.com/x",
		}},
		{"http://127.0.0.1/cb", []string{"http://127.0.0.1/cb", "http://127.0.0.1:49152/cb"}, []string{
			"http://127.0.0.1.evil.example/cb", "http://127.0.0.1@evil.example/cb", "https://127.0.0.1/cb", "http://localhost/cb", "http://127.0.0.1:49152/other",
			"http://127.0.0.1:0x50/cb", "http://127.0.0.1:49152@evil.example/cb", "http://127.1/cb", "http://[::1]:49152/cb", "http://127.0.0.2/cb", "http://127.0.0.1:999999/cb",
		}},
	} {
		app := i.Application(h.tenant, func(s *application.Settings) {
			s.RedirectURIs, s.PostLogoutURIs = []string{c.registered}, []string{c.registered}
			if strings.HasPrefix(c.registered, "http:") {
				s.Kind = application.Native
			}
		})
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			ask := func(uri string) *servertest.Page {
				r := app.Authorize(url.Values{"redirect_uri": {uri}, "prompt": {"none"}})
				if method == http.MethodPost {
					return i.Browser().Post(i.Base+h.tenant.Path+"/authorize", r.Params, "https://rp1.example")
				}
				return i.Browser().Get(app.URL(i, r))
			}
			for _, uri := range c.good {
				if p := ask(uri); p.Location == nil || !strings.HasPrefix(p.Location.String(), uri+"?") || p.Location.Query().Get("error") != "login_required" {
					t.Errorf("%s %s led to %v (%d)", method, uri, p.Location, p.Status)
				}
			}
			for _, uri := range c.bad {
				if p := ask(uri); p.Location != nil || p.Status != http.StatusBadRequest {
					t.Errorf("%s %q led to %v (%d)", method, uri, p.Location, p.Status)
				}
				leave := url.Values{"client_id": {string(app.ID)}, "post_logout_redirect_uri": {uri}}
				var p *servertest.Page
				if method == http.MethodPost {
					p = i.Browser().Post(i.Base+h.tenant.Path+"/end_session", leave, "https://rp1.example")
				} else {
					p = i.Browser().Get(i.Base + h.tenant.Path + "/end_session?" + leave.Encode())
				}
				if p.Location != nil || (p.Status != http.StatusBadRequest && uri != "") {
					t.Errorf("sign-out by %s to %q led to %v (%d)", method, uri, p.Location, p.Status)
				}
			}
		}
	}
}

// SECURITY A6: no address that a browser would run is ever registered.
func TestAddressesThatRunAreNotRegistered(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	for _, bad := range []string{
		"JaVaScRiPt:alert(1)", "javascript://shop.example/%0aalert(1)", "data:text/html,x", "vbscript:x", "\tjavascript:alert(1)", "\x00javascript:alert(1)",
		"https://shop.example/\x00", "https://shop.example/cb#f", "https://a@shop.example/", "http://shop.example/cb", "https://", "shop.example/cb", "file:///etc/passwd",
	} {
		for _, field := range []string{"redirect", "post logout", "home", "policy", "terms"} {
			s := h.shop.Settings
			s.RedirectURIs, s.PostLogoutURIs = []string{"https://shop.example/callback"}, nil
			switch field {
			case "redirect":
				s.RedirectURIs = []string{bad}
			case "post logout":
				s.PostLogoutURIs = []string{bad}
			case "home":
				s.HomeURL = bad
			case "policy":
				s.PolicyURL = bad
			case "terms":
				s.TermsURL = bad
			}
			if strings.Contains("home policy terms", field) && (strings.HasSuffix(bad, "#f") || strings.HasPrefix(bad, "http://")) {
				continue // a page to read may have those
			}
			if _, _, err := i.Applications.Create(t.Context(), h.tenant.ID, "", s, "test"); err == nil {
				t.Errorf("%q was taken as %s address", bad, field)
			}
		}
	}
}

// SECURITY A5, A7, item 74: where a customer goes next is never the request's
// to say.
func TestNothingInARequestSaysWhereToGo(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	inside := func(what string, p *servertest.Page) {
		t.Helper()
		if p.Location != nil && !strings.HasPrefix(p.Location.String(), i.Base+h.tenant.Path+"/") {
			t.Errorf("%s led to %s", what, p.Location)
		}
		if strings.Contains(p.Body, "evil.example") {
			t.Errorf("%s: the page has the address that was given", what)
		}
	}
	for _, evil := range []string{"https://evil.example", "//evil.example", "/\\evil.example", "/%09/evil.example", "https:evil.example", "javascript:alert('evil.example')"} {
		more := url.Values{}
		for _, name := range []string{"return_to", "redirect", "redirect_uri", "next", "continue", "RelayState", "back", "done", "ui_locales"} {
			more.Set(name, evil)
		}
		browser := i.Browser()
		browser.Header.Set("Referer", "https://evil.example/")
		for _, path := range []string{"/", "/sign-in", "/sign-up", "/account", "/signed-out", "/end_session"} {
			p, err := browser.Do(http.MethodGet, i.Base+h.tenant.Path+path+"?"+more.Encode(), nil, "")
			if err != nil {
				t.Fatal(err)
			}
			inside(path, p)
		}
		p := browser.Get(i.Base + h.tenant.Path + "/sign-in?" + more.Encode())
		p = browser.Answer(p, url.Values{"identifier": {anaMail}})
		address, all := browser.Filled(p, url.Values{"password": {anaPassword}})
		for name, values := range more {
			all[name] = values
		}
		p, err := browser.Do(http.MethodPost, address, all, "")
		if err != nil {
			t.Fatal(err)
		}
		if !signedIn(p) {
			t.Fatalf("the sign-in failed: %s", servertest.Text(p.Body))
		}
		inside("the finish", p)
		for _, path := range []string{"/account", "/signed-out"} {
			p, err := browser.Do(http.MethodGet, i.Base+h.tenant.Path+path+"?"+more.Encode(), nil, "")
			if err != nil {
				t.Fatal(err)
			}
			inside(path+" signed in", p)
		}
	}
	// A page that was left too long, sent with a Referer.
	browser := i.Browser()
	browser.Header.Set("Referer", "https://evil.example/")
	p := h.passwordPage(browser, anaMail)
	i.Clock.Advance(time.Hour)
	p = browser.Answer(p, url.Values{"password": {anaPassword}})
	inside("an expired page", p)
	if p.Status != http.StatusGone || signedIn(p) {
		t.Errorf("an expired page was answered %d", p.Status)
	}
}

// SECURITY A5, G1: no header of a request is seen in what is mailed or where a
// browser is sent.
func TestForwardedHostsAreIgnored(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	browser := i.Browser()
	for name, value := range map[string]string{
		"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher", "X-Forwarded-For": "a", "Forwarded": "host=evil.example;proto=https",
		"X-Original-Url": "https://evil.example/", "X-Rewrite-Url": "/evil", "X-Host": "evil.example", "X-Forwarded-Server": "evil.example",
	} {
		browser.Header.Set(name, value)
	}
	p, code := h.codePage(browser, anaMail, true)
	letters, err := i.Inbox.List(t.Context(), anaMail, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{letters[0].Text, letters[0].HTML, letters[0].Subject, strings.Join(letters[0].Links, " ")} {
		if strings.Contains(part, "evil") || strings.Contains(part, "gopher") {
			t.Errorf("the mail has what the request said: %s", part)
		}
	}
	if p = browser.Answer(p, url.Values{"code": {code}}); !signedIn(p) || strings.Contains(p.Body, "evil.example") {
		t.Errorf("the sign-in led to %v", p.Location)
	}
	for _, path := range []string{"/.well-known/openid-configuration", "/sign-in", "/end_session"} {
		p, err := browser.Do(http.MethodGet, i.Base+h.tenant.Path+path, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(p.Body, "evil.example") || (p.Location != nil && strings.Contains(p.Location.String(), "evil")) {
			t.Errorf("%s has what the request said", path)
		}
	}
}
