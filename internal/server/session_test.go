package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// SECURITY E1, E2, items 36–39, 42, 43: a session is begun by signing in
// alone, has a new cookie at each authentication, and is nobody else's.
func TestSessionsBeginAndEnd(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		h.Customer(h.tenant, "ben@shop.example", anaPassword)
		account := i.Base + h.tenant.Path + "/account"
		has := func(value string) bool {
			b := i.Browser()
			setCookie(b, "session", h.tenant, value)
			return onAccount(b.Get(account))
		}
		browser := i.Browser()
		setCookie(browser, "session", h.tenant, "fixed") // by an attacker
		tokens := h.shop.SignIn(i, browser, anaMail, anaPassword, nil)
		first := cookie(browser, "session", h.tenant)
		if first == "fixed" || !has(first) {
			t.Fatal("the session cookie was not made by the sign-in")
		}
		// Item 37: proving oneself again changes the cookie, and the old one is dead.
		p := browser.Get(h.shop.URL(i, h.shop.Authorize(url.Values{"prompt": {"login"}})))
		if has(first) == false || cookie(browser, "session", h.tenant) != first {
			t.Error("to ask for the sign-in alone changed the session")
		}
		browser.Answer(p, url.Values{"password": {anaPassword}})
		second := cookie(browser, "session", h.tenant)
		if second == first || has(first) || !has(second) {
			t.Error("after a second sign-in the old cookie is good or the new one is not")
		}
		// E2: another customer in the same browser ends the first one's.
		p = browser.Get(h.shop.URL(i, h.shop.Authorize(url.Values{"prompt": {"select_account"}})))
		p = browser.Answer(p, url.Values{"identifier": {"ben@shop.example"}})
		r := h.shop.Authorize(nil)
		if p = browser.Answer(p, url.Values{"password": {anaPassword}}); p.Location == nil {
			t.Fatalf("ben is not signed in: %s", servertest.Text(p.Body))
		}
		if p = browser.Get(h.shop.URL(i, r)); p.Location == nil {
			t.Fatalf("ben is not signed in: %s", servertest.Text(p.Body))
		}
		bens := h.shop.Redeem(i, r, p)
		if claims(t, bens.Access)["sub"] == claims(t, tokens.Access)["sub"] || has(second) || h.shop.Active(i, tokens.Access) {
			t.Error("the first customer's session or tokens are used by the second")
		}
		if got := h.shop.Token(i, refreshing(tokens.Refresh)); got.Error != "invalid_grant" {
			t.Errorf("the first customer's refresh token: %+v", got)
		}
		// Item 38: sessions run out.
		i.Clock.Advance(61 * time.Minute)
		if onAccount(browser.Get(account)) || h.shop.Active(i, bens.Access) {
			t.Error("an idle session is there")
		}
		// Item 43: nothing but a sign-in begins one.
		if n := h.count(`SELECT COUNT(*) FROM session WHERE tenant = $1 AND customer = $2`, h.tenant.ID, h.ana); n != 0 {
			t.Errorf("ana has %d sessions", n)
		}
	})
}

// Items 40, 41, SECURITY L3, L4: a customer ends his own sessions and
// connections, and nobody else's, whatever the form names.
func TestTheAccountPageEndsOnlyOnesOwn(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		ben := h.Customer(h.tenant, "ben@shop.example", anaPassword)
		victim := i.Browser()
		theirs := h.recipes.SignIn(i, victim, anaMail, anaPassword, nil)
		attacker := i.Browser()
		h.recipes.SignIn(i, attacker, "ben@shop.example", anaPassword, nil)
		account := i.Base + h.tenant.Path + "/account"
		sid := claims(t, theirs.Access)["sid"].(string)
		p := attacker.Get(account + "/devices")
		for _, values := range []url.Values{
			{"end": {sid}}, {"end": {sid}, "customer": {string(h.ana)}}, {"end": {"x"}}, {"end": {"\x00"}},
			{"end": {sid}, "user_id": {string(h.ana)}, "sub": {string(h.ana)}},
		} {
			if got := attacker.Answer(p, values); got.Status >= 500 {
				t.Errorf("%v was answered %d", values, got.Status)
			}
		}
		if !h.recipes.Active(i, theirs.Access) || !onAccount(victim.Get(account)) {
			t.Fatal("one customer ended another's session")
		}
		// The form is tied to its session: another's state, none, an old one.
		address, all := attacker.Filled(p, url.Values{"choose": {"end_others"}})
		for _, state := range []string{all.Get("state"), "", "x"} {
			all.Set("state", state)
			if got := victim.Post(address, all, ""); got.Status < 400 {
				t.Errorf("a form with another's state was answered %d", got.Status)
			}
		}
		// And own ones.
		p = victim.Get(account + "/applications/" + string(h.recipes.ID))
		victim.Answer(p, url.Values{"decision": {"remove"}})
		if h.recipes.Active(i, theirs.Access) || h.recipes.Token(i, refreshing(theirs.Refresh)).Status == http.StatusOK {
			t.Error("a connection that was removed is there")
		}
		if n := h.count(`SELECT COUNT(*) FROM session WHERE tenant = $1 AND customer = $2`, h.tenant.ID, ben); n != 1 {
			t.Errorf("ben has %d sessions", n)
		}
	})
}

// SECURITY E5: a cookie that cannot be read is no cookie, and no error.
func TestBrokenCookiesAreNone(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	browser, _ := h.signIn()
	good := cookie(browser, "session", h.tenant)
	name := "cardea_session_" + h.tenant.Slug
	for _, value := range []string{
		name + "=!!!", name + "=" + good[:len(good)-1], name + "=" + good + "A", name + "=" + good + "; " + name + "=" + good, name + "=x; " + name + "=" + good,
		name + "=" + strings.Repeat("A", 12000), name + "=\"" + good + "\"", name + "=a\tb", name + "=" + strings.ToLower(good), name, ";;;=;" + name + "==",
		strings.ToUpper(name) + "=" + good, "__Host-" + name + "=" + good, name + "x=" + good, "cardea_device_thyme=" + good, "cardea_journey_thyme=" + good,
	} {
		for _, path := range []string{"/account", "/sign-in", "/end_session", "/authorize?" + h.shop.Authorize(nil).Params.Encode()} {
			status, header, body := send(t, http.MethodGet, i.Base+h.tenant.Path+path, "", http.Header{"Cookie": {value}})
			if status != http.StatusOK || strings.Contains(header.Get("Location"), "code=") || strings.Contains(body, `name="end"`) {
				t.Errorf("%.60q at %s: %d %s", value, path, status, header.Get("Location"))
			}
		}
		status, _, _ := send(t, http.MethodPost, i.Base+h.tenant.Path+"/journey", "state=x", http.Header{
			"Cookie": {value}, "Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"}})
		if status != http.StatusBadRequest {
			t.Errorf("%.60q at /journey: %d", value, status)
		}
	}
}

// SECURITY E3, items 42, 68–70: what is said to a browser is not stored,
// framed, referred or run; cookies are out of scripts' reach; redirects after
// a form are 303.
func TestWhatBoundsAResponse(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	browser := i.Browser()
	r := h.shop.Authorize(nil)
	var all []*servertest.Page
	keep := func(p *servertest.Page) *servertest.Page { all = append(all, p); return p }
	p := keep(browser.Get(h.shop.URL(i, r)))
	p = keep(browser.Answer(p, url.Values{"identifier": {anaMail}}))
	keep(browser.Answer(p, url.Values{"password": {"wrong-password-here"}}))
	keep(browser.Answer(p, url.Values{"choose": {"code"}}))
	done := keep(browser.Answer(p, url.Values{"password": {anaPassword}}))
	if done.Status != http.StatusSeeOther {
		t.Errorf("the finish is a %d", done.Status)
	}
	keep(browser.Get(i.Base + h.tenant.Path + "/account"))
	keep(browser.Get(h.recipes.URL(i, h.recipes.Authorize(nil))))
	keep(browser.Get(i.Base + h.tenant.Path + "/end_session"))
	keep(browser.Get(i.Base + h.tenant.Path + "/nothing-here"))
	keep(browser.Get(i.Base + h.tenant.Path + "/authorize?client_id=x"))
	keep(browser.Post(i.Base+h.tenant.Path+"/journey", url.Values{"state": {"x"}}, ""))
	keep(browser.Post(i.Base+h.tenant.Path+"/authorize", r.Params, "https://shop.example"))
	cookies := 0
	for _, p := range all {
		head := p.Header
		// What answered a form may be gone back to in the same browser, by nobody
		// on the way, and never with a cookie.
		stored := head.Get("Cache-Control") != "no-store" &&
			(head.Get("Cache-Control") != "private, no-cache" || p.URL.Path != h.tenant.Path+"/journey" || len(head["Set-Cookie"]) > 0)
		if stored || head.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s (%d): Cache-Control %q, X-Content-Type-Options %q", p.URL.Path, p.Status, head.Get("Cache-Control"), head.Get("X-Content-Type-Options"))
		}
		if referrer := head.Get("Referrer-Policy"); referrer != "no-referrer" && referrer != "same-origin" {
			t.Errorf("%s: Referrer-Policy %q", p.URL.Path, referrer)
		}
		for _, c := range head["Set-Cookie"] {
			cookies++
			if !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") || !strings.Contains(c, "Path=/") || strings.Contains(c, "Domain") {
				t.Errorf("%s sets %s", p.URL.Path, c)
			}
		}
		if p.Location != nil {
			continue
		}
		csp := head.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s (%d): the policy %q has no %s", p.URL.Path, p.Status, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || head.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: the policy is %q, X-Frame-Options %q", p.URL.Path, csp, head.Get("X-Frame-Options"))
		}
		if strings.Contains(p.Body, "http://evil") || strings.Contains(p.Body, " style=\"") || strings.Contains(p.Body, "onclick") {
			t.Errorf("%s has inline code", p.URL.Path)
		}
	}
	if cookies < 3 {
		t.Errorf("only %d cookies were set", cookies)
	}
	tokens := h.shop.Redeem(i, r, done)
	if tokens.Header.Get("Cache-Control") != "no-store" || len(tokens.Header["Set-Cookie"]) != 0 {
		t.Errorf("the token endpoint answers with %v", tokens.Header)
	}
	for _, post := range []string{"/introspect", "/revoke", "/token"} {
		_, header, _, err := h.shop.Post(i, post, url.Values{"token": {tokens.Refresh}})
		if err != nil || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q %v", post, header.Get("Cache-Control"), err)
		}
	}
}

// SECURITY E7: of many who fail at once, none is told of another's failure.
func TestFailuresAreNotMixedUp(t *testing.T) {
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	atOnce(2000, func(k int) {
		marker := fmt.Sprintf("marker%06d", k)
		r := h.shop.Authorize(url.Values{"state": {marker}, "response_type": {"token"}})
		address, method, body := h.shop.URL(i, r), http.MethodGet, ""
		switch k % 4 {
		case 1:
			address = i.Base + h.tenant.Path + "/authorize?client_id=" + marker
		case 2:
			address, method, body = i.Base+h.tenant.Path+"/token", http.MethodPost, "grant_type="+marker+"&client_id="+marker
		case 3:
			address, method, body = i.Base+h.tenant.Path+"/journey", http.MethodPost, "state="+marker
		}
		got, err := trySend(method, address, body, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
		if err != nil {
			t.Error(err)
			return
		}
		text := got.body + got.header.Get("Location")
		for rest := text; ; {
			at := strings.Index(rest, "marker")
			if at < 0 {
				break
			}
			if !strings.HasPrefix(rest[at:], marker) {
				t.Errorf("the answer to %s has %.20s", marker, rest[at:])
				break
			}
			rest = rest[at+6:]
		}
		if got.status >= 500 || (k%4 == 0 && !strings.Contains(text, marker)) {
			t.Errorf("%s was answered %d %s", marker, got.status, text)
		}
	})
}

// An application that asks for recent activity is not answered by asking
// twice, and does not ask whoever is active.
func TestAnApplicationsOwnIdleLifetime(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		strict := i.Application(h.tenant, func(s *application.Settings) { s.Name, s.SessionIdle = "Bank", tenant.Duration(10*time.Minute) })
		browser := i.Browser()
		h.shop.SignIn(i, browser, anaMail, anaPassword, nil)
		open := func(app *servertest.App, params url.Values) *servertest.Page {
			return browser.Get(app.URL(i, app.Authorize(params)))
		}
		for range 8 { // active for half an hour, elsewhere
			i.Clock.Advance(4 * time.Minute)
			if !onAccount(browser.Get(i.Base + h.tenant.Path + "/account")) {
				t.Fatal("an active customer is signed out")
			}
		}
		if p := open(strict, nil); p.Location == nil || p.Location.Query().Get("code") == "" {
			t.Fatalf("an active customer is asked again: %s", servertest.Text(p.Body))
		}
		i.Clock.Advance(11 * time.Minute)
		for range 3 {
			if p := open(strict, url.Values{"prompt": {"none"}}); p.Location == nil || p.Location.Query().Get("error") != "login_required" {
				t.Fatalf("idle for longer than the application allows, asked silently: %v", p.Location)
			}
			if p := open(strict, nil); p.Location != nil {
				t.Fatalf("idle for longer than the application allows: %s", p.Location)
			}
		}
		if p := open(h.shop, nil); p.Location == nil {
			t.Errorf("another application asks too: %s", servertest.Text(p.Body))
		}
		i.Clock.Advance(11 * time.Minute)
		p := browser.Answer(open(strict, nil), url.Values{"password": {anaPassword}})
		if p.Location == nil || p.Location.Query().Get("code") == "" {
			t.Errorf("who proved himself again gets no code: %s", servertest.Text(p.Body))
		}
	})
}

// Whether he stays signed in is what the customer chose the last time that he
// proved himself.
func TestStayingSignedInIsChosenAgain(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		account := i.Base + h.tenant.Path + "/account"
		browser := i.Browser()
		lasting := func(p *servertest.Page) bool {
			t.Helper()
			for _, cookie := range p.Header["Set-Cookie"] {
				if strings.HasPrefix(cookie, "cardea_session_") {
					return strings.Contains(cookie, "Max-Age=")
				}
			}
			t.Fatalf("no session cookie is set: %s", servertest.Text(p.Body))
			return false
		}
		ticked := func(p *servertest.Page) bool { return strings.Contains(p.Body, `name="stay" value="true" checked`) }
		if p := browser.Answer(h.passwordPage(browser, anaMail), url.Values{"password": {anaPassword}}); lasting(p) {
			t.Fatal("nobody asked to stay signed in")
		}
		again := func() *servertest.Page {
			p := browser.Get(h.shop.URL(i, h.shop.Authorize(url.Values{"prompt": {"login"}})))
			if !p.Has("password") {
				t.Fatalf("prompt=login does not ask: %s", servertest.Text(p.Body))
			}
			return p
		}
		p := again()
		if ticked(p) {
			t.Error("the box is ticked for whoever did not choose it")
		}
		if p = browser.Answer(p, url.Values{"password": {anaPassword}, "stay": {"true"}}); !lasting(p) {
			t.Error("what was chosen is ignored")
		}
		i.Clock.Advance(2 * time.Hour)
		if !onAccount(browser.Get(account)) {
			t.Fatal("whoever chose to stay signed in is signed out after two hours")
		}
		p = again()
		if !ticked(p) {
			t.Error("the box does not say what was chosen")
		}
		if p = browser.Answer(p, url.Values{"password": {anaPassword}}); lasting(p) {
			t.Error("the cookie stays for whoever has unticked the box")
		}
		i.Clock.Advance(2 * time.Hour)
		if onAccount(browser.Get(account)) {
			t.Error("whoever has unticked the box is signed in two hours later")
		}
	})
}
