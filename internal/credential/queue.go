package credential

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cardea-id/cardea/internal/id"
)

// queue hands out a bounded number of slots and a bounded amount of memory.
// Tenants that wait take turns; within a tenant known devices come first, and
// otherwise whoever came first. When it is full, a newcomer takes the place of
// the last of the longest line, if his own line is shorter, or of his tenant's
// last stranger, if he is known; so a flood at one tenant, or of strangers,
// shuts out nobody else.
type queue struct {
	slots    int
	capacity int
	memory   uint64 // KiB

	mu       sync.Mutex
	running  int
	used     uint64 // KiB
	waiting  int
	lines    map[id.Tenant]*line
	turns    []*line // in the order in which their turn comes
	computed uint64
	refused  uint64
	typical  time.Duration
}

type line struct {
	tenant           id.Tenant
	known, strangers []*ticket
}

// ticket is one that waits. Its channel is closed when it got a slot (granted)
// or its place was given to another (evicted).
type ticket struct {
	memory  uint64
	done    chan struct{}
	granted bool
}

func newQueue(slots, capacity int, memory uint64) *queue {
	return &queue{slots: slots, capacity: capacity, memory: memory, lines: map[id.Tenant]*line{}}
}

func (l *line) length() int { return len(l.known) + len(l.strangers) }

func (l *line) list(known bool) *[]*ticket {
	if known {
		return &l.known
	}
	return &l.strangers
}

// enter returns nil when the caller has a slot, which he gives back by leave.
func (q *queue) enter(ctx context.Context, asker Asker, memory uint64) error {
	q.mu.Lock()
	if err := ctx.Err(); err != nil {
		defer q.mu.Unlock()
		return q.refusal(err)
	}
	if q.waiting == 0 && q.fits(memory) {
		q.take(memory)
		q.mu.Unlock()
		return nil
	}
	if q.waiting >= q.capacity && !q.makeRoom(asker) {
		defer q.mu.Unlock()
		return q.refusal(nil)
	}
	t := &ticket{memory: memory, done: make(chan struct{})}
	l := q.lines[asker.Tenant]
	if l == nil {
		l = &line{tenant: asker.Tenant}
		q.lines[asker.Tenant] = l
		q.turns = append(q.turns, l)
	}
	list := l.list(asker.Known)
	*list = append(*list, t)
	q.waiting++
	q.mu.Unlock()

	select {
	case <-t.done:
		q.mu.Lock()
		defer q.mu.Unlock()
		if !t.granted {
			return q.refusal(nil)
		}
		return nil
	case <-ctx.Done():
		q.mu.Lock()
		defer q.mu.Unlock()
		if t.granted { // both at once: pass the slot on
			q.release(memory)
		} else if i := slices.Index(*list, t); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
			q.waiting--
			q.dropIfEmpty(l)
			q.grant() // it may have been what held up smaller ones
		}
		return q.refusal(ctx.Err())
	}
}

// leave gives a slot back.
func (q *queue) leave(memory uint64, took time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.computed++
	if q.typical == 0 {
		q.typical = took
	}
	q.typical += (took - q.typical) / 8
	q.release(memory)
}

func (q *queue) release(memory uint64) {
	q.running--
	q.used -= memory
	q.grant()
}

func (q *queue) take(memory uint64) {
	q.running++
	q.used += memory
}

// fits tells whether a hash may start now. One that wants more memory than
// there is altogether runs alone.
func (q *queue) fits(memory uint64) bool {
	return q.running < q.slots && (q.used+memory <= q.memory || q.running == 0)
}

// grant starts those whose turn it is. One that is too big for the memory left
// is waited for, so that smaller ones don't overtake it for ever.
func (q *queue) grant() {
	for len(q.turns) > 0 {
		l := q.turns[0]
		list := l.list(len(l.known) > 0)
		t := (*list)[0]
		if !q.fits(t.memory) {
			return
		}
		*list = (*list)[1:]
		q.waiting--
		q.turns = append(q.turns[1:], l)
		q.dropIfEmpty(l)
		q.take(t.memory)
		t.granted = true
		close(t.done)
	}
}

// makeRoom evicts one that waits in favour of the newcomer, if it is fair.
func (q *queue) makeRoom(newcomer Asker) bool {
	var longest *line
	for _, l := range q.turns {
		if longest == nil || l.length() > longest.length() {
			longest = l
		}
	}
	own := q.lines[newcomer.Tenant]
	ownLength := 0
	if own != nil {
		ownLength = own.length()
	}
	switch {
	case longest == nil:
		return false
	case longest.length() > ownLength+1:
		q.evictLast(longest)
	case newcomer.Known && own != nil && len(own.strangers) > 0:
		q.evictLast(own)
	default:
		return false
	}
	return true
}

func (q *queue) evictLast(l *line) {
	list := l.list(len(l.strangers) == 0)
	last := len(*list) - 1
	close((*list)[last].done)
	*list = (*list)[:last]
	q.waiting--
	q.dropIfEmpty(l)
}

func (q *queue) dropIfEmpty(l *line) {
	if l.length() > 0 {
		return
	}
	delete(q.lines, l.tenant)
	if i := slices.Index(q.turns, l); i >= 0 {
		q.turns = slices.Delete(q.turns, i, i+1)
	}
}

// refusal is the answer to one that gets no slot. A caller that went away is
// told so; all others are told that it is busy.
func (q *queue) refusal(cause error) error {
	if errors.Is(cause, context.Canceled) {
		return cause
	}
	q.refused++
	ahead := time.Duration(q.waiting + q.running)
	return &BusyError{RetryAfter: max(time.Second, q.typical*ahead/time.Duration(q.slots))}
}

func (q *queue) stats() HasherStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return HasherStats{Running: q.running, Waiting: q.waiting, Computed: q.computed, Refused: q.refused, Typical: q.typical}
}
