package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const anaPhone = "+447400123456"

func withPhone(s *tenant.Settings) { s.Phone.Enabled, s.Region = true, "GB" }

var accountLink = regexp.MustCompile(`href="([^"]*/account/(?:addresses|numbers)/[^"]*)"`)

// links are where the page of how one signs in leads to, by what follows
// /account.
func (h *house) links(b *servertest.Browser) (all []string, text string) {
	h.t.Helper()
	page := b.Get(h.tenant.URL("/account/sign-in"))
	for _, found := range accountLink.FindAllStringSubmatch(page.Body, -1) {
		all = append(all, found[1])
	}
	return all, servertest.Text(page.Body)
}

func ending(links []string, suffix string) string {
	for _, link := range links {
		if strings.HasSuffix(link, suffix) {
			return link
		}
	}
	return ""
}

// A customer adds and removes a number on the pages of his account, and is told
// by mail and by text message; without phones the account has no word of it.
func TestANumberOnTheAccountsPages(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", withPhone)
		b, _ := h.signIn()
		links, _ := h.links(b)
		add := ending(links, "/numbers/new")
		if add == "" {
			t.Fatalf("no number is offered to be added: %v", links)
		}
		before := i.Count()
		p := b.Get(add)
		if i.Count()["challenge"] != before["challenge"] || !p.Has("identifier") {
			t.Fatalf("looking sends, or asks nothing: %s", servertest.Text(p.Body))
		}
		if wrong := b.Answer(p, url.Values{"identifier": {"020 7946 0018"}}); !strings.Contains(wrong.Body, "Use a mobile number.") {
			t.Errorf("a land line is answered %s", servertest.Text(wrong.Body))
		}
		p = b.Answer(p, url.Values{"identifier": {"07400 123456"}})
		if !p.Has("code") || !strings.Contains(servertest.Text(p.Body), "+44 7400 123456") {
			t.Fatalf("%s", servertest.Text(p.Body))
		}
		p = b.Answer(p, url.Values{"code": {i.Code(anaPhone)}})
		if !strings.Contains(servertest.Text(p.Body), "The number is added.") {
			t.Fatalf("the code leads to %d %s", p.Status, servertest.Text(p.Body))
		}
		h.noticeTo(anaMail, "A phone number was added")
		links, text := h.links(b)
		if remove := ending(links, "/remove"); remove == "" || !strings.Contains(text, "+44 7400 123456") {
			t.Fatalf("%s", text)
		}
		p = b.Get(ending(links, "/remove"))
		if p = b.Answer(p, url.Values{"decision": {"remove"}}); !strings.Contains(servertest.Text(p.Body), "The number is removed.") {
			t.Fatalf("%d %s", p.Status, servertest.Text(p.Body))
		}
		h.noticeTo(anaMail, "A phone number was removed")
		for range 500 {
			letters, err := h.Inbox.List(t.Context(), anaPhone, "", 5)
			if err != nil {
				t.Fatal(err)
			}
			if len(letters) == 3 && strings.Contains(letters[0].Text, "/not-me?link=") { // the code, that it is added, that it is gone
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if links, _ = h.links(b); ending(links, "/remove") != "" {
			t.Errorf("the last address is offered to be removed: %v", links)
		}

		// What the business has given is the business's, by whatever path.
		h.named(h.ana, "ana.lopes") // as the business gives one
		settings := h.tenant.Settings
		settings.Phone.Enabled = false
		if _, err := i.Tenants.Apply(t.Context(), h.tenant.ID, 0, settings, "test"); err != nil {
			t.Fatal(err)
		}
		b, _ = h.signIn() // what was given has ended the session
		links, text = h.links(b)
		if ending(links, "/numbers/new") != "" || strings.Contains(text, "Add a phone number") {
			t.Errorf("without phones one is offered: %v", links)
		}
		found, err := h.Directory.Get(t.Context(), h.tenant.ID, h.ana)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range found.Identifiers {
			own := "/account/addresses/" + string(it.ID)
			for path, kind := range map[string]identifier.Kind{own: identifier.Email, own + "/remove": identifier.Email, own + "/confirm": "none"} {
				want := http.StatusNotFound
				if it.Kind == kind {
					want = http.StatusOK
				}
				if page := b.Get(h.tenant.URL(path)); page.Status != want {
					t.Errorf("%s of %s answers %d", path, it.Kind, page.Status)
				}
			}
		}
		if page := b.Get(h.tenant.URL("/account/numbers/new")); page.Status != http.StatusNotFound {
			t.Errorf("without phones a number is asked for: %d", page.Status)
		}
	})
}

// An address that mail comes back from says so, and has a button that leads to
// its being so no more.
func TestAReturnedAddressIsConfirmed(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		b, _ := h.signIn()
		if links, _ := h.links(b); ending(links, "/confirm") != "" {
			t.Fatalf("an address that mail reaches is to be confirmed: %v", links)
		}
		i.Clock.Advance(time.Minute)
		if status, _ := h.report(hookSecret, string(h.tenant.ID), anaMail, i.Clock.Now()); status != 204 || h.flagged() != "bounced" {
			t.Fatalf("%d, flagged %q", status, h.flagged())
		}
		i.Clock.Advance(time.Minute)
		links, text := h.links(b)
		confirm := ending(links, "/confirm")
		if confirm == "" || !strings.Contains(text, "came back") {
			t.Fatalf("%v: %s", links, text)
		}
		h.noticeTo(anaMail, "New sign-in")
		newest, before := i.Newest(anaMail), i.Count()["challenge"]
		p := b.Get(confirm)
		if !p.Has("decision") || i.Count()["challenge"] != before {
			t.Fatalf("opening the page sends, or asks nothing: %s", servertest.Text(p.Body))
		}
		p = b.Answer(p, url.Values{"decision": {"send"}})
		code := i.CodeAfter(anaMail, newest)
		if wrong := b.Answer(p, url.Values{"code": {"none"}}); !wrong.Has("code") || h.flagged() == "" {
			t.Fatalf("a wrong code: %s", servertest.Text(wrong.Body))
		}
		p = b.Answer(p, url.Values{"code": {code}})
		if h.flagged() != "" || !strings.Contains(servertest.Text(p.Body), "The address is confirmed.") {
			t.Fatalf("flagged %q: %d %s", h.flagged(), p.Status, servertest.Text(p.Body))
		}
		if links, text := h.links(b); ending(links, "/confirm") != "" || strings.Contains(text, "came back") {
			t.Errorf("it still says so: %s", text)
		}
		if page := b.Get(confirm); page.Status == http.StatusOK {
			t.Errorf("there is still something to be confirmed: %d", page.Status)
		}
		if n := h.count(`SELECT COUNT(*) FROM event WHERE type = 'customer.identifier.delivered' AND customer = $1`, h.ana); n != 1 {
			t.Errorf("%d events", n)
		}
	}, withHooks)
}

// Who has a number alone is warned of dormancy by text message, and comes back by
// a code to it.
func TestDormancyIsToldByTextMessage(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", func(s *tenant.Settings) {
			withPhone(s)
			s.Lifecycle.DormantAfter = tenant.Duration(365 * 24 * time.Hour)
		})
		n, err := identifier.Normalise(identifier.Phone, anaPhone, identifier.Options{})
		if err != nil {
			t.Fatal(err)
		}
		keys, err := i.Ring.Tenant(t.Context(), h.tenant.ID)
		if err != nil {
			t.Fatal(err)
		}
		who := id.New[id.Customer](i.Clock.Now(), i.Random)
		key, err := i.Ring.CreateCustomer(t.Context(), h.tenant.ID, who)
		if err != nil {
			t.Fatal(err)
		}
		h.write(func(tx *sqldb.Tx) error {
			return h.Directory.Create(tx, keys, key, customer.NewCustomer{Tenant: h.tenant.ID, Customer: who, Lifecycle: h.tenant.Settings.Lifecycle,
				Identifiers: []customer.NewIdentifier{{Normalised: n, Verified: true}}})
		})
		status := func() customer.Status {
			state, err := h.Directory.State(t.Context(), h.tenant.ID, who)
			if err != nil {
				t.Fatal(err)
			}
			return state.Status
		}
		i.Clock.Advance(352 * 24 * time.Hour)
		if err := h.Directory.Advance(t.Context()); err != nil {
			t.Fatal(err)
		}
		var told notify.Letter
		for range 500 {
			letters, err := h.Inbox.List(t.Context(), anaPhone, "", 5)
			if err != nil {
				t.Fatal(err)
			}
			if len(letters) > 0 {
				told = letters[0]
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !strings.Contains(told.Text, "has not been used for a long time") || !strings.Contains(told.Text, "/sign-in") || status() != customer.Active {
			t.Fatalf("told was %q, and it is %s", told.Text, status())
		}
		i.Clock.Advance(15 * 24 * time.Hour)
		if err := h.Directory.Advance(t.Context()); err != nil {
			t.Fatal(err)
		}
		if status() != customer.Dormant {
			t.Fatalf("it is %s", status())
		}
		b := i.Browser()
		p := b.Answer(b.Get(h.tenant.URL("/sign-in")), url.Values{"identifier": {anaPhone}})
		p = b.Answer(p, url.Values{"choose": {"code"}})
		if p = b.Answer(p, url.Values{"code": {i.CodeAfter(anaPhone, told.ID)}}); !strings.Contains(servertest.Text(p.Body), "Signed in as +44 7400 123456") || status() != customer.Active {
			t.Errorf("the code leads to %s; it is %s", servertest.Text(p.Body), status())
		}
	})
}
