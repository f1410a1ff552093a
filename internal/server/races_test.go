package server_test

import (
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// contenders is how many come for one thing at once.
const contenders = 64

// onNodes runs test on PostgreSQL with two nodes, and on SQLite with its one.
func onNodes(t *testing.T, test func(t *testing.T, nodes []*servertest.Installation), configure ...func(*server.Environment)) {
	t.Helper()
	t.Run("postgres, two nodes", func(t *testing.T) {
		first := servertest.New(t, sqldb.Postgres, configure...)
		test(t, []*servertest.Installation{first, first.SecondNode()})
	})
	t.Run("sqlite, one node", func(t *testing.T) {
		test(t, []*servertest.Installation{servertest.New(t, sqldb.SQLite, configure...)})
	})
}

// SECURITY B3, item 54: of all who redeem one code at once, one gets tokens,
// and since the others are replays, these are dead afterwards.
func TestTwoNodesRaceForACode(t *testing.T) {
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		h := newHouse(t, nodes[0], "thyme", nil)
		browser, _ := h.signIn()
		for round := range 4 {
			r, code := h.code(browser, h.shop, nil)
			answers := make([]servertest.Tokens, contenders)
			atOnce(contenders, func(k int) {
				var err error
				if answers[k], err = h.shop.TryToken(nodes[k%len(nodes)], redemption(r, code)); err != nil {
					t.Error(err)
				}
			})
			var won []servertest.Tokens
			for _, a := range answers {
				switch {
				case a.Status == http.StatusOK:
					won = append(won, a)
				case a.Status != http.StatusBadRequest || a.Error != "invalid_grant" || a.Access != "":
					t.Errorf("round %d: a loser got %+v", round, a)
				}
			}
			if len(won) != 1 {
				t.Fatalf("round %d: %d of %d redeemed one code", round, len(won), contenders)
			}
			for _, node := range nodes {
				if h.shop.Active(node, won[0].Access) || h.shop.Active(node, won[0].Refresh) {
					t.Errorf("round %d: the tokens outlive the replays", round)
				}
			}
			if a := h.shop.Token(nodes[0], refreshing(won[0].Refresh)); a.Error != "invalid_grant" {
				t.Errorf("round %d: the refresh token outlives the replays: %+v", round, a)
			}
		}
	})
}

// SECURITY D1, item 59: of all who use one refresh token at once, all get the
// same next generation, and there is one lineage.
func TestTwoNodesRaceForARefreshToken(t *testing.T) {
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		h := newHouse(t, nodes[0], "thyme", nil)
		browser, _ := h.signIn()
		for round := range 4 {
			r, code := h.code(browser, h.shop, nil)
			parent := h.shop.Token(nodes[0], redemption(r, code))
			lineage := claims(t, parent.Access)["lin"]
			answers := make([]servertest.Tokens, contenders)
			atOnce(contenders, func(k int) {
				var err error
				if answers[k], err = h.shop.TryToken(nodes[k%len(nodes)], refreshing(parent.Refresh)); err != nil {
					t.Error(err)
				}
			})
			for _, a := range answers {
				if a.Status != http.StatusOK {
					t.Fatalf("round %d: within the grace one got %+v", round, a)
				}
				if !h.shop.Active(nodes[0], a.Refresh) || claims(t, a.Access)["lin"] != lineage {
					t.Errorf("round %d: one got another generation or lineage than the others", round)
				}
			}
			if n := h.count(`SELECT generation FROM lineage WHERE tenant = $1 AND customer = $2 AND lineage = $3`, h.tenant.ID, h.ana, lineage); n != 2 {
				t.Fatalf("round %d: one refresh token advanced to generation %d", round, n)
			}
			if h.shop.Active(nodes[0], parent.Refresh) {
				t.Errorf("round %d: the parent is active still", round)
			}
			// The next generation is one again, whoever of them asks for it.
			next := h.shop.Token(nodes[0], refreshing(answers[0].Refresh))
			again := h.shop.Token(nodes[len(nodes)-1], refreshing(answers[contenders-1].Refresh))
			if next.Status != http.StatusOK || again.Status != http.StatusOK {
				t.Fatalf("round %d: the successors lead to %+v and %+v", round, next, again)
			}
			if n := h.count(`SELECT generation FROM lineage WHERE tenant = $1 AND customer = $2 AND lineage = $3`, h.tenant.ID, h.ana, lineage); n != 3 {
				t.Errorf("round %d: two spellings of one generation advanced to %d", round, n)
			}
			// The parent, or a sibling after the grace, ends it all, everywhere.
			old := parent.Refresh
			if round%2 == 1 {
				nodes[0].Clock.Advance(11 * time.Second)
				old = answers[1].Refresh
			}
			dead := make([]servertest.Tokens, 8)
			atOnce(len(dead), func(k int) {
				var err error
				if dead[k], err = h.shop.TryToken(nodes[k%len(nodes)], refreshing(old)); err != nil {
					t.Error(err)
				}
			})
			for _, a := range dead {
				if a.Status != http.StatusBadRequest || a.Error != "invalid_grant" {
					t.Errorf("round %d: a replaced token got %+v", round, a)
				}
			}
			for _, node := range nodes {
				for _, token := range []string{next.Refresh, next.Access, again.Refresh, answers[2].Access, parent.Access} {
					if h.shop.Active(node, token) {
						t.Errorf("round %d: the lineage outlives the replay", round)
					}
				}
			}
		}
	})
}

// SECURITY G3, item 14: one mailed code begins one session.
func TestTwoNodesRaceForAMailedCode(t *testing.T) {
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		h := newHouse(t, nodes[0], "thyme", func(s *tenant.Settings) {
			s.Limits.CodePerHour, s.Limits.CodeTotal, s.Limits.AttemptsPerCode = 100, 100, 10
		})
		for round := range 3 {
			browser := h.Browser()
			p, code := h.codePage(browser, anaMail, true)
			before := h.count(`SELECT COUNT(*) FROM session WHERE tenant = $1`, h.tenant.ID)
			won := race(t, nodes, browser, p, url.Values{"code": {code}})
			if n := h.count(`SELECT COUNT(*) FROM session WHERE tenant = $1`, h.tenant.ID) - before; n != 1 || won != 1 {
				t.Errorf("round %d: one code began %d sessions, told to %d", round, n, won)
			}
			nodes[0].Clock.Advance(time.Hour)
		}
	})
}

// One browser's last answer, posted 64 times at once, opens one account and
// begins one session.
func TestTwoNodesRaceForTheFinishOfASignUp(t *testing.T) {
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		h := newHouse(t, nodes[0], "thyme", nil)
		for round, address := range []string{"ben@shop.example", "eve@shop.example", "kim@shop.example"} {
			browser := h.Browser()
			p := browser.Answer(h.signUpPage(browser, address), url.Values{"code": {h.Code(address)}})
			won := race(t, nodes, browser, p, url.Values{"choose": {"skip"}})
			accounts := h.count(`SELECT COUNT(*) FROM customer WHERE tenant = $1`, h.tenant.ID)
			sessions := h.count(`SELECT COUNT(*) FROM session WHERE tenant = $1`, h.tenant.ID)
			if won != 1 || accounts != round+2 || sessions != round+1 {
				t.Errorf("round %d: %d were signed in; there are %d accounts and %d sessions", round, won, accounts, sessions)
			}
		}
	})
}

// race posts one page's form from copies of one browser and returns how many
// of them were signed in.
func race(t *testing.T, nodes []*servertest.Installation, browser *servertest.Browser, p *servertest.Page, values url.Values) int {
	t.Helper()
	address, all := browser.Filled(p, values)
	path := address[len(nodes[0].Base):]
	var mu sync.Mutex
	won := 0
	atOnce(contenders, func(k int) {
		node := nodes[k%len(nodes)]
		thief := node.Browser()
		thief.SetCookies(browser.Cookies())
		got, err := thief.Do(http.MethodPost, node.Base+path, all, "")
		if err != nil {
			t.Error(err)
			return
		}
		if got.Status >= 500 {
			t.Errorf("a contender got %d: %s", got.Status, servertest.Text(got.Body))
		}
		if signedIn(got) {
			mu.Lock()
			won++
			mu.Unlock()
		}
	})
	return won
}

// One address that 64 browsers sign up at once becomes one account, and all of
// them, who have proved the address, are signed in to it.
func TestTwoNodesRaceForAnAddress(t *testing.T) {
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		h := newHouse(t, nodes[0], "thyme", func(s *tenant.Settings) {
			s.Limits.SendPerHour, s.Limits.CodePerHour = 100, 100
		})
		const address = "new@shop.example"
		browsers, pages := make([]*servertest.Browser, contenders), make([]*servertest.Page, contenders)
		for k := range contenders {
			node := nodes[k%len(nodes)]
			browsers[k] = node.Browser()
			before := h.Newest(address)
			p := h.at(node).signUpPage(browsers[k], address)
			pages[k] = browsers[k].Answer(p, url.Values{"code": {h.CodeAfter(address, before)}})
			if !pages[k].Has("new_password") {
				t.Fatalf("no password is asked for: %s", servertest.Text(pages[k].Body))
			}
		}
		ended := make([]*servertest.Page, contenders)
		atOnce(contenders, func(k int) {
			var err error
			if ended[k], err = browsers[k].TryAnswer(pages[k], url.Values{"choose": {"skip"}}); err != nil {
				t.Error(err)
			}
		})
		if n := h.count(`SELECT COUNT(*) FROM customer WHERE tenant = $1 AND customer <> $2`, h.tenant.ID, h.ana); n != 1 {
			t.Errorf("one address has %d accounts", n)
		}
		if n := h.count(`SELECT COUNT(*) FROM identifier_holder WHERE tenant = $1`, h.tenant.ID); n != 2 {
			t.Errorf("two addresses have %d holders", n)
		}
		if n := h.count(`SELECT COUNT(DISTINCT customer) FROM session WHERE tenant = $1`, h.tenant.ID); n != 1 {
			t.Errorf("one address has sessions of %d customers", n)
		}
		for _, p := range ended {
			if p != nil && !signedIn(p) {
				t.Errorf("one who proved the address got %d: %s", p.Status, servertest.Text(p.Body))
			}
		}
	})
}

// SECURITY H3, item 8: never are more guesses evaluated than the budget has,
// by all nodes, browsers and hours together.
func TestTwoNodesNeverEvaluateMoreGuessesThanTheBudget(t *testing.T) {
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		h := newHouse(t, nodes[0], "thyme", func(s *tenant.Settings) {
			s.Limits.PasswordPerHour, s.Limits.PasswordTotal = 10, 25
			s.Limits.CodePerHour, s.Limits.CodeTotal, s.Limits.AttemptsPerCode = 7, 100, 10
		})
		for _, address := range []string{anaMail, "stranger@shop.example"} {
			for hour := range 4 {
				browser := h.Browser()
				page := h.passwordPage(browser, address)
				if n := guess(t, nodes, browser, page, url.Values{"password": {"not-the-password-at-all"}}); n != 10 {
					t.Errorf("%s, hour %d: %d passwords were hashed of 10", address, hour, n)
				}
				nodes[0].Clock.Advance(61 * time.Minute)
			}
		}
		// Of the 40 of strangers 18 could have been right: 7 of the 25 are kept for
		// the customer's own browsers and to mark that. From then on none is.
		if n := h.count(`SELECT MAX(total) FROM budget WHERE tenant = $1`, h.tenant.ID); n != 19 {
			t.Errorf("%d guesses in a row are counted", n)
		}
		stranger := h.Browser()
		if n := race(t, nodes, stranger, h.passwordPage(stranger, anaMail), url.Values{"password": {anaPassword}}); n != 0 {
			t.Errorf("beyond the lifetime total %d were let in by the right password", n)
		}
		// Nor codes: by the row of the challenge, and the right one is refused then.
		browser := h.Browser()
		p, code := h.codePage(browser, anaMail, true)
		wrong := "000000"
		if code == wrong {
			wrong = "111111"
		}
		guess(t, nodes, browser, p, url.Values{"code": {wrong}})
		if n := h.count(`SELECT MAX(attempts) FROM challenge WHERE tenant = $1`, h.tenant.ID); n != 7 {
			t.Errorf("%d codes were evaluated of 7", n)
		}
		if p := browser.Answer(p, url.Values{"code": {code}}); signedIn(p) {
			t.Error("the right code was let in beyond the budget")
		}
	})
}

// guess answers one page from many copies of a browser at once and returns how
// many passwords were hashed for it.
func guess(t *testing.T, nodes []*servertest.Installation, browser *servertest.Browser, p *servertest.Page, values url.Values) int {
	t.Helper()
	hashed := func() (n uint64) {
		for _, node := range nodes {
			n += node.Hasher.Stats().Computed
		}
		return n
	}
	before := hashed()
	if won := race(t, nodes, browser, p, values); won != 0 {
		t.Errorf("%d were let in by a wrong guess", won)
	}
	return int(hashed() - before)
}
