package server_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// living is a tenant whose customers go through all of their lives.
type living struct {
	*house
	n int
}

func newLiving(t *testing.T, i *servertest.Installation, slug string) *living {
	return &living{house: newHouse(t, i, slug, func(s *tenant.Settings) {
		s.Lifecycle.DormantAfter = tenant.Duration(365 * 24 * time.Hour)
		s.Lifecycle.EraseDormantAfter = tenant.Duration(2 * 365 * 24 * time.Hour)
	})}
}

func normal(t *testing.T, address string) identifier.Normalised {
	t.Helper()
	n, err := identifier.Normalise(identifier.Email, address, identifier.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// somebody makes a customer of a status with an address of his own.
func (l *living) somebody(status customer.Status) (id.Customer, string) {
	l.t.Helper()
	l.n++
	address := "c" + string(rune('a'+l.n)) + "@" + string(status) + ".example"
	if status == customer.Invited {
		who, _, err := l.Directory.Invite(l.t.Context(), customer.NewCustomer{Tenant: l.tenant.ID, Actor: "test",
			Identifiers: []customer.NewIdentifier{{Normalised: normal(l.t, address)}}, Profile: map[string]any{"given_name": "Gus"}})
		if err != nil {
			l.t.Fatal(err)
		}
		return who, address
	}
	who := l.Customer(l.tenant, address, anaPassword)
	l.become(who, status)
	return who, address
}

func (l *living) become(who id.Customer, status customer.Status) {
	l.t.Helper()
	var err error
	switch status {
	case customer.Active:
	case customer.Erased:
		err = l.Directory.Erase(l.t.Context(), l.tenant.ID, who, "test")
	default:
		err = l.Directory.SetStatus(l.t.Context(), l.tenant.ID, who, status, "", "test")
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *living) status(who id.Customer) customer.State {
	l.t.Helper()
	state, err := l.Directory.State(l.t.Context(), l.tenant.ID, who)
	if err != nil {
		l.t.Fatal(err)
	}
	return state
}

// keeps tells whether a page asks whether a closed account is to be kept.
func keeps(p *servertest.Page) bool {
	return p.Has("decision") && strings.Contains(p.Body, `value="keep"`) && strings.Contains(p.Body, `value="leave"`)
}

// ended is where an answer has led: what a customer sees, as a passage.
func (l *living) ended(b *servertest.Browser, p *servertest.Page, who id.Customer, was customer.Status) customer.Passage {
	l.t.Helper()
	for range 4 {
		switch {
		case keeps(p):
			if l.status(who).Status != customer.Closed || len(l.sessionsOf(who)) != 0 {
				l.t.Error("a page opened a closed account")
			}
			return customer.Asks
		case p.Has("new_password"): // an invited customer opens his account, or somebody a new one
			p = b.Answer(p, url.Values{"new_password": {newPassword}})
		case p.Has("given_name"):
			p = b.Answer(p, url.Values{"given_name": {"Ana"}})
		case signedIn(p), onAccount(p):
			switch sessions := l.sessionsOf(who); {
			case len(sessions) == 0:
				return customer.AsNobody // somebody else was signed in
			case l.status(who).Status != customer.Active:
				return "signed in and not active"
			case was == customer.Active:
				return customer.Opens
			}
			return customer.Joins
		case strings.Contains(p.Body, "closed to sign-ins"):
			return customer.Tells
		case strings.Contains(p.Body, "That password isn") || strings.Contains(p.Body, "password_wrong") || p.Has("password"):
			return customer.AsWrong
		case p.Has("code"):
			return customer.AlsoCode
		case p.Status == http.StatusGone:
			return customer.Shut
		default:
			l.t.Fatalf("an unknown page: %d %s", p.Status, servertest.Text(p.Body))
		}
	}
	return "a circle"
}

func (l *living) sessionsOf(who id.Customer) []*session.Session {
	l.t.Helper()
	found, _, err := l.Sessions.List(l.t.Context(), l.tenant, who, "", 50)
	if err != nil {
		l.t.Fatal(err)
	}
	return found
}

// entrances are the doors by which somebody signs in, each as a customer goes
// through it: a fresh browser, the shop's sign-in.
var entrances = map[customer.Door]func(l *living, b *servertest.Browser, address string) *servertest.Page{
	customer.Password: func(l *living, b *servertest.Browser, address string) *servertest.Page {
		return b.Answer(l.passwordPage(b, address), url.Values{"password": {anaPassword}})
	},
	customer.MailedCode: func(l *living, b *servertest.Browser, address string) *servertest.Page {
		p, code := l.codePage(b, address, true)
		return b.Answer(p, url.Values{"code": {code}})
	},
	customer.Recovery: func(l *living, b *servertest.Browser, address string) *servertest.Page {
		before := l.Newest(address)
		p := b.Answer(l.recoveryPage(b, address), url.Values{"code": {l.CodeAfter(address, before)}})
		if strings.Contains(p.Body, "No account with this address") {
			p = b.Answer(p, nil)
		}
		return p
	},
	customer.SignUp: func(l *living, b *servertest.Browser, address string) *servertest.Page {
		before := l.Newest(address)
		return b.Answer(l.signUpPage(b, address), url.Values{"code": {l.CodeAfter(address, before)}})
	},
}

// linkTo is a link of a message to a customer.
func (l *living) linkTo(who id.Customer, purpose, address string) string {
	l.t.Helper()
	keys, err := l.Ring.Tenant(l.t.Context(), l.tenant.ID)
	if err != nil {
		l.t.Fatal(err)
	}
	link, sealed, err := l.Challenges.NewLink(keys, challenge.Link{Tenant: l.tenant.ID, Customer: who, Purpose: purpose, Address: address, Expires: l.Clock.Now().Add(time.Hour)})
	if err != nil {
		l.t.Fatal(err)
	}
	l.write(func(tx *sqldb.Tx) error { l.Challenges.IssueLink(tx, link); return nil })
	return sealed
}

// The life-cycle matrix: every status at every door answers as
// customer.Status.At says, on both engines. SECURITY D3, E4, items 39, 45.
func TestEveryStatusAtEveryDoor(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		for _, status := range customer.Statuses {
			t.Run(string(status), func(t *testing.T) {
				l := newLiving(t, i, "life-"+string(status))
				tried := map[customer.Door]bool{}
				expect := func(door customer.Door, what string, got customer.Passage) {
					t.Helper()
					tried[door] = true
					if want := status.At(door); got != want {
						t.Errorf("%s, %s: %q in place of %q", door, what, got, want)
					}
				}
				for door, enter := range entrances {
					who, address := l.somebody(status)
					b := i.Browser()
					expect(door, "as a customer", l.ended(b, enter(l, b, address), who, status))
				}

				who, address := l.somebody(status)
				b := i.Browser()
				p := b.Get(i.Base + l.tenant.Path + "/invitation?link=" + l.linkTo(who, step.InvitationPurpose, address))
				if p.Status == http.StatusOK {
					p = b.Answer(p, url.Values{"decision": {"accept"}})
				}
				expect(customer.Invitation, "the link", l.ended(b, p, who, status))

				who, address = l.somebody(status)
				b = i.Browser()
				p = b.Get(i.Base + l.tenant.Path + "/not-me?link=" + l.linkTo(who, "not_me", address))
				got := customer.Shut
				if p.Status == http.StatusOK {
					if p = b.Answer(p, url.Values{"decision": {"secure"}}); p.Has("identifier") {
						got = customer.Opens
					}
				}
				expect(customer.NotMe, "the link", got)

				l.held(status, expect)

				told := customer.Shut
				if l.told(status) {
					told = customer.Opens
				}
				expect(customer.Notices, "a notice", told)
				for _, door := range customer.Doors {
					if !tried[door] {
						t.Errorf("nobody tried %s", door)
					}
				}
			})
		}
	})
}

// held tries what a customer and his applications hold: from before the change,
// and with the status changed alone, so that it is seen that the status shuts,
// and not only what is ended with it.
func (l *living) held(status customer.Status, expect func(customer.Door, string, customer.Passage)) {
	l.t.Helper()
	for _, how := range []string{"held before", "status alone"} {
		x := &held{house: l.house}
		l.n++
		address := "h" + string(rune('a'+l.n)) + "@" + string(status) + ".example"
		who := l.Customer(l.tenant, address, anaPassword)
		x.browser = l.Browser()
		x.tokens = l.recipes.SignIn(l.Installation, x.browser, address, anaPassword, nil)
		x.request, x.code = l.code(x.browser, l.recipes, nil)
		if !x.introspects(x.tokens.Access) {
			l.t.Fatal("the tokens are not good to begin with")
		}
		device := cookie(x.browser, "device", l.tenant)
		if how == "status alone" || status == customer.Invited {
			l.write(func(tx *sqldb.Tx) error {
				_, err := tx.Exec(`UPDATE customer SET status = $3 WHERE tenant = $1 AND customer = $2`, l.tenant.ID, who, status)
				return err
			})
		} else {
			l.become(who, status)
		}
		for _, door := range doors[:8] {
			on := customer.Tokens
			if strings.HasPrefix(door.name, "cookie") {
				on = customer.Cookie
			}
			got := customer.Shut
			if door.open(x) {
				got = customer.Opens
			}
			expect(on, how+": "+door.name, got)
		}
		// A browser that is known draws on a budget of its own.
		known, err := step.Capabilities{Directory: l.Directory, Sessions: l.Sessions}.Device(l.t.Context(), l.tenant.ID, who, device)
		if err != nil {
			l.t.Fatal(err)
		}
		got := customer.Shut
		if known != "" {
			got = customer.Opens
		}
		expect(customer.Device, how, got)
	}
}

// told tells whether who has a status is told what happens to his account: what
// makes the notice ready is asked.
func (l *living) told(status customer.Status) bool {
	l.t.Helper()
	who, address := l.somebody(customer.Active)
	found, err := l.Directory.Get(l.t.Context(), l.tenant.ID, who)
	if err != nil {
		l.t.Fatal(err)
	}
	key, err := l.Directory.Key(l.t.Context(), l.tenant.ID, who)
	if err != nil {
		l.t.Fatal(err)
	}
	found.Status = status
	tell, err := l.Directory.Notice(l.t.Context(), customer.Notice{About: customer.AboutLocked, Customer: found, Key: key})
	if err != nil {
		l.t.Fatal(err)
	}
	if tell == nil {
		return false
	}
	l.write(tell)
	l.noticeTo(address, "is locked")
	return true
}

// A closed account opens by a deliberate click and by nothing else, until its
// time is over; then it is erased, and the address is free.
func TestAClosedAccountIsKeptOrErased(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		l := newLiving(t, i, "closing")
		who, address := l.somebody(customer.Closed)
		until := l.status(who).Until
		if days := until.Sub(i.Clock.Now()).Hours() / 24; days < 29.9 || days > 30 {
			t.Errorf("it can be kept for %.1f days", days)
		}
		closed := l.noticeTo(address, "account is closed")
		if !strings.Contains(closed.Text, l.tenant.URL("/sign-in")) || !strings.Contains(closed.Text, until.UTC().Format("2 January 2006")) {
			t.Errorf("the notice says %s", closed.Text)
		}
		b := i.Browser()
		r := l.shop.Authorize(nil)
		p := b.Answer(b.Get(l.shop.URL(i, r)), url.Values{"identifier": {address}})
		p = b.Answer(p, url.Values{"password": {anaPassword}})
		if !keeps(p) || !strings.Contains(p.Body, until.UTC().Format("2 January 2006")) {
			t.Fatalf("it is not asked whether to keep it: %s", servertest.Text(p.Body))
		}
		asked := p
		// Whatever else is sent keeps it closed.
		for _, values := range []url.Values{{}, {"decision": {"allow"}}, {"decision": {"keep"}, "choose": {"x"}}, {"password": {anaPassword}}} {
			if p = b.Answer(asked, values); !keeps(p) || l.status(who).Status != customer.Closed {
				t.Errorf("%v leads to %s", values, servertest.Text(p.Body))
			}
		}
		other := b.Copy()
		left := other.Answer(asked, url.Values{"choose": {"leave"}})
		if left.Location == nil || left.Location.Query().Get("error") != "access_denied" || l.status(who).Status != customer.Closed {
			t.Errorf("to leave it closed leads to %v %s", left.Location, servertest.Text(left.Body))
		}
		kept := b.Answer(asked, url.Values{"decision": {"keep"}})
		tokens := l.shop.Redeem(i, r, kept)
		if tokens.Status != http.StatusOK || l.status(who).Status != customer.Active {
			t.Fatalf("it is not kept: %+v %s", tokens, l.status(who).Status)
		}
		l.noticeTo(address, "open again")
		if again := other.Answer(asked, url.Values{"decision": {"keep"}}); signedIn(again) {
			t.Error("the page was good twice")
		}

		// Closed once more, and its time passes.
		l.become(who, customer.Closed)
		late := i.Browser()
		p = late.Answer(l.passwordPage(late, address), url.Values{"password": {anaPassword}})
		i.Clock.Advance(30*24*time.Hour + 10*time.Second)
		if err := i.Directory.Advance(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := l.status(who).Status; got != customer.Closed { // the minute in which nobody may keep it, nor is it gone
			t.Errorf("it is %s", got)
		}
		fresh := i.Browser()
		if p := fresh.Answer(l.passwordPage(fresh, address), url.Values{"password": {anaPassword}}); keeps(p) || signedIn(p) {
			t.Error("it can be kept although its time is over")
		}
		_ = p
		i.Clock.Advance(2 * time.Minute)
		if err := i.Directory.Advance(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := l.status(who).Status; got != customer.Erased {
			t.Errorf("it is %s", got)
		}
		b = i.Browser()
		if got := l.ended(b, entrances[customer.SignUp](l, b, address), who, customer.Erased); got != customer.AsNobody {
			t.Errorf("the address is not free: %s", got)
		}
	})
}

// A dormant account needs more than an old password.
func TestADormantAccountComesBackByItsAddress(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		l := newLiving(t, i, "dormant")
		who, address := l.somebody(customer.Dormant)
		b := i.Browser()
		before := i.Newest(address)
		p := b.Answer(l.passwordPage(b, address), url.Values{"password": {anaPassword}})
		if !p.Has("code") || l.status(who).Status != customer.Dormant {
			t.Fatalf("an old password leads to %s", servertest.Text(p.Body))
		}
		if wrong := b.Answer(p, url.Values{"code": {"000000"}}); signedIn(wrong) {
			t.Fatal("a wrong code opens it")
		}
		p = b.Answer(p, url.Values{"code": {i.CodeAfter(address, before)}})
		if !signedIn(p) || l.status(who).Status != customer.Active {
			t.Fatalf("the code leads to %s", servertest.Text(p.Body))
		}
		l.noticeTo(address, "open again")
		if n := l.count(`SELECT COUNT(*) FROM event WHERE tenant = $1 AND type = 'customer.status.changed' AND customer = $2`, l.tenant.ID, who); n != 2 {
			t.Errorf("there are %d events", n)
		}
	})
}

// Who is invited opens his account by the link, once, whatever else is tried.
func TestAnInvitationIsTakenUpOnce(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		l := newLiving(t, i, "guests")
		who, address := l.somebody(customer.Invited)
		letter := l.noticeTo(address, "invited")
		_, query, found := strings.Cut(letter.Text, l.tenant.URL("/invitation")+"?")
		if !found {
			t.Fatalf("there is no link in %s", letter.Text)
		}
		link := i.Base + l.tenant.Path + "/invitation?" + strings.Fields(query)[0]
		b, thief := i.Browser(), i.Browser()
		before := i.Count()
		p := b.Get(link)
		for table, n := range i.Count() {
			if n > before[table] { // what was sent leaves the outbox meanwhile
				t.Errorf("opening the link writes %s", table)
			}
		}
		elsewhere := newLiving(t, i, "elsewhere")
		if p := thief.Get(i.Base + elsewhere.tenant.Path + "/invitation?" + strings.Fields(query)[0]); p.Status != http.StatusGone {
			t.Errorf("another tenant answers its link with %d", p.Status)
		}
		second := thief.Answer(thief.Get(link), url.Values{"decision": {"accept"}})
		p = b.Answer(b.Answer(p, url.Values{"decision": {"accept"}}), url.Values{"new_password": {newPassword}})
		if !onAccount(p) || l.status(who).Status != customer.Active {
			t.Fatalf("the link leads to %s", servertest.Text(p.Body))
		}
		if p := thief.Answer(second, url.Values{"new_password": {newPassword}}); signedIn(p) || onAccount(p) {
			t.Error("the link was good twice")
		}
		if p := thief.Get(link); p.Status != http.StatusGone {
			t.Errorf("a used link answers %d", p.Status)
		}
		found2, err := i.Directory.Get(t.Context(), l.tenant.ID, who)
		if err != nil || len(found2.Identifiers) != 1 || !found2.Identifiers[0].Verified || found2.Profile["given_name"] != "Gus" {
			t.Errorf("the account is %+v, %v", found2, err)
		}
		if n := l.count(`SELECT COUNT(*) FROM invitation WHERE tenant = $1`, l.tenant.ID); n != 0 {
			t.Errorf("%d invitations are left", n)
		}
		b = i.Browser()
		if p := b.Answer(l.passwordPage(b, address), url.Values{"password": {newPassword}}); !signedIn(p) {
			t.Error("the password that was chosen is not the account's")
		}

		// One that nobody takes up goes.
		late, address := l.somebody(customer.Invited)
		i.Clock.Advance(14*24*time.Hour + 2*time.Minute)
		if p := i.Browser().Get(i.Base + l.tenant.Path + "/invitation?link=" + l.linkTo(late, step.InvitationPurpose, address)); p.Status != http.StatusGone {
			t.Errorf("an old invitation answers %d", p.Status)
		}
		if err := i.Directory.Advance(t.Context()); err != nil || l.status(late).Status != customer.Erased {
			t.Errorf("it is %s, %v", l.status(late).Status, err)
		}
	})
}

// An invitation is in nobody's way: who opens an account of his own with the
// address has it, and the invitation leads to nothing of his.
func TestAnInvitationIsInNobodysWay(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		l := newLiving(t, i, "guests")
		who, address := l.somebody(customer.Invited)
		invited := i.Browser()
		p := invited.Answer(invited.Get(i.Base+l.tenant.Path+"/invitation?link="+l.linkTo(who, step.InvitationPurpose, address)), url.Values{"decision": {"accept"}})
		own := i.Customer(l.tenant, address, anaPassword) // verified
		p = invited.Answer(p, url.Values{"new_password": {newPassword}})
		if l.status(who).Status != customer.Invited {
			t.Errorf("the invited account is %s", l.status(who).Status)
		}
		if sessions := l.sessionsOf(own); signedIn(p) || len(sessions) != 0 || !strings.Contains(p.Body, "sign in if you have an account already") {
			t.Errorf("it leads to %d sessions and %s", len(sessions), servertest.Text(p.Body))
		}
		b := i.Browser()
		if p := b.Answer(l.passwordPage(b, address), url.Values{"password": {newPassword}}); signedIn(p) {
			t.Error("the invitation's password opens the other account")
		}
		if _, _, err := i.Directory.Invite(t.Context(), customer.NewCustomer{Tenant: l.tenant.ID, Identifiers: []customer.NewIdentifier{{Normalised: normal(t, address)}}}); !errors.Is(err, customer.ErrTaken) {
			t.Errorf("who has an account is invited: %v", err)
		}
	})
}

// A lock or suspension with an end lifts by itself.
func TestALockLiftsByItself(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		l := newLiving(t, i, "locks")
		for _, status := range []customer.Status{customer.Locked, customer.Suspended} {
			who, address := l.somebody(customer.Active)
			until := i.Clock.Now().Add(time.Hour).Truncate(time.Microsecond)
			change, err := i.Directory.PrepareStatusUntil(t.Context(), l.tenant.ID, who, status, until, "looks odd", "test")
			if err != nil {
				t.Fatal(err)
			}
			l.write(func(tx *sqldb.Tx) error { _, err := i.Directory.ChangeStatus(tx, change); return err })
			if status == customer.Locked {
				if told := l.noticeTo(address, "is locked"); strings.Contains(told.Text, "odd") {
					t.Error("the notice tells the operator's reason")
				}
			}
			advance := func(d time.Duration, want customer.Status) {
				t.Helper()
				i.Clock.Advance(d)
				if err := i.Directory.Advance(t.Context()); err != nil || l.status(who).Status != want {
					t.Errorf("after %s it is %s, %v", d, l.status(who).Status, err)
				}
			}
			advance(59*time.Minute, status)
			advance(2*time.Minute, customer.Active)
			if state := l.status(who); !state.Until.IsZero() {
				t.Errorf("it is active until %s", state.Until)
			}
			b := i.Browser()
			if p := b.Answer(l.passwordPage(b, address), url.Values{"password": {anaPassword}}); !signedIn(p) {
				t.Error("who was locked for a while cannot sign in")
			}
		}
	})
}
