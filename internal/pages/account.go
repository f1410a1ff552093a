package pages

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/browser"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/organization"
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
	connected, err := p.connected(v)
	if err != nil {
		return view.Page{}, err
	}
	data.Connected = len(connected)
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

// allowed is a grant, with its application: nil where there is none any more.
type allowed struct {
	grant.Grant
	app *application.Application
}

// connected are the grants of applications of others.
func (p *Pages) connected(v *visit) ([]allowed, error) {
	grants, err := p.Grants.List(v.ctx(), v.t.ID, v.who.ID, "", mostConnections)
	if err != nil {
		return nil, fmt.Errorf("list what is allowed: %w", err)
	}
	var connected []allowed
	for _, g := range grants {
		app, err := p.Applications.Get(v.ctx(), v.t.ID, g.Application)
		switch {
		case errors.Is(err, application.ErrNotFound):
			app = nil
		case err != nil:
			return nil, fmt.Errorf("read an application: %w", err)
		case g.FirstParty && app.FirstParty:
			continue // the tenant's own: it was not asked for and is not connected but part of the house
		}
		connected = append(connected, allowed{g, app})
	}
	return connected, nil
}

// connections are the applications of others that the customer has allowed
// something, with what each gets.
func (p *Pages) connections(v *visit) ([]connection, error) {
	connected, err := p.connected(v)
	if err != nil {
		return nil, err
	}
	var connections []connection
	for _, g := range connected {
		name := string(g.Application)
		if g.app != nil {
			name = g.app.Name
		}
		shares, err := p.sharesOf(v, g)
		if err != nil {
			return nil, err
		}
		connections = append(connections, connection{application: g.Application, Connection: view.Connection{
			Name: name, URL: p.at(v, applicationsPath+"/"+string(g.Application)), Since: g.GrantedAt, Shares: shares,
		}})
	}
	return connections, nil
}

// sharesOf are the values that an application gets, and after them what it will
// get once that is known.
func (p *Pages) sharesOf(v *visit, g allowed) ([]view.Share, error) {
	members, err := p.membershipsFor(v, g.Grant)
	if err != nil {
		return nil, err
	}
	var shares []view.Share
	values, lang := v.who.Claims(g.Scopes), v.client.Language
	for _, scope := range g.Scopes {
		if scope == organization.Scope {
			shares = append(shares, view.Share{Name: scope, Value: belonging(members), Asked: len(members) == 0})
			continue
		}
		names := customer.ClaimsOf(scope)
		for _, name := range names {
			if !slices.Contains(unshown, name) {
				shares = append(shares, p.share(lang, name, values[name]))
			}
		}
		if scope != "openid" && len(names) == 0 {
			shares = append(shares, view.Share{Name: scope})
		}
	}
	shares = append(shares, p.mappedFor(v, g, members)...)
	slices.SortStableFunc(shares, func(a, b view.Share) int {
		switch {
		case a.Asked == b.Asked:
			return 0
		case a.Asked:
			return 1
		default:
			return -1
		}
	})
	if len(shares) == 0 {
		shares = []view.Share{{Name: "openid"}}
	}
	return shares, nil
}

// membershipsFor are the memberships that an application may get one of: that
// which the customer has chosen for it where he is signed in here, else all.
func (p *Pages) membershipsFor(v *visit, g grant.Grant) ([]organization.Membership, error) {
	if !slices.Contains(g.Scopes, organization.Scope) {
		return nil, nil
	}
	members, err := p.Organizations.Memberships(v.ctx(), v.t.ID, v.who.ID)
	if err != nil || len(members) < 2 {
		return members, err
	}
	chosen, err := p.Organizations.Chosen(v.ctx(), v.t.ID, v.who.ID, v.client.Session.ID, g.Application)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if m.Organization.ID == chosen {
			return []organization.Membership{m}, nil
		}
	}
	return members, nil
}

func belonging(members []organization.Membership) string {
	var all []string
	for _, m := range members {
		all = append(all, step.Belonging(m))
	}
	return strings.Join(all, " · ")
}

// mappedFor are the claims of the operator's own that an application gets, with
// their values. One that depends on the organization has a value for each that
// the application may get.
func (p *Pages) mappedFor(v *visit, g allowed, members []organization.Membership) []view.Share {
	if g.app == nil {
		return nil
	}
	sharing := step.Sharing{Application: g.app, Customer: v.who, Scopes: g.Scopes, Allowed: g.Claims, GrantedAt: g.GrantedAt, Now: p.Clock.Now()}
	set := g.app.ClaimSet(p.Claims, v.t)
	claims := sharing.Mapped(v.ctx(), set)
	shares := make([]view.Share, len(claims))
	for i, c := range claims {
		shares[i] = view.Share{Name: c.Name, Label: view.Literal(labelOf(c, v.client.Language))}
	}
	values := make([][]string, len(claims))
	add := func(claims []step.Claim) {
		for i, c := range claims { // the same ones, in the same order, whatever the organization
			if text := p.readable(v.client.Language, c.Name, c.Value); text != "" && !slices.Contains(values[i], text) {
				values[i] = append(values[i], text)
			}
		}
	}
	for i := range members {
		sharing.Member = &members[i]
		add(sharing.Mapped(v.ctx(), set))
	}
	if len(members) == 0 {
		add(claims)
	}
	for i := range shares {
		shares[i].Value = strings.Join(values[i], " · ")
		shares[i].Asked = shares[i].Value == ""
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
