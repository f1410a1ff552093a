package server_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/server/servertest"
)

// SECURITY H4, items 8 and 14: guesses at a recovery's code draw on the same
// count as guesses at a code to sign in, whichever door they come by.
func TestGuessesAtRecoveryCodesAreLimited(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", few)
		wrong := func(mailed string) string {
			if mailed == "000000" {
				return "111111"
			}
			return "000000"
		}
		signing := i.Browser()
		p, mailed := h.codePage(signing, anaMail, true)
		for range 4 {
			signing.Answer(p, url.Values{"code": {wrong(mailed)}})
		}
		recovering := i.Browser()
		before := h.Newest(anaMail)
		p = h.recoveryPage(recovering, anaMail)
		mailed = h.CodeAfter(anaMail, before)
		for range 12 {
			recovering.Answer(p, url.Values{"code": {wrong(mailed)}})
		}
		if got := recovering.Answer(p, url.Values{"code": {mailed}}); got.Has("new_password") {
			t.Error("beyond the attempts the right code opens a recovery")
		}
		if n := h.count(`SELECT SUM(attempts) FROM challenge WHERE tenant = $1`, h.tenant.ID); n > 8 {
			t.Errorf("%d guesses were evaluated of 8", n)
		}
		// An hour later the right one opens.
		i.Clock.Advance(61 * time.Minute)
		h.provenPage(i.Browser(), anaMail)
	})
}

// SECURITY G5: who asks to recover a lookalike of an address gets nothing of
// the account, wherever the code went.
func TestLookalikesRecoverNothing(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		sent := 0
		for _, lookalike := range []string{
			"аna@shop.example", "ána@shop.example", "ana@shop.examp\u217ce", "ａｎａ@shop.example", "ana+x@shop.example", "a.na@shop.example",
			"ana@shop。example", "ana@xn--hop-p1a.example", "ana@shōp.example", "ᴀna@shop.example", "\u212bna@shop.example",
		} {
			newest := h.Newest("")
			b := i.Browser()
			p := b.Get(h.shop.URL(i, h.shop.Authorize(nil)))
			if p = b.Answer(p, url.Values{"identifier": {lookalike}}); !p.Has("password") {
				continue // not taken for an address
			}
			p = b.Answer(p, url.Values{"choose": {"recover"}})
			if p = b.Answer(p, url.Values{"identifier": {lookalike}}); !p.Has("code") {
				continue
			}
			to, code := h.letterAfter(string(newest))
			if code == "" {
				t.Errorf("%q: no message went anywhere", lookalike)
				continue
			}
			sent++
			if to == anaMail { // the stored address: only its owner reads it
				continue
			}
			p = b.Answer(p, url.Values{"code": {code}})
			if p.Has("new_password") {
				b.Answer(p, url.Values{"new_password": {newPassword}})
			}
			if n := h.count(`SELECT COUNT(*) FROM session WHERE tenant = $1 AND customer = $2`, h.tenant.ID, h.ana); n != 0 {
				t.Fatalf("%q: the code sent to %q opened ana's account", lookalike, to)
			}
		}
		if sent < 3 {
			t.Errorf("only %d lookalikes were taken for addresses: this shows little", sent)
		}
		if b := i.Browser(); !signedIn(b.Answer(h.passwordPage(b, anaMail), url.Values{"password": {anaPassword}})) {
			t.Error("ana's password was changed")
		}
	})
}

// letterAfter waits for a message newer than the given one, to whomever.
func (h *house) letterAfter(newest string) (to, code string) {
	h.t.Helper()
	for range 200 {
		letters, err := h.Inbox.List(h.t.Context(), "", "", 1)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(letters) > 0 && string(letters[0].ID) > newest {
			return letters[0].To, letters[0].Code
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "", ""
}
