package server_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// SECURITY C1, O1–O5, item 85: whatever is sent to whichever endpoint, the
// answer is one of the protocol, and soon.
func TestNonsenseIsRefused(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		dots := strings.Repeat(".", 1<<20)
		deep := strings.Repeat(`{"a":`, 100000) + "1" + strings.Repeat("}", 100000)
		var many bytes.Buffer
		for n := range 20000 {
			fmt.Fprintf(&many, "p%d=x&", n)
		}
		const form = "application/x-www-form-urlencoded"
		type sent struct{ name, kind, body, authorization string }
		all := []sent{
			{"nothing", "", "", ""}, {"an empty form", form, "", ""}, {"JSON", "application/json", `{"grant_type":"refresh_token"}`, ""}, {"deep JSON", "application/json", deep, ""},
			{"deep JSON as a form", form, deep, ""}, {"multipart", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nx\r\n--x--", ""},
			{"multipart without an end", "multipart/form-data", "--", ""}, {"text", "text/plain", "token=x", ""}, {"a broken kind", ";;;", "token=x", ""}, {"XML", "application/xml", `<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>`, ""},
			{"a megabyte of dots", form, "token=" + dots + "&client_assertion=" + dots, "Bearer " + dots[:8000]},
			{"60 KB of dots", form, "token=" + dots[:60000], ""}, {"20,000 parameters", form, many.String(), ""}, {"a parameter 2,000 times", form, strings.Repeat("token=x&", 2000), ""},
			{"broken escapes", form, "token=%zz&%=%", ""}, {"NULs", form, "token=%00&state=%00&code=%00&refresh_token=%00&client_id=%00&identifier=%00&password=%00", "Bearer %00"},
			{"not UTF-8", form, "token=%ff%fe&state=%ff&client_id=%ff&\xff=\xff", "Basic /////w=="}, {"semicolons", form, "a=b;c=d;token=x", ""},
			{"a JWE with a costly key", form, "token=" + b64(`{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","p2c":2147483647,"p2s":"AAAA"}`) + ".AAAA.AAAA.AAAA.AAAA", ""},
			{"a JWE without a key", form, "token=" + b64(`{"alg":"A128KW","enc":"A128CBC-HS256"}`) + "..AAAA.AAAA.AAAA", ""},
			{"a zipped JWE", form, "token=" + b64(`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`) + "..AAAA.AAAA.AAAA", ""},
			{"a JWT of a deep header", form, "token=" + b64(deep[:20000]) + ".e30.AAAA", ""},
			{"a password of 10 MB", form, "state=x&password=" + strings.Repeat("a", 10<<20), ""},
			{"a chunk of everything", form, "grant_type=refresh_token&refresh_token=" + strings.Repeat("A", 60000), ""},
			{"brackets", form, strings.Repeat("a[b]=", 5000), "Bearer " + strings.Repeat("(", 4000)},
		}
		for _, mounted := range append(i.OAuth.Routes(), i.Pages.Routes()...) {
			path := strings.NewReplacer("{$}", "", "{name}", "x").Replace(mounted.Pattern)
			for _, x := range all {
				header := http.Header{"Sec-Fetch-Site": {"same-origin"}}
				if x.kind != "" {
					header.Set("Content-Type", x.kind)
				}
				if x.authorization != "" {
					header.Set("Authorization", x.authorization)
				}
				for _, query := range []string{"", "?" + strings.ReplaceAll(x.body[:min(len(x.body), 4000)], " ", "+")} {
					if mounted.Method != http.MethodPost && query == "" && x.name != "nothing" {
						continue
					}
					if mounted.Method == http.MethodPost && query != "" {
						continue
					}
					body := x.body
					if mounted.Method != http.MethodPost {
						body = ""
					}
					got, err := trySend(mounted.Method, i.Base+h.tenant.Path+path+query, body, header)
					if err != nil {
						if strings.Contains(err.Error(), "invalid") || strings.Contains(err.Error(), "reset") || strings.Contains(err.Error(), "broken pipe") {
							continue // not even a request, or cut off in the middle of one that is too long
						}
						t.Errorf("%s %s with %s: %v", mounted.Method, path, x.name, err)
						continue
					}
					if got.status >= 500 {
						t.Errorf("%s %s with %s answered %d %.300s", mounted.Method, path, x.name, got.status, got.body)
					}
					if mounted.Method == http.MethodPost && got.status < 300 && path != "/revoke" {
						t.Errorf("%s with %s answered %d %.300s", path, x.name, got.status, got.body)
					}
				}
			}
		}
		for _, path := range []string{"/t/%00/jwks", "/t/%ff/jwks", "/t/" + strings.Repeat("a", 5000) + "/jwks", "/t//jwks", "/t/../jwks", "/%00", "/t/thyme/assets/%00", "/t/thyme/%ff", "/t/thyme/..%2f..%2fetc/passwd"} {
			got, err := trySend(http.MethodGet, i.Base+path, "", nil)
			if err == nil && (got.status >= 500 || got.status == http.StatusOK) {
				t.Errorf("%s answered %d", path, got.status)
			}
		}
	})
}

// SECURITY O3: names that strangers make up are not kept.
func TestMadeUpNamesAreNotKept(t *testing.T) {
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	handler := i.Handler()
	ask := func(from, to int) {
		for n := from; n < to; n++ {
			r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://host%d.example%s/sign-in?ui_locales=x%d-%d", n%2*n, h.tenant.Path, n, n), nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept-Language", fmt.Sprintf("en-x-a%d", n))
			if n%4 == 0 {
				r.URL.Path = "/"
			}
			handler.ServeHTTP(&discard{header: http.Header{}}, r)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	ask(0, 3000)
	before := heap()
	ask(3000, 9000)
	if after := heap(); after > before+4<<20 {
		t.Errorf("6,000 made-up hosts and languages took %d KiB", (after-before)>>10)
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header            { return d.header }
func (d *discard) Write(text []byte) (int, error) { return len(text), nil }
func (d *discard) WriteHeader(int)                {}

// Item 11: more sign-ins than can be hashed are told to wait, soon, and nobody
// is let in by it; a customer's own browser goes first.
func TestMoreSignInsThanCanBeHashed(t *testing.T) {
	i := servertest.New(t, sqldb.SQLite, func(e *server.Environment) { e.Config.Hashing.MaxConcurrent, e.Config.Hashing.QueueLength = 1, 8 })
	h := newHouse(t, i, "thyme", nil)
	browsers, pages := make([]*servertest.Browser, 64), make([]*servertest.Page, 64)
	for k := range browsers {
		browsers[k] = i.Browser()
		pages[k] = h.passwordPage(browsers[k], fmt.Sprintf("who%d@shop.example", k))
	}
	own, _ := h.signIn()
	own.Answer(own.Get(i.Base+h.tenant.Path+"/end_session"), url.Values{"decision": {"sign_out"}})
	ownPage := h.passwordPage(own, anaMail)
	var busy, wrong, let atomic.Int64
	atOnce(64, func(k int) {
		if k == 40 {
			if p, err := own.TryAnswer(ownPage, url.Values{"password": {anaPassword}}); err != nil || !signedIn(p) {
				t.Errorf("the customer's own browser had to wait: %v", err)
			}
			return
		}
		p, err := browsers[k].TryAnswer(pages[k], url.Values{"password": {"not-the-password-of-any"}})
		if err != nil {
			t.Error(err)
			return
		}
		switch {
		case signedIn(p):
			let.Add(1)
		case p.Status == http.StatusServiceUnavailable && p.Header.Get("Retry-After") != "":
			busy.Add(1)
		case p.Status < 500:
			wrong.Add(1)
		default:
			t.Errorf("one got %d", p.Status)
		}
	})
	if let.Load() != 0 || busy.Load() == 0 || wrong.Load() == 0 {
		t.Errorf("%d were told to wait, %d that it is wrong, %d were let in", busy.Load(), wrong.Load(), let.Load())
	}
}

// A guess that was not looked at since too many waited is not charged: the
// counters hold what was hashed. And a queue is no way to more guesses than the
// budget has.
func TestTwoNodesDoNotChargeForTheQueue(t *testing.T) {
	onNodes(t, func(t *testing.T, nodes []*servertest.Installation) {
		h := newHouse(t, nodes[0], "thyme", func(s *tenant.Settings) { s.Limits.PasswordPerHour = 20 })
		own, _ := h.signIn()
		h.signOut(own)
		for name, browser := range map[string]*servertest.Browser{"a stranger": h.Browser(), "a known device": own, "an unknown address": h.Browser()} {
			address := anaMail
			if name == "an unknown address" {
				address = "who@shop.example"
			}
			h.write(func(tx *sqldb.Tx) error { _, err := tx.Exec(`DELETE FROM budget`); return err })
			page := h.passwordPage(browser, address)
			hashed := func() (n uint64) {
				for _, node := range nodes {
					n += node.Hasher.Stats().Computed
				}
				return n
			}
			before := hashed()
			var busy, limited atomic.Int64
			// 12 at once of 20 an hour. The first time each node has a long hash under
			// way, so that two wait behind it and the rest go away.
			for round := range 3 {
				var occupied sync.WaitGroup
				if round == 0 {
					for _, node := range nodes {
						occupy(t, &occupied, node)
					}
				}
				atOnce(12, func(k int) {
					node := nodes[k%len(nodes)]
					action, values := browser.Filled(page, url.Values{"password": {"not-the-password-of-any"}})
					copied := node.Browser()
					copied.SetCookies(browser.Cookies())
					switch p, err := copied.Do(http.MethodPost, node.Base+action[len(nodes[0].Base):], values, ""); {
					case err != nil:
						t.Error(err)
					case p.Status == http.StatusServiceUnavailable:
						busy.Add(1)
					case p.Status == http.StatusTooManyRequests:
						limited.Add(1)
					}
				})
				occupied.Wait()
			}
			tried := int(hashed()-before) - len(nodes)
			if busy.Load() == 0 || tried > 20 {
				t.Errorf("%s: %d were told to wait, %d hashed", name, busy.Load(), tried)
			}
			if used := h.count(`SELECT SUM(used) FROM budget WHERE kind = 'password'`); used != tried {
				t.Errorf("%s: %d were hashed, %d told to wait, %d refused, and %d charged for the hour", name, tried, busy.Load(), limited.Load(), used)
			}
			if total := h.count(`SELECT SUM(total) FROM budget WHERE kind = 'password'`); total != tried && name != "an unknown address" {
				t.Errorf("%s: %d were hashed and %d charged in all", name, tried, total)
			}
		}
	}, func(e *server.Environment) { e.Config.Hashing.MaxConcurrent, e.Config.Hashing.QueueLength = 1, 2 })
}

// occupy has a node hash something long, and returns once it does.
func occupy(t *testing.T, until *sync.WaitGroup, node *servertest.Installation) {
	t.Helper()
	until.Go(func() {
		long := credential.Params{MemoryKiB: 128 * 1024, Time: 8, Parallelism: 1}
		if _, err := node.Hasher.Hash(t.Context(), credential.Asker{Tenant: "ten_other"}, long, credential.NewPassword("somebody else's password")); err != nil {
			t.Errorf("hash: %v", err)
		}
	})
	for begun := time.Now(); node.Hasher.Stats().Running == 0; time.Sleep(time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("the hash was not begun")
		}
	}
}
