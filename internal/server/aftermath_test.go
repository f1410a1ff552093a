package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// What comes at the wrong moment, or lies about for longer than it should.

// Whoever comes back before a rule destroys his key is not erased, and whoever
// comes after the rule has begun is not let in.
func TestARuleErasesNobodyWhoHasComeBack(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		l := &living{house: newHouse(t, i, "dormant", func(s *tenant.Settings) {
			s.Lifecycle.DormantAfter, s.Lifecycle.EraseDormantAfter, s.Lifecycle.WarnErase = tenant.Duration(365*24*time.Hour), tenant.Duration(100*24*time.Hour), 0
		})}
		who, address := l.somebody(customer.Dormant)
		i.Clock.Advance(100*24*time.Hour + 2*time.Minute)
		b := i.Browser()
		before := i.Newest(address)
		p := b.Answer(l.passwordPage(b, address), url.Values{"password": {anaPassword}})
		code := i.CodeAfter(address, before)
		held, release, done := make(chan bool), make(chan bool), make(chan error, 2)
		go func() {
			done <- i.KeyStore.Write(t.Context(), func(tx *sqldb.Tx) error { // a key store that is slow
				_, err := tx.Exec(`UPDATE customer_key SET tenant = tenant WHERE tenant = $1 AND customer = $2`, l.tenant.ID, who)
				close(held)
				<-release
				return err
			})
		}()
		<-held
		go func() { done <- i.Directory.Advance(t.Context()) }()
		for deadline := time.Now().Add(10 * time.Second); l.status(who).Status == customer.Dormant && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
		p = b.Answer(p, url.Values{"code": {code}})
		if signedIn(p) {
			t.Errorf("signed in while he is erased: %s", l.status(who).Status)
		}
		close(release)
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if l.status(who).Status != customer.Erased {
			t.Errorf("he is %s", l.status(who).Status)
		}
		// And the other way round: he is back, and the rule finds nothing to do.
		who, address = l.somebody(customer.Dormant)
		i.Clock.Advance(100*24*time.Hour + 2*time.Minute)
		b = i.Browser()
		before = i.Newest(address)
		p = b.Answer(l.passwordPage(b, address), url.Values{"password": {anaPassword}})
		if p = b.Answer(p, url.Values{"code": {i.CodeAfter(address, before)}}); !signedIn(p) {
			t.Fatalf("he does not come back: %s", servertest.Text(p.Body))
		}
		if err := i.Directory.Advance(t.Context()); err != nil || l.status(who).Status != customer.Active {
			t.Errorf("he is %s, %v", l.status(who).Status, err)
		}
	})
}

// An organization that is renamed while it is deleted keeps no slug.
func TestRenamedWhileDeletedKeepsNoSlug(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, nil)
		for n := range 20 {
			slug := "org-" + string(rune('a'+n))
			o := c.organization(slug)
			errs := make(chan error, 1)
			go func() { errs <- c.Organizations.Delete(t.Context(), c.tenant.ID, o.ID, "test") }()
			_, _ = c.Organizations.Update(t.Context(), organization.Change{Tenant: c.tenant.ID, Organization: o.ID, Slug: slug + "-new", Actor: "test"}) // or it is gone
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := c.count(`SELECT COUNT(*) FROM organization_slug s WHERE tenant = $1 AND NOT EXISTS (SELECT 1 FROM organization o WHERE o.tenant = s.tenant AND o.organization = s.organization)`, c.tenant.ID); n != 0 {
			t.Errorf("%d slugs lead nowhere", n)
		}
	})
}

// What an operator maps over the address is not what the customer has proved.
func TestAMappedAddressIsNotVerified(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "shop", nil)
	app := i.Application(h.tenant, func(s *application.Settings) {
		s.Scopes = []string{"openid", "email"}
		s.Claims = []claim.Mapping{{Name: "email", Value: "profile.given_name + '@victim.example'", In: []claim.Target{claim.UserInfo}}}
	})
	tokens := app.SignIn(i, i.Browser(), anaMail, anaPassword, url.Values{"scope": {"openid email"}})
	_, told := app.UserInfo(i, tokens.Access)
	if _, verified := told["email_verified"]; told["email"] != "Ana@victim.example" || verified {
		t.Errorf("userinfo says %v, verified %v", told["email"], told["email_verified"])
	}
}

// SECURITY L5, N2: whoever may look at a brand changes no page by looking.
func TestAPreviewChangesNoPage(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system, shop := i.System(), i.Tenant("shop", nil)
		reader := robotToken(i, i.Robot(system, operator.Holding{Scopes: []string{"brands:read"}, Tenants: []id.Tenant{shop.ID}}))
		for _, what := range []string{`"mail":"code"`, `"page":"sign-in"`} {
			status, _, text := i.Admin(reader, http.MethodPost, "/admin/v1/tenants/shop/brand/preview", `{`+what+`,"change":{"name":"Evil Corp","css":".primary{background-color:#ff0000}"}}`)
			if status != http.StatusOK || !strings.Contains(text, "Evil Corp") {
				t.Fatalf("%d %s", status, text)
			}
			if p := i.Browser().Get(i.Base + shop.Path + "/sign-in"); strings.Contains(p.Body, "Evil Corp") {
				t.Errorf("a preview by %s is what customers see", what)
			}
		}
	})
}

// Links for the first operator that two nodes have printed are both good, until
// there is one.
func TestEveryNodesFirstLinkIsGood(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		i.System()
		var links []string
		for range 2 {
			link, err := i.FirstOperator(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			links = append(links, link)
		}
		for n, link := range append(slices.Clone(links), links[0]) {
			b := i.SystemBrowser()
			p := b.Get(link)
			if p.Has("identifier") != (n < 2) {
				t.Fatalf("link %d: %s", n, servertest.Text(p.Body))
			}
			if n != 1 { // the first is looked at alone, the second used
				continue
			}
			p = b.Answer(p, url.Values{"identifier": {"olga@example.com"}})
			b.Answer(p, url.Values{"new_password": {"a very long passphrase of hers"}})
		}
	})
}

// Whoever alone holds everything can be neither locked nor closed nor erased, and
// those who cannot sign in do not count; the holding grows with the program.
func TestSomebodyHoldsEverythingAndCanSignIn(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		olga := i.Customer(system, "olga@example.com", anaPassword)
		omar := i.Customer(system, "omar@example.com", anaPassword)
		i.Operator(string(olga), operator.Everything())
		i.Operator(string(omar), operator.Everything())
		token := robotToken(i, i.Robot(system, operator.Everything()))
		at := "/admin/v1/tenants/" + string(system.ID) + "/customers/"
		says := func(want int, method, path, body string) {
			t.Helper()
			if status, _, text := i.Admin(token, method, path, body); status != want {
				t.Errorf("%s %s: %d %s", method, path, status, text)
			}
		}
		says(200, "POST", at+string(omar)+"/lock", `{}`)
		for _, change := range []string{"/lock", "/suspend", "/close"} {
			says(409, "POST", at+string(olga)+change, `{}`)
		}
		says(409, "POST", at+string(olga)+"/erase", `{}`)
		says(409, "DELETE", "/admin/v1/operators/"+string(olga), "")
		says(409, "PUT", "/admin/v1/operators/"+string(olga), `{"scopes":["events:read"],"all_tenants":true}`)
		says(200, "POST", at+string(omar)+"/unlock", ``)
		says(200, "POST", at+string(olga)+"/lock", `{}`)

		var stored string
		if err := i.DB.QueryRow(t.Context(), `SELECT scopes FROM operator WHERE subject = $1`, omar).Scan(&stored); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(stored, "* ") {
			t.Errorf("stored is %q", stored)
		}
		if err := i.DB.Write(t.Context(), func(tx *sqldb.Tx) error { // as an earlier release with fewer scopes wrote it
			_, err := tx.Exec(`UPDATE operator SET scopes = '* customers:read' WHERE subject = $1`, omar)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if o, err := i.Operators.Get(t.Context(), string(omar)); err != nil || !o.Full() {
			t.Errorf("%+v, %v", o, err)
		}
	})
}

// An answer that is remembered under an idempotency key goes with the customer it
// tells of; the key stays used.
func TestRememberedAnswersGoWithTheCustomer(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		i.Tenant("shop", nil)
		token := robotToken(i, i.Robot(system, operator.Everything()))
		const path = "/admin/v1/tenants/shop/customers"
		const body = `{"identifiers":[{"kind":"email","value":"gone@example.com","verified":true}],"profile":{"given_name":"Gone"}}`
		status, _, text := i.Admin(token, "POST", path, body, "Idempotency-Key", "made")
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(text), &made); err != nil || status != 201 {
			t.Fatal(status, text)
		}
		more := path + "/" + made.ID + "/identifiers"
		const address = `{"kind":"email","value":"second@example.com"}`
		if status, _, text := i.Admin(token, "POST", more, address, "Idempotency-Key", "more"); status != 201 {
			t.Fatal(status, text)
		}
		if status, header, _ := i.Admin(token, "POST", path, body, "Idempotency-Key", "made"); status != 201 || header.Get("Idempotent-Replayed") != "true" {
			t.Fatal(status, header)
		}
		if status, _, text := i.Admin(token, "POST", path+"/"+made.ID+"/erase", `{}`); status >= 300 {
			t.Fatal(status, text)
		}
		for key, request := range map[string][2]string{"made": {path, body}, "more": {more, address}} {
			if status, _, text := i.Admin(token, "POST", request[0], request[1], "Idempotency-Key", key); status != 410 || strings.Contains(text, "example.com") {
				t.Errorf("%s: %d %s", key, status, text)
			}
		}
		var kept int64
		if err := i.DB.QueryRow(t.Context(), `SELECT COUNT(*) FROM idempotency_key WHERE LENGTH(answer) > 1`).Scan(&kept); err != nil || kept != 0 {
			t.Errorf("%d answers are kept, %v", kept, err)
		}
	})
}

// SECURITY L: an operator for one tenant has no mail come from the domain of another.
func TestASendersDomainIsForTheInstallationToSay(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system, shop := i.System(), i.Tenant("shop", nil)
		bound := robotToken(i, i.Robot(system, operator.Holding{Scopes: []string{"brands:write", "tenants:write"}, Tenants: []id.Tenant{shop.ID}}))
		all := robotToken(i, i.Robot(system, operator.Everything()))
		for path, body := range map[string]string{"/brand": `{"mail":{"from_address":"%s"}}`, "/settings": `{"mail":{"from_address":"%s"}}`} {
			for _, try := range []struct {
				token, address string
				want           int
			}{
				{bound, "hello@club.example", 403}, {all, "hello@shop.example", 200}, {bound, "shop@Shop.example", 200},
				{bound, "hello@club.example", 403}, {bound, "hello@shop.example.club.example", 403}, {bound, "", 200}, {bound, "hello@shop.example", 403},
			} {
				if status, _, text := i.Admin(try.token, "PUT", "/admin/v1/tenants/shop"+path, fmt.Sprintf(body, try.address)); status != try.want {
					t.Errorf("%s: %s: %d %s", path, try.address, status, text)
				}
			}
		}
	})
}

// SECURITY 24: what an operator does with the addresses that let a customer in is
// told at those that he has proved, with a link that undoes it; the address itself
// gets none, and those that were sent to one which is taken are void.
func TestOperatorsChangesOfAddressesAreTold(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		h := newHouse(t, i, "shop", nil)
		token := robotToken(i, i.Robot(system, operator.Everything()))
		at := "/admin/v1/tenants/shop/customers/" + string(h.ana) + "/identifiers"
		const evil = "evil@example.com"
		change := func(method, path, body string) string {
			t.Helper()
			status, _, text := i.Admin(token, method, path, body)
			var told struct {
				Identifiers []struct{ ID, Value string }
			}
			if err := json.Unmarshal([]byte(text), &told); err != nil || status >= 300 {
				t.Fatal(status, text)
			}
			for _, it := range told.Identifiers {
				if it.Value == evil {
					return it.ID
				}
			}
			return ""
		}
		it := change("POST", at, `{"kind":"email","value":"`+evil+`"}`)
		i.Count()
		if i.Newest(anaMail) != "" || i.Newest(evil) != "" {
			t.Error("an address that lets nobody in is told")
		}
		change("POST", at+"/"+it+"/verify", "")
		change("POST", at+"/"+it+"/verify", "") // again: nothing more is told
		link := func(l notify.Letter) string {
			for _, link := range l.Links {
				if strings.HasPrefix(link, h.tenant.URL("/not-me")+"?link=") {
					return link
				}
			}
			return ""
		}
		hers, its := h.noticeTo(anaMail, "address was added"), h.noticeTo(evil, "address was added")
		if link(hers) == "" || link(its) != "" || !strings.Contains(hers.Text, evil) || !strings.Contains(hers.Text, "by our staff") {
			t.Errorf("she is told %s\nit is told %s", hers.Text, its.Text)
		}
		i.Count()
		if letters, err := i.Inbox.List(t.Context(), anaMail, "", 20); err != nil || len(letters) != 1 {
			t.Errorf("%d letters, %v", len(letters), err)
		}
		// Whoever has the address signs in on a new device and is sent a link.
		h.shop.SignIn(i, i.Browser(), evil, anaPassword, nil)
		h.shop.SignIn(i, i.Browser(), evil, anaPassword, nil)
		kept := link(h.noticeTo(evil, "sign-in"))
		if kept == "" {
			t.Fatal("no link came")
		}
		change("DELETE", at+"/"+it, "")
		its = h.noticeTo(evil, "address was removed")
		if link(its) != "" || link(h.noticeTo(anaMail, "address was removed")) == "" {
			t.Errorf("it is told %s", its.Text)
		}
		if p := i.Browser().Get(kept); p.Status != http.StatusGone {
			t.Errorf("a link that was sent to it: %d %s", p.Status, servertest.Text(p.Body))
		}
		// By hers she undoes all.
		b := i.Browser()
		if p := b.Answer(b.Get(link(hers)), url.Values{"decision": {"secure"}}); p.Status != http.StatusOK {
			t.Errorf("%d %s", p.Status, servertest.Text(p.Body))
		}
	})
}

// The link for the first operator is good for nothing once there is one.
func TestTheFirstLinkEndsWithTheFirstOperator(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		system := i.System()
		link, err := i.FirstOperator(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := i.SystemBrowser()
		p := b.Answer(b.Get(link), url.Values{"identifier": {"mallory@example.com"}})
		i.Operator(string(i.Customer(system, "olga@example.com", anaPassword)), operator.Everything())
		if p := b.Answer(p, url.Values{"new_password": {"a very long passphrase of hers"}}); p.Status != http.StatusGone {
			t.Errorf("answered %d", p.Status)
		}
		if p := b.Get(link); p.Status != http.StatusGone {
			t.Errorf("the link opens: %d", p.Status)
		}
		all, err := i.Operators.List(t.Context(), "", 10)
		if err != nil || len(all) != 1 {
			t.Errorf("%d operators, %v", len(all), err)
		}
	})
}

// SECURITY items 86 to 101: messages that wait for an address go with its
// customer, and so does what the record says of it.
func TestNothingWaitsForWhoIsErased(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		c := newCompany(t, i, nil)
		o := c.organization("acme")
		who := i.Customer(c.tenant, "gone@example.com", anaPassword)
		to, err := identifier.Normalise(identifier.Email, "gone@example.com", identifier.Options{})
		if err != nil {
			t.Fatal(err)
		}
		keys, err := i.Ring.Tenant(t.Context(), c.tenant.ID)
		if err != nil {
			t.Fatal(err)
		}
		// Before there was an account at its address, and at one that may be another's.
		early := i.Customer(c.tenant, "early@example.com", anaPassword)
		for _, address := range []string{"early@example.com", "another@example.com"} {
			if err := i.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
				n, err := identifier.Normalise(identifier.Email, address, identifier.Options{})
				if err != nil {
					return err
				}
				_, err = tx.Exec(`INSERT INTO organization_invitation (tenant, organization, invitation, status, lookup, address, customer, roles, language, invited_by, secret_hash, sent_at, expires_at, ended_at)
					VALUES ($1, $2, $3, 'pending', $4, $4, '', 'member', 'en', 'test', $4, $5, $5, 0)`, c.tenant.ID, o.ID, "inv_"+address, keys.Lookup("email", n.Key)[0], tx.Now().Add(time.Hour))
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		key, err := c.Directory.Key(t.Context(), c.tenant.ID, early)
		if err != nil {
			t.Fatal(err)
		}
		unproved, err := identifier.Normalise(identifier.Email, "another@example.com", identifier.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c.write(func(tx *sqldb.Tx) error {
			_, err := c.Directory.AddIdentifier(tx, keys, key, c.tenant.ID, early, customer.NewIdentifier{Normalised: unproved}, "test")
			return err
		})
		if err := c.Directory.Erase(t.Context(), c.tenant.ID, early, "test"); err != nil {
			t.Fatal(err)
		}
		if n := c.count(`SELECT COUNT(*) FROM organization_invitation WHERE tenant = $1 AND invitation = 'inv_early@example.com'`, c.tenant.ID); n != 0 {
			t.Error("an invitation to the address is kept")
		}
		if n := c.count(`SELECT COUNT(*) FROM organization_invitation WHERE tenant = $1 AND invitation = 'inv_another@example.com'`, c.tenant.ID); n != 1 {
			t.Error("an invitation to an address that was not proved is gone")
		}
		i.Count()                          // what waited has gone
		c.write(func(tx *sqldb.Tx) error { // as while the mail server is down
			_, err := tx.Exec(`INSERT INTO notify_outbox SELECT $1, $2, 'msg_waits', 'x', '', '', 'code', 'waiting', $3, '', 0, $3, $3, 0, '', $2`,
				c.tenant.ID, keys.Lookup("email", to.Key)[0], tx.Now().Add(time.Hour))
			return err
		})
		if _, err := c.Organizations.Invite(t.Context(), organization.Invite{Tenant: c.tenant, Organization: o.ID, Address: to, Roles: []string{"member"}, Actor: "test"}); err != nil {
			t.Fatal(err)
		}
		if err := c.Directory.Erase(t.Context(), c.tenant.ID, who, "test"); err != nil {
			t.Fatal(err)
		}
		if n := c.count(`SELECT COUNT(*) FROM notify_outbox WHERE tenant = $1 AND id = 'msg_waits'`, c.tenant.ID); n != 0 {
			t.Errorf("%d messages wait", n)
		}
		reader := robotToken(i, i.Robot(i.System(), operator.Holding{Scopes: []string{"events:read"}, All: true}))
		if _, _, text := i.Admin(reader, http.MethodGet, "/admin/v1/tenants/shop/events?type=organization.invitation.sent", ""); strings.Contains(text, "gone@example.com") {
			t.Errorf("the record names the address: %s", text)
		}
	})
}

// An address gets so many invitations an hour, and one that is invited is proved
// by the invitation alone.
func TestInvitationsAreBoundedAndProveTheAddress(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	system := i.System()
	h := newHouse(t, i, "shop", nil)
	token := robotToken(i, i.Robot(system, operator.Everything()))
	sent := 0
	for range 30 {
		if status, _, _ := i.Admin(token, http.MethodPost, "/admin/v1/tenants/shop/invitations", `{"email":"victim@example.com"}`); status == http.StatusCreated {
			sent++
		} else if status != http.StatusTooManyRequests {
			t.Errorf("%d", status)
		}
	}
	if sent != h.tenant.Settings.Limits.SendPerHour {
		t.Errorf("%d letters to one address", sent)
	}
	l := &living{house: h}
	who, _ := l.somebody(customer.Invited)
	found, err := l.Directory.Get(t.Context(), l.tenant.ID, who)
	if err != nil {
		t.Fatal(err)
	}
	status, _, text := i.Admin(token, http.MethodPost, "/admin/v1/tenants/shop/customers/"+string(who)+"/identifiers/"+string(found.Identifiers[0].ID)+"/verify", "")
	if status != http.StatusConflict || l.status(who).Status != customer.Invited {
		t.Errorf("%d %s", status, text)
	}
}

// What changes nothing is not kept under an idempotency key.
func TestLookingIsNotRemembered(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	system := i.System()
	i.Tenant("shop", nil)
	token := robotToken(i, i.Robot(system, operator.Holding{Scopes: []string{"brands:read"}, All: true}))
	before := i.Count()
	if status, _, text := i.Admin(token, http.MethodPost, "/admin/v1/tenants/shop/brand/preview", `{"page":"account"}`, "Idempotency-Key", "k"); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	if after := i.Count(); after["idempotency_key"] != before["idempotency_key"] {
		t.Errorf("a preview is kept: %d rows", after["idempotency_key"])
	}
}
