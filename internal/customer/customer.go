// Package customer owns the directory: the people who hold an account, the
// identifiers that find them and their profiles.
//
// What a customer's status lets him do stands in status.go. Identifiers' values
// and profiles are sealed with the customer's own key; an identifier finds a
// customer by its keyed hash, and only while it is verified: the holder row
// belongs to the customer who proved the address, unverified ones live with
// the customer, find nobody and are in nobody's way (DESIGN.md, rule 6).
//
// A customer has two counters. The version orders the customer's events and is
// bumped by every transaction that appends one; the revision is what editors
// of the record compare. The security epoch rises with every change of what
// lets the customer in or keeps him out: proofs, sessions and device cookies
// from an older epoch are void.
package customer

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables that this package owns.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "customer", FS: migrations}
}

var (
	// ErrNotFound says that the tenant has no such customer.
	ErrNotFound = errors.New("the tenant has no such customer")
	// ErrTaken says that a verified identifier belongs to another customer.
	ErrTaken = errors.New("the identifier belongs to another customer")
	// ErrChanged says that the customer was changed since he was read.
	ErrChanged = errors.New("the customer was changed by somebody else since he was read; read him again")
	// ErrErased says that the customer was erased.
	ErrErased = errors.New("the customer was erased")
	// ErrNotAllowed says that the customer's status does not take this change.
	ErrNotAllowed = errors.New("the customer's status does not allow this")
)

// Customer is one account with all that is known of it.
type Customer struct {
	ID          id.Customer
	Tenant      id.Tenant
	Status      Status
	Reason      string    // why the status is what it is, in the operator's words
	StatusAt    time.Time // since when he has it; zero for an account older than the note of it
	Until       time.Time // when it ends by itself, zero for never
	Version     int64
	Revision    int64
	Epoch       int64
	Profile     map[string]any // by claim name, as the tenant's schema declares
	Identifiers []Identifier   // oldest first
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// MaxIdentifiers is how many identifiers a customer has at most.
const MaxIdentifiers = 20

// Identifier is one address of a customer.
type Identifier struct {
	ID         id.Identifier
	Kind       identifier.Kind
	Key        string // normalised
	Display    string // as it was typed
	Verified   bool
	VerifiedAt time.Time
	CreatedAt  time.Time
	// Undeliverable is why messages to it come back, "" while none do, and
	// UndeliverableAt when that was reported.
	Undeliverable   string
	UndeliverableAt time.Time
}

// Primary returns the customer's address of a kind that messages go to: the
// oldest verified one, else the oldest.
func (c *Customer) Primary(kind identifier.Kind) (Identifier, bool) {
	var first *Identifier
	for i := range c.Identifiers {
		it := &c.Identifiers[i]
		if it.Kind != kind {
			continue
		}
		if it.Verified {
			return *it, true
		}
		if first == nil {
			first = it
		}
	}
	if first == nil {
		return Identifier{}, false
	}
	return *first, true
}

// Options are what a Directory works with.
type Options struct {
	DB     *sqldb.DB
	Ring   *keyring.Ring
	Log    *event.Log
	Clock  clock.Clock
	Random io.Reader
	// Tenant reads what a tenant's settings say of the life of accounts; nil takes
	// the defaults.
	Tenant func(context.Context, id.Tenant) (*tenant.Tenant, error)
	// Shut ends, as part of tx, what a customer holds who may use none of it any
	// more: sessions, with what hangs on them, and links under way. It says how
	// many sessions there were.
	Shut func(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, actor string) (int, error)
	// Spare refuses, as part of tx, that a customer who is active stops being so
	// by somebody's doing, with an error that is ErrSpared; nil refuses nothing.
	// Before an erasure, whose rows follow in a transaction of their own, it takes
	// from the customer at once what others could not do without: of many who are
	// erased at the same time, the last is spared.
	Spare func(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, erasing bool) error
	// Notice makes ready what a customer is told, and returns what puts it into
	// the outbox; nil tells nobody.
	Notice func(context.Context, Notice) (func(*sqldb.Tx) error, error)
	// Seen reads with a batch when a customer was last seen by those who note it,
	// zero for never. What it returns is called after the batch has run.
	Seen func(*sqldb.Batch, id.Tenant, id.Customer) func() time.Time
	// HandleEraser deletes what is kept under the hash of an identifier of somebody
	// who is erased: messages that wait, and what somebody else was sent where held
	// says that the identifier was the customer's. It may be nil.
	HandleEraser func(tx *sqldb.Tx, tenant id.Tenant, handle []byte, held bool)
	// Erasers delete what the other capabilities keep of a customer. They join
	// the transaction that erases him and may be run again.
	Erasers []func(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error
}

// Directory reads and changes customers.
type Directory struct{ Options }

// New returns the directory.
func New(o Options) *Directory { return &Directory{Options: o} }

// NewCustomer describes an account to be made.
type NewCustomer struct {
	Tenant      id.Tenant
	Customer    id.Customer // minted before, so that its key could be made
	Identifiers []NewIdentifier
	Profile     map[string]any
	Actor       string // who made it: the customer himself when empty
	// Lifecycle is the tenant's, which says when rules look at the account.
	Lifecycle tenant.Lifecycle
	// Invite makes a customer who is invited at his addresses, which are not
	// verified. Invited is what the invitation is sent by.
	Invite  bool
	Invited func(*sqldb.Tx) error
}

// NewIdentifier is an address of an account to be made.
type NewIdentifier struct {
	identifier.Normalised
	Verified   bool
	VerifiedAt time.Time // when it was proved; zero means by the transaction that makes it
}

// Create makes an account as part of tx. When a verified identifier belongs to
// somebody else it returns ErrTaken, and the transaction must be given up.
func (d *Directory) Create(tx *sqldb.Tx, keys *keyring.Tenant, key *keyring.Customer, n NewCustomer) error {
	profile, err := sealProfile(key, n.Tenant, n.Customer, n.Profile)
	if err != nil {
		return err
	}
	status, until, due := Active, time.Time{}, dormancyDue(n.Lifecycle, tx.Now())
	if n.Invite {
		status, until = Invited, tx.Now().Add(n.Lifecycle.InvitedFor.D())
		due = until.Add(eraseGrace)
	}
	made, err := tx.Exec(`INSERT INTO customer (tenant, customer, status, reason, version, revision, epoch, profile, status_at, until_at, due_at, seen_at, created_at, updated_at)
		VALUES ($1, $2, $3, '', 0, 1, 1, $4, $5, $6, $7, $5, $5, $5) ON CONFLICT DO NOTHING`, n.Tenant, n.Customer, status, profile, tx.Now(), until, due)
	if err != nil {
		return fmt.Errorf("insert the customer: %w", err)
	}
	if made == 0 {
		return ErrTaken // the minted id was used: this sign-up has been finished before
	}
	if err := searchByProfile(tx, keys, n.Tenant, n.Customer, n.Profile); err != nil {
		return err
	}
	kinds := make([]string, 0, len(n.Identifiers))
	values := make([]map[string]string, 0, len(n.Identifiers))
	for _, it := range n.Identifiers {
		if n.Invite && it.Verified {
			return fmt.Errorf("%w: what an invitation is to prove is proved already", ErrNotAllowed)
		}
		if _, err := d.insertIdentifier(tx, keys, key, n.Tenant, n.Customer, it); err != nil {
			return err
		}
		if n.Invite {
			if err := invite(tx, keys, n.Tenant, n.Customer, it.Normalised); err != nil {
				return err
			}
		}
		kinds = append(kinds, string(it.Kind))
		values = append(values, map[string]string{"kind": string(it.Kind), "value": it.Display})
	}
	actor := n.Actor
	if actor == "" {
		actor = string(n.Customer)
	}
	err = d.Log.Append(tx, event.Event{Tenant: n.Tenant, Customer: n.Customer, Type: "customer.created", Actor: actor,
		Data: map[string]any{"identifiers": kinds, "status": status}, Personal: map[string]any{"identifiers": values}, Sealer: key})
	if err != nil || !n.Invite {
		return err
	}
	if n.Invited != nil {
		if err := n.Invited(tx); err != nil {
			return err
		}
	}
	return d.Log.Append(tx, event.Event{Tenant: n.Tenant, Customer: n.Customer, Type: "customer.invited", Actor: actor, Data: map[string]any{"until": until}})
}

func (d *Directory) insertIdentifier(tx *sqldb.Tx, keys *keyring.Tenant, key *keyring.Customer, tenant id.Tenant, customer id.Customer, n NewIdentifier) (id.Identifier, error) {
	lookup, also := hashes(keys, n.Normalised)
	made := id.New[id.Identifier](tx.Now(), d.Random)
	value, err := sealValue(key, tenant, customer, made, n.Normalised)
	if err != nil {
		return "", err
	}
	verifiedAt := time.Time{}
	if n.Verified {
		if verifiedAt = n.VerifiedAt; verifiedAt.IsZero() {
			verifiedAt = tx.Now()
		}
		if err := hold(tx, keys, tenant, customer, made, n.Normalised); err != nil {
			return "", err
		}
	}
	if n.Verified {
		if err := searchByIdentifier(tx, keys, tenant, customer, made, n.Normalised); err != nil {
			return "", err
		}
	}
	inserted, err := tx.Exec(`INSERT INTO customer_identifier (tenant, customer, identifier, kind, lookup, also, value, verified, verified_at, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
		tenant, customer, made, n.Kind, lookup, also, value, n.Verified, verifiedAt, tx.Now())
	if err != nil {
		return "", fmt.Errorf("insert the identifier: %w", err)
	}
	if inserted == 0 {
		return "", ErrTaken // the customer has it already
	}
	return made, nil
}

// hashes are what an identifier is looked up by: one hash, and another one
// while the tenant's look-up key is being replaced.
func hashes(keys *keyring.Tenant, n identifier.Normalised) (lookup, also []byte) {
	all := keys.Lookup(string(n.Kind), n.Key)
	if len(all) > 1 {
		also = all[1]
	}
	return all[0], also
}

// has returns the identifier of a customer that is the given address.
func has(tx *sqldb.Tx, keys *keyring.Tenant, tenant id.Tenant, customer id.Customer, n identifier.Normalised) (it id.Identifier, verified bool, err error) {
	for _, lookup := range keys.Lookup(string(n.Kind), n.Key) {
		err = tx.QueryRow(`SELECT identifier, verified FROM customer_identifier WHERE tenant = $1 AND customer = $2 AND kind = $3 AND lookup = $4`,
			tenant, customer, n.Kind, lookup).Scan(&it, &verified)
		if err == nil {
			return it, verified, nil
		}
		if !errors.Is(err, sqldb.ErrNoRows) {
			return "", false, fmt.Errorf("look for the customer's identifier: %w", err)
		}
	}
	return "", false, ErrNotFound
}

// hold gives a verified identifier to a customer: what must be unique is
// claimed under every hash that it may be looked for by. What he holds already
// stays his.
func hold(tx *sqldb.Tx, keys *keyring.Tenant, tenant id.Tenant, customer id.Customer, it id.Identifier, n identifier.Normalised) error {
	for _, lookup := range keys.Lookup(string(n.Kind), n.Key) {
		held, err := tx.Exec(`INSERT INTO identifier_holder (tenant, kind, lookup, customer, identifier) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			tenant, n.Kind, lookup, customer, it)
		if err != nil {
			return fmt.Errorf("hold the identifier: %w", err)
		}
		if held == 1 {
			continue
		}
		var holder id.Customer
		err = tx.QueryRow(`SELECT customer FROM identifier_holder WHERE tenant = $1 AND kind = $2 AND lookup = $3`, tenant, n.Kind, lookup).Scan(&holder)
		if err != nil && !errors.Is(err, sqldb.ErrNoRows) {
			return fmt.Errorf("look for the identifier's holder: %w", err)
		}
		if holder != customer {
			return ErrTaken
		}
	}
	return nil
}

// letGo takes an identifier from its holder, under the hashes that its row
// tells of.
func letGo(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, kind identifier.Kind, lookup, also []byte) {
	for _, hash := range [][]byte{lookup, also} {
		if hash != nil {
			tx.Queue(`DELETE FROM identifier_holder WHERE tenant = $1 AND kind = $2 AND lookup = $3 AND customer = $4`, tenant, kind, hash, customer)
		}
	}
}

// Find returns the customer who has proved that an identifier is his. Only
// what is verified finds anybody.
func (d *Directory) Find(ctx context.Context, tenant id.Tenant, keys *keyring.Tenant, n identifier.Normalised) (id.Customer, bool, error) {
	for _, lookup := range keys.Lookup(string(n.Kind), n.Key) {
		var holder id.Customer
		err := d.DB.QueryRow(ctx, `SELECT customer FROM identifier_holder WHERE tenant = $1 AND kind = $2 AND lookup = $3`, tenant, n.Kind, lookup).Scan(&holder)
		if err == nil {
			return holder, true, nil
		}
		if !errors.Is(err, sqldb.ErrNoRows) {
			return "", false, fmt.Errorf("find the customer: %w", err)
		}
	}
	return "", false, nil
}

// Get returns a customer. It returns ErrErased for one who was erased.
func (d *Directory) Get(ctx context.Context, tenant id.Tenant, customer id.Customer) (*Customer, error) {
	batch := d.DB.Batch()
	sealed := queueCustomer(batch, tenant, customer)
	if err := batch.Run(ctx); err != nil {
		return nil, fmt.Errorf("read the customer: %w", err)
	}
	return sealed.open(ctx, d)
}

// Key returns the key of a customer, or ErrErased when it was destroyed.
func (d *Directory) Key(ctx context.Context, tenant id.Tenant, customer id.Customer) (*keyring.Customer, error) {
	key, err := d.Ring.Customer(ctx, tenant, customer)
	if errors.Is(err, keyring.ErrErased) {
		return nil, ErrErased
	}
	if err != nil {
		return nil, fmt.Errorf("read the customer's key: %w", err)
	}
	return key, nil
}

// SetProfile replaces a customer's profile as part of tx. The revision is the
// one that the caller has read.
func (d *Directory) SetProfile(tx *sqldb.Tx, keys *keyring.Tenant, key *keyring.Customer, tenant id.Tenant, customer id.Customer, revision int64, profile map[string]any, actor string) error {
	sealed, err := sealProfile(key, tenant, customer, profile)
	if err != nil {
		return err
	}
	changed, err := tx.Exec(`UPDATE customer SET profile = $4, revision = revision + 1, updated_at = $5
		WHERE tenant = $1 AND customer = $2 AND revision = $3 AND status <> 'erased'`, tenant, customer, revision, sealed, tx.Now())
	if err != nil {
		return fmt.Errorf("store the profile: %w", err)
	}
	if changed == 0 {
		return ErrChanged
	}
	unsearchBy(tx, tenant, customer, profileSource)
	if err := searchByProfile(tx, keys, tenant, customer, profile); err != nil {
		return err
	}
	names := make([]string, 0, len(profile))
	for name := range profile {
		names = append(names, name)
	}
	slices.Sort(names)
	return d.Log.Append(tx, event.Event{Tenant: tenant, Customer: customer, Type: "customer.profile.changed", Actor: actor,
		Data: map[string]any{"attributes": names}, Personal: profile, Sealer: key})
}

// AddIdentifier gives a customer an address as part of tx. A verified one must
// have no holder, else ErrTaken; an unverified one finds nobody until
// VerifyIdentifier.
func (d *Directory) AddIdentifier(tx *sqldb.Tx, keys *keyring.Tenant, key *keyring.Customer, tenant id.Tenant, customer id.Customer, n NewIdentifier, actor string) (id.Identifier, error) {
	if err := d.holdUnerased(tx, tenant, customer); err != nil {
		return "", err
	}
	if _, _, err := has(tx, keys, tenant, customer, n.Normalised); !errors.Is(err, ErrNotFound) {
		if err == nil {
			err = ErrTaken // the customer has it already
		}
		return "", err
	}
	made, err := d.insertIdentifier(tx, keys, key, tenant, customer, n)
	if err != nil {
		return "", err
	}
	if err := d.identifiersChanged(tx, tenant, customer, n.Verified); err != nil {
		return "", err
	}
	return made, d.Log.Append(tx, event.Event{Tenant: tenant, Customer: customer, Type: "customer.identifier.added", Actor: actor,
		Data: map[string]any{"identifier": made, "kind": n.Kind, "verified": n.Verified}, Personal: map[string]string{"value": n.Display}, Sealer: key})
}

// VerifyIdentifier records that the customer has proved an address that he has,
// given as it is normalised so that a proof of one never verifies another. The
// address must have no other holder, else ErrTaken. To prove again what is
// proved changes nothing.
func (d *Directory) VerifyIdentifier(tx *sqldb.Tx, keys *keyring.Tenant, tenant id.Tenant, customer id.Customer, n identifier.Normalised, actor string) error {
	if err := d.holdUnerased(tx, tenant, customer); err != nil {
		return err
	}
	it, verified, err := has(tx, keys, tenant, customer, n)
	if err != nil {
		return err
	}
	if err := hold(tx, keys, tenant, customer, it, n); err != nil {
		return err
	}
	lookup, also := hashes(keys, n)
	if verified {
		tx.Queue(`UPDATE customer_identifier SET lookup = $4, also = $5 WHERE tenant = $1 AND customer = $2 AND identifier = $3`,
			tenant, customer, it, lookup, also)
		return d.MarkDelivered(tx, keys, tenant, customer, n, actor)
	}
	tx.Queue(`UPDATE customer_identifier SET lookup = $4, also = $5, verified = $6, verified_at = $7 WHERE tenant = $1 AND customer = $2 AND identifier = $3`,
		tenant, customer, it, lookup, also, true, tx.Now())
	if err := d.identifiersChanged(tx, tenant, customer, true); err != nil {
		return err
	}
	if err := searchByIdentifier(tx, keys, tenant, customer, it, n); err != nil {
		return err
	}
	return d.Log.Append(tx, event.Event{Tenant: tenant, Customer: customer, Type: "customer.identifier.verified", Actor: actor,
		Data: map[string]any{"identifier": it, "kind": n.Kind}})
}

// RemoveIdentifier takes an address from a customer as part of tx.
func (d *Directory) RemoveIdentifier(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, it id.Identifier, actor string) error {
	var kind identifier.Kind
	var lookup, also []byte
	var verified bool
	err := tx.QueryRow(`DELETE FROM customer_identifier WHERE tenant = $1 AND customer = $2 AND identifier = $3 RETURNING kind, lookup, also, verified`,
		tenant, customer, it).Scan(&kind, &lookup, &also, &verified)
	if errors.Is(err, sqldb.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("remove the identifier: %w", err)
	}
	letGo(tx, tenant, customer, kind, lookup, also)
	uninvite(tx, tenant, customer, kind, lookup, also)
	if err := d.identifiersChanged(tx, tenant, customer, verified); err != nil {
		return err
	}
	unsearchBy(tx, tenant, customer, string(it)) // behind what holds the customer
	return d.Log.Append(tx, event.Event{Tenant: tenant, Customer: customer, Type: "customer.identifier.removed", Actor: actor,
		Data: map[string]any{"identifier": it, "kind": kind}})
}

// identifiersChanged counts a change of a customer's addresses. One that lets
// the customer in, or no longer does, raises the security epoch.
func (d *Directory) identifiersChanged(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, security bool) error {
	rise := 0
	if security {
		rise = 1
	}
	tx.Queue(`UPDATE customer SET revision = revision + 1, epoch = epoch + $3, updated_at = $4 WHERE tenant = $1 AND customer = $2`,
		tenant, customer, rise, tx.Now())
	held(tx, tenant, customer).Epoch += int64(rise)
	return nil
}
