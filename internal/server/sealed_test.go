package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// artefacts are one sealed value of every kind that a house gives out, each
// good and unused.
func (h *house) artefacts() (map[string]string, *servertest.Browser) {
	h.t.Helper()
	browser, tokens := h.signIn()
	_, code := h.code(browser, h.shop, nil)
	state := func(p *servertest.Page) string {
		h.t.Helper()
		if len(p.Forms) == 0 || p.Forms[0].Hidden.Get("state") == "" {
			h.t.Fatalf("the page has no state: %s", servertest.Text(p.Body))
		}
		return p.Forms[0].Hidden.Get("state")
	}
	bare := func(sealed string) string { // without the language before it
		if _, after, found := strings.Cut(sealed, "."); found {
			return after
		}
		return sealed
	}
	account := browser.Get(h.Base + h.tenant.Path + "/account")
	leaving := browser.Get(h.Base + h.tenant.Path + "/end_session?" + url.Values{"id_token_hint": {tokens.ID}}.Encode())
	return map[string]string{
		"code": code, "refresh": tokens.Refresh, "access": tokens.Access, "id": tokens.ID,
		"session": cookie(browser, "session", h.tenant), "device": cookie(browser, "device", h.tenant), "journey": cookie(browser, "journey", h.tenant),
		"state": bare(state(h.passwordPage(h.Browser(), anaMail))), "account": bare(state(account)), "sign-out": bare(state(leaving)),
	}, browser
}

// sinks are every place that takes something sealed; each tells whether it took
// a value for good, and what it is meant for.
var sinks = []struct {
	name  string
	takes func(h *house, value string) bool
	good  string
}{
	{"code", func(h *house, value string) bool {
		return h.shop.Token(h.Installation, url.Values{"grant_type": {"authorization_code"}, "code": {value}, "code_verifier": {strings.Repeat("a", 43)}}).Status == http.StatusOK
	}, ""},
	{"introspect", func(h *house, value string) bool { return value != "" && h.shop.Active(h.Installation, value) }, "refresh access"},
	{"refresh", func(h *house, value string) bool {
		return h.shop.Token(h.Installation, refreshing(value)).Status == http.StatusOK
	}, "refresh"},
	{"userinfo", func(h *house, value string) bool {
		return h.plain(http.MethodGet, "/userinfo", "", http.Header{"Authorization": {"Bearer " + value}}) == http.StatusOK
	}, "access"},
	{"session cookie", func(h *house, value string) bool {
		b := h.Browser()
		setCookie(b, "session", h.tenant, value)
		return onAccount(b.Get(h.Base + h.tenant.Path + "/account"))
	}, "session"},
	{"session cookie at authorize", func(h *house, value string) bool {
		b := h.Browser()
		setCookie(b, "session", h.tenant, value)
		p := b.Get(h.shop.URL(h.Installation, h.shop.Authorize(url.Values{"prompt": {"none"}})))
		return p.Location != nil && p.Location.Query().Has("code")
	}, "session"},
	{"journey state", func(h *house, value string) bool {
		b := h.Browser()
		h.passwordPage(b, anaMail) // has a journey cookie
		p := b.Post(h.Base+h.tenant.Path+"/journey", url.Values{"state": {"en." + value}, "password": {anaPassword}}, "")
		return p.Status == http.StatusOK || signedIn(p)
	}, ""},
	{"journey cookie", func(h *house, value string) bool {
		b := h.Browser()
		p := h.passwordPage(b, anaMail)
		setCookie(b, "journey", h.tenant, value)
		return signedIn(b.Answer(p, url.Values{"password": {anaPassword}}))
	}, ""},
	{"account form", func(h *house, value string) bool {
		b, _ := h.signIn()
		p := b.Post(h.Base+h.tenant.Path+"/account", url.Values{"state": {value}, "choose": {"sign_out"}}, "")
		return !onAccount(b.Get(h.Base+h.tenant.Path+"/account")) || p.Status < 400
	}, ""},
	{"sign-out form", func(h *house, value string) bool {
		b, _ := h.signIn()
		p := b.Post(h.Base+h.tenant.Path+"/end_session/confirm", url.Values{"state": {value}, "decision": {"sign_out"}}, "")
		return p.Status < 400 && !onAccount(b.Get(h.Base+h.tenant.Path+"/account"))
	}, ""},
}

// SECURITY B5, C9, L6, items 47, 79: every sealed value is good in the one
// place that it was made for, at its own tenant, in the browser that it was
// made in, and nowhere else.
func TestSealedValuesAreGoodInOnePlace(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		mine, theirs := newHouse(t, i, "thyme", nil), newHouse(t, i, "other", nil)
		own, _ := mine.artefacts()
		foreign, _ := theirs.artefacts()
		for _, sink := range sinks {
			for name, value := range own {
				if strings.Contains(" "+sink.good+" ", " "+name+" ") {
					continue
				}
				if sink.takes(mine, value) {
					t.Errorf("%s takes a value of %s", sink.name, name)
				}
			}
			for name, value := range foreign {
				if sink.takes(mine, value) {
					t.Errorf("%s takes another tenant's %s", sink.name, name)
				}
			}
			for name, value := range map[string]string{
				"nothing": "", "letters": strings.Repeat("A", 400), "much": strings.Repeat("A", 20000), "one bit": flip(own["session"]), "dots": "...", "not base64": "!!!",
			} {
				if sink.name != "userinfo" && len(value) > 4000 && strings.Contains(sink.name, "cookie") {
					continue // no header is that long
				}
				if sink.takes(mine, value) {
					t.Errorf("%s takes %s", sink.name, name)
				}
			}
			for _, good := range strings.Fields(sink.good) {
				if !sink.takes(mine, own[good]) {
					t.Errorf("%s does not take a %s", sink.name, good)
				}
				if good != "access" && sink.takes(mine, flip(own[good])) {
					t.Errorf("%s takes a %s with one bit changed", sink.name, good)
				}
			}
		}
	})
}

// flip changes one bit in the middle of a value.
func flip(value string) string {
	if value == "" {
		return "A"
	}
	text := []byte(value)
	at := len(text) / 2
	if text[at] == 'A' {
		text[at] = 'B'
	} else {
		text[at] = 'A'
	}
	return string(text)
}

// DESIGN rule 4: after a backup has been restored nothing from before is good,
// even from the same second.
func TestNothingFromBeforeARestoreIsGood(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		machine := h.machine()
		// The journeys and codes that are open, with all that would let them go on.
		passwordAt, codeAt, signUpAt, consentAt := i.Browser(), i.Browser(), i.Browser(), i.Browser()
		passwordPage := h.passwordPage(passwordAt, anaMail)
		codePage, mailed := h.codePage(codeAt, anaMail, true)
		signUp := h.signUpPage(signUpAt, "new@shop.example")
		signUpCode := i.Code("new@shop.example")
		h.shop.SignIn(i, consentAt, anaMail, anaPassword, nil)
		consent := consentAt.Get(h.recipes.URL(i, h.recipes.Authorize(nil)))
		own, browser := h.artefacts()
		account := browser.Get(i.Base + h.tenant.Path + "/account")
		r, code := h.code(browser, h.shop, nil)
		service := machine.Token(i, url.Values{"grant_type": {"client_credentials"}})
		if !machine.Active(i, service.Access) || !consent.Has("decision") {
			t.Fatal("it is not good to begin with")
		}
		// The backup is of this very moment: all that is good now stands in it.
		i.Restore(i.BackUp())
		if got := h.shop.Token(i, redemption(r, code)); got.Error != "invalid_grant" {
			t.Errorf("a code from before: %+v", got)
		}
		if machine.Active(i, service.Access) {
			t.Error("an application's own token from before is active")
		}
		for _, sink := range sinks {
			for name, value := range own {
				if sink.takes(h, value) {
					t.Errorf("%s takes a %s from before", sink.name, name)
				}
			}
		}
		for name, p := range map[string]*servertest.Page{
			"password": passwordAt.Answer(passwordPage, url.Values{"password": {anaPassword}}),
			"code":     codeAt.Answer(codePage, url.Values{"code": {mailed}}),
			"sign-up":  signUpAt.Answer(signUp, url.Values{"code": {signUpCode}}),
			"consent":  consentAt.Answer(consent, url.Values{"decision": {"allow"}}),
		} {
			if signedIn(p) || p.Status < 400 {
				t.Errorf("a page of %s from before went on: %d %s", name, p.Status, servertest.Text(p.Body))
			}
		}
		if p := browser.Answer(account, url.Values{"choose": {"end_others"}}); p.Status >= 500 || onAccount(p) {
			t.Errorf("the account page from before: %d", p.Status)
		}
		// All of it can be had anew, in the same second too.
		_, again := h.signIn()
		if !h.shop.Active(i, again.Access) || !h.shop.Active(i, again.Refresh) {
			t.Error("tokens from after are not good")
		}
		// A second restore within a second.
		for range 2 {
			if _, err := i.Ring.RaiseEpoch(t.Context(), i.Clock.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if h.shop.Active(i, again.Access) || h.shop.Active(i, again.Refresh) {
			t.Error("tokens from before the second restore are good")
		}
	})
}

// DESIGN rule 3, SECURITY E1, B4, G2: a state goes on in its own browser alone,
// once, in its time, and only while the customer is who he was at the first
// proof; to go back in it gains nothing.
func TestStatesThatAreCrossedFinishedOrRewound(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		h.Customer(h.tenant, "ben@shop.example", anaPassword)
		count := func() int {
			return h.count(`SELECT COUNT(*) FROM session WHERE tenant = $1`, h.tenant.ID)
		}
		refused := func(what string, p *servertest.Page) {
			t.Helper()
			if signedIn(p) || p.Status < 300 && !strings.Contains(strings.ToLower(servertest.Text(p.Body)), "again") || p.Status >= 500 {
				t.Errorf("%s: %d %v %s", what, p.Status, p.Location, servertest.Text(p.Body))
			}
		}
		// Crossed: another browser has the state, with and without a journey of
		// its own, or signed in as somebody else.
		owner := i.Browser()
		p := h.passwordPage(owner, anaMail)
		address, all := owner.Filled(p, url.Values{"password": {anaPassword}})
		thief, busy, ben := i.Browser(), i.Browser(), i.Browser()
		h.passwordPage(busy, "ben@shop.example")
		h.shop.SignIn(i, ben, "ben@shop.example", anaPassword, nil)
		before := count()
		for name, b := range map[string]*servertest.Browser{"an empty browser": thief, "a browser with a journey": busy, "a browser signed in": ben} {
			got, err := b.Do(http.MethodPost, address, all, "")
			if err != nil {
				t.Fatal(err)
			}
			if signedIn(got) || got.Status == http.StatusOK {
				t.Errorf("crossed, %s: %d %s", name, got.Status, servertest.Text(got.Body))
			}
		}
		if count() != before {
			t.Error("a crossed state began a session")
		}
		// E1: what an attacker began and a victim finished tells the attacker nothing.
		attacker := owner.Copy()
		victimDone := owner.Answer(p, url.Values{"password": {anaPassword}})
		if victimDone.Location == nil {
			t.Fatalf("the owner is not signed in: %s", servertest.Text(victimDone.Body))
		}
		if cookie(owner, "journey", h.tenant) == cookie(attacker, "journey", h.tenant) || cookie(owner, "session", h.tenant) == "" {
			t.Error("the journey cookie did not change at the sign-in")
		}
		for _, values := range []url.Values{{}, {"choose": {"again"}}, {"password": {""}}, {"password": {"wrong-password-anyway"}}} {
			got := attacker.Answer(p, values)
			if signedIn(got) || got.Location != nil {
				t.Errorf("the attacker's own handle was signed in by %v", values)
			}
		}
		// Finished: the same answer once more, in the copy that has the old cookies.
		before = count()
		refused("finished", attacker.Answer(p, url.Values{"password": {anaPassword}}))
		if count() != before {
			t.Error("a finished journey began another session")
		}
		// Expired.
		late := i.Browser()
		p = h.passwordPage(late, anaMail)
		i.Clock.Advance(46 * time.Minute)
		refused("expired", late.Answer(p, url.Values{"password": {anaPassword}}))
		// The epoch rose between proof and finish: a page after the proof.
		collecting := newHouse(t, i, "collecting", collectsNickname)
		b := i.Browser()
		p = collecting.passwordPage(b, anaMail)
		if p = b.Answer(p, url.Values{"password": {anaPassword}}); !p.Has("nickname") {
			t.Fatalf("nothing is collected: %s", servertest.Text(p.Body))
		}
		codeB := i.Browser()
		codeP, mailed := collecting.codePage(codeB, anaMail, true)
		codeP = codeB.Answer(codeP, url.Values{"code": {mailed}})
		collecting.write(func(tx *sqldb.Tx) error {
			_, err := i.Directory.RaiseEpoch(tx, collecting.tenant.ID, collecting.ana)
			return err
		})
		for name, got := range map[string]*servertest.Page{"password": b.Answer(p, url.Values{"nickname": {"Annie"}}), "code": codeB.Answer(codeP, url.Values{"nickname": {"Annie"}})} {
			if signedIn(got) || collecting.count(`SELECT COUNT(*) FROM session WHERE tenant = $1`, collecting.tenant.ID) != 0 {
				t.Errorf("a proof by %s from before the epoch rose was taken at the finish", name)
			}
		}
		// Erased between proof and finish.
		b = i.Browser()
		p = b.Answer(collecting.passwordPage(b, anaMail), url.Values{"password": {anaPassword}})
		if !p.Has("nickname") {
			t.Fatalf("nothing is collected: %s", servertest.Text(p.Body))
		}
		if err := i.Directory.Erase(t.Context(), collecting.tenant.ID, collecting.ana, "test"); err != nil {
			t.Fatal(err)
		}
		if got := b.Answer(p, url.Values{"nickname": {"Annie"}}); signedIn(got) || got.Status >= 500 {
			t.Errorf("an erased customer's proof led to %d %s", got.Status, servertest.Text(got.Body))
		}
	})
}

// To go back in a journey gains no guess, no message, no proof.
func TestRewoundStatesGainNothing(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", collectsNickname)
		// Guesses at one code, each from the page as it first was.
		b := i.Browser()
		p, mailed := h.codePage(b, anaMail, true)
		wrong := "000000"
		if mailed == wrong {
			wrong = "111111"
		}
		for range 5 {
			b.Answer(p, url.Values{"code": {wrong}})
		}
		if got := b.Answer(p, url.Values{"code": {mailed}}); signedIn(got) || got.Has("nickname") {
			t.Error("the sixth guess was taken from a page that was gone back to")
		}
		// A code that was answered is answered again, but buys one finish.
		b = i.Browser()
		codeP, mailed := h.codePage(b, anaMail, true)
		first := b.Answer(codeP, url.Values{"code": {mailed}})
		second := b.Answer(codeP, url.Values{"code": {mailed}})
		thief := b.Copy()
		if got := b.Answer(first, url.Values{"nickname": {"Annie"}}); got.Location == nil {
			t.Fatalf("the first finish: %s", servertest.Text(got.Body))
		}
		for name, p := range map[string]*servertest.Page{"the same": first, "the one gone back for": second, "the code's": codeP} {
			for _, values := range []url.Values{{"nickname": {"Annie"}}, {"code": {mailed}}} {
				if got := thief.Answer(p, values); signedIn(got) {
					t.Errorf("%s page began a second session", name)
				}
			}
		}
		if n := h.count(`SELECT COUNT(*) FROM session WHERE tenant = $1`, h.tenant.ID); n != 1 {
			t.Errorf("one code began %d sessions", n)
		}
		// A proof of one address is none of another: back to identify, on with V's.
		h.Customer(h.tenant, "ben@shop.example", anaPassword)
		b = i.Browser()
		p, mailed = h.codePage(b, "ben@shop.example", true)
		proved := b.Answer(p, url.Values{"code": {mailed}})
		if !proved.Has("nickname") {
			t.Fatalf("no proof: %s", servertest.Text(proved.Body))
		}
		back := b.Answer(p, url.Values{"choose": {"back"}})
		other := b.Answer(back, url.Values{"identifier": {anaMail}})
		for _, values := range []url.Values{{"code": {mailed}}, {"nickname": {"x"}}, {"choose": {"skip"}}, {"new_password": {anaPassword}}, {"decision": {"allow"}}} {
			if got := b.Answer(other, values); signedIn(got) || got.Has("nickname") || got.Has("new_password") {
				t.Errorf("the proof of one address went on with another by %v", values)
			}
		}
		onCode := b.Answer(other, url.Values{"choose": {"code"}})
		if got := b.Answer(onCode, url.Values{"code": {mailed}}); signedIn(got) || got.Has("nickname") {
			t.Error("the code of one address was taken for another")
		}
		// G2: no page of the sign-up is had without the code before it.
		b = i.Browser()
		up := h.signUpPage(b, "new@shop.example")
		for _, values := range []url.Values{{"new_password": {anaPassword}}, {"choose": {"skip"}}, {"choose": {"chosen"}}, {"choose": {"known"}}, {"choose": {"unknown"}},
			{"nickname": {"x"}}, {"decision": {"allow"}}, {"choose": {"password"}, "new_password": {anaPassword}}, {"choose": {"correct"}}} {
			if got := b.Answer(up, values); signedIn(got) || got.Has("new_password") || got.Has("nickname") {
				t.Errorf("without the code %v led to %s", values, servertest.Text(got.Body))
			}
		}
		if n := h.count(`SELECT COUNT(*) FROM customer WHERE tenant = $1`, h.tenant.ID); n != 2 {
			t.Errorf("there are %d accounts", n)
		}
	})
}
