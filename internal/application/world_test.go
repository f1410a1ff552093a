package application_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

const (
	acme  id.Tenant = "ten_acme"
	other id.Tenant = "ten_other"
)

// world is one node that serves applications.
type world struct {
	*application.Store
	db    *sqldb.DB
	clock *clock.Fake

	mu      sync.Mutex
	keys    []string // the algorithms that were asked for
	keyless error    // what making a key answers
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
	sets := []sqldb.MigrationSet{configversion.Migrations(), event.Migrations(), application.Migrations()}
	w := &world{db: dbtest.Open(t, engine, sets, func(o *sqldb.Options) { o.Clock = fake }), clock: fake}
	w.wire(false)
	return w
}

// second is another node on the same database.
func (w *world) second(t *testing.T) *world {
	t.Helper()
	other := &world{db: w.db, clock: w.clock}
	if w.db.Engine() == sqldb.Postgres {
		other.db = dbtest.OpenSecond(t, w.db, func(o *sqldb.Options) { o.Clock = w.clock })
	}
	other.wire(false)
	return other
}

func (w *world) wire(development bool) {
	log := event.New(event.Options{DB: w.db, Clock: w.clock, Random: rand.Reader, Bump: func(*sqldb.Tx, id.Tenant, id.Customer) (int64, error) {
		return 0, errors.New("an event of a tenant is no customer's")
	}})
	w.Store = application.NewStore(application.Options{
		DB: w.db, Watch: configversion.New(w.db, w.clock, slog.New(slog.DiscardHandler)), Log: log, Clock: w.clock, Random: rand.Reader,
		Development: development,
		NeedKey: func(_ context.Context, _ id.Tenant, alg string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.keys = append(w.keys, alg)
			return w.keyless
		},
	})
}

// shop are settings that are right.
func shop() application.Settings {
	return application.Settings{Name: "Shop", Kind: application.Web, RedirectURIs: []string{"https://shop.example/callback"}}
}

func (w *world) create(t *testing.T, settings application.Settings) (*application.Application, string) {
	t.Helper()
	made, secret, err := w.Create(t.Context(), acme, "", settings, "")
	if err != nil {
		t.Fatal(err)
	}
	return made, secret
}

func (w *world) stale() { w.clock.Advance(configversion.Staleness + time.Microsecond) }

// count counts the rows that a query counts.
func (w *world) count(t *testing.T, query string, args ...any) (n int) {
	t.Helper()
	if err := w.db.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
