package crash

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/cardea-id/cardea/test/client"
)

// mostSessions and mostLineages are how many of an account are looked at each
// time, the newest first.
const (
	mostSessions = 3
	mostLineages = 4
)

// settleRefreshes asks again for what got no answer. Whether it was done or
// not, asking again must work: the token is either still the newest, or it was
// replaced just now and is answered with its successor.
func (h *harness) settleRefreshes(ctx context.Context, a *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.lineages {
		switch {
		case l.doubtRevoking:
			if err := h.site.Revoke(ctx, h.app, l.newest()); err != nil {
				h.t.Errorf("%s: a revocation that was cut off cannot be asked for again: %v", a.who.Address, err)
				continue
			}
			l.doubtRevoking, l.revoked = false, true
		case l.doubt:
			h.settleRefresh(ctx, a, l)
		}
	}
	codes := a.codes
	a.codes = nil
	for _, visit := range codes {
		tokens, err := visit.Redeem(ctx)
		var refusal *client.Refusal
		switch {
		case err == nil: // not done before; it is now
			if a.subject, err = tokens.Subject(); err != nil {
				h.t.Error(err)
				continue
			}
			a.lineages = append(a.lineages, &lineage{tokens: []string{tokens.Refresh}})
		case errors.As(err, &refusal) && refusal.Code == "invalid_grant": // done before: a code works once
			h.count("done")
		default:
			h.t.Errorf("%s: a code whose redemption was cut off: %v", a.who.Address, err)
		}
	}
}

// grace is how long a refresh token that was replaced is answered with its
// successor. Beyond, one that was done and got no answer counts as stolen.
const grace = 10 * time.Second

func (h *harness) settleRefresh(ctx context.Context, a *account, l *lineage) {
	tokens, err := h.site.Refresh(ctx, h.app, l.newest())
	l.doubt = false
	switch {
	case err == nil:
		l.tokens = append(l.tokens, tokens.Refresh)
		h.count("refresh")
	case refused(err) && time.Since(h.killedAt) > grace: // the machine is slow
		l.revoked = true
	default:
		h.t.Errorf("%s: a refresh that was cut off cannot be asked for again: %v", a.who.Address, err)
	}
}

// verify looks whether all that an account's page in the ledger says is so.
func (h *harness) verify(ctx context.Context, a *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !a.there:
		if !h.settleSignUp(ctx, a) {
			return
		}
	case !a.proven: // the password that was chosen lets in
		if !h.signInTo(ctx, a) {
			return
		}
	}
	a.proven = true
	for i, browser := range slices.Backward(a.browsers) {
		if len(a.browsers)-i > mostSessions {
			break
		}
		visit, err := browser.Begin(ctx, h.app, client.Ask{Prompt: "none"})
		if err != nil || visit.Answer.Get("code") == "" {
			h.t.Errorf("%s: session %d of %d, which was acknowledged, is gone: %v", a.who.Address, i+1, len(a.browsers), answerOf(visit, err))
			return
		}
		if a.subject == "" {
			h.redeem(ctx, a, visit)
		}
	}
	looked := 0
	access := ""
	for _, l := range slices.Backward(a.lineages) {
		if looked++; looked > mostLineages {
			break
		}
		tokens, err := h.site.Refresh(ctx, h.app, l.newest())
		if l.revoked {
			if !refused(err) {
				h.t.Errorf("%s: a refresh token, whose revocation was acknowledged, is answered: %v", a.who.Address, err)
			}
			continue
		}
		if err != nil {
			h.t.Errorf("%s: the newest refresh token, %d refreshes old, is not taken: %v", a.who.Address, len(l.tokens), err)
			return
		}
		l.tokens = append(l.tokens, tokens.Refresh)
		access = tokens.Access
	}
	if access == "" { // every lineage was cut off or revoked: the password must do
		if !h.signInTo(ctx, a) || len(a.lineages) == 0 {
			return
		}
		l := a.lineages[len(a.lineages)-1]
		tokens, err := h.site.Refresh(ctx, h.app, l.newest())
		if err != nil {
			h.t.Errorf("%s: a new refresh token is not taken: %v", a.who.Address, err)
			return
		}
		l.tokens = append(l.tokens, tokens.Refresh)
		access = tokens.Access
	}
	h.verifyProfile(ctx, a, access)
}

func answerOf(visit *client.Visit, err error) error {
	if err != nil {
		return err
	}
	return visit.Unexpected()
}

// refused tells whether a token was answered as one that is not good.
func refused(err error) bool {
	var refusal *client.Refusal
	return errors.As(err, &refusal) && refusal.Status == http.StatusBadRequest && refusal.Code == "invalid_grant"
}

// settleSignUp finds out what has become of a sign-up that got no answer: the
// account is there, whole, or it is not, and can be opened with the same
// address. It tells whether the account is there now.
func (h *harness) settleSignUp(ctx context.Context, a *account) bool {
	browser := h.site.Browser()
	visit, err := browser.Begin(ctx, h.app, client.Ask{})
	if err == nil {
		who := a.who
		who.SignUp, who.Mail, who.Profile = false, nil, nil
		err = visit.Walk(ctx, who)
	}
	switch {
	case err == nil:
		h.count("done")
	case errors.Is(err, client.ErrWrongPassword):
		h.mail.Forget(a.who.Address)
		browser = h.site.Browser()
		visit, err = browser.Begin(ctx, h.app, client.Ask{})
		if err == nil {
			err = visit.Walk(ctx, a.who)
		}
		if err != nil {
			h.t.Errorf("%s: a sign-up that was cut off stands in the way of another: %v", a.who.Address, err)
			return false
		}
		if !slices.Contains(visit.Seen, "newpassword") {
			h.t.Errorf("%s: half an account is there: the address is taken, and the password does not let in (pages %v)", a.who.Address, visit.Seen)
			return false
		}
		h.count("sign-up")
	default:
		h.t.Errorf("%s: a sign-up that was cut off left an account that cannot be used: %v", a.who.Address, err)
		return false
	}
	a.there = true
	a.browsers = append(a.browsers, browser)
	h.redeem(ctx, a, visit)
	return true
}

// verifyProfile compares what was acknowledged with what an application gets.
func (h *harness) verifyProfile(ctx context.Context, a *account, access string) {
	claims, err := h.site.UserInfo(ctx, access)
	if err != nil {
		h.t.Errorf("%s: userinfo: %v", a.who.Address, err)
		return
	}
	if claims["sub"] != a.subject || claims["email"] != a.who.Address || claims["email_verified"] != true {
		h.t.Errorf("%s is %q with the address %v, verified %v; it was %q", a.who.Address, claims["sub"], claims["email"], claims["email_verified"], a.subject)
	}
	for _, name := range profileNames {
		is, _ := claims[name].(string) // "" where it is not there
		pending, changing := a.doubtful[name]
		switch {
		case is == a.who.Profile[name]:
		case changing && is == pending:
			h.count("done")
		default:
			h.t.Errorf("%s: %s is %q; %q was acknowledged (in doubt %q)", a.who.Address, name, is, a.who.Profile[name], a.doubtful)
		}
		delete(a.doubtful, name)
		a.who.Profile[name] = is
	}
}

// reuse presents a refresh token that was replaced twice: it is refused, and
// its whole lineage with it (RFC 9700, section 4.14.2).
func (h *harness) reuse(ctx context.Context, a *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.lineages) == 0 {
		return
	}
	l := a.lineages[0]
	if l.revoked || len(l.tokens) < 3 {
		return
	}
	if _, err := h.site.Refresh(ctx, h.app, l.tokens[len(l.tokens)-3]); !refused(err) {
		h.t.Errorf("%s: a refresh token that was replaced twice is answered: %v", a.who.Address, err)
	}
	if _, err := h.site.Refresh(ctx, h.app, l.newest()); !refused(err) {
		h.t.Errorf("%s: the lineage of a refresh token that was used again still lives: %v", a.who.Address, err)
	}
	l.revoked = true
}
