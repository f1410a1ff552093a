// Package servertest runs whole installations for black-box tests: the real
// handler over a real store, with a browser and an application at the other
// end.
package servertest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/backup"
	"github.com/cardea-id/cardea/internal/config"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/signingkey"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Clock is the machine's clock, moved by as much as a test says.
type Clock struct{ offset atomic.Int64 }

// Now returns the time.
func (c *Clock) Now() time.Time { return time.Now().UTC().Add(time.Duration(c.offset.Load())) }

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) { c.offset.Add(int64(d)) }

// Installation is one node of an installation under test.
type Installation struct {
	*server.Server
	Engine sqldb.Engine
	Base   string // the address that it serves
	Clock  *Clock

	t         testing.TB
	cfg       config.Config
	configure []func(*server.Environment)
	public    string // the host that tenants have, the first node's
	handler   atomic.Pointer[http.Handler]
	stop      func() // ends this node, once
}

// Each runs test on an installation on SQLite and on one on PostgreSQL.
// configure may change what they take from outside.
func Each(t *testing.T, test func(t *testing.T, i *Installation), configure ...func(*server.Environment)) {
	t.Helper()
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) { test(t, New(t, engine, configure...)) })
	}
}

// New runs an installation that lasts as long as the test.
func New(t testing.TB, engine sqldb.Engine, configure ...func(*server.Environment)) *Installation {
	t.Helper()
	var raw [32]byte
	if _, err := rand.Read(raw[:]); err != nil {
		t.Fatal(err)
	}
	i := &Installation{t: t, Engine: engine, Clock: &Clock{}, configure: configure}
	i.cfg = *config.Default()
	i.cfg.DataDir = t.TempDir()
	i.cfg.Database.URL = config.NewSecret(dbtest.URL(t, engine, append(server.Migrations(), server.DevelopmentMigrations()...)))
	i.cfg.KeyStore.URL = config.NewSecret(dbtest.URL(t, engine, server.KeyStoreMigrations()))
	i.cfg.RootKey.Value = config.NewSecret(base64.StdEncoding.EncodeToString(raw[:]))
	// All of a test comes from one address: the limits count and refuse nobody.
	i.cfg.Rate = config.Rate{FormsPerSecond: 100_000, FormsBurst: 1_000_000, FailuresPerSecond: 100_000, FailuresBurst: 1_000_000, AdminPerSecond: 100_000, AdminBurst: 1_000_000}
	i.listen()
	i.public = strings.TrimPrefix(i.Base, "http://")
	i.start()
	return i
}

// listen opens the address that the node is reached at, from whenever it
// first starts until the end of the test.
func (i *Installation) listen() {
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == strings.TrimPrefix(i.Base, "http://") {
			r.Host = i.public // as the balancer before several nodes does
		}
		(*i.handler.Load()).ServeHTTP(w, r)
	}))
	i.Base = front.URL
	i.t.Cleanup(front.Close)
}

// SecondNode runs another node on the same databases. It is for PostgreSQL.
func (i *Installation) SecondNode() *Installation {
	i.t.Helper()
	second := &Installation{t: i.t, Engine: i.Engine, Clock: i.Clock, cfg: i.cfg, configure: i.configure, public: i.public}
	second.listen()
	second.start()
	return second
}

// Restart stops the node and starts it anew on the same databases.
func (i *Installation) Restart() {
	i.t.Helper()
	i.stop()
	i.start()
}

// BackUp makes a backup, as an operator does while the node runs.
func (i *Installation) BackUp() (folder string) {
	i.t.Helper()
	root, err := server.RootKey(&i.cfg)
	i.must(err)
	folder = filepath.Join(i.t.TempDir(), "backup")
	_, err = backup.Write(context.Background(), backup.Source{DB: i.DB, Store: i.KeyStore, Ring: i.Ring, Root: root.ID(), Release: "test",
		Clock: i.Clock, Random: rand.Reader}, backup.Destination{Folder: folder})
	i.must(err)
	return folder
}

// Restore stops the node, puts a backup in the place of what is there, and
// starts the node anew.
func (i *Installation) Restore(folder string) {
	i.t.Helper()
	i.stop()
	root, err := server.RootKey(&i.cfg)
	i.must(err)
	_, err = backup.Restore(context.Background(), backup.Restoration{
		Folder: folder, DatabaseURL: i.cfg.Database.URL.Reveal(), KeyStoreURL: i.cfg.KeyStore.URL.Reveal(), Force: true,
		Migrations: append(server.Migrations(), server.DevelopmentMigrations()...), StoreMigrations: server.KeyStoreMigrations(), Root: root,
		Clock: i.Clock, Random: rand.Reader,
		Finish: func(ctx context.Context) error {
			cfg := i.cfg
			s, err := server.Assemble(ctx, i.environment(&cfg))
			if err != nil {
				return err
			}
			return errors.Join(s.FinishErasures(ctx), s.Close())
		},
	})
	i.must(err)
	i.start()
}

func (i *Installation) environment(cfg *config.Config) server.Environment {
	environment := server.Environment{
		Config: cfg, Clock: i.Clock, Random: rand.Reader, Development: true, Logger: slog.New(slog.NewTextHandler(testWriter{i.t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, change := range i.configure {
		change(&environment)
	}
	return environment
}

func (i *Installation) start() {
	i.t.Helper()
	cfg := i.cfg
	s, err := server.Assemble(context.Background(), i.environment(&cfg))
	if err != nil {
		i.t.Fatal(err)
	}
	i.Server = s
	stop := s.StartTasks(context.Background())
	handler := s.Handler()
	i.handler.Store(&handler)
	i.stop = sync.OnceFunc(func() {
		stop()
		if err := s.Close(); err != nil {
			i.t.Errorf("close the installation: %v", err)
		}
	})
	i.t.Cleanup(i.stop)
}

// testWriter sends the log to the test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(line []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(line)))
	return len(line), nil
}

// Settings are those of test tenants: the defaults, with hashes as cheap as
// they may be.
func Settings() tenant.Settings {
	s := tenant.Defaults()
	s.Password.MemoryKiB, s.Password.Time, s.Password.Parallelism = 7*1024, 5, 1
	s.Mail = tenant.Mail{FromName: "Test", FromAddress: "test@shop.example"}
	return s
}

// Tenant makes a tenant served by path, after change has had its say.
func (i *Installation) Tenant(slug string, change func(*tenant.Settings)) *tenant.Tenant {
	i.t.Helper()
	settings := Settings()
	if change != nil {
		change(&settings)
	}
	t, err := i.Tenants.Create(context.Background(), tenant.New{Slug: slug, Name: "Olive & " + slug, Issuer: i.Base, ByPath: true, Settings: settings})
	if err != nil {
		i.t.Fatal(err)
	}
	return t
}

// Application makes an application with a redirect URI of its own, which is
// never called.
func (i *Installation) Application(t *tenant.Tenant, change func(*application.Settings)) *App {
	i.t.Helper()
	settings := application.Settings{
		Name: "Shop", Kind: application.Web, FirstParty: true, IDTokenAlg: "ES256",
		RedirectURIs: []string{"https://shop.example/callback"}, PostLogoutURIs: []string{"https://shop.example/bye"},
	}
	if change != nil {
		change(&settings)
	}
	made, secret, err := i.Applications.Create(context.Background(), t.ID, "", settings, "test")
	if err != nil {
		i.t.Fatal(err)
	}
	if i.Engine == sqldb.Postgres { // its keys are new: what a node waits until it signs with them is over at once
		_, err := i.SigningKeys.Public(context.Background(), t.ID)
		i.must(err)
		i.Clock.Advance(signingkey.FirstWait)
	}
	return &App{Application: made, Secret: secret, Tenant: t, i: i}
}

// Customer makes a customer with a verified e-mail address and, unless it is
// empty, a password.
func (i *Installation) Customer(t *tenant.Tenant, email, password string) id.Customer {
	i.t.Helper()
	ctx := context.Background()
	address, err := identifier.Normalise(identifier.Email, email, identifier.Options{})
	i.must(err)
	keys, err := i.Ring.Tenant(ctx, t.ID)
	i.must(err)
	who := id.New[id.Customer](i.Clock.Now(), rand.Reader)
	key, err := i.Ring.CreateCustomer(ctx, t.ID, who)
	i.must(err)
	var hash credential.Hash
	if password != "" {
		p := t.Settings.Password
		hash, err = i.Hasher.Hash(ctx, credential.Asker{Tenant: t.ID}, credential.Params{MemoryKiB: p.MemoryKiB, Time: p.Time, Parallelism: p.Parallelism}, credential.NewPassword(password))
		i.must(err)
	}
	i.must(i.DB.Write(ctx, func(tx *sqldb.Tx) error {
		err := i.Directory.Create(tx, keys, key, customer.NewCustomer{Tenant: t.ID, Customer: who, Actor: "test",
			Identifiers: []customer.NewIdentifier{{Normalised: address, Verified: true}}, Profile: map[string]any{"given_name": "Ana"}, Lifecycle: t.Settings.Lifecycle})
		if err != nil || password == "" {
			return err
		}
		_, err = i.Passwords.SetPassword(tx, key, credential.Change{Tenant: t.ID, Customer: who, Actor: "test"}, hash)
		return err
	}))
	return who
}

// Code waits for the newest code that was sent to an address.
func (i *Installation) Code(address string) string {
	i.t.Helper()
	return i.CodeAfter(address, "")
}

// CodeAfter waits for a code newer than the given message. Notices may come in
// between.
func (i *Installation) CodeAfter(address string, before id.Message) string {
	i.t.Helper()
	for range 500 {
		letters, err := i.Inbox.List(context.Background(), address, "", 10)
		i.must(err)
		for _, letter := range letters { // the newest first
			if letter.ID > before && letter.Code != "" {
				return letter.Code
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	i.t.Fatalf("no code came for %s", address)
	return ""
}

// Newest returns the id of the newest message to an address, "" for none.
func (i *Installation) Newest(address string) id.Message {
	i.t.Helper()
	letters, err := i.Inbox.List(context.Background(), address, "", 1)
	i.must(err)
	if len(letters) == 0 {
		return ""
	}
	return letters[0].ID
}

// Count returns how many rows each table of the main database has, once events
// have their places and messages have left, which the program sees to by itself.
func (i *Installation) Count() map[string]int64 {
	i.t.Helper()
	for range 500 {
		var waiting int64
		i.must(i.DB.QueryRow(context.Background(), `SELECT (SELECT COUNT(*) FROM event_pending) + (SELECT COUNT(*) FROM notify_outbox)`).Scan(&waiting))
		if waiting == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	tables, err := i.DB.Tables(context.Background())
	i.must(err)
	counts := map[string]int64{}
	for _, table := range tables {
		var n int64
		i.must(i.DB.QueryRow(context.Background(), `SELECT COUNT(*) FROM `+table.Name).Scan(&n))
		counts[table.Name] = n
	}
	return counts
}

func (i *Installation) must(err error) {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
}

// noRedirect keeps a client where it is.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// transport is shared by all clients of a test process.
var transport = &http.Transport{MaxIdleConnsPerHost: 128, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}
