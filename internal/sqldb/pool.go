package sqldb

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// pool lends at most a fixed number of connections, the most recently used
// first, so that few of them stay warm when little is to be done.
type pool[C any] struct {
	slots chan struct{} // holds one element a connection lent
	waits atomic.Int64  // how many are waiting for one
	open  func(context.Context) (C, error)
	// usable says whether an idle connection can still be lent.
	usable func(C, time.Duration) bool
	shut   func(C)

	mu     sync.Mutex
	idle   []idleConn[C] // the most recently used last
	closed bool
}

type idleConn[C any] struct {
	conn  C
	since time.Time
}

// idleLimit is how long a connection that nobody needed is kept.
const idleLimit = 10 * time.Minute

func newPool[C any](size int, open func(context.Context) (C, error), usable func(C, time.Duration) bool, shut func(C)) *pool[C] {
	return &pool[C]{slots: make(chan struct{}, size), open: open, usable: usable, shut: shut}
}

func (p *pool[C]) take(ctx context.Context) (C, error) {
	var none C
	select {
	case p.slots <- struct{}{}:
	default:
		p.waits.Add(1)
		select {
		case p.slots <- struct{}{}:
			p.waits.Add(-1)
		case <-ctx.Done():
			p.waits.Add(-1)
			return none, ctx.Err()
		}
	}
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			<-p.slots
			return none, ErrClosed
		}
		last := len(p.idle) - 1
		if last < 0 {
			p.mu.Unlock()
			break
		}
		c := p.idle[last]
		p.idle[last] = idleConn[C]{}
		p.idle = p.idle[:last]
		p.mu.Unlock()
		if p.usable(c.conn, time.Since(c.since)) {
			return c.conn, nil
		}
		p.shut(c.conn)
	}
	conn, err := p.open(ctx)
	if err != nil {
		<-p.slots
		return none, err
	}
	return conn, nil
}

func (p *pool[C]) stats() Stats {
	return Stats{InUse: len(p.slots), Limit: cap(p.slots), Waiting: int(p.waits.Load())}
}

// give takes a lent connection back; a broken one is closed.
func (p *pool[C]) give(conn C, broken bool) {
	var old []idleConn[C]
	now := time.Now()
	p.mu.Lock()
	if p.closed {
		broken = true
	}
	if !broken {
		p.idle = append(p.idle, idleConn[C]{conn, now})
		if now.Sub(p.idle[0].since) > idleLimit {
			old = append(old, p.idle[0])
			p.idle = append(p.idle[:0], p.idle[1:]...)
		}
	}
	p.mu.Unlock()
	if broken {
		p.shut(conn)
	}
	for _, c := range old {
		p.shut(c.conn)
	}
	<-p.slots
}

// drop closes the connections that are idle.
func (p *pool[C]) drop() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		p.shut(c.conn)
	}
}

// close closes all connections, waiting for those that are lent.
func (p *pool[C]) close() {
	p.mu.Lock()
	already := p.closed
	p.closed = true
	p.mu.Unlock()
	if already {
		return
	}
	p.drop()
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	for range cap(p.slots) {
		<-p.slots
	}
}
