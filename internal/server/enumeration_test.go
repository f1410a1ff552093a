package server_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// SECURITY J1, item 26: at every step of every journey, up to the limits and
// beyond, an address that has an account, of whatever kind and state, is
// answered as one that has none.
func TestNoStepTellsWhetherThereIsAnAccount(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", func(s *tenant.Settings) {
			s.Limits.PasswordPerHour, s.Limits.SendPerHour, s.Limits.CodePerHour = 4, 4, 4
		})
		h.Customer(h.tenant, "ben@shop.example", "")
		for address, status := range map[string]customer.Status{"eve@shop.example": customer.Locked, "kim@shop.example": customer.Suspended} {
			if err := i.Directory.SetStatus(t.Context(), h.tenant.ID, h.Customer(h.tenant, address, anaPassword), status, "test", "test"); err != nil {
				t.Fatal(err)
			}
		}
		if err := i.Directory.Erase(t.Context(), h.tenant.ID, h.Customer(h.tenant, "joy@shop.example", anaPassword), "test"); err != nil {
			t.Fatal(err)
		}
		h.squatter("sly@shop.example")
		addresses := []string{anaMail, "ben@shop.example", "eve@shop.example", "kim@shop.example", "joy@shop.example", "sly@shop.example", "who@shop.example", "new@shop.example"}
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
			b := i.Browser()
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

// untilWhen is when a limit ends: an hour after it was met.
var untilWhen = regexp.MustCompile(`<time.*?</time>`)

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

// SECURITY J2: the time that an answer takes does not tell either. Machines
// are shared, so that it is measured only where CARDEA_TIMING is set: by make
// timing, which fails where the area under the ROC curve is over 0.60.
func TestTimingTellsNothing(t *testing.T) {
	if os.Getenv("CARDEA_TIMING") == "" {
		t.Skip("measured by make timing")
	}
	const samples, people = 300, 50
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", func(s *tenant.Settings) {
			s.Limits.PasswordPerHour, s.Limits.PasswordTotal, s.Limits.SendPerHour = 100, 100, 100
			// Whatever is asked after a proof must take no time before it.
			collectsNickname(s)
			s.Terms = tenant.Terms{Version: "1", Documents: []tenant.Document{{Title: map[string]string{"en": "Terms"}, URL: "https://shop.example/terms"}}}
		})
		nameOf := func(address string) string { name, _, _ := strings.Cut(address, "@"); return name }
		kinds := []string{"unknown", "known", "locked", "passwordless"}
		addresses := map[string][]string{}
		for n := range people {
			for _, kind := range kinds {
				address := fmt.Sprintf("%.5s%03d@shop.example", kind, n)
				addresses[kind] = append(addresses[kind], address)
				switch kind {
				case "known":
					h.named(h.Customer(h.tenant, address, anaPassword), nameOf(address))
				case "passwordless":
					h.named(h.Customer(h.tenant, address, ""), nameOf(address))
				case "locked":
					who := h.Customer(h.tenant, address, anaPassword)
					h.named(who, nameOf(address))
					if err := i.Directory.SetStatus(t.Context(), h.tenant.ID, who, customer.Locked, "test", "test"); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		b := i.Browser()
		first := b.Get(h.shop.URL(i, h.shop.Authorize(nil)))
		asked, backed := map[string]*servertest.Page{}, map[string]*servertest.Page{}
		for _, all := range addresses {
			for _, address := range all {
				for _, identifier := range []string{address, nameOf(address)} {
					asked[identifier] = b.Answer(first, url.Values{"identifier": {identifier}})
				}
				backed[address] = b.Answer(asked[address], url.Values{"choose": {"back"}})
			}
		}
		signUp := b.Answer(first, url.Values{"choose": {"create"}})
		forgot := b.Get(i.Base + h.tenant.Path + "/recover")
		for _, step := range []struct {
			name   string
			answer func(address string) *servertest.Page
		}{
			{"identify", func(address string) *servertest.Page {
				return b.Answer(first, url.Values{"identifier": {address}})
			}},
			{"password", func(address string) *servertest.Page {
				return b.Answer(asked[address], url.Values{"password": {"not-the-password-of-any"}})
			}},
			{"code", func(address string) *servertest.Page { return b.Answer(asked[address], url.Values{"choose": {"code"}}) }},
			{"code by user name", func(address string) *servertest.Page {
				return b.Answer(asked[nameOf(address)], url.Values{"choose": {"code"}})
			}},
			{"back", func(address string) *servertest.Page { return b.Answer(asked[address], url.Values{"choose": {"back"}}) }},
			{"create", func(address string) *servertest.Page {
				return b.Answer(backed[address], url.Values{"choose": {"create"}})
			}},
			{"recovery", func(address string) *servertest.Page {
				return b.Answer(forgot, url.Values{"identifier": {address}})
			}},
			{"recovery by user name", func(address string) *servertest.Page {
				return b.Answer(forgot, url.Values{"identifier": {nameOf(address)}})
			}},
			{"sign-up", func(address string) *servertest.Page {
				return b.Answer(signUp, url.Values{"identifier": {address}})
			}},
			{"password, after its cost was changed", func(address string) *servertest.Page {
				return b.Answer(asked[address], url.Values{"password": {"not-the-password-of-any"}})
			}},
		} {
			if strings.HasSuffix(step.name, "changed") {
				settings := h.tenant.Settings
				settings.Password.MemoryKiB, settings.Password.Time = 14*1024, 10
				if _, err := i.Tenants.Apply(t.Context(), h.tenant.ID, 0, settings, "test"); err != nil {
					t.Fatal(err)
				}
			}
			var order []string
			for _, kind := range kinds {
				order = append(order, slices.Repeat([]string{kind}, samples)...)
			}
			rand.Shuffle(len(order), func(a, b int) { order[a], order[b] = order[b], order[a] })
			took, next := map[string][]time.Duration{}, map[string]int{}
			for n := range 20 { // warm up
				step.answer(addresses[kinds[n%len(kinds)]][n%people])
			}
			for _, kind := range order {
				address := addresses[kind][next[kind]%people]
				next[kind]++
				began := time.Now()
				p := step.answer(address)
				took[kind] = append(took[kind], time.Since(began))
				if p.Status != http.StatusOK {
					t.Fatalf("%s, %s: %d %s", step.name, kind, p.Status, servertest.Text(p.Body))
				}
			}
			for _, kind := range kinds[1:] {
				auc := areaUnderROC(took[kind], took["unknown"])
				t.Logf("%s, %s, %s: AUC %.3f; median %s, unknown %s", i.Engine, step.name, kind, auc, median(took[kind]), median(took["unknown"]))
				if auc > 0.60 {
					t.Errorf("%s, %s: the time tells %s from unknown addresses: AUC %.3f over %d samples each", i.Engine, step.name, kind, auc, samples)
				}
			}
		}
	})
}

// named gives a customer a user name.
func (h *house) named(who id.Customer, text string) {
	h.t.Helper()
	name, err := identifier.Normalise(identifier.Username, text, identifier.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	keys, err := h.Ring.Tenant(h.t.Context(), h.tenant.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	key, err := h.Ring.Customer(h.t.Context(), h.tenant.ID, who)
	if err != nil {
		h.t.Fatal(err)
	}
	h.write(func(tx *sqldb.Tx) error {
		_, err := h.Directory.AddIdentifier(tx, keys, key, h.tenant.ID, who, customer.NewIdentifier{Normalised: name, Verified: true}, "test")
		return err
	})
}

// areaUnderROC is how well a threshold on time tells the two apart: 0.5 not at
// all, 1 always.
func areaUnderROC(a, b []time.Duration) float64 {
	wins := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				wins++
			case x == y:
				wins += 0.5
			}
		}
	}
	area := wins / float64(len(a)*len(b))
	return max(area, 1-area)
}

func median(of []time.Duration) time.Duration {
	sorted := slices.Clone(of)
	slices.Sort(sorted)
	return sorted[len(sorted)/2].Round(time.Microsecond)
}
