package pages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/browser"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
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

// account shows a customer his account, or has him sign in first.
func (p *Pages) account(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	client, err := p.Client(w, r, t)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	if client.Session == nil {
		p.Begin(w, r, t, journey.Start{Journey: "sign-in", Return: journey.Return{Kind: returnAccount}, Client: client})
		return
	}
	p.Seen(r.Context(), t, client.Session)
	data, err := p.accountOf(r.Context(), t, client)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	state, err := p.sealAccount(r.Context(), t, accountState{Session: client.Session.ID})
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	action := t.Path + "/account"
	if r.URL.Query().Has("ui_locales") {
		action += "?ui_locales=" + url.QueryEscape(client.Language)
	}
	p.draw(w, r, t, sheet{page: view.Page{
		Lang: client.Language, Languages: p.offered(t), Action: action, State: state,
		Notice: p.noticeOf(r.Context(), t, client.Session, r.URL.Query().Get("done")), Data: data,
	}})
}

// accountOf reads what the account page shows.
func (p *Pages) accountOf(ctx context.Context, t *tenant.Tenant, client journey.Client) (view.Account, error) {
	var data view.Account
	who, err := p.Directory.Get(ctx, t.ID, client.Session.Customer)
	if err != nil {
		return data, fmt.Errorf("read the customer: %w", err)
	}
	data.Name, data.Identifier = greeting(who), addressOf(who)
	if data.Services, err = p.services(ctx, t); err != nil {
		return data, err
	}
	if data.Connected, err = p.connections(ctx, t, who, client.Language); err != nil {
		return data, err
	}
	sessions, _, err := p.Sessions.List(ctx, t, who.ID, "", mostSessions)
	if err != nil {
		return data, err
	}
	for _, x := range sessions {
		data.Sessions = append(data.Sessions, view.Session{
			ID: string(x.ID), Browser: x.Agent.Browser, System: x.Agent.OS, This: x.ID == client.Session.ID, Seen: x.LastSeenAt,
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
	return data, nil
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

// connections are the applications of others that the customer has allowed
// something, with what each gets.
func (p *Pages) connections(ctx context.Context, t *tenant.Tenant, who *customer.Customer, lang string) ([]view.Connection, error) {
	grants, err := p.Grants.List(ctx, t.ID, who.ID, "", mostConnections)
	if err != nil {
		return nil, fmt.Errorf("list what is allowed: %w", err)
	}
	var connections []view.Connection
	for _, g := range grants {
		name, firstParty := string(g.Application), false
		switch app, err := p.Applications.Get(ctx, t.ID, g.Application); {
		case err == nil:
			name, firstParty = app.Name, app.FirstParty
		case !errors.Is(err, application.ErrNotFound):
			return nil, fmt.Errorf("read an application: %w", err)
		}
		if g.FirstParty && firstParty {
			continue // the tenant's own: it was not asked for and is not connected but part of the house
		}
		connections = append(connections, view.Connection{
			ID: string(g.Application), Name: name, ThirdParty: !firstParty, Since: g.GrantedAt, Shares: p.sharesOf(who, g, lang),
		})
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

// changeAccount does what a button of the account page says. What may be
// changed is the customer's own only: every id is looked for beneath him.
func (p *Pages) changeAccount(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	form, ok := p.form(w, r, t)
	if !ok {
		return
	}
	client, err := p.Client(w, r, t)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	if lang := form.Get("lang"); slices.Contains(p.offered(t), lang) {
		redirect(w, p.accountURL(t, lang))
		return
	}
	if client.Session == nil {
		redirect(w, p.accountURL(t, client.Language))
		return
	}
	p.Seen(r.Context(), t, client.Session)
	asked, genuine, err := p.openAccount(r.Context(), t, form.Get("state"))
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	if !genuine || asked.Session != client.Session.ID || asked.Done != "" {
		p.draw(w, r, t, sheet{status: http.StatusBadRequest, page: view.Page{Lang: client.Language,
			Data: view.Fault{Kind: view.FaultForged, BackURL: p.accountURL(t, client.Language)}}})
		return
	}
	if form.Get("choose") == "sign_out" || form.Get("end") == string(client.Session.ID) {
		p.signOut(w, r, t, client)
		return
	}
	done, err := p.change(r.Context(), t, client.Session, form)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	address := p.accountURL(t, client.Language)
	if done.Done != "" {
		done.Session, done.At = client.Session.ID, p.Clock.Now().Unix()
		sealed, err := p.sealAccount(r.Context(), t, done)
		if err != nil {
			p.broken(w, r, t, err)
			return
		}
		address += "&done=" + sealed
	}
	redirect(w, address)
}

// change does one thing in one transaction and says what has come of it.
func (p *Pages) change(ctx context.Context, t *tenant.Tenant, now *session.Session, form url.Values) (accountState, error) {
	var done accountState
	actor := string(now.Customer)
	err := p.DB.Write(ctx, func(tx *sqldb.Tx) error {
		done = accountState{}
		switch {
		case form.Get("revoke") != "":
			app := id.Application(form.Get("revoke"))
			was, err := p.Grants.Revoke(tx, t.ID, now.Customer, app, grant.Revoked, actor)
			if was {
				done = accountState{Done: "access_removed", Application: app}
			}
			return err
		case form.Get("end") != "":
			was, err := p.Sessions.End(tx, t.ID, now.Customer, id.Session(form.Get("end")), session.Revoked, actor)
			if was {
				done.Done = "device_signed_out"
			}
			return err
		case form.Get("choose") == "end_others":
			_, err := p.Sessions.EndAll(tx, t.ID, now.Customer, now.ID, session.Revoked, actor)
			done.Done = "others_signed_out"
			return err
		}
		return nil
	})
	return done, err
}

// signOut ends the browser's session.
func (p *Pages) signOut(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, client journey.Client) {
	now := client.Session
	err := p.DB.Write(r.Context(), func(tx *sqldb.Tx) error {
		_, err := p.Sessions.End(tx, t.ID, now.Customer, now.ID, session.SignedOut, string(now.Customer))
		return err
	})
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	p.Jar.Clear(w, t, browser.Session)
	p.Jar.Clear(w, t, browser.Journey)
	redirect(w, t.URL("/signed-out")+"?ui_locales="+url.QueryEscape(client.Language))
}

// accountPurpose is what the account page's states are sealed for.
const accountPurpose = "account"

// accountState ties a form of the account page to the session that it was
// shown in, and carries over the redirect what has just been done.
type accountState struct {
	Session      id.Session      `json:"session"`
	Done         string          `json:"done,omitempty"`
	Application  id.Application  `json:"application,omitempty"`
	Organization id.Organization `json:"organization,omitempty"`
	At           int64           `json:"at,omitempty"` // Unix seconds
}

func (p *Pages) sealAccount(ctx context.Context, t *tenant.Tenant, s accountState) (string, error) {
	keys, err := p.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return "", fmt.Errorf("read the tenant's keys: %w", err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("write the account page's state: %w", err)
	}
	return keys.Seal(accountPurpose, text)
}

// openAccount reads a state; it is not genuine when it is not one of ours. An
// error is a fault of storage.
func (p *Pages) openAccount(ctx context.Context, t *tenant.Tenant, sealed string) (s accountState, genuine bool, err error) {
	keys, err := p.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return s, false, fmt.Errorf("read the tenant's keys: %w", err)
	}
	text, err := keys.Open(accountPurpose, sealed)
	if err != nil {
		return s, false, nil //nolint:nilerr // whatever is wrong with it, it is not ours
	}
	return s, json.Unmarshal(text, &s) == nil, nil
}

// noticeLife is how long after it a page says what has been done.
const noticeLife = time.Minute

// noticeOf says what has just been done. It is sealed with the session, so
// that no link of a stranger's can say anything on this page.
func (p *Pages) noticeOf(ctx context.Context, t *tenant.Tenant, now *session.Session, sealed string) *view.Notice {
	if sealed == "" {
		return nil
	}
	said, genuine, err := p.openAccount(ctx, t, sealed)
	if err != nil || !genuine || said.Session != now.ID || p.Clock.Now().Sub(time.Unix(said.At, 0)) > noticeLife {
		return nil
	}
	text := view.T("notice." + said.Done)
	if said.Application != "" {
		name := string(said.Application)
		if app, err := p.Applications.Get(ctx, t.ID, said.Application); err == nil {
			name = app.Name
		}
		text = view.T("notice."+said.Done, "App", strings.TrimSpace(name))
	}
	if said.Organization != "" {
		name := string(said.Organization)
		if found, err := p.Organizations.Get(ctx, t.ID, said.Organization); err == nil {
			name = found.Name
		}
		text = view.T("notice."+said.Done, "Organization", name)
	}
	return &view.Notice{Tone: view.OK, Text: text}
}
