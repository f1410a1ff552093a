package server_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/config"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// slow lets each network post five forms and fail five times at once, then
// once a second.
func slow(e *server.Environment) {
	e.Config.Rate = config.Rate{FormsPerSecond: 1, FormsBurst: 5, FailuresPerSecond: 1, FailuresBurst: 5}
}

// behindProxy has the test itself for a proxy.
func behindProxy(e *server.Environment) {
	e.Config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
}

// letIn counts how many of n tries are not answered 429, and fails where it is
// not the burst and one for each second that they took.
func letIn(t *testing.T, what string, n int, try func(k int) int) {
	t.Helper()
	began, let := time.Now(), 0
	for k := range n {
		if try(k) != http.StatusTooManyRequests {
			let++
		}
	}
	if most := 5 + int(time.Since(began)/time.Second) + 1; let < 5 || let > most {
		t.Errorf("%s: %d of %d were let in, want 5 to %d", what, let, n, most)
	}
}

// spellings are one network each, written as clients and proxies write it.
var spellings = [][]string{
	{"203.0.113.7", "::ffff:203.0.113.7", "::FFFF:203.0.113.7", "::ffff:cb00:7107", "203.0.113.7:4711", "[::ffff:203.0.113.7]:4711"},
	{"2001:db8:1:2::1", "2001:DB8:1:2::ffff", "2001:0db8:0001:0002:0000:0000:0000:0003", "[2001:db8:1:2:a:b:c:d]:4711", "2001:db8:1:2:ffff:ffff:ffff:ffff%eth0"},
}

// SECURITY H1: one network has one allowance, however it picks its addresses
// and however they are spelled.
func TestFormsOfOneNetworkAreLimited(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		page := i.Browser().Get(h.shop.URL(i, h.shop.Authorize(nil)))
		post := func(from string) *servertest.Page {
			b := i.Browser()
			b.Header.Set("X-Forwarded-For", from)
			return b.Answer(page, url.Values{"identifier": {anaMail}})
		}
		for _, network := range spellings {
			letIn(t, network[0], 30, func(k int) int { return post(network[k%len(network)]).Status })
		}
		if p := post("203.0.113.8"); p.Status == http.StatusTooManyRequests {
			t.Error("the address beside it is refused too")
		}
		if p := post("2001:db8:1:3::1"); p.Status == http.StatusTooManyRequests {
			t.Error("the network beside it is refused too")
		}
	}, slow, behindProxy)
}

// SECURITY H2: whoever is no proxy of ours is the address that he connects
// from, whatever he writes.
func TestForwardedAddressesOfStrangersAreIgnored(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		page := i.Browser().Get(h.shop.URL(i, h.shop.Authorize(nil)))
		letIn(t, "forms", 30, func(k int) int {
			b := i.Browser()
			b.Header.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d", k))
			b.Header.Set("X-Real-Ip", fmt.Sprintf("203.0.113.%d", k))
			b.Header.Set("Forwarded", fmt.Sprintf("for=203.0.113.%d", k))
			return b.Answer(page, url.Values{"identifier": {anaMail}}).Status
		})
		letIn(t, "clients", 30, func(k int) int {
			status, _, _ := send(t, http.MethodPost, i.Base+h.tenant.Path+"/token", "grant_type=client_credentials&client_id=nobody&client_secret=x",
				http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "X-Forwarded-For": {fmt.Sprintf("203.0.113.%d", k)}})
			return status
		})
	}, slow)
}

// Whoever is refused reads until when, in his language, and goes on where he
// was.
func TestTheLimitedPage(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", func(s *tenant.Settings) { s.Languages = []string{"en", "ar"} })
		for lang, words := range map[string]string{"en": "Too many requests are coming from your network", "ar": "تصل من شبكتك الآن طلبات كثيرة جدًا"} {
			b := i.Browser()
			b.Header.Set("Accept-Language", lang)
			b.Header.Set("X-Forwarded-For", "203.0.113.7")
			first := b.Get(h.shop.URL(i, h.shop.Authorize(nil)))
			var p *servertest.Page
			for range 30 {
				if p = b.Answer(first, url.Values{"identifier": {anaMail}}); p.Status == http.StatusTooManyRequests {
					break
				}
			}
			seconds, err := strconv.Atoi(p.Header.Get("Retry-After"))
			if p.Status != http.StatusTooManyRequests || err != nil || seconds < 1 || seconds > 2 || !strings.Contains(p.Body, "<time") || !strings.Contains(p.Body, words) {
				t.Fatalf("%s: %d, Retry-After %q: %s", lang, p.Status, p.Header.Get("Retry-After"), servertest.Text(p.Body))
			}
			if strings.Contains(p.Body, anaMail) || p.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("the page keeps what was typed: %v", p.Header)
			}
			i.Clock.Advance(time.Minute)
			if p = b.Answer(p, nil); p.Status != http.StatusOK || !p.Has("identifier") {
				t.Errorf("%s: the button does not lead back: %d %s", lang, p.Status, servertest.Text(p.Body))
			}
			i.Clock.Advance(time.Minute)
		}
		w := httptest.NewRecorder()
		i.MetricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if !strings.Contains(w.Body.String(), "\ncardea_forms_refused_total 2\n") {
			t.Error("the refusals are not among the metrics")
		}
	}, slow, behindProxy)
}

// No other site uses up a visitor's allowance.
func TestForeignFormsAreNotCounted(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		b := i.Browser()
		page := b.Get(h.shop.URL(i, h.shop.Authorize(nil)))
		for range 20 {
			if p := b.Post(i.Base+h.tenant.Path+"/journey", url.Values{"state": {"x"}}, "https://evil.example"); p.Status != http.StatusForbidden {
				t.Fatalf("a form of another site is answered %d", p.Status)
			}
		}
		if p := b.Answer(page, url.Values{"identifier": {anaMail}}); p.Status != http.StatusOK {
			t.Errorf("the visitor's own form is answered %d", p.Status)
		}
	}, slow)
}

// An application that does not prove itself is refused to its network, one that
// does is never counted, and has nothing of a neighbour's wrong secret.
func TestFailedClientsOfOneNetworkAreLimited(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		service := i.Application(h.tenant, func(s *application.Settings) {
			s.Name, s.Kind, s.RedirectURIs, s.PostLogoutURIs = "Stock", application.Machine, nil, nil
		})
		neighbour := i.Application(h.tenant, func(s *application.Settings) {
			s.Name, s.Kind, s.RedirectURIs, s.PostLogoutURIs = "Till", application.Machine, nil, nil
		})
		askAs := func(service *servertest.App, path, secret, from string) answer {
			form := url.Values{"grant_type": {"client_credentials"}, "token": {"x"}, "client_id": {string(service.ID)}, "client_secret": {secret}}
			header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "X-Forwarded-For": {from}}
			if service.AuthMethod == application.AuthBasic {
				header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(string(service.ID))+":"+url.QueryEscape(secret))))
				form.Del("client_id")
				form.Del("client_secret")
			}
			got, err := trySend(http.MethodPost, i.Base+h.tenant.Path+path, form.Encode(), header)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		ask := func(path, secret, from string) answer { return askAs(service, path, secret, from) }
		nobody := &servertest.App{Application: &application.Application{ID: id.New[id.Application](i.Clock.Now(), rand.Reader)}}
		paths := []string{"/token", "/introspect", "/revoke"}
		for range 20 {
			for _, path := range paths {
				if got := ask(path, service.Secret, "198.51.100.1"); got.status != http.StatusOK {
					t.Fatalf("%s with the secret: %d %s", path, got.status, got.body)
				}
			}
		}
		for _, network := range spellings {
			letIn(t, network[0], 30, func(k int) int { return ask(paths[k%3], "wrong", network[k%len(network)]).status })
			for range 5 {
				ask("/token", "wrong", network[0])
			}
			for _, path := range paths {
				got := ask(path, service.Secret, network[1])
				if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "1" || got.header.Get("Cache-Control") != "no-store" ||
					got.header.Get("Content-Type") != "application/json" || !strings.Contains(got.body, `"error":"temporarily_unavailable"`) {
					t.Errorf("%s of a network that failed too often: %d %v %s", path, got.status, got.header, got.body)
				}
			}
			if got := askAs(neighbour, "/token", neighbour.Secret, network[0]); got.status != http.StatusOK {
				t.Errorf("another application of the network is refused too: %d %s", got.status, got.body)
			}
			letIn(t, "names of no application", 30, func(k int) int { return askAs(nobody, paths[k%3], "wrong", network[k%len(network)]).status })
			if got := askAs(neighbour, "/token", neighbour.Secret, network[0]); got.status != http.StatusOK {
				t.Errorf("an application is refused for names of none: %d %s", got.status, got.body)
			}
			if got := ask("/token", service.Secret, "198.51.100.1"); got.status != http.StatusOK {
				t.Errorf("another network is refused too: %d %s", got.status, got.body)
			}
			i.Clock.Advance(2 * time.Second)
			if got := ask("/token", service.Secret, network[0]); got.status != http.StatusOK {
				t.Errorf("after waiting as told: %d %s", got.status, got.body)
			}
			i.Clock.Advance(time.Minute)
		}
		w := httptest.NewRecorder()
		i.MetricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if text := w.Body.String(); !strings.Contains(text, "\ncardea_client_authentications_refused_total ") || strings.Contains(text, "\ncardea_client_authentications_refused_total 0\n") {
			t.Error("the refusals are not among the metrics")
		}
	}, slow, behindProxy)
}

// 0 is no limit.
func TestLimitsCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		b := i.Browser()
		page := b.Get(h.shop.URL(i, h.shop.Authorize(nil)))
		for range 20 {
			if p := b.Answer(page, url.Values{"identifier": {anaMail}}); p.Status != http.StatusOK {
				t.Fatalf("a form is answered %d", p.Status)
			}
			status, _, _ := send(t, http.MethodPost, i.Base+h.tenant.Path+"/token", "grant_type=client_credentials&client_id=nobody&client_secret=x",
				http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
			if status != http.StatusUnauthorized {
				t.Fatalf("a wrong client is answered %d", status)
			}
		}
	}, func(e *server.Environment) {
		e.Config.Rate = config.Rate{FormsPerSecond: 0, FormsBurst: 1, FailuresPerSecond: 0, FailuresBurst: 1}
	})
}
