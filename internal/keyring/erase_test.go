package keyring

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

func TestErase(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		first, second := in.node(t), in.otherNode(t)
		must(t, first.CreateTenant(ctx, tenantA))
		here, err := first.CreateCustomer(ctx, tenantA, customerA)
		must(t, err)
		kept, err := first.CreateCustomer(ctx, tenantA, customerB)
		must(t, err)
		sealed, keptField := field(t, here), field(t, kept)
		there, err := second.Customer(ctx, tenantA, customerA)
		must(t, err)
		reads(t, second, customerA, sealed)

		must(t, first.Erase(ctx, tenantA, customerA))
		must(t, first.Erase(ctx, tenantA, customerA))

		// This node knows at once, also whoever holds the key.
		if _, err := here.OpenField("customer", "email", "1", sealed); !errors.Is(err, ErrErased) {
			t.Errorf("a key in use here: %v", err)
		}
		if _, err := first.Customer(ctx, tenantA, customerA); !errors.Is(err, ErrErased) {
			t.Errorf("here: %v", err)
		}
		// The other one with its poll.
		must(t, second.Poll(ctx))
		if _, err := second.Customer(ctx, tenantA, customerA); !errors.Is(err, ErrErased) {
			t.Errorf("there, after a poll: %v", err)
		}
		if _, err := there.OpenField("customer", "email", "1", sealed); !errors.Is(err, ErrErased) {
			t.Errorf("a key in use there, after a poll: %v", err)
		}
		for _, r := range []*Ring{first, second, in.otherNode(t)} {
			if _, err := r.CreateCustomer(ctx, tenantA, customerA); !errors.Is(err, ErrErased) {
				t.Errorf("created again: %v", err)
			}
			if _, err := r.Customer(ctx, tenantA, customerA); !errors.Is(err, ErrErased) {
				t.Errorf("after creating again: %v", err)
			}
			reads(t, r, customerB, keptField)
		}
		if n := count(t, in.store, `SELECT COUNT(*) FROM customer_key WHERE customer = $1 AND wrapped <> $2`, customerA, []byte{}); n != 0 {
			t.Error("the key is still there")
		}
		ledger, err := first.Erased(ctx, 0, 10)
		must(t, err)
		if len(ledger) != 1 || ledger[0].Sequence != 1 || ledger[0].Tenant != tenantA || ledger[0].Customer != customerA || ledger[0].ErasedAt.IsZero() {
			t.Errorf("the ledger is %v", ledger)
		}
		// Rewrapping does not bring the key back.
		must(t, first.RotateTenant(ctx, tenantA))
		in.clock.Advance(announce + time.Second)
		rewrapAll(t, first, 10)
		if _, err := in.otherNode(t).Customer(ctx, tenantA, customerA); !errors.Is(err, ErrErased) {
			t.Errorf("after rewrapping: %v", err)
		}
	})
}

// Without any poll, the other node stops handing out the key by MaxStale.
func TestEraseIsSeenWithoutPolls(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		first, second := in.node(t), in.otherNode(t)
		must(t, first.CreateTenant(ctx, tenantA))
		_, err := first.CreateCustomer(ctx, tenantA, customerA)
		must(t, err)
		_, err = second.Customer(ctx, tenantA, customerA)
		must(t, err)
		must(t, first.Erase(ctx, tenantA, customerA))
		in.clock.Advance(MaxStale + time.Millisecond)
		if _, err := second.Customer(ctx, tenantA, customerA); !errors.Is(err, ErrErased) {
			t.Errorf("%v", err)
		}
	})
}

// blockingRoot lets a test hold a key's load between its reading and its use.
type blockingRoot struct {
	Root
	reached, release chan struct{}
	once             sync.Once
}

func (b *blockingRoot) Unwrap(ctx context.Context, wrapped, aad []byte) ([]byte, error) {
	b.once.Do(func() {
		close(b.reached)
		<-b.release
	})
	return b.Root.Unwrap(ctx, wrapped, aad)
}

// A key that was read just before an erasure does not stay in the cache.
func TestEraseDuringALoad(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		eraser := in.node(t)
		must(t, eraser.CreateTenant(ctx, tenantA))
		_, err := eraser.CreateCustomer(ctx, tenantA, customerA)
		must(t, err)
		for _, how := range []string{"here", "there"} {
			customer := customerA
			if how == "there" {
				customer = customerB
				_, err := eraser.CreateCustomer(ctx, tenantA, customer)
				must(t, err)
			}
			root := &blockingRoot{Root: testRoot(t, "root"), reached: make(chan struct{}), release: make(chan struct{})}
			loader := in.otherNode(t, func(o *Options) { o.Root = root })
			var load sync.WaitGroup
			load.Go(func() {
				// The row is read; the tenant's key is being unwrapped.
				if _, err := loader.Customer(ctx, tenantA, customer); err != nil && !errors.Is(err, ErrErased) {
					t.Error(err)
				}
			})
			<-root.reached
			if how == "here" {
				must(t, loader.Erase(ctx, tenantA, customer))
			} else {
				must(t, eraser.Erase(ctx, tenantA, customer))
				must(t, loader.Poll(ctx))
			}
			close(root.release)
			load.Wait()
			if _, err := loader.Customer(ctx, tenantA, customer); !errors.Is(err, ErrErased) {
				t.Errorf("%s: %v", how, err)
			}
		}
	})
}

// Whatever the order, an erased customer has no key afterwards.
func TestEraseRacesCreate(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		first, second := in.node(t), in.otherNode(t)
		must(t, first.CreateTenant(ctx, tenantA))
		for range 40 {
			customer := id.New[id.Customer](in.clock.Now(), rand.Reader)
			var racers sync.WaitGroup
			for _, r := range []*Ring{first, second} {
				racers.Go(func() {
					if _, err := r.CreateCustomer(ctx, tenantA, customer); err != nil && !errors.Is(err, ErrErased) {
						t.Error(err)
					}
				})
				racers.Go(func() { must(t, r.Erase(ctx, tenantA, customer)) })
			}
			racers.Wait()
			for _, r := range []*Ring{first, second} {
				must(t, r.Poll(ctx))
				if _, err := r.Customer(ctx, tenantA, customer); !errors.Is(err, ErrErased) {
					t.Fatalf("%v", err)
				}
			}
		}
		if n := count(t, in.store, `SELECT COUNT(*) FROM customer_key WHERE tenant_generation > 0`); n != 0 {
			t.Errorf("%d erased customers have keys", n)
		}
		if n, top := count(t, in.store, `SELECT COUNT(*) FROM erasure_ledger`), count(t, in.store, `SELECT MAX(sequence) FROM erasure_ledger`); n != 40 || top != 40 {
			t.Errorf("%d entries, the last of sequence %d", n, top)
		}
	})
}

// Sequences are seen in order, so that no poll passes one by.
func TestPollsMissNoErasure(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		watcher := in.otherNode(t)
		nodes := []*Ring{in.node(t), in.otherNode(t)}
		must(t, nodes[0].CreateTenant(ctx, tenantA))
		held := map[id.Customer]*Customer{}
		for range 60 {
			customer := id.New[id.Customer](in.clock.Now(), rand.Reader)
			_, err := nodes[0].CreateCustomer(ctx, tenantA, customer)
			must(t, err)
			held[customer], err = watcher.Customer(ctx, tenantA, customer)
			must(t, err)
		}
		var erasers sync.WaitGroup
		done := make(chan struct{})
		i := 0
		for customer := range held {
			i++
			r := nodes[i%2]
			erasers.Go(func() { must(t, r.Erase(ctx, tenantA, customer)) })
		}
		go func() { erasers.Wait(); close(done) }()
		for polling := true; polling; {
			select {
			case <-done:
				polling = false
			default:
			}
			must(t, watcher.Poll(ctx))
		}
		for customer, c := range held {
			if !c.erased.Load() {
				t.Errorf("%s is still in use", customer)
			}
		}
	})
}

func TestRestoreAppliesTheLedger(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		r := in.node(t)
		must(t, r.CreateTenant(ctx, tenantA))
		var customers []id.Customer
		for range 450 { // more than two pages
			customer := id.New[id.Customer](in.clock.Now(), rand.Reader)
			customers = append(customers, customer)
			if len(customers)%10 == 0 {
				_, err := r.CreateCustomer(ctx, tenantA, customer)
				must(t, err)
			}
			must(t, r.Erase(ctx, tenantA, customer))
		}
		living, err := r.CreateCustomer(ctx, tenantA, customerA)
		must(t, err)
		livingField := field(t, living)

		// An older copy of the key store, in which they still had keys.
		older := func() *sqldb.DB {
			store := dbtest.Open(t, in.db.Engine(), []sqldb.MigrationSet{StoreMigrations()})
			copyStore(t, in.store, store)
			must(t, store.Write(ctx, func(tx *sqldb.Tx) error {
				tx.Queue(`DELETE FROM erasure_ledger`)
				tx.Queue(`UPDATE key_store SET sequence = 0`)
				tx.Queue(`UPDATE customer_key SET tenant_generation = 1, wrapped = $1 WHERE tenant_generation = 0`, []byte("a key"))
				return nil
			}))
			return store
		}
		check := func(store *sqldb.DB, applied int, err error) {
			t.Helper()
			if err != nil || applied != len(customers) {
				t.Errorf("applied %d, %v", applied, err)
			}
			if n := count(t, store, `SELECT COUNT(*) FROM customer_key WHERE tenant_generation > 0`); n != 1 {
				t.Errorf("%d keys are left", n)
			}
			o := in.options(t)
			o.Store = store
			restored, err := Open(ctx, o)
			must(t, err)
			for _, customer := range customers[:20] {
				if _, err := restored.Customer(ctx, tenantA, customer); !errors.Is(err, ErrErased) {
					t.Errorf("%v", err)
				}
			}
			reads(t, restored, customerA, livingField)
			if got, _ := restored.Erased(ctx, 0, 1000); len(got) != len(customers) {
				t.Errorf("the ledger has %d entries", len(got))
			}
		}

		store := older()
		applied, err := ApplyLedger(ctx, store, in.store)
		check(store, applied, err)
		if applied, err := ApplyLedger(ctx, store, in.store); err != nil || applied != 0 {
			t.Errorf("applied again %d, %v", applied, err)
		}

		var file bytes.Buffer
		must(t, ExportLedger(ctx, in.store, &file))
		store = older()
		applied, err = ImportLedger(ctx, store, bytes.NewReader(file.Bytes()))
		check(store, applied, err)

		// One that is cut short says so.
		store = older()
		if _, err := ImportLedger(ctx, store, bytes.NewReader(file.Bytes()[:file.Len()/2])); err == nil {
			t.Error("half a ledger was taken for a whole one")
		}
		lines := strings.SplitAfter(file.String(), "\n")
		if _, err := ImportLedger(ctx, store, strings.NewReader(strings.Join(lines[:len(lines)-2], ""))); err == nil {
			t.Error("a ledger without its foot was taken for a whole one")
		}
		if _, err := ImportLedger(ctx, store, strings.NewReader(strings.Join(append(lines[:1:1], lines[2:]...), ""))); err == nil {
			t.Error("a ledger without its first entry was taken for a whole one")
		}
		for _, other := range []string{"", "{}", "not a ledger", `{"ledger":"cardea erasure ledger","version":2,"store":""}`} {
			if _, err := ImportLedger(ctx, store, strings.NewReader(other)); err == nil {
				t.Errorf("%q was taken for a ledger", other)
			}
		}
		foreign := strings.Replace(file.String(), `"store":"`, `"store":"0`, 1)
		if _, err := ImportLedger(ctx, older(), strings.NewReader(foreign)); !errors.Is(err, ErrStore) {
			t.Errorf("another store's ledger: %v", err)
		}
	})
}

// copyStore copies a key store as a backup would, with the database's own
// primitives.
func copyStore(t testing.TB, from, to *sqldb.DB) {
	t.Helper()
	ctx := context.Background()
	columns := map[string]string{
		"key_store":      "name, store, sequence, sweeps, swept_until, swept_epoch",
		"customer_key":   "tenant, customer, generation, tenant_generation, wrapped, created_at",
		"erasure_ledger": "tenant, customer, erased_at, sequence",
	}
	text := map[string]int{"key_store": 2, "customer_key": 2, "erasure_ledger": 2} // how many columns are texts
	for table, names := range columns {
		rows, err := from.Query(ctx, `SELECT `+names+` FROM `+table)
		must(t, err)
		must(t, to.Write(ctx, func(tx *sqldb.Tx) error {
			for rows.Next() {
				var values, dests []any
				var marks []string
				for i, name := range strings.Split(names, ", ") {
					marks = append(marks, fmt.Sprintf("$%d", i+1))
					switch {
					case i < text[table]:
						dests = append(dests, new(string))
					case name == "wrapped":
						dests = append(dests, new([]byte))
					default:
						dests = append(dests, new(int64))
					}
				}
				if err := rows.Scan(dests...); err != nil {
					return err
				}
				for _, d := range dests {
					switch d := d.(type) {
					case *string:
						values = append(values, *d)
					case *[]byte:
						if *d == nil {
							*d = []byte{}
						}
						values = append(values, *d)
					case *int64:
						values = append(values, *d)
					}
				}
				tx.Queue(`INSERT INTO `+table+` (`+names+`) VALUES (`+strings.Join(marks, ", ")+`)`, values...)
			}
			return rows.Err()
		}))
	}
}
