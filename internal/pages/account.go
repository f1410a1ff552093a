package pages

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/browser"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// How much one account page shows.
const (
	mostSessions    = 50
	mostConnections = 100
	mostServices    = 50
)

// showHome is where a customer lands: the applications that he may use, and the
// other pages of his account.
func (p *Pages) showHome(v *visit) (view.Page, error) {
	data := view.Account{Name: greeting(v.who), Identifier: addressOf(v.who), Language: v.client.Language}
	var err error
	if data.Services, err = p.services(v.ctx(), v.t); err != nil {
		return view.Page{}, err
	}
	connections, err := p.connections(v)
	if err != nil {
		return view.Page{}, err
	}
	data.Connected = len(connections)
	sessions, _, err := p.Sessions.List(v.ctx(), v.t, v.who.ID, "", mostSessions)
	data.Devices = len(sessions)
	return view.Page{Data: data}, err
}

// changeHome signs out.
func (p *Pages) changeHome(v *visit, form url.Values) (next, error) {
	if form.Get("choose") == "sign_out" {
		return next{left: true}, p.signOut(v)
	}
	return next{}, nil
}

// greeting is what the customer is called, "" where he has not told.
func greeting(who *customer.Customer) string {
	for _, claim := range []string{"nickname", "given_name", "name"} {
		if name, _ := who.Claims([]string{"profile"})[claim].(string); name != "" {
			return name
		}
	}
	return ""
}

// addressOf is what the customer is known by.
func addressOf(who *customer.Customer) string {
	for _, kind := range []identifier.Kind{identifier.Email, identifier.Username, identifier.Phone} {
		if it, has := who.Primary(kind); has {
			return it.Display
		}
	}
	return ""
}

// services are the tenant's own applications that have a page to go to.
func (p *Pages) services(ctx context.Context, t *tenant.Tenant) ([]view.Service, error) {
	var services []view.Service
	apps, err := p.Applications.List(ctx, t.ID, "", mostServices)
	if err != nil {
		return nil, fmt.Errorf("list the applications: %w", err)
	}
	for _, app := range apps {
		if app.FirstParty && app.HomeURL != "" && !app.Disabled {
			services = append(services, view.Service{Name: app.Name, URL: app.HomeURL})
		}
	}
	return services, nil
}

// signOut ends the browser's session.
func (p *Pages) signOut(v *visit) error {
	now := v.client.Session
	err := p.DB.Write(v.ctx(), func(tx *sqldb.Tx) error {
		_, err := p.Sessions.End(tx, v.t.ID, now.Customer, now.ID, session.SignedOut, string(now.Customer))
		return err
	})
	if err != nil {
		return err
	}
	p.Jar.Clear(v.w, v.t, browser.Session)
	p.Jar.Clear(v.w, v.t, browser.Journey)
	redirect(v.w, v.t.URL("/signed-out")+"?ui_locales="+url.QueryEscape(v.client.Language))
	return nil
}

// showApplications lists what others' applications get.
func (p *Pages) showApplications(v *visit) (view.Page, error) {
	connections, err := p.connections(v)
	if err != nil {
		return view.Page{}, err
	}
	var data view.Applications
	for _, c := range connections {
		data.Connected = append(data.Connected, c.Connection)
	}
	return view.Page{Data: data}, nil
}

// connection is an application of others that has access.
type connection struct {
	view.Connection
	application id.Application
}

// connections are the applications of others that the customer has allowed
// something, with what each gets.
func (p *Pages) connections(v *visit) ([]connection, error) {
	grants, err := p.Grants.List(v.ctx(), v.t.ID, v.who.ID, "", mostConnections)
	if err != nil {
		return nil, fmt.Errorf("list what is allowed: %w", err)
	}
	var connections []connection
	for _, g := range grants {
		name, firstParty := string(g.Application), false
		switch app, err := p.Applications.Get(v.ctx(), v.t.ID, g.Application); {
		case err == nil:
			name, firstParty = app.Name, app.FirstParty
		case !errors.Is(err, application.ErrNotFound):
			return nil, fmt.Errorf("read an application: %w", err)
		}
		if g.FirstParty && firstParty {
			continue // the tenant's own: it was not asked for and is not connected but part of the house
		}
		connections = append(connections, connection{application: g.Application, Connection: view.Connection{
			Name: name, URL: p.at(v, applicationsPath+"/"+string(g.Application)), Since: g.GrantedAt, Shares: p.sharesOf(v.who, g, v.client.Language),
		}})
	}
	return connections, nil
}

// sharesOf are the values that an application gets, and after them what it will
// get once that is known.
func (p *Pages) sharesOf(who *customer.Customer, g grant.Grant, lang string) []view.Share {
	var shares, asked []view.Share
	values := who.Claims(g.Scopes)
	for _, scope := range g.Scopes {
		names := customer.ClaimsOf(scope)
		for _, name := range names {
			if slices.Contains(unshown, name) {
				continue
			}
			if share := p.share(lang, name, values[name]); share.Asked {
				asked = append(asked, share)
			} else {
				shares = append(shares, share)
			}
		}
		if scope != "openid" && len(names) == 0 {
			shares = append(shares, view.Share{Name: scope})
		}
	}
	shares = append(shares, asked...)
	if len(shares) == 0 {
		shares = []view.Share{{Name: "openid"}}
	}
	return shares
}

// showRevoke tells what one application gets, and asks whether to take it back.
func (p *Pages) showRevoke(v *visit) (view.Page, error) {
	connections, err := p.connections(v)
	if err != nil {
		return view.Page{}, err
	}
	for _, c := range connections {
		if string(c.application) == v.r.PathValue("application") {
			return view.Page{Data: view.Revoke{Connection: c.Connection, BackURL: p.at(v, applicationsPath)}}, nil
		}
	}
	v.gone = true // it has no access, or never had
	return view.Page{}, nil
}

func (p *Pages) changeRevoke(v *visit, form url.Values) (next, error) {
	if form.Get("decision") != "remove" {
		return next{}, nil
	}
	app := id.Application(v.r.PathValue("application"))
	then := next{path: applicationsPath}
	err := p.DB.Write(v.ctx(), func(tx *sqldb.Tx) error {
		then.done = accountState{}
		was, err := p.Grants.Revoke(tx, v.t.ID, v.who.ID, app, grant.Revoked, string(v.who.ID))
		if was {
			then.done = accountState{Done: "access_removed", Application: app}
		}
		return err
	})
	return then, err
}

// showDevices lists where the customer is signed in.
func (p *Pages) showDevices(v *visit) (view.Page, error) {
	sessions, _, err := p.Sessions.List(v.ctx(), v.t, v.who.ID, "", mostSessions)
	if err != nil {
		return view.Page{}, err
	}
	var data view.Devices
	for _, x := range sessions {
		data.Sessions = append(data.Sessions, view.Session{
			ID: string(x.ID), Browser: x.Agent.Browser, System: x.Agent.OS, This: x.ID == v.client.Session.ID, Seen: x.LastSeenAt, Place: x.Agent.Place,
			Phone: x.Agent.Device != "" || slices.Contains([]string{"Android", "iOS"}, x.Agent.OS),
		})
	}
	slices.SortStableFunc(data.Sessions, func(a, b view.Session) int { // this one first
		switch {
		case a.This == b.This:
			return 0
		case a.This:
			return -1
		default:
			return 1
		}
	})
	return view.Page{Data: data}, nil
}

func (p *Pages) changeDevices(v *visit, form url.Values) (next, error) {
	if form.Get("end") == string(v.client.Session.ID) {
		return next{left: true}, p.signOut(v)
	}
	var then next
	actor := string(v.who.ID)
	err := p.DB.Write(v.ctx(), func(tx *sqldb.Tx) error {
		then.done = accountState{}
		if form.Get("end") != "" {
			was, err := p.Sessions.End(tx, v.t.ID, v.who.ID, id.Session(form.Get("end")), session.Revoked, actor)
			if was {
				then.done.Done = "device_signed_out"
			}
			return err
		}
		if form.Get("choose") != "end_others" {
			return nil
		}
		_, err := p.Sessions.EndAll(tx, v.t.ID, v.who.ID, v.client.Session.ID, session.Revoked, actor)
		then.done.Done = "others_signed_out"
		return err
	})
	return then, err
}
