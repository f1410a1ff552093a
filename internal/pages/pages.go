// Package pages is the surface that customers see: the hosted pages of
// journeys and the pages of a customer's account.
//
// It parses a request once, asks the journey engine or a capability, and has
// package view draw what came of it. It holds no rule and no SQL: which page
// comes next is the engine's to say, whose session may be ended is checked
// where sessions are kept.
//
// A journey's state travels in the form field "state" of POST /journey, sealed
// by the engine and bound to the journey cookie, which changes when the
// customer authenticates (DESIGN.md, rule 3). Before the sealed state stands
// the language that was chosen, so that it stays for the whole journey.
//
// Other surfaces show pages through Client, Begin, Fault, ConfirmSignOut,
// SignedOut and Languages, and go on after a journey through Options.Resume.
package pages

import (
	"context"
	"io"
	"log/slog"
	"net/http"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/brand"
	"github.com/cardea-id/cardea/internal/browser"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/clientip"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/route"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// The kinds of journey.Return that pages know. One of kind "authorize" has an
// authorization request's query as its parameters, and can be begun again by
// sending that once more.
const (
	returnAccount   = "account"
	returnAuthorize = "authorize"
	returnRecovery  = "recovery" // another journey follows

	// returnJoin goes on with the invitation whose link the parameters are,
	// until it is answered.
	returnJoin = "join"
)

// Options are what Pages work with. All are required.
type Options struct {
	Engine        *journey.Engine
	Directory     *customer.Directory
	Sessions      *session.Sessions
	Grants        *grant.Grants
	Organizations *organization.Organizations
	Claims        *claim.Sets
	Passwords     *credential.Passwords
	Applications  *application.Store
	Views         *view.Views
	Jar           browser.Jar
	Resolver      *clientip.Resolver
	DB            *sqldb.DB
	Ring          *keyring.Ring
	Clock         clock.Clock
	Random        io.Reader // cryptographically secure, safe for concurrent use
	Logger        *slog.Logger
	// Resume goes on after a journey, by its journey.Return.Kind; "account" is
	// known without. The request that it gets answers Client with what the
	// journey has left.
	Resume map[string]func(http.ResponseWriter, *http.Request, *tenant.Tenant, *journey.Finished)
	// BrandAsset returns a file of the tenant's brand by its name, or
	// tenant.ErrNoAsset.
	BrandAsset func(ctx context.Context, t *tenant.Tenant, name string) (brand.Asset, []byte, error)
	Enrolment  Enrolment // nil where there are no operators to be made
}

// Pages answers customers' browsers. It is safe for concurrent use.
type Pages struct {
	Options
	looks *looks
}

// New returns the pages.
func New(o Options) *Pages { return &Pages{Options: o, looks: newLooks(o.Views)} }

// Routes lists what the pages answer.
func (p *Pages) Routes() []route.Route {
	return append([]route.Route{
		{Method: "GET", Pattern: "/{$}", Handle: p.home},
		{Method: "GET", Pattern: "/sign-in", Cookies: true, Handle: p.begin("sign-in")},
		{Method: "GET", Pattern: "/sign-up", Cookies: true, Handle: p.begin("sign-up")},
		{Method: "GET", Pattern: "/recover", Cookies: true, Handle: p.recover},
		{Method: "GET", Pattern: "/not-me", Cookies: true, Handle: p.notMe},
		{Method: "GET", Pattern: "/join", Cookies: true, Handle: p.join},
		{Method: "GET", Pattern: "/invitation", Cookies: true, Handle: p.invitation},
		{Method: "POST", Pattern: journeyPath, Cookies: true, Form: true, Handle: p.answer},
		{Method: "GET", Pattern: "/operator", Handle: p.operator},
		{Method: "POST", Pattern: "/operator", Cookies: true, Form: true, Handle: p.enrol},
		{Method: "GET", Pattern: "/signed-out", Cookies: true, Handle: p.SignedOut},
		{Method: "GET", Pattern: "/assets/{name}", Handle: p.asset},
		{Method: "GET", Pattern: "/assets/brand/{name}", Handle: p.brandAsset},
	}, p.portalRoutes()...)
}

// journeyPath is where the forms of journeys are posted.
const journeyPath = "/journey"

// home is the tenant's address itself.
func (p *Pages) home(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	redirect(w, t.URL("/account"))
}

// begin opens a journey that leads to the account page, unless the customer is
// signed in.
func (p *Pages) begin(name string) route.Handler {
	return func(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
		client, err := p.Client(w, r, t)
		if err != nil {
			p.broken(w, r, t, err)
			return
		}
		if client.Session != nil {
			redirect(w, t.URL("/account"))
			return
		}
		p.Begin(w, r, t, journey.Start{Journey: name, Return: journey.Return{Kind: returnAccount}, Client: client})
	}
}

// recover opens a recovery that leads to the account page. Who is signed in may
// have forgotten his password all the same.
func (p *Pages) recover(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	client, err := p.Client(w, r, t)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	p.Begin(w, r, t, journey.Start{Journey: "recovery", Return: journey.Return{Kind: returnAccount}, Client: client,
		LoginHint: r.URL.Query().Get("login_hint")})
}

// notMe is what the link of a notice opens. It changes nothing: mail filters
// open links too.
func (p *Pages) notMe(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	client, err := p.Client(w, r, t)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	p.Begin(w, r, t, journey.Start{Journey: "not-me", Return: journey.Return{Kind: returnRecovery}, Client: client, Link: linkOf(r)})
}

// invitation is what the link of an invitation opens. It changes nothing either.
func (p *Pages) invitation(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	client, err := p.Client(w, r, t)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	p.Begin(w, r, t, journey.Start{Journey: "invitation", Return: journey.Return{Kind: returnAccount}, Client: client, Link: linkOf(r)})
}

// linkOf is what the link of a message carries.
func linkOf(r *http.Request) string {
	link := r.URL.Query().Get("link")
	if len(link) > maxLink {
		return ""
	}
	return link
}

// maxLink is the longest link that is read.
const maxLink = 2048

// redirect sends a browser on by GET (RFC 9700, section 4.12: never 307). The
// address is one of the tenant's own or sealed by us, never the request's.
func redirect(w http.ResponseWriter, address string) {
	w.Header().Set("Location", address)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusSeeOther)
}
