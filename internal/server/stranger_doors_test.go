package server_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/config"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// SECURITY G2, I3: no page that a link opens shows the form for a password to who
// has not proved what the link is for, whatever he answers; nor does one page's
// state serve another's.
func TestLinksThatAreNotGoodLeadToNoPassword(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		i.System()
		c := newCompany(t, i, nil)
		l := &living{house: c.house}
		who, invited := l.somebody(customer.Invited)
		good := l.linkTo(who, step.InvitationPurpose, invited)
		joining := c.invite(c.organization("acme"), newcomer, "member")
		_, join, _ := strings.Cut(joining, "link=")
		join, _, _ = strings.Cut(join, "&")
		_, notMe, _ := strings.Cut(c.recovered(), "link=")
		notMe, _, _ = strings.Cut(notMe, "&")
		base := c.tenant.URL("")
		b := i.Browser()
		var pages []*servertest.Page
		for _, path := range []string{
			"/invitation", "/invitation?link=x", "/invitation?link=" + join, "/invitation?link=" + notMe, "/invitation?link=" + flip(good),
			"/join", "/join?link=x", "/join?link=" + good, "/join?link=" + notMe, "/join?link=" + join,
			"/not-me", "/not-me?link=x", "/not-me?link=" + good, "/not-me?link=" + join, "/not-me?link=" + notMe,
			"/operator", "/operator?link=" + good,
		} {
			p := b.Get(base + path)
			if p.Has("new_password") || p.Status >= 500 {
				t.Errorf("%s shows %d %s", path, p.Status, servertest.Text(p.Body))
			}
			pages = append(pages, p)
		}
		for depth := range 2 {
			var next []*servertest.Page
			seen := map[string]bool{}
			for _, p := range pages {
				if len(p.Forms) == 0 || p.Forms[0].Hidden.Get("state") == "" {
					continue
				}
				for _, values := range []url.Values{
					{}, {"choose": {"skip"}}, {"choose": {"accepted"}}, {"choose": {"known"}}, {"choose": {"unknown"}}, {"choose": {"invited"}}, {"choose": {"password"}}, {"choose": {"chosen"}},
					{"decision": {"accept"}}, {"decision": {"continue"}}, {"decision": {"allow"}}, {"code": {""}}, {"code": {"x"}}, {"new_password": {newPassword}},
					{"new_password": {newPassword}, "decision": {"accept"}, "step": {"new-password"}},
				} {
					answered := b.Answer(p, values)
					if answered.Has("new_password") || signedIn(answered) || onAccount(answered) || answered.Status >= 500 {
						t.Fatalf("%s answered with %v: %d %s", p.URL, values, answered.Status, servertest.Text(answered.Body))
					}
					if key := servertest.Text(answered.Body); depth == 0 && !seen[key] {
						seen[key] = true
						next = append(next, answered)
					}
				}
			}
			pages = next
		}
		if n := c.count(`SELECT COUNT(*) FROM session WHERE tenant = $1 AND customer <> $2`, c.tenant.ID, c.ana); n != 0 || l.status(who).Status != customer.Invited {
			t.Errorf("%d sessions; who was invited is %s", n, l.status(who).Status)
		}
	})
}

// SECURITY N1, N3: what strangers, customers, their browsers, operators and
// members call things is text on every page that shows it, and so is whatever an
// address carries.
func TestEveryPageShowsText(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		c := newCompany(t, i, collectsNickname)
		token := robotToken(i, i.Robot(system, operator.Everything()))
		const named = `</p><script>alert(1)</script>"'><img src=x onerror=alert(2)>{{.}}`
		body, err := json.Marshal(map[string]any{"slug": "acme", "name": named})
		if err != nil {
			t.Fatal(err)
		}
		status, _, text := i.Admin(token, http.MethodPost, "/admin/v1/tenants/shop/organizations", string(body))
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(text), &made); err != nil || status >= 300 {
			t.Fatalf("%d %s", status, text)
		}
		if status, _, text := i.Admin(token, http.MethodPut, "/admin/v1/tenants/shop/organizations/"+made.ID+"/members/"+string(c.ana), `{"roles":["member"]}`); status >= 300 {
			t.Fatalf("%d %s", status, text)
		}
		app := i.Application(c.tenant, func(s *application.Settings) { s.FirstParty, s.Name = false, named })
		b := i.Browser()
		b.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0 "+polyglot)
		p := b.Answer(c.passwordPage(b, anaMail), url.Values{"password": {anaPassword}})
		b.Answer(p, url.Values{"nickname": {named}})
		b.Answer(b.Get(app.URL(i, app.Authorize(nil))), url.Values{"decision": {"allow"}})
		live := func(what string, p *servertest.Page) {
			t.Helper()
			lower := strings.ToLower(p.Body)
			for _, code := range []string{"<svg/onload", "<img src=x", "<script>alert", `"'><`, "</script><img"} {
				if strings.Contains(lower, code) {
					t.Errorf("%s has live code: %s", what, code)
				}
			}
			if p.Status >= 500 {
				t.Errorf("%s: %d", what, p.Status)
			}
		}
		shown := 0
		for _, path := range []string{"/account", "/account/profile", "/account/sign-in", "/account/devices", "/account/applications", "/account/applications/" + string(app.ID), "/account/organizations",
			"/account/organizations/" + made.ID, "/account/preferences", "/account/close", "/account/password", "/account/addresses/new"} {
			p := b.Get(c.tenant.URL(path))
			live(path, p)
			if strings.Contains(servertest.Text(p.Body), "{{.}}") || strings.Contains(p.Body, "{{.}}") {
				shown++
			}
			for _, q := range []string{"done", "ui_locales", "link", "login_hint", "lang", "error"} {
				live(path+" with "+q, b.Get(c.tenant.URL(path)+"?"+url.Values{q: {polyglot}}.Encode()))
			}
		}
		if shown < 4 {
			t.Errorf("only %d pages show what was called so", shown)
		}
		for _, path := range []string{"/recover", "/not-me", "/join", "/invitation", "/operator", "/signed-out"} {
			for _, q := range []string{"link", "login_hint", "ui_locales", "done", "state", "error", "error_description"} {
				live(path+" with "+q, i.Browser().Get(c.tenant.URL(path)+"?"+url.Values{q: {polyglot}}.Encode()))
			}
		}
		profile := b.Get(c.tenant.URL("/account/profile"))
		for _, field := range []string{"given_name", "nickname", "locale", "lang", "choose"} {
			live("the profile, with a "+field, b.Answer(profile, url.Values{field: {named}}))
		}
		before := i.Newest("guest@shop.example")
		if status, _, text := i.Admin(token, http.MethodPost, "/admin/v1/tenants/shop/organizations/"+made.ID+"/invitations", `{"address":"guest@shop.example","roles":["member"]}`); status >= 300 {
			t.Fatalf("%d %s", status, text)
		}
		letter := c.noticeTo("guest@shop.example", "")
		if letter.ID <= before || strings.Contains(strings.ToLower(letter.HTML), "<script>alert") || strings.Contains(strings.ToLower(letter.HTML), "<img src=x") || strings.ContainsAny(letter.Subject, "\r\n") {
			t.Errorf("the invitation has live code: %q %s", letter.Subject, letter.HTML)
		}
		if link := joinLink.FindString(letter.Text); link == "" {
			t.Errorf("no link in %s", letter.Text)
		} else {
			live("the invitation's page", i.Browser().Get(link))
		}
	})
}

// SECURITY L7: an address, and an identifier that an operator gave, that are free
// in one tenant and taken in another are of the other alone.
func TestWhatIsMadeAnewElsewhereIsOfElsewhere(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		old, anew := newHouse(t, i, "old", nil), newHouse(t, i, "anew", nil)
		const address = "moving@shop.example"
		was := i.Customer(old.tenant, address, anaPassword)
		before := i.Browser()
		tokens := old.shop.SignIn(i, before, address, anaPassword, nil)
		if err := i.Directory.Erase(t.Context(), old.tenant.ID, was, "test"); err != nil {
			t.Fatal(err)
		}
		is := i.Customer(anew.tenant, address, evilPassword)
		if old.count(`SELECT COUNT(*) FROM customer WHERE tenant = $1 AND customer = $2`, old.tenant.ID, is) != 0 || is == was {
			t.Error("the new account is in the old tenant")
		}
		for _, password := range []string{anaPassword, evilPassword} {
			b := i.Browser()
			if p := b.Answer(old.passwordPage(b, address), url.Values{"password": {password}}); signedIn(p) {
				t.Error("the new account is found in the old tenant")
			}
		}
		if onAccount(before.Get(old.tenant.URL("/account"))) || onAccount(before.Get(anew.tenant.URL("/account"))) || old.shop.Active(i, tokens.Access) || anew.shop.Active(i, tokens.Access) {
			t.Error("what was of the old account is good")
		}
		if got := anew.shop.SignIn(i, i.Browser(), address, evilPassword, nil); claims(t, got.Access)["sub"] != string(is) {
			t.Errorf("the new account's tokens are %v", got)
		}
	})
}

// SECURITY items 81 and 82: who is refused at a door is on record or in the log:
// applications that prove nothing, forms of other sites, links and hooks that are
// not good, states that are forged; and H2: what is noted of where somebody was is
// the address that he came from, not one that he wrote.
func TestRefusalsAtEveryDoorAreLogged(t *testing.T) {
	t.Parallel()
	log := &journal{}
	i := servertest.New(t, sqldb.SQLite, func(e *server.Environment) {
		e.Logger = slog.New(slog.NewJSONHandler(log, nil))
		e.Config.Mail.HookSecret = config.NewSecret(hookSecret)
	})
	system := i.System()
	h := newHouse(t, i, "thyme", nil)
	some := robotToken(i, i.Robot(system, operator.Holding{Scopes: []string{"customers:read", "tenants:write"}, Tenants: []id.Tenant{h.tenant.ID}}))
	nobody := i.Application(system, func(s *application.Settings) {
		s.Kind, s.RedirectURIs, s.PostLogoutURIs, s.Scopes = application.Machine, nil, nil, operator.Scopes()
	})
	admin := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	foreign := h.passwordPage(i.Browser(), anaMail)
	crossed := url.Values{"state": {foreign.Forms[0].Hidden.Get("state")}, "password": {anaPassword}}.Encode()
	operators := i.Config.SystemURL + "/admin/v1"
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	own := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"}}
	evil := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {"https://evil.example"}}
	base := h.tenant.URL("")
	credentials := "&client_id=" + string(h.shop.ID) + "&client_secret=wrong"
	for name, do := range map[string]struct {
		method, address, body string
		header                http.Header
	}{
		"token":         {"POST", base + "/token", "grant_type=client_credentials" + credentials, form},
		"introspect":    {"POST", base + "/introspect", "token=x" + credentials, form},
		"revoke":        {"POST", base + "/revoke", "token=x" + credentials, form},
		"authorize":     {"GET", base + "/authorize?client_id=" + string(h.shop.ID) + "&redirect_uri=https://evil.example", "", nil},
		"another site":  {"POST", base + "/account/profile", "state=x", evil},
		"a state":       {"POST", base + "/journey", "state=x", own},
		"not-me":        {"POST", base + "/journey", "state=en.x&decision=secure", own},
		"operator":      {"GET", i.Config.SystemURL + "/operator?link=x", "", nil},
		"operator form": {"POST", i.Config.SystemURL + "/operator", "state=x+olga@shop.example&new_password=x", own},
		"crossed":       {"POST", base + "/journey", crossed, own},
		"no token":      {"GET", operators + "/tenants", "", admin("x.y.z")},
		"no operator":   {"GET", operators + "/tenants", "", admin(robotToken(i, nobody))},
		"no scope":      {"GET", operators + "/tenants/thyme/events", "", admin(some)},
		"not all":       {"POST", operators + "/tenants", `{"slug":"x","name":"X"}`, admin(some)},
		"hooks":         {"POST", i.Base + "/hooks/mail/generic", "{}", http.Header{"Authorization": {"Bearer x"}}},
	} {
		before := len(log.String())
		status, _, _ := send(t, do.method, do.address, do.body, do.header)
		if status < 400 {
			t.Errorf("%s: %d", name, status)
		}
		line := log.String()[before:]
		if !strings.Contains(line, `"level":"INFO"`) && !strings.Contains(line, `"level":"WARN"`) {
			t.Errorf("%s is refused, and the log has nothing of it: %q", name, line)
		}
		for _, typed := range []string{"wrong", "evil.example", "x.y.z", "olga", anaMail, anaPassword} {
			if strings.Contains(line, typed) {
				t.Errorf("%s: the log has %s: %s", name, typed, line)
			}
		}
	}
	b := i.Browser()
	b.Header.Set("X-Forwarded-For", "198.51.100.77")
	b.Header.Set("Forwarded", "for=198.51.100.77")
	b.Header.Set("X-Real-Ip", "198.51.100.77")
	p := b.Answer(h.passwordPage(b, anaMail), url.Values{"password": {anaPassword}})
	if !signedIn(p) {
		t.Fatal("ana is not signed in")
	}
	found, _, err := i.Sessions.List(t.Context(), h.tenant, h.ana, "", 10)
	if err != nil || len(found) != 1 || strings.Contains(fmt.Sprintf("%+v", *found[0]), "198.51.100") {
		t.Errorf("the session is of %+v, %v", found, err)
	}
	records, err := i.Log.Read(t.Context(), h.tenant.ID, event.Filter{}, event.Page{})
	if err != nil || strings.Contains(fmt.Sprintf("%+v", records), "198.51.100") || strings.Contains(log.String(), "198.51.100") {
		t.Errorf("what was written is on record: %v", err)
	}
}

// SECURITY O1, O3, O4: what strangers send to the endpoints that take long lists
// is refused soon, and nothing of it stays.
func TestLongListsAreRefusedSoon(t *testing.T) {
	i := servertest.New(t, sqldb.SQLite, withHooks)
	h := newHouse(t, i, "thyme", nil)
	var scopes, values strings.Builder
	for n := range 10_000 {
		fmt.Fprintf(&scopes, "s%d ", n)
		fmt.Fprintf(&values, "urn:x:%d ", n)
	}
	var keys strings.Builder
	for n := range 40_000 {
		fmt.Fprintf(&keys, `"k%d":1,`, n)
	}
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Bearer " + hookSecret}}
	ask := func(name, address, body string, want int) {
		t.Helper()
		began := time.Now()
		status, _, text := send(t, http.MethodPost, address, body, form)
		if status >= 500 || want != 0 && status != want {
			t.Errorf("%s: %d %.200s", name, status, text)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
	hook := i.Base + "/hooks/mail/generic"
	round := func() {
		for _, name := range []string{"scope", "acr_values", "ui_locales", "prompt", "response_type", "claims", "resource"} {
			r := h.shop.Authorize(url.Values{name: {values.String()[:40_000]}})
			ask("authorize with much "+name, h.tenant.URL("/authorize"), r.Params.Encode(), 0)
		}
		ask("token with 10,000 scopes", h.tenant.URL("/token"), url.Values{"grant_type": {"client_credentials"}, "scope": {scopes.String()}}.Encode(), 0)
		ask("a hook with deep JSON", hook, strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000), http.StatusBadRequest)
		ask("a hook with deep lists", hook, strings.Repeat("[", 400_000), http.StatusBadRequest)
		ask("a hook with many keys", hook, "{"+keys.String()+`"x":1}`, 0)
		ask("a hook with too much", hook, strings.Repeat(" ", 2<<20), http.StatusRequestEntityTooLarge)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	round()
	before := heap()
	for range 5 {
		round()
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("what was refused took %d KiB", (after-before)>>10)
	}
}
