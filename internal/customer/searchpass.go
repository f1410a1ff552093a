package customer

import (
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

// When a tenant's settings name other fields, or its look-up key is replaced,
// the beginnings of all its customers are written anew, in batches: each is one
// transaction with the place that it reached, by the node that has the lease.
// Whoever changes a customer meanwhile writes his rows by the same settings, so
// that the order of the two does not matter.

const (
	searchBatch = 100
	searchLease = time.Minute
	// searchSettle is how long after a change of settings no transaction is under
	// way any more that read the former ones.
	searchSettle = 15 * time.Second
	// searchTries is how often customers who are being changed are read again
	// before the pass leaves them for later.
	searchTries = 10
)

var (
	// errSearchLease says that another node has taken the pass over, or that it
	// was begun anew.
	errSearchLease = errors.New("another node goes on with the pass")
	errSearchBusy  = errors.New("customers are being changed over and over; the pass goes on later")
)

// searchPass is a row of search_pass.
type searchPass struct {
	tenant    id.Tenant
	begins    time.Time
	at        id.Customer
	customers int64
	owner     string
	fields    []string
}

// askSearchPass has a tenant's beginnings written anew, as part of tx, from a
// time on. One that is under way begins again.
func askSearchPass(tx *sqldb.Tx, tenant id.Tenant, begins time.Time) error {
	_, err := tx.Exec(`INSERT INTO search_pass (tenant, begins_at, at_customer, customers, lease_owner, lease_until) VALUES ($1, $2, '', 0, '', 0)
		ON CONFLICT (tenant) DO UPDATE SET begins_at = excluded.begins_at, at_customer = '', customers = 0, lease_owner = '', lease_until = 0`, tenant, begins)
	if err != nil {
		return fmt.Errorf("have beginnings written anew: %w", err)
	}
	return nil
}

// AdvanceSearch goes on with every pass that no other node works on, to its
// end. It may be interrupted at any time. An error about one tenant does not
// keep it from the others.
func (d *Directory) AdvanceSearch(ctx context.Context) error {
	rows, err := d.DB.Query(ctx, `SELECT tenant FROM search_pass WHERE begins_at <= $1 AND lease_until <= $1 ORDER BY tenant`, d.Clock.Now())
	if err != nil {
		return fmt.Errorf("read whose beginnings are to be written anew: %w", err)
	}
	var tenants []id.Tenant
	for rows.Next() {
		var tenant id.Tenant
		if err := rows.Scan(&tenant); err != nil {
			return fmt.Errorf("read whose beginnings are to be written anew: %w", err)
		}
		tenants = append(tenants, tenant)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read whose beginnings are to be written anew: %w", err)
	}
	var faults []error
	for _, tenant := range tenants {
		if err := d.advanceSearch(ctx, tenant); err != nil && !errors.Is(err, errSearchLease) {
			faults = append(faults, fmt.Errorf("have the customers of %s found by beginnings: %w", tenant, err))
		}
	}
	return errors.Join(faults...)
}

func (d *Directory) advanceSearch(ctx context.Context, tenant id.Tenant) error {
	var random [16]byte
	if _, err := io.ReadFull(d.Random, random[:]); err != nil {
		return fmt.Errorf("reading randomness: %w", err)
	}
	p := &searchPass{tenant: tenant, owner: hex.EncodeToString(random[:])}
	err := d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		taken, err := tx.Exec(`UPDATE search_pass SET lease_owner = $2, lease_until = $3 WHERE tenant = $1 AND begins_at <= $4 AND lease_until <= $4`,
			tenant, p.owner, tx.Now().Add(searchLease), tx.Now())
		if err == nil && taken == 0 {
			err = errSearchLease
		}
		return err
	})
	if err != nil {
		return err
	}
	var lines string
	err = d.DB.QueryRow(ctx, `SELECT p.begins_at, p.at_customer, p.customers, s.fields FROM search_pass p JOIN customer_search s ON s.tenant = p.tenant
		WHERE p.tenant = $1 AND p.lease_owner = $2`, tenant, p.owner).Scan(&p.begins, &p.at, &p.customers, &lines)
	if errors.Is(err, sqldb.ErrNoRows) {
		return errSearchLease
	}
	if err != nil {
		return fmt.Errorf("read how far the pass has come: %w", err)
	}
	p.fields = fieldsOf(lines)
	var fault error
	for more := true; more && err == nil; {
		var unread error
		more, unread, err = d.searchBatch(ctx, p)
		fault = cmp.Or(fault, unread)
	}
	if err != nil { // another node, or this one later, goes on from here
		releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		err = errors.Join(err, d.DB.Write(releasing, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(`UPDATE search_pass SET lease_owner = '', lease_until = 0 WHERE tenant = $1 AND lease_owner = $2`, tenant, p.owner)
			return err
		}))
	}
	return errors.Join(err, fault)
}

// toSearch is a customer whose beginnings are written anew.
type toSearch struct {
	customer    id.Customer
	status      Status
	revision    int64
	profile     []byte
	identifiers []toSearchBy
	ladders     map[string][][]byte // by source
}

type toSearchBy struct {
	identifier id.Identifier
	kind       identifier.Kind
	value      []byte
}

// searchBatch does one batch, and says whether there are more. Who cannot be
// opened is found by nothing from then on, and unread tells of the first.
func (d *Directory) searchBatch(ctx context.Context, p *searchPass) (more bool, unread, err error) {
	keys, err := d.Ring.Tenant(ctx, p.tenant)
	if err != nil {
		return false, nil, err
	}
	page, err := d.searchPage(ctx, p.tenant, p.at, "~") // after every id
	if err != nil {
		return false, nil, err
	}
	if len(page) == 0 {
		return false, nil, d.searchDone(ctx, p)
	}
	next := *p
	next.at, next.customers = page[len(page)-1].customer, p.customers+int64(len(page))
	for tries := 0; len(page) > 0; tries++ {
		if tries == searchTries {
			return false, unread, errSearchBusy
		}
		for i := range page {
			switch err := d.climb(ctx, keys, p, &page[i]); {
			case errors.Is(err, ErrErased): // the rows go with the erasure
			case errors.Is(err, keyring.ErrSealed), errors.Is(err, keyring.ErrNoKey):
				unread = cmp.Or(unread, fmt.Errorf("%s: %w", page[i].customer, err))
			case err != nil:
				return false, unread, err
			}
		}
		var changed []id.Customer
		err = d.DB.Write(ctx, func(tx *sqldb.Tx) error {
			changed = nil
			kept, err := tx.Exec(`UPDATE search_pass SET lease_until = $5 WHERE tenant = $1 AND begins_at = $2 AND at_customer = $3 AND lease_owner = $4`,
				p.tenant, p.begins, p.at, p.owner, tx.Now().Add(searchLease))
			if err != nil {
				return err
			}
			if kept == 0 {
				return errSearchLease
			}
			for _, it := range page {
				if same, err := searchAnew(tx, p.tenant, it); err != nil {
					return err
				} else if !same {
					changed = append(changed, it.customer)
				}
			}
			if len(changed) == 0 {
				_, err = tx.Exec(`UPDATE search_pass SET at_customer = $2, customers = $3 WHERE tenant = $1 AND lease_owner = $4`, p.tenant, next.at, next.customers, p.owner)
			}
			return err
		})
		if err != nil {
			return false, unread, err
		}
		var again []toSearch
		for _, customer := range changed {
			one, err := d.searchPage(ctx, p.tenant, "", customer)
			if err != nil {
				return false, unread, err
			}
			again = append(again, one...)
		}
		page = again
	}
	*p = next
	return true, unread, nil
}

// searchAnew writes the beginnings of a customer, unless he was changed since he
// was read. That it finds him as he was read holds him, too.
func searchAnew(tx *sqldb.Tx, tenant id.Tenant, it toSearch) (same bool, err error) {
	held, err := tx.Exec(`UPDATE customer SET revision = revision WHERE tenant = $1 AND customer = $2 AND revision = $3`, tenant, it.customer, it.revision)
	if err != nil || held == 0 {
		return false, err
	}
	unsearch(tx, tenant, it.customer)
	for source, all := range it.ladders {
		insertLadders(tx, tenant, it.customer, source, all)
	}
	return true, nil
}

// searchDone ends a pass.
func (d *Directory) searchDone(ctx context.Context, p *searchPass) error {
	return d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		ended, err := tx.Exec(`DELETE FROM search_pass WHERE tenant = $1 AND begins_at = $2 AND at_customer = $3 AND lease_owner = $4`, p.tenant, p.begins, p.at, p.owner)
		if err != nil {
			return err
		}
		if ended == 0 {
			return errSearchLease
		}
		return d.Log.Append(tx, event.Event{Tenant: p.tenant, Type: "tenant.search.indexed", Actor: system,
			Data: map[string]any{"fields": p.fields, "customers": p.customers}})
	})
}

// searchPage reads the customers after one, or, from "", one alone.
func (d *Directory) searchPage(ctx context.Context, tenant id.Tenant, after, last id.Customer) ([]toSearch, error) {
	query, limit := `SELECT customer, status, revision, profile FROM customer WHERE tenant = $1 AND customer > $2 AND customer <= $3 ORDER BY customer LIMIT $4`, searchBatch
	if after == "" && last != "~" {
		query, limit = `SELECT customer, status, revision, profile FROM customer WHERE tenant = $1 AND customer > $2 AND customer = $3 LIMIT $4`, 1
	}
	rows, err := d.DB.Query(ctx, query, tenant, after, last, limit)
	if err != nil {
		return nil, fmt.Errorf("read customers: %w", err)
	}
	var page []toSearch
	for rows.Next() {
		var it toSearch
		if err := rows.Scan(&it.customer, &it.status, &it.revision, &it.profile); err != nil {
			return nil, fmt.Errorf("read customers: %w", err)
		}
		page = append(page, it)
	}
	if err := rows.Err(); err != nil || len(page) == 0 {
		return nil, err
	}
	batch := d.DB.Batch()
	for i := range page {
		it := &page[i]
		it.identifiers = nil
		batch.Queue(`SELECT identifier, kind, value FROM customer_identifier WHERE tenant = $1 AND customer = $2 AND verified`, []any{tenant, it.customer}, func(row sqldb.Scanner) error {
			var by toSearchBy
			err := row.Scan(&by.identifier, &by.kind, &by.value)
			it.identifiers = append(it.identifiers, by)
			return err
		})
	}
	if err := batch.Run(ctx); err != nil {
		return nil, fmt.Errorf("read customers' identifiers: %w", err)
	}
	return page, nil
}

// climb opens a customer and fills in the ladders of what he is found by.
func (d *Directory) climb(ctx context.Context, keys *keyring.Tenant, p *searchPass, it *toSearch) error {
	it.ladders = map[string][][]byte{}
	if len(p.fields) == 0 || it.status == Erased || it.status == erasing {
		return nil
	}
	key, err := d.Key(ctx, p.tenant, it.customer)
	if err != nil {
		return err
	}
	profile, err := openProfile(key, p.tenant, it.customer, it.profile)
	if err != nil {
		return err
	}
	all := map[string][][]byte{profileSource: profileLadders(keys, p.fields, profile)}
	for _, by := range it.identifiers {
		value, _, err := openValue(key, p.tenant, it.customer, by.identifier, by.value)
		if err != nil {
			return err
		}
		all[string(by.identifier)] = identifierLadders(keys, p.fields, by.kind, value)
	}
	it.ladders = all
	return nil
}
