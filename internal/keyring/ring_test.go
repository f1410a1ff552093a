package keyring

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

// installation is two databases and a clock, on which nodes are started.
type installation struct {
	db, store *sqldb.DB
	clock     *clock.Fake
}

// each runs a test on both engines.
func each(t *testing.T, test func(t *testing.T, in *installation)) {
	dbtest.Each(t, []sqldb.MigrationSet{Migrations()}, func(t *testing.T, db *sqldb.DB) {
		in := &installation{
			db:    db,
			store: dbtest.Open(t, db.Engine(), []sqldb.MigrationSet{StoreMigrations()}),
			clock: clock.NewFake(time.Now()), // transactions are stamped by the machine's
		}
		test(t, in)
	})
}

func (in *installation) options(t testing.TB) Options {
	return Options{DB: in.db, Store: in.store, Root: testRoot(t, "root"), Clock: in.clock, Random: rand.Reader}
}

// node starts a node.
func (in *installation) node(t testing.TB, change ...func(*Options)) *Ring {
	t.Helper()
	o := in.options(t)
	for _, c := range change {
		c(&o)
	}
	r, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// otherNode starts a node with handles of its own where the engine has them.
func (in *installation) otherNode(t testing.TB, change ...func(*Options)) *Ring {
	t.Helper()
	other := *in
	if in.db.Engine() == sqldb.Postgres {
		other.db, other.store = dbtest.OpenSecond(t, in.db), dbtest.OpenSecond(t, in.store)
	}
	return other.node(t, change...)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tenantOf(t testing.TB, r *Ring, name id.Tenant) *Tenant {
	t.Helper()
	tenant, err := r.Tenant(context.Background(), name)
	must(t, err)
	return tenant
}

func seal(t testing.TB, r *Ring, content string) string {
	t.Helper()
	sealed, err := tenantOf(t, r, tenantA).Seal("p", []byte(content))
	must(t, err)
	return sealed
}

func opens(t testing.TB, r *Ring, sealed, content string) {
	t.Helper()
	if got, err := tenantOf(t, r, tenantA).Open("p", sealed); err != nil || string(got) != content {
		t.Errorf("opened %q, %v, not %q", got, err, content)
	}
}

func field(t testing.TB, c *Customer) []byte {
	t.Helper()
	sealed, err := c.SealField("customer", "email", "1", []byte("ana@example.com"))
	must(t, err)
	return sealed
}

func reads(t testing.TB, r *Ring, customer id.Customer, sealed []byte) {
	t.Helper()
	c, err := r.Customer(context.Background(), tenantA, customer)
	must(t, err)
	if got, err := c.OpenField("customer", "email", "1", sealed); err != nil || string(got) != "ana@example.com" {
		t.Errorf("opened %q, %v", got, err)
	}
}

func count(t testing.TB, db *sqldb.DB, query string, args ...any) (n int) {
	t.Helper()
	must(t, db.QueryRow(context.Background(), query, args...).Scan(&n))
	return n
}

func TestTenantsAndCustomersSurviveARestart(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		first := in.node(t)
		if _, err := first.Tenant(ctx, tenantA); !errors.Is(err, ErrNoKey) {
			t.Errorf("a tenant that was not made: %v", err)
		}
		must(t, first.CreateTenant(ctx, tenantA))
		must(t, first.CreateTenant(ctx, tenantB))
		sealed := seal(t, first, "content")
		lookup := tenantOf(t, first, tenantA).Lookup("email", "ana@example.com")
		if _, err := first.Customer(ctx, tenantA, customerA); !errors.Is(err, ErrNoKey) {
			t.Errorf("a customer who was not made: %v", err)
		}
		c, err := first.CreateCustomer(ctx, tenantA, customerA)
		must(t, err)
		sealedField := field(t, c)
		must(t, first.CreateTenant(ctx, tenantA))
		again, err := first.CreateCustomer(ctx, tenantA, customerA)
		must(t, err)
		if _, err := again.OpenField("customer", "email", "1", sealedField); err != nil {
			t.Errorf("creating again changed the key: %v", err)
		}

		second := in.otherNode(t)
		opens(t, second, sealed, "content")
		reads(t, second, customerA, sealedField)
		if got := tenantOf(t, second, tenantA).Lookup("email", "ana@example.com"); len(got) != 1 || !bytes.Equal(got[0], lookup[0]) {
			t.Error("another look-up hash after a restart")
		}
		if got := tenantOf(t, second, tenantB).Lookup("email", "ana@example.com"); bytes.Equal(got[0], lookup[0]) {
			t.Error("two tenants have the same look-up hash")
		}
		if _, err := tenantOf(t, second, tenantB).Open("p", sealed); err != ErrSealed {
			t.Errorf("another tenant opens: %v", err)
		}
		// A customer's key is of one tenant, even where ids were to meet.
		if _, err := second.Customer(ctx, tenantB, customerA); !errors.Is(err, ErrNoKey) {
			t.Errorf("the customer at another tenant: %v", err)
		}
	})
}

// A row that was moved does not lead to a key.
func TestMovedKeysDoNotOpen(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		r := in.node(t)
		must(t, r.CreateTenant(ctx, tenantA))
		must(t, r.CreateTenant(ctx, tenantB))
		for _, c := range []id.Customer{customerA, customerB} {
			_, err := r.CreateCustomer(ctx, tenantA, c)
			must(t, err)
		}
		must(t, in.store.Write(ctx, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(`UPDATE customer_key SET wrapped = (SELECT wrapped FROM customer_key WHERE tenant = $1 AND customer = $2) WHERE tenant = $1 AND customer = $3`, tenantA, customerA, customerB)
			return err
		}))
		must(t, in.db.Write(ctx, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(`UPDATE tenant_key SET wrapped = (SELECT wrapped FROM tenant_key WHERE tenant = $1) WHERE tenant = $2`, tenantA, tenantB)
			return err
		}))
		other := in.otherNode(t)
		if _, err := other.Customer(ctx, tenantA, customerB); err == nil {
			t.Error("a customer has another's key")
		}
		if _, err := other.Customer(ctx, tenantA, customerA); err != nil {
			t.Error(err)
		}
		if _, err := other.Tenant(ctx, tenantB); err == nil {
			t.Error("a tenant has another's key")
		}
	})
}

func TestWrongRootKeyIsRefused(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		wrong := in.options(t)
		wrong.Root = testRoot(t, "another")
		for _, tenants := range []bool{false, true} { // known from the first start on
			r := in.node(t)
			if tenants {
				must(t, r.CreateTenant(ctx, tenantA))
			}
			_, err := Open(ctx, wrong)
			if !errors.Is(err, ErrRoot) {
				t.Fatalf("another root key: %v", err)
			}
			for _, part := range []string{testRoot(t, "root").ID(), wrong.Root.ID(), "old one"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error lacks %q: %v", part, err)
				}
			}
		}
		in.node(t)
	})
}

func TestAnotherKeyStoreIsRefused(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		in.node(t)
		o := in.options(t)
		o.Store = dbtest.Open(t, in.db.Engine(), []sqldb.MigrationSet{StoreMigrations()})
		if _, err := Open(ctx, o); !errors.Is(err, ErrStore) {
			t.Fatalf("another key store: %v", err)
		}
		in.node(t)
		o.AdoptStore = true
		if _, err := Open(ctx, o); err != nil {
			t.Fatal(err)
		}
		o.AdoptStore = false
		if _, err := Open(ctx, o); err != nil {
			t.Errorf("the adopted one: %v", err)
		}
	})
}

func TestRequiredOptions(t *testing.T) {
	db := dbtest.Open(t, sqldb.SQLite, nil)
	full := Options{DB: db, Store: db, Root: testRoot(t, "a"), Random: rand.Reader}
	for name, without := range map[string]func(*Options){
		"DB": func(o *Options) { o.DB = nil }, "Store": func(o *Options) { o.Store = nil },
		"Root": func(o *Options) { o.Root = nil }, "Random": func(o *Options) { o.Random = nil },
		"two alike": func(o *Options) { o.OldRoots = []Root{o.Root} },
		"format":    func(o *Options) { o.Format = NewestFormat + 1 },
	} {
		o := full
		without(&o)
		if _, err := newRing(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	r, err := newRing(full)
	must(t, err)
	if r.WriteFormat() != NewestFormat {
		t.Error("not the newest format")
	}
}

func TestEpochKillsTokensFromBefore(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		first, second := in.node(t), in.otherNode(t)
		must(t, first.CreateTenant(ctx, tenantA))
		start, err := first.Epoch(ctx)
		must(t, err)
		if start != in.clock.Now().Unix() {
			t.Errorf("the first epoch is %d", start)
		}
		old := seal(t, first, "old")
		tenantField, err := tenantOf(t, first, tenantA).SealField("t", "c", "r", []byte("kept"))
		must(t, err)
		handle := tenantOf(t, second, tenantA)
		opens(t, second, old, "old")

		// The same second: one more than it was.
		raised, err := first.RaiseEpoch(ctx, in.clock.Now())
		must(t, err)
		if raised != start+1 {
			t.Errorf("raised from %d to %d", start, raised)
		}
		if _, err := tenantOf(t, first, tenantA).Open("p", old); !errors.Is(err, ErrEpoch) {
			t.Errorf("an old token here: %v", err)
		}
		// The other node has not polled, but meets a newer token.
		fresh := seal(t, first, "new")
		if got, err := handle.Open("p", fresh); err != nil || string(got) != "new" {
			t.Errorf("a new token there: %q, %v", got, err)
		}
		if _, err := handle.Open("p", old); !errors.Is(err, ErrEpoch) {
			t.Errorf("an old token there: %v", err)
		}
		// Much later: the Unix seconds. The other node polls.
		in.clock.Advance(time.Hour)
		raised, err = first.RaiseEpoch(ctx, in.clock.Now())
		must(t, err)
		if raised != in.clock.Now().Unix() {
			t.Errorf("raised to %d", raised)
		}
		must(t, second.Poll(ctx))
		if _, err := handle.Open("p", fresh); !errors.Is(err, ErrEpoch) {
			t.Errorf("after a poll: %v", err)
		}
		// It never goes back, and a restart changes nothing.
		in.clock.Advance(-2 * time.Hour)
		again, err := first.RaiseEpoch(ctx, in.clock.Now())
		must(t, err)
		if again != raised+1 {
			t.Errorf("raised from %d to %d", raised, again)
		}
		third := in.otherNode(t)
		if got, err := third.Epoch(ctx); err != nil || got != again {
			t.Errorf("after a restart it is %d, %v", got, err)
		}
		if got, err := tenantOf(t, third, tenantA).OpenField("t", "c", "r", tenantField); err != nil || string(got) != "kept" {
			t.Errorf("a field: %q, %v", got, err)
		}
	})
}

// A genuine token of a later epoch than the database's is from before a
// restore, on a machine whose clock had run ahead. It stays dead.
func TestTokenFromALostFuture(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		r := in.node(t)
		must(t, r.CreateTenant(ctx, tenantA))
		tenant := tenantOf(t, r, tenantA)
		present := r.epoch.Load()
		r.epoch.Store(present + 1000)
		future := seal(t, r, "x")
		r.epoch.Store(present)
		if _, err := tenant.Open("p", future); err != ErrSealed {
			t.Errorf("opened: %v", err)
		}
	})
}

// What is told of a rotation is told in its transaction: neither is there
// without the other.
func TestRotateTenantTellsOfIt(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		r := in.node(t)
		must(t, r.CreateTenant(ctx, tenantA))
		broken := errors.New("broken")
		if err := r.RotateTenant(ctx, tenantA, func(*sqldb.Tx) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		if n := count(t, in.db, `SELECT COUNT(*) FROM tenant_key WHERE tenant = $1`, tenantA); n != 1 {
			t.Errorf("%d generations after a rotation that could not be told", n)
		}
		told := 0
		must(t, r.RotateTenant(ctx, tenantA, func(*sqldb.Tx) error { told = 1; return nil }))
		if n := count(t, in.db, `SELECT COUNT(*) FROM tenant_key WHERE tenant = $1`, tenantA); n != 2 || told != 1 {
			t.Errorf("%d generations, told %d", n, told)
		}
	})
}

func TestRotateTenant(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		first, second := in.node(t), in.otherNode(t)
		must(t, first.CreateTenant(ctx, tenantA))
		handle := tenantOf(t, second, tenantA)
		old := seal(t, first, "old")
		code := tenantOf(t, first, tenantA).MAC("m", []byte("x"))
		oldField, err := tenantOf(t, first, tenantA).SealField("t", "c", "r", []byte("x"))
		must(t, err)
		lookup := handle.Lookup("email", "x")
		_, err = first.CreateCustomer(ctx, tenantA, customerA)
		must(t, err)

		must(t, first.RotateTenant(ctx, tenantA))
		if g := tenantOf(t, first, tenantA).current().number; g != 1 {
			t.Errorf("generation %d is used before all nodes know it", g)
		}
		in.clock.Advance(announce + time.Second)
		if g := tenantOf(t, first, tenantA).current().number; g != 2 {
			t.Errorf("generation %d is used after the rotation", g)
		}
		fresh := seal(t, first, "new")

		// A node that has heard nothing, with a handle from before.
		if got, err := handle.Open("p", fresh); err != nil || string(got) != "new" {
			t.Errorf("a node that has not polled: %q, %v", got, err)
		}
		for _, r := range []*Ring{first, second} {
			tenant := tenantOf(t, r, tenantA)
			opens(t, r, old, "old")
			opens(t, r, fresh, "new")
			if !tenant.CheckMAC("m", code, []byte("x")) {
				t.Error("an old code is refused")
			}
			if _, err := tenant.OpenField("t", "c", "r", oldField); err != nil {
				t.Errorf("an old field: %v", err)
			}
			if got := tenant.Lookup("email", "x"); len(got) != 1 || !bytes.Equal(got[0], lookup[0]) {
				t.Error("the look-up hash changed")
			}
		}
		// Retiring waits for customers' keys, and for an hour.
		if err := first.RetireTenant(ctx, tenantA); err == nil {
			t.Error("retired at once")
		}
		in.clock.Advance(2 * time.Hour)
		if err := first.RetireTenant(ctx, tenantA); err == nil || !strings.Contains(err.Error(), "rewrap first") {
			t.Errorf("retired while a customer's key needs it: %v", err)
		}
		rewrapAll(t, first, 10)
		must(t, first.RetireTenant(ctx, tenantA))
		must(t, second.Poll(ctx))
		for _, r := range []*Ring{first, second} {
			if _, err := tenantOf(t, r, tenantA).Open("p", old); err != ErrSealed {
				t.Errorf("a token of a retired generation: %v", err)
			}
			opens(t, r, fresh, "new")
			if _, err := r.Customer(ctx, tenantA, customerA); err != nil {
				t.Error(err)
			}
		}
	})
}

func rewrapAll(t testing.TB, r *Ring, batch int) (calls int) {
	t.Helper()
	for calls = 1; ; calls++ {
		done, err := r.Rewrap(context.Background(), batch)
		must(t, err)
		if done {
			return calls
		}
		if calls > 10_000 {
			t.Fatal("rewrapping does not end")
		}
	}
}

// Anybody can name a generation: that must not become load on the database.
func TestForgedGenerationsAreLookedForSeldom(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		r := in.node(t)
		must(t, r.CreateTenant(ctx, tenantA))
		tenant := tenantOf(t, r, tenantA)
		must(t, in.db.Write(ctx, func(tx *sqldb.Tx) error { // a read would fail, and show
			_, err := tx.Exec(`DELETE FROM tenant_key WHERE tenant = $1`, tenantA)
			return err
		}))
		before := tenant.state.Load()
		for _, number := range []uint32{0, 2, 3, 17, 18, 1 << 31, 1<<32 - 1} {
			for range 100 {
				if tenant.generation(number) != nil {
					t.Fatalf("generation %d found", number)
				}
			}
		}
		if tenant.lookedAhead.count < 2 || r.lookedAhead.count != 1 {
			t.Errorf("the database was asked %d times", r.lookedAhead.count)
		}
		if tenant.state.Load() != before {
			t.Error("a failed read changed the keys")
		}
	})
}

func TestRotateRoot(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		oldRoot, newRoot := testRoot(t, "root"), testRoot(t, "new root")
		r := in.node(t)
		tenants := make([]id.Tenant, 7)
		sealed, lookups := map[id.Tenant]string{}, map[id.Tenant][]byte{}
		for i := range tenants {
			tenants[i] = id.Tenant(fmt.Sprintf("ten_%026d", i+1))
			must(t, r.CreateTenant(ctx, tenants[i]))
			var err error
			sealed[tenants[i]], err = tenantOf(t, r, tenants[i]).Seal("p", []byte("x"))
			must(t, err)
			lookups[tenants[i]] = tenantOf(t, r, tenants[i]).Lookup("k", "v")[0]
		}
		check := func(r *Ring) {
			t.Helper()
			for _, name := range tenants {
				tenant := tenantOf(t, r, name)
				if _, err := tenant.Open("p", sealed[name]); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if !bytes.Equal(tenant.Lookup("k", "v")[0], lookups[name]) {
					t.Errorf("%s: another look-up hash", name)
				}
			}
		}
		// 1. every node knows the new key; 2. every node uses it; 3. rewrap.
		check(in.otherNode(t, func(o *Options) { o.OldRoots = []Root{newRoot} }))
		rotated := in.otherNode(t, func(o *Options) { o.Root, o.OldRoots = newRoot, []Root{oldRoot} })
		check(rotated)
		o := in.options(t)
		o.Root = newRoot
		if _, err := Open(ctx, o); !errors.Is(err, ErrRoot) {
			t.Errorf("the old root key was taken away too early: %v", err)
		}
		if calls := rewrapAll(t, rotated, 4); calls < 4 {
			t.Errorf("14 keys by 4 took %d calls", calls)
		}
		check(rotated)
		check(in.otherNode(t, func(o *Options) { o.Root, o.OldRoots = newRoot, []Root{oldRoot} }))
		o.Root = newRoot
		alone, err := Open(ctx, o)
		must(t, err)
		check(alone)
		o.Root = oldRoot
		if _, err := Open(ctx, o); !errors.Is(err, ErrRoot) {
			t.Errorf("the old root key afterwards: %v", err)
		}
	})
}

func TestLookupRotation(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		first, second := in.node(t), in.otherNode(t)
		must(t, first.CreateTenant(ctx, tenantA))
		lookup := func(r *Ring) [][]byte {
			t.Helper()
			found := tenantOf(t, r, tenantA).Lookup("email", "ana@example.com")
			each := tenantOf(t, r, tenantA).LookupEach("email", []string{"ben@example.com", "ana@example.com"})
			for i, hash := range found { // in the same order, key by key
				if len(each) != len(found) || len(each[i]) != 2 || !bytes.Equal(each[i][1], hash) || bytes.Equal(each[i][0], hash) {
					t.Errorf("of several values: %x, of one: %x", each, found)
				}
			}
			return found
		}
		old := lookup(first)[0]
		lookup(second)

		ready, err := first.BeginLookupRotation(ctx, tenantA)
		must(t, err)
		if again, err := second.BeginLookupRotation(ctx, tenantA); err != nil || !again.Equal(ready) {
			t.Errorf("beginning twice: %v, %v", again, err)
		}
		must(t, second.Poll(ctx))
		for _, r := range []*Ring{first, second} {
			if got := lookup(r); len(got) != 2 || !bytes.Equal(got[0], old) || bytes.Equal(got[1], old) {
				t.Errorf("announced: %x", got)
			}
		}
		if err := first.EndLookupRotation(ctx, tenantA); err == nil {
			t.Error("ended before it was ready")
		}
		in.clock.Set(ready)
		var fresh []byte
		for _, r := range []*Ring{first, second} {
			got := lookup(r)
			if len(got) != 2 || !bytes.Equal(got[1], old) || bytes.Equal(got[0], old) {
				t.Errorf("ready: %x", got)
			}
			fresh = got[0]
		}
		must(t, first.RotateTenant(ctx, tenantA))
		must(t, first.EndLookupRotation(ctx, tenantA))
		must(t, first.EndLookupRotation(ctx, tenantA))
		must(t, second.Poll(ctx))
		for _, r := range []*Ring{first, second, in.otherNode(t)} {
			if got := lookup(r); len(got) != 1 || !bytes.Equal(got[0], fresh) {
				t.Errorf("ended: %x", got)
			}
		}
		if _, err := first.BeginLookupRotation(ctx, tenantB); !errors.Is(err, ErrNoKey) {
			t.Errorf("no such tenant: %v", err)
		}
	})
}

// Everything stays readable while tenants rotate, two nodes rewrap, and the
// root key changes.
func TestRewrapUnderUse(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		oldRoot, newRoot := testRoot(t, "root"), testRoot(t, "new root")
		both := func(o *Options) { o.Root, o.OldRoots, o.CacheSize = newRoot, []Root{oldRoot}, 8 }
		creator := in.node(t)
		must(t, creator.CreateTenant(ctx, tenantA))
		nodes := []*Ring{in.otherNode(t, both), in.otherNode(t, both)}
		var mu sync.Mutex
		var customers []id.Customer
		fields := map[id.Customer][]byte{}
		add := func(r *Ring) {
			name := id.New[id.Customer](in.clock.Now(), rand.Reader)
			c, err := r.CreateCustomer(ctx, tenantA, name)
			must(t, err)
			f := field(t, c)
			mu.Lock()
			defer mu.Unlock()
			customers, fields[name] = append(customers, name), f
		}
		for range 60 {
			add(creator)
		}
		var stop atomic.Bool
		var users, workers sync.WaitGroup
		for i := range 4 {
			users.Go(func() {
				r := nodes[i%2]
				for n := i; !stop.Load(); n++ {
					mu.Lock()
					name := customers[n%len(customers)]
					f := fields[name]
					mu.Unlock()
					reads(t, r, name, f)
					opens(t, nodes[(i+1)%2], seal(t, r, "x"), "x")
					if n%16 == 0 {
						add(r)
					}
				}
			})
		}
		for round := range 3 {
			must(t, nodes[round%2].RotateTenant(ctx, tenantA))
			in.clock.Advance(announce + time.Second)
			for _, r := range nodes {
				workers.Go(func() {
					for range 2 {
						rewrapAll(t, r, 7)
					}
				})
			}
			workers.Wait()
		}
		stop.Store(true)
		users.Wait()
		must(t, nodes[0].Poll(ctx))
		rewrapAll(t, nodes[0], 50)
		newest := tenantOf(t, nodes[0], tenantA).state.Load().newest().number
		if newest != 4 {
			t.Errorf("the newest generation is %d", newest)
		}
		if n := count(t, in.store, `SELECT COUNT(*) FROM customer_key WHERE tenant_generation <> $1`, newest); n > 0 {
			t.Errorf("%d customers' keys were not rewrapped", n)
		}
		last := in.otherNode(t, func(o *Options) { o.Root = newRoot })
		for name, f := range fields {
			reads(t, last, name, f)
		}
	})
}

// A key that cannot be unwrapped is reported and does not hold up the others.
func TestRewrapGoesOnPastADamagedKey(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		r := in.node(t)
		must(t, r.CreateTenant(ctx, tenantA))
		for i := range 10 {
			_, err := r.CreateCustomer(ctx, tenantA, id.Customer(fmt.Sprintf("cus_%026d", i)))
			must(t, err)
		}
		must(t, in.store.Write(ctx, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(`UPDATE customer_key SET wrapped = $1 WHERE tenant = $2 AND customer < $3`, []byte{1, 2, 3}, tenantA, "cus_00000000000000000000000004")
			return err
		}))
		must(t, r.RotateTenant(ctx, tenantA))
		faults := 0
		for range 20 {
			done, err := r.Rewrap(ctx, 2)
			if err != nil {
				faults++
			}
			if done {
				t.Fatal("done with damaged keys left")
			}
		}
		if faults == 0 {
			t.Error("no error")
		}
		if n := count(t, in.store, `SELECT COUNT(*) FROM customer_key WHERE tenant_generation = 2`); n != 6 {
			t.Errorf("%d of 6 keys were rewrapped", n)
		}
	})
}

func TestPollFailureIsNotHidden(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		r := in.node(t)
		must(t, r.CreateTenant(ctx, tenantA))
		_, err := r.CreateCustomer(ctx, tenantA, customerA)
		must(t, err)
		must(t, in.store.Write(ctx, func(tx *sqldb.Tx) error { // as good as gone
			_, err := tx.Exec(`DROP TABLE key_store`)
			return err
		}))
		if _, err := r.Customer(ctx, tenantA, customerA); err != nil {
			t.Errorf("within MaxStale of a good poll: %v", err)
		}
		if err := r.Poll(ctx); err == nil {
			t.Error("the poll hides that the key store is gone")
		}
		in.clock.Advance(MaxStale + time.Millisecond)
		if _, err := r.Customer(ctx, tenantA, customerA); err == nil {
			t.Error("a customer's key is handed out though nobody knows who was erased")
		}
		if _, err := r.Tenant(ctx, tenantA); err != nil {
			t.Errorf("a tenant does not need the key store: %v", err)
		}
	})
}

func BenchmarkTenantAndCustomer(b *testing.B) {
	in := &installation{
		db:    dbtest.Open(b, sqldb.SQLite, []sqldb.MigrationSet{Migrations()}),
		store: dbtest.Open(b, sqldb.SQLite, []sqldb.MigrationSet{StoreMigrations()}),
		clock: clock.NewFake(time.Now()),
	}
	r, ctx := in.node(b), context.Background()
	must(b, r.CreateTenant(ctx, tenantA))
	_, err := r.CreateCustomer(ctx, tenantA, customerA)
	must(b, err)
	b.Run("Tenant", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := r.Tenant(ctx, tenantA)
			must(b, err)
		}
	})
	b.Run("Customer", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := r.Customer(ctx, tenantA, customerA)
			must(b, err)
		}
	})
	b.Run("CreateCustomer", func(b *testing.B) {
		for b.Loop() {
			_, err := r.CreateCustomer(ctx, tenantA, id.New[id.Customer](time.Now(), rand.Reader))
			must(b, err)
		}
	})
	b.Run("Poll", func(b *testing.B) {
		for b.Loop() {
			must(b, r.Poll(ctx))
		}
	})
}
