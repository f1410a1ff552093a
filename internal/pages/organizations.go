package pages

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// organizationsPath is the page of the account that lists what the customer is a
// member of.
const organizationsPath = "/account/organizations"

// join is what the link of an invitation opens. It changes nothing: mail
// filters open links too.
func (p *Pages) join(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	client, err := p.Client(w, r, t)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	link := r.URL.Query().Get("link")
	if len(link) > maxLink || !isText(link) {
		link = ""
	}
	p.beginJoin(w, r, t, client, link)
}

func (p *Pages) beginJoin(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, client journey.Client, link string) {
	p.Begin(w, r, t, journey.Start{Journey: "join", Link: link, Client: client, Return: journey.Return{Kind: returnJoin, Params: link}})
}

func joinURL(t *tenant.Tenant, lang, link string) string {
	return t.URL("/join") + "?" + url.Values{"link": {link}, "ui_locales": {lang}}.Encode()
}

func organizationsURL(t *tenant.Tenant, lang string) string {
	return t.URL(organizationsPath) + "?ui_locales=" + url.QueryEscape(lang)
}

// afterJoin goes on with an invitation once the customer has signed in, or
// shows his organizations once he has answered it.
func (p *Pages) afterJoin(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, client journey.Client, finished *journey.Finished) {
	done := map[string]string{"joined": "organization_joined", "declined": "organization_declined"}[finished.Outcome]
	if done == "" {
		p.beginJoin(w, r, t, client, finished.Return.Params)
		return
	}
	p.toOrganizations(w, r, t, client, accountState{Done: done, Organization: finished.Organization})
}

// toOrganizations shows the customer's organizations, and what has just been
// done.
func (p *Pages) toOrganizations(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, client journey.Client, done accountState) {
	address := organizationsURL(t, client.Language)
	if done.Done != "" && client.Session != nil {
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

// organizations shows a customer what he is a member of, or has him sign in
// first.
func (p *Pages) organizations(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
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
	memberships, err := p.Organizations.AllMemberships(r.Context(), t.ID, client.Session.Customer)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	p.drawOrganizations(w, r, t, client, view.Organizations{Organizations: belongings(memberships), AccountURL: p.accountURL(t, client.Language)},
		p.noticeOf(r.Context(), t, client.Session, r.URL.Query().Get("done")))
}

func (p *Pages) drawOrganizations(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, client journey.Client, data view.Data, notice *view.Notice) {
	state, err := p.sealAccount(r.Context(), t, accountState{Session: client.Session.ID})
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	p.draw(w, r, t, sheet{page: view.Page{Lang: client.Language, Languages: p.offered(t), State: state, Notice: notice, Data: data,
		Action: t.Path + organizationsPath + "?ui_locales=" + url.QueryEscape(client.Language)}})
}

// changeOrganizations lets a customer leave an organization, once he has said so
// twice.
func (p *Pages) changeOrganizations(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
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
		redirect(w, organizationsURL(t, lang))
		return
	}
	if client.Session == nil {
		redirect(w, organizationsURL(t, client.Language))
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
			Data: view.Fault{Kind: view.FaultForged, BackURL: organizationsURL(t, client.Language)}}})
		return
	}
	who, leaving := client.Session.Customer, id.Organization(form.Get("leave"))
	memberships, err := p.Organizations.AllMemberships(r.Context(), t.ID, who)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	at := slices.IndexFunc(memberships, func(m organization.Membership) bool { return m.Organization.ID == leaving })
	switch {
	case at < 0 || form.Get("decision") == "stay":
		redirect(w, organizationsURL(t, client.Language))
		return
	case form.Get("decision") != "leave":
		p.drawOrganizations(w, r, t, client, view.LeaveOrganization{Belonging: belongings(memberships)[at]}, nil)
		return
	}
	err = p.DB.Write(r.Context(), func(tx *sqldb.Tx) error {
		_, err := p.Organizations.Remove(tx, t.ID, leaving, who, string(who))
		return err
	})
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	p.toOrganizations(w, r, t, client, accountState{Done: "organization_left", Organization: leaving})
}

// belongings are memberships as pages show them.
func belongings(memberships []organization.Membership) []view.Belonging {
	var list []view.Belonging
	for _, m := range memberships {
		list = append(list, view.Belonging{ID: string(m.Organization.ID), Name: m.Organization.Name, Roles: m.Roles, Since: m.Since,
			Suspended: m.Organization.Status != organization.Active})
	}
	return list
}

// joinOf is an invitation as pages show it.
func (p *Pages) joinOf(t *tenant.Tenant, lang string, o step.Offer, i view.JoinOrganization) view.JoinOrganization {
	i.Dead, i.Member, i.Organization, i.Inviter, i.Address, i.Roles, i.Until = o.Dead, o.Member, o.Organization, o.Inviter, o.Address, o.Roles, o.Until
	i.HomeURL = p.accountURL(t, lang)
	if i.Member {
		i.HomeURL = organizationsURL(t, lang)
	}
	return i
}
