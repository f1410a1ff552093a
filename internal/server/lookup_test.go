package server_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/server/servertest"
)

// A tenant's look-up key is replaced while customers come and go: who has an
// account signs in and is recognised at every moment, also by a code that was
// asked for before the old key went.
func TestReplacingTheLookupKey(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		known := func(when string) {
			t.Helper()
			h.signIn()
			// An address that has an account opens none: its code signs in.
			b := i.Browser()
			before := h.Newest(anaMail)
			p := b.Answer(h.signUpPage(b, anaMail), url.Values{"code": {h.CodeAfter(anaMail, before)}})
			if !signedIn(p) {
				t.Errorf("%s: a sign-up of an address that has an account is answered %d %s", when, p.Status, servertest.Text(p.Body))
			}
			if n := h.count(`SELECT COUNT(*) FROM customer`); n != 1 {
				t.Fatalf("%s: there are %d accounts", when, n)
			}
			if p := h.passwordPage(i.Browser(), "who@shop.example"); p.Status != http.StatusOK {
				t.Errorf("%s: an unknown address is answered %d", when, p.Status)
			}
		}
		reach := func(wanted customer.LookupPhase) {
			t.Helper()
			for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
				r, err := i.Directory.LookupRotation(t.Context(), h.tenant.ID)
				if err != nil {
					t.Fatal(err)
				}
				if r == nil && wanted == "" || r != nil && r.Phase == wanted {
					return
				}
				if time.Since(began) > 30*time.Second {
					t.Fatalf("the server does not come to %q: %+v", wanted, r)
				}
			}
		}
		known("before")
		early := i.Browser()
		asked, code := h.codePage(early, anaMail, true)
		if _, err := i.Directory.RotateLookup(t.Context(), h.tenant.ID, "test"); err != nil {
			t.Fatal(err)
		}
		known("announced")
		i.Clock.Advance(16 * time.Second)
		known("under way")
		reach(customer.LookupClearing) // by the server itself
		known("the old key is gone")
		if p := early.Answer(asked, url.Values{"code": {code}}); !signedIn(p) {
			t.Errorf("a code from before is answered %d %s", p.Status, servertest.Text(p.Body))
		}
		i.Clock.Advance(16 * time.Second)
		reach("")
		known("after")
	})
}
