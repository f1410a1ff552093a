package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Outcome is what came of a code or a refresh token.
type Outcome string

const (
	Began    Outcome = "began"    // a code was redeemed, for the first time
	Replayed Outcome = "replayed" // it had been redeemed before; the lineage is ended
	Rotated  Outcome = "rotated"  // the lineage was advanced
	Repeated Outcome = "repeated" // the token before, within Grace: its successor once more
	Reused   Outcome = "reused"   // a token that had been replaced; the lineage is ended
	Refused  Outcome = "refused"  // not good: unknown, ended, run out, another application's, not allowed any more
	Exceeded Outcome = "exceeded" // scopes were asked for that the lineage does not have; the token is good still
)

// Redemption is a code that is presented, by the application that it was made
// for and with all that it was bound to proven.
type Redemption struct {
	Ref                          // as sealed in the code
	FirstParty   bool            // the application is the tenant's own: its grant is made if need be
	Scopes       []string        // of the code
	Claims       []string        // what a first-party application is given, for its grant
	Expires      time.Time       // when the code runs out
	Organization id.Organization // that the tokens are for, "" for none
	Context      string          // kept with the lineage for whoever refreshes it, such as auth_time; nothing personal
	// Refresh says that the application gets a refresh token. Idle and Absolute
	// bound it then; otherwise Absolute is the life of the access token.
	Refresh        bool
	Idle, Absolute time.Duration
}

// Redeemed is what came of a redemption.
type Redeemed struct {
	Outcome Outcome // Began, Replayed or Refused
	Grant   id.Grant
	Refresh string // the refresh token, where one was asked for
}

// Redeem redeems a code: in one transaction it begins the lineage whose id is
// sealed in the code, and records a first-party application's grant where it
// is new. The session must be live, and a third-party application's grant
// cover the scopes. When the lineage had begun already it is ended, with all
// of its tokens (RFC 6749, section 4.1.2).
func (g *Grants) Redeem(ctx context.Context, t *tenant.Tenant, r Redemption) (Redeemed, error) {
	var existing Grant
	var found bool
	batch := g.DB.Batch()
	begun := queueLineage(batch, t.ID, r.Customer, r.Lineage)
	batch.Queue(selectGrant, []any{t.ID, r.Customer, r.Application}, func(row sqldb.Scanner) error {
		found = true
		return existing.scan(row)
	})
	presence := g.Presence(batch, t, r.Customer, r.Session)
	if err := batch.Run(ctx); err != nil {
		return Redeemed{}, fmt.Errorf("read the grant: %w", err)
	}
	if *begun != nil {
		return g.replayed(ctx, t, r)
	}
	p := presence()
	// A replay ends the lineage however late it comes, and so is looked for
	// first (RFC 6749, section 4.1.2).
	if why := r.refused(t, p, g.Clock.Now()); why != "" {
		explain.Of(ctx).Because(why)
		return Redeemed{Outcome: Refused}, nil
	}
	if !r.FirstParty && (!found || !existing.Covers(r.Scopes, nil)) {
		explain.Of(ctx).Because("The customer has taken back what the code was made for.")
		return Redeemed{Outcome: Refused}, nil
	}
	var grant id.Grant
	err := g.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		grant, err = g.begin(tx, t, r, existing, p)
		return err
	})
	if errors.Is(err, errBegun) {
		return g.replayed(ctx, t, r)
	}
	if errors.Is(err, errEnded) {
		explain.Of(ctx).Because("The customer's session has ended since the code was made.")
		return Redeemed{Outcome: Refused}, nil
	}
	if err != nil {
		return Redeemed{}, fmt.Errorf("redeem the code: %w", err)
	}
	redeemed := Redeemed{Outcome: Began, Grant: grant}
	if r.Refresh {
		redeemed.Refresh, err = g.sealRefresh(ctx, t.ID, refreshToken{r.Ref, 1})
	}
	return redeemed, err
}

// refused is why a code is not redeemed, "" where it may be.
func (r Redemption) refused(t *tenant.Tenant, p Presence, now time.Time) string {
	switch {
	case t.Suspended:
		return "The tenant is suspended."
	case !p.Allowed:
		return "The customer may not sign in at present."
	case !p.Live:
		return "The customer's session has ended since the code was made."
	case !now.Before(r.Expires):
		return "The code has expired."
	}
	return ""
}

// These undo a transaction that lost a race.
var (
	errBegun = errors.New("the lineage has begun already")
	errEnded = errors.New("the session has been ended")
)

func (g *Grants) begin(tx *sqldb.Tx, t *tenant.Tenant, r Redemption, existing Grant, p Presence) (id.Grant, error) {
	grant := existing
	if r.FirstParty && (existing.ID == "" || !containsAll(existing.Scopes, r.Scopes) || !containsAll(existing.Claims, r.Claims)) {
		var err error
		grant, err = g.allow(tx, Allowance{Tenant: t.ID, Customer: r.Customer, Application: r.Application, FirstParty: true, Scopes: r.Scopes, Claims: r.Claims})
		if err != nil {
			return "", err
		}
	}
	now := tx.Now()
	offline := slices.Contains(r.Scopes, OfflineAccess)
	until := now.Add(r.Absolute)
	if !offline {
		until = earlier(until, p.Until)
	}
	idle := until
	if r.Refresh {
		idle = earlier(now.Add(r.Idle), until)
	}
	made, err := tx.Exec(`INSERT INTO lineage (tenant, customer, lineage, grant_id, application, session, generation, scopes, context, offline, epoch,
			started_at, rotated_at, idle_until, absolute_until, ended_at, end_reason, organization)
		VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8, $9, $10, $11, $11, $12, $13, 0, '', $14) ON CONFLICT DO NOTHING`,
		t.ID, r.Customer, r.Lineage, grant.ID, r.Application, r.Session, strings.Join(r.Scopes, " "), r.Context, offline, p.Epoch,
		now, idle, until, r.Organization)
	if err != nil {
		return "", err
	}
	if made == 0 {
		return "", errBegun
	}
	err = g.Log.Append(tx, event.Event{
		Tenant: t.ID, Customer: r.Customer, Type: "lineage.started", Actor: string(r.Customer),
		Data: map[string]any{"lineage": r.Lineage, "grant": grant.ID, "application": r.Application, "session": r.Session, "scopes": r.Scopes},
	})
	if err != nil || !offline {
		return grant.ID, err
	}
	// Whoever ends the session appends an event of this customer too, and so
	// comes before or after this transaction: after it, he ends the lineage
	// himself; before it, the session is seen to be gone here. Without
	// offline_access a lineage is dead for want of its session.
	persists, err := g.Persists(tx, t.ID, r.Customer, r.Session)
	if err == nil && !persists {
		err = errEnded
	}
	return grant.ID, err
}

// replayed ends the lineage of a code that was redeemed again.
func (g *Grants) replayed(ctx context.Context, t *tenant.Tenant, r Redemption) (Redeemed, error) {
	explain.Of(ctx).Because("The code had been redeemed before. All tokens that came of it were revoked.")
	err := g.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := g.End(tx, t.ID, r.Customer, r.Lineage, Replay, string(r.Application))
		return err
	})
	if err != nil {
		return Redeemed{}, fmt.Errorf("end the lineage of a replayed code: %w", err)
	}
	return Redeemed{Outcome: Replayed}, nil
}
