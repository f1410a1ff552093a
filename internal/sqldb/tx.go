package sqldb

import (
	"context"
	"errors"
	"time"
)

// Tx is one attempt at a transaction. It belongs to the function that Write
// gave it to, and is used by one goroutine at a time.
type Tx struct {
	ctx    context.Context
	now    time.Time
	engine Engine
	conn   txConn
	local  map[any]any
	done   bool
}

// txConn is what a transaction needs of its engine.
type txConn interface {
	// exec runs a statement and says how many rows it changed.
	exec(ctx context.Context, s statement) (int64, error)
	// query runs a statement and returns all of its rows.
	query(ctx context.Context, s statement) (*Rows, error)
	// queue runs a statement at the latest when the transaction commits.
	queue(ctx context.Context, s statement)
}

var errTxDone = errors.New("the transaction's function has returned")

// Context is the context that Write was called with.
func (tx *Tx) Context() context.Context { return tx.ctx }

// Now is the transaction's one timestamp, in UTC and whole microseconds.
func (tx *Tx) Now() time.Time { return tx.now }

// Engine says which engine the transaction runs on.
func (tx *Tx) Engine() Engine { return tx.engine }

// Exec runs a statement and says how many rows it changed.
func (tx *Tx) Exec(sql string, args ...any) (rows int64, err error) {
	s, err := tx.statement(sql, args)
	if err != nil {
		return 0, err
	}
	return tx.conn.exec(tx.ctx, s)
}

// Query runs a statement that returns rows. They are held in memory, so that
// other statements may be run while they are read.
func (tx *Tx) Query(sql string, args ...any) (*Rows, error) {
	s, err := tx.statement(sql, args)
	if err != nil {
		return nil, err
	}
	return tx.conn.query(tx.ctx, s)
}

// QueryRow runs a statement that returns one row. Its error, ErrNoRows when
// there is none, comes with Scan.
func (tx *Tx) QueryRow(sql string, args ...any) *Row {
	rows, err := tx.Query(sql, args...)
	return &Row{rows: rows, err: err}
}

// Queue runs a statement whose result is not needed. On PostgreSQL it is sent
// with the next round trip or with the commit; its error, if any, comes from
// there. Statements run in the order in which they were given.
func (tx *Tx) Queue(sql string, args ...any) {
	s, err := tx.statement(sql, args)
	if err != nil {
		s.fault = err
	}
	tx.conn.queue(tx.ctx, s)
}

// Local is a value that lives as long as this attempt at the transaction: the
// first call for a key makes it, later ones return the same.
func (tx *Tx) Local(key any, make func() any) any {
	if v, ok := tx.local[key]; ok {
		return v
	}
	v := make()
	if tx.local == nil {
		tx.local = map[any]any{}
	}
	tx.local[key] = v
	return v
}

func (tx *Tx) statement(sql string, args []any) (statement, error) {
	if tx.done {
		return statement{}, errTxDone
	}
	return newStatement(sql, args)
}
