package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

const (
	sqlSweepPosition = `SELECT swept_until, swept_epoch FROM key_store WHERE name = 'store'`
	sqlSetSwept      = `UPDATE key_store SET swept_until = $1, swept_epoch = $2 WHERE name = 'store' AND (swept_epoch <> $2 OR swept_until < $1)`
	sqlSweepPage     = `
SELECT tenant, customer, created_at FROM customer_key
WHERE (created_at, tenant, customer) > ($1, $2, $3) AND created_at < $4 AND generation = 1 AND tenant_generation > 0
ORDER BY created_at, tenant, customer LIMIT $5`
	sqlOrphanDelete = `
DELETE FROM customer_key WHERE tenant = $1 AND customer = $2 AND generation = 1 AND created_at = $3 AND tenant_generation > 0`
	sqlCountSweep = `UPDATE key_store SET sweeps = sweeps + 1 WHERE name = 'store'`
)

const sweepPage = 500

// SweepOrphans destroys the keys of customers who, an hour after their key was
// made, do not exist: their sign-up failed between the two. It looks at each
// key once, and at all of them again after the epoch was raised, as a restored
// database may lack customers that it had. exists must read what is committed.
// Several nodes may sweep at once.
func (r *Ring) SweepOrphans(ctx context.Context, exists func(context.Context, id.Tenant, id.Customer) (bool, error)) (swept int, err error) {
	swept, err = r.sweep(ctx, exists)
	if swept > 0 {
		// Let go of keys that this node holds; others notice when they poll.
		err = errors.Join(err, r.storeFresh.renew(ctx, r.clock, r.pollStore))
	}
	if err != nil {
		return swept, fmt.Errorf("keyring: sweep orphaned keys: %w", err)
	}
	return swept, nil
}

func (r *Ring) sweep(ctx context.Context, exists func(context.Context, id.Tenant, id.Customer) (bool, error)) (swept int, err error) {
	epoch, err := r.Epoch(ctx)
	if err != nil {
		return 0, err
	}
	var at time.Time
	var sweptEpoch int64
	if err := r.store.QueryRow(ctx, sqlSweepPosition).Scan(&at, &sweptEpoch); err != nil {
		return 0, err
	}
	if sweptEpoch != epoch {
		at = time.Time{}
	}
	before := r.clock.Now().Add(-orphanAge)
	var tenant id.Tenant
	var customer id.Customer
	for {
		rows, err := r.store.Query(ctx, sqlSweepPage, at, tenant, customer, before, sweepPage)
		if err != nil {
			return swept, err
		}
		count := 0
		for rows.Next() {
			if err := rows.Scan(&tenant, &customer, &at); err != nil {
				return swept, err
			}
			count++
			found, err := exists(ctx, tenant, customer)
			if err != nil {
				return swept, err
			}
			if found {
				continue
			}
			gone, err := r.sweepOne(ctx, tenant, customer, at)
			if err != nil {
				return swept, err
			}
			if gone {
				swept++
			}
		}
		if err := rows.Err(); err != nil {
			return swept, err
		}
		reached := at.Add(-time.Microsecond) // others may have been made in the same microsecond
		if count < sweepPage {
			reached = before.Add(-time.Microsecond)
		}
		if reached.UnixMicro() > 0 {
			err = r.store.Write(ctx, func(tx *sqldb.Tx) error {
				_, err := tx.Exec(sqlSetSwept, reached, epoch)
				return err
			})
			if err != nil {
				return swept, err
			}
		}
		if count < sweepPage {
			return swept, nil
		}
	}
}

// sweepOne destroys a key, unless CreateCustomer has taken it up again since.
func (r *Ring) sweepOne(ctx context.Context, tenant id.Tenant, customer id.Customer, createdAt time.Time) (gone bool, err error) {
	err = r.store.Write(ctx, func(tx *sqldb.Tx) error {
		deleted, err := tx.Exec(sqlOrphanDelete, tenant, customer, createdAt)
		if gone = deleted > 0; !gone || err != nil {
			return err
		}
		tx.Queue(sqlDropLaterCustomerKeys, tenant, customer)
		tx.Queue(sqlCountSweep)
		return nil
	})
	return gone && err == nil, err
}
