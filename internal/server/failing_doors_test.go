package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// SECURITY D4, items 76 and 85: whoever shuts somebody or something out while
// nothing can be written is told that it was not done, at every door, and what was
// so before is so after.
func TestNoDoorClaimsWhatWasNotDone(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		c := newCompany(t, i, nil)
		const second = "second@shop.example"
		c.identified(c.ana, identifier.Email, second)
		acme := c.organization("acme")
		c.join(acme, c.ana, "member")
		token := robotToken(i, i.Robot(system, operator.Everything()))
		olga := string(i.Customer(system, "olga@shop.example", anaPassword))
		i.Operator(olga, operator.Everything())
		i.Operator(string(i.Customer(system, "omar@shop.example", anaPassword)), operator.Everything())
		secret, err := i.Operators.BreakGlass(t.Context(), "", "test")
		if err != nil {
			t.Fatal(err)
		}
		glass, err := i.OperatorLink(t.Context(), secret)
		if err != nil {
			t.Fatal(err)
		}
		joining := c.invite(acme, "guest@shop.example", "member")
		ana, err := c.Directory.Get(t.Context(), c.tenant.ID, c.ana)
		if err != nil {
			t.Fatal(err)
		}
		removed := ""
		for _, it := range ana.Identifiers {
			if it.Display == second {
				removed = string(it.ID)
			}
		}
		var invitation string
		if err := i.DB.QueryRow(t.Context(), `SELECT invitation FROM organization_invitation WHERE tenant = $1 AND organization = $2`, c.tenant.ID, acme.ID).Scan(&invitation); err != nil {
			t.Fatal(err)
		}
		b := i.Browser()
		tokens := c.recipes.SignIn(i, b, anaMail, anaPassword, nil)
		sid := claims(t, tokens.Access)["sid"].(string)
		page := func(path string) *servertest.Page { return b.Get(c.tenant.URL(path)) }
		const mine = "/admin/v1/tenants/shop"
		her := mine + "/customers/" + string(c.ana)
		admin := func(method, path, body string) func() int {
			return func() int {
				status, _, _ := i.Admin(token, method, path, body)
				return status
			}
		}
		answer := func(b *servertest.Browser, p *servertest.Page, values url.Values) func() int {
			return func() int { return b.Answer(p, values).Status }
		}
		recovering := i.Browser()
		proved := recovering.Answer(c.provenPage(recovering, anaMail), url.Values{"new_password": {newPassword}}) // asks whether the second address is hers
		operators := i.SystemBrowser()
		enrolling := operators.Answer(operators.Get(glass), url.Values{"identifier": {"new@shop.example"}})
		// In an order in which each can be done after those before it.
		doors := []struct {
			name string
			do   func() int
		}{
			{"profile", answer(b, page("/account/profile"), url.Values{"given_name": {"Anna"}})},
			{"leave", answer(b, page("/account/organizations/"+string(acme.ID)), url.Values{"decision": {"leave"}})},
			{"revoke an invitation", admin("DELETE", mine+"/organizations/"+string(acme.ID)+"/invitations/"+invitation, "")},
			{"remove a member", admin("PUT", mine+"/organizations/"+string(acme.ID)+"/members/"+string(c.ana), `{"roles":["owner"]}`)},
			{"suspend an organization", admin("POST", mine+"/organizations/"+string(acme.ID)+"/suspend", "")},
			{"take the secret", admin("POST", mine+"/applications/"+string(c.recipes.ID)+"/secret", "")},
			{"disconnect", answer(b, page("/account/applications/"+string(c.recipes.ID)), url.Values{"decision": {"remove"}})},
			{"end a session", admin("DELETE", her+"/sessions/"+sid, "")},
			{"recover", answer(recovering, proved, url.Values{"decision": {"continue"}})},
			{"remove an address", admin("DELETE", her+"/identifiers/"+removed, "")},
			{"lock", admin("POST", her+"/lock", `{}`)},
			{"suspend", admin("POST", her+"/suspend", `{}`)},
			{"close by an operator", admin("POST", her+"/close", `{}`)},
			{"delete an application", admin("DELETE", mine+"/applications/"+string(c.recipes.ID), "")},
			{"an operator's link", answer(operators, enrolling, url.Values{"new_password": {newPassword}})},
			{"remove an operator", admin("DELETE", "/admin/v1/operators/"+olga, "")},
			{"suspend a tenant", admin("POST", mine+"/suspend", "")},
		}
		before := i.Count()
		fail, repair := breakWrites(i.Engine, []string{"event"})
		c.write(func(tx *sqldb.Tx) error { return each(tx, fail) })
		for _, door := range doors {
			if status := door.do(); status < 500 {
				t.Errorf("%s could not be done, and was answered %d", door.name, status)
			}
		}
		c.write(func(tx *sqldb.Tx) error { return each(tx, repair) })
		for table, n := range i.Count() {
			if n != before[table] && !strings.HasPrefix(table, "event_") && table != "explanation" && table != "budget" {
				t.Errorf("what could not be done made %d rows of %s", n-before[table], table)
			}
		}
		if !c.recipes.Active(i, tokens.Access) || !c.recipes.Active(i, tokens.Refresh) || !onAccount(page("/account")) || c.roles(acme, c.ana) == nil {
			t.Error("what was not done is so")
		}
		if p := i.Browser().Get(joining); p.Status != http.StatusOK {
			t.Errorf("an invitation that was not revoked: %d", p.Status)
		}
		stranger := i.Browser()
		if p := stranger.Answer(c.passwordPage(stranger, anaMail), url.Values{"password": {anaPassword}}); !signedIn(p) {
			t.Errorf("the password that was not replaced: %d %s", p.Status, servertest.Text(p.Body))
		}
		for _, door := range doors {
			if status := door.do(); status >= 400 {
				t.Errorf("%s can be done, and was answered %d", door.name, status)
			}
		}
	})
}

// SECURITY L3, L4, item 44: at the pages of the account nothing of another
// customer's is there, whatever a path or a form names.
func TestTheAccountsPagesReachOnlyOnesOwn(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, withPhone)
		c.identified(c.ana, identifier.Phone, anaPhone)
		i.Customer(c.tenant, "ben@shop.example", anaPassword)
		c.recipes.SignIn(i, i.Browser(), anaMail, anaPassword, nil) // he has not allowed it anything
		doors := c.everyDoor()
		ana, err := c.Directory.Get(t.Context(), c.tenant.ID, c.ana)
		if err != nil {
			t.Fatal(err)
		}
		ben := i.Browser()
		c.shop.SignIn(i, ben, "ben@shop.example", anaPassword, nil)
		home := ben.Get(c.tenant.URL("/account"))
		before, tried := i.Count(), 0
		for _, d := range doors {
			if !strings.Contains(d.Pattern, "/account/") || !strings.Contains(d.Pattern, "{") {
				continue
			}
			addresses := []string{d.address}
			for _, it := range ana.Identifiers[1:] {
				addresses = append(addresses, strings.Replace(d.address, string(ana.Identifiers[0].ID), string(it.ID), 1))
			}
			for _, address := range addresses {
				tried++
				if d.Method == http.MethodGet {
					p := ben.Get(address)
					if text := servertest.Text(p.Body); p.Status != http.StatusNotFound || strings.Contains(text, "ACME") || strings.Contains(text, "Recipes") || strings.Contains(text, "+44") {
						t.Errorf("GET %s: %d %s", d.Pattern, p.Status, text)
					}
					continue
				}
				for _, values := range []url.Values{{"decision": {"remove"}}, {"decision": {"leave"}}, {"decision": {"remove"}, "customer": {string(c.ana)}, "user_id": {string(c.ana)}, "sub": {string(c.ana)}}} {
					_, all := ben.Filled(home, values)
					if p := ben.Post(address, all, ""); p.Status >= 500 {
						t.Errorf("POST %s: %d", d.Pattern, p.Status)
					}
				}
			}
		}
		if tried < 10 {
			t.Errorf("%d were tried", tried)
		}
		for table, n := range i.Count() {
			if n != before[table] && !strings.HasPrefix(table, "event_") {
				t.Errorf("another's pages made %d rows of %s", n-before[table], table)
			}
		}
	})
}

// SECURITY H3, items 8, 14 and 85: a guess that cannot be counted is not looked at,
// at any door that asks for a password or a code, and lets nobody in.
func TestWhatCannotBeCountedIsNotLookedAt(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, nil)
		own, _ := c.signIn()
		asked := own.Get(c.tenant.URL("/account/password")) // asks for the present one
		byPassword, byCode, recovering, signingUp, joining := i.Browser(), i.Browser(), i.Browser(), i.Browser(), i.Browser()
		passwordPage := c.passwordPage(byPassword, anaMail)
		codePage, code := c.codePage(byCode, anaMail, true)
		last := i.Newest(anaMail)
		recoveryPage := c.recoveryPage(recovering, anaMail)
		recovery := i.CodeAfter(anaMail, last)
		signUpPage := c.signUpPage(signingUp, "new@shop.example")
		signUp := i.Code("new@shop.example")
		joinPage := joining.Get(c.invite(c.organization("acme"), newcomer, "member"))
		last = i.Newest(newcomer)
		joinPage = joining.Answer(joinPage, url.Values{"decision": {"continue"}})
		join := i.CodeAfter(newcomer, last)
		doors := map[string]struct {
			b     *servertest.Browser
			page  *servertest.Page
			right url.Values
			wrong url.Values
		}{
			"password": {byPassword, passwordPage, url.Values{"password": {anaPassword}}, url.Values{"password": {"not-the-password-of-any"}}},
			"account":  {own, asked, url.Values{"password": {anaPassword}}, url.Values{"password": {"not-the-password-of-any"}}},
			"code":     {byCode, codePage, url.Values{"code": {code}}, url.Values{"code": {"x"}}},
			"recovery": {recovering, recoveryPage, url.Values{"code": {recovery}}, url.Values{"code": {"x"}}},
			"sign-up":  {signingUp, signUpPage, url.Values{"code": {signUp}}, url.Values{"code": {"x"}}},
			"joining":  {joining, joinPage, url.Values{"code": {join}}, url.Values{"code": {"x"}}},
		}
		fail, repair := breakWrites(i.Engine, []string{"budget"})
		c.write(func(tx *sqldb.Tx) error { return each(tx, fail) })
		before := i.Hasher.Stats().Computed
		for name, door := range doors {
			for _, values := range []url.Values{door.right, door.wrong} {
				if p := door.b.Answer(door.page, values); p.Status < 500 || signedIn(p) || p.Has("new_password") {
					t.Errorf("%s: what cannot be counted is answered %d %s", name, p.Status, servertest.Text(p.Body))
				}
			}
		}
		if n := i.Hasher.Stats().Computed - before; n != 0 {
			t.Errorf("%d guesses were looked at", n)
		}
		c.write(func(tx *sqldb.Tx) error { return each(tx, repair) })
		for name, door := range doors {
			if p := door.b.Answer(door.page, door.right); !signedIn(p) && !p.Has("new_password") {
				t.Errorf("%s: what can be counted is answered %d %s", name, p.Status, servertest.Text(p.Body))
			}
		}
	})
}
