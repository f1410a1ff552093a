package keyring

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// lookupKey is one of a tenant's look-up keys.
type lookupKey struct {
	number   uint32
	activeAt int64 // µs; from then on its hash comes first
	prf      *prf
}

func (s *tenantState) lookup(number uint32) *lookupKey {
	for _, l := range s.lookups {
		if l.number == number {
			return l
		}
	}
	return nil
}

// Lookup returns the keyed hashes, of 32 bytes, to find a value of a kind by.
// The caller has brought the value to its normal form. There is one hash, but
// two while a rotation of the look-up key runs: then new rows are written under
// the first, things are looked for under both, and whatever must be unique is
// claimed under both. Rotating the tenant's or the root key changes no hash.
func (t *Tenant) Lookup(kind, value string) [][]byte {
	keys := t.state.Load().lookups
	hashes := make([][]byte, 0, len(keys))
	for i := len(keys) - 1; i >= 0; i-- { // newest first
		hashes = append(hashes, keys[i].hash(kind, value))
	}
	if len(keys) > 1 && keys[len(keys)-1].activeAt > t.ring.clock.Now().UnixMicro() {
		hashes[0], hashes[1] = hashes[1], hashes[0] // announced only
	}
	return hashes
}

// LookupEach is Lookup of several values of a kind at one moment: the hashes of
// all of them under one key, then, while a rotation runs, under the other.
func (t *Tenant) LookupEach(kind string, values []string) [][][]byte {
	keys := slices.Clone(t.state.Load().lookups)
	slices.Reverse(keys) // newest first
	if len(keys) > 1 && keys[0].activeAt > t.ring.clock.Now().UnixMicro() {
		keys[0], keys[1] = keys[1], keys[0] // announced only
	}
	all := make([][][]byte, len(keys))
	for i, key := range keys {
		for _, value := range values {
			all[i] = append(all[i], key.hash(kind, value))
		}
	}
	return all
}

func (l *lookupKey) hash(kind, value string) []byte {
	state := l.prf.get()
	defer l.prf.put(state)
	state.room = appendPart(appendPart(state.room[:0], kind), value)
	return append([]byte(nil), state.hash(state.room)[:]...)
}

const (
	sqlDropLookupKeys = `DELETE FROM lookup_key WHERE tenant = $1 AND generation < $2`
	sqlBumpVersion    = `UPDATE keyring_state SET version = version + 1 WHERE name = 'ring' RETURNING version`
)

// BeginLookupRotation gives a tenant a second look-up key; package customer,
// whose hashes they are, drives it (customer.RotateLookup). All nodes know it
// before ready, and from then on its hashes come first: that is when to begin
// to write everything anew that was found by the old one's. When that is done,
// EndLookupRotation forgets the old key. While a rotation runs no other begins;
// the answer is when the running one is ready.
func (r *Ring) BeginLookupRotation(ctx context.Context, tenant id.Tenant) (ready time.Time, err error) {
	_, keys, err := r.wrappedKeys(ctx, tenant)
	if err == nil && len(keys) == 0 {
		err = ErrNoKey
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("keyring: rotate look-up key of %s: %w", tenant, err)
	}
	if len(keys) == 1 {
		generation := keys[0].generation + 1
		wrapped, err := r.wrapNew(ctx, lookupKeyAAD(tenant, generation))
		if err != nil {
			return time.Time{}, fmt.Errorf("keyring: rotate look-up key of %s: %w", tenant, err)
		}
		err = r.changeKeys(ctx, tenant, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(sqlAddLookupKey, tenant, generation, r.root.ID(), wrapped, tx.Now())
			return err
		})
		if err != nil {
			return time.Time{}, fmt.Errorf("keyring: rotate look-up key of %s: %w", tenant, err)
		}
		if _, keys, err = r.wrappedKeys(ctx, tenant); err != nil {
			return time.Time{}, fmt.Errorf("keyring: rotate look-up key of %s: %w", tenant, err)
		}
	}
	return keys[len(keys)-1].createdAt.Add(announce), nil
}

// EndLookupRotation forgets the old look-up key: what is still stored under
// its hashes is not found any more. With no rotation running it does nothing.
func (r *Ring) EndLookupRotation(ctx context.Context, tenant id.Tenant) error {
	_, keys, err := r.wrappedKeys(ctx, tenant)
	if err != nil {
		return fmt.Errorf("keyring: end rotation of look-up key of %s: %w", tenant, err)
	}
	if len(keys) < 2 {
		return nil
	}
	newest := keys[len(keys)-1]
	if ready := newest.createdAt.Add(announce); r.clock.Now().Before(ready) {
		return fmt.Errorf("keyring: the look-up key of %s is being rotated and other nodes may write under the old one until %s: rewrite after that, then end the rotation",
			tenant, ready.Format(time.RFC3339))
	}
	err = r.changeKeys(ctx, tenant, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(sqlDropLookupKeys, tenant, newest.generation)
		return err
	})
	if err != nil {
		return fmt.Errorf("keyring: end rotation of look-up key of %s: %w", tenant, err)
	}
	return nil
}

// changeKeys changes a tenant's keys so that every node notices.
func (r *Ring) changeKeys(ctx context.Context, tenant id.Tenant, change func(*sqldb.Tx) error) error {
	var version int64
	err := r.db.Write(ctx, func(tx *sqldb.Tx) error {
		if err := change(tx); err != nil {
			return err
		}
		return tx.QueryRow(sqlBumpVersion).Scan(&version)
	})
	if err != nil {
		return err
	}
	raise(&r.version, version)
	if t, ok := r.tenants.GetIfPresent(tenant); ok {
		return t.refresh(ctx, version)
	}
	return nil
}
