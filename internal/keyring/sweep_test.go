package keyring

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

func TestSweepOrphans(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		first, second := in.node(t), in.otherNode(t)
		must(t, first.CreateTenant(ctx, tenantA))
		exist := map[id.Customer]bool{}
		asked := 0
		exists := func(_ context.Context, tenant id.Tenant, customer id.Customer) (bool, error) {
			asked++
			if tenant != tenantA {
				t.Errorf("asked for tenant %s", tenant)
			}
			return exist[customer], nil
		}
		sweep := func(r *Ring, want, ask int) {
			t.Helper()
			asked = 0
			swept, err := r.SweepOrphans(ctx, exists)
			if err != nil || swept != want || asked != ask {
				t.Errorf("swept %d of %d, not %d of %d: %v", swept, asked, want, ask, err)
			}
		}
		fields := map[id.Customer][]byte{}
		for i := range 6 {
			customer := id.Customer(fmt.Sprintf("cus_%026d", i))
			exist[customer] = i%2 == 0
			c, err := first.CreateCustomer(ctx, tenantA, customer)
			must(t, err)
			fields[customer] = field(t, c)
			_, err = second.Customer(ctx, tenantA, customer)
			must(t, err)
		}
		erased := id.Customer(fmt.Sprintf("cus_%026d", 4))
		must(t, first.Erase(ctx, tenantA, erased))

		sweep(first, 0, 0) // too young
		in.clock.Advance(61 * time.Minute)
		if _, err := first.SweepOrphans(ctx, func(context.Context, id.Tenant, id.Customer) (bool, error) {
			return false, errors.New("no answer")
		}); err == nil {
			t.Error("swept without an answer")
		}
		sweep(first, 3, 5)
		must(t, second.Poll(ctx))
		for customer, there := range exist {
			for _, r := range []*Ring{first, second} {
				_, err := r.Customer(ctx, tenantA, customer)
				switch {
				case customer == erased && !errors.Is(err, ErrErased),
					customer != erased && there && err != nil,
					!there && !errors.Is(err, ErrNoKey):
					t.Errorf("%s: %v", customer, err)
				case customer != erased && there:
					reads(t, r, customer, fields[customer])
				}
			}
		}
		sweep(second, 0, 0) // each key is looked at once

		// A swept customer is not an erased one: a later try makes a new key.
		again := id.Customer(fmt.Sprintf("cus_%026d", 1))
		_, err := second.CreateCustomer(ctx, tenantA, again)
		must(t, err)
		exist[again] = true
		// After a restore all are looked at again.
		_, err = first.RaiseEpoch(ctx, in.clock.Now())
		must(t, err)
		must(t, second.Poll(ctx))
		exist[id.Customer(fmt.Sprintf("cus_%026d", 0))] = false
		sweep(second, 1, 3)
	})
}

// A sign-up that is tried again long after its key was made keeps the key.
func TestSweepLeavesAKeyTakenUpAgain(t *testing.T) {
	each(t, func(t *testing.T, in *installation) {
		ctx := t.Context()
		r := in.node(t)
		must(t, r.CreateTenant(ctx, tenantA))
		c, err := r.CreateCustomer(ctx, tenantA, customerA)
		must(t, err)
		sealed := field(t, c)
		must(t, in.store.Write(ctx, func(tx *sqldb.Tx) error { // two hours ago
			_, err := tx.Exec(`UPDATE customer_key SET created_at = $1`, time.Now().Add(-2*time.Hour))
			return err
		}))
		swept, err := r.SweepOrphans(ctx, func(context.Context, id.Tenant, id.Customer) (bool, error) {
			// Right now, between the question and the sweep.
			_, err := r.CreateCustomer(ctx, tenantA, customerA)
			return false, err
		})
		if err != nil || swept != 0 {
			t.Errorf("swept %d, %v", swept, err)
		}
		reads(t, r, customerA, sealed)
	})
}
