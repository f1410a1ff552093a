package pages

import (
	"net/http"
	"net/url"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

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

// afterJoin goes on with an invitation once the customer has signed in, or
// shows his organizations once he has answered it.
func (p *Pages) afterJoin(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, client journey.Client, finished *journey.Finished) {
	done := map[string]string{"joined": "organization_joined", "declined": "organization_declined"}[finished.Outcome]
	if done == "" {
		p.beginJoin(w, r, t, client, finished.Return.Params)
		return
	}
	address, err := p.telling(r.Context(), t, organizationsURL(t, client.Language), client.Session.ID, accountState{Done: done, Organization: finished.Organization})
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	redirect(w, address)
}

func organizationsURL(t *tenant.Tenant, lang string) string {
	return t.URL(organizationsPath) + "?ui_locales=" + url.QueryEscape(lang)
}

// showOrganizations lists what the customer is a member of.
func (p *Pages) showOrganizations(v *visit) (view.Page, error) {
	memberships, err := p.Organizations.AllMemberships(v.ctx(), v.t.ID, v.who.ID)
	data := view.Organizations{Organizations: belongings(memberships)}
	for i := range data.Organizations {
		data.Organizations[i].URL = p.at(v, organizationsPath+"/"+data.Organizations[i].ID)
	}
	return view.Page{Data: data}, err
}

// showLeave asks whether to leave an organization.
func (p *Pages) showLeave(v *visit) (view.Page, error) {
	memberships, err := p.Organizations.AllMemberships(v.ctx(), v.t.ID, v.who.ID)
	if err != nil {
		return view.Page{}, err
	}
	for _, b := range belongings(memberships) {
		if b.ID == v.r.PathValue("organization") {
			return view.Page{Data: view.LeaveOrganization{Belonging: b, BackURL: p.at(v, organizationsPath)}}, nil
		}
	}
	v.gone = true // he is no member, or never was
	return view.Page{}, nil
}

func (p *Pages) changeLeave(v *visit, form url.Values) (next, error) {
	if form.Get("decision") != "leave" {
		return next{}, nil
	}
	leaving := id.Organization(v.r.PathValue("organization"))
	then := next{path: organizationsPath}
	err := p.DB.Write(v.ctx(), func(tx *sqldb.Tx) error {
		then.done = accountState{}
		was, err := p.Organizations.Remove(tx, v.t.ID, leaving, v.who.ID, string(v.who.ID))
		if was {
			then.done = accountState{Done: "organization_left", Organization: leaving}
		}
		return err
	})
	return then, err
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
	i.HomeURL = t.URL(accountPath) + "?ui_locales=" + url.QueryEscape(lang)
	if i.Member {
		i.HomeURL = organizationsURL(t, lang)
	}
	return i
}
