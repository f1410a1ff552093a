package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
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
