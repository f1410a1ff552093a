package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// held is everything that a customer and an application hold before the
// customer is shut out.
type held struct {
	*house
	browser      *servertest.Browser // signed in
	tokens       servertest.Tokens   // of recipes
	request      servertest.Request
	code         string // of recipes, not redeemed
	passwordAt   *servertest.Browser
	passwordPage *servertest.Page
	codeAt       *servertest.Browser
	codePage     *servertest.Page
	mailed       string
	account      *servertest.Page

	consent, profile, password *servertest.Page // in the browser that is signed in
	recoveringAt               *servertest.Browser
	recovering                 *servertest.Page
	recovery                   string // its code
}

func hold(t *testing.T, i *servertest.Installation, slug string, before func(h *house)) *held {
	t.Helper()
	x := &held{house: newHouse(t, i, slug, nil)}
	if before != nil {
		before(x.house)
	}
	x.browser = i.Browser()
	x.tokens = x.recipes.SignIn(i, x.browser, anaMail, anaPassword, nil)
	x.request, x.code = x.house.code(x.browser, x.recipes, nil)
	x.passwordAt = i.Browser()
	x.passwordPage = x.house.passwordPage(x.passwordAt, anaMail)
	x.codeAt = i.Browser()
	x.codePage, x.mailed = x.house.codePage(x.codeAt, anaMail, true)
	x.account = x.browser.Get(i.Base + x.tenant.Path + "/account")
	x.consent = x.browser.Get(x.recipes.URL(i, x.recipes.Authorize(url.Values{"prompt": {"consent"}})))
	x.profile = x.browser.Get(x.tenant.URL("/account/profile"))
	x.password = x.browser.Answer(x.browser.Get(x.tenant.URL("/account/password")), url.Values{"password": {anaPassword}})
	if !x.consent.Has("decision") && before == nil || !x.profile.Has("given_name") || !x.password.Has("new_password") {
		t.Fatalf("not to begin with: %s, %s, %s", servertest.Text(x.consent.Body), servertest.Text(x.profile.Body), servertest.Text(x.password.Body))
	}
	x.recoveringAt = i.Browser()
	newest := i.Newest(anaMail)
	x.recovering = x.recoveryPage(x.recoveringAt, anaMail)
	x.recovery = i.CodeAfter(anaMail, newest)
	return x
}

// doors are all the ways in, each telling whether it is open.
var doors = []struct {
	name string
	open func(x *held) bool
}{
	{"introspect access token", func(x *held) bool { return x.introspects(x.tokens.Access) }},
	{"introspect refresh token", func(x *held) bool { return x.introspects(x.tokens.Refresh) }},
	{"userinfo", func(x *held) bool {
		status, claims := x.recipes.UserInfo(x.Installation, x.tokens.Access)
		if status != http.StatusOK && status != http.StatusUnauthorized {
			x.t.Errorf("userinfo answered %d", status)
		}
		return status == http.StatusOK || claims["email"] != nil
	}},
	{"cookie at authorize, silently", func(x *held) bool {
		p := x.browser.Get(x.recipes.URL(x.Installation, x.recipes.Authorize(url.Values{"prompt": {"none"}})))
		return p.Location != nil && p.Location.Query().Has("code")
	}},
	{"cookie at authorize", func(x *held) bool {
		p := x.browser.Get(x.recipes.URL(x.Installation, x.recipes.Authorize(nil)))
		return (p.Location != nil && p.Location.Query().Has("code")) || p.Has("decision")
	}},
	{"cookie at the account page", func(x *held) bool {
		p := x.browser.Get(x.Installation.Base + x.tenant.Path + "/account")
		return p.Status == http.StatusOK && onAccount(p)
	}},
	{"code", func(x *held) bool {
		tokens := x.recipes.Token(x.Installation, redemption(x.request, x.code))
		return tokens.Status == http.StatusOK || tokens.Access != ""
	}},
	{"refresh", func(x *held) bool {
		tokens := x.recipes.Token(x.Installation, refreshing(x.tokens.Refresh))
		return tokens.Status == http.StatusOK || tokens.Access != ""
	}},
	{"password sign-in, begun before", func(x *held) bool {
		return x.enters(x.passwordAt, x.passwordPage, url.Values{"password": {anaPassword}})
	}},
	{"code sign-in, begun before", func(x *held) bool {
		return x.enters(x.codeAt, x.codePage, url.Values{"code": {x.mailed}})
	}},
	{"password sign-in", func(x *held) bool {
		b := x.Browser()
		p := b.Get(x.Installation.Base + x.tenant.Path + "/sign-in")
		if !p.Has("identifier") {
			return false
		}
		return x.enters(b, b.Answer(p, url.Values{"identifier": {anaMail}}), url.Values{"password": {anaPassword}})
	}},
	{"code sign-in", func(x *held) bool {
		b := x.Browser()
		p := b.Get(x.Installation.Base + x.tenant.Path + "/sign-in")
		if !p.Has("identifier") {
			return false
		}
		before := x.Newest(anaMail)
		p = b.Answer(b.Answer(p, url.Values{"identifier": {anaMail}}), url.Values{"choose": {"code"}})
		if !p.Has("code") {
			return false
		}
		p = b.Answer(p, url.Values{"code": {x.CodeAfter(anaMail, before)}})
		// An address that nobody has any more may open an account, and is not ana.
		return x.entered(p)
	}},
	{"consent, asked for before", func(x *held) bool {
		if !x.consent.Has("decision") {
			return false
		}
		p := x.browser.Answer(x.consent, url.Values{"decision": {"allow"}})
		return p.Location != nil && p.Location.Query().Has("code")
	}},
	{"profile, opened before", func(x *held) bool {
		x.browser.Answer(x.profile, url.Values{"given_name": {"Eve"}})
		found, err := x.Directory.Get(x.t.Context(), x.tenant.ID, x.ana)
		return err == nil && found.Profile["given_name"] == "Eve"
	}},
	{"password change, begun before", func(x *held) bool {
		changes := `SELECT COUNT(*) FROM event WHERE tenant = $1 AND customer = $2 AND type = 'password.changed'`
		before := x.count(changes, x.tenant.ID, x.ana)
		x.browser.Answer(x.password, url.Values{"new_password": {newPassword}})
		return x.count(changes, x.tenant.ID, x.ana) != before
	}},
	{"recovery, begun before", func(x *held) bool {
		p := x.recoveringAt.Answer(x.recovering, url.Values{"code": {x.recovery}})
		if p.Has("new_password") {
			return x.enters(x.recoveringAt, p, url.Values{"new_password": {newPassword}}) || x.count(`SELECT COUNT(*) FROM event WHERE tenant = $1 AND type = 'customer.password.recovered'`, x.tenant.ID) != 0
		}
		return x.entered(p)
	}},
}

func (x *held) introspects(token string) bool {
	status, _, body, err := x.recipes.Post(x.Installation, "/introspect", url.Values{"token": {token}})
	if err != nil {
		x.t.Fatal(err)
	}
	var answer struct{ Active bool }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || (status != http.StatusOK && status != http.StatusUnauthorized) {
		x.t.Errorf("introspection answered %d %s", status, body)
	}
	if !answer.Active && status == http.StatusOK && body != "{\"active\":false}\n" {
		x.t.Errorf("introspection says more than that it is not active: %s", body)
	}
	return answer.Active
}

// enters answers a page and tells whether that signed ana in.
func (x *held) enters(b *servertest.Browser, p *servertest.Page, values url.Values) bool {
	before := x.sessions()
	p = b.Answer(p, values)
	if x.sessions() != before {
		x.t.Error("a session was begun")
	}
	return x.entered(p)
}

func (x *held) entered(p *servertest.Page) bool {
	if p.Status >= 500 {
		x.t.Errorf("a sign-in ended in %d: %s", p.Status, servertest.Text(p.Body))
	}
	return signedIn(p) || onAccount(p)
}

func (x *held) sessions() int {
	return x.count(`SELECT COUNT(*) FROM session WHERE tenant = $1 AND customer = $2`, x.tenant.ID, x.ana)
}

// SECURITY D3, E4, items 39, 44, 45: whatever shuts a customer out shuts every
// door, on every node, within a second.
func TestWhoIsShutOutIsShutOutEverywhere(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		var elsewhere *servertest.Installation
		if i.Engine == sqldb.Postgres {
			elsewhere = i.SecondNode()
		}
		testShutOut(t, i, elsewhere)
	})
}

func testShutOut(t *testing.T, i, elsewhere *servertest.Installation) {
	status := func(to string) func(x *held) error {
		return func(x *held) error {
			return x.Directory.SetStatus(x.t.Context(), x.tenant.ID, x.ana, statusOf(to), "test", "test")
		}
	}
	disable := func(x *held) error {
		settings := x.recipes.Settings
		settings.Disabled = true
		_, err := x.Applications.Update(x.t.Context(), x.tenant.ID, x.recipes.ID, x.recipes.Revision, settings, "test")
		return err
	}
	own := func(h *house) { h.party(h.recipes, true) }
	write := func(do func(x *held, tx *sqldb.Tx) error) func(x *held) error {
		return func(x *held) error {
			return x.DB.Write(x.t.Context(), func(tx *sqldb.Tx) error { return do(x, tx) })
		}
	}
	signIns := []string{"password sign-in", "code sign-in", "password sign-in, begun before", "code sign-in, begun before", "recovery, begun before"}
	account := []string{"cookie at the account page", "profile, opened before", "password change, begun before"}
	cookies := append([]string{"cookie at authorize", "consent, asked for before"}, account...)
	for _, cause := range []struct {
		name   string
		before func(h *house) // what is so before anything is held
		shut   func(x *held) error
		open   []string // doors that this does not close
	}{
		{"locked", nil, status("locked"), nil},
		{"suspended", nil, status("suspended"), nil},
		{"erased", nil, func(x *held) error { return x.Directory.Erase(x.t.Context(), x.tenant.ID, x.ana, "test") }, nil},
		{"tenant-suspended", nil, func(x *held) error {
			_, err := x.Tenants.SetSuspended(x.t.Context(), x.tenant.ID, true, "test")
			return err
		}, nil},
		{"application-disabled", nil, disable, append(signIns, account...)},
		// What it had as the tenant's own nobody was asked for.
		{"application-of-others-now", own, func(x *held) error { x.party(x.recipes, false); return nil }, append(signIns, cookies...)},
		{"grant-revoked", nil, write(func(x *held, tx *sqldb.Tx) error {
			_, err := x.Grants.Revoke(tx, x.tenant.ID, x.ana, x.recipes.ID, "revoked", "test")
			return err
		}), append(signIns, cookies...)},
		{"session-ended", nil, write(func(x *held, tx *sqldb.Tx) error {
			_, err := x.Sessions.EndAll(tx, x.tenant.ID, x.ana, "", session.Revoked, "test")
			return err
		}), signIns},
		{"session-signed-out", nil, write(func(x *held, tx *sqldb.Tx) error {
			_, err := x.Sessions.End(tx, x.tenant.ID, x.ana, id.Session(claims(x.t, x.tokens.Access)["sid"].(string)), session.SignedOut, "test")
			return err
		}), signIns},
	} {
		t.Run(cause.name, func(t *testing.T) {
			x := hold(t, i, cause.name, cause.before)
			if !x.introspects(x.tokens.Access) || !x.introspects(x.tokens.Refresh) {
				t.Fatal("the tokens are not good to begin with")
			}
			other := *x
			if elsewhere != nil {
				other.house = x.house.at(elsewhere)
				other.shopIsThere() // it has its caches full
			}
			if err := cause.shut(x); err != nil {
				t.Fatal(err)
			}
			if elsewhere != nil {
				time.Sleep(time.Second)
				for _, door := range doors[:3] {
					if door.open(&other) {
						t.Errorf("on another node the door is open: %s", door.name)
					}
				}
			}
			for _, door := range doors {
				if !slices.Contains(cause.open, door.name) && door.open(x) {
					t.Errorf("the door is open: %s", door.name)
				}
			}
		})
	}
}

// To who is not shut out, what was opened before is open.
func TestDoorsAreOpenToWhoIsNotShutOut(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	tried := 0
	x := hold(t, i, "thyme", nil)
	for _, door := range doors {
		if strings.HasPrefix(door.name, "password sign-in") || strings.HasPrefix(door.name, "code sign-in") || strings.HasPrefix(door.name, "recovery") {
			continue // they begin a session, which is an error where nobody is to be let in
		}
		tried++
		if !door.open(x) {
			t.Errorf("the door is closed: %s", door.name)
		}
	}
	if tried < 10 {
		t.Errorf("%d doors were tried", tried)
	}
}

// party makes an application the tenant's own, or one of others.
func (h *house) party(app *servertest.App, first bool) {
	h.t.Helper()
	settings := app.Settings
	settings.FirstParty = first
	updated, err := h.Applications.Update(h.t.Context(), h.tenant.ID, app.ID, app.Revision, settings, "test")
	if err != nil {
		h.t.Fatal(err)
	}
	app.Application = updated
}

// shopIsThere asks for a page.
func (h *house) shopIsThere() {
	h.t.Helper()
	if status, _, body := send(h.t, http.MethodGet, h.Base+h.tenant.Path+"/jwks", "", nil); status != http.StatusOK {
		h.t.Fatalf("the tenant answers %d %s", status, body)
	}
}

// SECURITY D5: what was given under a setting ends with the setting.
func TestATakenScopeEndsWhatItGave(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		app := i.Application(h.tenant, func(s *application.Settings) {
			s.Scopes = []string{"openid", "email", "profile", "offline_access"}
		})
		browser := i.Browser()
		tokens := app.SignIn(i, browser, anaMail, anaPassword, url.Values{"scope": {"openid email profile offline_access"}})
		if tokens.Status != http.StatusOK {
			t.Fatalf("%+v", tokens)
		}
		settings := app.Settings
		settings.Scopes = []string{"openid", "profile"}
		if _, err := i.Applications.Update(t.Context(), h.tenant.ID, app.ID, app.Revision, settings, "test"); err != nil {
			t.Fatal(err)
		}
		if got := app.Token(i, refreshing(tokens.Refresh)); got.Error != "invalid_grant" {
			t.Errorf("an offline token lives on without the scope: %+v", got)
		}
		if p := browser.Get(app.URL(i, app.Authorize(url.Values{"scope": {"openid email"}}))); p.Location == nil || p.Location.Query().Get("error") != "invalid_scope" {
			t.Errorf("a scope that was taken is given: %v", p.Location)
		}
	})
}
