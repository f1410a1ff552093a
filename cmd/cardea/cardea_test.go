package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/backup"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

// machine is where the program is run.
type machine struct {
	t      *testing.T
	folder string
	args   []string // name the installation
	config string
	urls   [2]string
}

// newMachine has a configuration for an installation that is not there yet.
func newMachine(t *testing.T, engine sqldb.Engine) *machine {
	t.Helper()
	// The path of a socket is short.
	folder, err := os.MkdirTemp("", "cardea")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	m := &machine{t: t, folder: folder, config: filepath.Join(folder, "cardea.yaml")}
	m.args = []string{"--config", m.config}
	m.urls = [2]string{"sqlite:" + filepath.Join(folder, "cardea.db"), "sqlite:" + filepath.Join(folder, "keys.db")}
	if engine == sqldb.Postgres {
		m.urls = [2]string{dbtest.URL(t, engine, nil), dbtest.URL(t, engine, nil)}
	}
	m.must("keys", "root", "generate", "--out", filepath.Join(folder, "root.key"))
	text := fmt.Sprintf("listen: 127.0.0.1:0\ndata_dir: %s\ndrain_delay: 0s\nbase_url: http://localhost:9999\nroot_key: {file: %s}\ndatabase: {url: '%s'}\nkey_store: {url: '%s'}\nlog: {format: text}\n",
		folder, filepath.Join(folder, "root.key"), m.urls[0], m.urls[1])
	if err := os.WriteFile(m.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// result is what a run left.
type result struct {
	code     int
	out, err string
}

func (m *machine) run(args ...string) result { return m.runWith("", args...) }

func (m *machine) runWith(in string, args ...string) result {
	m.t.Helper()
	var out, err bytes.Buffer
	p := &program{out: &out, err: &err, in: strings.NewReader(in)}
	code := p.run(m.t.Context(), args)
	return result{code, out.String(), err.String()}
}

// must runs what has to succeed, and returns what it printed.
func (m *machine) must(args ...string) string {
	m.t.Helper()
	got := m.run(args...)
	if got.code != exitDone {
		m.t.Fatalf("cardea %s: %d\n%s%s", strings.Join(args, " "), got.code, got.out, got.err)
	}
	return got.out
}

// here is must for the machine's installation.
func (m *machine) here(args ...string) string {
	m.t.Helper()
	return m.must(m.at(args...)...)
}

// at adds the machine's installation to a command.
func (m *machine) at(args ...string) []string { return append(args, m.args...) }

// fails runs what has to fail with a code and a text in its message.
func (m *machine) fails(code int, text string, args ...string) {
	m.t.Helper()
	if got := m.run(args...); got.code != code || !strings.Contains(got.err, text) {
		m.t.Errorf("cardea %s: %d, want %d and %q\n%s%s", strings.Join(args, " "), got.code, code, text, got.out, got.err)
	}
}

// serve runs the server until the function that it returns is called.
func (m *machine) serve() (stop func()) {
	m.t.Helper()
	stop, _ = m.serveAt()
	return stop
}

// serveAt is serve, for whoever asks the server at its address.
func (m *machine) serveAt() (stop func(), address string) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := &lockedBuffer{}
	ended := make(chan int, 1)
	go func() {
		p := &program{out: log, err: log}
		ended <- p.run(ctx, append([]string{"serve"}, m.args...))
	}()
	for start := time.Now(); !strings.Contains(log.String(), "msg=ready"); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 20*time.Second || len(ended) > 0 {
			cancel()
			m.t.Fatalf("the server does not start:\n%s", log)
		}
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if code := <-ended; code != exitDone {
				m.t.Errorf("the server ended with %d:\n%s", code, log)
			}
			if _, err := os.Stat(filepath.Join(m.folder, "cardea.sock")); err == nil {
				m.t.Error("the socket is left behind")
			}
		})
	}
	m.t.Cleanup(stop)
	_, address, _ = strings.Cut(log.String(), " address=")
	address, _, _ = strings.Cut(address, " ")
	return stop, address
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func engines(t *testing.T, test func(t *testing.T, engine sqldb.Engine)) {
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) { test(t, engine) })
	}
}

func parse[T any](t *testing.T, text string) (value T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}

// TestCommands runs every command that calls a handler, with a server and
// without one.
func TestCommands(t *testing.T) {
	for _, served := range []bool{false, true} {
		t.Run(map[bool]string{false: "in process", true: "over the socket"}[served], func(t *testing.T) {
			engines(t, func(t *testing.T, engine sqldb.Engine) {
				m := newMachine(t, engine)
				if served {
					m.serve()
				}
				if got := m.here("tenant", "list"); !strings.Contains(got, "There are no tenants") {
					t.Error(got)
				}
				made := parse[tenantView](t, m.here("tenant", "create", "--slug", "shop", "--name", "The Shop", "--json"))
				if made.Issuer != "http://localhost:9999/t/shop" {
					t.Errorf("%+v", made)
				}
				if got := m.here("tenant", "list"); !strings.Contains(got, made.ID) || !strings.Contains(got, "The Shop") {
					t.Error(got)
				}
				m.fails(exitFailed, "Another tenant has that slug", m.at("tenant", "create", "--slug", "shop", "--name", "x")...)

				file := filepath.Join(m.folder, "settings.yaml")
				if err := os.WriteFile(file, []byte("region: DE\npassword: {min_length: 8}\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				got := m.run(m.at("settings", "apply", "--tenant", "shop", "-f", file)...)
				if got.code != exitDone || !strings.Contains(got.out, "revision 2") || !strings.Contains(got.err, "warning: password.min_length is 8") {
					t.Errorf("%+v", got)
				}
				m.fails(exitFailed, "changed by somebody else", m.at("settings", "apply", "--tenant", "shop", "-f", file, "--revision", "1")...)
				if settings := parse[map[string]any](t, m.here("settings", "show", "--tenant", "shop")); settings["region"] != "DE" {
					t.Errorf("%v", settings)
				}

				app := parse[map[string]string](t, m.here("application", "create", "--tenant", "shop", "--name", "App", "--kind", "web",
					"--redirect-uri", "https://a.example/cb?x=1,2", "--redirect-uri", "https://b.example/cb", "--first-party", "--json"))
				if len(app) != 2 || app["client_id"] == "" || app["client_secret"] == "" {
					t.Errorf("%v", app)
				}
				if got := m.here("application", "list", "--tenant", "shop"); !strings.Contains(got, app["client_id"]) || strings.Contains(got, app["client_secret"]) || !strings.Contains(got, "https://a.example/cb?x=1,2 https://b.example/cb") {
					t.Error(got)
				}
				if again := parse[map[string]string](t, m.here("application", "secret", app["client_id"], "--tenant", "shop", "--json")); again["client_secret"] == "" || again["client_secret"] == app["client_secret"] {
					t.Errorf("%v", again)
				}
				m.fails(exitFailed, "redirect_uris is empty", m.at("application", "create", "--tenant", "shop", "--name", "x", "--kind", "spa")...)

				ana := parse[customerView](t, m.here("customer", "create", "--tenant", "shop", "--email", "ana@example.com", "--phone", "030 22732152", "--verified", "--set", "given_name=Ana, of Porto", "--json"))
				if ana.Profile["given_name"] != "Ana, of Porto" || len(ana.Identifiers) != 2 || !ana.Identifiers[0].Verified {
					t.Errorf("%+v", ana)
				}
				m.fails(exitFailed, "Another customer", m.at("customer", "create", "--tenant", "shop", "--email", "ana@example.com", "--verified")...)
				m.fails(exitFailed, "shoe_size", m.at("customer", "create", "--tenant", "shop", "--email", "b@example.com", "--set", "shoe_size=40")...)
				m.fails(exitUsage, "needs an identifier", m.at("customer", "create", "--tenant", "shop")...)
				m.fails(exitUsage, "unknown flag --password", m.at("customer", "create", "--tenant", "shop", "--password", "x")...)
				for _, name := range []string{ana.ID, "ANA@example.com", "+49 30 22732152"} {
					if got := m.here("customer", "show", name, "--tenant", "shop"); !strings.Contains(got, ana.ID) || !strings.Contains(got, "Ana, of Porto") {
						t.Error(got)
					}
				}
				changed := parse[customerView](t, m.here("customer", "profile", "ana@example.com", "--tenant", "shop", "--set", "nickname=Annie", "--unset", "given_name", "--json"))
				if fmt.Sprint(changed.Profile) != "map[nickname:Annie]" || changed.Revision != 2 {
					t.Errorf("%+v", changed)
				}
				m.fails(exitFailed, "changed by somebody else", m.at("customer", "profile", ana.ID, "--tenant", "shop", "--set", "nickname=B", "--revision", "1")...)
				for _, act := range [][2]string{{"lock", "locked"}, {"unlock", "active"}, {"suspend", "suspended"}, {"activate", "active"}} {
					if got := m.here("customer", act[0], "ana@example.com", "--tenant", "shop"); got != ana.ID+" is "+act[1]+".\n" {
						t.Error(got)
					}
				}
				if got := m.here("session", "list", ana.ID, "--tenant", "shop"); !strings.Contains(got, "no sessions") {
					t.Error(got)
				}
				m.here("session", "revoke", ana.ID, "--all", "--tenant", "shop")
				m.fails(exitUsage, "which session", m.at("session", "revoke", ana.ID, "--tenant", "shop")...)
				if got := m.here("grant", "list", ana.ID, "--tenant", "shop"); !strings.Contains(got, "no application") {
					t.Error(got)
				}
				m.fails(exitFailed, "allowed that application nothing", m.at("grant", "revoke", ana.ID, app["client_id"], "--tenant", "shop")...)
				if got := parse[[]eventView](t, m.here("event", "list", "--tenant", "shop", "--customer", ana.ID, "--limit", "2", "--json")); len(got) != 2 || got[0].Actor != "operator" {
					t.Errorf("%+v", got)
				}

				if got := m.here("keys", "rotate", "--tenant", "shop", "--alg", "ES256"); !strings.Contains(got, "is published") {
					t.Error(got)
				}
				if got := m.here("keys", "list", "--tenant", "shop"); !strings.Contains(got, "published") || !strings.Contains(got, "active") {
					t.Error(got)
				}
				m.here("keys", "rotate", "--tenant", "shop", "--envelope")
				m.here("keys", "rewrap")
				if got := m.here("keys", "lookup", "--tenant", "shop"); !strings.Contains(got, "none is being replaced") {
					t.Error(got)
				}
				for range 2 { // beginning again begins nothing
					if got := m.here("keys", "rotate", "--tenant", "shop", "--lookup"); !strings.Contains(got, "announced: every server learns of the new key") {
						t.Error(got)
					}
				}
				if got := parse[lookupView](t, m.here("keys", "lookup", "--tenant", "shop", "--json")); got.Phase != "announced" || got.ReadyAt.IsZero() || got.Failed != 0 {
					t.Errorf("%+v", got)
				}
				m.here("customer", "show", "ana@example.com", "--tenant", "shop")
				m.fails(exitUsage, "--lookup", m.at("keys", "rotate", "--tenant", "shop", "--lookup", "--envelope")...)
				m.fails(exitUsage, "--alg", m.at("keys", "rotate", "--tenant", "shop")...)
				if got := m.here("customer", "erase", "--yes", "ana@example.com", "--tenant", "shop"); got != ana.ID+" is erased.\n" {
					t.Error(got)
				}
				m.fails(exitFailed, "was erased", m.at("customer", "show", ana.ID, "--tenant", "shop")...)
				ledger := filepath.Join(m.folder, "ledger.jsonl")
				m.here("keys", "ledger", "--out", ledger)
				if text, err := os.ReadFile(ledger); err != nil || !strings.Contains(string(text), ana.ID) {
					t.Errorf("%v: %s", err, text)
				}
			})
		})
	}
}

// TestBackupAndRestore backs up beside the server, and restores in its absence.
func TestBackupAndRestore(t *testing.T) {
	engines(t, func(t *testing.T, engine sqldb.Engine) {
		m := newMachine(t, engine)
		stop := m.serve()
		m.here("tenant", "create", "--slug", "shop", "--name", "Shop")
		stays := parse[customerView](t, m.here("customer", "create", "--tenant", "shop", "--email", "stays@example.com", "--verified", "--json"))
		goes := parse[customerView](t, m.here("customer", "create", "--tenant", "shop", "--email", "goes@example.com", "--verified", "--json"))
		folder := filepath.Join(m.folder, "backup")
		if got := m.here("backup", "--out", folder); !strings.Contains(got, filepath.Join(folder, "keys")) {
			t.Error(got)
		}
		m.fails(exitFailed, "is there already", m.at("backup", "--out", folder)...)
		m.fails(exitFailed, filepath.Join(m.folder, "none")+" is not there. Make ", m.at("backup", "--out", filepath.Join(m.folder, "none", "monday"))...)
		m.here("customer", "erase", "--yes", goes.ID, "--tenant", "shop")
		m.fails(exitFailed, "stop", m.at("restore", "--from", folder, "--force")...)
		if engine == sqldb.SQLite {
			m.fails(exitFailed, "stop the server first", m.at("migrate")...)
		} else {
			m.here("migrate")
		}
		stop()
		m.fails(exitFailed, "--force", m.at("restore", "--from", folder)...)
		apart := filepath.Join(m.folder, "apart")
		if err := os.Rename(filepath.Join(folder, "keys"), apart); err != nil {
			t.Fatal(err)
		}
		m.fails(exitFailed, "--keys", m.at("restore", "--from", folder, "--force")...)
		if err := os.Rename(apart, filepath.Join(folder, "keys")); err != nil {
			t.Fatal(err)
		}
		got := parse[backup.Restored](t, m.here("restore", "--from", folder, "--force", "--json"))
		if got.Erased != 1 || got.NoLedger || !got.Replaced {
			t.Errorf("%+v", got)
		}
		db, err := sqldb.Open(t.Context(), sqldb.Options{URL: m.urls[0], MaxConns: 2})
		if err != nil {
			t.Fatal(err)
		}
		var told int
		err = db.QueryRow(t.Context(), `SELECT COUNT(*) FROM event WHERE type = 'installation.restored'`).Scan(&told)
		if err = errors.Join(err, db.Close()); err != nil || told != 1 {
			t.Errorf("the restore is on record %d times: %v", told, err)
		}
		m.serve()
		m.here("customer", "show", stays.ID, "--tenant", "shop")
		m.fails(exitFailed, "was erased", m.at("customer", "show", goes.ID, "--tenant", "shop")...)
		m.fails(exitFailed, "No customer", m.at("customer", "show", "goes@example.com", "--tenant", "shop")...)
		m.here("event", "verify") // the record goes on where the backup was made
		if out := m.here("event", "list", "--tenant", "shop"); !strings.Contains(out, "customer.erased") {
			t.Errorf("listed is %s", out)
		}
	})
}

// TestAnUnfinishedRestoreIsNotServed is the same with a restore that fails in
// the middle.
func TestAnUnfinishedRestoreIsNotServed(t *testing.T) {
	engines(t, func(t *testing.T, engine sqldb.Engine) {
		m := newMachine(t, engine)
		m.here("tenant", "create", "--slug", "shop", "--name", "Shop")
		folder := filepath.Join(m.folder, "backup")
		m.here("backup", "--out", folder)
		root, err := keyring.RootFromFile(filepath.Join(m.folder, "root.key"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = backup.Restore(t.Context(), backup.Restoration{
			Folder: folder, DatabaseURL: m.urls[0], KeyStoreURL: m.urls[1], Migrations: server.Migrations(), StoreMigrations: server.KeyStoreMigrations(),
			Root: root, Force: true, Clock: clock.System(), Random: rand.Reader,
			Finish: func(context.Context) error { return errors.New("interrupted") },
		})
		if err == nil {
			t.Fatal("it was to fail")
		}
		for _, command := range [][]string{{"serve"}, {"tenant", "list"}, {"migrate"}, {"backup", "--out", filepath.Join(m.folder, "other")}} {
			m.fails(exitFailed, "has not been finished", m.at(command...)...)
		}
		m.here("restore", "--from", folder)
		m.here("tenant", "list")
	})
}

func TestUsage(t *testing.T) {
	m := newMachine(t, sqldb.SQLite)
	t.Chdir(m.folder)
	m.fails(exitUsage, "unexpected argument", "frobnicate")
	m.fails(exitUsage, "missing flags: --tenant", "customer", "show", "x")
	m.fails(exitUsage, "which installation?", "tenant", "list")
	m.fails(exitUsage, "is not a data folder", "tenant", "list", "--data", filepath.Join(m.folder, "nowhere"))
	m.fails(exitUsage, "can't be used together", m.at("tenant", "list", "--data", m.folder)...)
	m.fails(exitFailed, "never overwritten", "keys", "root", "generate", "--out", filepath.Join(m.folder, "root.key"))
	bad := filepath.Join(m.folder, "bad.yaml")
	if err := os.WriteFile(bad, []byte("listen: 3\nlisten_on: x\ndatabase: {url: 'mysql://x'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"4 faults", "listen (bad.yaml:1)", "listen_on", "database.url", "root_key is missing"} {
		m.fails(exitUsage, text, "serve", "--config", bad)
	}
	if got := m.must("config", "reference"); !strings.Contains(got, "CARDEA_ROOT_KEY_VALUE") {
		t.Error(got)
	}
	if got := m.must("version"); !strings.HasPrefix(got, "cardea ") {
		t.Error(got)
	}
	if got := m.must("--help"); !strings.Contains(got, "customer erase") {
		t.Error(got)
	}
	if got := m.must("restore", "--help"); !strings.Contains(got, "--force") {
		t.Error(got)
	}
}

// TestNothingReachesTheTerminalButText is about what customers and applications
// call themselves.
func TestNothingReachesTheTerminalButText(t *testing.T) {
	m := newMachine(t, sqldb.SQLite)
	m.here("tenant", "create", "--slug", "shop", "--name", "Shop")
	name := "Ana\x1b]0;owned\x07\u202egnp.exe\r"
	made := m.here("customer", "create", "--tenant", "shop", "--email", "ana@example.com", "--set", "name="+name)
	if strings.ContainsAny(made, "\x1b\x07\r") || strings.Contains(made, "\u202e") || !strings.Contains(made, "Ana") {
		t.Errorf("%q", made)
	}
	m.fails(exitUsage, "x\ufffd[2J", "x\x1b[2J")
}

// TestDev uses the data of `cardea dev`, while it runs and after.
func TestDev(t *testing.T) {
	m := newMachine(t, sqldb.SQLite)
	t.Chdir(m.folder)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out lockedBuffer
	ended := make(chan int, 1)
	addresses := filepath.Join(m.folder, "addresses.json")
	go func() {
		p := &program{out: &out, err: &out}
		ended <- p.run(ctx, []string{"dev", "--port-base", fmt.Sprint(freePorts(t, 5)), "--addresses-file", addresses})
	}()
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(addresses); err == nil {
			break
		}
		if time.Since(start) > 30*time.Second || len(ended) > 0 {
			t.Fatalf("it does not start: %s", out.String())
		}
	}
	for _, where := range [][]string{{}, {"--data", ".cardea"}} {
		if got := m.must(append([]string{"customer", "show", "ana@olive-thyme.example", "--tenant", "olive-thyme"}, where...)...); !strings.Contains(got, "active") {
			t.Error(got)
		}
	}
	newcomerAsksTheAdminAPI(t, addresses, out.String())
	m.must("application", "create", "--tenant", "olive-thyme", "--name", "Mine", "--kind", "web", "--redirect-uri", "http://localhost:3000/callback")
	m.must("backup", "--out", filepath.Join(m.folder, "backup"))
	cancel()
	if code := <-ended; code != exitDone {
		t.Errorf("it ended with %d: %s", code, out.String())
	}
	m.must("restore", "--from", filepath.Join(m.folder, "backup"), "--force")
	if got := m.must("application", "list", "--tenant", "olive-thyme", "--data", ".cardea"); !strings.Contains(got, "Mine") {
		t.Error(got)
	}
}

// newcomerAsksTheAdminAPI does what the start screen says: one request for a
// token, and the next is answered.
func newcomerAsksTheAdminAPI(t *testing.T, file, screen string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := parse[struct{ System, AdminAPI, AdminToken string }](t, string(text))
	if !strings.Contains(screen, at.AdminAPI) || !strings.Contains(screen, "curl "+at.AdminToken) {
		t.Errorf("the screen does not say where it is: %s", screen)
	}
	ask := func(address, host, token string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.Host = host; token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, strings.TrimSpace(string(body))
	}
	status, token := ask(at.AdminToken, "", "")
	if status != 200 {
		t.Fatalf("%d %s", status, token)
	}
	for _, path := range []string{"/admin/v1/tenants", "/admin/v1/tenants/olive-thyme/customers", "/admin/v1/operators"} {
		if status, text := ask(at.System+path, "", token); status != 200 || !strings.Contains(text, `"items"`) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if status, text := ask(at.AdminToken, "attacker.example", ""); status != 404 || strings.Contains(text, ".ey") {
		t.Errorf("under another name: %d %s", status, text)
	}
}

// freePorts finds so many free ports in a row.
func freePorts(t *testing.T, n int) int {
	for try := 0; try < 50; try++ {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		base, free := first.Addr().(*net.TCPAddr).Port, true
		first.Close()
		for port := base; port < base+n && free; port++ {
			l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
			if free = err == nil; free {
				l.Close()
			}
		}
		if free {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}
