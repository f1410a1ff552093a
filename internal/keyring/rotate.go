package keyring

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

const (
	sqlRetireTenantKeys = `DELETE FROM tenant_key WHERE tenant = $1 AND generation < $2`
	sqlInUse            = `SELECT customer FROM customer_key WHERE tenant = $1 AND tenant_generation > 0 AND tenant_generation < $2 LIMIT 1`
)

// retireAfter is how long after a rotation the older generations can be
// retired: no node that wraps with them can be left by then.
const retireAfter = time.Hour

// RotateTenant gives the tenant's key a new generation. All nodes know it some
// seconds before it is used, which is 15 seconds from now; older generations
// open until RetireTenant. Rewrap then moves customers' keys to it. Two
// rotations at once make one generation. What also does is part of the
// transaction that makes it.
func (r *Ring) RotateTenant(ctx context.Context, tenant id.Tenant, also ...func(*sqldb.Tx) error) error {
	keys, _, err := r.wrappedKeys(ctx, tenant)
	if err == nil && len(keys) == 0 {
		err = ErrNoKey
	}
	if err != nil {
		return fmt.Errorf("keyring: rotate key of %s: %w", tenant, err)
	}
	generation := keys[len(keys)-1].generation + 1
	wrapped, err := r.wrapNew(ctx, tenantKeyAAD(tenant, generation))
	if err != nil {
		return fmt.Errorf("keyring: rotate key of %s: %w", tenant, err)
	}
	err = r.changeKeys(ctx, tenant, func(tx *sqldb.Tx) error {
		added, err := tx.Exec(sqlAddTenantKey, tenant, generation, r.root.ID(), wrapped, tx.Now())
		if err != nil || added == 0 {
			return err
		}
		return inTurn(tx, also)
	})
	if err != nil {
		return fmt.Errorf("keyring: rotate key of %s: %w", tenant, err)
	}
	return nil
}

func inTurn(tx *sqldb.Tx, do []func(*sqldb.Tx) error) error {
	for _, one := range do {
		if err := one(tx); err != nil {
			return err
		}
	}
	return nil
}

// RetireTenant destroys all but the newest generation of the tenant's key.
// Tokens, codes and fields of the tenant's own that were sealed with them can
// never be opened again: the caller has resealed the fields that it needs. It
// refuses while a customer's key is wrapped by one, and within an hour of the
// rotation.
func (r *Ring) RetireTenant(ctx context.Context, tenant id.Tenant) error {
	keys, _, err := r.wrappedKeys(ctx, tenant)
	if err == nil && len(keys) == 0 {
		err = ErrNoKey
	}
	if err != nil {
		return fmt.Errorf("keyring: retire keys of %s: %w", tenant, err)
	}
	newest := keys[len(keys)-1]
	if len(keys) == 1 {
		return nil
	}
	if from := newest.createdAt.Add(retireAfter); r.clock.Now().Before(from) {
		return fmt.Errorf("keyring: the key of %s was rotated less than an hour ago, so older generations may still be in use: retire them after %s", tenant, from.Format(time.RFC3339))
	}
	var customer id.Customer
	switch err := r.store.QueryRow(ctx, sqlInUse, tenant, newest.generation).Scan(&customer); {
	case err == nil:
		return fmt.Errorf("keyring: older generations of the key of %s still wrap customers' keys, such as that of %s: rewrap first", tenant, customer)
	case !errors.Is(err, sqldb.ErrNoRows):
		return fmt.Errorf("keyring: retire keys of %s: %w", tenant, err)
	}
	err = r.changeKeys(ctx, tenant, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(sqlRetireTenantKeys, tenant, newest.generation)
		return err
	})
	if err != nil {
		return fmt.Errorf("keyring: retire keys of %s: %w", tenant, err)
	}
	return nil
}

// RootUse is a root key and what it wraps.
type RootUse struct {
	ID         string
	Present    bool  // wraps what is new
	Configured bool  // can unwrap here
	Keys       int64 // tenants' keys and look-up keys that stand under it
}

const sqlRootsInUse = `
SELECT root, CAST(SUM(keys) AS BIGINT) FROM (
	SELECT root, COUNT(*) AS keys FROM tenant_key GROUP BY root UNION ALL SELECT root, COUNT(*) AS keys FROM lookup_key GROUP BY root
) AS used GROUP BY root ORDER BY root`

// Roots lists the root keys that are configured or needed, the present one
// first. An old one that wraps nothing any more can be taken out of the
// configuration.
func (r *Ring) Roots(ctx context.Context) ([]RootUse, error) {
	used := map[string]int64{}
	rows, err := r.db.Query(ctx, sqlRootsInUse)
	if err != nil {
		return nil, fmt.Errorf("keyring: root keys in use: %w", err)
	}
	for rows.Next() {
		var root string
		var keys int64
		if err := rows.Scan(&root, &keys); err != nil {
			return nil, fmt.Errorf("keyring: root keys in use: %w", err)
		}
		used[root] = keys
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("keyring: root keys in use: %w", err)
	}
	all := maps.Clone(used)
	for root := range r.roots {
		all[root] = used[root]
	}
	present := r.root.ID()
	roots := []RootUse{{ID: present, Present: true, Configured: true, Keys: all[present]}}
	delete(all, present)
	for _, root := range slices.Sorted(maps.Keys(all)) {
		roots = append(roots, RootUse{ID: root, Configured: r.roots[root] != nil, Keys: all[root]})
	}
	return roots, nil
}

// rewrapPosition is how far the present pass of Rewrap has come.
type rewrapPosition struct {
	mu       sync.Mutex
	tenant   id.Tenant   // this one and all before it are done, or,
	within   bool        // if set, this one is done up to
	customer id.Customer // this customer
	found    bool        // whether the pass has found anything to rewrap
}

const (
	sqlForeignTenantKeys = `SELECT tenant, generation, root, wrapped FROM tenant_key WHERE root <> $1 ORDER BY tenant, generation LIMIT $2`
	sqlForeignLookupKeys = `SELECT tenant, generation, root, wrapped FROM lookup_key WHERE root <> $1 ORDER BY tenant, generation LIMIT $2`
	sqlRewrapTenantKey   = `UPDATE tenant_key SET root = $1, wrapped = $2 WHERE tenant = $3 AND generation = $4 AND root = $5 AND wrapped = $6`
	sqlRewrapLookupKey   = `UPDATE lookup_key SET root = $1, wrapped = $2 WHERE tenant = $3 AND generation = $4 AND root = $5 AND wrapped = $6`
	sqlRotatedTenants    = `SELECT tenant, MAX(generation) FROM tenant_key WHERE tenant > $1 GROUP BY tenant HAVING COUNT(*) > 1 ORDER BY tenant LIMIT $2`
	sqlRotatedTenant     = `SELECT MAX(generation) FROM tenant_key WHERE tenant = $1 GROUP BY tenant`
	sqlOldCustomerKeys   = `
SELECT customer, generation, tenant_generation, wrapped FROM customer_key
WHERE tenant = $1 AND customer > $2 AND tenant_generation > 0 AND tenant_generation < $3
ORDER BY customer, generation LIMIT $4`
	sqlRewrapCustomerKey = `
UPDATE customer_key SET tenant_generation = $1, wrapped = $2
WHERE tenant = $3 AND customer = $4 AND generation = $5 AND tenant_generation = $6 AND wrapped = $7`
)

// Rewrap moves up to batch keys: tenants' keys from old root keys to the root
// key, then customers' keys to the newest generation of their tenant's. It is
// called until it is done, which it says only after a whole pass that found
// nothing; an error about one key does not keep later calls from the rest. The
// keys themselves do not change, so everything stays readable throughout, on
// all nodes. Interrupted it goes on where the rows show, and several nodes may
// run it at once: a row that somebody else changed meanwhile is left alone.
func (r *Ring) Rewrap(ctx context.Context, batch int) (done bool, err error) {
	if batch < 1 {
		return false, errors.New("keyring: rewrap: the batch must have one key at least")
	}
	left := batch
	tenantKeys := foreign{sqlForeignTenantKeys, sqlRewrapTenantKey, tenantKeyAAD}
	lookupKeys := foreign{sqlForeignLookupKeys, sqlRewrapLookupKey, lookupKeyAAD}
	for _, kind := range []foreign{tenantKeys, lookupKeys} {
		n, err := r.rewrapRoot(ctx, kind, left)
		if err != nil {
			return false, fmt.Errorf("keyring: rewrap tenants' keys: %w", err)
		}
		if left -= n; left == 0 {
			return false, nil
		}
	}
	p := &r.rewrapping
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found = p.found || left < batch
	done, err = r.rewrapCustomers(ctx, p, left)
	if err != nil {
		return false, fmt.Errorf("keyring: rewrap customers' keys: %w", err)
	}
	return done, nil
}

// foreign is the keys of a table that another root key wraps.
type foreign struct {
	list, update string
	aad          func(id.Tenant, uint32) []byte
}

func (r *Ring) rewrapRoot(ctx context.Context, kind foreign, limit int) (count int, err error) {
	rows, err := r.db.Query(ctx, kind.list, r.root.ID(), limit)
	if err != nil {
		return 0, err
	}
	var updates [][]any
	for rows.Next() {
		var tenant id.Tenant
		var w wrappedKey
		if err := rows.Scan(&tenant, &w.generation, &w.root, &w.wrapped); err != nil {
			return 0, err
		}
		aad := kind.aad(tenant, w.generation)
		key, err := r.unwrap(ctx, w, aad)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", tenant, err)
		}
		wrapped, err := r.root.Wrap(ctx, key[:], aad)
		if err != nil {
			return 0, fmt.Errorf("%s: wrap by root key %s: %w", tenant, r.root.ID(), err)
		}
		updates = append(updates, []any{r.root.ID(), wrapped, tenant, w.generation, w.root, w.wrapped})
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	return len(updates), exchange(ctx, r.db, kind.update, updates)
}

// exchange runs compare-and-set updates; those that meet another value have no
// effect.
func exchange(ctx context.Context, db *sqldb.DB, update string, args [][]any) error {
	if len(args) == 0 {
		return nil
	}
	return db.Write(ctx, func(tx *sqldb.Tx) error {
		for _, a := range args {
			tx.Queue(update, a...)
		}
		return nil
	})
}

type rotated struct {
	tenant id.Tenant
	newest uint32
}

func (r *Ring) rewrapCustomers(ctx context.Context, p *rewrapPosition, left int) (done bool, err error) {
	for {
		next, err := r.nextRotated(ctx, p)
		if err != nil {
			return false, err
		}
		if len(next) == 0 { // the pass ends
			done = !p.found
			p.tenant, p.within, p.customer, p.found = "", false, "", false
			return done, nil
		}
		for _, t := range next {
			if p.tenant != t.tenant {
				p.tenant, p.customer = t.tenant, ""
			}
			p.within = true
			n, err := r.rewrapTenant(ctx, p, t.newest, left)
			if err != nil {
				return false, fmt.Errorf("%s: %w", t.tenant, err)
			}
			if left -= n; left <= 0 {
				return false, nil
			}
			p.within = false
		}
	}
}

// nextRotated is the tenants to go on with.
func (r *Ring) nextRotated(ctx context.Context, p *rewrapPosition) (next []rotated, err error) {
	if p.within {
		t := rotated{tenant: p.tenant}
		err := r.db.QueryRow(ctx, sqlRotatedTenant, p.tenant).Scan(&t.newest)
		if err == nil {
			return []rotated{t}, nil
		}
		if !errors.Is(err, sqldb.ErrNoRows) {
			return nil, err
		}
		p.within = false
	}
	rows, err := r.db.Query(ctx, sqlRotatedTenants, p.tenant, pollPage)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var t rotated
		if err := rows.Scan(&t.tenant, &t.newest); err != nil {
			return nil, err
		}
		next = append(next, t)
	}
	return next, rows.Err()
}

// rewrapTenant rewraps up to limit customers' keys of p.tenant, those after
// p.customer, and moves p.customer on past them.
func (r *Ring) rewrapTenant(ctx context.Context, p *rewrapPosition, newest uint32, limit int) (count int, err error) {
	rows, err := r.store.Query(ctx, sqlOldCustomerKeys, p.tenant, p.customer, newest, limit)
	if err != nil {
		return 0, err
	}
	type row struct {
		customer         id.Customer
		generation, from uint32
		wrapped          []byte
	}
	var old []row
	for rows.Next() {
		var w row
		if err := rows.Scan(&w.customer, &w.generation, &w.from, &w.wrapped); err != nil {
			return 0, err
		}
		old = append(old, w)
	}
	if err := rows.Err(); err != nil || len(old) == 0 {
		return 0, err
	}
	p.found = true
	t, err := r.Tenant(ctx, p.tenant)
	if err != nil {
		return 0, err
	}
	to, err := t.wrapping(ctx, newest)
	if err != nil {
		return 0, err
	}
	var updates [][]any
	var faults []error
	for _, w := range old {
		wrapped, err := r.rewrapCustomer(ctx, t, w.customer, w.generation, w.from, to, w.wrapped)
		if err != nil {
			faults = append(faults, fmt.Errorf("customer %s: %w", w.customer, err))
			continue
		}
		updates = append(updates, []any{to.number, wrapped, p.tenant, w.customer, w.generation, w.from, w.wrapped})
	}
	if err := exchange(ctx, r.store, sqlRewrapCustomerKey, updates); err != nil {
		return 0, err
	}
	p.customer = old[len(old)-1].customer
	return len(old), errors.Join(faults...)
}

func (r *Ring) rewrapCustomer(ctx context.Context, t *Tenant, customer id.Customer, generation, from uint32, to *generation, wrapped []byte) ([]byte, error) {
	by, err := t.wrapping(ctx, from)
	if err != nil {
		return nil, err
	}
	aad := customerKeyAAD(t.id, customer, generation)
	key, err := r.unwrapCustomerKey(by, aad, wrapped)
	if err != nil {
		return nil, err
	}
	return r.wrapCustomerKey(to, aad, key[:])
}
