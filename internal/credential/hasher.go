package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/tracing"
)

// ErrBusy says that the hash was not computed because too many wait already, or
// because the context's deadline came first. It is always a *BusyError; a
// surface answers 503 with its RetryAfter.
var ErrBusy = errors.New("too many passwords are being checked at this moment")

// BusyError is ErrBusy with an estimate of when it is worth trying again.
type BusyError struct{ RetryAfter time.Duration }

func (e *BusyError) Error() string        { return ErrBusy.Error() }
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// HasherOptions say how much a Hasher may do at once.
type HasherOptions struct {
	// Concurrency is how many hashes are computed at once; 0 means GOMAXPROCS.
	Concurrency int
	// MemoryKiB is what they may take together; 0 means 64 MiB a slot. A hash
	// that wants more runs alone.
	MemoryKiB int
	// Queue is how many may wait; 0 means 64 a slot.
	Queue int
	// Clock measures how long hashes take; nil means the machine's.
	Clock clock.Clock
	// Random gives salts. It must be set.
	Random io.Reader
}

// Asker is on whose behalf a hash is computed. The queue is fair among tenants;
// within one, browsers with a valid device cookie for the account come first.
type Asker struct {
	Tenant id.Tenant
	Known  bool
}

// Hasher computes Argon2id hashes, a few at a time. It is safe for concurrent
// use.
type Hasher struct {
	clock  clock.Clock
	random io.Reader
	queue  *queue
	dummy  phc // a salt and a sum that no password has, for addresses without one

	randomMu sync.Mutex // as an io.Reader need not be safe for concurrent use
}

// NewHasher makes a Hasher.
func NewHasher(o HasherOptions) (*Hasher, error) {
	if o.Random == nil {
		return nil, errors.New("credential: a hasher needs a source of randomness")
	}
	if o.Concurrency <= 0 {
		o.Concurrency = runtime.GOMAXPROCS(0)
	}
	if o.MemoryKiB <= 0 {
		o.MemoryKiB = o.Concurrency * 64 * 1024
	}
	if o.Queue <= 0 {
		o.Queue = o.Concurrency * 64
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	h := &Hasher{clock: o.Clock, random: o.Random, queue: newQueue(o.Concurrency, o.Queue, uint64(o.MemoryKiB))}
	h.dummy.salt, h.dummy.sum = make([]byte, saltSize), make([]byte, sumSize)
	for _, part := range [][]byte{h.dummy.salt, h.dummy.sum} {
		if _, err := io.ReadFull(o.Random, part); err != nil {
			return nil, fmt.Errorf("credential: reading randomness: %w", err)
		}
	}
	return h, nil
}

// Hash makes the hash of a new password. It fails with the password's fault,
// with ErrCost, or with ErrBusy.
func (h *Hasher) Hash(ctx context.Context, asker Asker, params Params, p Password) (Hash, error) {
	if p.fault != nil {
		return "", p.fault
	}
	if err := params.affordable(); err != nil {
		return "", err
	}
	made := phc{params: params, salt: make([]byte, saltSize)}
	h.randomMu.Lock()
	_, err := io.ReadFull(h.random, made.salt)
	h.randomMu.Unlock()
	if err != nil {
		return "", fmt.Errorf("credential: reading randomness: %w", err)
	}
	err = h.run(ctx, asker, params, func() { made.sum = derive(p, made.salt, params, sumSize) })
	if err != nil {
		return "", err
	}
	return made.encode(), nil
}

// Verify tells whether the password is the one that was hashed. A password with
// a fault never is, and costs nothing, whether or not there is an account. An
// error is ErrBusy, ErrHash or ErrCost, never a wrong password.
func (h *Hasher) Verify(ctx context.Context, asker Asker, hash Hash, p Password) (bool, error) {
	stored, err := parse(hash)
	if err != nil {
		return false, err
	}
	return h.verify(ctx, asker, stored, p)
}

// VerifyDummy does what Verify does and costs the same, for an address that has
// no account or an account that has no password. The answer is always no.
func (h *Hasher) VerifyDummy(ctx context.Context, asker Asker, params Params, p Password) error {
	if err := params.affordable(); err != nil {
		return err
	}
	dummy := h.dummy
	dummy.params = params
	_, err := h.verify(ctx, asker, dummy, p)
	return err
}

func (h *Hasher) verify(ctx context.Context, asker Asker, stored phc, p Password) (matches bool, err error) {
	if p.fault != nil {
		return false, nil //nolint:nilerr // what cannot be a password is a wrong one: an outcome, not a fault
	}
	err = h.run(ctx, asker, stored.params, func() { matches = stored.matches(p) })
	return matches, err
}

// run computes work in the caller's goroutine when its turn has come.
func (h *Hasher) run(ctx context.Context, asker Asker, params Params, work func()) error {
	_, waiting := tracing.Start(ctx, "password hash: wait")
	err := h.queue.enter(ctx, asker, uint64(params.MemoryKiB))
	waiting.End(err)
	if err != nil {
		return err
	}
	_, working := tracing.Start(ctx, "password hash: work")
	defer working.End(nil)
	started := h.clock.Now()
	defer func() { h.queue.leave(uint64(params.MemoryKiB), h.clock.Now().Sub(started)) }()
	work()
	return nil
}

// HasherStats is the state of a Hasher at one moment, for metrics.
type HasherStats struct {
	Running, Waiting int
	Computed         uint64        // hashes since the start
	Refused          uint64        // answered with ErrBusy since the start
	Typical          time.Duration // moving average of what one hash takes
}

// Stats answers the present state.
func (h *Hasher) Stats() HasherStats { return h.queue.stats() }
