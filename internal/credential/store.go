package credential

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are this package's tables.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "credential", FS: migrations}
}

// Key is a customer's data key: *keyring.Customer.
type Key interface {
	SealField(table, column, row string, plain []byte) ([]byte, error)
	OpenField(table, column, row string, sealed []byte) ([]byte, error)
}

// Appender takes the events of a change: *event.Log.
type Appender interface {
	Append(tx *sqldb.Tx, e event.Event) error
}

// Change says whose password is changed, and by whom.
type Change struct {
	Tenant   id.Tenant
	Customer id.Customer
	Actor    string     // as in event.Event
	Request  id.Request // may be ""
}

// Passwords is where the hashes of passwords are kept, one for a customer. It
// is safe for concurrent use.
type Passwords struct {
	db     *sqldb.DB
	events Appender
	random io.Reader
}

// NewPasswords makes the store. Random must be safe for concurrent use.
func NewPasswords(db *sqldb.DB, events Appender, random io.Reader) *Passwords {
	return &Passwords{db: db, events: events, random: random}
}

const table, hashColumn = "credential_password", "hash"

// Stored is a customer's password as it is kept. The zero value means that
// there is none.
type Stored struct {
	ID        id.Credential
	Params    string // the hash's cost: "m=19456,t=2,p=1"
	CreatedAt time.Time
	ChangedAt time.Time

	customer id.Customer
	sealed   []byte
}

// Exists tells whether the customer has a password.
func (s Stored) Exists() bool { return s.ID != "" }

// Hash opens the hash with the customer's key.
func (s Stored) Hash(key Key) (Hash, error) {
	plain, err := key.OpenField(table, hashColumn, string(s.customer), s.sealed)
	if err != nil {
		return "", fmt.Errorf("opening the password of %s: %w", s.customer, err)
	}
	return Hash(plain), nil
}

const sqlStored = `SELECT id, hash, params, created_at, changed_at FROM credential_password WHERE tenant = $1 AND customer = $2`

// Password returns a customer's password.
func (p *Passwords) Password(ctx context.Context, tenant id.Tenant, customer id.Customer) (s Stored, err error) {
	s.customer = customer
	err = p.db.QueryRow(ctx, sqlStored, tenant, customer).Scan(&s.ID, &s.sealed, &s.Params, &s.CreatedAt, &s.ChangedAt)
	if errors.Is(err, sqldb.ErrNoRows) {
		return Stored{}, nil
	}
	if err != nil {
		return Stored{}, fmt.Errorf("reading the password of %s: %w", customer, err)
	}
	return s, nil
}

// QueuePassword reads a customer's password into s with the other reads of the
// batch; s stays the zero value if there is none.
func (p *Passwords) QueuePassword(b *sqldb.Batch, tenant id.Tenant, customer id.Customer, s *Stored) {
	b.Queue(sqlStored, []any{tenant, customer}, func(row sqldb.Scanner) error {
		s.customer = customer
		return row.Scan(&s.ID, &s.sealed, &s.Params, &s.CreatedAt, &s.ChangedAt)
	})
}

const sqlSet = `INSERT INTO credential_password (tenant, customer, id, hash, params, changes, created_at, changed_at)
VALUES ($1, $2, $3, $4, $5, 1, $6, $6)
ON CONFLICT (tenant, customer) DO UPDATE SET hash = excluded.hash, params = excluded.params,
    changes = credential_password.changes + 1, changed_at = excluded.changed_at
RETURNING id, changes`

// SetPassword gives a customer a password in place of the one there may be, and
// appends password.set or, if there was one, password.changed.
func (p *Passwords) SetPassword(tx *sqldb.Tx, key Key, c Change, hash Hash) (id.Credential, error) {
	made, err := parse(hash)
	if err != nil {
		return "", err
	}
	sealed, err := key.SealField(table, hashColumn, string(c.Customer), []byte(hash))
	if err != nil {
		return "", fmt.Errorf("sealing the password of %s: %w", c.Customer, err)
	}
	var credential id.Credential
	var changes int64
	err = tx.QueryRow(sqlSet, c.Tenant, c.Customer, id.New[id.Credential](tx.Now(), p.random), sealed, made.params.Label(), tx.Now()).
		Scan(&credential, &changes)
	if err != nil {
		return "", fmt.Errorf("setting the password of %s: %w", c.Customer, err)
	}
	what := "password.set"
	if changes > 1 {
		what = "password.changed"
	}
	return credential, p.append(tx, c, what, credential)
}

const sqlRehash = `UPDATE credential_password SET hash = $4, params = $5 WHERE tenant = $1 AND customer = $2 AND hash = $3`

// Rehash replaces a hash by one that was made anew from the same password. It
// does nothing and answers false if the password was changed, or rehashed by
// another, since old was read. It is maintenance and appends no event.
func (p *Passwords) Rehash(tx *sqldb.Tx, key Key, tenant id.Tenant, old Stored, hash Hash) (bool, error) {
	made, err := parse(hash)
	if err != nil {
		return false, err
	}
	sealed, err := key.SealField(table, hashColumn, string(old.customer), []byte(hash))
	if err != nil {
		return false, fmt.Errorf("sealing the password of %s: %w", old.customer, err)
	}
	// What is sealed is never twice the same, so that it serves as a version.
	rows, err := tx.Exec(sqlRehash, tenant, old.customer, old.sealed, sealed, made.params.Label())
	if err != nil {
		return false, fmt.Errorf("rehashing the password of %s: %w", old.customer, err)
	}
	return rows == 1, nil
}

const sqlRemove = `DELETE FROM credential_password WHERE tenant = $1 AND customer = $2 RETURNING id`

// Remove takes a customer's password away and appends password.removed. It
// answers false, and appends nothing, if there is none.
func (p *Passwords) Remove(tx *sqldb.Tx, c Change) (bool, error) {
	var credential id.Credential
	err := tx.QueryRow(sqlRemove, c.Tenant, c.Customer).Scan(&credential)
	if errors.Is(err, sqldb.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("removing the password of %s: %w", c.Customer, err)
	}
	return true, p.append(tx, c, "password.removed", credential)
}

// Erase deletes what is kept of an erased customer. The erasure appends its own
// event.
func (p *Passwords) Erase(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error {
	_, err := tx.Exec(`DELETE FROM credential_password WHERE tenant = $1 AND customer = $2`, tenant, customer)
	if err != nil {
		return fmt.Errorf("erasing the password of %s: %w", customer, err)
	}
	return nil
}

func (p *Passwords) append(tx *sqldb.Tx, c Change, what string, credential id.Credential) error {
	return p.events.Append(tx, event.Event{
		Tenant: c.Tenant, Customer: c.Customer, Type: what, Actor: c.Actor, Request: c.Request,
		Data: map[string]string{"credential": string(credential)},
	})
}
