// Package sessiontest gives tests what stands around a session: a tenant,
// customers with their keys, and the capabilities in between, over a real
// database and a clock that the test moves.
package sessiontest

import (
	"crypto/rand"
	"log/slog"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
	"github.com/cardea-id/cardea/internal/tenant"
)

// World is one node.
type World struct {
	DB        *sqldb.DB
	Clock     *clock.Fake
	Ring      *keyring.Ring
	Log       *event.Log
	Watch     *configversion.Watch
	Directory *customer.Directory
	Sessions  *session.Sessions
	Tenant    *tenant.Tenant
	Other     *tenant.Tenant // another tenant

	store *sqldb.DB
	root  keyring.Root
}

// Each runs test on a fresh World on each engine; more are migrated too.
func Each(t *testing.T, more []sqldb.MigrationSet, test func(t *testing.T, w *World)) {
	t.Helper()
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(engine), func(t *testing.T) { test(t, New(t, engine, more)) })
	}
}

// New returns a node on a fresh database.
func New(t testing.TB, engine sqldb.Engine, more []sqldb.MigrationSet) *World {
	t.Helper()
	fake := clock.NewFake(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC))
	withClock := func(o *sqldb.Options) { o.Clock = fake }
	sets := append([]sqldb.MigrationSet{configversion.Migrations(), event.Migrations(), keyring.Migrations(), customer.Migrations(), session.Migrations()}, more...)
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	root, err := keyring.RootFromBytes(secret)
	if err != nil {
		t.Fatal(err)
	}
	w := &World{
		DB: dbtest.Open(t, engine, sets, withClock), Clock: fake, root: root,
		store:  dbtest.Open(t, sqldb.SQLite, []sqldb.MigrationSet{keyring.StoreMigrations()}, withClock),
		Tenant: newTenant(fake, "shop"), Other: newTenant(fake, "club"),
	}
	w.wire(t)
	for _, made := range []*tenant.Tenant{w.Tenant, w.Other} {
		if err := w.Ring.CreateTenant(t.Context(), made.ID); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func newTenant(c clock.Clock, slug string) *tenant.Tenant {
	return &tenant.Tenant{ID: id.New[id.Tenant](c.Now(), rand.Reader), Slug: slug, Name: slug, Issuer: "https://" + slug + ".example", Settings: tenant.Defaults()}
}

// Second returns another node on the same database.
func (w *World) Second(t testing.TB) *World {
	t.Helper()
	second := *w
	second.DB = dbtest.OpenSecond(t, w.DB, func(o *sqldb.Options) { o.Clock = w.Clock })
	second.wire(t)
	return &second
}

func (w *World) wire(t testing.TB) {
	t.Helper()
	var err error
	w.Ring, err = keyring.Open(t.Context(), keyring.Options{DB: w.DB, Store: w.store, Root: w.root, Clock: w.Clock, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	directory := customer.New(customer.Options{DB: w.DB, Ring: w.Ring, Clock: w.Clock, Random: rand.Reader})
	w.Directory = directory
	w.Log = event.New(event.Options{DB: w.DB, Clock: w.Clock, Random: rand.Reader, Bump: directory.Bump})
	directory.Log = w.Log
	w.Watch = configversion.New(w.DB, w.Clock, slog.New(slog.DiscardHandler))
	w.Sessions = session.New(session.Options{
		DB: w.DB, Ring: w.Ring, Log: w.Log, Clock: w.Clock, Random: rand.Reader,
		Customer: func(b *sqldb.Batch, t id.Tenant, c id.Customer) func() session.Holder {
			state := directory.QueueState(b, t, c)
			return func() session.Holder {
				return session.Holder{Allowed: state.Found && state.Status.MayUseTokens(), Epoch: state.Epoch}
			}
		},
	})
}

// NewCustomer makes an account at the World's tenant.
func (w *World) NewCustomer(t testing.TB) (id.Customer, *keyring.Customer) {
	t.Helper()
	made := id.New[id.Customer](w.Clock.Now(), rand.Reader)
	key, err := w.Ring.CreateCustomer(t.Context(), w.Tenant.ID, made)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := w.Ring.Tenant(t.Context(), w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(t, func(tx *sqldb.Tx) error {
		return w.Directory.Create(tx, keys, key, customer.NewCustomer{Tenant: w.Tenant.ID, Customer: made})
	})
	return made, key
}

// SignIn begins a session for a customer and returns its cookie.
func (w *World) SignIn(t testing.TB, who id.Customer, stay bool) (*session.Session, string) {
	t.Helper()
	key, err := w.Ring.Customer(t.Context(), w.Tenant.ID, who)
	if err != nil {
		t.Fatal(err)
	}
	state, err := w.Directory.State(t.Context(), w.Tenant.ID, who)
	if err != nil {
		t.Fatal(err)
	}
	var begun *session.Session
	var secret session.Secret
	w.Write(t, func(tx *sqldb.Tx) (err error) {
		begun, secret, err = w.Sessions.Begin(tx, key, session.Start{
			Tenant: w.Tenant, Customer: who, Device: id.New[id.Device](w.Clock.Now(), rand.Reader), Epoch: state.Epoch,
			Methods: []string{"pwd"}, ACR: "1", Stay: stay, Agent: session.Agent{Browser: "Firefox", OS: "Linux", IP: "192.0.2.7"},
		})
		return err
	})
	cookie, err := w.Sessions.Handle(t.Context(), begun, secret)
	if err != nil {
		t.Fatal(err)
	}
	return begun, cookie
}

// RaiseEpoch makes what lets a customer in out of date.
func (w *World) RaiseEpoch(t testing.TB, who id.Customer) (epoch int64) {
	t.Helper()
	w.Write(t, func(tx *sqldb.Tx) (err error) {
		epoch, err = w.Directory.RaiseEpoch(tx, w.Tenant.ID, who)
		return err
	})
	return epoch
}

// Write is DB.Write for those who expect it to succeed.
func (w *World) Write(t testing.TB, fn func(*sqldb.Tx) error) {
	t.Helper()
	if err := w.DB.Write(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// Events counts the events of a type.
func (w *World) Events(t testing.TB, kind string) int {
	t.Helper()
	var n int
	if err := w.DB.QueryRow(t.Context(), `SELECT COUNT(*) FROM event WHERE type = $1`, kind).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
