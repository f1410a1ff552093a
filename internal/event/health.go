package event

import (
	"context"
	"fmt"
	"time"
)

// Health is how the stream is getting on, for whoever looks from outside.
type Health struct {
	Pending int       // events without a place in the order; 100,000 at most
	Oldest  time.Time // when the oldest of them was appended
	Nodes   int       // that hold leases now
	Dead    int       // leases that ran out, and nobody took over for a minute
	// Lags is how many events of all lanes each consumer has not had yet, by its
	// name.
	Lags map[string]int64
}

// Health reads how the stream is getting on. It changes nothing.
func (l *Log) Health(ctx context.Context) (Health, error) {
	h := Health{Lags: map[string]int64{}}
	var err error
	if h.Pending, h.Oldest, err = l.Backlog(ctx); err != nil {
		return h, err
	}
	now := l.clock.Now()
	if err := l.db.QueryRow(ctx, `SELECT COUNT(DISTINCT CASE WHEN expires > $1 THEN holder END), COUNT(CASE WHEN expires < $2 THEN 1 END)
		FROM event_lease WHERE holder <> ''`, now, now.Add(-time.Minute)).Scan(&h.Nodes, &h.Dead); err != nil {
		return h, fmt.Errorf("read the leases: %w", err)
	}
	heads, err := l.heads(ctx)
	if err != nil {
		return h, err
	}
	rows, err := l.db.Query(ctx, `SELECT consumer, lane, position FROM event_cursor`)
	if err != nil {
		return h, fmt.Errorf("read how far consumers have come: %w", err)
	}
	for rows.Next() {
		var consumer string
		var lane int
		var position int64
		if err := rows.Scan(&consumer, &lane, &position); err != nil {
			return h, fmt.Errorf("read how far consumers have come: %w", err)
		}
		if lane >= 0 && lane < len(heads) {
			h.Lags[consumer] += max(0, heads[lane]-position)
		}
	}
	return h, rows.Err()
}
