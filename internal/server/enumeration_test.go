package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// SECURITY J1, item 26: at every step of every journey, up to the limits and
// beyond, an address that has an account, of whatever kind and state, is
// answered as one that has none.
func TestNoStepTellsWhetherThereIsAnAccount(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", func(s *tenant.Settings) {
			s.Limits.PasswordPerHour, s.Limits.SendPerHour, s.Limits.CodePerHour = 4, 5, 5
		})
		h.Customer(h.tenant, "ben@shop.example", "")
		for address, status := range map[string]customer.Status{"eve@shop.example": customer.Locked, "kim@shop.example": customer.Suspended, "dov@shop.example": customer.Dormant, "lou@shop.example": customer.Closed} {
			if err := i.Directory.SetStatus(t.Context(), h.tenant.ID, h.Customer(h.tenant, address, anaPassword), status, "test", "test"); err != nil {
				t.Fatal(err)
			}
		}
		if err := i.Directory.Erase(t.Context(), h.tenant.ID, h.Customer(h.tenant, "joy@shop.example", anaPassword), "test"); err != nil {
			t.Fatal(err)
		}
		h.squatter("sly@shop.example")
		if _, _, err := i.Directory.Invite(t.Context(), customer.NewCustomer{Tenant: h.tenant.ID, Actor: "test",
			Identifiers: []customer.NewIdentifier{{Normalised: normal(t, "gus@shop.example")}}}); err != nil {
			t.Fatal(err)
		}
		firm := &company{h}
		acme := firm.organization("acme")
		addresses := []string{anaMail, "ben@shop.example", "eve@shop.example", "kim@shop.example", "joy@shop.example", "sly@shop.example", "who@shop.example", "new@shop.example", "dov@shop.example", "lou@shop.example", "gus@shop.example"}
		seen := map[string]map[string][]string{} // step → what was shown → to whom
		note := func(step, address string, p *servertest.Page) *servertest.Page {
			text := p.Body
			var states []string
			for _, form := range p.Forms {
				if state := form.Hidden.Get("state"); state != "" {
					states = append(states, fmt.Sprint(len(state)))
					text = strings.ReplaceAll(text, state, "STATE")
				}
			}
			text = strings.ReplaceAll(text, "<wbr>", "")
			name, _, _ := strings.Cut(address, "@")
			text = strings.ReplaceAll(text, name+"@", "NAME@")
			text = untilWhen.ReplaceAllString(text, "TIME")
			header := p.Header.Clone()
			for _, varies := range []string{"Date", "X-Request-Id", "Retry-After"} {
				header.Del(varies)
			}
			var cookies []string
			for _, c := range header["Set-Cookie"] {
				name, value, _ := strings.Cut(c, "=")
				cookies = append(cookies, name, fmt.Sprint(len(value)))
			}
			header["Set-Cookie"] = cookies
			shown := fmt.Sprint(p.Status, header, states, text)
			if seen[step] == nil {
				seen[step] = map[string][]string{}
			}
			seen[step][shown] = append(seen[step][shown], address)
			return p
		}
		for _, address := range addresses {
			// Whoever has come by somebody's invitation learns nothing of the account either.
			b := i.Browser()
			asked := note("invitation", address, b.Get(firm.invite(acme, address, "member")))
			joining := note("invitation, code", address, b.Answer(asked, url.Values{"decision": {"continue"}}))
			note("invitation, code wrong", address, b.Answer(joining, url.Values{"code": {"x"}}))
			note("invitation, password", address, b.Answer(joining, url.Values{"choose": {"password"}}))
			b = i.Browser()
			p := note("identify", address, h.passwordPage(b, address))
			note("recovery, code", address, h.recoveryPage(b, address))
			note("password left empty", address, b.Answer(p, url.Values{"password": {""}}))
			for range 5 {
				note("password wrong or limited", address, b.Answer(p, url.Values{"password": {"not-the-password-of-any"}}))
			}
			note("password limited", address, b.Answer(p, url.Values{"password": {anaPassword}}))
			c := note("code", address, b.Answer(p, url.Values{"choose": {"code"}}))
			note("code sent again", address, b.Answer(c, url.Values{"choose": {"resend"}}))
			note("code left empty", address, b.Answer(c, url.Values{"code": {""}}))
			for range 3 {
				note("code wrong", address, b.Answer(c, url.Values{"code": {"x"}}))
			}
			b = i.Browser()
			up := b.Answer(b.Get(h.shop.URL(i, h.shop.Authorize(nil))), url.Values{"choose": {"create"}})
			up = note("sign-up", address, b.Answer(up, url.Values{"identifier": {address}}))
			note("sign-up, sent too often", address, b.Answer(up, url.Values{"choose": {"resend"}}))
			note("sign-up, code wrong", address, b.Answer(up, url.Values{"code": {"x"}}))
			note("sign-up, code limited", address, b.Answer(up, url.Values{"code": {"x"}}))
			b = i.Browser()
			forgot := b.Answer(h.passwordPage(b, address), url.Values{"choose": {"recover"}})
			note("recovery, sent too often", address, b.Answer(note("recovery", address, forgot), url.Values{"identifier": {address}}))
			note("recovery, hint", address, i.Browser().Get(h.tenant.URL("/recover")+"?"+url.Values{"login_hint": {address}}.Encode()))
			note("hint", address, i.Browser().Get(h.shop.URL(i, h.shop.Authorize(url.Values{"login_hint": {address}}))))
		}
		for step, shown := range seen {
			want := 1
			if step == "password wrong or limited" {
				want = 2
			}
			if len(shown) != want {
				var told [][]string
				var texts []string
				for text, to := range shown {
					told, texts = append(told, to), append(texts, text)
				}
				t.Errorf("%s tells apart %v:\n%s", step, told, difference(texts))
			}
		}
	})
}

// untilWhen is when a limit ends, an hour after it was met, or an invitation.
var untilWhen = regexp.MustCompile(`<time.*?</time>|<bdi>[^<]* 20\d\d</bdi>, <bdi>[^<]*</bdi> UTC`)

// difference is where the first two of several texts part.
func difference(texts []string) string {
	if len(texts) < 2 {
		return ""
	}
	a, b := texts[0], texts[1]
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	part := func(s string) string { return s[max(0, at-80):min(len(s), at+160)] }
	return part(a) + "\n---\n" + part(b)
}

// SECURITY J3: nothing lists customers, sessions or applications to strangers.
func TestStrangersListNothing(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, "sqlite")
	h := newHouse(t, i, "thyme", nil)
	for _, path := range []string{"/customers", "/users", "/Users", "/admin", "/api", "/debug/pprof/", "/metrics", "/dev/inbox", "/dev/inbox.json", "/register", "/clients", "/.env", "/t/other/", "/assets/", "/assets/../routes.go", "/assets/%2e%2e/x"} {
		for _, base := range []string{i.Base + h.tenant.Path, i.Base} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
				if status, _, body := send(t, method, base+path, "", nil); status < 400 && status != http.StatusTemporaryRedirect || status >= 500 {
					t.Errorf("%s %s answered %d %.200s", method, base+path, status, body)
				}
			}
		}
	}
}
