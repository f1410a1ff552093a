package signingkey

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/jose"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// insert stores a key unless its slot is taken, and says whether it did.
func (k *Keys) insert(tx *sqldb.Tx, tenant id.Tenant, alg jose.Alg, slot int64, state State, key fresh, actor string) (bool, error) {
	var active time.Time
	if state == Active {
		active = tx.Now()
	}
	made, err := tx.Exec(`INSERT INTO signing_key (tenant, kid, alg, slot, state, public, private, created_at, active_at, retired_at, gone_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0) ON CONFLICT DO NOTHING`,
		tenant, key.kid, alg, slot, state, string(key.public), key.private, tx.Now(), active)
	if err != nil || made == 0 {
		return false, err
	}
	return true, k.changed(tx, tenant, key.kid, alg, state, actor)
}

// changed tells of a key's new state, as part of tx.
func (k *Keys) changed(tx *sqldb.Tx, tenant id.Tenant, kid string, alg jose.Alg, state State, actor string) error {
	err := k.Log.Append(tx, event.Event{Tenant: tenant, Type: "signingkey." + string(state), Actor: actor,
		Data: map[string]any{"kid": kid, "alg": alg}})
	if err != nil {
		return err
	}
	_, err = k.Watch.Bump(tx, tenant, Kind, string(tenant))
	return err
}

// Ensure makes the tenant's first key for an algorithm, unless there is one.
// It does not wait until the key may sign.
func (k *Keys) Ensure(ctx context.Context, tenant id.Tenant, alg jose.Alg) error {
	k.making.Lock()
	defer k.making.Unlock()
	held, err := k.set(ctx, tenant)
	if err != nil {
		return err
	}
	if _, found := held.signers[alg]; found {
		return nil
	}
	made, err := k.make(ctx, tenant, alg)
	if err != nil {
		return err
	}
	err = k.DB.Write(ctx, func(tx *sqldb.Tx) error {
		// Where another node was first, its key is the one.
		_, err := k.insert(tx, tenant, alg, 1, Active, made, event.System)
		return err
	})
	if err != nil {
		return fmt.Errorf("store the first %s key: %w", alg, err)
	}
	if err := k.Watch.Poll(ctx); err != nil {
		return err
	}
	if held, err = k.set(ctx, tenant); err != nil {
		return err
	}
	if _, found := held.signers[alg]; !found {
		return fmt.Errorf("the tenant %s has %s keys, of which none is active", tenant, alg)
	}
	return nil
}

// Rotate makes and publishes the next key of an algorithm and returns its kid.
// Advance has it sign once all may know it. While a key is published and not
// active, its kid is returned and nothing is made.
func (k *Keys) Rotate(ctx context.Context, tenant id.Tenant, alg jose.Alg, actor string) (string, error) {
	if err := k.Ensure(ctx, tenant, alg); err != nil {
		return "", err
	}
	k.making.Lock()
	defer k.making.Unlock()
	made, err := k.make(ctx, tenant, alg)
	if err != nil {
		return "", err
	}
	var kid string
	err = k.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for range 10 { // each further round follows on another node's success
			// In one statement, so that both are of one moment: a key that another
			// node publishes after it takes the slot that is tried below.
			var last int64
			err := tx.QueryRow(`SELECT MAX(slot), MAX(CASE WHEN state = $3 THEN kid ELSE '' END) FROM signing_key
				WHERE tenant = $1 AND alg = $2`, tenant, alg, Published).Scan(&last, &kid)
			if err != nil || kid != "" {
				return err
			}
			kid = made.kid
			if inserted, err := k.insert(tx, tenant, alg, last+1, Published, made, actor); inserted || err != nil {
				return err
			}
		}
		return errors.New("others kept making keys")
	})
	if err != nil {
		return "", fmt.Errorf("publish the next %s key: %w", alg, err)
	}
	return kid, k.Watch.Poll(ctx)
}

// Advance moves keys whose time has come: published ones to active, which
// retires those before them, and retired ones to gone. Every node calls it now
// and then; that several do so at once does no harm.
func (k *Keys) Advance(ctx context.Context) error {
	now := k.Clock.Now()
	due, err := k.due(ctx, `SELECT tenant, kid, alg FROM signing_key WHERE state = $1 AND created_at <= $2 ORDER BY created_at LIMIT 100`, Published, now.Add(-publishedFor))
	if err != nil {
		return err
	}
	for _, key := range due {
		if err := k.DB.Write(ctx, func(tx *sqldb.Tx) error { return k.activate(tx, key) }); err != nil {
			return fmt.Errorf("activate the signing key %s: %w", key.kid, err)
		}
	}
	if due, err = k.due(ctx, `SELECT tenant, kid, alg FROM signing_key WHERE state = $1 AND retired_at <= $2 ORDER BY retired_at LIMIT 100`, Retired, now.Add(-RetiredFor)); err != nil {
		return err
	}
	for _, key := range due {
		if err := k.DB.Write(ctx, func(tx *sqldb.Tx) error { return k.remove(tx, key) }); err != nil {
			return fmt.Errorf("remove the signing key %s: %w", key.kid, err)
		}
	}
	return nil
}

type moving struct {
	tenant id.Tenant
	kid    string
	alg    jose.Alg
}

func (k *Keys) due(ctx context.Context, query string, state State, until time.Time) ([]moving, error) {
	rows, err := k.DB.Query(ctx, query, state, until)
	if err != nil {
		return nil, fmt.Errorf("look for signing keys to move: %w", err)
	}
	var due []moving
	for rows.Next() {
		var m moving
		if err := rows.Scan(&m.tenant, &m.kid, &m.alg); err != nil {
			return nil, fmt.Errorf("look for signing keys to move: %w", err)
		}
		due = append(due, m)
	}
	return due, rows.Err()
}

func (k *Keys) activate(tx *sqldb.Tx, key moving) error {
	activated, err := tx.Exec(`UPDATE signing_key SET state = $3, active_at = $4 WHERE tenant = $1 AND kid = $2 AND state = $5`,
		key.tenant, key.kid, Active, tx.Now(), Published)
	if err != nil || activated == 0 {
		return err
	}
	rows, err := tx.Query(`UPDATE signing_key SET state = $4, retired_at = $5, private = $6
		WHERE tenant = $1 AND alg = $2 AND kid <> $3 AND state = $7 RETURNING kid`,
		key.tenant, key.alg, key.kid, Retired, tx.Now(), []byte{}, Active)
	if err != nil {
		return err
	}
	for rows.Next() {
		var kid string
		if err := rows.Scan(&kid); err != nil {
			return err
		}
		if err := k.changed(tx, key.tenant, kid, key.alg, Retired, event.System); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return k.changed(tx, key.tenant, key.kid, key.alg, Active, event.System)
}

func (k *Keys) remove(tx *sqldb.Tx, key moving) error {
	removed, err := tx.Exec(`UPDATE signing_key SET state = $3, gone_at = $4 WHERE tenant = $1 AND kid = $2 AND state = $5`,
		key.tenant, key.kid, Gone, tx.Now(), Retired)
	if err != nil || removed == 0 {
		return err
	}
	return k.changed(tx, key.tenant, key.kid, key.alg, Gone, event.System)
}

// Info is what is known of a key.
type Info struct {
	KID       string
	Alg       jose.Alg
	State     State
	CreatedAt time.Time
	ActiveAt  time.Time // zero until it was active, and so on
	RetiredAt time.Time
	GoneAt    time.Time
}

// List returns up to limit keys of a tenant by the order of their kids, after
// the given one, gone ones too.
func (k *Keys) List(ctx context.Context, tenant id.Tenant, after string, limit int) ([]Info, error) {
	rows, err := k.DB.Query(ctx, `SELECT kid, alg, state, created_at, active_at, retired_at, gone_at FROM signing_key
		WHERE tenant = $1 AND kid > $2 ORDER BY kid LIMIT $3`, tenant, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the signing keys: %w", err)
	}
	var list []Info
	for rows.Next() {
		var i Info
		if err := rows.Scan(&i.KID, &i.Alg, &i.State, &i.CreatedAt, &i.ActiveAt, &i.RetiredAt, &i.GoneAt); err != nil {
			return nil, fmt.Errorf("read a signing key: %w", err)
		}
		list = append(list, i)
	}
	return list, rows.Err()
}
