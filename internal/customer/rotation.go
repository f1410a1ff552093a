package customer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// A tenant's look-up key is replaced in three steps (docs/decisions/0009):
//
//   - announced: every node learns of the new key. From its making on, what is
//     verified is claimed under both keys' hashes, so that an address has one
//     holder, whichever node is asked, and it is looked for under both.
//   - rewriting: identifiers that stand under the old key's hash alone are given
//     the new one's too. When a whole pass finds none, and the beginnings that
//     customers are found by stand under both keys, the old key is dropped.
//   - clearing: what still stands under the old key's hashes, which nothing
//     leads to any more, is deleted.
//
// Who was found is found throughout: a hash under the new key is there before
// the old key goes, and holders under the old one stay until no node asks by it.
// The work is done in batches, each one transaction with the position that it
// reached, by the node that has the lease.

// LookupPhase is how far the replacement of a look-up key has come.
type LookupPhase string

// The phases, in their order.
const (
	LookupAnnounced LookupPhase = "announced"
	LookupRewriting LookupPhase = "rewriting"
	LookupClearing  LookupPhase = "clearing"
)

// LookupRotation is a replacement of a tenant's look-up key that is under way.
type LookupRotation struct {
	Tenant    id.Tenant
	Phase     LookupPhase
	StartedAt time.Time
	ReadyAt   time.Time // when rewriting begins; zero while that is not known
	EndedAt   time.Time // when the old key was dropped; zero before
	Rewritten int64     // identifiers that got their hash under the new key from the rewriting
	Failed    int64     // identifiers of the present or last pass that could not be rewritten or cleared; the log says why
}

const (
	lookupBatch = 100
	lookupLease = time.Minute
	// lookupPause is how long is waited after a pass with failures.
	lookupPause = time.Minute
	// lookupSettle is when after the old key's end no node knows it any more:
	// keyring.MaxStale, and what clocks may differ.
	lookupSettle = 15 * time.Second
)

// errLookupLease says that another node has taken the work over.
var errLookupLease = errors.New("another node goes on with the look-up key's replacement")

// rotation is a row of lookup_rotation.
type rotation struct {
	LookupRotation
	atCustomer   id.Customer
	atIdentifier id.Identifier
	found        bool
	searched     bool // whether beginnings were asked to be written anew in this phase
	owner        string
	fault        error // the first of the pass, for the log
}

// workable tells whether every node is ready for what is to be done next.
func (r *rotation) workable(now time.Time) bool {
	switch r.Phase {
	case LookupAnnounced:
		return false
	case LookupClearing:
		return !now.Before(r.EndedAt.Add(lookupSettle))
	case LookupRewriting:
	}
	return true
}

// RotateLookup begins to replace a tenant's look-up key, unless that is under
// way, and returns how far it has come. AdvanceLookups does the rest.
func (d *Directory) RotateLookup(ctx context.Context, tenant id.Tenant, actor string) (*LookupRotation, error) {
	err := d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		begun, err := tx.Exec(`INSERT INTO lookup_rotation (tenant, started_at, ready_at, ended_at, at_customer, at_identifier, found, rewritten, failed, lease_owner, lease_until)
			VALUES ($1, $2, 0, 0, '', '', $3, 0, 0, '', 0) ON CONFLICT (tenant) DO NOTHING`, tenant, tx.Now(), false)
		if err != nil || begun == 0 {
			return err
		}
		return d.Log.Append(tx, event.Event{Tenant: tenant, Type: "tenant.lookup_key.rotation_began", Actor: actor})
	})
	if err != nil {
		return nil, fmt.Errorf("begin to replace the look-up key of %s: %w", tenant, err)
	}
	r, err := d.rotation(ctx, tenant)
	if err == nil && r != nil && r.ReadyAt.IsZero() {
		if err = d.announceLookup(ctx, tenant); err == nil {
			r, err = d.rotation(ctx, tenant)
		}
	}
	if err != nil || r == nil {
		return nil, err
	}
	return &r.LookupRotation, nil
}

// LookupRotation returns how far the replacement of a tenant's look-up key has
// come, nil when none is under way.
func (d *Directory) LookupRotation(ctx context.Context, tenant id.Tenant) (*LookupRotation, error) {
	r, err := d.rotation(ctx, tenant)
	if err != nil || r == nil {
		return nil, err
	}
	return &r.LookupRotation, nil
}

func (d *Directory) rotation(ctx context.Context, tenant id.Tenant) (*rotation, error) {
	r := &rotation{LookupRotation: LookupRotation{Tenant: tenant}}
	err := d.DB.QueryRow(ctx, `SELECT started_at, ready_at, ended_at, at_customer, at_identifier, found, rewritten, failed, searched, lease_owner FROM lookup_rotation WHERE tenant = $1`, tenant).
		Scan(&r.StartedAt, &r.ReadyAt, &r.EndedAt, &r.atCustomer, &r.atIdentifier, &r.found, &r.Rewritten, &r.Failed, &r.searched, &r.owner)
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil, nil //nolint:nilnil // none is under way
	}
	if err != nil {
		return nil, fmt.Errorf("read how far the look-up key's replacement is: %w", err)
	}
	switch {
	case !r.EndedAt.IsZero():
		r.Phase = LookupClearing
	case r.ReadyAt.IsZero() || d.Clock.Now().Before(r.ReadyAt):
		r.Phase = LookupAnnounced
	default:
		r.Phase = LookupRewriting
	}
	return r, nil
}

// announceLookup makes the new key. It may be done again after a crash.
func (d *Directory) announceLookup(ctx context.Context, tenant id.Tenant) error {
	ready, err := d.Ring.BeginLookupRotation(ctx, tenant)
	if err != nil {
		return err
	}
	return d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`UPDATE lookup_rotation SET ready_at = $2 WHERE tenant = $1 AND ready_at = 0`, tenant, ready)
		return err
	})
}

// AdvanceLookups goes on with every replacement that is under way and that no
// other node works on, as far as it goes now. It may be interrupted at any
// time. An error about one tenant does not keep it from the others.
func (d *Directory) AdvanceLookups(ctx context.Context) error {
	rows, err := d.DB.Query(ctx, `SELECT tenant FROM lookup_rotation ORDER BY tenant`)
	if err != nil {
		return fmt.Errorf("read which look-up keys are being replaced: %w", err)
	}
	var tenants []id.Tenant
	for rows.Next() {
		var tenant id.Tenant
		if err := rows.Scan(&tenant); err != nil {
			return fmt.Errorf("read which look-up keys are being replaced: %w", err)
		}
		tenants = append(tenants, tenant)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read which look-up keys are being replaced: %w", err)
	}
	var faults []error
	for _, tenant := range tenants {
		if err := d.advanceLookup(ctx, tenant); err != nil && !errors.Is(err, errLookupLease) {
			faults = append(faults, fmt.Errorf("replace the look-up key of %s: %w", tenant, err))
		}
	}
	return errors.Join(faults...)
}

func (d *Directory) advanceLookup(ctx context.Context, tenant id.Tenant) error {
	r, err := d.rotation(ctx, tenant)
	switch {
	case err != nil || r == nil:
		return err
	case r.ReadyAt.IsZero():
		return d.announceLookup(ctx, tenant)
	case !r.workable(d.Clock.Now()):
		return nil
	}
	var random [16]byte
	if _, err := io.ReadFull(d.Random, random[:]); err != nil {
		return fmt.Errorf("reading randomness: %w", err)
	}
	owner := hex.EncodeToString(random[:])
	err = d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		taken, err := tx.Exec(`UPDATE lookup_rotation SET lease_owner = $2, lease_until = $3 WHERE tenant = $1 AND lease_until <= $4`,
			tenant, owner, tx.Now().Add(lookupLease), tx.Now())
		if err == nil && taken == 0 {
			err = errLookupLease
		}
		return err
	})
	if err != nil {
		return err
	}
	if r, err = d.rotation(ctx, tenant); err != nil || r == nil {
		return err
	}
	if r.owner != owner {
		return errLookupLease
	}
	free := time.Time{}
	// Another node may have come to the next phase just before the lease was
	// this one's.
	for more := r.workable(d.Clock.Now()); more && err == nil; {
		more, err = d.lookupBatch(ctx, r)
	}
	err = errors.Join(err, r.fault)
	if err != nil || r.Failed > 0 {
		free = d.Clock.Now().Add(lookupPause)
	}
	if ctx.Err() != nil {
		free = time.Time{} // this node stops: another one goes on at once
	}
	releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return errors.Join(err, d.DB.Write(releasing, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`UPDATE lookup_rotation SET lease_owner = '', lease_until = $3 WHERE tenant = $1 AND lease_owner = $2`, tenant, owner, free)
		return err
	}))
}

// placed is an identifier with the hashes that it stands under and is to.
type placed struct {
	customer     id.Customer
	identifier   id.Identifier
	kind         identifier.Kind
	lookup, also []byte
	value        []byte
	hashes       [][]byte // nil: it cannot be read
}

const (
	sqlSingle = `SELECT customer, identifier, kind, lookup, also, value FROM customer_identifier
		WHERE tenant = $1 AND also IS NULL AND (customer, identifier) > ($2, $3) ORDER BY customer, identifier LIMIT $4`
	sqlDouble = `SELECT customer, identifier, kind, lookup, also, value FROM customer_identifier
		WHERE tenant = $1 AND also IS NOT NULL AND (customer, identifier) > ($2, $3) ORDER BY customer, identifier LIMIT $4`
)

// lookupBatch does one batch, and says whether more can be done now.
func (d *Directory) lookupBatch(ctx context.Context, r *rotation) (more bool, err error) {
	keys, err := d.Ring.Tenant(ctx, r.Tenant)
	if err != nil {
		return false, err
	}
	clearing := r.Phase == LookupClearing
	switch known := len(keys.Lookup("", "")); {
	case known == 1 && !clearing: // a crash came between the key's end and its being noted
		return false, d.lookupEnded(ctx, r)
	case known != 1 && clearing:
		return false, errors.New("there are two look-up keys although the old one was dropped")
	}
	query := sqlSingle
	if clearing {
		query = sqlDouble
	}
	page, err := d.lookupPage(ctx, query, r)
	if err != nil {
		return false, err
	}
	if len(page) == 0 {
		return d.lookupPass(ctx, r)
	}
	skipped := map[int]bool{}
	for n := range page {
		switch err := d.rehash(ctx, keys, r.Tenant, &page[n]); {
		case errors.Is(err, ErrErased):
			skipped[n] = true // the rows go with the erasure
		case errors.Is(err, keyring.ErrSealed), errors.Is(err, keyring.ErrNoKey):
			page[n].hashes = nil
			r.fault = cmp.Or(r.fault, fmt.Errorf("identifier %s of %s: %w", page[n].identifier, page[n].customer, err))
		case err != nil:
			return false, err
		}
	}
	next := *r
	err = d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		next = *r
		if r.atCustomer == "" {
			next.Failed = 0
		}
		if err := keepLookupLease(tx, r); err != nil {
			return err
		}
		for n, it := range page {
			if skipped[n] {
				continue
			}
			err := errUnreadable
			if it.hashes != nil && clearing {
				err = clearLookup(tx, r.Tenant, it)
			} else if it.hashes != nil {
				err = rewriteLookup(tx, r.Tenant, it)
			}
			switch {
			case errors.Is(err, errUnreadable):
				next.Failed++
			case errors.Is(err, ErrTaken):
				next.Failed++
				next.fault = cmp.Or(next.fault, fmt.Errorf("identifier %s of %s: %w", it.identifier, it.customer, err))
			case err != nil:
				return err
			default:
				next.found = true
				if !clearing {
					next.Rewritten++
				}
			}
		}
		last := page[len(page)-1]
		next.atCustomer, next.atIdentifier = last.customer, last.identifier
		return storeLookup(tx, &next)
	})
	if err != nil {
		return false, err
	}
	*r = next
	return true, nil
}

var errUnreadable = errors.New("the identifier cannot be read")

// lookupPass ends a pass. One that found nothing to do was the last.
func (d *Directory) lookupPass(ctx context.Context, r *rotation) (more bool, err error) {
	if r.atCustomer == "" || (!r.found && r.Failed == 0) {
		if done, err := d.searchedAnew(ctx, r); err != nil || !done {
			return false, err
		}
		if r.Phase == LookupClearing {
			return false, d.DB.Write(ctx, func(tx *sqldb.Tx) error {
				_, err := tx.Exec(`DELETE FROM lookup_rotation WHERE tenant = $1 AND lease_owner = $2`, r.Tenant, r.owner)
				return err
			})
		}
		if err := d.Ring.EndLookupRotation(ctx, r.Tenant); err != nil {
			return false, err
		}
		return false, d.lookupEnded(ctx, r)
	}
	next := *r
	next.atCustomer, next.atIdentifier, next.found = "", "", false
	err = d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := keepLookupLease(tx, r); err != nil {
			return err
		}
		return storeLookup(tx, &next)
	})
	if err != nil {
		return false, err
	}
	*r = next
	return r.Failed == 0, nil // what failed is tried again later
}

// searchedAnew has the beginnings that customers are found by written under the
// keys that there are, and says whether that is done: before the old key goes
// they stand under both, and after it nothing stands under it any more. The pass
// has a lease of its own, so that this one is let go meanwhile.
func (d *Directory) searchedAnew(ctx context.Context, r *rotation) (done bool, err error) {
	if r.searched {
		waiting, err := d.Searching(ctx, r.Tenant)
		return !waiting, err
	}
	err = d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := keepLookupLease(tx, r); err != nil {
			return err
		}
		var fields string
		err := tx.QueryRow(`SELECT fields FROM customer_search WHERE tenant = $1`, r.Tenant).Scan(&fields)
		if done = errors.Is(err, sqldb.ErrNoRows); done {
			return nil
		}
		if err != nil {
			return err
		}
		tx.Queue(`UPDATE lookup_rotation SET searched = $2 WHERE tenant = $1`, r.Tenant, true)
		return askSearchPass(tx, r.Tenant, tx.Now())
	})
	return done, err
}

// lookupEnded notes that the old key is gone.
func (d *Directory) lookupEnded(ctx context.Context, r *rotation) error {
	return d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		noted, err := tx.Exec(`UPDATE lookup_rotation SET ended_at = $3, at_customer = '', at_identifier = '', found = $4, searched = $4, failed = 0
			WHERE tenant = $1 AND lease_owner = $2 AND ended_at = 0`, r.Tenant, r.owner, tx.Now(), false)
		if err != nil {
			return err
		}
		if noted == 0 {
			return errLookupLease
		}
		return d.Log.Append(tx, event.Event{Tenant: r.Tenant, Type: "tenant.lookup_key.rotated", Actor: "system", Data: map[string]any{"rewritten": r.Rewritten}})
	})
}

// keepLookupLease makes sure that the work is still this node's, until tx ends.
func keepLookupLease(tx *sqldb.Tx, r *rotation) error {
	kept, err := tx.Exec(`UPDATE lookup_rotation SET lease_until = $3 WHERE tenant = $1 AND lease_owner = $2`, r.Tenant, r.owner, tx.Now().Add(lookupLease))
	if err == nil && kept == 0 {
		err = errLookupLease
	}
	return err
}

func storeLookup(tx *sqldb.Tx, r *rotation) error {
	_, err := tx.Exec(`UPDATE lookup_rotation SET at_customer = $2, at_identifier = $3, found = $4, rewritten = $5, failed = $6 WHERE tenant = $1`,
		r.Tenant, r.atCustomer, r.atIdentifier, r.found, r.Rewritten, r.Failed)
	return err
}

func (d *Directory) lookupPage(ctx context.Context, query string, r *rotation) ([]placed, error) {
	rows, err := d.DB.Query(ctx, query, r.Tenant, r.atCustomer, r.atIdentifier, lookupBatch)
	if err != nil {
		return nil, fmt.Errorf("read identifiers: %w", err)
	}
	var page []placed
	for rows.Next() {
		var it placed
		if err := rows.Scan(&it.customer, &it.identifier, &it.kind, &it.lookup, &it.also, &it.value); err != nil {
			return nil, fmt.Errorf("read identifiers: %w", err)
		}
		page = append(page, it)
	}
	return page, rows.Err()
}

// rehash opens an identifier and fills in the hashes that it is to stand under:
// the new key's first.
func (d *Directory) rehash(ctx context.Context, keys *keyring.Tenant, tenant id.Tenant, it *placed) error {
	key, err := d.Key(ctx, tenant, it.customer)
	if err != nil {
		return err
	}
	value, _, err := openValue(key, tenant, it.customer, it.identifier, it.value)
	if errors.Is(err, keyring.ErrErased) {
		return ErrErased
	}
	if err != nil {
		return err
	}
	it.hashes = keys.Lookup(string(it.kind), value)
	if rewriting := it.also == nil; rewriting != (len(it.hashes) == 2) {
		return errors.New("the look-up keys have changed meanwhile")
	}
	return nil
}

// rewriteLookup places an identifier under both hashes. One that was changed or
// removed since it was read is left to who did.
func rewriteLookup(tx *sqldb.Tx, tenant id.Tenant, it placed) error {
	fresh, old := it.hashes[0], it.hashes[1]
	var verified bool
	err := tx.QueryRow(`UPDATE customer_identifier SET lookup = $4, also = $5 WHERE tenant = $1 AND customer = $2 AND identifier = $3 AND lookup = $6 AND also IS NULL RETURNING verified`,
		tenant, it.customer, it.identifier, fresh, old, it.lookup).Scan(&verified)
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("place the identifier: %w", err)
	}
	if !verified {
		return inviteUnder(tx, tenant, it, fresh, old)
	}
	if err = holdUnder(tx, tenant, it, fresh); errors.Is(err, ErrTaken) {
		tx.Queue(`UPDATE customer_identifier SET lookup = $4, also = NULL WHERE tenant = $1 AND customer = $2 AND identifier = $3`, tenant, it.customer, it.identifier, it.lookup)
	}
	return err
}

// inviteUnder has an address find whom it was invited at under a fresh hash too,
// where it finds him under the old one.
func inviteUnder(tx *sqldb.Tx, tenant id.Tenant, it placed, fresh, old []byte) error {
	var invited id.Customer
	err := tx.QueryRow(`SELECT customer FROM invitation WHERE tenant = $1 AND kind = $2 AND lookup = $3`, tenant, it.kind, old).Scan(&invited)
	if errors.Is(err, sqldb.ErrNoRows) || (err == nil && invited != it.customer) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for an invitation: %w", err)
	}
	tx.Queue(`INSERT INTO invitation (tenant, kind, lookup, customer) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`, tenant, it.kind, fresh, invited)
	return nil
}

// clearLookup leaves an identifier under the one hash that there is.
func clearLookup(tx *sqldb.Tx, tenant id.Tenant, it placed) error {
	only := it.hashes[0]
	var verified bool
	err := tx.QueryRow(`UPDATE customer_identifier SET lookup = $4, also = NULL WHERE tenant = $1 AND customer = $2 AND identifier = $3 AND lookup = $5 AND also = $6 RETURNING verified`,
		tenant, it.customer, it.identifier, only, it.lookup, it.also).Scan(&verified)
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clear the identifier: %w", err)
	}
	if verified {
		if err := holdUnder(tx, tenant, it, only); err != nil {
			if errors.Is(err, ErrTaken) {
				tx.Queue(`UPDATE customer_identifier SET lookup = $4, also = $5 WHERE tenant = $1 AND customer = $2 AND identifier = $3`, tenant, it.customer, it.identifier, it.lookup, it.also)
			}
			return err
		}
	}
	for _, hash := range [][]byte{it.lookup, it.also} {
		if !bytes.Equal(hash, only) {
			letGo(tx, tenant, it.customer, it.kind, hash, nil)
			uninvite(tx, tenant, it.customer, it.kind, hash, nil)
		}
	}
	return nil
}

// holdUnder makes sure that a customer holds an identifier under a hash.
func holdUnder(tx *sqldb.Tx, tenant id.Tenant, it placed, hash []byte) error {
	held, err := tx.Exec(`INSERT INTO identifier_holder (tenant, kind, lookup, customer, identifier) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		tenant, it.kind, hash, it.customer, it.identifier)
	if err != nil {
		return fmt.Errorf("hold the identifier: %w", err)
	}
	if held == 1 {
		return nil
	}
	var holder id.Customer
	err = tx.QueryRow(`SELECT customer FROM identifier_holder WHERE tenant = $1 AND kind = $2 AND lookup = $3`, tenant, it.kind, hash).Scan(&holder)
	if err != nil && !errors.Is(err, sqldb.ErrNoRows) {
		return fmt.Errorf("look for the identifier's holder: %w", err)
	}
	if holder != it.customer {
		return ErrTaken
	}
	return nil
}
