package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Grace is how long a refresh token that was replaced is answered with its
// successor, which was lost on the way or asked for twice at once.
const Grace = 10 * time.Second

// Presented is a refresh token that an application presents, proven to be who
// it is.
type Presented struct {
	Application id.Application
	FirstParty  bool // the application is the tenant's own
	Token       string
	Allowed     []string // the scopes that the application may have at present
	Requested   []string // the scopes it asks for; empty: all that it has
	// Idle and Absolute are the present lifetimes. A longer one that was given
	// before is cut, a shorter one is not made longer but by use.
	Idle, Absolute time.Duration
	// Suits refuses, by an error that Rotate returns as it is, what does not go with
	// the context that the lineage began in. It is asked before anything is written.
	Suits func(context string) error
	// Belongs tells whether the customer is still in the organization that the
	// lineage's tokens are for, "" for none. It is asked before anything is
	// written; false refuses the token and leaves it as it is. Without it a
	// lineage that is for an organization is refused.
	Belongs func(ctx context.Context, customer id.Customer, organization id.Organization) (bool, error)
}

// Refreshed is what came of a refresh token.
type Refreshed struct {
	Outcome Outcome // Rotated, Repeated, Reused, Refused or Exceeded
	// All that follows is there for Rotated and Repeated only.
	Ref
	Grant        id.Grant
	Scopes       []string // all that the lineage is good for now; not narrowed to those requested
	Offline      bool
	Context      string
	Organization id.Organization // that the tokens are for, "" for none
	Generation   int64
	Refresh      string // the successor
}

// Rotate advances a lineage by one generation and returns its new refresh
// token. It takes one batch of reads and one transaction that writes one row;
// of however many who present the same token at once, one advances it and the
// others get the same generation.
//
// The successor that is returned a second time is the same generation sealed
// anew: equal in what it does, not in its spelling.
func (g *Grants) Rotate(ctx context.Context, t *tenant.Tenant, presented Presented) (Refreshed, error) {
	refused := Refreshed{Outcome: Refused}
	if t.Suspended {
		return refused, nil
	}
	trail := explain.Of(ctx)
	token, ok, err := g.openRefresh(ctx, t.ID, presented.Token)
	if err != nil {
		return refused, err
	}
	if !ok {
		trail.Because("The refresh token is none that this tenant has made, or is from before a restore.")
		return refused, nil
	}
	if token.Application != presented.Application {
		trail.Because("The refresh token was made for another application, " + string(token.Application) + ".")
		return refused, nil
	}
	trail.About(token.Customer)
	batch := g.DB.Batch()
	found := queueLineage(batch, t.ID, token.Customer, token.Lineage)
	presence := g.Presence(batch, t, token.Customer, token.Session)
	if err := batch.Run(ctx); err != nil {
		return Refreshed{}, fmt.Errorf("read the lineage: %w", err)
	}
	l := *found
	if l == nil || l.application != token.Application || l.session != token.Session || !l.endedAt.IsZero() || token.generation > l.generation {
		trail.Because("The tokens of this sign-in were revoked, or have expired for good.")
		return refused, nil
	}
	outcome := state{l.generation, l.rotatedAt, false}.judge(token.generation, g.Clock.Now())
	if outcome == Reused {
		trail.Because("The refresh token had been used and replaced before, longer ago than a repetition is forgiven. All tokens of this sign-in were revoked.")
		return g.advance(ctx, t, presented, token, l, Presence{})
	}
	p, now := presence(), g.Clock.Now()
	if !l.alive(p) {
		trail.Because("The customer's session has ended, or the customer may not sign in at present.")
	}
	if !l.alive(p) || !now.Before(l.idleUntil) || !now.Before(l.untilAtMost) ||
		!now.Before(l.rotatedAt.Add(presented.Idle)) || !now.Before(l.startedAt.Add(presented.Absolute)) {
		trail.Because("The refresh token was not used for too long, or the sign-in is too long ago.")
		return refused, nil
	}
	if l.unasked && !presented.FirstParty {
		trail.Because("The application is not the tenant's own any more, and the customer has not been asked.")
		return refused, nil // it was the tenant's own, which the customer was not asked for
	}
	if l.offline && !slices.Contains(presented.Allowed, OfflineAccess) {
		trail.Because("The scope offline_access was taken from the application.")
		return refused, nil // what let it outlive its session was taken from the application
	}
	if !containsAll(l.scopes, presented.Requested) {
		return Refreshed{Outcome: Exceeded}, nil
	}
	if presented.Suits != nil {
		if err := presented.Suits(l.context); err != nil {
			return refused, err
		}
	}
	belongs := l.organization == ""
	if presented.Belongs != nil {
		if belongs, err = presented.Belongs(ctx, token.Customer, l.organization); err != nil {
			return Refreshed{}, fmt.Errorf("read the membership: %w", err)
		}
	}
	if !belongs {
		return refused, nil
	}
	if outcome == Repeated {
		return g.refreshed(ctx, t, presented, token, l, Repeated)
	}
	return g.advance(ctx, t, presented, token, l, p)
}

// state is what of a row decides whether a generation may be used.
type state struct {
	generation int64
	rotatedAt  time.Time
	ended      bool
}

// judge tells what a token of a generation is at now: the present one is to be
// Rotated.
func (s state) judge(generation int64, now time.Time) Outcome {
	switch {
	case s.ended || generation > s.generation:
		return Refused
	case generation == s.generation:
		return Rotated
	case generation == s.generation-1 && now.Sub(s.rotatedAt) <= Grace:
		return Repeated
	}
	return Reused
}

// advance writes the next generation. Where the row has changed since it was
// read, or the token is known to be an old one, it judges by the row.
func (g *Grants) advance(ctx context.Context, t *tenant.Tenant, presented Presented, token refreshToken, l *lineage, p Presence) (Refreshed, error) {
	var outcome Outcome
	err := g.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if token.generation == l.generation {
			now := tx.Now()
			if p.Live && !l.offline && p.Touch != nil {
				p.Touch(tx) // before the lineage, as those who end both come by the session
			}
			advanced, err := tx.Exec(`UPDATE lineage SET generation = generation + 1, rotated_at = $5, idle_until = $6, epoch = $7
				WHERE tenant = $1 AND customer = $2 AND lineage = $3 AND generation = $4 AND ended_at = 0`,
				t.ID, token.Customer, token.Lineage, token.generation, now, earlier(now.Add(presented.Idle), l.untilAtMost), p.Epoch)
			if err != nil {
				return err
			}
			if advanced == 1 {
				outcome = Rotated
				return nil
			}
		}
		var s state
		var ended time.Time
		err := tx.QueryRow(`SELECT generation, rotated_at, ended_at FROM lineage WHERE tenant = $1 AND customer = $2 AND lineage = $3`,
			t.ID, token.Customer, token.Lineage).Scan(&s.generation, &s.rotatedAt, &ended)
		if errors.Is(err, sqldb.ErrNoRows) {
			outcome = Refused
			return nil
		}
		if err != nil {
			return err
		}
		s.ended = !ended.IsZero()
		outcome = s.judge(token.generation, tx.Now())
		switch outcome {
		case Rotated: // on a row that did not let itself be advanced just now
			return fmt.Errorf("lineage %s was at generation %d and could not be advanced from it", token.Lineage, s.generation)
		case Reused:
			_, err = g.End(tx, t.ID, token.Customer, token.Lineage, Reuse, string(token.Application))
			return err
		case Repeated:
			if token.generation != l.generation {
				outcome = Refused // by a clock set back: the caller has not looked whether it is alive
			}
		default: // refused, as it is
		}
		return nil
	})
	if err != nil {
		return Refreshed{}, fmt.Errorf("rotate the refresh token: %w", err)
	}
	if outcome != Rotated && outcome != Repeated {
		return Refreshed{Outcome: outcome}, nil
	}
	return g.refreshed(ctx, t, presented, token, l, outcome)
}

func (g *Grants) refreshed(ctx context.Context, t *tenant.Tenant, presented Presented, token refreshToken, l *lineage, outcome Outcome) (Refreshed, error) {
	successor := refreshToken{token.Ref, token.generation + 1}
	sealed, err := g.sealRefresh(ctx, t.ID, successor)
	if err != nil {
		return Refreshed{}, err
	}
	return Refreshed{Outcome: outcome, Ref: token.Ref, Grant: l.grant, Scopes: intersect(l.scopes, presented.Allowed),
		Offline: l.offline, Context: l.context, Organization: l.organization, Generation: successor.generation, Refresh: sealed}, nil
}

// RevokeRefresh ends the lineage of an application's refresh token, of
// whichever generation, and says whether that did anything. A token that is
// not the application's does nothing (RFC 7009, section 2.1). An error means
// that nothing was revoked.
func (g *Grants) RevokeRefresh(ctx context.Context, tenant id.Tenant, application id.Application, token string) (bool, error) {
	read, ok, err := g.openRefresh(ctx, tenant, token)
	if err != nil || !ok || read.Application != application {
		return false, err
	}
	var ended bool
	err = g.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		ended, err = g.End(tx, tenant, read.Customer, read.Lineage, Revoked, string(application))
		return err
	})
	return ended, err
}
