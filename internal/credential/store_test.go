package credential

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

type appended struct {
	mu     sync.Mutex
	events []event.Event
}

func (a *appended) Append(_ *sqldb.Tx, e event.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
	return nil
}

func (a *appended) types() (types []string) {
	for _, e := range a.events {
		types = append(types, e.Type)
	}
	return types
}

const (
	tenantA id.Tenant   = "ten_a"
	ana     id.Customer = "cus_ana"
	ben     id.Customer = "cus_ben"
)

func newRing(t *testing.T, db *sqldb.DB) *keyring.Ring {
	t.Helper()
	root, err := keyring.RootFromBytes([]byte(rand.Text() + rand.Text())[:32])
	if err != nil {
		t.Fatal(err)
	}
	store := dbtest.Open(t, sqldb.SQLite, []sqldb.MigrationSet{keyring.StoreMigrations()})
	ring, err := keyring.Open(t.Context(), keyring.Options{DB: db, Store: store, Root: root, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.CreateTenant(t.Context(), tenantA); err != nil {
		t.Fatal(err)
	}
	return ring
}

func hashOf(t *testing.T, typed string, params Params) Hash {
	t.Helper()
	h, err := newHasher(t, HasherOptions{}).Hash(t.Context(), Asker{}, params, NewPassword(typed))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPasswords(t *testing.T) {
	now := clock.NewFake(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	sets := []sqldb.MigrationSet{keyring.Migrations(), Migrations()}
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		ring, events := newRing(t, db), &appended{}
		key, err := ring.CreateCustomer(t.Context(), tenantA, ana)
		if err != nil {
			t.Fatal(err)
		}
		other, err := ring.CreateCustomer(t.Context(), tenantA, ben)
		if err != nil {
			t.Fatal(err)
		}
		p := NewPasswords(db, events, rand.Reader)
		write := func(fn func(*sqldb.Tx) error) {
			t.Helper()
			if err := db.Write(t.Context(), fn); err != nil {
				t.Fatal(err)
			}
		}
		read := func() Stored {
			t.Helper()
			s, err := p.Password(t.Context(), tenantA, ana)
			if err != nil {
				t.Fatal(err)
			}
			var batched Stored
			b := db.Batch()
			p.QueuePassword(b, tenantA, ana, &batched)
			if err := b.Run(t.Context()); err != nil || batched.ID != s.ID || !bytes.Equal(batched.sealed, s.sealed) || batched.customer != s.customer {
				t.Fatalf("a batch reads %+v, otherwise it is %+v (%v)", batched, s, err)
			}
			return s
		}
		change := Change{Tenant: tenantA, Customer: ana, Actor: string(ana)}

		if read().Exists() {
			t.Error("there is a password before any was set")
		}
		first, second := hashOf(t, "the first password", cheap), hashOf(t, "the second password", cheap)
		write(func(tx *sqldb.Tx) error { _, err := p.SetPassword(tx, key, change, first); return err })
		s := read()
		if got, err := s.Hash(key); err != nil || got != first || s.Params != "m=64,t=1,p=1" {
			t.Errorf("read back %q %q, %v", string(got), s.Params, err)
		}
		if _, err := s.Hash(other); !errors.Is(err, keyring.ErrSealed) {
			t.Errorf("another customer's key opens it: %v", err)
		}
		if bytes.Contains(s.sealed, []byte("argon2id")) {
			t.Error("the hash is stored in the open")
		}
		moved := s
		moved.customer = ben
		if _, err := moved.Hash(key); !errors.Is(err, keyring.ErrSealed) {
			t.Errorf("a hash in another's row is opened: %v", err)
		}

		now.Advance(time.Hour)
		write(func(tx *sqldb.Tx) error { _, err := p.SetPassword(tx, key, change, second); return err })
		changed := read()
		if got, _ := changed.Hash(key); got != second || changed.ID != s.ID || !changed.CreatedAt.Equal(s.CreatedAt) || !changed.ChangedAt.Equal(s.ChangedAt.Add(time.Hour)) {
			t.Errorf("after the change: %+v, before it: %+v", changed, s)
		}

		// A rehash of what was read before the change comes to nothing.
		rehashed := hashOf(t, "the first password", Params{128, 1, 1})
		write(func(tx *sqldb.Tx) error {
			if done, err := p.Rehash(tx, key, tenantA, s, rehashed); done || err != nil {
				t.Errorf("a rehash undid a change: %t, %v", done, err)
			}
			return nil
		})
		rehashed = hashOf(t, "the second password", Params{128, 1, 1})
		write(func(tx *sqldb.Tx) error {
			if done, err := p.Rehash(tx, key, tenantA, changed, rehashed); !done || err != nil {
				t.Errorf("not rehashed: %t, %v", done, err)
			}
			return nil
		})
		if got, _ := read().Hash(key); got != rehashed || read().Params != "m=128,t=1,p=1" || !read().ChangedAt.Equal(changed.ChangedAt) {
			t.Errorf("after the rehash: %+v", read())
		}

		// Removing and setting anew is a change too for a rehash that is late.
		late := read()
		for range 2 {
			write(func(tx *sqldb.Tx) error { _, err := p.Remove(tx, change); return err })
		}
		write(func(tx *sqldb.Tx) error { _, err := p.SetPassword(tx, key, change, first); return err })
		write(func(tx *sqldb.Tx) error {
			if done, _ := p.Rehash(tx, key, tenantA, late, rehashed); done {
				t.Error("a late rehash brought a removed password back")
			}
			return nil
		})
		write(func(tx *sqldb.Tx) error { return p.Erase(tx, tenantA, ana) })
		if read().Exists() {
			t.Error("erased, and still there")
		}
		if got, want := fmt.Sprint(events.types()), "[password.set password.changed password.removed password.set]"; got != want {
			t.Errorf("events %s, want %s", got, want)
		}
		if e := events.events[0]; e.Tenant != tenantA || e.Customer != ana || e.Actor != string(ana) || e.Personal != nil {
			t.Errorf("%+v", e)
		}
		err = db.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := p.SetPassword(tx, key, change, "not a hash"); return err })
		if !errors.Is(err, ErrHash) {
			t.Errorf("a password in the open was stored: %v", err)
		}
		if found, err := p.Password(t.Context(), "ten_b", ana); found.Exists() || err != nil {
			t.Errorf("another tenant finds it: %v", err)
		}
	}, func(o *sqldb.Options) { o.Clock = now })
}

// Of many that rehash at once, one does.
func TestRehashRace(t *testing.T) {
	sets := []sqldb.MigrationSet{keyring.Migrations(), Migrations()}
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		key, err := newRing(t, db).CreateCustomer(t.Context(), tenantA, ana)
		if err != nil {
			t.Fatal(err)
		}
		p, hash := NewPasswords(db, &appended{}, rand.Reader), hashOf(t, "a password of some length", cheap)
		err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := p.SetPassword(tx, key, Change{Tenant: tenantA, Customer: ana}, hash)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		old, err := p.Password(t.Context(), tenantA, ana)
		if err != nil {
			t.Fatal(err)
		}
		var done atomic.Int64
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				var won bool
				err := db.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
					won, err = p.Rehash(tx, key, tenantA, old, hash)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if won {
					done.Add(1)
				}
			})
		}
		all.Wait()
		if done.Load() != 1 {
			t.Errorf("%d rehashed, want 1", done.Load())
		}
	})
}
