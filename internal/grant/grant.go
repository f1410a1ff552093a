// Package grant owns what customers have allowed applications, and the
// lineages of tokens that come of it.
//
// A grant is one row a customer and application. A lineage is one row a
// redeemed code: its id is sealed in the code, so that inserting it is what
// makes the code good once, and inserting it a second time is a replay, which
// ends it. A refresh token is sealed (customer, session, lineage, generation);
// the row holds the present generation, and refreshing advances it by one.
// What is older than the generation before ends the lineage; the generation
// before, within Grace and while its successor is unused, is answered with
// that same successor, since its answer may have been lost (RFC 9700, section
// 4.14.2). Access tokens name their lineage, and so are seen to be revoked.
//
// When a lineage is alive. Its grant is there and its customer's status allows
// it, always. A lineage without offline_access lives and dies with its session:
// it ends when the session runs out or is ended, and each refresh counts as
// presence. One with offline_access survives that the session runs out, and
// that the customer signs out in that browser (OpenID Connect Back-Channel
// Logout 1.0, section 2.7); it ends when the session is ended from elsewhere,
// when the customer signs out everywhere, and when his security epoch rises
// (a new password, a lock) unless its session was renewed in that act. A
// lineage that outlived its session knows the epoch of its last refresh.
//
// The package knows neither codes' and tokens' contents nor applications'
// settings; what it needs of sessions and customers it reads through
// Options.Presence.
package grant

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
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
	return sqldb.MigrationSet{Package: "grant", FS: migrations}
}

// Presence is what a lineage needs to know of its session and its customer.
type Presence struct {
	Allowed bool      // there is such a customer, and his status lets him use tokens
	Epoch   int64     // his security epoch
	Found   bool      // there is a row of the session; it may have run out
	Live    bool      // the session may be used now
	Session int64     // the security epoch that the session was begun or renewed under
	Until   time.Time // when the session runs out in all
	// Touch records as part of a transaction that the session was seen.
	Touch func(*sqldb.Tx)
}

// Options are what Grants work with. All but Seen are required.
type Options struct {
	DB     *sqldb.DB
	Ring   *keyring.Ring
	Log    *event.Log
	Clock  clock.Clock
	Random io.Reader
	// Presence reads a session and its customer with a batch. What it returns
	// is called after the batch has run.
	Presence func(*sqldb.Batch, *tenant.Tenant, id.Customer, id.Session) func() Presence
	// Persists tells as part of a transaction whether a session has not been
	// ended meanwhile. It is asked when a lineage begins that would outlive it.
	Persists func(*sqldb.Tx, id.Tenant, id.Customer, id.Session) (bool, error)
	// Seen joins the transaction in which a lineage is swept, with when it was last
	// used; nil tells nobody.
	Seen func(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, at time.Time)
}

// Grants records grants and rotates lineages. It is safe for concurrent use.
type Grants struct{ Options }

// New returns the grants over a database that holds Migrations.
func New(o Options) *Grants { return &Grants{o} }

// Grant is what one customer has allowed one application.
type Grant struct {
	ID          id.Grant
	Application id.Application
	FirstParty  bool // the tenant's own application: recorded at its first use, and not asked for
	Scopes      []string
	Claims      []string // the claims that were shown to be released
	GrantedAt   time.Time
	UpdatedAt   time.Time
	UsedAt      time.Time // when tokens were last issued; filled in by List

	revision int64
}

// Covers tells whether the customer has allowed all of these scopes and claims
// to a third party. What a first-party application was given without asking
// covers nothing, should it stop being one.
func (g Grant) Covers(scopes, claims []string) bool {
	return !g.FirstParty && containsAll(g.Scopes, scopes) && containsAll(g.Claims, claims)
}

// Allowance is something that a customer allows.
type Allowance struct {
	Tenant      id.Tenant
	Customer    id.Customer
	Application id.Application
	FirstParty  bool
	Scopes      []string
	Claims      []string
}

const selectGrant = `SELECT grant_id, application, first_party, scopes, claims, revision, granted_at, updated_at FROM customer_grant
	WHERE tenant = $1 AND customer = $2 AND application = $3`

func (g *Grant) scan(row sqldb.Scanner, more ...any) error {
	var scopes, claims string
	err := row.Scan(append([]any{&g.ID, &g.Application, &g.FirstParty, &scopes, &claims, &g.revision, &g.GrantedAt, &g.UpdatedAt}, more...)...)
	g.Scopes, g.Claims = strings.Fields(scopes), strings.Fields(claims)
	return err
}

// Allow records as part of tx that a customer allows an application something,
// beside what he has allowed it before, and returns the grant's id. When he
// had allowed all of it, nothing is written.
func (g *Grants) Allow(tx *sqldb.Tx, a Allowance) (id.Grant, error) {
	grant, err := g.allow(tx, a)
	if err != nil {
		return "", fmt.Errorf("record the grant: %w", err)
	}
	return grant.ID, nil
}

func (g *Grants) allow(tx *sqldb.Tx, a Allowance) (Grant, error) {
	for range 10 { // each further round follows on another transaction's success
		var old Grant
		err := old.scan(tx.QueryRow(selectGrant, a.Tenant, a.Customer, a.Application))
		if errors.Is(err, sqldb.ErrNoRows) {
			made := Grant{ID: id.New[id.Grant](tx.Now(), g.Random), Application: a.Application, FirstParty: a.FirstParty,
				Scopes: union(nil, a.Scopes), Claims: union(nil, a.Claims), GrantedAt: tx.Now(), UpdatedAt: tx.Now(), revision: 1}
			n, err := tx.Exec(`INSERT INTO customer_grant (tenant, customer, application, grant_id, first_party, scopes, claims, revision, granted_at, updated_at)
				VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $8) ON CONFLICT DO NOTHING`, a.Tenant, a.Customer, a.Application, made.ID,
				made.FirstParty, strings.Join(made.Scopes, " "), strings.Join(made.Claims, " "), tx.Now())
			if err != nil {
				return Grant{}, err
			}
			if n == 1 {
				return made, g.allowed(tx, a, made)
			}
			continue
		}
		if err != nil {
			return Grant{}, err
		}
		changed := old.with(a)
		if changed.FirstParty == old.FirstParty && slices.Equal(changed.Scopes, old.Scopes) && slices.Equal(changed.Claims, old.Claims) {
			return old, nil
		}
		n, err := tx.Exec(`UPDATE customer_grant SET first_party = $5, scopes = $6, claims = $7, revision = revision + 1, updated_at = $8
			WHERE tenant = $1 AND customer = $2 AND application = $3 AND revision = $4`, a.Tenant, a.Customer, a.Application, old.revision,
			changed.FirstParty, strings.Join(changed.Scopes, " "), strings.Join(changed.Claims, " "), tx.Now())
		if err != nil {
			return Grant{}, err
		}
		if n == 1 {
			return changed, g.allowed(tx, a, changed)
		}
	}
	return Grant{}, errors.New("others kept changing it")
}

// with adds what a allows. Asking a customer about an application that was the
// tenant's own begins anew: what it had then was never asked for.
func (g Grant) with(a Allowance) Grant {
	if g.FirstParty && !a.FirstParty {
		g.Scopes, g.Claims = nil, nil
	}
	g.FirstParty, g.Scopes, g.Claims = a.FirstParty, union(g.Scopes, a.Scopes), union(g.Claims, a.Claims)
	return g
}

func (g *Grants) allowed(tx *sqldb.Tx, a Allowance, grant Grant) error {
	return g.Log.Append(tx, event.Event{
		Tenant: a.Tenant, Customer: a.Customer, Type: "grant.allowed", Actor: string(a.Customer),
		Data: map[string]any{"grant": grant.ID, "application": a.Application, "first_party": a.FirstParty, "scopes": grant.Scopes, "claims": grant.Claims},
	})
}

// Find returns what a customer has allowed an application, if anything.
func (g *Grants) Find(ctx context.Context, tenant id.Tenant, customer id.Customer, application id.Application) (Grant, bool, error) {
	var grant Grant
	err := grant.scan(g.DB.QueryRow(ctx, selectGrant, tenant, customer, application))
	if errors.Is(err, sqldb.ErrNoRows) {
		return Grant{}, false, nil
	}
	if err != nil {
		return Grant{}, false, fmt.Errorf("read the grant: %w", err)
	}
	return grant, true, nil
}

// List returns up to limit grants of a customer, in the order of the
// applications' ids, after the given one.
func (g *Grants) List(ctx context.Context, tenant id.Tenant, customer id.Customer, after id.Application, limit int) ([]Grant, error) {
	rows, err := g.DB.Query(ctx, `SELECT g.grant_id, g.application, g.first_party, g.scopes, g.claims, g.revision, g.granted_at, g.updated_at,
			(SELECT COALESCE(MAX(l.rotated_at), 0) FROM lineage l WHERE l.tenant = $1 AND l.customer = $2 AND l.grant_id = g.grant_id)
		FROM customer_grant g WHERE g.tenant = $1 AND g.customer = $2 AND g.application > $3 ORDER BY g.application LIMIT $4`,
		tenant, customer, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the grants: %w", err)
	}
	var grants []Grant
	for rows.Next() {
		var grant Grant
		if err := grant.scan(rows, &grant.UsedAt); err != nil {
			return nil, fmt.Errorf("read a grant: %w", err)
		}
		if grant.UsedAt.IsZero() {
			grant.UsedAt = grant.UpdatedAt
		}
		grants = append(grants, grant)
	}
	return grants, rows.Err()
}

// Revoke takes back as part of tx what a customer has allowed an application,
// which ends its lineages, and says whether there was anything. The
// application's id may be whatever somebody sent.
func (g *Grants) Revoke(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, application id.Application, reason Reason, actor string) (bool, error) {
	if _, err := id.Parse[id.Application](string(application)); err != nil {
		return false, nil
	}
	var grant id.Grant
	err := tx.QueryRow(`DELETE FROM customer_grant WHERE tenant = $1 AND customer = $2 AND application = $3 RETURNING grant_id`,
		tenant, customer, application).Scan(&grant)
	if errors.Is(err, sqldb.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("revoke the grant: %w", err)
	}
	tx.Queue(`UPDATE lineage SET ended_at = $4, end_reason = $5 WHERE tenant = $1 AND customer = $2 AND application = $3 AND ended_at = 0`,
		tenant, customer, application, tx.Now(), reason)
	return true, g.Log.Append(tx, event.Event{
		Tenant: tenant, Customer: customer, Type: "grant.revoked", Actor: actor,
		Data: map[string]any{"grant": grant, "application": application, "reason": reason},
	})
}

// EraseCustomer deletes what the package keeps of a customer.
func (g *Grants) EraseCustomer(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error {
	if _, err := tx.Exec(`DELETE FROM lineage WHERE tenant = $1 AND customer = $2`, tenant, customer); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM customer_grant WHERE tenant = $1 AND customer = $2`, tenant, customer)
	return err
}

// union is what is in a or b, sorted, each once.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func containsAll(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// intersect is what of a is in b too, in a's order.
func intersect(a, b []string) []string {
	var both []string
	for _, s := range a {
		if slices.Contains(b, s) {
			both = append(both, s)
		}
	}
	return both
}
