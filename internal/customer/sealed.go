package customer

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// sealedCustomer is a customer as he was read, before his key opens him.
type sealedCustomer struct {
	Customer
	found           *bool
	profile, reason []byte
	values          [][]byte // of the identifiers
}

// queueCustomer reads a customer with batch.
func queueCustomer(batch *sqldb.Batch, tenant id.Tenant, customer id.Customer) *sealedCustomer {
	c := &sealedCustomer{Customer: Customer{ID: customer, Tenant: tenant}}
	c.found = batch.QueueRow(`SELECT status, reason, reason_sealed, version, revision, epoch, profile, status_at, until_at, created_at, updated_at FROM customer WHERE tenant = $1 AND customer = $2`,
		[]any{tenant, customer}, &c.Status, &c.Reason, &c.reason, &c.Version, &c.Revision, &c.Epoch, &c.profile, &c.StatusAt, &c.Until, &c.CreatedAt, &c.UpdatedAt)
	batch.Queue(`SELECT identifier, kind, value, verified, verified_at, created_at, undeliverable, undeliverable_at FROM customer_identifier WHERE tenant = $1 AND customer = $2 ORDER BY identifier`,
		[]any{tenant, customer}, func(row sqldb.Scanner) error {
			var it Identifier
			var value []byte
			err := row.Scan(&it.ID, &it.Kind, &value, &it.Verified, &it.VerifiedAt, &it.CreatedAt, &it.Undeliverable, &it.UndeliverableAt)
			if it.Undeliverable == "" {
				it.UndeliverableAt = time.Time{}
			}
			c.Identifiers, c.values = append(c.Identifiers, it), append(c.values, value)
			return err
		})
	return c
}

// open opens a customer with his key, once the batch has run.
func (c *sealedCustomer) open(ctx context.Context, d *Directory) (*Customer, error) {
	if !*c.found {
		return nil, ErrNotFound
	}
	if c.Status == Erased || c.Status == erasing {
		return nil, ErrErased
	}
	key, err := d.Key(ctx, c.Tenant, c.ID)
	if err != nil {
		return nil, err
	}
	if c.Profile, err = openProfile(key, c.Tenant, c.ID, c.profile); err != nil {
		return nil, err
	}
	if c.Reason == "" { // else a node of the release before wrote it, and later
		if c.Reason, err = openReason(key, c.Tenant, c.ID, c.Status, c.reason); err != nil {
			return nil, err
		}
	}
	for i := range c.Identifiers {
		it := &c.Identifiers[i]
		if it.Key, it.Display, err = openValue(key, c.Tenant, c.ID, it.ID, c.values[i]); err != nil {
			return nil, err
		}
	}
	return &c.Customer, nil
}

func sealProfile(key *keyring.Customer, tenant id.Tenant, customer id.Customer, profile map[string]any) ([]byte, error) {
	if profile == nil {
		profile = map[string]any{}
	}
	text, err := json.Marshal(profile)
	if err != nil {
		return nil, fmt.Errorf("write the profile: %w", err)
	}
	return key.SealField("customer", "profile", string(tenant)+"/"+string(customer), text)
}

func openProfile(key *keyring.Customer, tenant id.Tenant, customer id.Customer, sealed []byte) (map[string]any, error) {
	text, err := key.OpenField("customer", "profile", string(tenant)+"/"+string(customer), sealed)
	if err != nil {
		return nil, fmt.Errorf("open the profile of %s: %w", customer, err)
	}
	var profile map[string]any
	if err := json.Unmarshal(text, &profile); err != nil {
		return nil, fmt.Errorf("read the profile of %s: %w", customer, err)
	}
	return profile, nil
}

// sealedValue is what is sealed of an identifier.
type sealedValue struct {
	Key     string `json:"key"`
	Display string `json:"display"`
}

func sealValue(key *keyring.Customer, tenant id.Tenant, customer id.Customer, it id.Identifier, n identifier.Normalised) ([]byte, error) {
	text, err := json.Marshal(sealedValue{Key: n.Key, Display: n.Display})
	if err != nil {
		return nil, fmt.Errorf("write the identifier: %w", err)
	}
	return key.SealField("customer_identifier", "value", string(tenant)+"/"+string(customer)+"/"+string(it), text)
}

func openValue(key *keyring.Customer, tenant id.Tenant, customer id.Customer, it id.Identifier, sealed []byte) (normalised, display string, err error) {
	text, err := key.OpenField("customer_identifier", "value", string(tenant)+"/"+string(customer)+"/"+string(it), sealed)
	if err != nil {
		return "", "", fmt.Errorf("open an identifier of %s: %w", customer, err)
	}
	var value sealedValue
	if err := json.Unmarshal(text, &value); err != nil {
		return "", "", fmt.Errorf("read an identifier of %s: %w", customer, err)
	}
	return value.Key, value.Display, nil
}
