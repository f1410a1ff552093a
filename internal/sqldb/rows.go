package sqldb

import (
	"errors"
	"fmt"
)

// Scanner takes the columns of a row into destinations, in order.
type Scanner interface {
	Scan(dest ...any) error
}

// Rows is the result of a query, read with Next and Scan. All but those of a
// Snapshot are held in memory, hold no connection and need no Close.
type Rows struct {
	columns  int
	cells    []cell
	arena    []byte
	at       int // the current row's first cell; negative before the first
	affected int64
	err      error
	source   rowSource // of a Snapshot: fills cells and arena a row at a time
}

type rowSource interface {
	// next replaces the rows' cells by the next row's, or returns false.
	next(*Rows) (bool, error)
	close() error
}

// arenaShared is the size in bytes up to which scanned strings share their
// result's memory; keeping one of a larger result would keep all of it.
const arenaShared = 4096

var errScanBeforeNext = errors.New("Scan without a row: call Next first")

// Next goes to the next row and says whether there is one.
func (r *Rows) Next() bool {
	if r.err != nil {
		return false
	}
	if r.source != nil {
		r.cells, r.arena = r.cells[:0], r.arena[:0]
		more, err := r.source.next(r)
		r.at = 0
		if err != nil || !more {
			r.cells = nil
			r.err = err
			if cerr := r.Close(); r.err == nil {
				r.err = cerr
			}
			return false
		}
		return true
	}
	if r.at < 0 {
		r.at = 0
	} else {
		r.at += r.columns
	}
	return r.columns > 0 && r.at < len(r.cells)
}

// Scan puts the current row's columns into dest.
func (r *Rows) Scan(dest ...any) error {
	if r.at < 0 || r.at+r.columns > len(r.cells) || r.columns == 0 {
		return errScanBeforeNext
	}
	if len(dest) != r.columns {
		return fmt.Errorf("%d destinations for %d columns", len(dest), r.columns)
	}
	volatile := r.source != nil || len(r.arena) > arenaShared
	for i, d := range dest {
		c := r.cells[r.at+i]
		var raw []byte
		if c.kind == kindText || c.kind == kindBlob {
			raw = r.arena[c.num : c.num+int64(c.size)]
		}
		if err := c.scan(raw, volatile, d); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	return nil
}

// Err is what ended the rows early, if anything did.
func (r *Rows) Err() error { return r.err }

// Columns is the number of columns.
func (r *Rows) Columns() int { return r.columns }

// Close ends the reading of a Snapshot's rows early. It may be called more
// than once.
func (r *Rows) Close() error {
	if r.source == nil {
		r.cells, r.at = nil, 0
		return nil
	}
	source := r.source
	r.source = closedSource{}
	r.cells = nil
	return source.close()
}

type closedSource struct{}

func (closedSource) next(*Rows) (bool, error) { return false, nil }
func (closedSource) close() error             { return nil }

func (r *Rows) addNull()              { r.cells = append(r.cells, cell{}) }
func (r *Rows) add(k kind, num int64) { r.cells = append(r.cells, cell{kind: k, num: num}) }
func (r *Rows) addBytes(k kind, b []byte) {
	r.cells = append(r.cells, cell{kind: k, size: int32(len(b)), num: int64(len(r.arena))})
	r.arena = append(r.arena, b...)
}

// Row is the result of a query for one row.
type Row struct {
	rows *Rows
	err  error
}

// Scan puts the row's columns into dest. It returns ErrNoRows when there is no
// row; rows after the first are ignored.
func (r *Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	if !r.rows.Next() {
		if r.rows.err != nil {
			return r.rows.err
		}
		return ErrNoRows
	}
	return r.rows.Scan(dest...)
}
