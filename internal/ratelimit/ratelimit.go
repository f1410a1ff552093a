// Package ratelimit slows down whoever asks too often of one node.
//
// A Limiter keeps one theoretical arrival time a key (the generic cell rate
// algorithm of ITU-T I.371, in its virtual scheduling form): a key may ask
// Burst times at once and once more after each Every. It remembers a bounded
// number of keys, forgets the one that asked longest ago first, and starts no
// goroutine. Where only failures are to be limited, Check asks without counting
// and Allow counts afterwards; Check takes no lock while nobody is refused.
//
// It lives in the memory of one node and protects that node's processor: what
// must hold across nodes and restarts, such as guesses at a secret or messages
// sent, is counted by package budget. It knows nothing of HTTP; Address makes
// the key of a client's address.
package ratelimit

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
)

// Limit is how often one key may ask.
type Limit struct {
	Burst int           // how often at once; at least 1
	Every time.Duration // after how long once more; above 0
}

// Options say how a Limiter works. All are required.
type Options struct {
	Limit Limit
	Keys  int // how many keys are remembered at most; an entry takes about 150 bytes beside its key
	Clock clock.Clock
}

// Verdict is the answer to one Allow.
type Verdict struct {
	Allowed    bool
	Remaining  int           // how often the key may ask again at once
	RetryAfter time.Duration // when not allowed: how long until it would be
}

// Limiter counts keys against one limit. It is safe for concurrent use. A nil
// Limiter limits nothing.
type Limiter struct {
	clock clock.Clock
	every time.Duration
	span  time.Duration // Burst times Every: how far ahead of now a key's arrival time may run
	keys  int

	refused atomic.Uint64
	calm    atomic.Int64 // ns since 1970: from then on no key is refused that is not counted again

	mu      sync.Mutex
	entries map[string]*entry
	ends    entry // ring: ends.next asked last, ends.previous longest ago
}

// entry is a key's place in the map and in the ring of last use.
type entry struct {
	key            string
	arrival        time.Time // when the key's last request would have come, had it kept to the pace
	previous, next *entry
}

// PerSecond is the Limit of so many a second, and burst at once.
func PerSecond(rate, burst int) Limit {
	return Limit{Burst: burst, Every: time.Second / time.Duration(rate)}
}

// New makes a Limiter.
func New(o Options) (*Limiter, error) {
	switch {
	case o.Limit.Burst < 1 || o.Limit.Every <= 0:
		return nil, errors.New("ratelimit: a limit needs a burst of at least 1 and a time between requests")
	case int64(o.Limit.Every) > int64(1<<62)/int64(o.Limit.Burst):
		return nil, errors.New("ratelimit: burst times interval is longer than a duration can hold")
	case o.Keys < 1:
		return nil, errors.New("ratelimit: at least one key must be remembered")
	case o.Clock == nil:
		return nil, errors.New("ratelimit: no clock")
	}
	l := &Limiter{
		clock: o.Clock, every: o.Limit.Every, span: time.Duration(o.Limit.Burst) * o.Limit.Every,
		keys: o.Keys, entries: make(map[string]*entry),
	}
	l.ends.previous, l.ends.next = &l.ends, &l.ends
	l.calm.Store(math.MinInt64)
	return l, nil
}

// Allow says whether key may ask now and, if so, counts it. What is refused
// is not counted, so that a client that waits as long as it was told is let in.
func (l *Limiter) Allow(key string) Verdict {
	if l == nil {
		return Verdict{Allowed: true}
	}
	now := l.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()

	e, known := l.entries[key]
	arrival := now
	if known {
		l.unlink(e)
		l.linkFirst(e)
		arrival = l.arrivalOf(e, now)
	}
	ahead := arrival.Sub(now) + l.every
	if ahead > l.span {
		l.refused.Add(1)
		return Verdict{RetryAfter: ahead - l.span}
	}
	if !known {
		e = l.place(key)
	}
	e.arrival = now.Add(ahead)
	if allowed := now.Add(ahead + l.every - l.span).UnixNano(); ahead+l.every > l.span && allowed > l.calm.Load() {
		l.calm.Store(allowed) // this was the last of what the key may ask at once
	}
	return Verdict{Allowed: true, Remaining: int((l.span - ahead) / l.every)}
}

// Check says whether key may ask now, and counts nothing but a refusal. A clock
// that is set back may have it let in what Allow would refuse.
func (l *Limiter) Check(key func() string) Verdict {
	if l == nil {
		return Verdict{Allowed: true}
	}
	now := l.clock.Now()
	if now.UnixNano() >= l.calm.Load() {
		return Verdict{Allowed: true}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e, known := l.entries[key()]
	if !known {
		return Verdict{Allowed: true}
	}
	ahead := l.arrivalOf(e, now).Sub(now) + l.every
	if ahead > l.span {
		l.refused.Add(1)
		return Verdict{RetryAfter: ahead - l.span}
	}
	return Verdict{Allowed: true, Remaining: int((l.span-ahead)/l.every) + 1}
}

// Refused tells how often somebody was refused.
func (l *Limiter) Refused() uint64 {
	if l == nil {
		return 0
	}
	return l.refused.Load()
}

// arrivalOf is the earliest that the key's next request counts as coming.
func (l *Limiter) arrivalOf(e *entry, now time.Time) time.Time {
	arrival := now
	if e.arrival.After(now) {
		arrival = e.arrival
	}
	// A clock set back must not lock a key out for as long as it was set back.
	if furthest := now.Add(l.span); arrival.After(furthest) {
		arrival = furthest
	}
	return arrival
}

// Len tells how many keys are remembered.
func (l *Limiter) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

// place makes the entry of a new key, in the room of the one that asked
// longest ago when there is no other. Whoever owns enough keys to drive out
// their own owned that many bursts to begin with.
func (l *Limiter) place(key string) *entry {
	var e *entry
	if len(l.entries) >= l.keys {
		e = l.ends.previous
		l.unlink(e)
		delete(l.entries, e.key)
	} else {
		e = new(entry)
	}
	e.key = key
	l.entries[key] = e
	l.linkFirst(e)
	return e
}

func (l *Limiter) unlink(e *entry) {
	e.previous.next, e.next.previous = e.next, e.previous
}

func (l *Limiter) linkFirst(e *entry) {
	e.previous, e.next = &l.ends, l.ends.next
	e.previous.next, e.next.previous = e, e
}
