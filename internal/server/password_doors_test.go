package server_test

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// choosing is a page on which somebody chooses a password.
type choosing struct {
	b       *servertest.Browser
	page    *servertest.Page
	address string // whose password it is
	signIn  string // where he signs in
}

// choosers are all the ways to a page on which a password is chosen.
var choosers = map[string]func(c *company, i *servertest.Installation) choosing{
	"sign-up": func(c *company, i *servertest.Installation) choosing {
		const address = "signing-up@shop.example"
		b := i.Browser()
		p := c.signUpPage(b, address)
		return choosing{b, b.Answer(p, url.Values{"code": {i.Code(address)}}), address, ""}
	},
	"sign-in by the code of a new address": func(c *company, i *servertest.Installation) choosing {
		const address = "coded@shop.example"
		b := i.Browser()
		p, code := c.codePage(b, address, true)
		return choosing{b, b.Answer(p, url.Values{"code": {code}}), address, ""}
	},
	"recovery": func(c *company, i *servertest.Installation) choosing {
		const address = "forgetful@shop.example"
		i.Customer(c.tenant, address, anaPassword)
		b := i.Browser()
		return choosing{b, c.provenPage(b, address), address, ""}
	},
	"the account's change": func(c *company, i *servertest.Installation) choosing {
		const address = "changing@shop.example"
		i.Customer(c.tenant, address, anaPassword)
		b := i.Browser()
		c.shop.SignIn(i, b, address, anaPassword, nil)
		return choosing{b, b.Answer(b.Get(c.tenant.URL("/account/password")), url.Values{"password": {anaPassword}}), address, ""}
	},
	"the account's first": func(c *company, i *servertest.Installation) choosing {
		const address = "without@shop.example"
		i.Customer(c.tenant, address, "")
		b := i.Browser()
		p, code := c.codePage(b, address, true)
		b.Answer(p, url.Values{"code": {code}})
		return choosing{b, b.Get(c.tenant.URL("/account/password")), address, ""}
	},
	"an invitation": func(c *company, i *servertest.Installation) choosing {
		l := &living{house: c.house}
		who, address := l.somebody(customer.Invited)
		b := i.Browser()
		p := b.Get(c.tenant.URL("/invitation") + "?link=" + l.linkTo(who, step.InvitationPurpose, address))
		return choosing{b, b.Answer(p, url.Values{"decision": {"accept"}}), address, ""}
	},
	"an invitation to an organization": func(c *company, i *servertest.Installation) choosing {
		b := i.Browser()
		p := b.Get(c.invite(c.organization("acme"), newcomer, "member"))
		last := i.Newest(newcomer)
		p = b.Answer(p, url.Values{"decision": {"continue"}})
		return choosing{b, b.Answer(p, url.Values{"code": {i.CodeAfter(newcomer, last)}}), newcomer, ""}
	},
	"a first operator's link": func(c *company, i *servertest.Installation) choosing {
		link, err := i.FirstOperator(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		b := i.SystemBrowser()
		return choosing{b, b.Answer(b.Get(link), url.Values{"identifier": {"olga@shop.example"}}), "olga@shop.example", i.Config.SystemURL + "/sign-in"}
	},
	"an operator's link": func(c *company, i *servertest.Installation) choosing {
		system, err := i.Tenants.BySlug(c.t.Context(), "system")
		if err != nil {
			c.t.Fatal(err)
		}
		who := i.Customer(system, "omar@shop.example", anaPassword)
		i.Operator(string(who), operator.Everything())
		secret, err := i.Operators.BreakGlass(c.t.Context(), who, "test")
		if err != nil {
			c.t.Fatal(err)
		}
		link, err := i.OperatorLink(c.t.Context(), secret)
		if err != nil {
			c.t.Fatal(err)
		}
		b := i.SystemBrowser()
		return choosing{b, b.Get(link), "omar@shop.example", i.Config.SystemURL + "/sign-in"}
	},
}

// SECURITY items 1 to 6 and O5: wherever a password is chosen, one that is too
// short, too long, common, guessable or made of the customer's own words is
// refused with its reason before anything is hashed; 70 code points of whatever
// script and spaces are taken, and count to the last of them, case included.
func TestEveryDoorJudgesPasswords(t *testing.T) {
	t.Parallel()
	const good = "größere Höhe über dem 北京 Bahnhof, ein Satz mit Ümläuten und 70 Zeichen"
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		i.System()
		c := newCompany(t, i, nil)
		for _, name := range slices.Sorted(maps.Keys(choosers)) { // there is no first operator's link once there is an operator
			at := choosers[name](c, i)
			if !at.page.Has("new_password") {
				t.Errorf("%s: no password is chosen: %d %s", name, at.page.Status, servertest.Text(at.page.Body))
				continue
			}
			local, _, _ := strings.Cut(at.address, "@")
			before, stored := i.Hasher.Stats().Computed, c.passwords()
			for what, weak := range map[string]string{
				"nothing": "", "too short": "vX9#kq2!Lp7zRw", "too long": strings.Repeat("ä1b2c3d4e5f", 100), "common": "passwordpassword", "guessable": "aaaaaaaaaaaaaaaaaaaa",
				"his address": at.address + "1", "his name": local + local + local, "years": "2019202020212022",
			} {
				p := at.b.Answer(at.page, url.Values{"new_password": {weak}})
				if !p.Has("new_password") || signedIn(p) || !strings.Contains(p.Body, "aria-invalid") {
					t.Errorf("%s: a password that is %s leads to %d %s", name, what, p.Status, servertest.Text(p.Body))
				}
				if weak != "" && strings.Contains(p.Body, weak) && weak != at.address+"1" {
					t.Errorf("%s: the page has the password that was typed", name)
				}
			}
			if n := i.Hasher.Stats().Computed - before; n != 0 || c.passwords() != stored {
				t.Errorf("%s: %d weak passwords were hashed; %d stored, before %d", name, n, c.passwords(), stored)
			}
			if p := at.b.Answer(at.page, url.Values{"new_password": {good}}); p.Status >= 400 || p.Has("new_password") {
				t.Errorf("%s: a good password leads to %d %s", name, p.Status, servertest.Text(p.Body))
			}
			enters := func(password string) bool {
				b := i.Browser()
				from := c.tenant.URL("/sign-in")
				if at.signIn != "" {
					b, from = i.SystemBrowser(), at.signIn
				}
				p := b.Answer(b.Answer(b.Get(from), url.Values{"identifier": {at.address}}), url.Values{"password": {password}})
				return signedIn(p) || onAccount(p)
			}
			for _, other := range []string{good[:len(good)-1], good[:72], strings.ToLower(good), good + " ", strings.ReplaceAll(good, "ö", "o")} {
				if enters(other) {
					t.Errorf("%s: %q is taken for %q", name, other, good)
				}
			}
			if !enters(good) {
				t.Errorf("%s: the password that was chosen lets nobody in", name)
			}
		}
	})
}

// passwords tells apart what is stored of them.
func (c *company) passwords() (n int) {
	c.t.Helper()
	if err := c.DB.QueryRow(c.t.Context(), `SELECT COUNT(*) FROM event WHERE type IN ('password.set', 'password.changed')`).Scan(&n); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// SECURITY item 13: an operator may start a reset, and neither chooses a
// password nor sees one: no operation takes or tells one.
func TestNoOperationTakesOrTellsAPassword(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	system := i.System()
	_, _, text := i.Admin("", "GET", "/admin/v1/openapi.json", "")
	for _, property := range []string{`"password":{"type":"string"`, `"new_password"`, `"password_hash"`, `"hash":`} {
		if strings.Contains(strings.ReplaceAll(text, " ", ""), property) {
			t.Errorf("the document has %s", property)
		}
	}
	shop := i.Tenant("shop", nil)
	token := robotToken(i, i.Robot(system, operator.Everything()))
	who := i.Customer(shop, anaMail, anaPassword)
	for _, d := range everyOperation(t, i) {
		if d.method == "GET" || d.method == "DELETE" || d.body == nil {
			continue
		}
		body, is := d.body.(map[string]any)
		if !is {
			continue
		}
		body["password"], body["new_password"] = evilPassword, evilPassword
		values := somewhere("shop")
		values["customer"] = string(who)
		i.Admin(token, d.method, d.withPath(values), d.bodyText())
	}
	b := i.Browser()
	p := b.Answer(b.Get(shop.URL("/sign-in")), url.Values{"identifier": {anaMail}})
	if p = b.Answer(p, url.Values{"password": {evilPassword}}); signedIn(p) || onAccount(p) {
		t.Error("an operator's password is ana's")
	}
}
