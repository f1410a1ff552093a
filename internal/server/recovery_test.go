package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const newPassword = "velvet ladder beside the lighthouse"

// recoveryPage goes from the page that asks for the password to the one that
// asks for the code of a recovery.
func (h *house) recoveryPage(b *servertest.Browser, address string) *servertest.Page {
	h.t.Helper()
	p := b.Answer(h.passwordPage(b, address), url.Values{"choose": {"recover"}})
	if !strings.Contains(p.Body, `value="`+address+`"`) {
		h.t.Fatalf("the address is not kept: %s", servertest.Text(p.Body))
	}
	p = b.Answer(p, url.Values{"identifier": {address}})
	if !p.Has("code") {
		h.t.Fatalf("no code is asked for: %s", servertest.Text(p.Body))
	}
	return p
}

// provenPage goes on to the page that asks for the new password.
func (h *house) provenPage(b *servertest.Browser, address string) *servertest.Page {
	h.t.Helper()
	before := h.Newest(address)
	p := h.recoveryPage(b, address)
	p = b.Answer(p, url.Values{"code": {h.CodeAfter(address, before)}})
	if !p.Has("new_password") {
		h.t.Fatalf("no password is asked for: %s", servertest.Text(p.Body))
	}
	return p
}

// noticeTo waits for a message by its subject.
func (h *house) noticeTo(address, subject string) notify.Letter {
	h.t.Helper()
	for range 500 {
		letters, err := h.Inbox.List(h.t.Context(), address, "", 20)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, letter := range letters {
			if strings.Contains(letter.Subject, subject) {
				return letter
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	h.t.Fatalf("%s was not told %q", address, subject)
	return notify.Letter{}
}

// Statements 23, 24, 40 and the "afterwards every older proof is dead":
// on each engine, and on two nodes, whatever let somebody in before a recovery
// lets nobody in after it, and the recovery goes on to the application.
func TestRecoveryEndsEveryOlderProofOnTwoNodes(t *testing.T) {
	t.Parallel()
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		h := newHouse(t, nodes[0], "thyme", collectsNickname)
		other := h.at(nodes[len(nodes)-1])
		// One browser goes through the nickname, so that sign-ins after it end at once.
		first := h.Browser()
		p := first.Answer(h.passwordPage(first, anaMail), url.Values{"password": {anaPassword}})
		first.Answer(p, url.Values{"nickname": {"Annie"}})
		signedInBrowser, tokens := h.signIn()
		offline := h.shop.SignIn(h.Installation, first, anaMail, anaPassword, url.Values{"scope": {"openid offline_access"}})
		if offline.Refresh == "" {
			t.Fatalf("no lineage: %+v", offline)
		}
		unredeemed, code := h.code(first, h.shop, nil)
		// What is under way elsewhere: a code that was sent, one that was proved, a
		// password that was proved, another recovery that only has to be finished.
		sent := h.Browser()
		sentPage, sentCode := h.codePage(sent, anaMail, true)
		recovering := h.Browser()
		recoveringPage := h.provenPage(recovering, anaMail)
		again := h.Browser()
		before := h.Newest(anaMail)
		againPage := h.recoveryPage(again, anaMail)
		againCode := h.CodeAfter(anaMail, before)
		device := cookie(first, "device", h.tenant)

		b := h.Browser()
		r := h.shop.Authorize(nil)
		p = b.Answer(b.Get(h.shop.URL(h.Installation, r)), url.Values{"identifier": {anaMail}})
		p = b.Answer(p, url.Values{"choose": {"recover"}})
		before = h.Newest(anaMail)
		p = b.Answer(p, url.Values{"identifier": {anaMail}})
		p = b.Answer(p, url.Values{"code": {h.CodeAfter(anaMail, before)}})
		if weak := b.Answer(p, url.Values{"new_password": {"passwordpassword"}}); !weak.Has("new_password") {
			t.Error("a weak password was taken")
		}
		proved, replay := p, b.Copy()
		p = b.Answer(p, url.Values{"new_password": {newPassword}})
		fresh := h.shop.Redeem(h.Installation, r, p)
		if fresh.Status != http.StatusOK {
			t.Fatalf("the recovery does not go on to the application: %+v", fresh)
		}

		for name, node := range map[string]*house{"this node": h, "the other": other} {
			for who, browser := range map[string]*servertest.Browser{"another browser": signedInBrowser, "the first": first} {
				if onAccount(browser.Get(node.Base + h.tenant.Path + "/account")) {
					t.Errorf("%s, %s: the session outlives the recovery", name, who)
				}
			}
			for what, old := range map[string]servertest.Tokens{"tokens": tokens, "offline tokens": offline} {
				if h.shop.Active(node.Installation, old.Access) {
					t.Errorf("%s: %s are active", name, what)
				}
				if got := h.shop.Token(node.Installation, refreshing(old.Refresh)); old.Refresh != "" && got.Status == http.StatusOK {
					t.Errorf("%s: %s are refreshed", name, what)
				}
			}
			if got := h.shop.Token(node.Installation, redemption(unredeemed, code)); got.Status == http.StatusOK {
				t.Errorf("%s: an authorization code is redeemed", name)
			}
			for what, answered := range map[string]*servertest.Page{
				"a code that was sent":          sent.Answer(sentPage, url.Values{"code": {sentCode}}),
				"the code of another recovery":  again.Answer(againPage, url.Values{"code": {againCode}}),
				"a recovery that was proved":    recovering.Answer(recoveringPage, url.Values{"new_password": {"the thief's own words at last"}}),
				"the recovery itself once more": replay.Answer(proved, url.Values{"new_password": {"the thief's own words at last"}}),
			} {
				if signedIn(answered) || answered.Has("new_password") {
					t.Errorf("%s: %s still proves something: %s", name, what, servertest.Text(answered.Body))
				}
			}
			if !h.shop.Active(node.Installation, fresh.Access) {
				t.Errorf("%s: the new tokens are not good", name)
			}
			if !onAccount(b.Get(node.Base + h.tenant.Path + "/account")) {
				t.Errorf("%s: the new session is not good", name)
			}
			stranger := node.Browser()
			if p := stranger.Answer(node.passwordPage(stranger, anaMail), url.Values{"password": {anaPassword}}); signedIn(p) {
				t.Errorf("%s: the old password is good", name)
			}
			if p := stranger.Answer(node.passwordPage(stranger, anaMail), url.Values{"password": {newPassword}}); !signedIn(p) {
				t.Errorf("%s: the new password is not: %s", name, servertest.Text(p.Body))
			}
		}
		if known, _, err := h.Sessions.Known(t.Context(), h.tenant.ID, device, h.ana, h.epoch()); err != nil || known != "" {
			t.Errorf("the device cookie from before knows ana as %q, %v", known, err)
		}
		if known, _, err := h.Sessions.Known(t.Context(), h.tenant.ID, cookie(b, "device", h.tenant), h.ana, h.epoch()); err != nil || known == "" {
			t.Errorf("the device cookie of the recovery is worth nothing: %v", err)
		}
		if n := h.count(`SELECT COUNT(*) FROM event WHERE tenant = $1 AND type = 'customer.password.recovered'`, h.tenant.ID); n != 1 {
			t.Errorf("%d events of a recovery", n)
		}
		h.noticeTo(anaMail, "password was changed")
	})
}

func (h *house) epoch() int64 {
	h.t.Helper()
	state, err := h.Directory.State(h.t.Context(), h.tenant.ID, h.ana)
	if err != nil {
		h.t.Fatal(err)
	}
	return state.Epoch
}

// SECURITY G3: of all who finish one recovery at once, one gets a session.
func TestTwoNodesRaceForARecovery(t *testing.T) {
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		h := newHouse(t, nodes[0], "thyme", nil)
		b := h.Browser()
		p := h.recoveryPage(b, anaMail)
		proof := b.Answer(p, url.Values{"code": {h.Code(anaMail)}})
		var won atomic.Int32
		atOnce(contenders, func(k int) {
			at := *proof
			address, _ := url.Parse(strings.Replace(proof.URL.String(), nodes[0].Base, nodes[k%len(nodes)].Base, 1))
			at.URL = address
			answered, err := b.TryAnswer(&at, url.Values{"new_password": {newPassword}})
			if err != nil {
				t.Error(err)
				return
			}
			if signedIn(answered) {
				won.Add(1)
			}
		})
		if won.Load() != 1 {
			t.Errorf("%d of %d finished one recovery", won.Load(), contenders)
		}
		if n := h.count(`SELECT COUNT(*) FROM session WHERE tenant = $1 AND customer = $2`, h.tenant.ID, h.ana); n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

// SECURITY G2: without its code no answer to any page, one that is rewound or
// another journey's included, shows the form for a new password or sets one.
func TestNoWayToANewPasswordButTheCode(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", func(s *tenant.Settings) { collectsNickname(s); s.Limits.SendPerHour = 100 })
		b := i.Browser()
		var pages []*servertest.Page
		for _, path := range []string{"/recover", "/recover?login_hint=" + url.QueryEscape(anaMail), "/recover?step=new-password&code=1", "/sign-in", "/sign-up"} {
			pages = append(pages, b.Get(i.Base+h.tenant.Path+path))
		}
		mailed, mailedCode := h.codePage(b, anaMail, true)
		pages = append(pages, h.passwordPage(b, anaMail), h.recoveryPage(b, anaMail), mailed)
		// Proved in another way: by the password, and by a code for signing in.
		pages = append(pages, b.Answer(h.passwordPage(b, anaMail), url.Values{"password": {anaPassword}}), b.Answer(mailed, url.Values{"code": {mailedCode}}))
		seen := map[string]bool{}
		for depth := 0; depth < 2; depth++ {
			var next []*servertest.Page
			for _, p := range pages {
				if len(p.Forms) == 0 || p.Forms[0].Hidden.Get("state") == "" {
					continue
				}
				for _, values := range []url.Values{
					{"choose": {"recover"}}, {"choose": {"back"}}, {"choose": {"restart"}}, {"choose": {"skip"}}, {"choose": {"code"}}, {"choose": {"password"}},
					{"choose": {"known"}}, {"choose": {"sign-in"}}, {"choose": {"chosen"}}, {"choose": {"create"}}, {"choose": {"again"}},
					{"identifier": {anaMail}}, {"new_password": {newPassword}}, {"new_password": {newPassword}, "step": {"new-password"}, "purpose": {"recovery"}},
					{"new_password": {newPassword}, "identifier": {anaMail}, "code": {"x"}}, {"code": {""}, "new_password": {newPassword}}, {"lang": {"ar"}},
				} {
					answered := b.Answer(p, values)
					if answered.Has("new_password") {
						t.Fatalf("%v shows the form for a new password: %s", values, servertest.Text(answered.Body))
					}
					if key := servertest.Text(answered.Body); depth == 0 && !seen[key] {
						seen[key] = true
						next = append(next, answered)
					}
				}
			}
			pages = next
		}
		if n := h.count(`SELECT COUNT(*) FROM event WHERE tenant = $1 AND type IN ('password.changed', 'customer.password.recovered')`, h.tenant.ID); n != 0 {
			t.Errorf("a password was set without the code: %d events", n)
		}
		// A code for signing in is none for recovery, and the other way round.
		before := h.Newest(anaMail)
		r := h.recoveryPage(b, anaMail)
		h.CodeAfter(anaMail, before) // the recovery's own has come
		_, other := h.codePage(i.Browser(), anaMail, true)
		if p := b.Answer(r, url.Values{"code": {other}}); p.Has("new_password") {
			t.Error("a code for signing in opened a recovery")
		}
	})
}

// What is proved but is no open account: nobody, a locked one, one without a
// password. Before the proof they are all the same: see
// TestNoStepTellsWhetherThereIsAnAccount.
func TestWhoRecoversWhat(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		closed := newHouse(t, i, "shut", func(s *tenant.Settings) { s.SignUp.Enabled = false })
		prove := func(h *house, address string) (*servertest.Browser, *servertest.Page) {
			b := h.Browser()
			before := h.Newest(address)
			p := h.recoveryPage(b, address)
			return b, b.Answer(p, url.Values{"code": {h.CodeAfter(address, before)}})
		}
		b, p := prove(h, "new@shop.example")
		if p.Has("new_password") || !strings.Contains(p.Body, "No account with this address") {
			t.Errorf("nobody is told nothing: %s", servertest.Text(p.Body))
		}
		if p = b.Answer(b.Answer(p, nil), url.Values{"new_password": {newPassword}}); !signedIn(p) {
			t.Errorf("what was proved does not open an account: %s", servertest.Text(p.Body))
		}
		if _, p = prove(closed, "none@shop.example"); len(p.Forms) != 0 || !strings.Contains(p.Body, "no account with this address") {
			t.Errorf("where accounts are not opened: %s", servertest.Text(p.Body))
		}
		for address, status := range map[string]customer.Status{"eve@shop.example": customer.Locked, "kim@shop.example": customer.Suspended} {
			who := h.Customer(h.tenant, address, anaPassword)
			if err := i.Directory.SetStatus(t.Context(), h.tenant.ID, who, status, "test", "test"); err != nil {
				t.Fatal(err)
			}
			if _, p = prove(h, address); len(p.Forms) != 0 || !strings.Contains(p.Body, "closed to sign-ins") {
				t.Errorf("%s: %s", status, servertest.Text(p.Body))
			}
			if state, err := i.Directory.State(t.Context(), h.tenant.ID, who); err != nil || state.Status != status {
				t.Errorf("recovery made %s %s, %v", status, state.Status, err)
			}
		}
		h.Customer(h.tenant, "ben@shop.example", "")
		b, p = prove(h, "ben@shop.example")
		if letter := h.noticeTo("ben@shop.example", "new"); !strings.Contains(letter.Text, "has no password") {
			t.Errorf("who has no password is told %q", letter.Text)
		}
		if skipped := b.Answer(p, url.Values{"choose": {"skip"}}); !signedIn(skipped) {
			t.Errorf("who has no password may not go without: %s", servertest.Text(skipped.Body))
		}
		b = h.Browser()
		p = h.provenPage(b, anaMail)
		if p = b.Answer(p, url.Values{"choose": {"skip"}}); signedIn(p) {
			t.Error("who has a password skips it")
		}
	})
}

// SECURITY G4: a code is dead once the password, an address or the status has
// changed since it was sent.
func TestCodesDieWithWhatTheyWereSentFor(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		b := i.Browser()
		p := h.recoveryPage(b, anaMail)
		code := h.Code(anaMail)
		h.write(func(tx *sqldb.Tx) error { _, err := i.Directory.RaiseEpoch(tx, h.tenant.ID, h.ana); return err })
		if p = b.Answer(p, url.Values{"code": {code}}); p.Has("new_password") || !strings.Contains(p.Body, "has expired") {
			t.Errorf("the code from before still opens: %s", servertest.Text(p.Body))
		}
	})
}

// SECURITY A5, G1: nothing that a request says of hosts gets into a message.
func TestRecoveryLinksKeepTheirHost(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		b := i.Browser()
		for name, value := range map[string]string{"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "Forwarded": "host=evil.example;proto=http", "Referer": "https://evil.example/", "X-Original-Host": "evil.example"} {
			b.Header.Set(name, value)
		}
		p := b.Get(i.Base + h.tenant.Path + "/recover?login_hint=" + url.QueryEscape(anaMail) + "&redirect_uri=https://evil.example&return_to=//evil.example")
		p = b.Answer(p, url.Values{"identifier": {anaMail}, "redirect_uri": {"https://evil.example"}, "return_to": {"https://evil.example"}})
		p = b.Answer(p, url.Values{"code": {h.Code(anaMail)}, "return_to": {"https://evil.example"}})
		p = b.Answer(p, url.Values{"new_password": {newPassword}, "return_to": {"https://evil.example"}})
		if !onAccount(p) || !strings.Contains(p.Body, "Your password is saved") {
			t.Errorf("the recovery ended at %v: %s", p.URL, servertest.Text(p.Body))
		}
		h.noticeTo(anaMail, "password was changed")
		letters, err := i.Inbox.List(t.Context(), "", "", 20)
		if err != nil || len(letters) != 2 {
			t.Fatalf("%d letters, %v", len(letters), err)
		}
		for _, letter := range letters {
			if strings.Contains(letter.Text+letter.HTML+letter.Subject, "evil") {
				t.Errorf("the message names a stranger's host: %s", letter.Text)
			}
		}
	})
}

// recovered sets ana's password anew and returns the link of the notice.
func (h *house) recovered() string {
	h.t.Helper()
	b := h.Browser()
	if p := b.Answer(h.provenPage(b, anaMail), url.Values{"new_password": {newPassword}}); !signedIn(p) {
		h.t.Fatalf("no recovery: %s", servertest.Text(p.Body))
	}
	return h.linkIn(h.noticeTo(anaMail, "password was changed"))
}

func (h *house) linkIn(letter notify.Letter) string {
	h.t.Helper()
	for _, link := range letter.Links {
		if strings.HasPrefix(link, h.tenant.URL("/not-me")+"?link=") {
			return link
		}
	}
	h.t.Fatalf("no link in %q", letter.Text)
	return ""
}

// "This wasn't me": opening the link, however often and by whatever method,
// writes nothing; its button signs everybody out, takes the password away and
// leads into a recovery, which needs the mailed code as ever. Then the link is
// used up, on every node.
func TestNoticesLinkSignsEverybodyOut(t *testing.T) {
	t.Parallel()
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		h := newHouse(t, nodes[0], "thyme", nil)
		other := newHouse(t, nodes[0], "basil", nil)
		last := nodes[len(nodes)-1]
		link := h.recovered()
		thief := h.Browser()
		tokens := h.shop.SignIn(h.Installation, thief, anaMail, newPassword, nil)
		if stored := h.count(`SELECT COUNT(*) FROM challenge_link WHERE tenant = $1 AND expires_at > 0`, h.tenant.ID); stored != 2 { // of the recovery, and of the sign-in on a new device
			t.Fatalf("%d links are stored", stored)
		}

		h.noticeTo(anaMail, "New sign-in") // it is delivered before rows are counted
		before := h.Count()
		mail := h.Browser()
		var page *servertest.Page
		for range 3 {
			page = mail.Get(link)
		}
		if status, _, _ := send(t, http.MethodHead, link, "", nil); status >= 500 {
			t.Errorf("HEAD answered %d", status)
		}
		for table, n := range h.Count() {
			// Events of before are given their positions meanwhile.
			if n != before[table] && table != "event_pending" && table != "event_position" {
				t.Errorf("opening the link wrote %d rows into %s", n-before[table], table)
			}
		}
		if page.Status != http.StatusOK || !page.Has("decision") || !onAccount(thief.Get(h.Base+h.tenant.Path+"/account")) {
			t.Fatalf("the link shows %d %s", page.Status, servertest.Text(page.Body))
		}
		// What is none of ours, or another tenant's.
		elsewhere := strings.Replace(link, h.tenant.Path, other.tenant.Path, 1)
		for what, forged := range map[string]string{"another tenant": elsewhere, "cut": link[:len(link)-3], "longer": link + "AAAA", "empty": h.tenant.URL("/not-me"), "huge": h.tenant.URL("/not-me") + "?link=" + strings.Repeat("A", 5000)} {
			b := h.Browser()
			p := b.Get(forged)
			if p.Status != http.StatusGone || p.Has("decision") {
				t.Errorf("%s: %d %s", what, p.Status, servertest.Text(p.Body))
			}
			if p = b.Answer(p, url.Values{"decision": {"secure"}}); p.Status != http.StatusGone {
				t.Errorf("%s, all the same: %d", what, p.Status)
			}
		}
		// A page of another's cannot press the button.
		action, filled := mail.Filled(page, url.Values{"decision": {"secure"}})
		if p := mail.Post(action, filled, "https://evil.example"); p.Status != http.StatusForbidden {
			t.Errorf("another site pressed it: %d", p.Status)
		}
		// One who has opened the link before, in another browser, on another node.
		late := last.Browser()
		latePage := late.Get(strings.Replace(link, h.Base, last.Base, 1))

		p := mail.Answer(page, url.Values{"decision": {"secure"}})
		if !p.Has("identifier") || p.Has("new_password") || signedIn(p) || !strings.Contains(p.Body, `value="`+anaMail+`"`) || !strings.Contains(p.Body, "Everybody is signed out") {
			t.Fatalf("it leads to %s", servertest.Text(p.Body))
		}
		for _, node := range nodes {
			if onAccount(thief.Get(node.Base+h.tenant.Path+"/account")) || h.shop.Active(node, tokens.Access) || h.shop.Token(node, refreshing(tokens.Refresh)).Status == http.StatusOK {
				t.Error("the thief is still in")
			}
			at := h.at(node)
			b := node.Browser()
			for _, password := range []string{newPassword, anaPassword} {
				if signedIn(b.Answer(at.passwordPage(b, anaMail), url.Values{"password": {password}})) {
					t.Errorf("%q lets in", password)
				}
			}
		}
		for what, again := range map[string]*servertest.Page{
			"opened again": h.Browser().Get(link), "the page from before": late.Answer(latePage, url.Values{"decision": {"secure"}}),
			"the same page again": mail.Answer(page, url.Values{"decision": {"secure"}}),
		} {
			if again.Status != http.StatusGone || again.Has("decision") {
				t.Errorf("%s: %d %s", what, again.Status, servertest.Text(again.Body))
			}
		}
		h.noticeTo(anaMail, "signed out everywhere")
		// The owner comes back in by the code.
		newest := h.Newest(anaMail)
		p = mail.Answer(p, url.Values{"identifier": {anaMail}})
		if p.Has("new_password") || !p.Has("code") {
			t.Fatalf("no code is asked for: %s", servertest.Text(p.Body))
		}
		p = mail.Answer(p, url.Values{"code": {h.CodeAfter(anaMail, newest)}})
		if p = mail.Answer(p, url.Values{"new_password": {"a third one that nobody else has"}}); !onAccount(p) {
			t.Errorf("the owner does not come back: %s", servertest.Text(p.Body))
		}
	})
}

// Of all who press the button at once, on all nodes, one does it; and a link
// that is a week old does nothing.
func TestTwoNodesRaceForALink(t *testing.T) {
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		h := newHouse(t, nodes[0], "thyme", nil)
		link := h.recovered()
		browsers, pages := make([]*servertest.Browser, 16), make([]*servertest.Page, 16)
		for k := range browsers {
			node := nodes[k%len(nodes)]
			browsers[k] = node.Browser()
			pages[k] = browsers[k].Get(strings.Replace(link, h.Base, node.Base, 1))
		}
		var won atomic.Int32
		atOnce(len(browsers), func(k int) {
			p, err := browsers[k].TryAnswer(pages[k], url.Values{"decision": {"secure"}})
			if err != nil {
				t.Error(err)
			} else if p.Has("identifier") {
				won.Add(1)
			}
		})
		if won.Load() != 1 {
			t.Errorf("%d of %d used one link", won.Load(), len(browsers))
		}
		if n := h.count(`SELECT COUNT(*) FROM event WHERE tenant = $1 AND type = 'customer.disowned'`, h.tenant.ID); n != 1 {
			t.Errorf("%d events", n)
		}
		h.write(func(tx *sqldb.Tx) error {
			_, err := tx.Exec(`UPDATE challenge_link SET spent_at = 0, expires_at = $1`, tx.Now().Add(-time.Second))
			return err
		})
		if p := h.Browser().Get(link); p.Status != http.StatusGone || p.Has("decision") {
			t.Errorf("a link that has expired shows %d", p.Status)
		}
	})
}
