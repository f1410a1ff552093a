package server_test

import (
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// forwarded are headers by which a request may say that it is for another host.
var forwarded = map[string]string{
	"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher", "X-Forwarded-Server": "evil.example", "Forwarded": "host=evil.example;proto=gopher",
	"X-Original-Host": "evil.example", "X-Original-Url": "https://evil.example/", "X-Rewrite-Url": "/evil", "X-Host": "evil.example", "Referer": "https://evil.example/",
}

// deceiving is a browser whose every request says so.
func deceiving(i *servertest.Installation) *servertest.Browser {
	b := i.Browser()
	for name, value := range forwarded {
		b.Header.Set(name, value)
	}
	return b
}

// letters waits until as many messages have come, and returns all.
func (h *house) letters(atLeast int) []notify.Letter {
	h.t.Helper()
	for range 500 {
		letters, err := h.Inbox.List(h.t.Context(), "", "", 100)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(letters) >= atLeast {
			return letters
		}
		time.Sleep(10 * time.Millisecond)
	}
	h.t.Fatalf("fewer than %d messages came", atLeast)
	return nil
}

// SECURITY A5, G1, N1: whichever door a message is sent through, its links lead
// to the tenant's own host, whatever the request says of hosts or parameters.
func TestNoMessageTakesItsHostFromARequest(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		c := newCompany(t, i, nil)
		acme := c.organization("acme")
		const signingUp, added = "signing-up@shop.example", "added@shop.example"
		more := url.Values{"redirect_uri": {"https://evil.example"}, "return_to": {"//evil.example"}, "host": {"evil.example"}, "issuer": {"https://evil.example"}, "link": {"https://evil.example"}}
		with := func(values url.Values) url.Values {
			for name, all := range more {
				values[name] = all
			}
			return values
		}
		// A sign-up and its code.
		b := deceiving(i)
		p := b.Answer(b.Get(c.tenant.URL("/sign-up")+"?"+more.Encode()), with(url.Values{"identifier": {signingUp}}))
		p = b.Answer(p, with(url.Values{"code": {i.Code(signingUp)}}))
		b.Answer(p, with(url.Values{"new_password": {newPassword}}))
		// A sign-in by code, on a new device, which is told.
		b = deceiving(i)
		q, code := c.codePage(b, anaMail, true)
		b.Answer(q, with(url.Values{"code": {code}}))
		i.Clock.Advance(time.Minute)
		b = deceiving(i)
		q, code = c.codePage(b, anaMail, true)
		b.Answer(q, with(url.Values{"code": {code}}))
		// An address added, and the password changed, in the account.
		p = b.Answer(b.Get(c.tenant.URL("/account/addresses/new")), with(url.Values{"identifier": {added}}))
		if !p.Has("code") {
			t.Fatalf("no address is added: %s", servertest.Text(p.Body))
		}
		b.Answer(p, with(url.Values{"code": {i.Code(added)}}))
		p = b.Answer(b.Get(c.tenant.URL("/account/password")), with(url.Values{"password": {anaPassword}}))
		b.Answer(p, with(url.Values{"new_password": {newPassword}}))
		c.noticeTo(anaMail, "password was changed")
		// A recovery, and the notice's link pressed.
		i.Clock.Advance(time.Minute)
		b = deceiving(i)
		last := i.Newest(anaMail)
		p = c.recoveryPage(b, anaMail)
		b.Answer(p, with(url.Values{"code": {i.CodeAfter(anaMail, last)}}))
		b = deceiving(i)
		p = b.Get(c.linkIn(c.noticeTo(anaMail, "password was changed")))
		b.Answer(p, with(url.Values{"decision": {"secure"}}))
		c.noticeTo(anaMail, "signed out everywhere")
		// What operators send.
		token := robotToken(i, i.Robot(system, operator.Everything()))
		var headers []string
		for name, value := range forwarded {
			headers = append(headers, name, value)
		}
		for path, body := range map[string]string{
			"/invitations": `{"email":"guest@shop.example"}`, "/organizations/" + string(acme.ID) + "/invitations": `{"address":"partner@shop.example","roles":["member"]}`,
			"/customers/" + string(c.ana) + "/lock": `{}`,
		} {
			if status, _, text := i.Admin(token, http.MethodPost, "/admin/v1/tenants/shop"+path, body, headers...); status >= 300 {
				t.Errorf("%s: %d %s", path, status, text)
			}
		}
		if status, _, text := i.Admin(token, http.MethodPost, "/admin/v1/operator-links", `{}`, headers...); status >= 300 || strings.Contains(text, "evil") {
			t.Errorf("an operator's link: %d %s", status, text)
		}
		c.noticeTo("partner@shop.example", "")
		c.noticeTo("guest@shop.example", "")
		links := 0
		for _, letter := range c.letters(11) {
			for _, part := range []string{letter.Subject, letter.Text, letter.HTML, letter.From, letter.Name} {
				if strings.Contains(part, "evil") || strings.Contains(part, "gopher") {
					t.Errorf("%q to %s has what a request said: %s", letter.Subject, letter.To, part)
				}
			}
			for _, link := range letter.Links {
				links++
				if !strings.HasPrefix(link, c.tenant.Issuer+"/") {
					t.Errorf("%q to %s links to %s", letter.Subject, letter.To, link)
				}
			}
		}
		if links < 6 {
			t.Errorf("%d links were looked at", links)
		}
	})
}

// SECURITY Q2, items 79 and 83: the links that messages and operators are given
// stand nowhere in the database as they are, nor in the log once they are opened,
// used, used again, and opened where they are not good.
func TestLinksAreNeitherStoredNorLogged(t *testing.T) {
	t.Parallel()
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) {
			log := &journal{}
			i := servertest.New(t, engine, func(e *server.Environment) {
				e.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			i.System()
			c := newCompany(t, i, nil)
			l := &living{house: c.house}
			_, invited := l.somebody(customer.Invited)
			first, err := i.FirstOperator(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			secret, err := i.Operators.BreakGlass(t.Context(), id.Customer(""), "test")
			if err != nil {
				t.Fatal(err)
			}
			glass, err := i.OperatorLink(t.Context(), secret)
			if err != nil {
				t.Fatal(err)
			}
			letter := l.noticeTo(invited, "invited")
			invitation := ""
			for _, link := range letter.Links {
				if strings.Contains(link, "/invitation?") {
					invitation = link
				}
			}
			all := map[string]string{"not-me": c.recovered(), "join": c.invite(c.organization("acme"), newcomer, "member"), "invitation": invitation, "first operator": first, "break glass": glass}
			secrets := map[string]string{}
			for name, link := range all {
				parsed, err := url.Parse(link)
				if err != nil || len(parsed.Query().Get("link")) < 20 {
					t.Fatalf("%s: %q, %v", name, link, err)
				}
				secrets[name] = parsed.Query().Get("link")
			}
			look := func() {
				t.Helper()
				for name, where := range c.stored(secrets) {
					t.Errorf("the link of %s is stored in %s", name, where)
				}
			}
			look()
			for name, link := range all {
				b := i.Browser()
				if strings.Contains(name, "operator") || name == "break glass" {
					b = i.SystemBrowser()
				}
				for range 2 {
					p := b.Get(link)
					for range 3 {
						if len(p.Forms) == 0 {
							break
						}
						p = b.Answer(p, url.Values{"decision": {map[string]string{"not-me": "secure", "join": "continue"}[name] + map[string]string{"invitation": "accept"}[name]}, "identifier": {"olga@shop.example"}, "new_password": {newPassword}})
					}
				}
				b.Get(link + "x")
				b.Get(strings.Replace(link, c.tenant.Path, "/t/nowhere", 1))
			}
			look()
			text := log.String()
			for name, secret := range secrets {
				for _, spelled := range []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))} {
					if strings.Contains(text, spelled) {
						t.Errorf("the log has the link of %s", name)
					}
				}
			}
		})
	}
}

// SECURITY 24: whose password an operator's link has set is told at his address,
// with a link that undoes it; who opens an account by one is told nothing.
func TestAPasswordSetByAnOperatorsLinkIsTold(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		olga := i.Customer(system, "olga@shop.example", anaPassword)
		enrol := func(who id.Customer) {
			t.Helper()
			secret, err := i.Operators.BreakGlass(t.Context(), who, "test")
			if err != nil {
				t.Fatal(err)
			}
			link, err := i.OperatorLink(t.Context(), secret)
			if err != nil {
				t.Fatal(err)
			}
			b := i.SystemBrowser()
			p := b.Get(link)
			if who == "" {
				p = b.Answer(p, url.Values{"identifier": {"omar@shop.example"}})
			}
			if p = b.Answer(p, url.Values{"new_password": {evilPassword}}); p.Status >= 400 {
				t.Fatalf("%d %s", p.Status, servertest.Text(p.Body))
			}
		}
		enrol("")
		enrol(olga)
		h := &house{Installation: i, t: t, tenant: system}
		letter := h.noticeTo("olga@shop.example", "password was changed")
		enters := func() bool {
			b := i.SystemBrowser()
			p := b.Answer(b.Get(system.URL("/sign-in")), url.Values{"identifier": {"olga@shop.example"}})
			p = b.Answer(p, url.Values{"password": {evilPassword}})
			return signedIn(p) || onAccount(p)
		}
		if !enters() {
			t.Fatal("the link set no password")
		}
		b := i.SystemBrowser()
		if p := b.Answer(b.Get(h.linkIn(letter)), url.Values{"decision": {"secure"}}); p.Status >= 400 || enters() {
			t.Errorf("the notice's link undoes nothing: %d %s", p.Status, servertest.Text(p.Body))
		}
		i.Count() // what waits has left
		if i.Newest("omar@shop.example") != "" {
			t.Error("who has opened an account is told that its password was changed")
		}
	})
}
