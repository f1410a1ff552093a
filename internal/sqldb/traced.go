package sqldb

import (
	"context"
	"time"

	"github.com/cardea-id/cardea/internal/tracing"
)

// tracedWrite is a write whose parts are told apart: how long it waited for its
// turn, its statements, and how long its commit took. A function that is run
// again has waited until its last run.
func (db *DB) tracedWrite(ctx context.Context, fn func(*Tx) error) error {
	ctx, span := tracing.Start(ctx, "write")
	began := time.Now()
	var entered, left time.Time
	runs := 0
	err := db.backend.write(ctx, func(tx *Tx) error {
		runs++
		entered = time.Now()
		defer func() { left = time.Now() }()
		return fn(tx)
	})
	if runs > 0 {
		tracing.Part(ctx, "write: wait", began, entered)
		tracing.Part(ctx, "write: statements", entered, left)
		tracing.Part(ctx, "write: commit", left, time.Now())
	}
	span.Count("cardea.runs", runs)
	span.End(err)
	return err
}
