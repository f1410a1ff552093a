package backup_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/cardea-id/cardea/internal/backup"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

func sqlSet(pkg string, files ...string) sqldb.MigrationSet {
	fs := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		fs["migrations/"+files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return sqldb.MigrationSet{Package: pkg, FS: fs}
}

// every is a table with a value of every kind, and some of money whose sum
// never changes.
var every = sqlSet("every", "001_every.sql", `
-- distribution: id
CREATE TABLE every (id BIGINT NOT NULL PRIMARY KEY, "text" TEXT, flag BOOLEAN, data BYTEA, at BIGINT);
-- distribution: id
CREATE TABLE money (id BIGINT NOT NULL PRIMARY KEY, amount BIGINT NOT NULL);
INSERT INTO money (id, amount) VALUES (-1, 0);`)

func sets() []sqldb.MigrationSet {
	return []sqldb.MigrationSet{keyring.Migrations(), event.Migrations(), customer.Migrations(), every}
}

func storeSets() []sqldb.MigrationSet { return []sqldb.MigrationSet{keyring.StoreMigrations()} }

// place is two addresses of databases.
type place struct{ database, keys string }

func newPlace(t testing.TB, engine sqldb.Engine) place {
	return place{dbtest.URL(t, engine, nil), dbtest.URL(t, engine, nil)}
}

func root(t testing.TB, fill byte) keyring.Root {
	t.Helper()
	root, err := makeRoot(fill)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func makeRoot(fill byte) (keyring.Root, error) {
	key := sha256.Sum256([]byte{fill})
	return keyring.RootFromBytes(key[:])
}

// world is an installation at work.
type world struct {
	place
	db, store *sqldb.DB
	ring      *keyring.Ring
	directory *customer.Directory
	tenant    id.Tenant
}

const theTenant id.Tenant = "ten_06ebb2s8000000000000000000"

func openWorld(t testing.TB, at place) *world {
	t.Helper()
	w := &world{place: at, tenant: theTenant}
	ctx := t.Context()
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.db, err = sqldb.Open(ctx, sqldb.Options{URL: at.database})
	check()
	w.store, err = sqldb.Open(ctx, sqldb.Options{URL: at.keys})
	check()
	t.Cleanup(func() { w.close() })
	err = errors.Join(w.db.Migrate(ctx, sets()...), w.store.Migrate(ctx, storeSets()...))
	check()
	w.ring, err = keyring.Open(ctx, keyring.Options{DB: w.db, Store: w.store, Root: root(t, 1), Random: rand.Reader})
	check()
	err = w.ring.CreateTenant(ctx, w.tenant)
	check()
	log := event.New(event.Options{DB: w.db, Bump: func(tx *sqldb.Tx, t id.Tenant, c id.Customer) (int64, error) { return w.directory.Bump(tx, t, c) }})
	w.directory = customer.New(customer.Options{DB: w.db, Ring: w.ring, Log: log, Clock: clock.System(), Random: rand.Reader})
	return w
}

func (w *world) close() {
	if w.db != nil {
		w.db.Close()
		w.store.Close()
		w.db = nil
	}
}

func (w *world) signUp(ctx context.Context, email string) (id.Customer, error) {
	made := id.New[id.Customer](clock.System().Now(), rand.Reader)
	keys, err := w.ring.Tenant(ctx, w.tenant)
	if err != nil {
		return "", err
	}
	key, err := w.ring.CreateCustomer(ctx, w.tenant, made)
	if err != nil {
		return "", err
	}
	n, err := identifier.Normalise(identifier.Email, email, identifier.Options{})
	if err != nil {
		return "", err
	}
	return made, w.db.Write(ctx, func(tx *sqldb.Tx) error {
		return w.directory.Create(tx, keys, key, customer.NewCustomer{Tenant: w.tenant, Customer: made,
			Identifiers: []customer.NewIdentifier{{Normalised: n, Verified: true}}, Profile: map[string]any{"name": email}})
	})
}

func (w *world) mustSignUp(t testing.TB, email string) id.Customer {
	t.Helper()
	made, err := w.signUp(t.Context(), email)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (w *world) source(t testing.TB) backup.Source {
	return backup.Source{DB: w.db, Store: w.store, Ring: w.ring, Root: root(t, 1).ID(), Release: "test", Clock: clock.System(), Random: rand.Reader}
}

func (w *world) backUp(t testing.TB) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "backup")
	if _, err := backup.Write(t.Context(), w.source(t), backup.Destination{Folder: folder}); err != nil {
		t.Fatal(err)
	}
	return folder
}

// restoration restores to a place, with erasures finished as the server does.
func restoration(t testing.TB, folder string, to place) backup.Restoration {
	return backup.Restoration{
		Folder: folder, DatabaseURL: to.database, KeyStoreURL: to.keys, Migrations: sets(), StoreMigrations: storeSets(),
		Root: root(t, 1), Clock: clock.System(), Random: rand.Reader,
		Finish: func(ctx context.Context) error {
			w := openWorld(t, to)
			defer w.close()
			return w.finishErasures(ctx)
		},
	}
}

func (w *world) finishErasures(ctx context.Context) error {
	erased, err := w.ring.Erased(ctx, 0, 1000)
	for _, e := range erased {
		if err := w.directory.FinishErasure(ctx, e.Tenant, e.Customer); err != nil && !errors.Is(err, customer.ErrNotFound) {
			return err
		}
	}
	return err
}

func engines(t *testing.T, test func(t *testing.T, engine sqldb.Engine)) {
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) { test(t, engine) })
	}
}

// hook is a log handler that calls a function when a restore has come to a
// part.
type hook struct {
	slog.Handler
	at func(part string)
}

func (h hook) Enabled(context.Context, slog.Level) bool { return true }

func (h hook) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "restoring" {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "part" {
				h.at(a.Value.String())
			}
			return true
		})
	}
	return nil
}

func (h hook) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h hook) WithGroup(string) slog.Handler      { return h }

func hooked(at func(part string)) *slog.Logger { return slog.New(hook{slog.DiscardHandler, at}) }

// TestMain runs a restore that is killed in the middle when a test asks this
// program to do so.
func TestMain(m *testing.M) {
	part := os.Getenv("BACKUP_TEST_KILL_AT")
	if part == "" {
		os.Exit(m.Run())
	}
	rootKey, err := makeRoot(1)
	if err == nil {
		_, err = backup.Restore(context.Background(), backup.Restoration{
			Folder: os.Getenv("BACKUP_TEST_FOLDER"), DatabaseURL: os.Getenv("BACKUP_TEST_DATABASE"), KeyStoreURL: os.Getenv("BACKUP_TEST_KEYS"),
			Migrations: sets(), StoreMigrations: storeSets(), Root: rootKey, Force: true, Clock: clock.System(), Random: rand.Reader,
			Logger: hooked(func(at string) {
				if at == part {
					_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				}
			}),
			Finish: func(context.Context) error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) },
		})
	}
	fmt.Fprintln(os.Stderr, "the restore was not killed:", err)
	os.Exit(3)
}
