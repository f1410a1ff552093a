package event

import (
	"context"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Forget removes the personal parts that are sealed with a customer's key, as
// part of the customer's erasure. The events stay, as facts without a face.
func (l *Log) Forget(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error {
	if tenant == "" || customer == "" {
		return fmt.Errorf("event: forget needs a tenant and a customer")
	}
	tx.Queue(`UPDATE event SET personal = NULL WHERE tenant = $1 AND customer = $2 AND holder = $2 AND personal IS NOT NULL`, tenant, customer)
	tx.Queue(`UPDATE event SET other_personal = NULL WHERE tenant = $1 AND other = $2 AND other <> '' AND other_personal IS NOT NULL`, tenant, customer)
	return nil
}

// DeleteBefore deletes some of the events made before t, the oldest first and
// limit at most, and says how many; 0 means that none are left. On PostgreSQL,
// months that lie wholly before t are dropped instead, and only their
// positions are deleted and counted. An event that has no position yet stays.
func (l *Log) DeleteBefore(ctx context.Context, t time.Time, limit int) (int, error) {
	if limit < 1 {
		return 0, fmt.Errorf("event: cannot delete %d events", limit)
	}
	bound := firstID(t)
	if err := l.dropMonths(ctx, bound); err != nil {
		return 0, err
	}
	var old []pending
	var positions []int64
	batch := l.db.Batch()
	each := max(1, limit/Lanes)
	for lane := range Lanes {
		ended := false // positions follow time closely enough: the first newer one ends the lane
		batch.Queue(`SELECT position, tenant, customer, event FROM event_position WHERE lane = $1 ORDER BY position LIMIT $2`, []any{lane, each},
			func(row sqldb.Scanner) error {
				p, position := pending{lane: lane}, int64(0)
				if err := row.Scan(&position, &p.tenant, &p.customer, &p.event); err != nil {
					return err
				}
				ended = ended || p.event >= bound
				if !ended && len(old) < limit {
					old, positions = append(old, p), append(positions, position)
				}
				return nil
			})
	}
	if err := batch.Run(ctx); err != nil {
		return 0, fmt.Errorf("find old events: %w", err)
	}
	if len(old) == 0 {
		return 0, nil
	}
	err := l.db.Write(ctx, func(tx *sqldb.Tx) error {
		for i, p := range old {
			tx.Queue(`DELETE FROM event WHERE tenant = $1 AND customer = $2 AND id = $3`, p.tenant, p.customer, p.event)
			tx.Queue(`DELETE FROM event_position WHERE lane = $1 AND position = $2`, p.lane, positions[i])
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("delete old events: %w", err)
	}
	return len(old), nil
}
