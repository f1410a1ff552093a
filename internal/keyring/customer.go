package keyring

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tracing"
)

// Customer is the data key of one customer. It is asked for once a request,
// and not kept.
type Customer struct {
	random io.Reader
	keys   []customerKey // oldest first, one at least
	sweeps int64         // the ring's, when it was read
	erased atomic.Bool
}

type customerKey struct {
	generation uint32
	aead       cipher.AEAD
}

type customerName struct {
	tenant   id.Tenant
	customer id.Customer
}

const (
	sqlAddCustomerKey = `
INSERT INTO customer_key (tenant, customer, generation, tenant_generation, wrapped, created_at)
VALUES ($1, $2, 1, $3, $4, $5) ON CONFLICT (tenant, customer, generation) DO NOTHING`
	sqlTouchCustomerKey = `
UPDATE customer_key SET created_at = $3
WHERE tenant = $1 AND customer = $2 AND generation = 1 AND tenant_generation > 0 AND created_at < $4`
	sqlCustomerKeys = `
SELECT generation, tenant_generation, wrapped FROM customer_key
WHERE tenant = $1 AND customer = $2 ORDER BY generation`
	sqlInLedger = `SELECT sequence FROM erasure_ledger WHERE tenant = $1 AND customer = $2`
)

// CreateCustomer makes the data key of a customer, unless there is one; it is
// durable on return. It is called just before the transaction that writes the
// customer's first row: a key whose customer is not there an hour later is
// swept. For a customer who was erased the error is ErrErased, for ever.
func (r *Ring) CreateCustomer(ctx context.Context, tenant id.Tenant, customer id.Customer) (*Customer, error) {
	t, err := r.Tenant(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("keyring: create customer %s: %w", customer, err)
	}
	key, err := newSecret(r.random)
	if err != nil {
		return nil, err
	}
	by := t.current()
	wrapped, err := r.wrapCustomerKey(by, customerKeyAAD(tenant, customer, 1), key[:])
	if err != nil {
		return nil, err
	}
	err = r.store.Write(ctx, func(tx *sqldb.Tx) error {
		// First the key: its row puts this and an erasure in an order, and then
		// the ledger shows one that came before.
		added, err := tx.Exec(sqlAddCustomerKey, tenant, customer, by.number, wrapped, tx.Now())
		if err != nil {
			return err
		}
		var sequence int64
		switch err := tx.QueryRow(sqlInLedger, tenant, customer).Scan(&sequence); {
		case err == nil:
			return ErrErased
		case !errors.Is(err, sqldb.ErrNoRows):
			return err
		}
		if added == 0 { // an earlier try's: keep it from being swept now
			tx.Queue(sqlTouchCustomerKey, tenant, customer, tx.Now(), tx.Now().Add(-orphanAge/2))
		}
		return nil
	})
	if errors.Is(err, ErrErased) {
		r.evict(customerName{tenant, customer})
	}
	if err != nil {
		return nil, fmt.Errorf("keyring: create customer %s: %w", customer, err)
	}
	r.customers.Invalidate(customerName{tenant, customer}) // a swept key, perhaps
	return r.Customer(ctx, tenant, customer)
}

// Customer returns the data key of a customer, or ErrNoKey, or ErrErased.
func (r *Ring) Customer(ctx context.Context, tenant id.Tenant, customer id.Customer) (*Customer, error) {
	if err := r.storeFresh.ensure(ctx, r.clock, r.pollStore); err != nil {
		return nil, fmt.Errorf("keyring: customer %s: %w", customer, err)
	}
	name := customerName{tenant, customer}
	c, ok := r.customers.GetIfPresent(name)
	if ok && c.sweeps < r.sweeps.Load() {
		r.customers.Invalidate(name) // keys were swept since: read it again
		ok = false
	}
	if !ok {
		// An eviction while it is loading makes Get load again, so that a key
		// read just before an erasure does not stay.
		var err error
		loading, span := tracing.Start(ctx, "keyring: read a customer's key")
		c, err = r.customers.Get(loading, name, otter.LoaderFunc[customerName, *Customer](r.loadCustomer))
		span.End(err)
		if err != nil {
			return nil, fmt.Errorf("keyring: customer %s: %w", customer, err)
		}
	}
	if c.erased.Load() {
		return nil, fmt.Errorf("keyring: customer %s: %w", customer, ErrErased)
	}
	return c, nil
}

func (r *Ring) loadCustomer(ctx context.Context, name customerName) (*Customer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
	defer cancel()
	c := &Customer{random: r.random, sweeps: r.sweeps.Load()}

	type row struct {
		generation, tenantGeneration uint32
		wrapped                      []byte
	}
	var rows []row
	var sequence int64
	batch := r.store.Batch()
	batch.Queue(sqlCustomerKeys, []any{name.tenant, name.customer}, func(s sqldb.Scanner) error {
		var w row
		if err := s.Scan(&w.generation, &w.tenantGeneration, &w.wrapped); err != nil {
			return err
		}
		rows = append(rows, w)
		return nil
	})
	erased := batch.QueueRow(sqlInLedger, []any{name.tenant, name.customer}, &sequence)
	if err := batch.Run(ctx); err != nil {
		return nil, err
	}
	switch {
	case *erased:
		return nil, ErrErased
	case len(rows) == 0:
		return nil, ErrNoKey
	}
	t, err := r.Tenant(ctx, name.tenant)
	if err != nil {
		return nil, err
	}
	for _, w := range rows {
		by, err := t.wrapping(ctx, w.tenantGeneration)
		if err != nil {
			return nil, err
		}
		key, err := r.unwrapCustomerKey(by, customerKeyAAD(name.tenant, name.customer, w.generation), w.wrapped)
		if err != nil {
			return nil, err
		}
		c.keys = append(c.keys, customerKey{w.generation, newAEAD(derive(key, useField))})
	}
	return c, nil
}

// wrapping finds the generation that a row of the key store names. The store
// is ours, so one that is not known is read at once.
func (t *Tenant) wrapping(ctx context.Context, number uint32) (*generation, error) {
	if g := t.state.Load().generation(number); g != nil {
		return g, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state.Load().generation(number) == nil {
		if err := t.read(ctx); err != nil {
			return nil, err
		}
	}
	if g := t.state.Load().generation(number); g != nil {
		return g, nil
	}
	return nil, fmt.Errorf("generation %d of tenant %s's key, which wraps a customer's: %w", number, t.id, ErrNoKey)
}

// A customer's wrapped key is a version byte, a random nonce of 12 bytes, and
// AES-256-GCM.
const wrappedV1 = 1

func (r *Ring) wrapCustomerKey(by *generation, aad, key []byte) ([]byte, error) {
	const head = 1 + len(zeroNonce)
	out := make([]byte, head, head+len(key)+tagSize)
	out[0] = wrappedV1
	if _, err := io.ReadFull(r.random, out[1:]); err != nil {
		return nil, fmt.Errorf("keyring: reading randomness: %w", err)
	}
	return by.customer.Seal(out, out[1:], key, aad), nil
}

func (r *Ring) unwrapCustomerKey(by *generation, aad, wrapped []byte) (*secret, error) {
	const head = 1 + len(zeroNonce)
	if len(wrapped) < head || wrapped[0] != wrappedV1 {
		return nil, errors.New("the customer's wrapped key is damaged")
	}
	plain, err := by.customer.Open(nil, wrapped[1:head], wrapped[head:], aad)
	if err != nil {
		return nil, fmt.Errorf("the customer's wrapped key is damaged, or of another place or tenant key than generation %d", by.number)
	}
	return secretFrom(plain)
}

func customerKeyAAD(tenant id.Tenant, customer id.Customer, generation uint32) []byte {
	return appendPart(keyAAD("cardea/customer-key", string(tenant), generation), customer)
}

// evict forgets a customer's key, also in the hands of who has it now.
func (r *Ring) evict(name customerName) {
	if c, ok := r.customers.Invalidate(name); ok && c != nil {
		c.erased.Store(true)
	}
}

// orphanAge is how old a key is before its customer must exist.
const orphanAge = time.Hour
