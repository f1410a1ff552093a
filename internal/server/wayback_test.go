package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// fewest are limits that are soon met: strangers have 5 wrong passwords and 5
// wrong codes in a row.
func fewest(s *tenant.Settings) {
	s.Limits.PasswordPerHour, s.Limits.PasswordTotal = 3, 8
	s.Limits.CodePerHour, s.Limits.CodeTotal = 3, 8
}

// besiege has a stranger guess at an address for some hours, with passwords and
// with codes, beyond every limit. It returns what was answered.
func (h *house) besiege(address string, hours int) []string {
	h.t.Helper()
	name, _, _ := strings.Cut(address, "@")
	var answers []string
	note := func(p *servertest.Page) *servertest.Page {
		text := untilWhen.ReplaceAllString(strings.ReplaceAll(servertest.Text(p.Body), name+"@", "NAME@"), "TIME")
		answers = append(answers, http.StatusText(p.Status)+" "+strings.Join(strings.Fields(text), " "))
		return p
	}
	for range hours {
		b := h.Browser()
		p := h.passwordPage(b, address)
		for range 4 {
			note(b.Answer(p, url.Values{"password": {"wrong-password-of-mine"}}))
		}
		p = note(b.Answer(p, url.Values{"choose": {"code"}}))
		for range 4 {
			note(b.Answer(p, url.Values{"code": {"x"}}))
		}
		h.Clock.Advance(61 * time.Minute)
	}
	return answers
}

// signOut ends the session of a browser, which stays a known device.
func (h *house) signOut(b *servertest.Browser) {
	h.t.Helper()
	b.Answer(b.Get(h.Base+h.tenant.Path+"/end_session"), url.Values{"decision": {"sign_out"}})
}

// Item 8: strangers who guess at an account take away neither the password nor
// codes from its owner's own browser, nor codes from whoever has the mailbox;
// they only make strangers' own guesses worthless. Whichever way the owner
// takes, afterwards all is as before.
func TestStrangersCloseNoAccountForGood(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		for way, open := range map[string]func(h *house, own *servertest.Browser) *servertest.Page{
			"own-password": func(h *house, own *servertest.Browser) *servertest.Page {
				return own.Answer(h.passwordPage(own, anaMail), url.Values{"password": {anaPassword}})
			},
			"own-code": func(h *house, own *servertest.Browser) *servertest.Page {
				p, mailed := h.codePage(own, anaMail, true)
				return own.Answer(p, url.Values{"code": {mailed}})
			},
			"mailbox-alone": func(h *house, _ *servertest.Browser) *servertest.Page {
				b := h.Browser()
				p, mailed := h.codePage(b, anaMail, true)
				return b.Answer(p, url.Values{"code": {mailed}})
			},
			"mailbox-alone-sign-up": func(h *house, _ *servertest.Browser) *servertest.Page {
				b := h.Browser()
				before := h.Newest(anaMail)
				p := h.signUpPage(b, anaMail)
				return b.Answer(p, url.Values{"code": {h.CodeAfter(anaMail, before)}})
			},
		} {
			t.Run(way, func(t *testing.T) {
				h := newHouse(t, i, way, fewest)
				own, _ := h.signIn()
				h.signOut(own)
				h.besiege(anaMail, 6)
				i.Clock.Advance(30 * 24 * time.Hour)
				// Strangers have used up their guesses: the right password would be one.
				b := i.Browser()
				p := b.Answer(h.passwordPage(b, anaMail), url.Values{"password": {anaPassword}})
				if signedIn(p) || p.Status != http.StatusOK || !p.Has("password") {
					t.Errorf("beyond the lifetime total the right password of a stranger is answered %d %s", p.Status, servertest.Text(p.Body))
				}
				if p := open(h, own); !signedIn(p) {
					t.Fatalf("the owner is shut out: %d %s", p.Status, servertest.Text(p.Body))
				}
				i.Clock.Advance(61 * time.Minute)
				b = i.Browser()
				if p := b.Answer(h.passwordPage(b, anaMail), url.Values{"password": {anaPassword}}); !signedIn(p) {
					t.Errorf("after the owner has signed in the password is still off: %d %s", p.Status, servertest.Text(p.Body))
				}
				b = i.Browser()
				c, mailed := h.codePage(b, anaMail, true)
				if p := b.Answer(c, url.Values{"code": {mailed}}); !signedIn(p) || len(mailed) != 6 {
					t.Errorf("after the owner has signed in codes are still off: %q, %d", mailed, p.Status)
				}
			})
		}
	})
}

// A code that was sent before strangers had used up their part is guessed at no
// more either.
func TestAShortCodeIsWorthlessOnceGuessesAreUsedUp(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", func(s *tenant.Settings) {
			s.Limits.CodePerHour, s.Limits.CodeTotal = 20, 8
		})
		b := i.Browser()
		page, mailed := h.codePage(b, anaMail, true)
		other := i.Browser()
		p, _ := h.codePage(other, anaMail, false)
		for range 5 {
			other.Answer(p, url.Values{"code": {"x"}})
		}
		if p := b.Answer(page, url.Values{"code": {mailed}}); signedIn(p) || p.Status != http.StatusOK {
			t.Errorf("the sixth guess of five was looked at: %d", p.Status)
		}
		before := h.Newest(anaMail)
		page = b.Answer(page, url.Values{"choose": {"resend"}})
		mailed = h.CodeAfter(anaMail, before)
		if p := b.Answer(page, url.Values{"code": {mailed}}); !signedIn(p) || len(mailed) != 20 {
			t.Errorf("the next code, %q, does not let in: %d %s", mailed, p.Status, servertest.Text(p.Body))
		}
	})
}

// SECURITY J1: nor does guessing for hours, beyond every limit, tell whether
// there is an account.
func TestASiegeTellsNothing(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", fewest)
		h.Customer(h.tenant, "ben@shop.example", "")
		if err := i.Directory.SetStatus(t.Context(), h.tenant.ID, h.Customer(h.tenant, "eve@shop.example", anaPassword), customer.Locked, "test", "test"); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, address := range []string{"who@shop.example", anaMail, "ben@shop.example", "eve@shop.example"} {
			got := h.besiege(address, 5)
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				for n := range got {
					if got[n] != want[n] {
						t.Errorf("%s, answer %d: %s\nan unknown address gets: %s", address, n, got[n], want[n])
						break
					}
				}
			}
		}
	})
}

// What is counted of an address without an account ends with the hour: nobody
// shuts out its owner, who is to open one, nor others whose counters it shares.
func TestStrangersCloseNoAddressForGood(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", fewest)
		const address = "new@shop.example"
		h.besiege(address, 6)
		i.Clock.Advance(61 * time.Minute)
		if _, err := i.Budgets.Sweep(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		if n := h.count(`SELECT COUNT(*) FROM budget WHERE tenant = $1`, h.tenant.ID); n != 0 {
			t.Errorf("%d counters are left of an address that has no account", n)
		}
		b := i.Browser()
		before := h.Newest(address)
		p := h.signUpPage(b, address)
		if p = b.Answer(p, url.Values{"code": {h.CodeAfter(address, before)}}); !p.Has("new_password") {
			t.Errorf("the owner cannot sign up: %d %s", p.Status, servertest.Text(p.Body))
		}
	})
}
