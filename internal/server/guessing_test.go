package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/tenant"
)

func few(s *tenant.Settings) {
	s.Limits.PasswordPerHour, s.Limits.PasswordTotal = 6, 20
	s.Limits.CodePerHour, s.Limits.CodeTotal, s.Limits.SendPerHour = 8, 30, 4
}

// SECURITY H2, H5, H8, item 8: guesses are counted for the customer, whichever
// spelling, journey, browser or forwarded address they come from.
func TestGuessesCountOverAllDoors(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", few)
		for _, spellings := range [][]string{
			{anaMail, "ANA@shop.example", " ana@shop.example", "Ana@SHOP.EXAMPLE"},
			{"who@shop.example", "WHO@shop.example", " who@shop.example", "Who@SHOP.EXAMPLE"},
		} {
			before, limited := i.Hasher.Stats().Computed, 0
			for n := range 20 {
				b := i.Browser()
				b.Header.Set("X-Forwarded-For", "203.0.113."+string(rune('0'+n%10)))
				b.Header.Set("User-Agent", strings.Repeat("x", n))
				p := h.passwordPage(b, spellings[n%len(spellings)])
				for range 3 {
					if got := b.Answer(p, url.Values{"password": {"wrong-password-of-mine"}}); got.Status == http.StatusTooManyRequests {
						limited++
						if got.Header.Get("Retry-After") == "" {
							t.Error("it is not told when to try again")
						}
					}
				}
			}
			if n := i.Hasher.Stats().Computed - before; n != 6 || limited != 54 {
				t.Errorf("%s: %d guesses were evaluated and %d refused", spellings[0], n, limited)
			}
		}
		// The right password is refused too, from a browser that nobody knows.
		b := i.Browser()
		if p := b.Answer(h.passwordPage(b, anaMail), url.Values{"password": {anaPassword}}); signedIn(p) {
			t.Error("beyond the limit the right password is taken")
		}
		// Another method lets ana in.
		b = i.Browser()
		p, mailed := h.codePage(b, anaMail, true)
		if p = b.Answer(p, url.Values{"code": {mailed}}); !signedIn(p) {
			t.Errorf("while passwords are limited a code does not let in: %d %s", p.Status, servertest.Text(p.Body))
		}
		// And an hour later there are six again.
		i.Clock.Advance(61 * time.Minute)
		before := i.Hasher.Stats().Computed
		b = i.Browser()
		page := h.passwordPage(b, anaMail)
		for range 10 {
			b.Answer(page, url.Values{"password": {"wrong-password-of-mine"}})
		}
		if n := i.Hasher.Stats().Computed - before; n != 6 {
			t.Errorf("in the next hour %d were evaluated", n)
		}
	})
}

// SECURITY O6, item 8: strangers' guesses do not shut the customer out of his
// own browser; that one is bounded as well.
func TestStrangersDoNotShutOutAKnownDevice(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", few)
		own, _ := h.signIn()
		own.Answer(own.Get(i.Base+h.tenant.Path+"/end_session"), url.Values{"decision": {"sign_out"}})
		b := i.Browser()
		page := h.passwordPage(b, anaMail)
		for range 10 {
			b.Answer(page, url.Values{"password": {"wrong-password-of-mine"}})
		}
		if p := b.Answer(page, url.Values{"password": {anaPassword}}); signedIn(p) {
			t.Fatal("a stranger is not limited")
		}
		if p := own.Answer(h.passwordPage(own, anaMail), url.Values{"password": {anaPassword}}); !signedIn(p) {
			t.Errorf("the customer's own browser is shut out: %d %s", p.Status, servertest.Text(p.Body))
		}
		// The device cookie of one customer is nothing to another's account.
		h.Customer(h.tenant, "ben@shop.example", anaPassword)
		page = h.passwordPage(b, "ben@shop.example")
		for range 10 {
			b.Answer(page, url.Values{"password": {"wrong-password-of-mine"}})
		}
		own.Answer(own.Get(i.Base+h.tenant.Path+"/end_session"), url.Values{"decision": {"sign_out"}})
		if p := own.Answer(h.passwordPage(own, "ben@shop.example"), url.Values{"password": {anaPassword}}); signedIn(p) {
			t.Error("ana's browser is known to ben's account")
		}
		// Wrong guesses in it are limited all the same.
		before := i.Hasher.Stats().Computed
		page = h.passwordPage(own, anaMail)
		for range 12 {
			own.Answer(page, url.Values{"password": {"wrong-password-of-mine"}})
		}
		if n := i.Hasher.Stats().Computed - before; n > 6 {
			t.Errorf("a known device had %d guesses", n)
		}
		// And the total over both: after 20 wrong in a row, hours do not help.
		for range 12 {
			i.Clock.Advance(61 * time.Minute)
			stranger := i.Browser()
			for _, x := range []*servertest.Browser{stranger, own} {
				page := h.passwordPage(x, anaMail)
				for range 7 {
					x.Answer(page, url.Values{"password": {"wrong-password-of-mine"}})
				}
			}
		}
		if n := h.count(`SELECT MAX(total) FROM budget WHERE subject = $1`, h.ana); n != 20 {
			t.Errorf("%d guesses in a row are counted, and the lifetime total is 20", n)
		}
		i.Clock.Advance(61 * time.Minute)
		if p := own.Answer(h.passwordPage(own, anaMail), url.Values{"password": {anaPassword}}); signedIn(p) || p.Status != http.StatusTooManyRequests {
			t.Errorf("beyond the lifetime total a known device is answered %d %s", p.Status, servertest.Text(p.Body))
		}
		p, mailed := h.codePage(own, anaMail, true)
		if p = own.Answer(p, url.Values{"code": {mailed}}); !signedIn(p) {
			t.Errorf("and a code does not let in: %d %s", p.Status, servertest.Text(p.Body))
		}
	})
}

// SECURITY H4, items 14–17: codes are limited by code, hour and customer; a
// new one starts no new count, and the right one is refused beyond.
func TestGuessesAtCodesAreLimited(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", few)
		b := i.Browser()
		wrong := func(mailed string) string {
			if mailed == "000000" {
				return "111111"
			}
			return "000000"
		}
		p, first := h.codePage(b, anaMail, true)
		for range 3 {
			b.Answer(p, url.Values{"code": {wrong(first)}})
		}
		// Another code for the same address: the first is not good for it, nor it
		// for the first, and both draw on one count.
		other := i.Browser()
		otherP, second := h.codePage(other, anaMail, true)
		if first != second {
			if got := other.Answer(otherP, url.Values{"code": {first}}); signedIn(got) {
				t.Error("the code of one browser is good in another")
			}
		}
		for range 10 {
			other.Answer(otherP, url.Values{"code": {wrong(second)}})
		}
		if got := other.Answer(otherP, url.Values{"code": {second}}); signedIn(got) {
			t.Error("beyond the attempts the right code is taken")
		}
		if n := h.count(`SELECT SUM(attempts) FROM challenge WHERE tenant = $1`, h.tenant.ID); n > 8 {
			t.Errorf("%d guesses were evaluated", n)
		}
		// Sending is limited for known and unknown alike.
		for _, address := range []string{anaMail, "who@shop.example"} {
			i.Clock.Advance(61 * time.Minute)
			sent := h.count(`SELECT COUNT(*) FROM challenge WHERE tenant = $1`, h.tenant.ID)
			for range 8 {
				x := i.Browser()
				page := x.Answer(h.passwordPage(x, address), url.Values{"choose": {"code"}})
				x.Answer(page, url.Values{"choose": {"resend"}})
			}
			if n := h.count(`SELECT COUNT(*) FROM challenge WHERE tenant = $1`, h.tenant.ID) - sent; n != 4 {
				t.Errorf("%s: %d codes were sent of 4", address, n)
			}
		}
		// Item 15: ten minutes.
		i.Clock.Advance(61 * time.Minute)
		late := i.Browser()
		p, mailed := h.codePage(late, anaMail, true)
		i.Clock.Advance(10*time.Minute + time.Second)
		if got := late.Answer(p, url.Values{"code": {mailed}}); signedIn(got) {
			t.Error("a code is good after ten minutes")
		}
		// Item 14, H7: in another spelling it is the same code, good once.
		i.Clock.Advance(61 * time.Minute)
		x := i.Browser()
		p, mailed = h.codePage(x, anaMail, true)
		thief := x.Copy()
		wide := strings.Map(func(r rune) rune { return r - '0' + '０' }, mailed)
		if got := x.Answer(p, url.Values{"code": {" " + mailed[:3] + " " + mailed[3:]}}); !signedIn(got) {
			t.Errorf("a code with spaces: %s", servertest.Text(got.Body))
		}
		for _, again := range []string{mailed, wide, " " + mailed} {
			if got := thief.Answer(p, url.Values{"code": {again}}); signedIn(got) {
				t.Errorf("%q was good twice", again)
			}
		}
	})
}

// SECURITY I3: a step that is answered with nothing, or with another step's
// answer, is asked again.
func TestAStepIsNotSkipped(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", func(s *tenant.Settings) {
			collectsNickname(s)
			s.Terms = tenant.Terms{Version: "1", Documents: []tenant.Document{{Title: map[string]string{"en": "Terms"}, URL: "https://shop.example/terms"}}}
		})
		b := i.Browser()
		b.Header.Set("X-Forwarded-For", "a")
		stays := func(p *servertest.Page, field string, own ...string) *servertest.Page {
			t.Helper()
			if !p.Has(field) {
				t.Fatalf("%s is not asked for: %d %s", field, p.Status, servertest.Text(p.Body))
			}
			for _, values := range []url.Values{
				{}, {"choose": {""}}, {"choose": {"finish"}}, {"choose": {"correct"}}, {"choose": {"known"}}, {"choose": {"accepted"}}, {"choose": {"collected"}}, {"choose": {"allowed"}},
				{"choose": {"chosen"}}, {"decision": {"deny"}}, {"decision": {"x"}}, {"step": {"finish"}}, {"outcome": {"authenticated"}}, {"password": {""}}, {"code": {""}}, {"nickname": {""}},
			} {
				skip := false
				for _, name := range own {
					skip = skip || values.Has(name)
				}
				if skip {
					continue
				}
				got := b.Answer(p, values)
				if signedIn(got) || got.Status >= 500 || !got.Has(field) {
					t.Errorf("%s answered with %v: %d %s", field, values, got.Status, servertest.Text(got.Body))
				}
			}
			return p
		}
		r := h.recipes.Authorize(nil)
		p := stays(b.Get(h.recipes.URL(i, r)), "identifier")
		p = stays(b.Answer(p, url.Values{"identifier": {anaMail}}), "password")
		p = b.Answer(p, url.Values{"password": {anaPassword}})
		for range 2 {
			switch {
			case p.Has("nickname"):
				p = b.Answer(stays(p, "nickname"), url.Values{"nickname": {"Annie"}})
			case p.Status == http.StatusOK && p.Location == nil && !p.Has("password"):
				// The form that asks to agree says so by its own address.
				for _, values := range []url.Values{{"choose": {"accepted"}}, {"choose": {"x"}}, {"nickname": {"x"}, "decision": {"x"}}} {
					if got := b.Answer(p, values); signedIn(got) {
						t.Errorf("the terms were passed by %v", values)
					}
				}
				p = b.Answer(p, url.Values{"decision": {"allow"}})
			}
		}
		p = stays(p, "decision", "decision")
		if p = b.Answer(p, url.Values{"decision": {"allow"}}); h.recipes.Redeem(i, r, p).Status != http.StatusOK {
			t.Error("the whole way does not lead to tokens")
		}
	})
}

// One proved sign-up has so many passwords hashed, however often its page is
// sent again, by however many browsers, before or after it has finished.
func TestOneSignUpHashesSoManyPasswords(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		const address = "new@shop.example"
		b := i.Browser()
		p := b.Answer(h.signUpPage(b, address), url.Values{"code": {i.Code(address)}})
		if !p.Has("new_password") {
			t.Fatalf("no password is asked for: %s", servertest.Text(p.Body))
		}
		thief := b.Copy()
		before, limited := i.Hasher.Stats().Computed, 0
		if got := b.Answer(p, url.Values{"new_password": {"gravel-otter-lantern-quiet"}}); !signedIn(got) {
			t.Fatalf("a new password does not let in: %d %s", got.Status, servertest.Text(got.Body))
		}
		for n := range 30 {
			got := thief.Answer(p, url.Values{"new_password": {fmt.Sprintf("gravel-otter-%d-lantern-quiet", n)}})
			if got.Status == http.StatusTooManyRequests {
				limited++
			}
		}
		if n := i.Hasher.Stats().Computed - before; n != 20 || limited != 11 {
			t.Errorf("%d passwords were hashed for one sign-up, %d refused", n, limited)
		}
	})
}
