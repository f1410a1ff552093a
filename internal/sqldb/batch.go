package sqldb

import (
	"context"
	"fmt"

	"github.com/cardea-id/cardea/internal/tracing"
)

// Batch is a set of reads that do not depend on each other. On PostgreSQL they
// take one round trip, and each sees what is committed when it runs; on SQLite
// they take one read transaction. What must be one view is read in a Snapshot.
type Batch struct {
	db         *DB
	statements []statement
	handle     []func(*Rows) error
	err        error
}

// Batch returns an empty batch.
func (db *DB) Batch() *Batch { return &Batch{db: db} }

// Queue adds a query; each is called with every row when the batch is run.
func (b *Batch) Queue(sql string, args []any, each func(Scanner) error) {
	b.add(sql, args, func(rows *Rows) error {
		for rows.Next() {
			if err := each(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

// QueueRow adds a query for one row, scanned into dest when the batch is run.
// What it returns says afterwards whether the row was there.
func (b *Batch) QueueRow(sql string, args []any, dest ...any) *bool {
	found := new(bool)
	b.add(sql, args, func(rows *Rows) error {
		if !rows.Next() {
			return rows.Err()
		}
		*found = true
		return rows.Scan(dest...)
	})
	return found
}

func (b *Batch) add(sql string, args []any, handle func(*Rows) error) {
	s, err := newStatement(sql, args)
	if err != nil && b.err == nil {
		b.err = err
	}
	b.statements = append(b.statements, s)
	b.handle = append(b.handle, handle)
}

// Run runs what was queued and empties the batch.
func (b *Batch) Run(ctx context.Context) error {
	statements, handle, err := b.statements, b.handle, b.err
	b.statements, b.handle, b.err = nil, nil, nil
	if err != nil {
		return err
	}
	if len(statements) == 0 {
		return nil
	}
	_, span := tracing.Start(ctx, "read: batch")
	span.Count("db.operation.batch.size", len(statements))
	results, err := b.db.backend.query(ctx, statements)
	span.End(err)
	if err != nil {
		return err
	}
	for i, rows := range results {
		if err := handle[i](rows); err != nil {
			return fmt.Errorf("read %d of the batch: %w", i+1, err)
		}
	}
	return nil
}
