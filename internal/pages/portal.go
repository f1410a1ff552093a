package pages

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/route"
	"github.com/cardea-id/cardea/internal/tenant"
)

// The addresses of the account's pages.
const (
	accountPath      = "/account"
	profilePath      = "/account/profile"
	accessPath       = "/account/sign-in"
	devicesPath      = "/account/devices"
	applicationsPath = "/account/applications"
	preferencesPath  = "/account/preferences"
	passwordPath     = "/account/password"
	addressesPath    = "/account/addresses"
	numbersPath      = "/account/numbers"
	closePath        = "/account/close"

	organizationsPath = "/account/organizations"
)

// doors are the pages that the account's navigation leads to, in its order.
var doors = []struct{ name, path string }{
	{"profile", profilePath}, {"access", accessPath}, {"devices", devicesPath}, {"applications", applicationsPath}, {"organizations", organizationsPath},
	{"preferences", preferencesPath}, {"close", closePath},
}

// portalRoutes lists what answers below /account.
func (p *Pages) portalRoutes() []route.Route {
	var routes []route.Route
	for _, page := range []struct {
		path   string
		show   func(*visit) (view.Page, error)
		change func(*visit, url.Values) (next, error)
	}{
		{accountPath, p.showHome, p.changeHome},
		{profilePath, p.showProfile, p.changeProfile},
		{accessPath, p.showAccess, nil},
		{devicesPath, p.showDevices, p.changeDevices},
		{applicationsPath, p.showApplications, nil},
		{applicationsPath + "/{application}", p.showRevoke, p.changeRevoke},
		{organizationsPath, p.showOrganizations, nil},
		{organizationsPath + "/{organization}", p.showLeave, p.changeLeave},
		{preferencesPath, p.showPreferences, p.changePreferences},
	} {
		routes = append(routes,
			route.Route{Method: "GET", Pattern: page.path, Cookies: true, Handle: p.showing(page.show)},
			route.Route{Method: "POST", Pattern: page.path, Cookies: true, Form: true, Handle: p.changing(page.show, page.change)})
	}
	return append(routes, p.accessRoutes()...)
}

// visit is a customer's request to a page of his account.
type visit struct {
	w      http.ResponseWriter
	r      *http.Request
	t      *tenant.Tenant
	client journey.Client
	who    *customer.Customer
	path   string       // of the page, within the tenant
	asked  bool         // the address says in which language
	state  accountState // what the page's form carries
	gone   bool         // there is nothing at this address
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// next is what comes of a change: another page, with a word on what was done, or
// the page once more with what is wrong.
type next struct {
	path  string       // "" for the page itself
	done  accountState // with what was done, if anything
	again *view.Page   // what to show instead of going on
	left  bool         // the answer has been written already
}

// visiting finds out who asks for a page of his account. It is false where the
// answer has been given: he signs in first.
func (p *Pages) visiting(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) (*visit, bool) {
	client, err := p.Client(w, r, t)
	if err != nil {
		p.broken(w, r, t, err)
		return nil, false
	}
	v := &visit{w: w, r: r, t: t, client: client, path: strings.TrimPrefix(r.URL.Path, t.Path), asked: r.URL.Query().Has("ui_locales")}
	if client.Session == nil {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			redirect(w, p.at(v, v.path))
			return nil, false
		}
		p.Begin(w, r, t, journey.Start{Journey: "sign-in", Return: journey.Return{Kind: returnAccount, Params: v.path}, Client: client})
		return nil, false
	}
	p.Seen(r.Context(), t, client.Session)
	if v.who, err = p.Directory.Get(r.Context(), t.ID, client.Session.Customer); err != nil {
		p.broken(w, r, t, fmt.Errorf("read the customer: %w", err))
		return nil, false
	}
	if !v.asked {
		if kept := p.spoken(t, v.who); kept != "" {
			v.client.Language = kept
		}
	}
	v.state.Session = client.Session.ID
	return v, true
}

// spoken is the language that the customer has chosen, "" for none that the
// tenant's pages have.
func (p *Pages) spoken(t *tenant.Tenant, who *customer.Customer) string {
	locale, _ := who.Profile["locale"].(string)
	for _, lang := range p.offered(t) {
		if locale == lang || strings.HasPrefix(locale, lang+"-") {
			return lang
		}
	}
	return ""
}

// showing answers a GET with a page.
func (p *Pages) showing(show func(*visit) (view.Page, error)) route.Handler {
	return func(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
		v, ok := p.visiting(w, r, t)
		if !ok {
			return
		}
		page, err := show(v)
		if err != nil {
			p.broken(w, r, t, err)
			return
		}
		page.Notice = p.noticeOf(v)
		p.drawPortal(v, page, 0)
	}
}

// drawPortal draws a page of the account with what stands around it.
func (p *Pages) drawPortal(v *visit, page view.Page, status int) {
	if v.gone {
		p.draw(v.w, v.r, v.t, sheet{status: http.StatusNotFound, page: view.Page{Lang: v.client.Language, Data: view.NotFound{HomeURL: p.at(v, accountPath)}}})
		return
	}
	state, err := p.sealAccount(v.ctx(), v.t, v.state)
	if err != nil {
		p.broken(v.w, v.r, v.t, err)
		return
	}
	page.Lang, page.Languages, page.State = v.client.Language, p.offered(v.t), state
	page.Action = v.t.Path + v.path
	if v.asked {
		page.Action += "?ui_locales=" + url.QueryEscape(v.client.Language)
	}
	member, err := p.Organizations.Member(v.ctx(), v.t.ID, v.who.ID)
	if err != nil {
		p.broken(v.w, v.r, v.t, err)
		return
	}
	page.Portal = &view.Portal{HomeURL: p.at(v, accountPath)}
	for _, door := range doors {
		if door.path == organizationsPath && !member { // most customers are in none
			continue
		}
		page.Portal.Links = append(page.Portal.Links, view.PortalLink{
			Name: door.name, URL: p.at(v, door.path), Here: v.path == door.path || strings.HasPrefix(v.path, door.path+"/"),
		})
	}
	p.draw(v.w, v.r, v.t, sheet{status: status, page: page})
}

// at is the address of a page of the account. The language that the address
// asks for stays while the customer goes about.
func (p *Pages) at(v *visit, path string) string {
	address := v.t.URL(path)
	if v.asked {
		address += "?ui_locales=" + url.QueryEscape(v.client.Language)
	}
	return address
}

// changing answers a POST of a page's form. What may be changed is the
// customer's own only: every id is looked for beneath him.
func (p *Pages) changing(show func(*visit) (view.Page, error), change func(*visit, url.Values) (next, error)) route.Handler {
	return func(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
		form, ok := p.form(w, r, t)
		if !ok {
			return
		}
		v, ok := p.visiting(w, r, t)
		if !ok {
			return
		}
		if lang := form.Get("lang"); slices.Contains(p.offered(t), lang) {
			v.client.Language, v.asked = lang, true
			redirect(w, p.at(v, v.path))
			return
		}
		asked, genuine, err := p.openAccount(r.Context(), t, form.Get("state"))
		if err != nil {
			p.broken(w, r, t, err)
			return
		}
		if !genuine || asked.Session != v.client.Session.ID || asked.Done != "" {
			p.logRefused(r, t, string(view.FaultForged), "The state of a form of the account is none of ours, or of another session.")
			p.draw(w, r, t, sheet{status: http.StatusBadRequest, page: view.Page{Lang: v.client.Language,
				Data: view.Fault{Kind: view.FaultForged, BackURL: p.at(v, v.path)}}})
			return
		}
		v.state = asked
		if change == nil {
			redirect(w, p.at(v, v.path))
			return
		}
		then, err := change(v, form)
		switch {
		case err != nil:
			p.broken(w, r, t, err)
		case then.left:
		case then.again != nil:
			p.drawPortal(v, *then.again, 0)
		default:
			p.goOn(v, then)
		}
	}
}

// goOn sends the browser to a page of the account, which says what was done.
func (p *Pages) goOn(v *visit, then next) {
	path := then.path
	if path == "" {
		path = v.path
	}
	address, err := p.telling(v.ctx(), v.t, p.at(v, path), v.client.Session.ID, then.done)
	if err != nil {
		p.broken(v.w, v.r, v.t, err)
		return
	}
	redirect(v.w, address)
}

// telling adds to an address of the account's what has been done, for the
// session that did it.
func (p *Pages) telling(ctx context.Context, t *tenant.Tenant, address string, of id.Session, done accountState) (string, error) {
	if done.Done == "" {
		return address, nil
	}
	done.Session, done.At = of, p.Clock.Now().Unix()
	sealed, err := p.sealAccount(ctx, t, done)
	if err != nil {
		return "", err
	}
	separator := "?"
	if strings.Contains(address, "?") {
		separator = "&"
	}
	return address + separator + "done=" + sealed, nil
}

// accountPurpose is what the states of the account's pages are sealed for.
const accountPurpose = "account"

// accountState ties a form of the account to the session that it was shown in,
// with what its page showed; or carries over a redirect what has just been
// done.
type accountState struct {
	Session      id.Session        `json:"session"`
	Revision     int64             `json:"revision,omitempty"` // of the customer whom the page showed
	Shown        map[string]string `json:"shown,omitempty"`    // what the page's fields had in them, as short hashes
	Done         string            `json:"done,omitempty"`
	Application  id.Application    `json:"application,omitempty"`
	Organization id.Organization   `json:"organization,omitempty"`
	At           int64             `json:"at,omitempty"` // Unix seconds
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
func (p *Pages) noticeOf(v *visit) *view.Notice {
	sealed := v.r.URL.Query().Get("done")
	if sealed == "" {
		return nil
	}
	said, genuine, err := p.openAccount(v.ctx(), v.t, sealed)
	if err != nil || !genuine || said.Done == "" || said.Session != v.client.Session.ID || p.Clock.Now().Sub(time.Unix(said.At, 0)) > noticeLife {
		return nil
	}
	text := view.T("notice." + said.Done)
	if said.Application != "" {
		name := string(said.Application)
		if app, err := p.Applications.Get(v.ctx(), v.t.ID, said.Application); err == nil {
			name = app.Name
		}
		text = view.T("notice."+said.Done, "App", strings.TrimSpace(name))
	}
	if said.Organization != "" {
		name := string(said.Organization)
		if found, err := p.Organizations.Get(v.ctx(), v.t.ID, said.Organization); err == nil {
			name = found.Name
		}
		text = view.T("notice."+said.Done, "Organization", name)
	}
	return &view.Notice{Tone: view.OK, Text: text}
}
