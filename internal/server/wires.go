package server

import (
	"context"
	"net/http"

	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/oauth"
	"github.com/cardea-id/cardea/internal/pages"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// holder tells sessions what they need to know of their customer.
func (s *Server) holder(batch *sqldb.Batch, t id.Tenant, c id.Customer) func() session.Holder {
	state := s.Directory.QueueState(batch, t, c)
	return func() session.Holder {
		return session.Holder{Allowed: state.Found && state.Status.MayUseTokens(), Epoch: state.Epoch}
	}
}

// presence tells lineages what they need to know of their session and customer.
func (s *Server) presence(batch *sqldb.Batch, t *tenant.Tenant, c id.Customer, sid id.Session) func() grant.Presence {
	alive := s.Sessions.QueueAlive(batch, t, c, sid)
	return func() grant.Presence {
		holder := alive.Holder()
		p := grant.Presence{Allowed: holder.Allowed && !t.Suspended, Epoch: holder.Epoch, Live: alive.Live(), Touch: alive.Touch}
		if alive.Session != nil {
			p.Found, p.Session, p.Until = true, alive.Session.Epoch, alive.Session.AbsoluteUntil
		}
		return p
	}
}

// sessionsEnded ends the lineages of sessions that end.
func (s *Server) sessionsEnded(tx *sqldb.Tx, e session.Ended) error {
	return s.Grants.EndWithSessions(tx, grant.Ending{
		Tenant: e.Tenant, Customer: e.Customer, Sessions: e.Sessions, Everywhere: e.Everywhere, Except: e.Except, Actor: e.Actor,
		KeepOffline: e.Reason == session.SignedOut || e.Reason == session.Replaced,
	})
}

// mailBrand tells notify whose message it sends.
func (s *Server) mailBrand(ctx context.Context, t id.Tenant, _ id.Brand) (notify.Brand, error) {
	found, err := s.Tenants.ByID(ctx, t)
	if err != nil {
		return notify.Brand{}, err
	}
	return s.brandOfMail(ctx, found)
}

// interaction lets the protocol endpoints ask customers by the hosted pages,
// neither of which knows the other.
type interaction struct{ *pages.Pages }

func (i interaction) ConfirmSignOut(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, page oauth.SignOut) {
	i.Pages.ConfirmSignOut(w, r, t, pages.SignOut(page))
}
