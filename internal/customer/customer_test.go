package customer_test

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/sqldb"
)

func TestCreateAndGet(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		who, err := w.create(t, map[string]any{"given_name": "Ana", "address": map[string]any{"country": "PT"}},
			verified(t, "Ana@Example.com"), unverified(t, "other@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		got := w.get(t, who)
		if got.ID != who || got.Tenant != w.Tenant.ID || got.Status != customer.Active || got.Version != 1 || got.Revision != 1 || got.Epoch != 1 ||
			!got.CreatedAt.Equal(w.Clock.Now()) || !got.UpdatedAt.Equal(w.Clock.Now()) {
			t.Errorf("got %+v", got)
		}
		if got.Profile["given_name"] != "Ana" || len(got.Profile) != 2 {
			t.Errorf("profile %v", got.Profile)
		}
		first, found := got.Primary(identifier.Email)
		if !found || len(got.Identifiers) != 2 || first.Key != "ana@example.com" || first.Display != "Ana@Example.com" || !first.Verified || !first.VerifiedAt.Equal(w.Clock.Now()) {
			t.Errorf("identifiers %+v", got.Identifiers)
		}
		if w.find(t, "aNA@example.COM") != who || w.find(t, "other@example.com") != "" {
			t.Error("what is verified finds, and nothing else")
		}
		told, err := w.Log.Read(t.Context(), w.Tenant.ID, event.Filter{Type: "customer.created"}, event.Page{})
		if err != nil || len(told) != 1 || told[0].Personal == nil {
			t.Fatalf("the events are %v, %v", told, err)
		}
		if text, err := told[0].Personal.Open(w.key(t, who)); err != nil ||
			string(text) != `{"identifiers":[{"kind":"email","value":"Ana@Example.com"},{"kind":"email","value":"other@example.com"}]}` {
			t.Errorf("the event tells %s, %v", text, err)
		}
		if _, err := w.Directory.Get(t.Context(), w.Other.ID, who); !errors.Is(err, customer.ErrNotFound) {
			t.Errorf("at another tenant: %v", err)
		}
		if _, err := w.Directory.Get(t.Context(), w.Tenant.ID, "cus_nobody"); !errors.Is(err, customer.ErrNotFound) {
			t.Errorf("nobody: %v", err)
		}
		keys, err := w.Ring.Tenant(t.Context(), w.Other.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, found, err := w.Directory.Find(t.Context(), w.Other.ID, keys, address(t, "ana@example.com")); found || err != nil {
			t.Errorf("another tenant's look-up: %t, %v", found, err)
		}
	})
}

// TestTaken: nothing is left of an account that could not be made.
func TestTaken(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		first := w.created(t, verified(t, "v@example.com"))
		who, err := w.create(t, nil, unverified(t, "mine@example.com"), verified(t, "V@example.com"))
		if !errors.Is(err, customer.ErrTaken) {
			t.Fatalf("got %v", err)
		}
		if _, err := w.Directory.Get(t.Context(), w.Tenant.ID, who); !errors.Is(err, customer.ErrNotFound) {
			t.Errorf("the account is there: %v", err)
		}
		if n := w.count(t, `SELECT COUNT(*) FROM customer_identifier`); n != 1 {
			t.Errorf("%d identifiers", n)
		}
		if n := w.Events(t, "customer.created"); n != 1 {
			t.Errorf("%d events", n)
		}
		// The minted id makes one account.
		keys := w.keys(t)
		err = w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			return w.Directory.Create(tx, keys, w.key(t, first), customer.NewCustomer{Tenant: w.Tenant.ID, Customer: first})
		})
		if !errors.Is(err, customer.ErrTaken) {
			t.Errorf("the same id again: %v", err)
		}
		// Of one customer, an address stands once.
		if _, err := w.create(t, nil, verified(t, "twice@example.com"), unverified(t, "Twice@example.com")); !errors.Is(err, customer.ErrTaken) {
			t.Errorf("an address twice: %v", err)
		}
	})
}

// TestRaceForOneAddress is the race of 64 sign-ups with the same proved address
// on two nodes.
func TestRaceForOneAddress(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		nodes := []world{w}
		if w.DB.Engine() == sqldb.Postgres {
			nodes = append(nodes, world{w.Second(t)})
		}
		type one struct {
			at  world
			who id.Customer
			run func() error
		}
		var all []one
		for i := range 64 {
			node := nodes[i%len(nodes)]
			who, key := node.mint(t)
			keys := node.keys(t)
			n := customer.NewCustomer{Tenant: w.Tenant.ID, Customer: who, Identifiers: []customer.NewIdentifier{verified(t, "v@example.com")}}
			ctx := t.Context()
			all = append(all, one{node, who, func() error {
				return node.DB.Write(ctx, func(tx *sqldb.Tx) error { return node.Directory.Create(tx, keys, key, n) })
			}})
		}
		var mu sync.Mutex
		var made []id.Customer
		var wait sync.WaitGroup
		for _, o := range all {
			wait.Go(func() {
				err := o.run()
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					made = append(made, o.who)
				} else if !errors.Is(err, customer.ErrTaken) {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if len(made) != 1 || w.find(t, "v@example.com") != made[0] {
			t.Errorf("%d accounts were made", len(made))
		}
		if n := w.count(t, `SELECT COUNT(*) FROM customer`); n != 1 {
			t.Errorf("%d accounts are there", n)
		}
	})
}

// TestRaceOfTwoAddresses has sign-ups claim the same two addresses in opposite
// order: one of them wins both, and nobody waits for ever.
func TestRaceOfTwoAddresses(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		for range 5 {
			a, b := verified(t, "a@example.com"), verified(t, "b@example.com")
			orders := [][]customer.NewIdentifier{{a, b}, {b, a}}
			var mu sync.Mutex
			var made []id.Customer
			var wait sync.WaitGroup
			for i := range 8 {
				wait.Go(func() {
					who, err := w.create(t, nil, orders[i%2]...)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						made = append(made, who)
					} else if !errors.Is(err, customer.ErrTaken) {
						t.Error(err)
					}
				})
			}
			wait.Wait()
			if len(made) != 1 || w.find(t, "a@example.com") != made[0] || w.find(t, "b@example.com") != made[0] {
				t.Fatalf("%d accounts were made", len(made))
			}
			if err := w.Directory.Erase(t.Context(), w.Tenant.ID, made[0], "system"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestUnverifiedNeverBlocksNorFinds is SECURITY.md, row F1: whoever writes down
// a stranger's address gains nothing by it and takes nothing from its owner.
func TestUnverifiedNeverBlocksNorFinds(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		attacker := w.created(t, verified(t, "a@evil.example"), unverified(t, "v@example.com"))
		if got := w.find(t, "v@example.com"); got != "" {
			t.Errorf("the address finds %s", got)
		}
		victim := w.created(t, verified(t, "v@example.com"))
		if got := w.find(t, "v@example.com"); got != victim {
			t.Errorf("the address finds %s", got)
		}
		if err := w.verify(t, attacker, "v@example.com"); !errors.Is(err, customer.ErrTaken) {
			t.Errorf("the attacker verifies it: %v", err)
		}
		for _, it := range w.get(t, attacker).Identifiers {
			if it.Verified != (it.Key == "a@evil.example") {
				t.Errorf("the attacker's %s: verified is %t", it.Key, it.Verified)
			}
		}
		if _, err := w.add(t, w.created(t, verified(t, "b@example.com")), unverified(t, "v@example.com")); err != nil {
			t.Errorf("a third who writes it down: %v", err)
		}
		if got := w.find(t, "v@example.com"); got != victim {
			t.Errorf("afterwards the address finds %s", got)
		}
	})
}

func TestAddVerifyRemove(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		who := w.created(t, verified(t, "one@example.com"))
		epoch := w.get(t, who).Epoch
		two, err := w.add(t, who, unverified(t, "two@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		if got := w.get(t, who); got.Epoch != epoch || got.Revision != 2 {
			t.Errorf("an unverified address lets nobody in: epoch %d, revision %d", got.Epoch, got.Revision)
		}
		if _, err := w.add(t, who, unverified(t, "Two@example.com")); !errors.Is(err, customer.ErrTaken) {
			t.Errorf("twice: %v", err)
		}
		w.Clock.Advance(time.Minute)
		if err := w.verify(t, who, "two@example.com"); err != nil {
			t.Fatal(err)
		}
		got := w.get(t, who)
		if got.Epoch != epoch+1 || w.find(t, "two@example.com") != who || w.count(t, `SELECT COUNT(*) FROM customer_identifier WHERE verified_at = $1`, w.Clock.Now()) != 1 {
			t.Errorf("verified: %+v", got)
		}
		// To prove again what is proved changes nothing.
		if err := w.verify(t, who, "two@example.com"); err != nil {
			t.Errorf("proved again: %v", err)
		}
		if w.get(t, who).Epoch != epoch+1 {
			t.Error("proving again voided the customer's sessions")
		}
		if err := w.verify(t, who, "three@example.com"); !errors.Is(err, customer.ErrNotFound) {
			t.Errorf("an address that he does not have: %v", err)
		}
		remove := func(it id.Identifier) error {
			return w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
				return w.Directory.RemoveIdentifier(tx, w.Tenant.ID, who, it, string(who))
			})
		}
		if err := remove(two); err != nil {
			t.Fatal(err)
		}
		if w.find(t, "two@example.com") != "" || w.get(t, who).Epoch != epoch+2 {
			t.Error("a removed address still finds, or the epoch stays")
		}
		if err := remove(two); !errors.Is(err, customer.ErrNotFound) {
			t.Errorf("again: %v", err)
		}
		if _, err := w.create(t, nil, verified(t, "two@example.com")); err != nil {
			t.Errorf("somebody else proves it: %v", err)
		}
		for kind, want := range map[string]int{"customer.identifier.added": 1, "customer.identifier.verified": 1, "customer.identifier.removed": 1} {
			if n := w.Events(t, kind); n != want {
				t.Errorf("%d %s", n, kind)
			}
		}
	})
}

// TestRemoveLeavesAnothersAddress: to take away one's own unverified copy takes
// nothing from the holder.
func TestRemoveLeavesAnothersAddress(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		victim := w.created(t, verified(t, "v@example.com"))
		attacker := w.created(t)
		it, err := w.add(t, attacker, unverified(t, "v@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		w.Write(t, func(tx *sqldb.Tx) error {
			return w.Directory.RemoveIdentifier(tx, w.Tenant.ID, attacker, it, string(attacker))
		})
		if w.find(t, "v@example.com") != victim {
			t.Error("the holder lost it")
		}
		mine := w.get(t, victim).Identifiers[0].ID
		err = w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			return w.Directory.RemoveIdentifier(tx, w.Tenant.ID, attacker, mine, string(attacker))
		})
		if !errors.Is(err, customer.ErrNotFound) || w.find(t, "v@example.com") != victim {
			t.Errorf("by the victim's identifier: %v", err)
		}
	})
}

// TestProofIsOfItsAddress is SECURITY.md, row F11: of two changes of address at
// once, the proof of one never verifies the other.
func TestProofIsOfItsAddress(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		rounds := 10
		if w.DB.Engine() == sqldb.Postgres {
			rounds = 50
		}
		who := w.created(t, verified(t, "a@example.com"))
		for range rounds {
			var wait sync.WaitGroup
			for _, raw := range []string{"a@evil.example", "v@example.com"} {
				wait.Go(func() {
					if _, err := w.add(t, who, unverified(t, raw)); err != nil {
						t.Error(err)
					}
				})
			}
			wait.Go(func() {
				if err := w.verify(t, who, "a@evil.example"); err != nil && !errors.Is(err, customer.ErrNotFound) {
					t.Error(err)
				}
			})
			wait.Wait()
			if w.find(t, "v@example.com") != "" {
				t.Fatal("the address of another was verified")
			}
			for _, it := range w.get(t, who).Identifiers {
				if it.Key == "a@example.com" {
					continue
				}
				if it.Verified && it.Key != "a@evil.example" {
					t.Fatalf("%s is verified", it.Key)
				}
				w.Write(t, func(tx *sqldb.Tx) error {
					return w.Directory.RemoveIdentifier(tx, w.Tenant.ID, who, it.ID, string(who))
				})
			}
		}
	})
}

func TestRaceToVerify(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		var all []id.Customer
		for range 16 {
			all = append(all, w.created(t, unverified(t, "v@example.com")))
		}
		var mu sync.Mutex
		var won []id.Customer
		var wait sync.WaitGroup
		for _, who := range all {
			wait.Go(func() {
				err := w.verify(t, who, "v@example.com")
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won = append(won, who)
				} else if !errors.Is(err, customer.ErrTaken) {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if len(won) != 1 || w.find(t, "v@example.com") != won[0] {
			t.Errorf("%d hold it", len(won))
		}
		if n := w.count(t, `SELECT COUNT(*) FROM customer_identifier WHERE verified = $1`, true); n != 1 {
			t.Errorf("%d are verified", n)
		}
	})
}

func TestSetProfile(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		who := w.created(t)
		key := w.key(t, who)
		set := func(revision int64, name string) error {
			return w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
				return w.Directory.SetProfile(tx, w.keys(t), key, w.Tenant.ID, who, revision, map[string]any{"given_name": name}, string(who))
			})
		}
		if err := set(1, "Bea"); err != nil {
			t.Fatal(err)
		}
		if err := set(1, "Cleo"); !errors.Is(err, customer.ErrChanged) {
			t.Errorf("an old revision: %v", err)
		}
		got := w.get(t, who)
		if got.Profile["given_name"] != "Bea" || got.Revision != 2 || got.Version != 2 || got.Epoch != 1 {
			t.Errorf("got %+v", got)
		}
		var mu sync.Mutex
		won := 0
		var wait sync.WaitGroup
		for range 16 {
			wait.Go(func() {
				err := set(2, "Dora")
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else if !errors.Is(err, customer.ErrChanged) {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if won != 1 || w.get(t, who).Revision != 3 {
			t.Errorf("%d changes of one revision", won)
		}
		records, err := w.Log.Read(t.Context(), w.Tenant.ID, event.Filter{}, event.Page{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if r.Type == "customer.profile.changed" && string(r.Data) != `{"attributes":["given_name"]}` {
				t.Errorf("the event says %s", r.Data)
			}
		}
	})
}

func TestHoldOnceATransaction(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		who := w.created(t)
		w.Write(t, func(tx *sqldb.Tx) error {
			first, err := w.Directory.Hold(tx, w.Tenant.ID, who)
			if err != nil {
				return err
			}
			again, err := w.Directory.Hold(tx, w.Tenant.ID, who)
			if err != nil {
				return err
			}
			version, err := w.Directory.Bump(tx, w.Tenant.ID, who)
			if first.Version != 2 || again != first || version != 2 || !first.Found || first.Status != customer.Active {
				t.Errorf("held %+v, %+v, %d", first, again, version)
			}
			for range 3 {
				if err := w.Log.Append(tx, event.Event{Tenant: w.Tenant.ID, Customer: who, Type: "test.happened", Actor: "system"}); err != nil {
					return err
				}
			}
			return err
		})
		if got := w.get(t, who); got.Version != 2 {
			t.Errorf("version %d", got.Version)
		}
		err := w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := w.Directory.Hold(tx, w.Tenant.ID, "cus_nobody")
			return err
		})
		if !errors.Is(err, customer.ErrNotFound) {
			t.Errorf("nobody: %v", err)
		}
		err = w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := w.Directory.Hold(tx, w.Other.ID, who)
			return err
		})
		if !errors.Is(err, customer.ErrNotFound) {
			t.Errorf("at another tenant: %v", err)
		}
	})
}

// TestHeldStateIsThatOfTheTransaction: what a transaction changes, it reads.
func TestHeldStateIsThatOfTheTransaction(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		who := w.created(t, unverified(t, "a@example.com"))
		keys, key := w.keys(t), w.key(t, who)
		for name, change := range map[string]func(tx *sqldb.Tx) error{
			"RaiseEpoch": func(tx *sqldb.Tx) error {
				_, err := w.Directory.RaiseEpoch(tx, w.Tenant.ID, who)
				return err
			},
			"AddIdentifier": func(tx *sqldb.Tx) error {
				_, err := w.Directory.AddIdentifier(tx, keys, key, w.Tenant.ID, who, verified(t, "b@example.com"), "system")
				return err
			},
			"VerifyIdentifier": func(tx *sqldb.Tx) error {
				return w.Directory.VerifyIdentifier(tx, keys, w.Tenant.ID, who, address(t, "a@example.com"), "system")
			},
		} {
			w.Write(t, func(tx *sqldb.Tx) error {
				before, err := w.Directory.Hold(tx, w.Tenant.ID, who)
				if err != nil {
					return err
				}
				if err := change(tx); err != nil {
					return err
				}
				after, err := w.Directory.Hold(tx, w.Tenant.ID, who)
				if after.Epoch != before.Epoch+1 || after.Version != before.Version {
					t.Errorf("%s: held %+v, then %+v", name, before, after)
				}
				return err
			})
			state, err := w.Directory.State(t.Context(), w.Tenant.ID, who)
			if err != nil {
				t.Fatal(err)
			}
			w.Write(t, func(tx *sqldb.Tx) error {
				held, err := w.Directory.Hold(tx, w.Tenant.ID, who)
				if held.Epoch != state.Epoch {
					t.Errorf("%s: stored %+v, held %+v", name, state, held)
				}
				return err
			})
		}
	})
}

// TestRaceToHold: nobody comes between a hold and its commit, so that versions
// have no gaps and no doubles.
func TestRaceToHold(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		nodes := []world{w}
		if w.DB.Engine() == sqldb.Postgres {
			nodes = append(nodes, world{w.Second(t)})
		}
		who := w.created(t)
		var mu sync.Mutex
		seen := map[int64]int{}
		var wait sync.WaitGroup
		for i := range 64 {
			node := nodes[i%len(nodes)]
			wait.Go(func() {
				var state customer.State
				err := node.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
					state, err = node.Directory.Hold(tx, w.Tenant.ID, who)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				seen[state.Version]++
			})
		}
		wait.Wait()
		versions := slices.Sorted(maps.Keys(seen))
		if len(versions) != 64 || versions[0] != 2 || versions[63] != 65 {
			t.Errorf("versions %v", versions)
		}
	})
}

// TestKeysOfALookupRotation: while a tenant's look-up key is replaced, what was
// written before finds, blocks and is verified as ever.
func TestKeysOfALookupRotation(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		victim := w.created(t, verified(t, "v@example.com"))
		who := w.created(t, unverified(t, "w@example.com"))
		ready, err := w.Ring.BeginLookupRotation(t.Context(), w.Tenant.ID)
		if err != nil {
			t.Fatal(err)
		}
		w.Clock.Set(ready)
		if w.find(t, "v@example.com") != victim {
			t.Error("who was there before is not found")
		}
		if _, err := w.create(t, nil, verified(t, "v@example.com")); !errors.Is(err, customer.ErrTaken) {
			t.Errorf("an address that is held under the old key: %v", err)
		}
		if err := w.verify(t, who, "w@example.com"); err != nil {
			t.Errorf("an address that was written down before: %v", err)
		}
		if err := w.verify(t, victim, "v@example.com"); err != nil {
			t.Errorf("proved again: %v", err)
		}
		for _, raw := range []string{"v@example.com", "w@example.com"} {
			holder := w.find(t, raw)
			it := w.get(t, holder).Identifiers[0].ID
			w.Write(t, func(tx *sqldb.Tx) error {
				return w.Directory.RemoveIdentifier(tx, w.Tenant.ID, holder, it, "system")
			})
			if got := w.find(t, raw); got != "" {
				t.Errorf("%s is removed and finds %s", raw, got)
			}
		}
	})
}
