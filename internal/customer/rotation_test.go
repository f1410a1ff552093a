package customer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// phase is how far the replacement of the tenant's look-up key is.
func (w world) phase(t testing.TB) customer.LookupPhase {
	t.Helper()
	r, err := w.Directory.LookupRotation(t.Context(), w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	if r == nil {
		return ""
	}
	return r.Phase
}

func (w world) rotate(t testing.TB) time.Time {
	t.Helper()
	r, err := w.Directory.RotateLookup(t.Context(), w.Tenant.ID, "operator")
	if err != nil {
		t.Fatal(err)
	}
	if r.Phase != customer.LookupAnnounced || r.ReadyAt.IsZero() {
		t.Fatalf("begun: %+v", r)
	}
	return r.ReadyAt
}

func (w world) advance(t testing.TB) {
	t.Helper()
	if err := w.Directory.AdvanceLookups(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (w world) remove(t testing.TB, raw string) {
	t.Helper()
	holder := w.find(t, raw)
	for _, it := range w.get(t, holder).Identifiers {
		if it.Key == raw {
			w.Write(t, func(tx *sqldb.Tx) error {
				return w.Directory.RemoveIdentifier(tx, w.Tenant.ID, holder, it.ID, "system")
			})
		}
	}
}

// TestLookupKeyIsReplaced: whoever was found is found before, during and after;
// who came, went and proved an address meanwhile too; interrupted it goes on;
// in the end nothing of the old key is left.
func TestLookupKeyIsReplaced(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		nodes := []world{w}
		if w.DB.Engine() == sqldb.Postgres {
			nodes = append(nodes, world{w.Second(t)})
		}
		people := map[string]id.Customer{}
		join := func(raw string) { people[raw] = w.created(t, verified(t, raw)) }
		for n := range 250 {
			join(fmt.Sprintf("p%03d@example.com", n))
		}
		waits := w.created(t, verified(t, "waits@example.com"), unverified(t, "later@example.com"))
		people["waits@example.com"] = waits
		half := w.created(t, verified(t, "half@example.com")) // whose erasure a crash interrupted
		if err := w.Ring.Erase(t.Context(), w.Tenant.ID, half); err != nil {
			t.Fatal(err)
		}
		all := func(when string) {
			t.Helper()
			for raw, who := range people {
				for n, node := range nodes {
					if got := node.find(t, raw); got != who {
						t.Fatalf("%s: node %d finds %q for %s, want %s", when, n, got, raw, who)
					}
				}
			}
			for n := range 10 {
				raw := fmt.Sprintf("p%03d@example.com", n*20)
				if people[raw] == "" {
					continue
				}
				if _, err := nodes[n%len(nodes)].create(t, nil, verified(t, raw)); !errors.Is(err, customer.ErrTaken) {
					t.Fatalf("%s: %s is given away a second time: %v", when, raw, err)
				}
			}
		}
		all("before")
		before := w.keys(t).Lookup("email", "x")[0]
		ready := w.rotate(t)
		join("announced@example.com")
		if len(nodes) > 1 { // this node has not heard of the new key
			people["slow@example.com"], _ = nodes[1].create(t, nil, verified(t, "slow@example.com"))
		}
		all("announced")
		w.advance(t)
		if got := w.phase(t); got != customer.LookupAnnounced {
			t.Fatalf("before every node knows the key the phase is %s", got)
		}
		w.Clock.Set(ready)
		all("ready")
		join("ready@example.com")

		// Stopped again and again, on whichever node.
		for n := 0; w.phase(t) != customer.LookupClearing; n++ {
			ctx, stop := context.WithTimeout(t.Context(), time.Duration(1+rand.IntN(30+10*n))*time.Millisecond)
			err := nodes[n%len(nodes)].Directory.AdvanceLookups(ctx)
			if ctx.Err() == nil && err != nil {
				t.Fatal(err)
			}
			stop()
			switch n {
			case 0:
				all("under way")
				join("during@example.com")
				w.remove(t, "p249@example.com")
				delete(people, "p249@example.com")
				if err := w.verify(t, waits, "later@example.com"); err != nil {
					t.Fatal(err)
				}
				people["later@example.com"] = waits
				if err := w.Directory.Erase(t.Context(), w.Tenant.ID, people["p248@example.com"], "system"); err != nil {
					t.Fatal(err)
				}
				delete(people, "p248@example.com")
			case 200:
				t.Fatal("it comes to no end")
			}
			w.Clock.Advance(2 * time.Minute) // a lease that was not given back runs out
		}
		all("ended")
		if got := w.keys(t).Lookup("email", "x"); len(got) != 1 || string(got[0]) == string(before) {
			t.Fatalf("after the end there are %d look-up keys", len(got))
		}
		if _, err := w.Directory.RotateLookup(t.Context(), w.Tenant.ID, "operator"); err != nil || w.phase(t) != customer.LookupClearing {
			t.Fatalf("a second replacement begins before the first is cleared: %v", err)
		}
		w.remove(t, "p247@example.com")
		delete(people, "p247@example.com")
		w.Clock.Advance(time.Minute)
		for n := 0; w.phase(t) != ""; n++ {
			ctx, stop := context.WithTimeout(t.Context(), time.Duration(1+rand.IntN(30+10*n))*time.Millisecond)
			err := nodes[n%len(nodes)].Directory.AdvanceLookups(ctx)
			if ctx.Err() == nil && err != nil {
				t.Fatal(err)
			}
			stop()
			if n == 200 {
				t.Fatal("clearing comes to no end")
			}
			w.Clock.Advance(2 * time.Minute)
		}
		all("after")
		if err := w.Directory.FinishErasure(t.Context(), w.Tenant.ID, half); err != nil {
			t.Fatal(err)
		}
		if n := w.count(t, `SELECT COUNT(*) FROM customer_identifier WHERE also IS NOT NULL`); n != 0 {
			t.Errorf("%d identifiers stand under two hashes", n)
		}
		held, proved := w.count(t, `SELECT COUNT(*) FROM identifier_holder`), w.count(t, `SELECT COUNT(*) FROM customer_identifier WHERE verified = $1`, true)
		if held != proved || held != len(people) {
			t.Errorf("%d hashes are held for %d proved addresses, want %d", held, proved, len(people))
		}
		if w.find(t, "p248@example.com") != "" || w.find(t, "p247@example.com") != "" {
			t.Error("who was erased or removed is found")
		}
		join("p247@example.com") // the address is free again
		if n := w.count(t, `SELECT COUNT(*) FROM event WHERE type = 'tenant.lookup_key.rotated'`); n != 1 {
			t.Errorf("%d events tell of it", n)
		}
		w.rotate(t)
	})
}

// TestRaceForAddressesWhileTheLookupKeyIsReplaced: on every node and at every
// moment an address has one holder, and who holds one is found.
func TestRaceForAddressesWhileTheLookupKeyIsReplaced(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		nodes := []world{w, w}
		if w.DB.Engine() == sqldb.Postgres {
			nodes[1] = world{w.Second(t)}
		}
		const old, fresh = 60, 20
		holders := make([]id.Customer, old)
		for n := range old {
			holders[n] = w.created(t, verified(t, fmt.Sprintf("old%02d@example.com", n)))
		}
		ready := w.rotate(t)
		round := func(name string, work func()) {
			t.Helper()
			var wait sync.WaitGroup
			var over atomic.Bool
			wins := make([]atomic.Int64, fresh)
			for k := range 8 {
				node := nodes[k%2]
				wait.Go(func() {
					for n := range fresh {
						switch _, err := node.create(t, nil, verified(t, fmt.Sprintf("%s%02d@example.com", name, n))); {
						case err == nil:
							wins[n].Add(1)
						case !errors.Is(err, customer.ErrTaken):
							t.Errorf("%s: %v", name, err)
						}
						taken := (n*7 + k) % old
						if _, err := node.create(t, nil, verified(t, fmt.Sprintf("old%02d@example.com", taken))); !errors.Is(err, customer.ErrTaken) {
							t.Errorf("%s: an address that is held is given away: %v", name, err)
						}
						if got := node.find(t, fmt.Sprintf("old%02d@example.com", taken)); got != holders[taken] {
							t.Errorf("%s: %q is found, want %s", name, got, holders[taken])
						}
					}
				})
			}
			var working sync.WaitGroup
			for range 2 {
				working.Go(func() {
					for !over.Load() {
						work()
						time.Sleep(time.Millisecond)
					}
				})
			}
			wait.Wait()
			over.Store(true)
			working.Wait()
			for n := range wins {
				if got := wins[n].Load(); got != 1 {
					t.Errorf("%s: %d accounts got one address", name, got)
				}
			}
		}
		turn := atomic.Int64{}
		advance := func() {
			if err := nodes[turn.Add(1)%2].Directory.AdvanceLookups(t.Context()); err != nil {
				t.Error(err)
			}
		}
		round("announced", func() {})
		w.Clock.Set(ready)
		round("rewriting", advance)
		for n := 0; w.phase(t) != customer.LookupClearing && n < 100; n++ {
			advance()
		}
		// Nothing is cleared while a node may still ask by the old key.
		if held := w.count(t, `SELECT COUNT(*) FROM identifier_holder`); held < 2*(old+fresh) {
			t.Errorf("%d hashes are held just after the old key's end, want %d at least", held, 2*(old+fresh))
		}
		w.Clock.Advance(time.Minute)
		round("clearing", advance)
		for n := 0; w.phase(t) != "" && n < 100; n++ {
			advance()
		}
		round("after", advance)
		if got := w.phase(t); got != "" {
			t.Errorf("the phase is %s", got)
		}
		if held := w.count(t, `SELECT COUNT(*) FROM identifier_holder`); held != old+4*fresh {
			t.Errorf("%d hashes are held, want %d", held, old+4*fresh)
		}
	})
}

// TestWhatCannotBeReadKeepsTheOldLookupKey: a fault of one row stops neither
// the others nor who stands in it, and is told.
func TestWhatCannotBeReadKeepsTheOldLookupKey(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		first, broken := w.created(t, verified(t, "a@example.com")), w.created(t, verified(t, "b@example.com"))
		last := w.created(t, verified(t, "c@example.com"))
		var value []byte
		if err := w.DB.QueryRow(t.Context(), `SELECT value FROM customer_identifier WHERE customer = $1`, broken).Scan(&value); err != nil {
			t.Fatal(err)
		}
		write := func(value []byte) {
			w.Write(t, func(tx *sqldb.Tx) error {
				_, err := tx.Exec(`UPDATE customer_identifier SET value = $2 WHERE customer = $1`, broken, value)
				return err
			})
		}
		write([]byte("damaged"))
		w.Clock.Set(w.rotate(t))
		if err := w.Directory.AdvanceLookups(t.Context()); !errors.Is(err, keyring.ErrSealed) {
			t.Errorf("nobody is told: %v", err)
		}
		r, err := w.Directory.LookupRotation(t.Context(), w.Tenant.ID)
		if err != nil || r.Phase != customer.LookupRewriting || r.Failed != 1 || r.Rewritten != 2 {
			t.Fatalf("%+v, %v", r, err)
		}
		if w.find(t, "a@example.com") != first || w.find(t, "b@example.com") != broken || w.find(t, "c@example.com") != last {
			t.Error("somebody is not found")
		}
		write(value)
		w.advance(t) // nothing yet: it waits after a failure
		if r, err = w.Directory.LookupRotation(t.Context(), w.Tenant.ID); err != nil || r.Failed != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		w.Clock.Advance(2 * time.Minute)
		w.advance(t)
		w.Clock.Advance(2 * time.Minute)
		w.advance(t)
		if got := w.phase(t); got != "" {
			t.Errorf("the phase is %s", got)
		}
		if w.find(t, "a@example.com") != first || w.find(t, "b@example.com") != broken || w.find(t, "c@example.com") != last {
			t.Error("somebody is not found after it")
		}
	})
}

// TestOldLookupKeyGoneBeforeThatIsNoted: a crash between the two is made good.
func TestOldLookupKeyGoneBeforeThatIsNoted(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		who := w.created(t, verified(t, "a@example.com"))
		w.Clock.Set(w.rotate(t))
		w.Write(t, func(tx *sqldb.Tx) error { // a crash before the key was made, too
			_, err := tx.Exec(`UPDATE lookup_rotation SET ready_at = 0`)
			return err
		})
		w.advance(t)
		w.advance(t)
		if got := w.phase(t); got != customer.LookupClearing {
			t.Fatalf("the phase is %s", got)
		}
		w.Write(t, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(`UPDATE lookup_rotation SET ended_at = 0`)
			return err
		})
		w.advance(t)
		w.Clock.Advance(time.Minute)
		w.advance(t)
		if got := w.phase(t); got != "" || w.find(t, "a@example.com") != who {
			t.Errorf("the phase is %q", got)
		}
	})
}
