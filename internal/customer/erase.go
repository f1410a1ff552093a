package customer

import (
	"context"
	"fmt"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Erase destroys a customer: first the key, on the key store's ledger, so that
// nothing sealed with it can be read again anywhere, then the rows. It may be
// run again after an interruption and for somebody already erased.
func (d *Directory) Erase(ctx context.Context, tenant id.Tenant, customer id.Customer, actor string) error {
	state, err := d.State(ctx, tenant, customer)
	if err != nil {
		return err
	}
	if !state.Found {
		return ErrNotFound
	}
	if state.Status == Active && d.Spare != nil {
		if err := d.DB.Write(ctx, func(tx *sqldb.Tx) error { return d.Spare(tx, tenant, customer, true) }); err != nil {
			return err
		}
	}
	if err := d.Ring.Erase(ctx, tenant, customer); err != nil {
		return fmt.Errorf("destroy the customer's key: %w", err)
	}
	return d.eraseRows(ctx, tenant, customer, actor)
}

// FinishErasure removes the rows of a customer whose key has been destroyed:
// what a crash left of an erasure, or what a restored backup brought back. It
// does nothing for a customer who is not there or already erased.
func (d *Directory) FinishErasure(ctx context.Context, tenant id.Tenant, customer id.Customer) error {
	state, err := d.State(ctx, tenant, customer)
	if err != nil || !state.Found || state.Status == Erased {
		return err
	}
	return d.eraseRows(ctx, tenant, customer, "system")
}

func (d *Directory) eraseRows(ctx context.Context, tenant id.Tenant, customer id.Customer, actor string) error {
	return d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		state, err := d.Hold(tx, tenant, customer)
		if err != nil {
			return err
		}
		if state.Status == Erased {
			return nil
		}
		rows, err := tx.Query(`DELETE FROM customer_identifier WHERE tenant = $1 AND customer = $2 RETURNING kind, lookup, also, verified`, tenant, customer)
		if err != nil {
			return fmt.Errorf("erase the identifiers: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var kind identifier.Kind
			var lookup, also []byte
			var verified bool
			if err := rows.Scan(&kind, &lookup, &also, &verified); err != nil {
				return fmt.Errorf("erase an identifier: %w", err)
			}
			if verified {
				letGo(tx, tenant, customer, kind, lookup, also)
			}
			uninvite(tx, tenant, customer, kind, lookup, also)
			for _, handle := range [][]byte{lookup, also} {
				if d.HandleEraser != nil && handle != nil {
					d.HandleEraser(tx, tenant, handle, verified)
				}
			}
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("erase the identifiers: %w", err)
		}
		unsearch(tx, tenant, customer)
		for _, erase := range d.Erasers {
			if err := erase(tx, tenant, customer); err != nil {
				return err
			}
		}
		tx.Queue(`UPDATE customer SET status = 'erased', reason = '', reason_sealed = NULL, profile = NULL, revision = revision + 1, epoch = epoch + 1,
			status_at = $3, until_at = 0, due_at = 0, updated_at = $3 WHERE tenant = $1 AND customer = $2`,
			tenant, customer, tx.Now())
		return d.Log.Append(tx, event.Event{Tenant: tenant, Customer: customer, Type: "customer.erased", Actor: actor})
	})
}
