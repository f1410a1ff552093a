package crash

import (
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"strings"
	"sync"

	"github.com/cardea-id/cardea/test/client"
)

// account is what a customer knows of his account: the ledger's page. Whoever
// holds mu uses it; nobody else may at the same time.
type account struct {
	mu       sync.Mutex
	who      client.Customer   // Profile holds what was acknowledged
	subject  string            // "" until known
	there    bool              // whether the sign-up was acknowledged
	proven   bool              // whether the password has let in since
	doubtful map[string]string // values of the profile whose change got no answer, "" for a removal
	browsers []*client.Browser // one for each session
	lineages []*lineage
	codes    []*client.Visit // with a code whose redemption got no answer
}

// lineage is a chain of refresh tokens.
type lineage struct {
	tokens        []string // acknowledged, the newest last
	doubt         bool     // the newest was presented, and there was no answer
	revoked       bool
	doubtRevoking bool // a revocation got no answer
}

func (l *lineage) newest() string { return l.tokens[len(l.tokens)-1] }

type worker func(context.Context, *mathrand.Rand)

// workers is who uses the program at once.
func (h *harness) workers() []worker {
	return []worker{
		h.signUp, h.signUp, h.signUp, h.signIn, h.signIn,
		h.refresh, h.refresh, h.refresh, h.refresh, h.refresh, h.refresh,
		h.revoke, h.changeByCommand, h.changeByCollect,
	}
}

// failed sorts out an error: when the program is being killed the operation is
// in doubt, otherwise the program is at fault.
func (h *harness) failed(a *account, what string, err error) {
	if h.killed.Load() {
		h.count("doubt")
		return
	}
	h.t.Errorf("%s of %s: %v", what, a.who.Address, err)
}

// borrow takes an account that was acknowledged and that nobody else uses, or
// none.
func (h *harness) borrow(random *mathrand.Rand) *account {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range 20 {
		if len(h.accounts) == 0 {
			return nil
		}
		// The newer half is used more, as customers do.
		n := len(h.accounts)
		a := h.accounts[n-1-int(float64(n)*random.Float64()*random.Float64())]
		if a.mu.TryLock() {
			if a.there {
				h.touched[a] = true
				return a
			}
			a.mu.Unlock()
		}
	}
	return nil
}

func (h *harness) signUp(ctx context.Context, _ *mathrand.Rand) {
	a := &account{doubtful: map[string]string{}, who: client.Customer{
		Address: strings.ToLower(rand.Text()[:16]) + "@example.com", Password: "walnut-" + strings.ToLower(rand.Text()),
		Profile: map[string]string{"given_name": "Given " + rand.Text()[:6], "family_name": "Family " + rand.Text()[:6]},
		SignUp:  true, Mail: h.mail,
	}}
	a.mu.Lock()
	defer a.mu.Unlock()
	h.mu.Lock()
	h.accounts = append(h.accounts, a)
	h.touched[a] = true
	h.mu.Unlock()
	browser := h.site.Browser()
	visit, err := browser.Begin(ctx, h.app, client.Ask{})
	if err == nil {
		err = visit.Walk(ctx, a.who)
	}
	if err != nil {
		h.failed(a, "sign-up", err)
		return
	}
	a.there = true
	a.browsers = append(a.browsers, browser)
	h.count("sign-up")
	h.redeem(ctx, a, visit)
}

// redeem begins a lineage with the code of a visit.
func (h *harness) redeem(ctx context.Context, a *account, visit *client.Visit) {
	tokens, err := visit.Redeem(ctx)
	if err == nil {
		a.subject, err = tokens.Subject()
	}
	if err != nil {
		a.codes = append(a.codes, visit)
		h.failed(a, "redemption", err)
		return
	}
	a.lineages = append(a.lineages, &lineage{tokens: []string{tokens.Refresh}})
}

func (h *harness) signIn(ctx context.Context, random *mathrand.Rand) {
	a := h.borrow(random)
	if a == nil {
		return
	}
	defer a.mu.Unlock()
	h.signInTo(ctx, a)
}

// signInTo signs in with the password, in a browser of its own, tells what the
// customer is asked for, and says whether all of that was acknowledged.
func (h *harness) signInTo(ctx context.Context, a *account) bool {
	who := a.who
	who.SignUp, who.Mail = false, nil
	who.Profile = map[string]string{}
	for _, name := range profileNames {
		if a.who.Profile[name] == "" {
			who.Profile[name] = "New " + rand.Text()[:6]
			a.doubtful[name] = who.Profile[name]
		}
	}
	browser := h.site.Browser()
	visit, err := browser.Begin(ctx, h.app, client.Ask{})
	if err == nil {
		err = visit.Walk(ctx, who)
	}
	if err != nil {
		h.failed(a, "sign-in", err)
		return false
	}
	a.browsers = append(a.browsers, browser)
	h.count("sign-in")
	for name, value := range who.Profile {
		a.who.Profile[name] = value
		delete(a.doubtful, name)
		h.count("collect")
	}
	h.redeem(ctx, a, visit)
	return true
}

// profileNames is what the tenant collects.
var profileNames = []string{"given_name", "family_name"}

func (h *harness) refresh(ctx context.Context, random *mathrand.Rand) {
	a := h.borrow(random)
	if a == nil {
		return
	}
	defer a.mu.Unlock()
	for _, l := range a.lineages {
		if l.revoked || l.doubt || l.doubtRevoking {
			continue
		}
		for range 1 + random.IntN(3) {
			if !h.rotate(ctx, a, l) {
				return
			}
		}
	}
}

func (h *harness) rotate(ctx context.Context, a *account, l *lineage) bool {
	tokens, err := h.site.Refresh(ctx, h.app, l.newest())
	if err != nil {
		l.doubt = true
		h.failed(a, "refresh", err)
		return false
	}
	l.tokens = append(l.tokens, tokens.Refresh)
	h.count("refresh")
	return true
}

func (h *harness) revoke(ctx context.Context, random *mathrand.Rand) {
	a := h.borrow(random)
	if a == nil {
		return
	}
	defer a.mu.Unlock()
	if len(a.lineages) < 2 {
		return
	}
	l := a.lineages[random.IntN(len(a.lineages))]
	if l.revoked || l.doubt || l.doubtRevoking {
		return
	}
	if err := h.site.Revoke(ctx, h.app, l.newest()); err != nil {
		l.doubtRevoking = true
		h.failed(a, "revocation", err)
		return
	}
	l.revoked = true
	h.count("revocation")
}

// changeByCommand changes a profile as an operator does.
func (h *harness) changeByCommand(ctx context.Context, random *mathrand.Rand) {
	a := h.borrow(random)
	if a == nil {
		return
	}
	defer a.mu.Unlock()
	if a.subject == "" || len(a.doubtful) > 0 {
		return
	}
	value := "Given " + rand.Text()[:6]
	if err := h.program.SetProfile(ctx, h.tenant, a.subject, map[string]string{"given_name": value}); err != nil {
		a.doubtful["given_name"] = value
		h.failed(a, "change by command", err)
		return
	}
	a.who.Profile["given_name"] = value
	h.count("command")
}

// changeByCollect has a part of a profile removed, and the customer asked for
// it when he signs in.
func (h *harness) changeByCollect(ctx context.Context, random *mathrand.Rand) {
	a := h.borrow(random)
	if a == nil {
		return
	}
	defer a.mu.Unlock()
	if a.subject == "" || len(a.doubtful) > 0 {
		return
	}
	if err := h.program.SetProfile(ctx, h.tenant, a.subject, map[string]string{"family_name": ""}); err != nil {
		a.doubtful["family_name"] = ""
		h.failed(a, "removal by command", err)
		return
	}
	delete(a.who.Profile, "family_name")
	h.signInTo(ctx, a)
}
