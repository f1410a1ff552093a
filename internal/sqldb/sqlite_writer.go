package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
)

// sqliteWriter is the goroutine through which everything is written. It runs
// the functions that wait in one transaction, each in a savepoint, commits
// them together, and answers each after the commit.
type sqliteWriter struct {
	conn   *sqliteConn
	clock  clock.Clock
	logger *slog.Logger

	mu      sync.Mutex
	queue   []*sqliteJob
	queued  atomic.Int64 // the queue's length, to be read without the lock
	closing bool
	wake    chan struct{}
	ended   chan struct{}

	// What the goroutine is doing. It stands here, not on its stack, so that
	// another can go on where a function ended it with runtime.Goexit.
	batch   []*sqliteJob // to be run in the transaction under way
	next    int          // the first of them that has not been begun
	began   time.Time    // zero when no transaction is under way
	running *sqliteJob
	saved   bool // running is in a savepoint
	// impatient is the number of transactions to come without yielding.
	impatient int
	fault     error
}

// A transaction takes in functions until it has this many, or is this old.
const (
	sqliteBatchSize = 256
	sqliteBatchTime = 5 * time.Millisecond
)

// A yield that took longer than sqliteYield is the last for some transactions.
const (
	sqliteYield     = 2 * time.Millisecond
	sqliteImpatient = 32
)

const (
	jobQueued int32 = iota
	jobTaken
	jobCancelled
)

type sqliteJob struct {
	ctx   context.Context
	fn    func(*Tx) error
	alone func(*sqliteConn) error // instead of fn: in a transaction of its own
	state atomic.Int32
	done  chan struct{}

	err      error
	panicked any
	stack    []byte
	exited   bool
}

var errGoexit = errors.New("the transaction's function ended its goroutine")

var sqliteJobs = sync.Pool{New: func() any { return &sqliteJob{done: make(chan struct{}, 1)} }}

func startSQLiteWriter(conn *sqliteConn, clk clock.Clock, logger *slog.Logger) *sqliteWriter {
	w := &sqliteWriter{conn: conn, clock: clk, logger: logger, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go w.loop()
	return w
}

func (w *sqliteWriter) write(ctx context.Context, fn func(*Tx) error) error {
	return w.do(ctx, fn, nil)
}

// alone runs fn in a transaction of its own, on the writer's connection.
func (w *sqliteWriter) alone(ctx context.Context, fn func(*sqliteConn) error) error {
	return w.do(ctx, nil, fn)
}

func (w *sqliteWriter) do(ctx context.Context, fn func(*Tx) error, alone func(*sqliteConn) error) error {
	job := sqliteJobs.Get().(*sqliteJob)
	job.ctx, job.fn, job.alone = ctx, fn, alone
	job.state.Store(jobQueued)

	w.mu.Lock()
	if w.closing {
		w.mu.Unlock()
		return ErrClosed
	}
	w.queue = append(w.queue, job)
	first := len(w.queue) == 1
	w.queued.Store(int64(len(w.queue)))
	w.mu.Unlock()
	if first {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}

	select {
	case <-job.done:
	case <-ctx.Done():
		if job.state.CompareAndSwap(jobQueued, jobCancelled) {
			return ctx.Err() // the writer will find it cancelled and let it go
		}
		<-job.done
	}
	err, panicked, stack, exited := job.err, job.panicked, job.stack, job.exited
	job.ctx, job.fn, job.alone, job.err, job.panicked, job.stack, job.exited = nil, nil, nil, nil, nil, nil, false
	sqliteJobs.Put(job)
	if panicked != nil {
		// Only here is the stack of the panic known; the caller's follows.
		w.logger.Error("a transaction's function panicked", "panic", panicked, "stack", string(stack))
		panic(panicked)
	}
	if exited {
		runtime.Goexit()
	}
	return err
}

func (w *sqliteWriter) close() {
	w.mu.Lock()
	already := w.closing
	w.closing = true
	w.mu.Unlock()
	if !already {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	<-w.ended
}

func (w *sqliteWriter) loop() {
	finished := false
	defer func() {
		if !finished {
			go w.loop()
		}
	}()
	if w.running != nil {
		w.running.exited, w.running.err = true, errGoexit
		w.settle()
	}
	for {
		if w.began.IsZero() && !w.wait() {
			break
		}
		w.transaction()
	}
	finished = true
	w.conn.close()
	close(w.ended)
}

// wait waits until there is something to do. It returns false when there will
// never be.
func (w *sqliteWriter) wait() bool {
	for w.queued.Load() == 0 {
		w.mu.Lock()
		end := w.closing && len(w.queue) == 0
		w.mu.Unlock()
		if end {
			return false
		}
		<-w.wake
	}
	return true
}

// take moves what waits into the batch, after those about to wait have been
// let in: on few processors they only get to run when the writer yields. Where
// yielding takes long, something like the hashing of a password has the
// processor, and each time would cost another of its turns; then the writer
// does without for a while.
func (w *sqliteWriter) take() {
	for before := int64(-1); w.impatient == 0; {
		n := w.queued.Load()
		if n == before || int(n)+len(w.batch) >= sqliteBatchSize {
			break
		}
		before = n
		yielded := time.Now()
		runtime.Gosched()
		if time.Since(yielded) > sqliteYield {
			w.impatient = sqliteImpatient
		}
	}
	w.mu.Lock()
	n := min(len(w.queue), sqliteBatchSize-len(w.batch))
	w.batch = append(w.batch, w.queue[:n]...)
	rest := copy(w.queue, w.queue[n:])
	clear(w.queue[rest:])
	w.queue = w.queue[:rest]
	w.queued.Store(int64(rest))
	w.mu.Unlock()
}

var (
	sqliteBegin      = statement{sql: "BEGIN IMMEDIATE"}
	sqliteRollback   = statement{sql: "ROLLBACK"}
	sqliteSavepoint  = statement{sql: "SAVEPOINT f"}
	sqliteRelease    = statement{sql: "RELEASE f"}
	sqliteRollbackTo = statement{sql: "ROLLBACK TO f"}
)

// transaction runs one transaction, or what is left of it.
func (w *sqliteWriter) transaction() {
	if w.began.IsZero() {
		w.began = time.Now()
		w.fault = nil
	}
	for w.fault == nil {
		if w.next == len(w.batch) {
			if len(w.batch) >= sqliteBatchSize || time.Since(w.began) >= sqliteBatchTime {
				break
			}
			w.take()
			if w.next == len(w.batch) {
				break
			}
		}
		if w.next > 0 && time.Since(w.began) >= sqliteBatchTime {
			break // slow functions are not to hold up the others' commit
		}
		job := w.batch[w.next]
		if job.alone != nil && w.conn.inTransaction() {
			break // after this transaction
		}
		w.next++
		if !job.state.CompareAndSwap(jobQueued, jobTaken) {
			w.forget(job)
			continue
		}
		if err := job.ctx.Err(); err != nil {
			job.err = err
			continue
		}
		w.run(job)
		if job.alone != nil {
			break
		}
	}
	w.commit()
}

// forget takes a cancelled job, whose caller is gone, out of the batch.
func (w *sqliteWriter) forget(job *sqliteJob) {
	w.next--
	w.batch = append(w.batch[:w.next], w.batch[w.next+1:]...)
}

// run runs one function. The first of a transaction needs no savepoint: it is
// undone by undoing the transaction.
func (w *sqliteWriter) run(job *sqliteJob) {
	if w.saved = w.conn.inTransaction(); w.saved {
		_, w.fault = w.conn.exec(sqliteSavepoint)
	} else {
		_, w.fault = w.conn.exec(sqliteBegin)
	}
	if w.fault != nil {
		return
	}
	w.running = job
	w.call(job)
	w.settle()
}

func (w *sqliteWriter) call(job *sqliteJob) {
	defer func() {
		if v := recover(); v != nil {
			job.panicked, job.stack = v, debug.Stack()
			job.err = errors.New("panic")
		}
	}()
	if job.alone != nil {
		job.err = job.alone(w.conn)
		return
	}
	c := &sqliteTx{conn: w.conn}
	tx := &Tx{ctx: job.ctx, now: transactionTime(w.clock), engine: SQLite, conn: c}
	defer func() { tx.done = true }()
	if job.err = job.fn(tx); job.err == nil {
		job.err = c.fault
	}
}

// settle keeps or undoes what the running function did.
func (w *sqliteWriter) settle() {
	job := w.running
	w.running = nil
	switch {
	case !w.conn.inTransaction():
		// SQLite undid everything, of the others in the batch too.
		w.fault = job.err
		if w.fault == nil {
			w.fault = errors.New("the transaction was ended by its function")
		}
	case job.err == nil && w.saved:
		_, w.fault = w.conn.exec(sqliteRelease)
	case job.err == nil:
	case w.saved:
		if _, w.fault = w.conn.exec(sqliteRollbackTo); w.fault == nil {
			_, w.fault = w.conn.exec(sqliteRelease)
		}
	default:
		_, w.fault = w.conn.exec(sqliteRollback)
	}
}

// commit ends the transaction and answers those who took part.
func (w *sqliteWriter) commit() {
	if w.fault == nil && w.conn.inTransaction() {
		_, w.fault = w.conn.exec(sqliteCommit)
	}
	if w.fault != nil {
		if w.conn.inTransaction() {
			if _, err := w.conn.exec(sqliteRollback); err != nil {
				w.logger.Error("a transaction could not be rolled back", "error", err)
			}
		}
		w.logger.Error("a transaction failed", "functions", w.next, "error", w.fault)
	}
	for i, job := range w.batch[:w.next] {
		if w.fault != nil && job.err == nil {
			job.err = fmt.Errorf("commit: %w", w.fault)
		}
		w.batch[i] = nil
		job.done <- struct{}{}
	}
	rest := copy(w.batch, w.batch[w.next:])
	clear(w.batch[rest:])
	w.batch = w.batch[:rest]
	w.next = 0
	w.impatient = max(0, w.impatient-1)
	w.began = time.Time{}
	if rest > 0 {
		w.began = time.Now()
	}
}

// sqliteTx is a function's view of the writer's connection. As on PostgreSQL,
// a statement that failed has failed the whole of the transaction.
type sqliteTx struct {
	conn  *sqliteConn
	fault error
}

func (t *sqliteTx) exec(_ context.Context, s statement) (n int64, err error) {
	if t.fault == nil {
		n, t.fault = t.conn.exec(s)
	}
	return n, t.fault
}

func (t *sqliteTx) query(_ context.Context, s statement) (rows *Rows, err error) {
	if t.fault == nil {
		rows, t.fault = t.conn.query(s)
	}
	return rows, t.fault
}

func (t *sqliteTx) queue(_ context.Context, s statement) {
	if t.fault == nil && s.fault != nil {
		t.fault = s.fault
	}
	if t.fault == nil {
		_, t.fault = t.conn.exec(s)
	}
}

// transactionTime is the time of a transaction: what the stores can hold.
func transactionTime(c clock.Clock) time.Time { return c.Now().UTC().Truncate(time.Microsecond) }
