// Package session owns the authenticated presence of customers in browsers and
// on devices, and the cookies that carry it.
//
// A session is a row of its customer. Its cookie holds the customer, the
// session and a secret of 256 bits, sealed with the tenant's key: looking one
// up touches one shard, and one tenant's cookie is nothing at another. The row
// has the secret's SHA-256, so that neither the database nor the key alone
// makes a cookie.
//
// A session is dead when it has run out, idle or in all; when it was ended;
// when its customer's status does not let him use it; and when its customer's
// security epoch has risen since it was begun or renewed. Whoever changes what
// lets a customer in raises the epoch and, in the same transaction, may Renew
// the one session that did it. Lifetimes are read against the tenant's present
// settings too, so that a shortened one holds for sessions that are under way.
//
// Documented limits (OWASP ASVS 7.1): the lifetimes are the tenant's settings,
// by default one hour idle and 24 hours in all, with "stay signed in" 30 and 90
// days; proving oneself again begins the time in all anew. Being seen is
// recorded every five minutes at most, which is how much too early a session
// may run out idle. A customer may have any number of sessions at a time, and
// can list and end each.
//
// The package also keeps the device cookie, by which a customer's own browser
// is known before he has signed in. It does not know how a customer proves
// himself, nor what sessions are for; whatever must end with a session is told
// through Options.Ended.
package session

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables that this package owns.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "session", FS: migrations}
}

// ErrNone says that there is no live session: the cookie is missing, forged,
// another tenant's or old, or the session has run out or was ended. Nobody is
// told which.
var ErrNone = errors.New("there is no live session")

// Session is one customer's presence in one browser or on one device.
type Session struct {
	ID              id.Session
	Tenant          id.Tenant
	Customer        id.Customer
	Device          id.Device
	CreatedAt       time.Time
	AuthenticatedAt time.Time // when the customer last proved himself: auth_time
	LastSeenAt      time.Time // exact to the interval of Touch
	IdleUntil       time.Time // by the stored and by the present settings, whichever is earlier
	AbsoluteUntil   time.Time // likewise
	Methods         []string  // amr (RFC 8176)
	ACR             string
	Epoch           int64 // the customer's security epoch that it was begun or renewed under
	Stay            bool  // "stay signed in"
	Agent           Agent // filled in by List only: it is sealed with the customer's key

	secretHash []byte // as stored when it was read
}

// Fresh tells whether the session satisfies an application that asks for more
// than a live one: that the customer proved himself within maxAge, and was
// seen within idle. 0 asks for nothing.
func (x *Session) Fresh(now time.Time, idle, maxAge time.Duration) bool {
	return (maxAge <= 0 || now.Sub(x.AuthenticatedAt) <= maxAge) && (idle <= 0 || now.Sub(x.LastSeenAt) <= idle)
}

// Holder is what a session needs to know of its customer.
type Holder struct {
	Allowed bool  // there is such a customer, and his status lets him use sessions
	Epoch   int64 // his security epoch
}

// Ended tells what must end with sessions that have been ended.
type Ended struct {
	Tenant     id.Tenant
	Customer   id.Customer
	Sessions   []id.Session // those that were there
	Everywhere bool         // all of the customer's presence ends, what outlived its session too
	Except     id.Session   // with Everywhere: the one that stays
	Reason     Reason
	Actor      string
}

// Reason is why a session was ended.
type Reason string

const (
	SignedOut Reason = "signed_out" // the customer signed out, in that browser
	Revoked   Reason = "revoked"    // the customer or an operator ended it from elsewhere
	Replaced  Reason = "replaced"   // another sign-in took its place in its browser
	Secured   Reason = "secured"    // the account was locked or got new credentials
)

// Options are what Sessions work with. All but Ended and Seen are required.
type Options struct {
	DB     *sqldb.DB
	Ring   *keyring.Ring
	Log    *event.Log
	Clock  clock.Clock
	Random io.Reader
	// Customer reads a customer's state with a batch. What it returns is called
	// after the batch has run.
	Customer func(*sqldb.Batch, id.Tenant, id.Customer) func() Holder
	// Ended joins the transaction in which sessions are ended.
	Ended func(*sqldb.Tx, Ended) error
	// Seen joins the transaction in which a session goes, with when its customer
	// was last seen in it; nil tells nobody.
	Seen func(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, at time.Time)
}

// Sessions begins, reads and ends sessions. It is safe for concurrent use.
type Sessions struct{ Options }

// New returns the sessions over a database that holds Migrations.
func New(o Options) *Sessions { return &Sessions{o} }

// lifetimes are the idle and absolute lifetimes by the tenant's settings. A
// session that was to stay no longer does where the tenant offers it no more.
func lifetimes(set tenant.Session, stay bool) (idle, absolute time.Duration) {
	if stay && set.OfferStay {
		return set.StayIdle.D(), set.StayAbsolute.D()
	}
	return set.Idle.D(), set.Absolute.D()
}

// bound shortens the session's times to the tenant's present settings.
func (x *Session) bound(set tenant.Session) {
	idle, absolute := lifetimes(set, x.Stay)
	x.AbsoluteUntil = earlier(x.AbsoluteUntil, x.AuthenticatedAt.Add(absolute))
	x.IdleUntil = earlier(earlier(x.IdleUntil, x.LastSeenAt.Add(idle)), x.AbsoluteUntil)
}

// live tells whether the session may be used at now by a customer in the
// state of holder.
func (x *Session) live(now time.Time, holder Holder) bool {
	return now.Before(x.IdleUntil) && now.Before(x.AbsoluteUntil) && holder.Allowed && x.Epoch >= holder.Epoch
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Sweep deletes up to limit sessions that have run out in all and says how
// many there were. It is called again while it deletes as many as it may.
func (s *Sessions) Sweep(ctx context.Context, limit int) (int, error) {
	swept := 0
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		rows, err := tx.Query(`DELETE FROM session WHERE (tenant, customer, session) IN (
			SELECT tenant, customer, session FROM session WHERE absolute_until <= $1 ORDER BY absolute_until LIMIT $2)
			RETURNING tenant, customer, last_seen_at`, tx.Now(), limit)
		if err != nil {
			return err
		}
		swept, err = s.seenLast(tx, rows)
		return err
	})
	return swept, err
}

// seenLast tells, of sessions that have gone, when their customers were seen in
// them, and how many there were.
func (s *Sessions) seenLast(tx *sqldb.Tx, rows *sqldb.Rows) (int, error) {
	type holder struct {
		tenant   id.Tenant
		customer id.Customer
	}
	n, seen := 0, map[holder]time.Time{}
	for rows.Next() {
		var h holder
		var at time.Time
		if err := rows.Scan(&h.tenant, &h.customer, &at); err != nil {
			return 0, fmt.Errorf("read the sessions that go: %w", err)
		}
		n++
		if at.After(seen[h]) {
			seen[h] = at
		}
	}
	if err := rows.Err(); err != nil || s.Seen == nil {
		return n, err
	}
	// In one order on every node, so that two of them do not wait for each other.
	for _, h := range slices.SortedFunc(maps.Keys(seen), func(a, b holder) int {
		return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.customer, b.customer))
	}) {
		s.Seen(tx, h.tenant, h.customer, seen[h])
	}
	return n, nil
}

// QueueSeen reads with batch when a customer was last seen in a session that is
// there, zero for in none.
func (s *Sessions) QueueSeen(batch *sqldb.Batch, tenant id.Tenant, customer id.Customer) *time.Time {
	seen := &time.Time{}
	batch.QueueRow(`SELECT COALESCE(MAX(last_seen_at), 0) FROM session WHERE tenant = $1 AND customer = $2`, []any{tenant, customer}, seen)
	return seen
}

// EraseCustomer deletes what the package keeps of a customer.
func (s *Sessions) EraseCustomer(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error {
	_, err := tx.Exec(`DELETE FROM session WHERE tenant = $1 AND customer = $2`, tenant, customer)
	return err
}
