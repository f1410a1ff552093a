package adminapi

import (
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

// sessionView is a session as it is answered.
type sessionView struct {
	ID              id.Session    `json:"id"`
	CreatedAt       time.Time     `json:"created_at"`
	AuthenticatedAt time.Time     `json:"authenticated_at"`
	LastSeenAt      time.Time     `json:"last_seen_at"`
	IdleUntil       time.Time     `json:"idle_until"`
	AbsoluteUntil   time.Time     `json:"absolute_until"`
	Methods         []string      `json:"methods"`
	ACR             string        `json:"acr,omitempty"`
	Stay            bool          `json:"stay"`
	Agent           session.Agent `json:"agent"`
}

func (a *api) listSessions(w http.ResponseWriter, r *http.Request) error {
	t, c, err := a.customerOf(r)
	if err != nil {
		return err
	}
	given, err := parameters(r, "after", "limit")
	if err != nil {
		return err
	}
	after, limit, err := paging[id.Session](given)
	if err != nil {
		return err
	}
	found, onwards, err := a.Sessions.List(r.Context(), t, c, after, limit)
	if err != nil {
		return err
	}
	answer := page[sessionView]{Items: []sessionView{}, Next: string(onwards)}
	for _, x := range found {
		answer.Items = append(answer.Items, sessionView{
			ID: x.ID, CreatedAt: x.CreatedAt, AuthenticatedAt: x.AuthenticatedAt, LastSeenAt: x.LastSeenAt, IdleUntil: x.IdleUntil,
			AbsoluteUntil: x.AbsoluteUntil, Methods: x.Methods, ACR: x.ACR, Stay: x.Stay, Agent: x.Agent,
		})
	}
	return respond(w, http.StatusOK, answer)
}

// endedView tells how many sessions were ended.
type endedView struct {
	Ended int `json:"ended"`
}

func (a *api) endSession(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, c, err := a.customerOf(r)
	if err != nil {
		return err
	}
	none := problem.NotFound("The customer has no such session.")
	x, err := id.Parse[id.Session](r.PathValue("session"))
	if err != nil {
		return none
	}
	there := false
	err = a.DB.Write(r.Context(), func(tx *sqldb.Tx) (err error) {
		there, err = a.Sessions.End(tx, t.ID, c, x, session.Revoked, Operator)
		return err
	})
	if err != nil {
		return err
	}
	if !there {
		return none
	}
	return respond(w, http.StatusOK, endedView{1})
}

func (a *api) endSessions(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, c, err := a.customerOf(r)
	if err != nil {
		return err
	}
	ended := 0
	err = a.DB.Write(r.Context(), func(tx *sqldb.Tx) (err error) {
		ended, err = a.Sessions.EndAll(tx, t.ID, c, "", session.Revoked, Operator)
		return err
	})
	if err != nil {
		return err
	}
	return respond(w, http.StatusOK, endedView{ended})
}

// grantView is a grant as it is answered.
type grantView struct {
	Application id.Application `json:"application"`
	Name        string         `json:"name,omitempty"`
	FirstParty  bool           `json:"first_party"`
	Scopes      []string       `json:"scopes"`
	Claims      []string       `json:"claims"`
	GrantedAt   time.Time      `json:"granted_at"`
	UsedAt      time.Time      `json:"used_at,omitzero"`
}

func (a *api) listGrants(w http.ResponseWriter, r *http.Request) error {
	t, c, err := a.customerOf(r)
	if err != nil {
		return err
	}
	given, err := parameters(r, "after", "limit")
	if err != nil {
		return err
	}
	after, limit, err := paging[id.Application](given)
	if err != nil {
		return err
	}
	found, err := a.Grants.List(r.Context(), t.ID, c, after, limit)
	if err != nil {
		return err
	}
	answer := page[grantView]{Items: []grantView{}, Next: next(found, limit, func(g grant.Grant) string { return string(g.Application) })}
	for _, g := range found {
		view := grantView{Application: g.Application, FirstParty: g.FirstParty, Scopes: orEmpty(g.Scopes), Claims: orEmpty(g.Claims), GrantedAt: g.GrantedAt, UsedAt: g.UsedAt}
		x, err := a.Applications.Get(r.Context(), t.ID, g.Application)
		if err != nil && !errors.Is(err, application.ErrNotFound) {
			return err
		}
		if err == nil {
			view.Name = x.Name
		}
		answer.Items = append(answer.Items, view)
	}
	return respond(w, http.StatusOK, answer)
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// revokeGrant takes back what a customer has allowed an application, and the
// tokens that came of it.
func (a *api) revokeGrant(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, c, err := a.customerOf(r)
	if err != nil {
		return err
	}
	none := problem.NotFound("The customer has allowed that application nothing.")
	x, err := id.Parse[id.Application](r.PathValue("application"))
	if err != nil {
		return none
	}
	there := false
	err = a.DB.Write(r.Context(), func(tx *sqldb.Tx) (err error) {
		there, err = a.Grants.Revoke(tx, t.ID, c, x, grant.Revoked, Operator)
		return err
	})
	if err != nil {
		return err
	}
	if !there {
		return none
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
