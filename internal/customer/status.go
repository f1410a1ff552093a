package customer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Status is where a customer is in the life of an account.
type Status string

const (
	Active    Status = "active"
	Locked    Status = "locked"    // shut for safety: by an operator or after an attack
	Suspended Status = "suspended" // shut by the business
	Erased    Status = "erased"    // nothing is left but the fact
)

// MaySignIn tells whether a customer who proves himself is let in.
func (s Status) MaySignIn() bool { return s == Active }

// MayUseTokens tells whether sessions, refresh tokens and access tokens of the
// customer are good.
func (s Status) MayUseTokens() bool { return s == Active }

// transitions says which status may follow which.
var transitions = map[Status][]Status{
	Active:    {Locked, Suspended},
	Locked:    {Active, Suspended},
	Suspended: {Active, Locked},
}

// State is what the hot paths need to know of a customer.
type State struct {
	Found   bool
	Status  Status
	Epoch   int64
	Version int64
}

// QueueState reads a customer's state with batch. It is filled in once the
// batch has run; a customer who does not exist is not Found.
func (d *Directory) QueueState(batch *sqldb.Batch, tenant id.Tenant, customer id.Customer) *State {
	state := &State{}
	batch.Queue(`SELECT status, epoch, version FROM customer WHERE tenant = $1 AND customer = $2`, []any{tenant, customer},
		func(row sqldb.Scanner) error {
			state.Found = true
			return row.Scan(&state.Status, &state.Epoch, &state.Version)
		})
	return state
}

// State reads a customer's state.
func (d *Directory) State(ctx context.Context, tenant id.Tenant, customer id.Customer) (State, error) {
	batch := d.DB.Batch()
	state := d.QueueState(batch, tenant, customer)
	if err := batch.Run(ctx); err != nil {
		return State{}, fmt.Errorf("read the customer's state: %w", err)
	}
	return *state, nil
}

type heldKey struct {
	tenant   id.Tenant
	customer id.Customer
}

// Hold bumps a customer's version as part of tx and returns the state that
// then holds until tx commits: no other transaction that bumps it can come
// between. It does so once a transaction; Version is the new one.
func (d *Directory) Hold(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) (State, error) {
	state := held(tx, tenant, customer)
	if state.Found {
		return *state, nil
	}
	err := tx.QueryRow(`UPDATE customer SET version = version + 1 WHERE tenant = $1 AND customer = $2 RETURNING status, epoch, version`,
		tenant, customer).Scan(&state.Status, &state.Epoch, &state.Version)
	if errors.Is(err, sqldb.ErrNoRows) {
		return State{}, ErrNotFound
	}
	if err != nil {
		return State{}, fmt.Errorf("hold the customer: %w", err)
	}
	state.Found = true
	return *state, nil
}

// held is the state that Hold has read in tx; whoever changes it in the
// database changes it here. It is not Found, and not looked at, before.
func held(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) *State {
	return tx.Local(heldKey{tenant, customer}, func() any { return &State{} }).(*State)
}

// holdUnerased holds a customer who is to be given something: an erased one
// gets nothing any more, from a node either that still has his key.
func (d *Directory) holdUnerased(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error {
	state, err := d.Hold(tx, tenant, customer)
	if err == nil && state.Status == Erased {
		err = ErrErased
	}
	return err
}

// Bump bumps a customer's version as part of tx, once a transaction, and
// returns the new one. It is how internal/event orders a customer's events.
func (d *Directory) Bump(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) (int64, error) {
	state, err := d.Hold(tx, tenant, customer)
	return state.Version, err
}

// RaiseEpoch voids, as part of tx, the proofs, sessions and device cookies
// that a customer has. It returns the new epoch.
func (d *Directory) RaiseEpoch(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) (int64, error) {
	var epoch int64
	err := tx.QueryRow(`UPDATE customer SET epoch = epoch + 1, updated_at = $3 WHERE tenant = $1 AND customer = $2 RETURNING epoch`,
		tenant, customer, tx.Now()).Scan(&epoch)
	if errors.Is(err, sqldb.ErrNoRows) {
		return 0, ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("raise the customer's epoch: %w", err)
	}
	held(tx, tenant, customer).Epoch = epoch
	return epoch, nil
}

// StatusChange is a move of a customer to another status, made by
// PrepareStatus.
type StatusChange struct {
	tenant   id.Tenant
	customer id.Customer
	status   Status
	reason   string
	actor    string
	key      *keyring.Customer // nil where there is no reason, or no key any more
	keys     *keyring.Tenant   // nil where there is no reason
}

// PrepareStatus gets ready what ChangeStatus writes. The reason, which is
// whoever changes it's own words, is kept with the customer under his key, and
// in the event under the tenant's: what an operator did outlives the customer.
func (d *Directory) PrepareStatus(ctx context.Context, tenant id.Tenant, customer id.Customer, status Status, reason, actor string) (StatusChange, error) {
	change := StatusChange{tenant: tenant, customer: customer, status: status, reason: reason, actor: actor}
	if reason == "" {
		return change, nil
	}
	var err error
	change.key, err = d.Ring.Customer(ctx, tenant, customer)
	if err != nil && !errors.Is(err, keyring.ErrErased) && !errors.Is(err, keyring.ErrNoKey) { // of whom ChangeStatus says more
		return change, fmt.Errorf("read the customer's key: %w", err)
	}
	if change.keys, err = d.Ring.Tenant(ctx, tenant); err != nil {
		return change, fmt.Errorf("read the tenant's keys: %w", err)
	}
	return change, nil
}

// SetStatus moves a customer to another status, which voids what lets him in.
// To set the status that he has changes nothing.
func (d *Directory) SetStatus(ctx context.Context, tenant id.Tenant, customer id.Customer, status Status, reason, actor string) error {
	change, err := d.PrepareStatus(ctx, tenant, customer, status, reason, actor)
	if err != nil {
		return err
	}
	return d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := d.ChangeStatus(tx, change)
		return err
	})
}

// ChangeStatus is SetStatus as part of tx, and says whether the customer had
// another status.
func (d *Directory) ChangeStatus(tx *sqldb.Tx, change StatusChange) (bool, error) {
	tenant, customer := change.tenant, change.customer
	state, err := d.Hold(tx, tenant, customer)
	if err != nil {
		return false, err
	}
	if state.Status == change.status {
		return false, nil
	}
	allowed := false
	for _, next := range transitions[state.Status] {
		allowed = allowed || next == change.status
	}
	if !allowed {
		return false, fmt.Errorf("%w: from %s to %s", ErrNotAllowed, state.Status, change.status)
	}
	happened := event.Event{Tenant: tenant, Customer: customer, Type: "customer.status.changed", Actor: change.actor,
		Data: map[string]any{"from": state.Status, "to": change.status}}
	var reason []byte
	if change.reason != "" {
		if change.key == nil {
			return false, ErrErased
		}
		if reason, err = sealReason(change.key, tenant, customer, sealedReason{change.status, change.reason}); err != nil {
			return false, err
		}
		happened.Personal, happened.Sealer, happened.TenantKey = map[string]string{"reason": change.reason}, change.keys, true
	}
	tx.Queue(`UPDATE customer SET status = $3, reason = '', reason_sealed = $4, revision = revision + 1, epoch = epoch + 1, updated_at = $5 WHERE tenant = $1 AND customer = $2`,
		tenant, customer, change.status, reason, tx.Now())
	return true, d.Log.Append(tx, happened)
}

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
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("erase the identifiers: %w", err)
		}
		for _, erase := range d.Erasers {
			if err := erase(tx, tenant, customer); err != nil {
				return err
			}
		}
		tx.Queue(`UPDATE customer SET status = 'erased', reason = '', reason_sealed = NULL, profile = NULL, revision = revision + 1, epoch = epoch + 1, updated_at = $3 WHERE tenant = $1 AND customer = $2`,
			tenant, customer, tx.Now())
		return d.Log.Append(tx, event.Event{Tenant: tenant, Customer: customer, Type: "customer.erased", Actor: actor})
	})
}
