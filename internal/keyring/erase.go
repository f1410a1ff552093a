package keyring

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Erasure is an entry of the ledger.
type Erasure struct {
	// Sequence numbers the entries of one key store from 1, in the order of
	// their commits.
	Sequence int64
	Tenant   id.Tenant
	Customer id.Customer
	ErasedAt time.Time
	Finished bool // whether MarkErasures said so last
}

const (
	sqlEmptyCustomerKey = `
INSERT INTO customer_key (tenant, customer, generation, tenant_generation, wrapped, created_at)
VALUES ($1, $2, 1, 0, $3, 0)
ON CONFLICT (tenant, customer, generation) DO UPDATE SET tenant_generation = 0, wrapped = excluded.wrapped, created_at = 0`
	sqlDropLaterCustomerKeys = `DELETE FROM customer_key WHERE tenant = $1 AND customer = $2 AND generation > 1`
	sqlNextSequence          = `UPDATE key_store SET sequence = sequence + 1 WHERE name = 'store' RETURNING sequence`
	sqlAddErasure            = `INSERT INTO erasure_ledger (tenant, customer, erased_at, sequence) VALUES ($1, $2, $3, $4)`
	sqlErased                = `SELECT sequence, tenant, customer, erased_at, finished_at FROM erasure_ledger WHERE sequence > $1 ORDER BY sequence LIMIT $2`
	sqlUnfinished            = `
SELECT sequence, tenant, customer, erased_at, finished_at FROM erasure_ledger
WHERE sequence > $1 AND finished_at = 0 AND erased_at <= $2 ORDER BY sequence LIMIT $3`
	sqlMarkErasure = `UPDATE erasure_ledger SET finished_at = $3 WHERE tenant = $1 AND customer = $2`
)

// Erase enters the customer in the ledger and destroys the data key, in one
// transaction. On return this node does not hand out the key any more, and the
// cached one is dead in the hands of requests under way too; one that the cache
// had let go of lives as long as its request. Other nodes do likewise with
// their next Poll, by MaxStale at the latest. Erasing again does nothing.
func (r *Ring) Erase(ctx context.Context, tenant id.Tenant, customer id.Customer) error {
	err := r.store.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := erase(tx, Erasure{Tenant: tenant, Customer: customer, ErasedAt: tx.Now()})
		return err
	})
	r.evict(customerName{tenant, customer}) // whatever the outcome
	if err != nil {
		return fmt.Errorf("keyring: erase %s: %w", customer, err)
	}
	if err := r.store.Scrub(ctx); err != nil {
		return fmt.Errorf("keyring: scrub the key of %s: %w", customer, err)
	}
	return nil
}

// erase says whether the entry is new.
func erase(tx *sqldb.Tx, e Erasure) (bool, error) {
	// The key's row first: it orders this after or before any other change of
	// the customer's key. The ledger's counter last, as all erasures share it:
	// who has it commits next, so sequences are seen in order.
	tx.Queue(sqlEmptyCustomerKey, e.Tenant, e.Customer, []byte{})
	tx.Queue(sqlDropLaterCustomerKeys, e.Tenant, e.Customer)
	var sequence int64
	err := tx.QueryRow(sqlInLedger, e.Tenant, e.Customer).Scan(&sequence)
	if !errors.Is(err, sqldb.ErrNoRows) {
		return false, err
	}
	if err := tx.QueryRow(sqlNextSequence).Scan(&sequence); err != nil {
		return false, err
	}
	tx.Queue(sqlAddErasure, e.Tenant, e.Customer, e.ErasedAt, sequence)
	return true, nil
}

// Erased lists up to limit entries of the ledger, beginning after a sequence:
// 0, then that of the last entry of the page before.
func (r *Ring) Erased(ctx context.Context, after int64, limit int) ([]Erasure, error) {
	return erased(ctx, r.store, after, limit)
}

// Unfinished is Erased of those entries alone that are not marked as finished,
// and that were made by before: an erasure that is under way is left to whoever
// does it.
func (r *Ring) Unfinished(ctx context.Context, after int64, before time.Time, limit int) ([]Erasure, error) {
	return readLedger(ctx, r.store, sqlUnfinished, after, before, limit)
}

// MarkErasures notes of entries of the ledger whether everything else of those
// customers is gone too. The mark is the main database's that this ledger
// belongs to: when an older one is put in its place, it is not to be believed.
func (r *Ring) MarkErasures(ctx context.Context, finished bool, entries []Erasure) error {
	if !slices.ContainsFunc(entries, func(e Erasure) bool { return e.Finished != finished }) {
		return nil
	}
	err := r.store.Write(ctx, func(tx *sqldb.Tx) error {
		at := int64(0)
		if finished {
			at = tx.Now().UnixMicro()
		}
		for _, e := range entries {
			if e.Finished != finished {
				tx.Queue(sqlMarkErasure, e.Tenant, e.Customer, at)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keyring: mark erasures: %w", err)
	}
	return nil
}

func erased(ctx context.Context, store *sqldb.DB, after int64, limit int) ([]Erasure, error) {
	return readLedger(ctx, store, sqlErased, after, limit)
}

func readLedger(ctx context.Context, store *sqldb.DB, query string, args ...any) ([]Erasure, error) {
	rows, err := store.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("keyring: read erasure ledger: %w", err)
	}
	var page []Erasure
	for rows.Next() {
		var e Erasure
		var finished int64
		if err := rows.Scan(&e.Sequence, &e.Tenant, &e.Customer, &e.ErasedAt, &finished); err != nil {
			return nil, fmt.Errorf("keyring: read erasure ledger: %w", err)
		}
		e.Finished = finished != 0
		page = append(page, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("keyring: read erasure ledger: %w", err)
	}
	return page, nil
}

const ledgerPage = 200 // erasures in a transaction

// ApplyLedger erases from the key store into whoever is in the ledger of the
// key store from, as a restore does before anything is opened. It returns how
// many were not erased before. It needs no root key and may be repeated.
func ApplyLedger(ctx context.Context, into, from *sqldb.DB) (applied int, err error) {
	for after := int64(0); ; {
		page, err := erased(ctx, from, after, ledgerPage)
		if err != nil {
			return applied, err
		}
		if len(page) == 0 {
			return applied, nil
		}
		added, err := applyErasures(ctx, into, page)
		if err != nil {
			return applied, err
		}
		applied += added
		after = page[len(page)-1].Sequence
	}
}

func applyErasures(ctx context.Context, into *sqldb.DB, page []Erasure) (added int, err error) {
	err = into.Write(ctx, func(tx *sqldb.Tx) error {
		added = 0
		for _, e := range page {
			isNew, err := erase(tx, e)
			if err != nil {
				return err
			}
			if isNew {
				added++
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("keyring: apply erasure ledger: %w", err)
	}
	return added, nil
}

// ApplyLedger is the function of that name, into this ring's key store.
func (r *Ring) ApplyLedger(ctx context.Context, from *sqldb.DB) (applied int, err error) {
	applied, err = ApplyLedger(ctx, r.store, from)
	return applied, errors.Join(err, r.storeFresh.renew(ctx, r.clock, r.pollStore))
}

// A ledger that is exported is lines of JSON: a head, the entries, and a foot
// without which it was cut short.
type (
	ledgerHead struct {
		Ledger  string `json:"ledger"` // ledgerKind
		Version int    `json:"version"`
		Store   string `json:"store"`
	}
	ledgerLine struct {
		Tenant   id.Tenant   `json:"tenant,omitempty"`
		Customer id.Customer `json:"customer,omitempty"`
		ErasedAt int64       `json:"erased_at,omitempty"` // µs
		Entries  *int        `json:"entries,omitempty"`   // the foot
	}
)

const ledgerKind = "cardea erasure ledger"

// ExportLedger writes the key store's ledger, for a backup to be kept apart
// from the keys and read by ImportLedger.
func ExportLedger(ctx context.Context, store *sqldb.DB, w io.Writer) error {
	head := ledgerHead{Ledger: ledgerKind, Version: 1}
	if err := store.QueryRow(ctx, sqlStore).Scan(&head.Store); err != nil {
		return fmt.Errorf("keyring: export erasure ledger: %w", err)
	}
	out := bufio.NewWriter(w)
	encoder := json.NewEncoder(out)
	err := encoder.Encode(head)
	count := 0
	for after := int64(0); err == nil; {
		var page []Erasure
		if page, err = erased(ctx, store, after, pollPage); err != nil || len(page) == 0 {
			break
		}
		for _, e := range page {
			err = errors.Join(err, encoder.Encode(ledgerLine{Tenant: e.Tenant, Customer: e.Customer, ErasedAt: e.ErasedAt.UnixMicro()}))
		}
		count += len(page)
		after = page[len(page)-1].Sequence
	}
	if err == nil {
		err = errors.Join(encoder.Encode(ledgerLine{Entries: &count}), out.Flush())
	}
	if err != nil {
		return fmt.Errorf("keyring: export erasure ledger: %w", err)
	}
	return nil
}

// ImportLedger erases from the key store whoever is in an exported ledger, and
// returns how many were not erased before. A ledger of another key store is
// refused with ErrStore before anything is changed. One that is cut short is an
// error after what it holds was applied.
func ImportLedger(ctx context.Context, store *sqldb.DB, r io.Reader) (applied int, err error) {
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	var head ledgerHead
	if err := decoder.Decode(&head); err != nil || head.Ledger != ledgerKind || head.Version != 1 {
		return 0, errors.New("keyring: this is not an erasure ledger that this release reads")
	}
	var own string
	if err := store.QueryRow(ctx, sqlStore).Scan(&own); err != nil {
		return 0, fmt.Errorf("keyring: import erasure ledger: %w", err)
	}
	if own != head.Store {
		return 0, fmt.Errorf("%w: the ledger is of the key store %s, but this is %s", ErrStore, head.Store, own)
	}
	var page []Erasure
	for count := 0; ; count++ {
		var line ledgerLine
		if err := decoder.Decode(&line); err != nil {
			added, applyErr := applyErasures(ctx, store, page)
			return applied + added, errors.Join(fmt.Errorf("keyring: the erasure ledger is damaged or cut short after %d entries; they were applied, those after them were not: %w", count, err), applyErr)
		}
		if line.Entries != nil && *line.Entries == count {
			added, err := applyErasures(ctx, store, page)
			return applied + added, err
		}
		_, tenantErr := id.Parse[id.Tenant](string(line.Tenant))
		_, customerErr := id.Parse[id.Customer](string(line.Customer))
		if err := errors.Join(tenantErr, customerErr); err != nil {
			return applied, fmt.Errorf("keyring: the erasure ledger is damaged after %d entries: %w", count, err)
		}
		page = append(page, Erasure{Tenant: line.Tenant, Customer: line.Customer, ErasedAt: time.UnixMicro(line.ErasedAt).UTC()})
		if len(page) == ledgerPage {
			added, err := applyErasures(ctx, store, page)
			applied += added
			if err != nil {
				return applied, err
			}
			page = page[:0]
		}
	}
}
