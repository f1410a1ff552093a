package event

import (
	"context"
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
)

// witness is a consumer's handler that checks what it is given.
type witness struct {
	mu     sync.Mutex
	seen   map[id.Event]int
	last   [Lanes]int64
	faults []string
	calls  int
}

func newWitness() *witness { return &witness{seen: map[id.Event]int{}} }

// take notes a batch. After a restart the same may come again from where the
// cursor stood, but nothing may be left out.
func (w *witness) take(b Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	for i, r := range b.Records {
		if r.Position > w.last[b.Lane]+1 {
			w.faults = append(w.faults, fmt.Sprintf("lane %d: position %d came after %d", b.Lane, r.Position, w.last[b.Lane]))
		}
		if i > 0 && r.Position != b.Records[i-1].Position+1 {
			w.faults = append(w.faults, fmt.Sprintf("lane %d: position %d follows %d in a batch", b.Lane, r.Position, b.Records[i-1].Position))
		}
		if b.Lane != laneOf(r.Tenant, r.Customer) {
			w.faults = append(w.faults, fmt.Sprintf("event %s came in lane %d", r.ID, b.Lane))
		}
		w.last[b.Lane] = max(w.last[b.Lane], r.Position)
		w.seen[r.ID]++
	}
}

func (w *witness) all() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

func (w *witness) check(t *testing.T, want int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.faults {
		t.Error(f)
	}
	if len(w.seen) != want {
		t.Errorf("%d events were seen, want %d", len(w.seen), want)
	}
}

func TestConsumerSeesAllInOrderOnceWhenNothingFails(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		l := newLog(db, func(o *Options) { o.Batch = 30 })
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = l.Run(ctx) })
		w := newWitness()
		running.Go(func() {
			_ = l.Consume(ctx, "audit", func(_ context.Context, b Batch) error { w.take(b); return nil })
		})
		want := write(t, []*Log{l}, 5)
		waitFor(t, func() bool { return w.all() == want })
		stop()
		running.Wait()
		w.check(t, want)
		for event, n := range w.seen {
			if n != 1 {
				t.Errorf("event %s was seen %d times though nothing failed", event, n)
			}
		}
		// Another consumer begins at the beginning; the same one goes on.
		ctx, stop = context.WithCancel(t.Context())
		defer stop()
		l.mustAppend(t, fact(newCustomer()))
		orderAll(t, l)
		again, other := newWitness(), newWitness()
		again.last = w.last
		running.Go(func() {
			_ = l.Consume(ctx, "audit", func(_ context.Context, b Batch) error { again.take(b); return nil })
		})
		running.Go(func() {
			_ = l.Consume(ctx, "webhooks", func(_ context.Context, b Batch) error { other.take(b); return nil })
		})
		waitFor(t, func() bool { return again.all() > 0 && other.all() == want+1 })
		stop()
		running.Wait()
		again.check(t, 1)
		other.check(t, want+1)
	})
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for 30 s in vain")
		}
	}
}

// A consumer that dies after it handled a batch and before that was stored
// sees the batch again.
func TestConsumerDiesBeforeItsCursorIsStored(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		l := newLog(db, func(o *Options) { o.Batch, o.Clock = 10, now })
		want := write(t, []*Log{l}, 4)
		orderAll(t, l)
		w := newWitness()
		for round := 0; w.all() < want; round++ {
			if round > 10*want {
				t.Fatal("the consumer does not get on")
			}
			now.Advance(time.Hour) // the dead one's lease has expired
			leases, err := l.newLeases("consume/mortal")
			if err != nil {
				t.Fatal(err)
			}
			if err := l.makeRole(t.Context(), leases.role); err != nil {
				t.Fatal(err)
			}
			if err := leases.renew(t.Context()); err != nil || len(leases.held) != 1 {
				t.Fatalf("the lease of a dead consumer was not to be had: %v", err)
			}
			c := &consumption{log: l, consumer: "mortal", leases: leases, epoch: leases.held[0],
				handle: func(_ context.Context, b Batch) error { w.take(b); return nil }}
			if err := c.load(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := c.round(t.Context()); err != nil {
				t.Fatal(err)
			}
			if round%2 == 1 { // every other one lives to store what it did
				if err := c.store(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.check(t, want)
		twice := 0
		for _, n := range w.seen {
			if n > 1 {
				twice++
			}
		}
		if twice == 0 {
			t.Error("nothing was seen twice: the test showed nothing")
		}
	})
}

func TestDeposedConsumerStoresNothing(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		l := newLog(db, func(o *Options) { o.Clock = now })
		for range 20 {
			l.mustAppend(t, fact(newCustomer()))
		}
		orderAll(t, l)
		if err := l.makeRole(t.Context(), "consume/x"); err != nil {
			t.Fatal(err)
		}
		turn := func() *consumption {
			leases, err := l.newLeases("consume/x")
			if err != nil {
				t.Fatal(err)
			}
			if err := leases.renew(t.Context()); err != nil || len(leases.held) != 1 {
				t.Fatal("no lease", err)
			}
			c := &consumption{log: l, consumer: "x", leases: leases, epoch: leases.held[0], handle: func(context.Context, Batch) error { return nil }}
			if err := c.load(t.Context()); err != nil {
				t.Fatal(err)
			}
			return c
		}
		old := turn()
		if _, err := old.round(t.Context()); err != nil {
			t.Fatal(err)
		}
		now.Advance(time.Hour)
		fresh := turn()
		if err := old.store(t.Context()); !errors.Is(err, errFenced) {
			t.Errorf("a deposed consumer stored its cursors: %v", err)
		}
		if n := count(t, db, "event_cursor"); n != 0 {
			t.Errorf("a deposed consumer left %d cursors", n)
		}
		if n, err := fresh.round(t.Context()); err != nil || n != 20 {
			t.Errorf("its successor handled %d, %v", n, err)
		}
		if err := fresh.store(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestOneNodeAtATimeRunsAConsumer(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		nodes := []*Log{newLog(db), newLog(second(t, db))}
		want := write(t, nodes, 3)
		orderAll(t, nodes[0])
		w := newWitness()
		var inside, most atomic.Int64
		by := [2]atomic.Int64{}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		cancels := make([]context.CancelFunc, 2)
		for i, l := range nodes {
			var nodeCtx context.Context
			nodeCtx, cancels[i] = context.WithCancel(ctx)
			running.Go(func() {
				_ = l.Consume(nodeCtx, "single", func(_ context.Context, b Batch) error {
					most.Store(max(most.Load(), inside.Add(1)))
					defer inside.Add(-1)
					by[i].Add(1)
					time.Sleep(time.Millisecond)
					w.take(b)
					return nil
				})
			})
			if i == 0 {
				waitFor(t, func() bool { return by[0].Load() > 0 || db.Engine() == sqldb.SQLite && w.all() > 0 })
			}
		}
		waitFor(t, func() bool { return w.all() == want })
		cancels[0]() // the other node takes over what comes now
		nodes[1].mustAppend(t, fact(newCustomer()))
		orderAll(t, nodes[1])
		waitFor(t, func() bool { return w.all() == want+1 })
		stop()
		running.Wait()
		w.check(t, want+1)
		if most.Load() != 1 && db.Engine() == sqldb.Postgres {
			t.Errorf("%d nodes handled at once", most.Load())
		}
		if by[1].Load() == 0 {
			t.Error("the second node never took over")
		}
	})
}

func TestALaneThatFailsWaitsAndOthersGoOn(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		l := newLog(db, func(o *Options) { o.Batch = 5 })
		var events []Event
		for range 200 {
			events = append(events, fact(newCustomer()))
		}
		l.mustAppend(t, events...)
		orderAll(t, l)
		broken := laneOf(tenantA, events[0].Customer)
		w := newWitness()
		tries := 0
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			_ = l.Consume(ctx, "failing", func(_ context.Context, b Batch) error {
				if b.Lane == broken {
					if tries++; tries < 3 {
						return errors.New("the other side is down")
					}
				}
				w.take(b)
				return nil
			})
		})
		waitFor(t, func() bool { return w.all() == len(events) })
		stop()
		running.Wait()
		w.check(t, len(events))
		if tries < 3 {
			t.Errorf("the failing lane was tried %d times", tries)
		}
	})
}
