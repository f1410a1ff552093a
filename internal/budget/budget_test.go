package budget

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var (
	start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	sets  = []sqldb.MigrationSet{Migrations()}
)

func newTenant() id.Tenant     { return id.New[id.Tenant](start, rand.Reader) }
func newCustomer() id.Customer { return id.New[id.Customer](start, rand.Reader) }
func newDevice() id.Device     { return id.New[id.Device](start, rand.Reader) }

func mustTake(t testing.TB, b *Budgets, tenant id.Tenant, s Subject, l Limit) Verdict {
	t.Helper()
	v, err := b.Take(context.Background(), tenant, Password, s, l)
	if err != nil {
		t.Fatal(err)
	}
	return v.told()
}

// told is a verdict without what only Refund reads.
func (v Verdict) told() Verdict {
	v.receipt = receipt{}
	return v
}

func settle(t testing.TB, b *Budgets, tenant id.Tenant, s Subject) {
	t.Helper()
	if err := b.db.Write(context.Background(), func(tx *sqldb.Tx) error { return b.Settle(tx, tenant, Password, s) }); err != nil {
		t.Fatal(err)
	}
}

// rows is what the database holds of a tenant, written out.
func rows(t testing.TB, b *Budgets, tenant id.Tenant) []string {
	t.Helper()
	r, err := b.db.Query(context.Background(), `SELECT subject, device, kind, window_end, used, met, total FROM budget
		WHERE tenant = $1 ORDER BY subject, device, kind`, tenant)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for r.Next() {
		var subject, device, kind string
		var end, used, met, total int64
		if err := r.Scan(&subject, &device, &kind, &end, &used, &met, &total); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(subject, "|", device, "|", kind, "|", end, used, met, total))
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWindow(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		b := New(db, now)
		limit := Limit{Window: time.Hour, PerWindow: 3}
		for name, s := range map[string]Subject{"known": Known(newCustomer()), "stranger": Stranger([]byte("hash")), "device": Device(newCustomer(), newDevice())} {
			t.Run(name, func(t *testing.T) {
				tenant := newTenant()
				now.Set(start)
				end := start.Add(time.Hour)
				for i, want := range []Verdict{{Allowed: true}, {Allowed: true}, {Allowed: true, Crossed: true, Until: end}, {Until: end}, {Until: end}} {
					if got := mustTake(t, b, tenant, s, limit); got != want {
						t.Fatalf("take %d: %+v, want %+v", i+1, got, want)
					}
					now.Advance(time.Minute)
				}
				before := rows(t, b, tenant)
				mustTake(t, b, tenant, s, limit)
				if diff := cmp.Diff(before, rows(t, b, tenant)); diff != "" {
					t.Errorf("a refused take wrote (-before +after):\n%s", diff)
				}
				now.Set(end.Add(-time.Microsecond))
				if v := mustTake(t, b, tenant, s, limit); v.Allowed {
					t.Error("there was room before Until")
				}
				now.Set(end)
				for i, want := range []Verdict{{Allowed: true}, {Allowed: true}, {Allowed: true, Crossed: true, Until: end.Add(time.Hour)}} {
					if got := mustTake(t, b, tenant, s, limit); got != want {
						t.Fatalf("take %d of the next window: %+v, want %+v", i+1, got, want)
					}
				}
			})
		}
	})
}

func TestTotalOutlivesWindowsUntilASuccess(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		b := New(db, now)
		tenant, customer := newTenant(), newCustomer()
		s, limit := Known(customer), Limit{Window: time.Hour, PerWindow: 2, Total: 5}
		for i := range 4 {
			if v := mustTake(t, b, tenant, s, limit); !v.Allowed || v.Exhausted {
				t.Fatalf("take %d: %+v", i+1, v)
			}
			now.Advance(time.Hour)
		}
		settle(t, b, tenant, s)
		for i := range 4 {
			if v := mustTake(t, b, tenant, s, limit); !v.Allowed || v.Exhausted {
				t.Fatalf("take %d after a success: %+v", i+1, v)
			}
			now.Advance(time.Hour)
		}
		if got, want := mustTake(t, b, tenant, s, limit), (Verdict{Allowed: true, Crossed: true, Exhausted: true}); got != want {
			t.Fatalf("the last of the total: %+v, want %+v", got, want)
		}
		now.Advance(1000 * time.Hour)
		if got, want := mustTake(t, b, tenant, s, limit), (Verdict{Allowed: true, Void: true, Exhausted: true}); got != want {
			t.Fatalf("beyond the total: %+v, want %+v", got, want)
		}
		if got, want := mustTake(t, b, tenant, Device(customer, newDevice()), limit), (Verdict{Exhausted: true}); got != want {
			t.Fatalf("a device beyond the customer's total: %+v, want %+v", got, want)
		}
		if n, err := b.Sweep(t.Context(), 100); err != nil || n != 0 {
			t.Fatalf("the sweep took %d rows that hold a total, %v", n, err)
		}
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return b.Clear(tx, tenant, customer) }); err != nil {
			t.Fatal(err)
		}
		if v := mustTake(t, b, tenant, s, limit); !v.Allowed || v.Void {
			t.Fatalf("after Clear: %+v", v)
		}
	})
}

func TestStrangersDoNotLockOutADeviceButShareItsTotal(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		b := New(db, clock.NewFake(start))
		tenant, customer := newTenant(), newCustomer()
		laptop, phone := Device(customer, newDevice()), Device(customer, newDevice())
		limit := Limit{Window: time.Hour, PerWindow: 3, Total: 8}
		take := func(s Subject) Verdict { return mustTake(t, b, tenant, s, limit) }
		for range 5 {
			take(Known(customer))
		}
		for range 3 {
			if v := take(laptop); !v.Allowed {
				t.Fatalf("strangers locked out a known device: %+v", v)
			}
		}
		if v := take(laptop); v.Allowed || v.Exhausted {
			t.Fatalf("a device has no window of its own: %+v", v)
		}
		// 3 strangers' and 3 of the laptop: two more make the total.
		if v := take(phone); !v.Allowed || v.Crossed {
			t.Fatalf("the 7th in a row: %+v", v)
		}
		if v := take(phone); !v.Allowed || !v.Crossed || !v.Exhausted {
			t.Fatalf("the 8th in a row: %+v", v)
		}
		if v := take(phone); v.Allowed || !v.Exhausted {
			t.Fatalf("the 9th in a row: %+v", v)
		}
		settle(t, b, tenant, phone)
		if v := take(phone); !v.Allowed || v.Exhausted {
			t.Fatalf("after a success on the device: %+v", v)
		}
		if v := take(Known(customer)); v.Allowed || v.Exhausted {
			t.Fatalf("a success on a device gave strangers room: %+v", v)
		}
	})
}

// What is reserved for the customer's devices is there for them whatever
// strangers do, and all of them together have the total.
func TestStrangersLeaveDevicesTheirReserve(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		b := New(db, now)
		tenant, customer := newTenant(), newCustomer()
		limit := Limit{Window: time.Hour, PerWindow: 30, Total: 20, Reserve: 5}
		evaluated := 0
		for range 200 {
			v := mustTake(t, b, tenant, Known(customer), limit)
			if v.Allowed && !v.Void {
				evaluated++
			}
			if !v.Allowed {
				now.Advance(time.Hour)
			}
		}
		if evaluated != 14 {
			t.Errorf("%d of strangers' takes were good, want 14", evaluated)
		}
		for s, want := range map[Subject]bool{Known(customer): true, Device(customer, newDevice()): false, Stranger([]byte("x")): false} {
			if got, err := b.Exhausted(t.Context(), tenant, Password, s, limit); err != nil || got != want {
				t.Errorf("%+v is exhausted: %t, %v", s, got, err)
			}
		}
		for range 30 {
			if v := mustTake(t, b, tenant, Device(customer, newDevice()), limit); v.Allowed {
				evaluated++
			}
		}
		if evaluated != 19 {
			t.Errorf("%d takes in a row were good, want the 14 of strangers and 5 of devices", evaluated)
		}
		settle(t, b, tenant, Device(customer, newDevice()))
		now.Advance(time.Hour)
		if v := mustTake(t, b, tenant, Known(customer), limit); !v.Allowed || v.Void {
			t.Errorf("after a success: %+v", v)
		}
	})
}

// A success by one method begins the totals of all anew.
func TestASuccessBeginsEveryTotalAnew(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		b := New(db, clock.NewFake(start))
		tenant, customer := newTenant(), newCustomer()
		limit := Limit{Window: time.Hour, PerWindow: 30, Total: 3}
		for range 4 {
			mustTake(t, b, tenant, Known(customer), limit)
		}
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return b.Settle(tx, tenant, Code, Device(customer, newDevice())) })
		if err != nil {
			t.Fatal(err)
		}
		if v := mustTake(t, b, tenant, Known(customer), limit); v.Void {
			t.Error("passwords are off after a sign-in by code")
		}
	})
}

// Buckets have windows only, so that nothing is counted of them for good.
func TestBucketsHaveNoTotal(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		b := New(db, now)
		tenant, s, limit := newTenant(), Stranger([]byte("x")), Limit{Window: time.Hour, PerWindow: 2, Total: 3}
		for range 10 {
			if v := mustTake(t, b, tenant, s, limit); !v.Allowed || v.Void || v.Exhausted {
				t.Fatalf("%+v", v)
			}
			now.Advance(time.Hour)
		}
		if n, err := b.Sweep(t.Context(), 10); err != nil || n != 1 {
			t.Errorf("%d rows were swept, %v", n, err)
		}
	})
}

func TestRefund(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		b := New(db, now)
		limit := Limit{Window: time.Hour, PerWindow: 3, Total: 100, Reserve: 10}
		customer := newCustomer()
		for name, s := range map[string]Subject{"known": Known(newCustomer()), "device": Device(customer, newDevice()), "stranger": Stranger([]byte("x"))} {
			t.Run(name, func(t *testing.T) {
				tenant := newTenant()
				take := func() Verdict {
					v, err := b.Take(t.Context(), tenant, Password, s, limit)
					if err != nil {
						t.Fatal(err)
					}
					return v
				}
				refund := func(v Verdict) {
					if err := b.Refund(t.Context(), tenant, Password, s, v); err != nil {
						t.Fatal(err)
					}
				}
				take()
				before := rows(t, b, tenant)
				for range 20 {
					refund(take())
				}
				if diff := cmp.Diff(before, rows(t, b, tenant)); diff != "" {
					t.Errorf("what was given back is counted (-before +after):\n%s", diff)
				}
				take()
				late := take()
				refused := take()
				if refused.Allowed {
					t.Fatal("there is no limit")
				}
				refund(refused) // was never counted
				if v := take(); v.Allowed {
					t.Error("a refund of what was refused gave room")
				}
				// What comes back late is not given to the next window, nor to a
				// total that a success has begun anew.
				now.Advance(time.Hour)
				settle(t, b, tenant, s)
				take()
				refund(late)
				take()
				take()
				if v := take(); v.Allowed {
					t.Error("a late refund gave the next window room")
				}
			})
		}
	})
}

func TestSuccessGivesItsTakeBackAndCrossingIsToldOnce(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		b := New(db, now)
		tenant, s, limit := newTenant(), Known(newCustomer()), Limit{Window: time.Hour, PerWindow: 2}
		crossed := 0
		for range 20 {
			v := mustTake(t, b, tenant, s, limit)
			if !v.Allowed {
				t.Fatal("successes used the budget up")
			}
			if v.Crossed {
				crossed++
			}
			settle(t, b, tenant, s)
			again := mustTake(t, b, tenant, s, limit)
			if again.Crossed {
				crossed++
			}
			settle(t, b, tenant, s)
		}
		mustTake(t, b, tenant, s, limit)
		for range 5 {
			if mustTake(t, b, tenant, s, limit).Crossed {
				crossed++
			}
			settle(t, b, tenant, s)
		}
		if crossed != 1 {
			t.Errorf("crossing was told %d times in one window, want once", crossed)
		}
		for range 5 { // more successes than takes give nothing away
			settle(t, b, tenant, s)
		}
		allowed := 0
		for range 5 {
			if mustTake(t, b, tenant, s, limit).Allowed {
				allowed++
			}
		}
		if allowed != 2 {
			t.Errorf("%d takes were allowed after surplus settlements, want 2", allowed)
		}
	})
}

func TestBudgetsAreApart(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		b := New(db, clock.NewFake(start))
		tenant, customer := newTenant(), newCustomer()
		limit := Limit{Window: time.Hour, PerWindow: 1}
		for _, first := range []struct {
			tenant id.Tenant
			kind   string
			s      Subject
		}{
			{tenant, Password, Known(customer)}, {newTenant(), Password, Known(customer)}, {tenant, Code, Known(customer)}, {tenant, Send, Known(customer)},
			{tenant, Password, Known(newCustomer())}, {tenant, Password, Device(customer, newDevice())}, {tenant, Password, Device(customer, newDevice())},
			{tenant, Password, Stranger([]byte("a"))}, {tenant, Password, Stranger([]byte("b"))},
		} {
			if v, err := b.Take(t.Context(), first.tenant, first.kind, first.s, limit); err != nil || !v.Allowed {
				t.Errorf("%+v shares a budget: %+v, %v", first, v, err)
			}
		}
	})
}

func TestStrangersShareABoundedNumberOfBuckets(t *testing.T) {
	seen := map[string]bool{}
	for i := range 100_000 {
		seen[Stranger(binary.BigEndian.AppendUint64(nil, uint64(i))).key] = true
	}
	// 100,000 of 2^20: about 4,600 collide when they are spread evenly.
	if n := len(seen); n < 94_000 || n > 97_000 {
		t.Errorf("100,000 handles fell into %d buckets", n)
	}
	if got, want := Stranger([]byte("frozen")).key, "bucket_30481"; got != want {
		t.Errorf("the bucket of a handle changed to %s: all counters of strangers would begin anew", got)
	}
	// A known customer and a stranger differ in nothing that Take looks at but
	// the key: the same statements are run for both.
	if Known(newCustomer()).device != "" || Stranger([]byte("x")).device != "" {
		t.Error("known and unknown would take different statements")
	}
}

func TestNobodyHasNoBudget(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		b := New(db, clock.NewFake(start))
		good := Limit{Window: time.Hour, PerWindow: 1}
		for _, c := range []struct {
			tenant id.Tenant
			kind   string
			s      Subject
			l      Limit
		}{
			{"", Code, Known(newCustomer()), good}, {newTenant(), "", Known(newCustomer()), good}, {newTenant(), Code, Subject{}, good},
			{newTenant(), Code, Known(""), good}, {newTenant(), Code, Stranger(nil), good}, {newTenant(), Code, Device(newCustomer(), ""), good},
			{newTenant(), Code, Known(newCustomer()), Limit{}}, {newTenant(), Code, Known(newCustomer()), Limit{Window: time.Hour}},
			{newTenant(), Code, Known(newCustomer()), Limit{PerWindow: 1}}, {newTenant(), Code, Known(newCustomer()), Limit{Window: time.Hour, PerWindow: 1, Total: -1}},
		} {
			if v, err := b.Take(t.Context(), c.tenant, c.kind, c.s, c.l); err == nil || v.Allowed {
				t.Errorf("Take(%+v) = %+v, %v; want an error", c, v, err)
			}
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if v, err := b.Take(cancelled, newTenant(), Code, Known(newCustomer()), good); !errors.Is(err, context.Canceled) || v.Allowed {
			t.Errorf("a take that could not be written: %+v, %v", v, err)
		}
	})
}

func TestSweep(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		b := New(db, now)
		tenant := newTenant()
		for i := range 25 {
			mustTake(t, b, tenant, Known(newCustomer()), Limit{Window: time.Duration(i+1) * time.Hour, PerWindow: 5})
		}
		mustTake(t, b, tenant, Known(newCustomer()), Limit{Window: time.Hour, PerWindow: 5, Total: 5})
		now.Advance(20 * time.Hour)
		for i, want := range []int{8, 8, 4, 0} {
			if got, err := b.Sweep(t.Context(), 8); err != nil || got != want {
				t.Fatalf("sweep %d deleted %d rows, want %d (%v)", i+1, got, want, err)
			}
		}
		if n := len(rows(t, b, tenant)); n != 6 {
			t.Errorf("%d rows are left, want 5 whose window runs and 1 with a total", n)
		}
	})
}

// handles are nodes over one database: two on PostgreSQL, one on SQLite.
func handles(t *testing.T, db *sqldb.DB, c clock.Clock) []*Budgets {
	nodes := []*Budgets{New(db, c)}
	if db.Engine() == sqldb.Postgres {
		nodes = append(nodes, New(dbtest.OpenSecond(t, db), c))
	}
	return nodes
}

// SECURITY H3 and R7: however many guess at once, on however many nodes, the
// number of evaluated guesses is the limit.
func TestParallelTakesNeverExceedTheLimit(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		nodes := handles(t, db, now)
		tenant, customer := newTenant(), newCustomer()
		device := newDevice()
		for round, c := range []struct {
			name     string
			subjects []Subject
			limit    Limit
			want     int64
			crossed  int64
		}{
			{"a customer's window", []Subject{Known(customer)}, Limit{Window: time.Hour, PerWindow: 10}, 10, 1},
			{"the next window", []Subject{Known(customer)}, Limit{Window: time.Hour, PerWindow: 7}, 7, 1},
			{"a window of one", []Subject{Known(customer)}, Limit{Window: time.Hour, PerWindow: 1}, 1, 1},
			{"a first window of one", []Subject{Known(newCustomer())}, Limit{Window: time.Hour, PerWindow: 1}, 1, 1},
			{"strangers", []Subject{Stranger([]byte("x"))}, Limit{Window: time.Hour, PerWindow: 10}, 10, 1},
			{"a device", []Subject{Device(customer, device)}, Limit{Window: time.Hour, PerWindow: 10}, 10, 1},
			{"a total", []Subject{Known(newCustomer())}, Limit{Window: time.Hour, PerWindow: 1000, Total: 23}, 23, 1},
			{"a device's total", []Subject{Device(newCustomer(), device)}, Limit{Window: time.Hour, PerWindow: 1000, Total: 23}, 23, 1},
			{"a total over the customer and devices", []Subject{Known(customer), Device(customer, device), Device(customer, newDevice())},
				Limit{Window: time.Hour, PerWindow: 1000, Total: 31}, 31, 1},
			{"strangers' part of a total", []Subject{Known(newCustomer())}, Limit{Window: time.Hour, PerWindow: 1000, Total: 31, Reserve: 10}, 20, 1},
			{"a device's total, with a reserve", []Subject{Device(newCustomer(), device)}, Limit{Window: time.Hour, PerWindow: 1000, Total: 31, Reserve: 10}, 31, 1},
			{"windows of the customer and a device", []Subject{Known(customer), Device(customer, newDevice())}, Limit{Window: time.Hour, PerWindow: 9}, 18, 2},
		} {
			now.Advance(2 * time.Hour)
			var allowed, crossed atomic.Int64
			var all sync.WaitGroup
			for i := range 64 {
				all.Go(func() {
					s := c.subjects[i%len(c.subjects)]
					for j := range 3 {
						v, err := nodes[(i+j)%len(nodes)].Take(t.Context(), tenant, Password, s, c.limit)
						if err != nil {
							t.Error(err)
						}
						if v.Allowed && !v.Void {
							allowed.Add(1)
						}
						if v.Crossed {
							crossed.Add(1)
						}
					}
				})
			}
			all.Wait()
			if got := allowed.Load(); got != c.want {
				t.Errorf("round %d, %s: %d of 192 parallel takes were allowed, want %d", round, c.name, got, c.want)
			}
			if got := crossed.Load(); got != c.crossed {
				t.Errorf("round %d, %s: crossing was told %d times, want %d", round, c.name, got, c.crossed)
			}
		}
	})
}

// A sweep that runs beside takes must not delete the window that a take has
// just begun.
func TestSweepBesideTakes(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		nodes := handles(t, db, now)
		tenant, s := newTenant(), Known(newCustomer())
		limit := Limit{Window: time.Minute, PerWindow: 5}
		for round := range 15 {
			now.Advance(time.Minute)
			var allowed atomic.Int64
			var all sync.WaitGroup
			for i := range 32 {
				all.Go(func() {
					v, err := nodes[i%len(nodes)].Take(t.Context(), tenant, Password, s, limit)
					if err != nil {
						t.Error(err)
					}
					if v.Allowed {
						allowed.Add(1)
					}
				})
				if i%8 == 0 {
					all.Go(func() {
						if _, err := nodes[i%len(nodes)].Sweep(t.Context(), 10); err != nil {
							t.Error(err)
						}
					})
				}
			}
			all.Wait()
			if got := allowed.Load(); got != 5 {
				t.Fatalf("round %d: %d takes were allowed, want 5", round, got)
			}
		}
	})
}

// model is the plain account of what a budget is.
type model struct {
	now    time.Time
	limit  Limit
	used   map[Subject]int
	met    map[Subject]bool
	end    map[Subject]time.Time
	totals map[string]int
}

func (m *model) take(s Subject) Verdict {
	total := m.limit.Total
	if s.bucket {
		total = 0
	}
	if total > 0 && s.device != "" && m.totals[s.key] >= total {
		return Verdict{Exhausted: true}
	}
	used := m.used[s]
	over := !m.end[s].After(m.now)
	if over {
		used = 0
	}
	if used >= m.limit.PerWindow {
		return Verdict{Until: m.end[s]}
	}
	if over {
		m.end[s], m.met[s] = m.now.Add(m.limit.Window), false
	}
	m.used[s] = used + 1
	v := Verdict{Allowed: true}
	if m.used[s] == m.limit.PerWindow {
		v.Crossed, v.Until = !m.met[s], m.end[s]
		m.met[s] = true
	}
	part := total
	if s.device == "" && m.limit.Reserve > 0 {
		part = max(1, total-m.limit.Reserve-1)
	}
	switch {
	case total == 0:
	case m.totals[s.key] >= part:
		m.totals[s.key] = max(m.totals[s.key], part+1) // the mark
		v.Void, v.Exhausted, v.Until = true, true, time.Time{}
	default:
		m.totals[s.key]++
		if m.totals[s.key] == part {
			v.Crossed, v.Exhausted, v.Until = true, true, time.Time{}
		}
	}
	return v
}

func (m *model) settle(s Subject) {
	m.totals[s.key] = 0
	m.used[s] = max(0, m.used[s]-1)
}

func TestAgreesWithThePlainModel(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		b := New(db, now)
		rapid.Check(t, func(t *rapid.T) {
			tenant, customer := newTenant(), newCustomer()
			subjects := []Subject{Known(customer), Device(customer, newDevice()), Device(customer, newDevice()), Known(newCustomer()), Stranger([]byte("x"))}
			m := &model{
				limit: Limit{
					Window:    time.Duration(rapid.IntRange(1, 100).Draw(t, "window")) * time.Second,
					PerWindow: rapid.IntRange(1, 4).Draw(t, "per window"),
					Total:     rapid.IntRange(0, 6).Draw(t, "total"),
					Reserve:   rapid.IntRange(0, 3).Draw(t, "reserve"),
				},
				used: map[Subject]int{}, met: map[Subject]bool{}, end: map[Subject]time.Time{}, totals: map[string]int{},
			}
			for range rapid.IntRange(1, 30).Draw(t, "steps") {
				s := subjects[rapid.IntRange(0, len(subjects)-1).Draw(t, "subject")]
				switch rapid.SampledFrom([]string{"take", "take", "take", "take", "settle", "advance", "sweep"}).Draw(t, "step") {
				case "take":
					m.now = now.Now()
					got, err := b.Take(context.Background(), tenant, Password, s, m.limit)
					if err != nil {
						t.Fatal(err)
					}
					if want := m.take(s); got.told() != want {
						t.Fatalf("Take(%+v) = %+v, the model says %+v", s, got, want)
					}
				case "settle":
					m.settle(s)
					if err := db.Write(context.Background(), func(tx *sqldb.Tx) error { return b.Settle(tx, tenant, Password, s) }); err != nil {
						t.Fatal(err)
					}
				case "advance":
					now.Advance(time.Duration(rapid.IntRange(0, 150).Draw(t, "seconds")) * time.Second)
				case "sweep":
					if _, err := b.Sweep(context.Background(), 3); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	})
}

func BenchmarkTake(b *testing.B) {
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			budgets := New(dbtest.Open(b, engine, sets), clock.System())
			tenant := newTenant()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					s := Known(newCustomer())
					if _, err := budgets.Take(context.Background(), tenant, Password, s, Limit{Window: time.Hour, PerWindow: 5, Total: 100}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// What is told of a limit that is met is told in the transaction that meets it.
func TestCrossingIsToldWithTheTake(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		b := New(db, clock.NewFake(start))
		tenant, s, l := newTenant(), Known(newCustomer()), Limit{Window: time.Hour, PerWindow: 2}
		told, broken := 0, errors.New("broken")
		tell := func(*sqldb.Tx) error { told++; return nil }
		take := func(tell func(*sqldb.Tx) error) (Verdict, error) {
			return b.Take(t.Context(), tenant, Password, s, l, tell)
		}
		if v, err := take(tell); err != nil || !v.Allowed || told != 0 {
			t.Fatalf("the first: %+v, %v, told %d", v, err, told)
		}
		if v, err := take(func(*sqldb.Tx) error { return broken }); !errors.Is(err, broken) || v.Allowed {
			t.Errorf("one that cannot be told: %+v, %v", v, err)
		}
		if v, err := take(tell); err != nil || !v.Allowed || !v.Crossed || told != 1 {
			t.Errorf("the last: %+v, %v, told %d", v, err, told)
		}
		if v, err := take(tell); err != nil || v.Allowed || told != 1 {
			t.Errorf("one too many: %+v, %v, told %d", v, err, told)
		}
	})
}
