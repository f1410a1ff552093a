// Package idempotency lets a request that changes something be sent again
// without a second effect: its sender names it by a key, the first with that
// key goes through, and later ones are answered with what it was answered.
//
// The claim is a row of its own that is written before the request does
// anything, so that of many at once exactly one goes on. Where a node dies
// between the effect and the answer, nobody can know which there was: the key
// stays claimed until it expires, and the sender has to look.
//
// Answers may hold secrets that are told once; they are sealed with the
// tenant's key and kept for Life.
package idempotency

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables that this package owns.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "idempotency", FS: migrations}
}

// Life is how long a key is remembered.
const Life = 24 * time.Hour

// Outcome is what came of a claim.
type Outcome int

const (
	Claimed  Outcome = iota // go on, then Finish or Release
	Answered                // it was answered before
	Underway                // another with the key is under way, or was cut short
	Other                   // the key was used for another request
	Erased                  // it was answered before, of a customer who has been erased
)

// Keys remembers requests.
type Keys struct {
	DB    *sqldb.DB
	Ring  *keyring.Ring
	Clock clock.Clock
}

// Request is one request with a key.
type Request struct {
	Tenant  id.Tenant // whose key seals the answer: the system tenant
	Sender  string    // keys of different senders have nothing to do with each other
	Key     string
	Content []byte // all that makes it the same request
	// Customer is whom the answer tells of, "" for nobody, or not known before
	// there is one.
	Customer id.Customer
}

func (r Request) hash() []byte { return digest(r.Sender, r.Key) }

func digest(parts ...string) []byte {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return h.Sum(nil)
}

const table, column = "idempotency_key", "answer"

func (r Request) row() string { return base64.RawURLEncoding.EncodeToString(r.hash()) }

// Claim takes the key, or tells what has become of the one that took it.
func (k *Keys) Claim(ctx context.Context, r Request) (Outcome, []byte, error) {
	content := digest(string(r.Content))
	won := false
	err := k.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(`DELETE FROM idempotency_key WHERE tenant = $1 AND hash = $2 AND expires_at <= $3`, r.Tenant, r.hash(), tx.Now()); err != nil {
			return fmt.Errorf("forget an old key: %w", err)
		}
		made, err := tx.Exec(`INSERT INTO idempotency_key (tenant, hash, request, expires_at, customer) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			r.Tenant, r.hash(), content, tx.Now().Add(Life), r.customer())
		won = made > 0
		return err
	})
	if err != nil {
		return 0, nil, fmt.Errorf("claim the key: %w", err)
	}
	if won {
		return Claimed, nil, nil
	}
	var before, sealed []byte
	err = k.DB.QueryRow(ctx, `SELECT request, answer FROM idempotency_key WHERE tenant = $1 AND hash = $2`, r.Tenant, r.hash()).Scan(&before, &sealed)
	switch {
	case errors.Is(err, sqldb.ErrNoRows): // given back just now
		return Underway, nil, nil
	case err != nil:
		return 0, nil, fmt.Errorf("read the key: %w", err)
	case subtle.ConstantTimeCompare(before, content) != 1:
		return Other, nil, nil
	case len(sealed) == 0:
		return Underway, nil, nil
	case bytes.Equal(sealed, erased):
		return Erased, nil, nil
	}
	keys, err := k.Ring.Tenant(ctx, r.Tenant)
	if err != nil {
		return 0, nil, err
	}
	answer, err := keys.OpenField(table, column, r.row(), sealed)
	return Answered, answer, err
}

// Finish records what a claimed request was answered.
func (k *Keys) Finish(ctx context.Context, r Request, answer []byte) error {
	keys, err := k.Ring.Tenant(ctx, r.Tenant)
	if err != nil {
		return err
	}
	sealed, err := keys.SealField(table, column, r.row(), answer)
	if err != nil {
		return err
	}
	return k.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`UPDATE idempotency_key SET answer = $3, customer = $4 WHERE tenant = $1 AND hash = $2 AND answer IS NULL`, r.Tenant, r.hash(), sealed, r.customer())
		return err
	})
}

// EraseCustomer forgets, as part of tx, what was answered of a customer. The keys
// stay claimed, so that a request which comes again does not make anew what was
// erased.
func EraseCustomer(tx *sqldb.Tx, _ id.Tenant, customer id.Customer) error {
	tx.Queue(`UPDATE idempotency_key SET answer = $3 WHERE tenant = $1 AND customer = $2`, id.SystemTenant, customer, erased)
	return nil
}

// erased takes the place of an answer that is forgotten. Nothing sealed is as short.
var erased = []byte{0}

func (r Request) customer() any {
	if r.Customer == "" {
		return nil
	}
	return string(r.Customer)
}

// Release gives a key back whose request changed nothing.
func (k *Keys) Release(ctx context.Context, r Request) error {
	return k.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`DELETE FROM idempotency_key WHERE tenant = $1 AND hash = $2`, r.Tenant, r.hash())
		return err
	})
}

// Sweep forgets up to limit keys that have expired.
func (k *Keys) Sweep(ctx context.Context, limit int) (int, error) {
	var swept int64
	err := k.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		swept, err = tx.Exec(`DELETE FROM idempotency_key WHERE (tenant, hash) IN (
			SELECT tenant, hash FROM idempotency_key WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`, tx.Now(), limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("sweep keys: %w", err)
	}
	return int(swept), nil
}
