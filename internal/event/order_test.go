package event

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
	"github.com/google/go-cmp/cmp"
)

// second is another node on db: a second handle where the engine allows it.
func second(t testing.TB, db *sqldb.DB) *sqldb.DB {
	if db.Engine() == sqldb.Postgres {
		return dbtest.OpenSecond(t, db)
	}
	return db
}

// checkOrder checks what must hold of the positions at all times: no gaps, each
// event once, in the right lane, and a customer's in the order of version and
// sequence with none left out; and the chains hold. It returns how many there are.
func checkOrder(t testing.TB, db *sqldb.DB) int {
	t.Helper()
	rows, err := db.Query(context.Background(), `SELECT p.lane, p.position, p.event, e.tenant, e.customer, e.version, e.seq FROM event_position p
		JOIN event e ON e.tenant = p.tenant AND e.customer = p.customer AND e.id = p.event ORDER BY p.lane, p.position`)
	if err != nil {
		t.Fatal(err)
	}
	var last [Lanes]int64
	events := map[id.Event]bool{}
	places := map[id.Customer][2]int64{}
	for rows.Next() {
		var lane int
		var position, version, seq int64
		var event id.Event
		var tenant id.Tenant
		var customer id.Customer
		if err := rows.Scan(&lane, &position, &event, &tenant, &customer, &version, &seq); err != nil {
			t.Fatal(err)
		}
		if position != last[lane]+1 {
			t.Fatalf("lane %d: position %d follows %d", lane, position, last[lane])
		}
		last[lane] = position
		if events[event] {
			t.Fatalf("event %s has two positions", event)
		}
		events[event] = true
		if lane != laneOf(tenant, customer) {
			t.Fatalf("event %s is in lane %d", event, lane)
		}
		if customer == "" {
			continue
		}
		was := places[customer]
		if next := version == was[0] && seq == was[1]+1 || version == was[0]+1 && seq == 1; !next {
			t.Fatalf("customer %s: version %d, sequence %d comes after version %d, sequence %d", customer, version, seq, was[0], was[1])
		}
		places[customer] = [2]int64{version, seq}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	l := newLog(db)
	for lane := range Lanes { // whoever led it, and however often it changed hands
		done, err := l.Check(context.Background(), Anchor{Lane: lane}, false, 0, 1_000_000)
		if err != nil || done.Fault != "" || done.Unchained+done.Aged > 0 {
			t.Fatalf("the chain of lane %d: %+v, %v", lane, done, err)
		}
	}
	return len(events)
}

// write appends from 32 writers to few customers, so that they meet, and
// returns how many events were acknowledged.
func write(t *testing.T, logs []*Log, each int) int {
	customers := make([]id.Customer, 10)
	for i := range customers {
		customers[i] = newCustomer()
	}
	var total atomic.Int64
	var all sync.WaitGroup
	for w := range 32 {
		all.Go(func() {
			l := logs[w%len(logs)]
			for range each {
				n := mathrand.IntN(3) + 1
				err := l.db.Write(t.Context(), func(tx *sqldb.Tx) error {
					c := customers[mathrand.IntN(len(customers))]
					for range n {
						if err := l.Append(tx, fact(c)); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				total.Add(int64(n))
				if mathrand.IntN(5) == 0 {
					l.mustAppend(t, fact(""))
					total.Add(1)
				}
			}
		})
	}
	all.Wait()
	return int(total.Load())
}

func waitUntilOrdered(t testing.TB, db *sqldb.DB) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); count(t, db, "event_pending") > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d events are still pending", count(t, db, "event_pending"))
		}
	}
}

// Two nodes order while 32 writers append; a third one falls asleep again and
// again between reading and writing, for longer than its lease lasts.
func TestOrderUnderWritersAndTwoLeadersAndOneThatSleeps(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		lease := func(o *Options) { o.Lease, o.Batch = 150*time.Millisecond, 40 }
		logs := []*Log{newLog(db, lease), newLog(second(t, db), lease)}
		ctx, stop := context.WithCancel(t.Context())
		var leaders sync.WaitGroup
		for _, l := range logs {
			leaders.Go(func() {
				if err := l.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		var fenced, wrote atomic.Int64
		sleeper := newLog(second(t, db), lease)
		leaders.Go(func() {
			o, err := sleeper.newOrderer()
			if err != nil {
				t.Error(err)
				return
			}
			for ctx.Err() == nil {
				if err := o.leases.renew(ctx); err != nil {
					continue
				}
				batch, err := o.read(ctx)
				if err != nil || len(batch) == 0 {
					pause(ctx, 5*time.Millisecond, nil)
					continue
				}
				pause(ctx, time.Duration(mathrand.IntN(300))*time.Millisecond, nil)
				switch err := o.assign(ctx, batch); {
				case errors.Is(err, errFenced):
					fenced.Add(1)
				case err == nil:
					wrote.Add(1)
				}
			}
		})
		want := 0
		for round := 0; round < 20 && (round < 2 || fenced.Load() == 0); round++ {
			want += write(t, logs, 12)
			checkOrder(t, db)
		}
		waitUntilOrdered(t, db)
		stop()
		leaders.Wait()
		if got := checkOrder(t, db); got != want {
			t.Errorf("%d events have a position, %d were acknowledged", got, want)
		}
		if fenced.Load() == 0 {
			t.Error("the sleeping leader was never fenced off: the test showed nothing")
		}
		t.Logf("%d events; the sleeper wrote %d batches and was fenced off %d times", want, wrote.Load(), fenced.Load())
	})
}

func TestDeposedLeaderWritesNothing(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		setClock := func(o *Options) { o.Clock, o.Lease = now, 10*time.Second }
		a, err := newLog(db, setClock).newOrderer()
		if err != nil {
			t.Fatal(err)
		}
		b, err := newLog(second(t, db), setClock).newOrderer()
		if err != nil {
			t.Fatal(err)
		}
		b.leases.taken = true // on SQLite, not as a new process
		renew := func(o *orderer, want int) {
			t.Helper()
			if err := o.leases.renew(t.Context()); err != nil || len(o.leases.held) != want {
				t.Fatalf("%d lanes are held, want %d (%v)", len(o.leases.held), want, err)
			}
		}
		for range 50 {
			a.log.mustAppend(t, fact(newCustomer()))
		}
		renew(a, Lanes)
		stale, err := a.read(t.Context())
		if err != nil || len(stale) != 50 {
			t.Fatalf("read %d, %v", len(stale), err)
		}
		now.Advance(10 * time.Second) // a sleeps
		renew(b, Lanes)
		if err := a.assign(t.Context(), stale); !errors.Is(err, errFenced) {
			t.Fatalf("a deposed leader wrote: %v", err)
		}
		if n := checkOrder(t, db); n != 0 {
			t.Fatalf("a deposed leader left %d positions", n)
		}
		if n, err := b.step(t.Context()); n != 50 || err != nil {
			t.Fatalf("the new leader ordered %d, %v", n, err)
		}
		if err := a.assign(t.Context(), stale); !errors.Is(err, errFenced) {
			t.Fatalf("a deposed leader wrote after its successor: %v", err)
		}
		if n := checkOrder(t, db); n != 50 {
			t.Fatalf("%d positions, want 50", n)
		}
		// The lease comes back to a, under a later epoch: what it read under the
		// old one is no good, as a holds no epoch for it until it renews.
		b.leases.release(t.Context())
		if err := a.assign(t.Context(), stale); !errors.Is(err, errFenced) {
			t.Fatalf("a leader wrote with a lease that it had lost: %v", err)
		}
		renew(a, Lanes)
		if n, err := a.step(t.Context()); n != 0 || err != nil {
			t.Fatalf("a ordered %d again, %v", n, err)
		}
	})
}

func TestLanesAreSharedOutAndGivenUp(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		var nodes []*leases
		for range 3 {
			l, err := newLog(db, func(o *Options) { o.Clock, o.Lease = now, 10*time.Second }).newLeases(roleOrder)
			if err != nil {
				t.Fatal(err)
			}
			l.taken = true
			nodes = append(nodes, l)
		}
		renew := func(rounds int, who ...*leases) {
			t.Helper()
			for range rounds {
				for _, l := range who {
					if err := l.renew(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		held := func() (counts []int) {
			owner := map[int]bool{}
			for _, l := range nodes {
				counts = append(counts, len(l.held))
				for lane := range l.held {
					if owner[lane] {
						t.Errorf("lane %d is held twice", lane)
					}
					owner[lane] = true
				}
			}
			return counts
		}
		renew(2, nodes[0])
		if diff := cmp.Diff([]int{64, 0, 0}, held()); diff != "" {
			t.Error(diff)
		}
		renew(2, nodes...)
		renew(2, nodes...)
		if counts := held(); slices.Min(counts) != 21 || slices.Max(counts) != 22 {
			t.Errorf("lanes are not shared out evenly: %v", counts)
		}
		before := fmt.Sprint(nodes[0].held, nodes[1].held, nodes[2].held)
		renew(3, nodes...)
		if after := fmt.Sprint(nodes[0].held, nodes[1].held, nodes[2].held); after != before {
			t.Errorf("lanes change hands without need: %s, then %s", before, after)
		}
		nodes[1].release(t.Context())
		renew(3, nodes[0], nodes[2])
		if counts := held(); counts[0]+counts[2] != Lanes {
			t.Errorf("lanes that were given up are nobody's: %v", counts)
		}
		now.Advance(11 * time.Second) // the third one is killed
		nodes[2].held = nil
		renew(2, nodes[0])
		if len(nodes[0].held) != Lanes {
			t.Errorf("the last node holds %d lanes", len(nodes[0].held))
		}
	})
}

// A process that dies at any step leaves nothing lost and nothing doubled.
func TestLeaderDiesBetweenSteps(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		now := clock.NewFake(start)
		want := 0
		c := newCustomer()
		for round := range 12 {
			l := newLog(db, func(o *Options) { o.Clock, o.Batch = now, 7 })
			for range 20 {
				l.mustAppend(t, fact(c), fact(newCustomer()), fact(c))
				want += 3
			}
			now.Advance(time.Hour) // all leases of the dead have expired
			o, err := l.newOrderer()
			if err != nil {
				t.Fatal(err)
			}
			if round%4 == 0 {
				continue // dies before it has a lease
			}
			if err := o.leases.renew(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range round {
				if _, err := o.step(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			batch, err := o.read(t.Context())
			if err != nil || len(batch) == 0 {
				t.Fatalf("read %d, %v", len(batch), err)
			}
			if round%4 == 1 {
				continue // dies between reading and writing
			}
			if round%4 == 2 { // fails in the middle of writing, and goes on
				broken := append([]pending(nil), batch...)
				broken = append(broken, broken[0]) // its second position is refused
				if err := o.assign(t.Context(), broken); err == nil {
					t.Fatal("an event got two positions")
				}
				if batch, err = o.read(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := o.assign(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			checkOrder(t, db)
		}
		now.Advance(time.Hour)
		orderAll(t, newLog(db, func(o *Options) { o.Clock = now }))
		if got := checkOrder(t, db); got != want || count(t, db, "event_pending") != 0 {
			t.Errorf("%d events have a position and %d are pending; %d were appended", got, count(t, db, "event_pending"), want)
		}
	})
}

// An append wakes the leader of its own node, however rarely it polls.
func TestAppendWakesTheLeader(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		l := newLog(db, func(o *Options) { o.Poll, o.Lease = time.Hour, time.Minute })
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = l.Run(ctx) })
		time.Sleep(3 * time.Second) // waits have grown beyond what this test waits for
		l.mustAppend(t, fact(newCustomer()))
		begun := time.Now()
		waitUntilOrdered(t, db)
		if took := time.Since(begun); took > time.Second {
			t.Errorf("an event waited %v for its position", took)
		}
		stop()
		running.Wait()
		var held int
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM event_lease WHERE holder <> ''`).Scan(&held); err != nil || held != 0 {
			t.Errorf("a node that stopped in order kept %d leases, %v", held, err)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		for _, ordered := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/ordered=%v", engine, ordered), func(b *testing.B) {
				db := dbtest.Open(b, engine, sets)
				l := New(Options{DB: db, Bump: bump})
				ctx, stop := context.WithCancel(context.Background())
				defer stop()
				if ordered {
					go func() { _ = l.Run(ctx) }()
				}
				b.SetParallelism(32)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					c := newCustomer()
					for pb.Next() {
						l.mustAppend(b, fact(c))
					}
				})
				if ordered {
					waitUntilOrdered(b, db)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
				stop()
			})
		}
	}
}

// BenchmarkOrder is how fast one leader gives positions to a backlog.
func BenchmarkOrder(b *testing.B) {
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			l := New(Options{DB: dbtest.Open(b, engine, sets), Bump: bump})
			const backlog = 20_000
			for b.Loop() {
				b.StopTimer()
				for range backlog / 200 {
					events := make([]Event, 200)
					for i := range events {
						events[i] = fact(newCustomer())
						events[i].Customer = ""
						events[i].Tenant = id.Tenant(newCustomer())
					}
					l.mustAppend(b, events...)
				}
				b.StartTimer()
				orderAll(b, l)
			}
			b.ReportMetric(float64(backlog*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
