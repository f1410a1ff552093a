package grant

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Reason is why a lineage or a grant ended.
type Reason string

const (
	Replay    Reason = "replay"     // its code was redeemed again
	Reuse     Reason = "reuse"      // a refresh token was used that had been replaced
	Revoked   Reason = "revoked"    // the application, the customer or an operator revoked it
	SignedOut Reason = "signed_out" // its session was ended
)

// OfflineAccess is the scope that lets a lineage outlive its session (OpenID
// Connect Core 1.0, section 11).
const OfflineAccess = "offline_access"

// lineage is a row, with the scopes of its grant.
type lineage struct {
	grant        id.Grant
	application  id.Application
	session      id.Session
	generation   int64
	scopes       []string // those of the lineage that the grant still has
	context      string
	offline      bool
	epoch        int64
	organization id.Organization
	startedAt    time.Time
	rotatedAt    time.Time
	idleUntil    time.Time
	untilAtMost  time.Time
	endedAt      time.Time
	granted      bool // its grant is there
	unasked      bool // its grant is a first-party application's, which the customer was not asked for
}

// queueLineage reads a lineage with batch; the answer is nil where there is
// none.
func queueLineage(batch *sqldb.Batch, tenant id.Tenant, customer id.Customer, lin id.Lineage) **lineage {
	found := new(*lineage)
	batch.Queue(`SELECT l.grant_id, l.application, l.session, l.generation, l.scopes, l.context, l.offline, l.epoch,
			l.started_at, l.rotated_at, l.idle_until, l.absolute_until, l.ended_at, COALESCE(g.grant_id, ''), COALESCE(g.scopes, ''),
			COALESCE(g.first_party, FALSE), l.organization
		FROM lineage l LEFT JOIN customer_grant g ON g.tenant = l.tenant AND g.customer = l.customer AND g.application = l.application
		WHERE l.tenant = $1 AND l.customer = $2 AND l.lineage = $3`, []any{tenant, customer, lin}, func(row sqldb.Scanner) error {
		l := &lineage{}
		var scopes, allowed string
		var present id.Grant
		err := row.Scan(&l.grant, &l.application, &l.session, &l.generation, &scopes, &l.context, &l.offline, &l.epoch,
			&l.startedAt, &l.rotatedAt, &l.idleUntil, &l.untilAtMost, &l.endedAt, &present, &allowed, &l.unasked, &l.organization)
		if err != nil {
			return fmt.Errorf("read the lineage: %w", err)
		}
		l.granted = present == l.grant
		l.scopes = intersect(strings.Fields(scopes), strings.Fields(allowed))
		*found = l
		return nil
	})
	return found
}

// alive tells whether tokens of the lineage are good. Whether the lineage may
// still be refreshed is another question.
func (l *lineage) alive(p Presence) bool {
	switch {
	case !l.endedAt.IsZero() || !l.granted || !p.Allowed:
		return false
	case p.Live:
		return true
	case !l.offline:
		return false
	}
	return l.epoch >= p.Epoch || (p.Found && p.Session >= p.Epoch)
}

// Ref names a lineage as tokens name it.
type Ref struct {
	Customer    id.Customer
	Application id.Application
	Session     id.Session
	Lineage     id.Lineage
}

// Alive is whether tokens of a lineage are good, and what they are good for.
type Alive struct {
	Active       bool
	Unasked      bool // the customer was not asked for the grant: it is good for an application of the tenant's own alone
	Grant        id.Grant
	Scopes       []string // those that the lineage has and the customer still allows
	Offline      bool
	Context      string
	Organization id.Organization // that the tokens are for, "" for none; membership is not looked at here
	Generation   int64
	StartedAt    time.Time
	RefreshEnd   time.Time // when it can no longer be refreshed
}

// QueueAlive reads with batch whether tokens that name a lineage are good. It
// adds a read of the lineage with its grant to those of Options.Presence. What
// it returns is called after the batch has run.
func (g *Grants) QueueAlive(batch *sqldb.Batch, t *tenant.Tenant, r Ref) func() Alive {
	found := queueLineage(batch, t.ID, r.Customer, r.Lineage)
	presence := g.Presence(batch, t, r.Customer, r.Session)
	return func() Alive {
		l := *found
		if l == nil || t.Suspended || l.session != r.Session || l.application != r.Application || !l.alive(presence()) {
			return Alive{}
		}
		return Alive{Active: true, Unasked: l.unasked, Grant: l.grant, Scopes: l.scopes, Offline: l.offline, Context: l.context,
			Organization: l.organization, Generation: l.generation, StartedAt: l.startedAt, RefreshEnd: earlier(l.idleUntil, l.untilAtMost)}
	}
}

// Alive is QueueAlive in a batch of its own.
func (g *Grants) Alive(ctx context.Context, t *tenant.Tenant, r Ref) (Alive, error) {
	batch := g.DB.Batch()
	alive := g.QueueAlive(batch, t, r)
	if err := batch.Run(ctx); err != nil {
		return Alive{}, fmt.Errorf("read the lineage: %w", err)
	}
	return alive(), nil
}

// End ends a lineage as part of tx and says whether it was under way.
func (g *Grants) End(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, lin id.Lineage, reason Reason, actor string) (bool, error) {
	var application id.Application
	rows, err := tx.Query(`UPDATE lineage SET ended_at = $4, end_reason = $5
		WHERE tenant = $1 AND customer = $2 AND lineage = $3 AND ended_at = 0 RETURNING application`,
		tenant, customer, lin, tx.Now(), reason)
	if err != nil {
		return false, fmt.Errorf("end the lineage: %w", err)
	}
	if !rows.Next() {
		return false, rows.Err()
	}
	if err := rows.Scan(&application); err != nil {
		return false, fmt.Errorf("end the lineage: %w", err)
	}
	return true, g.ended(tx, tenant, customer, lin, application, reason, actor)
}

func (g *Grants) ended(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, lin id.Lineage, application id.Application, reason Reason, actor string) error {
	return g.Log.Append(tx, event.Event{
		Tenant: tenant, Customer: customer, Type: "lineage.revoked", Actor: actor,
		Data: map[string]any{"lineage": lin, "application": application, "reason": reason},
	})
}

// Ending says which lineages end with their sessions.
type Ending struct {
	Tenant   id.Tenant
	Customer id.Customer
	Sessions []id.Session
	// KeepOffline spares lineages with offline_access: the customer has signed
	// out in one browser only.
	KeepOffline bool
	// Everywhere ends all of the customer's lineages but those of Except, also
	// those whose sessions are long gone, and whatever KeepOffline says.
	Everywhere bool
	Except     id.Session
	Actor      string
}

// EndWithSessions ends lineages as part of the transaction in which their
// sessions are ended.
func (g *Grants) EndWithSessions(tx *sqldb.Tx, e Ending) error {
	if e.Everywhere {
		e.KeepOffline = false
		return g.endWhere(tx, e, `session <> $6`, e.Except)
	}
	for _, session := range e.Sessions {
		if err := g.endWhere(tx, e, `session = $6`, session); err != nil {
			return err
		}
	}
	return nil
}

func (g *Grants) endWhere(tx *sqldb.Tx, e Ending, which string, session id.Session) error {
	rows, err := tx.Query(`UPDATE lineage SET ended_at = $3, end_reason = $4
		WHERE tenant = $1 AND customer = $2 AND ended_at = 0 AND absolute_until > $3 AND (offline = FALSE OR $5 = FALSE) AND `+which+`
		RETURNING lineage, application`, e.Tenant, e.Customer, tx.Now(), SignedOut, e.KeepOffline, session)
	if err != nil {
		return fmt.Errorf("end the lineages of sessions: %w", err)
	}
	for rows.Next() {
		var lin id.Lineage
		var application id.Application
		if err := rows.Scan(&lin, &application); err != nil {
			return fmt.Errorf("end the lineages of sessions: %w", err)
		}
		if err := g.ended(tx, e.Tenant, e.Customer, lin, application, SignedOut, e.Actor); err != nil {
			return err
		}
	}
	return rows.Err()
}

const refreshPurpose = "refresh"

const idLength = 30

// refreshToken is what a refresh token says: application, customer, session and
// lineage as they are spelled, 30 bytes each, and the generation, 8 bytes
// big-endian. All but lineage and generation are there so that everything the
// answer depends on can be read by key in one batch.
type refreshToken struct {
	Ref
	generation int64
}

func (r refreshToken) plain() []byte {
	plain := make([]byte, 0, 4*idLength+8)
	plain = append(plain, r.Application...)
	plain = append(plain, r.Customer...)
	plain = append(plain, r.Session...)
	plain = append(plain, r.Lineage...)
	return binary.BigEndian.AppendUint64(plain, uint64(r.generation))
}

func parseRefresh(plain []byte) (refreshToken, bool) {
	if len(plain) != 4*idLength+8 {
		return refreshToken{}, false
	}
	var r refreshToken
	var err [4]error
	r.Application, err[0] = id.Parse[id.Application](string(plain[:idLength]))
	r.Customer, err[1] = id.Parse[id.Customer](string(plain[idLength : 2*idLength]))
	r.Session, err[2] = id.Parse[id.Session](string(plain[2*idLength : 3*idLength]))
	r.Lineage, err[3] = id.Parse[id.Lineage](string(plain[3*idLength : 4*idLength]))
	r.generation = int64(binary.BigEndian.Uint64(plain[4*idLength:]))
	return r, err == [4]error{} && r.generation > 0
}

// sealRefresh spells a refresh token.
func (g *Grants) sealRefresh(ctx context.Context, tenant id.Tenant, r refreshToken) (string, error) {
	keys, err := g.Ring.Tenant(ctx, tenant)
	if err != nil {
		return "", fmt.Errorf("the tenant's keys: %w", err)
	}
	return keys.Seal(refreshPurpose, r.plain())
}

// ReadRefresh tells what a refresh token names, and of which generation it is.
// It is not ok when the token is not one of the tenant's. Nothing says that
// the lineage is alive, or the generation the present one: see Alive.
func (g *Grants) ReadRefresh(ctx context.Context, tenant id.Tenant, token string) (r Ref, generation int64, ok bool, err error) {
	read, ok, err := g.openRefresh(ctx, tenant, token)
	return read.Ref, read.generation, ok, err
}

func (g *Grants) openRefresh(ctx context.Context, tenant id.Tenant, token string) (refreshToken, bool, error) {
	keys, err := g.Ring.Tenant(ctx, tenant)
	if err != nil {
		return refreshToken{}, false, fmt.Errorf("the tenant's keys: %w", err)
	}
	plain, err := keys.Open(refreshPurpose, token)
	if err != nil {
		return refreshToken{}, false, nil
	}
	read, ok := parseRefresh(plain)
	return read, ok, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Carry has lineages live on as part of tx although their customer's security
// epoch has risen from before to epoch: those of one session, or of all where
// session is "". What was dead before stays so.
func (g *Grants) Carry(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, session id.Session, before, epoch int64) {
	tx.Queue(`UPDATE lineage SET epoch = $5 WHERE tenant = $1 AND customer = $2 AND ($3 = '' OR session = $3) AND epoch >= $4 AND epoch < $5 AND ended_at = 0`,
		tenant, customer, session, before, epoch)
}
