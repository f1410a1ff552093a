package server_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Whoever signs in, refreshes and redeems while an account is closed holds
// nothing afterwards, whichever of them came first.
func TestTwoNodesRaceToClose(t *testing.T) {
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		for round := range 3 {
			h := newHouse(t, nodes[0], "close-"+string(rune('a'+round)), nil)
			browser, _ := h.signIn()
			var parents []servertest.Tokens
			var codes []url.Values
			var browsers []*servertest.Browser
			var pages []*servertest.Page
			for range contenders / 8 {
				r, code := h.code(browser, h.shop, url.Values{"scope": {"openid offline_access"}})
				parents = append(parents, h.shop.Token(nodes[0], redemption(r, code)))
				r, code = h.code(browser, h.shop, nil)
				codes = append(codes, redemption(r, code))
				b := h.Browser()
				browsers = append(browsers, b)
				pages = append(pages, h.passwordPage(b, anaMail))
			}
			n := len(parents)
			given := make([]servertest.Tokens, contenders)
			closed := contenders / 2
			atOnce(contenders, func(k int) {
				var err error
				switch i := k % n; {
				case k == closed:
					change, err := h.Directory.PrepareStatus(t.Context(), h.tenant.ID, h.ana, customer.Closed, "", string(h.ana))
					if err == nil {
						err = h.DB.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := h.Directory.ChangeStatus(tx, change); return err })
					}
					if err != nil {
						t.Error(err)
					}
				case k%4 == 0:
					_, err = browsers[i].TryAnswer(pages[i], url.Values{"password": {anaPassword}})
				case k%4 == 1:
					given[k], err = h.shop.TryToken(nodes[k%len(nodes)], codes[i])
				default:
					given[k], err = h.shop.TryToken(nodes[k%len(nodes)], refreshing(parents[i].Refresh))
				}
				if err != nil {
					t.Error(err)
				}
			})
			state, err := h.Directory.State(t.Context(), h.tenant.ID, h.ana)
			if err != nil || state.Status != customer.Closed {
				t.Fatalf("round %d: it is %s, %v", round, state.Status, err)
			}
			for _, node := range nodes {
				for k, g := range given {
					if g.Access != "" && (h.shop.Active(node, g.Access) || h.shop.Active(node, g.Refresh)) {
						t.Errorf("round %d: what %d got is good", round, k)
					}
					if g.Refresh != "" {
						if again := h.shop.Token(node, refreshing(g.Refresh)); again.Error != "invalid_grant" {
							t.Errorf("round %d: what %d got is refreshed: %+v", round, k, again)
						}
					}
				}
				for k, b := range append(browsers, browser) {
					if p := b.Get(node.Base + h.tenant.Path + "/account"); onAccount(p) {
						t.Errorf("round %d: browser %d is signed in", round, k)
					}
				}
			}
			// One without offline_access is dead for want of its session, whatever its row says.
			if n := h.count(`SELECT COUNT(*) FROM lineage WHERE tenant = $1 AND ended_at = 0 AND offline = $2`, h.tenant.ID, true); n != 0 {
				t.Errorf("round %d: %d lineages live on", round, n)
			}
		}
	})
}

// Of many pages that keep an account and rules that erase it, one side wins, and
// who was told that it is kept has it.
func TestTwoNodesRaceToKeep(t *testing.T) {
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		h := newHouse(t, nodes[0], "keep", nil)
		if err := h.Directory.SetStatus(t.Context(), h.tenant.ID, h.ana, customer.Closed, "", "test"); err != nil {
			t.Fatal(err)
		}
		nodes[0].Clock.Advance(30*24*time.Hour - 20*time.Second)
		var browsers []*servertest.Browser
		var pages []*servertest.Page
		for range 8 {
			b := h.Browser()
			p := b.Answer(h.passwordPage(b, anaMail), url.Values{"password": {anaPassword}})
			if !keeps(p) {
				t.Fatalf("it is not asked: %s", servertest.Text(p.Body))
			}
			browsers, pages = append(browsers, b), append(pages, p)
		}
		var kept int
		answers := make([]*servertest.Page, contenders)
		atOnce(contenders, func(k int) {
			var err error
			if k%4 == 0 {
				err = nodes[k%len(nodes)].Directory.Advance(t.Context())
			} else {
				answers[k], err = browsers[k%8].TryAnswer(pages[k%8], url.Values{"decision": {"keep"}})
			}
			if err != nil {
				t.Error(err)
			}
		})
		for _, p := range answers {
			if p != nil && p.Status < http.StatusInternalServerError && signedIn(p) {
				kept++
			}
		}
		state, err := h.Directory.State(t.Context(), h.tenant.ID, h.ana)
		if err != nil || kept == 0 || state.Status != customer.Active {
			t.Errorf("%d were told that it is kept, and it is %s, %v", kept, state.Status, err)
		}
		if n := h.count(`SELECT COUNT(*) FROM event WHERE tenant = $1 AND type = 'customer.status.changed'`, h.tenant.ID); n != 2 {
			t.Errorf("it was moved %d times", n)
		}
	})
}
