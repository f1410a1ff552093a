package adminapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
)

func (a *api) sessionOperations() {
	declare(a, operation{
		id: "listSessions", method: get, path: ofCustomer + "/sessions", noun: sessions, scope: "sessions:read",
		summary: "List where a customer is signed in", description: "The newest first.", errors: []int{404},
	}, a.listSessions)
	declare(a, operation{
		id: "endSessions", method: remove, path: ofCustomer + "/sessions", noun: sessions, scope: "sessions:write", status: http.StatusOK,
		summary: "Sign a customer out everywhere", description: "All sessions end, and the tokens that hang on them.", errors: []int{404},
	}, a.endSessions)
	declare(a, operation{
		id: "endSession", method: remove, path: ofCustomer + "/sessions/{session}", noun: sessions, scope: "sessions:write", status: http.StatusOK,
		summary: "End one session of a customer", description: "And the tokens that hang on it.", errors: []int{404},
	}, a.endSession)
	declare(a, operation{
		id: "listGrants", method: get, path: ofCustomer + "/grants", noun: sessions, scope: "sessions:read",
		summary: "List what a customer has allowed applications", description: "One entry for each application.", errors: []int{404},
	}, a.listGrants)
	declare(a, operation{
		id: "revokeGrant", method: remove, path: ofCustomer + "/grants/{application}", noun: sessions, scope: "sessions:write",
		summary: "Take back what a customer has allowed an application", description: "And the tokens that came of it.", errors: []int{404},
	}, a.revokeGrant)
}

// sessionView is a session as it is answered.
type sessionView struct {
	ID              id.Session    `json:"id"`
	CreatedAt       time.Time     `json:"created_at"`
	AuthenticatedAt time.Time     `json:"authenticated_at"`
	LastSeenAt      time.Time     `json:"last_seen_at" doc:"To five minutes."`
	IdleUntil       time.Time     `json:"idle_until"`
	AbsoluteUntil   time.Time     `json:"absolute_until"`
	Methods         []string      `json:"methods" doc:"How the customer proved who it is (RFC 8176)."`
	ACR             string        `json:"acr,omitempty"`
	Stay            bool          `json:"stay" doc:"Whether the customer chose to stay signed in."`
	Agent           session.Agent `json:"agent"`
}

func viewSession(x *session.Session) sessionView {
	return sessionView{
		ID: x.ID, CreatedAt: x.CreatedAt, AuthenticatedAt: x.AuthenticatedAt, LastSeenAt: x.LastSeenAt, IdleUntil: x.IdleUntil,
		AbsoluteUntil: x.AbsoluteUntil, Methods: x.Methods, ACR: x.ACR, Stay: x.Stay, Agent: x.Agent,
	}
}

// customerList is a list of something that a customer has.
type customerList struct {
	CustomerPath
	Paging
}

func (a *api) listSessions(ctx context.Context, in *customerList) (*answer[page[sessionView]], error) {
	c, err := a.customerOf(ctx, in.CustomerPath)
	if err != nil {
		return nil, err
	}
	after, err := afterOf[id.Session](in.Paging)
	if err != nil {
		return nil, err
	}
	found, onwards, err := a.Sessions.List(ctx, tenantOf(ctx), c, after, in.Limit)
	if err != nil {
		return nil, err
	}
	p := pageOf(found, in.Limit, func(*session.Session) string { return "" }, viewSession)
	p.Next = string(onwards)
	return answerWith(p)
}

// endedView tells how many sessions were ended.
type endedView struct {
	Ended int `json:"ended"`
}

func (a *api) endSession(ctx context.Context, in *struct {
	CustomerPath
	Session string `path:"session" doc:"The session's id."`
},
) (*answer[endedView], error) {
	c, err := a.customerOf(ctx, in.CustomerPath)
	if err != nil {
		return nil, err
	}
	none := problem.NotFound("The customer has no such session.")
	x, err := id.Parse[id.Session](in.Session)
	if err != nil {
		return nil, none
	}
	there := false
	err = a.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		there, err = a.Sessions.End(tx, tenantOf(ctx).ID, c, x, session.Revoked, actor(ctx))
		return err
	})
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, none
	}
	return answerWith(endedView{1})
}

func (a *api) endSessions(ctx context.Context, in *struct{ CustomerPath }) (*answer[endedView], error) {
	c, err := a.customerOf(ctx, in.CustomerPath)
	if err != nil {
		return nil, err
	}
	ended := 0
	err = a.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		ended, err = a.Sessions.EndAll(tx, tenantOf(ctx).ID, c, "", session.Revoked, actor(ctx))
		return err
	})
	if err != nil {
		return nil, err
	}
	return answerWith(endedView{ended})
}

// grantView is a grant as it is answered.
type grantView struct {
	Application id.Application `json:"application"`
	Name        string         `json:"name,omitempty" doc:"Of the application, if it is still there."`
	FirstParty  bool           `json:"first_party"`
	Scopes      []string       `json:"scopes"`
	Claims      []string       `json:"claims"`
	GrantedAt   time.Time      `json:"granted_at"`
	UsedAt      time.Time      `json:"used_at,omitzero"`
}

func (a *api) listGrants(ctx context.Context, in *customerList) (*answer[page[grantView]], error) {
	t := tenantOf(ctx).ID
	c, err := a.customerOf(ctx, in.CustomerPath)
	if err != nil {
		return nil, err
	}
	after, err := afterOf[id.Application](in.Paging)
	if err != nil {
		return nil, err
	}
	found, err := a.Grants.List(ctx, t, c, after, in.Limit)
	if err != nil {
		return nil, err
	}
	p := pageOf(found, in.Limit, func(g grant.Grant) string { return string(g.Application) }, func(g grant.Grant) grantView {
		return grantView{Application: g.Application, FirstParty: g.FirstParty, Scopes: orEmpty(g.Scopes), Claims: orEmpty(g.Claims), GrantedAt: g.GrantedAt, UsedAt: g.UsedAt}
	})
	for n := range p.Items {
		x, err := a.Applications.Get(ctx, t, p.Items[n].Application)
		if err != nil && !errors.Is(err, application.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			p.Items[n].Name = x.Name
		}
	}
	return answerWith(p)
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (a *api) revokeGrant(ctx context.Context, in *struct {
	CustomerPath
	Application string `path:"application" doc:"The application's client_id."`
},
) (*nothing, error) {
	c, err := a.customerOf(ctx, in.CustomerPath)
	if err != nil {
		return nil, err
	}
	none := problem.NotFound("The customer has allowed that application nothing.")
	x, err := id.Parse[id.Application](in.Application)
	if err != nil {
		return nil, none
	}
	there := false
	err = a.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		there, err = a.Grants.Revoke(tx, tenantOf(ctx).ID, c, x, grant.Revoked, actor(ctx))
		return err
	})
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, none
	}
	return &nothing{}, nil
}
