package customer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Why messages to an address come back.
const (
	Bounced    = "bounced"    // there is no such mailbox, or it takes nothing
	Complained = "complained" // whoever has it said that it was not wanted
)

// MarkUndeliverable notes as part of tx that messages to an address that a
// customer has proved come back, as was reported of a time. What was reported
// of a time before the address was last proved changes nothing, so that an old
// report that is sent again does not either. It says whether anything changed.
func (d *Directory) MarkUndeliverable(tx *sqldb.Tx, keys *keyring.Tenant, tenant id.Tenant, customer id.Customer, n identifier.Normalised, reason string, at time.Time, actor string) (bool, error) {
	if reason != Bounced && reason != Complained {
		return false, fmt.Errorf("there is no reason %q for which an address is undeliverable", reason)
	}
	if err := d.holdUnerased(tx, tenant, customer); err != nil {
		return false, err
	}
	it, _, err := has(tx, keys, tenant, customer, n)
	if err != nil {
		return false, err
	}
	marked, err := tx.Exec(`UPDATE customer_identifier SET undeliverable = $4, undeliverable_at = $5
		WHERE tenant = $1 AND customer = $2 AND identifier = $3 AND verified AND undeliverable = '' AND undeliverable_at < $5 AND verified_at < $5`,
		tenant, customer, it, reason, at)
	if err != nil || marked == 0 {
		return false, err
	}
	if err := d.identifiersChanged(tx, tenant, customer, false); err != nil {
		return false, err
	}
	return true, d.Log.Append(tx, event.Event{Tenant: tenant, Customer: customer, Type: "customer.identifier.undeliverable", Actor: actor,
		Data: map[string]any{"identifier": it, "kind": n.Kind, "reason": reason}})
}

// MarkDelivered notes as part of tx that a code that was sent to an address came
// back from the customer: whatever was reported before is over.
func (d *Directory) MarkDelivered(tx *sqldb.Tx, keys *keyring.Tenant, tenant id.Tenant, customer id.Customer, n identifier.Normalised, actor string) error {
	for _, lookup := range keys.Lookup(string(n.Kind), n.Key) {
		var it id.Identifier
		err := tx.QueryRow(`UPDATE customer_identifier SET undeliverable = '', undeliverable_at = $5
			WHERE tenant = $1 AND customer = $2 AND kind = $3 AND lookup = $4 AND undeliverable <> '' RETURNING identifier`,
			tenant, customer, n.Kind, lookup, tx.Now()).Scan(&it)
		if errors.Is(err, sqldb.ErrNoRows) {
			continue
		}
		if err != nil {
			return fmt.Errorf("note that an address is delivered to: %w", err)
		}
		if err := d.identifiersChanged(tx, tenant, customer, false); err != nil {
			return err
		}
		return d.Log.Append(tx, event.Event{Tenant: tenant, Customer: customer, Type: "customer.identifier.delivered", Actor: actor,
			Data: map[string]any{"identifier": it, "kind": n.Kind}})
	}
	return nil
}

// Undeliverable tells why messages to a customer's address come back, "" where
// none do or it is not his.
func (d *Directory) Undeliverable(ctx context.Context, tenant id.Tenant, keys *keyring.Tenant, customer id.Customer, n identifier.Normalised) (string, error) {
	for _, lookup := range keys.Lookup(string(n.Kind), n.Key) {
		var reason string
		err := d.DB.QueryRow(ctx, `SELECT undeliverable FROM customer_identifier WHERE tenant = $1 AND customer = $2 AND kind = $3 AND lookup = $4`,
			tenant, customer, n.Kind, lookup).Scan(&reason)
		if err == nil {
			return reason, nil
		}
		if !errors.Is(err, sqldb.ErrNoRows) {
			return "", fmt.Errorf("read whether messages come back: %w", err)
		}
	}
	return "", nil
}
