package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

const selectSession = `SELECT session, secret_hash, device, epoch, methods, acr, stay,
	created_at, authenticated_at, last_seen_at, idle_until, absolute_until FROM session `

// columns are the destinations of selectSession.
func (x *Session) columns(methods *string) []any {
	return []any{&x.ID, &x.secretHash, &x.Device, &x.Epoch, methods, &x.ACR, &x.Stay,
		&x.CreatedAt, &x.AuthenticatedAt, &x.LastSeenAt, &x.IdleUntil, &x.AbsoluteUntil}
}

// Alive is what QueueAlive has read, once its batch has run.
type Alive struct {
	// Session is nil where there is none: it never was, was ended, or ran out
	// and was swept.
	Session *Session

	sessions *Sessions
	tenant   *tenant.Tenant
	holder   func() Holder
}

// Live tells whether the session may be used now.
func (a *Alive) Live() bool {
	return a.Session != nil && !a.tenant.Suspended && a.Session.live(a.sessions.Clock.Now(), a.Holder())
}

// Holder is the state of the customer.
func (a *Alive) Holder() Holder { return a.holder() }

// Touch records as part of tx that the session was seen, when it was not
// recorded lately. It is for those who have read the session with QueueAlive
// and write anyway.
func (a *Alive) Touch(tx *sqldb.Tx) {
	if a.Session != nil && due(a.tenant, a.Session, tx.Now()) {
		touch(tx, a.tenant, a.Session)
	}
}

// QueueAlive reads a session and its customer's state with batch, for those
// who know the session by its id and not by its cookie.
func (s *Sessions) QueueAlive(batch *sqldb.Batch, t *tenant.Tenant, customer id.Customer, session id.Session) *Alive {
	alive := &Alive{sessions: s, tenant: t, holder: s.Customer(batch, t.ID, customer)}
	batch.Queue(selectSession+`WHERE tenant = $1 AND customer = $2 AND session = $3`, []any{t.ID, customer, session}, func(row sqldb.Scanner) error {
		x := &Session{Tenant: t.ID, Customer: customer}
		var methods string
		if err := row.Scan(x.columns(&methods)...); err != nil {
			return fmt.Errorf("read the session: %w", err)
		}
		x.Methods = strings.Fields(methods)
		x.bound(t.Settings.Session)
		alive.Session = x
		return nil
	})
	return alive
}

// Read returns the live session of a cookie, or ErrNone. Any other error is a
// fault of storage, and says nothing of the cookie. It writes nothing and takes
// one batch of two reads.
func (s *Sessions) Read(ctx context.Context, t *tenant.Tenant, cookie string) (*Session, error) {
	if cookie == "" || t.Suspended {
		return nil, ErrNone
	}
	keys, err := s.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return nil, fmt.Errorf("the tenant's keys: %w", err)
	}
	h, ok := openHandle(keys, cookie)
	if !ok {
		return nil, ErrNone
	}
	batch := s.DB.Batch()
	alive := s.QueueAlive(batch, t, h.customer, h.session)
	if err := batch.Run(ctx); err != nil {
		return nil, fmt.Errorf("read the session: %w", err)
	}
	if !alive.Live() || !h.proves(alive.Session.secretHash) {
		return nil, ErrNone
	}
	return alive.Session, nil
}

// Persists tells as part of tx whether a session has not been ended. It says
// nothing of whether it has run out.
func (s *Sessions) Persists(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, session id.Session) (bool, error) {
	var one int64
	err := tx.QueryRow(`SELECT 1 FROM session WHERE tenant = $1 AND customer = $2 AND session = $3`, tenant, customer, session).Scan(&one)
	if errors.Is(err, sqldb.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Touch records that a session was seen, which prolongs it, unless that was
// recorded lately. It is no event.
func (s *Sessions) Touch(ctx context.Context, t *tenant.Tenant, x *Session) error {
	if !due(t, x, s.Clock.Now()) {
		return nil
	}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		touch(tx, t, x)
		return nil
	})
}

// due tells whether it is time to record that a session was seen. A lifetime
// so short that tenant.SeenEvery would end it is recorded four times in it.
func due(t *tenant.Tenant, x *Session, now time.Time) bool {
	idle, _ := lifetimes(t.Settings.Session, x.Stay)
	return now.Sub(x.LastSeenAt) >= min(tenant.SeenEvery, idle/4)
}

// touch prolongs a session unless another request has just done so, or it has
// run out.
func touch(tx *sqldb.Tx, t *tenant.Tenant, x *Session) {
	idle, _ := lifetimes(t.Settings.Session, x.Stay)
	now := tx.Now()
	tx.Queue(`UPDATE session SET last_seen_at = $4, idle_until = $5
		WHERE tenant = $1 AND customer = $2 AND session = $3 AND last_seen_at = $6 AND idle_until > $4`,
		x.Tenant, x.Customer, x.ID, now, earlier(now.Add(idle), x.AbsoluteUntil), x.LastSeenAt)
}
