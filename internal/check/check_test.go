package check

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/config"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/jose"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// seen are the rules that the tests of this package have made and found.
var (
	seenMu sync.Mutex
	seen   = map[string]bool{}
)

// finds asserts that a rule was found, with a text in what was seen.
func finds(t *testing.T, findings []Finding, rule, text string) {
	t.Helper()
	if !slices.ContainsFunc(findings, func(f Finding) bool { return f.ID == rule && strings.Contains(f.Found, text) }) {
		t.Errorf("%s with %q was not found: %s", rule, text, told(findings))
	}
	seenMu.Lock()
	seen[rule] = true
	seenMu.Unlock()
}

func told(findings []Finding) (text string) {
	for _, f := range findings {
		text += "\n  " + f.ID + ": " + f.Found
	}
	return text
}

// later is the machine's clock, some time on.
type later time.Duration

func (l later) Now() time.Time { return time.Now().UTC().Add(time.Duration(l)) }

// clean is an installation in which nothing is to be found, but for what the
// PostgreSQL of tests is.
func clean(t *testing.T, i *servertest.Installation) Options {
	t.Helper()
	c := *i.Config
	c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	c.SMTP = config.SMTP{Host: "127.0.0.1", Port: 1, TLS: "none", From: "a@example.com"}
	c.BreachedPasswordsFile = "/somewhere"
	if _, err := i.Tenants.Create(t.Context(), tenant.New{Slug: "shop", Name: "Shop", Issuer: "https://shop.example", Settings: tenant.Defaults()}); err != nil {
		t.Fatal(err)
	}
	if err := i.NoteBackup(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	return Options{Config: &c, Clock: clock.System(), Random: rand.Reader}
}

// ofTests is what PostgreSQL is set up as for tests.
var ofTests = map[string]bool{"postgres-fsync": true, "postgres-full-page-writes": true, "postgres-synchronous-commit": true, "postgres-no-standby": true,
	"key-store-beside-database": true, "postgres-old": true}

func TestACleanInstallationHasNoWeakness(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		o := clean(t, i)
		before := i.Count()
		for _, f := range Run(t.Context(), o) {
			if strings.HasPrefix(f.ID, "disk-") {
				continue // of this machine
			}
			if i.Engine == sqldb.SQLite || !ofTests[f.ID] {
				t.Errorf("%s: %s", f.ID, f.Found)
			}
		}
		for table, n := range i.Count() {
			if n != before[table] && !strings.HasPrefix(table, "event_") {
				t.Errorf("looking changed %s: %d rows, %d before", table, n, before[table])
			}
		}
		o.Development = true
		found := slices.DeleteFunc(Run(t.Context(), o), func(f Finding) bool { return strings.HasPrefix(f.ID, "disk-") })
		if i.Engine == sqldb.SQLite && len(found) > 0 {
			t.Errorf("of development:%s", told(found))
		}
	})
}

func TestEachWeaknessIsFound(t *testing.T) {
	type world struct {
		*servertest.Installation
		*Options
		t *testing.T
	}
	sql := func(w world, statements ...string) {
		w.t.Helper()
		err := w.DB.Write(w.t.Context(), func(tx *sqldb.Tx) error {
			for _, s := range statements {
				if _, err := tx.Exec(s); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	shop := func(w world) id.Tenant {
		found, err := w.Tenants.ByHost(w.t.Context(), "shop.example")
		if err != nil {
			w.t.Fatal(err)
		}
		return found.ID
	}
	key := func() config.Secret {
		raw := make([]byte, 32)
		_, _ = rand.Read(raw)
		return config.NewSecret(base64.StdEncoding.EncodeToString(raw))
	}
	set := func(change func(*config.Config)) func(world) { return func(w world) { change(w.Options.Config) } }
	file := func(w world, mode os.FileMode) string {
		folder := w.t.TempDir()
		if err := errors.Join(os.Chmod(folder, 0o755), os.WriteFile(filepath.Join(folder, "root.key"), make([]byte, 32), mode), os.Chmod(filepath.Join(folder, "root.key"), mode)); err != nil {
			w.t.Fatal(err)
		}
		return filepath.Join(folder, "root.key")
	}
	old := string(id.New[id.Event](time.Now().Add(-time.Hour), rand.Reader))
	cases := []struct {
		rule, found string
		make        func(world)
		reach       bool
	}{
		{"config-weak", "metrics.listen", set(func(c *config.Config) { c.Metrics.Listen = "0.0.0.0:9090" }), false},
		{"config-weak", "trusted_proxies", set(func(c *config.Config) { c.TrustedProxies = nil }), false},
		{"breached-passwords", "breached", set(func(c *config.Config) { c.BreachedPasswordsFile = "" }), false},
		{"issuer-http", "base_url", set(func(c *config.Config) { c.BaseURL = "http://localhost:8080" }), false},
		{"issuer-http", "the issuer of plain", func(w world) { w.Tenant("plain", nil) }, false},
		{"rate-limit-off", "forms", set(func(c *config.Config) { c.Rate.FormsPerSecond = 0 }), false},
		{"rate-limit-off", "failures", set(func(c *config.Config) { c.Rate.FailuresPerSecond = 0 }), false},
		{"secrets-readable", "root.key", func(w world) { w.Options.Config.RootKey = config.RootKey{File: file(w, 0o644)} }, false},
		{"secrets-readable", "cardea.yaml", func(w world) {
			w.File = filepath.Join(filepath.Dir(file(w, 0o600)), "cardea.yaml")
			if err := errors.Join(os.WriteFile(w.File, nil, 0o644), os.Chmod(w.File, 0o644)); err != nil {
				w.t.Fatal(err)
			}
			w.Options.Config.SMTP.Password = config.NewSecret("hunter2")
		}, false},
		{"root-key-beside-data", "root.key", func(w world) {
			w.Options.Config.RootKey = config.RootKey{File: file(w, 0o600)}
			w.Options.Config.DataDir = filepath.Dir(w.Options.Config.RootKey.File)
		}, false},
		{"key-store-beside-database", "one place", set(func(c *config.Config) {
			c.KeyStore.URL = config.NewSecret(strings.Replace(c.Database.URL.Reveal(), "test.db", "keys.db", 1))
		}), false},
		{"database-unreachable", "key store", set(func(c *config.Config) {
			c.KeyStore.URL = config.NewSecret(strings.Replace(strings.Replace(c.KeyStore.URL.Reveal(), "test.db", "none.db", 1), "cardea_test_", "cardea_none_", 1))
		}), false},
		{"restore-unfinished", "database", func(w world) {
			sql(w, `CREATE TABLE restore_mark (name TEXT NOT NULL PRIMARY KEY, backup TEXT NOT NULL, epoch BIGINT NOT NULL, begun_at BIGINT NOT NULL)`,
				`INSERT INTO restore_mark VALUES ('restore', 'one', 1, 1)`)
		}, false},
		{"migrations-pending", "explain/001", func(w world) { sql(w, `DELETE FROM schema_migration WHERE package = 'explain'`) }, false},
		{"never-started", "database", func(w world) {
			if w.Engine == sqldb.SQLite {
				w.Options.Config.Database.URL = config.NewSecret("sqlite:" + filepath.Join(w.t.TempDir(), "new.db"))
				if err := os.WriteFile(strings.TrimPrefix(w.Options.Config.Database.URL.Reveal(), "sqlite:"), nil, 0o600); err != nil {
					w.t.Fatal(err)
				}
				return
			}
			w.Options.Config.Database.URL = config.NewSecret(dbtest.URL(w.t, sqldb.Postgres, nil))
		}, false},
		{"migrations-later", "database", func(w world) { sql(w, `INSERT INTO schema_migration VALUES ('explain', 900, 'later', 'x', 1)`) }, false},
		{"migration-changed", "explain", func(w world) { sql(w, `UPDATE schema_migration SET checksum = 'x' WHERE package = 'explain'`) }, false},
		{"root-key-unread", "none.key", set(func(c *config.Config) { c.RootKey = config.RootKey{File: "/nowhere/none.key"} }), false},
		{"keys-do-not-open", "wrong root key", set(func(c *config.Config) { c.RootKey.Value = key() }), false},
		{"old-root-key-needed", "wraps", set(func(c *config.Config) { c.OldRoots.Values, c.RootKey.Value = []config.Secret{c.RootKey.Value}, key() }), false},
		{"old-root-key-unneeded", "root key", set(func(c *config.Config) { c.OldRoots.Values = []config.Secret{key()} }), false},
		{"signing-key-old", "shop", func(w world) {
			if err := w.SigningKeys.Ensure(w.t.Context(), shop(w), jose.ES256); err != nil {
				w.t.Fatal(err)
			}
			w.Options.Clock = later(401 * 24 * time.Hour)
		}, false},
		{"signing-key-stuck", "shop", func(w world) {
			sql(w, `INSERT INTO signing_key VALUES ('`+string(shop(w))+`', 'key_x', 'ES512', 1, 'published', '', `+map[sqldb.Engine]string{sqldb.SQLite: "x''", sqldb.Postgres: "''"}[w.Engine]+`, `+
				fmt.Sprint(time.Now().UnixMicro())+`, `+fmt.Sprint(time.Now().Add(time.Hour).UnixMicro())+`, 0, 0)`)
			w.Options.Clock = later(time.Hour) // the server that runs here would move it on, once it is due by its own clock
		}, false},
		{"epoch-ahead", "ahead", func(w world) { w.Options.Clock = later(-24 * time.Hour) }, false},
		{"tenant-settings", "weak", func(w world) {
			w.Tenant("weak", func(s *tenant.Settings) { s.Password.MinLength = 8 })
		}, false},
		{"phone-without-sms", "texts", func(w world) {
			w.Tenant("texts", func(s *tenant.Settings) { s.Phone.Enabled = true })
		}, false},
		{"system-url-changed", "https://elsewhere.example", func(w world) {
			w.System()
			w.Options.Config.SystemURL = "https://elsewhere.example"
		}, false},
		{"events-behind", "the oldest for 1h", func(w world) {
			sql(w, `INSERT INTO event_pending (lane, tenant, customer, version, seq, event) VALUES (99, 'ten_x', '', 1, 1, '`+old+`')`) // of a lane that nobody leads
		}, false},
		{"leases-dead", "leases", func(w world) {
			sql(w, `INSERT INTO event_lease (role, slot, holder, epoch, expires, position) VALUES ('audit', 0, 'gone', 1, 1, 0)`)
		}, false},
		{"consumer-behind", "audit", func(w world) {
			sql(w, `INSERT INTO event_cursor VALUES ('audit', 0, 0)`, `UPDATE event_lease SET position = 20000 WHERE role = 'order' AND slot = 0`)
		}, false},
		{"outbox-behind", "1 wait", func(w world) {
			blob := map[sqldb.Engine]string{sqldb.SQLite: "x''", sqldb.Postgres: "''"}[w.Engine]
			sql(w, fmt.Sprintf(`INSERT INTO notify_outbox VALUES ('ten_x', %s, 'msg_x', 'x', '', '', 'code', 'waiting', %d, '', 0, %d, %d, 0, '', %s)`, blob,
				time.Now().Add(time.Hour).UnixMicro(), time.Now().Add(2*time.Hour).UnixMicro(), time.Now().Add(-time.Hour).UnixMicro(), blob))
		}, false},
		{"backup-none", "none", func(w world) { sql(w, `DELETE FROM event WHERE type = 'installation.backed_up'`) }, false},
		{"backup-old", "2 days", func(w world) { w.Options.Clock = later(50 * time.Hour) }, false},
		{"mail-unreachable", "127.0.0.1:1", func(world) {}, true},
		{"trusted-proxies-missing", "1 requests", func(w world) {
			r := httptest.NewRequest(http.MethodGet, w.Base+"/", nil)
			r.Header.Set("X-Forwarded-For", "192.0.2.7")
			w.Handler().ServeHTTP(httptest.NewRecorder(), r)
			form := httptest.NewRequest(http.MethodPost, w.Base+w.Tenant("asked", nil).Path+"/journey", strings.NewReader("state=x"))
			form.Header = http.Header{"X-Forwarded-For": {"192.0.2.7"}, "Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"}}
			form.Host = strings.TrimPrefix(w.Base, "http://")
			w.Handler().ServeHTTP(httptest.NewRecorder(), form)
			metrics := httptest.NewServer(w.MetricsHandler())
			w.t.Cleanup(metrics.Close)
			w.Options.Config.Metrics.Listen = strings.TrimPrefix(metrics.URL, "http://")
		}, true},
	}
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		for _, c := range cases {
			t.Run(string(engine)+" "+c.rule, func(t *testing.T) {
				i := servertest.New(t, engine)
				o := clean(t, i)
				c.make(world{i, &o, t})
				o.Reach = c.reach
				finds(t, Run(t.Context(), o), c.rule, strings.TrimPrefix(c.found, "1 requests"))
			})
		}
	}

	t.Run("judged", func(t *testing.T) {
		now := time.Now()
		well := sqldb.Facts{Number: 170000, Version: "17", Fsync: true, FullPageWrites: true, SynchronousCommit: "on", Standbys: "one", Synchronous: 1, Connections: 100}
		judge := func(change func(*sqldb.Facts)) []Finding {
			f, c := well, &checker{}
			if change != nil {
				change(&f)
			}
			c.judgePostgres("database", f)
			return c.findings
		}
		if found := judge(nil); len(found) > 0 {
			t.Errorf("%s", told(found))
		}
		finds(t, judge(func(f *sqldb.Facts) { f.Number, f.Version = 130011, "13.11" }), "postgres-old", "13.11")
		finds(t, judge(func(f *sqldb.Facts) { f.Replica = true }), "postgres-replica", "database")
		finds(t, judge(func(f *sqldb.Facts) { f.Fsync = false }), "postgres-fsync", "fsync")
		finds(t, judge(func(f *sqldb.Facts) { f.FullPageWrites = false }), "postgres-full-page-writes", "off")
		finds(t, judge(func(f *sqldb.Facts) { f.SynchronousCommit = "off" }), "postgres-synchronous-commit", "off")
		finds(t, judge(func(f *sqldb.Facts) { f.SynchronousCommit = "local" }), "postgres-synchronous-commit", "local")
		finds(t, judge(func(f *sqldb.Facts) { f.Standbys = "" }), "postgres-no-standby", "no")
		finds(t, judge(func(f *sqldb.Facts) { f.Synchronous = 0 }), "postgres-standby-gone", "none answers")
		finds(t, judge(func(f *sqldb.Facts) { f.Pooled = true }), "postgres-pooler", "database")
		finds(t, judge(func(f *sqldb.Facts) { f.Remote = true }), "postgres-clear", "database")
		finds(t, judge(func(f *sqldb.Facts) { f.Remote, f.TLS = true, sqldb.TLSUnverified }), "postgres-unproved", "database")
		if found := judge(func(f *sqldb.Facts) { f.Remote, f.TLS = true, sqldb.TLSVerified }); len(found) > 0 {
			t.Errorf("of a connection that is proved:%s", told(found))
		}
		if found := judge(func(f *sqldb.Facts) { f.Synchronous = -1 }); len(found) > 0 {
			t.Errorf("of what may not be seen:%s", told(found))
		}

		c := &checker{Options: Options{Config: config.Default()}}
		c.judgeConnections(well, 4)
		if len(c.findings) > 0 {
			t.Errorf("%s", told(c.findings))
		}
		c.judgeConnections(well, 5)
		finds(t, c.findings, "postgres-connections", "5 node(s) may open 110")

		c = &checker{}
		c.judgeClock("database", now, now.Add(500*time.Millisecond), now)
		c.judgeDisk("/data", 100<<30, 200<<30, "")
		if len(c.findings) > 0 {
			t.Errorf("%s", told(c.findings))
		}
		c.judgeClock("database", now, now.Add(-2*time.Second), now)
		finds(t, c.findings, "clock-drift", "2s")
		c.judgeClock("database", now, now.Add(6*time.Second), now)
		finds(t, c.findings, "clock-skew", "6s")
		c.judgeDisk("/low", 5<<30, 100<<30, "")
		finds(t, c.findings, "disk-low", "/low has 5120 MiB")
		c.judgeDisk("/full", 50<<20, 100<<30, "")
		finds(t, c.findings, "disk-full", "/full")
		c.judgeDisk("/far", 100<<30, 200<<30, "NFS")
		finds(t, c.findings, "sqlite-network-disk", "NFS")
		finds(t, Faults(&config.Error{Faults: []config.Fault{{Key: "listen", Problem: "is wrong", Advice: "correct it"}}}), "config-fault", "listen is wrong")
		c.unopened("database", fmt.Errorf("open: %w", sqldb.ErrNotDurable))
		finds(t, c.findings, "sqlite-journal", "journal_mode")
	})

	t.Run("public", testPublic)

	part := flag.Lookup("test.run").Value.String() != "" // then not all cases have run
	for _, rule := range Rules {
		if !seen[rule.ID] && !part {
			t.Errorf("no test makes %s", rule.ID)
		}
		if rule.Means == "" || rule.Do == "" || !slices.Contains(severities, rule.Severity) {
			t.Errorf("%+v", rule)
		}
	}
}

// One cause is told once, and by its name: a database that nothing has been started
// on has no former release, and a root key that others can read may be the right one.
func TestOneCauseIsToldOnce(t *testing.T) {
	i := servertest.New(t, sqldb.SQLite)
	o := clean(t, i)
	lone := func(rule string, never ...string) {
		t.Helper()
		found := Run(t.Context(), o)
		n := 0
		for _, f := range found {
			if f.ID == rule {
				n++
			}
			if slices.Contains(never, f.ID) {
				t.Errorf("%s: %s", f.ID, f.Found)
			}
		}
		if n != 1 {
			t.Errorf("%s is found %d times: %s", rule, n, told(found))
		}
	}
	key := filepath.Join(t.TempDir(), "root.key")
	if err := errors.Join(os.WriteFile(key, make([]byte, 32), 0o600), os.Chmod(filepath.Dir(key), 0o755), os.Chmod(key, 0o644)); err != nil {
		t.Fatal(err)
	}
	whole := o.Config.RootKey
	o.Config.RootKey = config.RootKey{File: key}
	lone("secrets-readable", "keys-do-not-open", "root-key-unread")
	if err := os.Chmod(filepath.Dir(key), 0o700); err != nil { // refused all the same
		t.Fatal(err)
	}
	lone("secrets-readable", "keys-do-not-open", "root-key-unread")
	o.Config.RootKey = whole
	empty := filepath.Join(t.TempDir(), "empty.db")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.Config.Database.URL = config.NewSecret("sqlite:" + empty)
	lone("never-started", "migrations-pending")
}

// testPublic has a proxy with TLS before a node, which does as well as it
// should, and then worse.
func testPublic(t *testing.T) {
	i := servertest.New(t, sqldb.SQLite)
	o := clean(t, i)
	var wrap func(http.Handler) http.Handler
	handler := i.Handler()
	hsts := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Strict-Transport-Security", "max-age=63072000")
			next.ServeHTTP(w, r)
		})
	}
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { wrap(handler).ServeHTTP(w, r) }))
	front.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, time.Now().Add(90*24*time.Hour))}}
	front.StartTLS()
	t.Cleanup(front.Close)
	if _, err := i.Tenants.Create(t.Context(), tenant.New{Slug: "front", Name: "Front", Issuer: front.URL, Settings: tenant.Defaults()}); err != nil {
		t.Fatal(err)
	}
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a certificate of this test
		DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}}
	look := func(client *http.Client) (of []Finding) {
		o.Reach, o.Client = true, client
		for _, f := range Run(t.Context(), o) {
			if !strings.Contains(f.Found, "shop.example") && f.ID != "mail-unreachable" && !strings.HasPrefix(f.ID, "disk-") {
				of = append(of, f)
			}
		}
		return of
	}
	wrap = hsts
	if found := look(trusting); len(found) > 0 {
		t.Errorf("%s", told(found))
	}
	finds(t, Run(t.Context(), o), "public-unreachable", "shop.example")
	finds(t, look(http.DefaultClient), "public-certificate", front.URL)
	wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&without{w, "Strict-Transport-Security"}, r)
		})
	}
	finds(t, look(trusting), "public-hsts", front.URL)
	// A proxy that believes strangers about the host.
	wrap = func(next http.Handler) http.Handler {
		return hsts(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if host := r.Header.Get("X-Forwarded-Host"); host != "" {
				r.Host = host
			}
			next.ServeHTTP(w, r)
		}))
	}
	finds(t, look(trusting), "public-forwarded", front.URL)
	wrap = func(http.Handler) http.Handler {
		return hsts(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"issuer":"https://inner.example","metric":"cardea_build_info"}`))
		}))
	}
	found := look(trusting)
	finds(t, found, "public-issuer", "inner.example") // and it answers at every address
	finds(t, found, "public-admin", "/v1/tenants")
	finds(t, found, "public-metrics", "/metrics")
	wrap = hsts
	front.TLS.Certificates[0] = certificate(t, time.Now().Add(24*time.Hour))
	trusting.CloseIdleConnections()
	finds(t, look(trusting), "public-certificate-expires", front.URL)
}

// without takes a header out of an answer.
type without struct {
	http.ResponseWriter
	name string
}

func (w *without) WriteHeader(status int) {
	w.Header().Del(w.name)
	w.ResponseWriter.WriteHeader(status)
}

func (w *without) Write(p []byte) (int, error) {
	w.Header().Del(w.name)
	return w.ResponseWriter.Write(p)
}

func certificate(t *testing.T, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	made, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{made}, PrivateKey: key}
}

// docs/production.md lists every rule, in the words of this package.
func TestRulesAreDocumented(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "production.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| | severity | what it means | what to do |\n| --- | --- | --- | --- |\n")
	for _, r := range Rules {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", r.ID, r.Severity, r.Means, r.Do)
	}
	if !strings.Contains(string(text), table.String()) {
		if os.Getenv("CARDEA_WRITE_RULES") != "" {
			before, rest, _ := strings.Cut(string(text), "<!-- rules -->\n")
			_, after, _ := strings.Cut(rest, "<!-- end of rules -->\n")
			if err := os.WriteFile(page, []byte(before+"<!-- rules -->\n"+table.String()+"<!-- end of rules -->\n"+after), 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
		t.Errorf("the table of rules in %s is not this; run the test with CARDEA_WRITE_RULES=1:\n%s", page, &table)
	}
}
