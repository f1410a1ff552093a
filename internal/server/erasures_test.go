package server_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// eventually waits for what goes on in the background.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 500 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: not within 5 seconds", what)
}

// A node that dies between the destruction of a key and that of the rows comes
// back three days later.
func TestErasureIsFinishedHoweverLate(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		if err := i.Ring.Erase(t.Context(), h.tenant.ID, h.ana); err != nil {
			t.Fatal(err)
		}
		i.Clock.Advance(72 * time.Hour)
		i.Restart()
		eventually(t, "erased", func() bool {
			state, err := i.Directory.State(t.Context(), h.tenant.ID, h.ana)
			return err == nil && state.Status == customer.Erased
		})
		if n := h.count(`SELECT COUNT(*) FROM identifier_holder WHERE customer = $1`, h.ana); n != 0 {
			t.Errorf("the address is still held")
		}
		eventually(t, "marked", func() bool {
			left, err := i.Ring.Unfinished(t.Context(), 0, i.Clock.Now(), 10)
			return err == nil && len(left) == 0
		})
	})
}

func TestOneErasureThatFailsStopsNoOther(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		after := i.Customer(h.tenant, "after@shop.example", "")
		broken := errors.New("broken")
		i.Directory.Erasers = append(i.Directory.Erasers, func(_ *sqldb.Tx, _ id.Tenant, c id.Customer) error {
			if c == h.ana {
				return broken
			}
			return nil
		})
		for _, c := range []id.Customer{h.ana, after} {
			if err := i.Ring.Erase(t.Context(), h.tenant.ID, c); err != nil {
				t.Fatal(err)
			}
		}
		if err := i.FinishErasures(t.Context()); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		status := func(c id.Customer) customer.Status {
			state, err := i.Directory.State(t.Context(), h.tenant.ID, c)
			if err != nil {
				t.Fatal(err)
			}
			return state.Status
		}
		if status(h.ana) != customer.Active || status(after) != customer.Erased {
			t.Errorf("%s, %s", status(h.ana), status(after))
		}
		left, err := i.Ring.Unfinished(t.Context(), 0, i.Clock.Now(), 10)
		if err != nil || len(left) != 1 || left[0].Customer != h.ana {
			t.Errorf("%v, %v", left, err)
		}
		i.Directory.Erasers = i.Directory.Erasers[:len(i.Directory.Erasers)-1]
		if err := i.FinishErasures(t.Context()); err != nil || status(h.ana) != customer.Erased {
			t.Errorf("%v, %s", err, status(h.ana))
		}
	})
}
