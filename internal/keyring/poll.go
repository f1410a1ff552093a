package keyring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
)

// freshness is when something was last read, and who reads it.
type freshness struct {
	good  atomic.Int64 // µs; when the last good read began
	begun atomic.Int64 // how many reads have begun

	mu     sync.Mutex // held during a read
	last   int64      // which of the reads was the last good one
	failed time.Time
	err    error // of the last read, or nil
}

// retryAfter is how long callers share a failure instead of trying again.
const retryAfter = 250 * time.Millisecond

// ensure reads unless the last good read is recent enough.
func (f *freshness) ensure(ctx context.Context, clock clock.Clock, read func(context.Context) error) error {
	if f.fresh(clock.Now()) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := clock.Now()
	if f.fresh(now) {
		return nil // by who held the lock
	}
	if since := now.Sub(f.failed); f.err != nil && since >= 0 && since < retryAfter {
		return f.err
	}
	return f.read(ctx, now, read)
}

func (f *freshness) fresh(now time.Time) bool {
	age := now.UnixMicro() - f.good.Load()
	return age >= 0 && age <= MaxStale.Microseconds()
}

// renew returns after a read that began after the call of renew.
func (f *freshness) renew(ctx context.Context, clock clock.Clock, read func(context.Context) error) error {
	before := f.begun.Load()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last > before {
		return nil // by who held the lock
	}
	return f.read(ctx, clock.Now(), read)
}

func (f *freshness) read(ctx context.Context, now time.Time, read func(context.Context) error) error {
	number := f.begun.Add(1)
	err := read(ctx)
	if err == nil {
		f.last = number
		f.good.Store(now.UnixMicro())
	}
	if ctx.Err() == nil { // the impatience of one caller is not everyone's
		f.failed, f.err = now, err
	}
	return err
}

// throttle counts what happens within a second.
type throttle struct {
	mu    sync.Mutex
	start time.Time
	count int
}

func (t *throttle) allow(now time.Time, perSecond int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if age := now.Sub(t.start); age < 0 || age >= time.Second {
		t.start, t.count = now, 0
	}
	t.count++
	return t.count <= perSecond
}

const (
	sqlPollMain  = `SELECT epoch, version FROM keyring_state WHERE name = 'ring'`
	sqlPollStore = `SELECT sequence, sweeps FROM key_store WHERE name = 'store'`
)

// Poll learns what other nodes changed: the epoch, tenants' keys, erased
// customers. The server calls it once a second; it costs one small read of
// each database. See MaxStale for what holds when it is not called or fails.
func (r *Ring) Poll(ctx context.Context) error {
	err := errors.Join(
		r.mainFresh.renew(ctx, r.clock, r.pollMain),
		r.storeFresh.renew(ctx, r.clock, r.pollStore),
	)
	if err != nil {
		return fmt.Errorf("keyring: poll: %w", err)
	}
	return nil
}

func (r *Ring) pollMain(ctx context.Context) error {
	var epoch, version int64
	if err := r.db.QueryRow(ctx, sqlPollMain).Scan(&epoch, &version); err != nil {
		return err
	}
	raise(&r.epoch, epoch)
	raise(&r.version, version)
	return nil
}

const pollPage = 1000

func (r *Ring) pollStore(ctx context.Context) error {
	var sequence, sweeps int64
	if err := r.store.QueryRow(ctx, sqlPollStore).Scan(&sequence, &sweeps); err != nil {
		return err
	}
	if r.storeFresh.good.Load() == 0 { // the first: nothing is cached
		r.sequence.Store(sequence)
	}
	for r.sequence.Load() < sequence {
		erased, err := r.Erased(ctx, r.sequence.Load(), pollPage)
		if err != nil {
			return err
		}
		if len(erased) == 0 {
			return fmt.Errorf("the erasure ledger ends at sequence %d, but counts to %d", r.sequence.Load(), sequence)
		}
		for _, e := range erased {
			r.evict(customerName{e.Tenant, e.Customer})
		}
		r.sequence.Store(erased[len(erased)-1].Sequence)
	}
	raise(&r.sweeps, sweeps)
	return nil
}

// raise sets v to at least value: reads may come back in another order.
func raise(v *atomic.Int64, value int64) {
	for {
		old := v.Load()
		if old >= value || v.CompareAndSwap(old, value) {
			return
		}
	}
}
