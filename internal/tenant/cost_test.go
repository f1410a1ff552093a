package tenant_test

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/tenant"
)

// An address without an account is answered at the cost that hashes had, until
// its turn has come; then at the present one, and never again at the former.
func TestCostGoesOverOneByOne(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		old := tenant.Defaults()
		made, err := w.Create(t.Context(), tenant.New{Slug: "shop", Name: "Shop", Issuer: "https://shop.example", Settings: old})
		if err != nil {
			t.Fatal(err)
		}
		handles := make([][]byte, 2000)
		for n := range handles {
			sum := sha256.Sum256([]byte{byte(n), byte(n >> 8)})
			handles[n] = sum[:]
		}
		now := w.clock.Now()
		if got := made.CostOf(handles[0], now); got != old.Password {
			t.Errorf("without a change the cost is %+v", got)
		}
		next := old
		next.Password.MinLength = 20
		if made, err = w.Apply(t.Context(), made.ID, 0, next, ""); err != nil || made.Former != nil {
			t.Fatalf("a longer password changes the cost: %+v, %v", made.Former, err)
		}
		next.Password.Time = 4
		if made, err = w.Apply(t.Context(), made.ID, 0, next, ""); err != nil {
			t.Fatal(err)
		}
		next.Region = "PT" // whatever else is changed keeps what is remembered
		if made, err = w.Apply(t.Context(), made.ID, 0, next, ""); err != nil {
			t.Fatal(err)
		}
		over := map[int]bool{}
		for _, c := range []struct {
			after       time.Duration
			least, most int
		}{{0, 0, 0}, {24 * time.Hour, 100, 200}, {45 * 24 * time.Hour, 900, 1100}, {180*24*time.Hour + time.Second, 2000, 2000}, {10 * 365 * 24 * time.Hour, 2000, 2000}} {
			count := 0
			for n, handle := range handles {
				switch made.CostOf(handle, now.Add(c.after)).Time {
				case 4:
					count, over[n] = count+1, true
				case 2:
					if over[n] {
						t.Fatalf("after %s an address goes back", c.after)
					}
				default:
					t.Fatal("a cost that nobody chose")
				}
			}
			if count < c.least || count > c.most {
				t.Errorf("after %s %d of 2000 have gone over", c.after, count)
			}
		}
	})
}
