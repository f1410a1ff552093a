package customer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// sealedReason is a reason with the status that it is for: a node of the
// release before changes the one and not the other.
type sealedReason struct {
	Status Status `json:"status"`
	Reason string `json:"reason"`
}

func sealReason(key *keyring.Customer, tenant id.Tenant, customer id.Customer, r sealedReason) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write the reason: %w", err)
	}
	return key.SealField("customer", "reason_sealed", string(tenant)+"/"+string(customer), text)
}

// openReason returns the reason of a status, "" where what is sealed is for
// another one.
func openReason(key *keyring.Customer, tenant id.Tenant, customer id.Customer, status Status, sealed []byte) (string, error) {
	if sealed == nil {
		return "", nil
	}
	text, err := key.OpenField("customer", "reason_sealed", string(tenant)+"/"+string(customer), sealed)
	if err != nil {
		return "", fmt.Errorf("open the reason of %s: %w", customer, err)
	}
	var r sealedReason
	if err := json.Unmarshal(text, &r); err != nil {
		return "", fmt.Errorf("read the reason of %s: %w", customer, err)
	}
	if r.Status != status {
		return "", nil
	}
	return r.Reason, nil
}

// SealReasons seals up to limit reasons that nodes of the release before have
// written in the open, and says how many there were.
func (d *Directory) SealReasons(ctx context.Context, limit int) (int, error) {
	rows, err := d.DB.Query(ctx, `SELECT tenant, customer, status, reason FROM customer WHERE reason <> '' LIMIT $1`, limit)
	if err != nil {
		return 0, fmt.Errorf("find open reasons: %w", err)
	}
	type open struct {
		tenant   id.Tenant
		customer id.Customer
		sealedReason
		sealed []byte
	}
	var found []open
	for rows.Next() {
		var o open
		if err := rows.Scan(&o.tenant, &o.customer, &o.Status, &o.Reason); err != nil {
			return 0, fmt.Errorf("find open reasons: %w", err)
		}
		found = append(found, o)
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("find open reasons: %w", err)
	}
	for i := range found {
		o := &found[i]
		key, err := d.Key(ctx, o.tenant, o.customer)
		if err == nil {
			o.sealed, err = sealReason(key, o.tenant, o.customer, o.sealedReason)
		}
		if err != nil && !errors.Is(err, ErrErased) { // whose reason goes unsealed
			return 0, err
		}
	}
	if len(found) == 0 {
		return 0, nil
	}
	err = d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for _, o := range found {
			tx.Queue(`UPDATE customer SET reason = '', reason_sealed = $5 WHERE tenant = $1 AND customer = $2 AND status = $3 AND reason = $4`,
				o.tenant, o.customer, o.Status, o.Reason, o.sealed)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("seal open reasons: %w", err)
	}
	return len(found), nil
}
