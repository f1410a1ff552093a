package tenant_test

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// world is one node that serves tenants.
type world struct {
	*tenant.Store
	db    *sqldb.DB
	clock *clock.Fake
	ring  *keyring.Ring

	keys *sqldb.DB
	root keyring.Root
}

func each(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) { test(t, newWorld(t, engine)) })
	}
}

func newWorld(t *testing.T, engine sqldb.Engine) *world {
	t.Helper()
	fake := clock.NewFake(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC))
	withClock := func(o *sqldb.Options) { o.Clock = fake }
	sets := []sqldb.MigrationSet{configversion.Migrations(), event.Migrations(), keyring.Migrations(), tenant.Migrations()}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	root, err := keyring.RootFromBytes(secret)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		db: dbtest.Open(t, engine, sets, withClock), clock: fake, root: root,
		keys: dbtest.Open(t, sqldb.SQLite, []sqldb.MigrationSet{keyring.StoreMigrations()}, withClock),
	}
	w.wire(t)
	return w
}

// second is another node on the same database.
func (w *world) second(t *testing.T) *world {
	t.Helper()
	other := *w
	if w.db.Engine() == sqldb.Postgres {
		other.db = dbtest.OpenSecond(t, w.db, func(o *sqldb.Options) { o.Clock = w.clock })
	}
	other.wire(t)
	return &other
}

func (w *world) wire(t *testing.T) {
	t.Helper()
	var err error
	w.ring, err = keyring.Open(t.Context(), keyring.Options{DB: w.db, Store: w.keys, Root: w.root, Clock: w.clock, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	log := event.New(event.Options{DB: w.db, Clock: w.clock, Random: rand.Reader, Bump: func(*sqldb.Tx, id.Tenant, id.Customer) (int64, error) {
		return 0, errors.New("an event of a tenant is no customer's")
	}})
	w.Store = tenant.NewStore(tenant.Options{
		DB: w.db, Watch: configversion.New(w.db, w.clock, slog.New(slog.DiscardHandler)), Ring: w.ring, Log: log, Clock: w.clock, Random: rand.Reader,
	})
}

// shop describes a tenant that is right.
func shop() tenant.New {
	return tenant.New{Slug: "shop", Name: "Shop", Issuer: "https://id.shop.example", Settings: tenant.Defaults()}
}

func (w *world) create(t *testing.T, n tenant.New) *tenant.Tenant {
	t.Helper()
	made, err := w.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// stale lets what a node has cached grow too old to be trusted.
func (w *world) stale() { w.clock.Advance(configversion.Staleness + time.Microsecond) }

// events are the types of a tenant's events, sorted: they have no order of
// their own.
func (w *world) events(t *testing.T, of id.Tenant) []string {
	t.Helper()
	rows, err := w.db.Query(t.Context(), `SELECT type FROM event WHERE tenant = $1 ORDER BY type`, of)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		types = append(types, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return types
}
