// Package oauth is the surface that applications speak OAuth 2.1 and OpenID
// Connect to, one file an endpoint, a grant or a rule.
//
// Each request is parsed once into a struct. What is checked at which endpoint
// stands in one table (checks.go), and every grant goes through one pipeline
// (token.go), so that none can forget a shared step. Discovery is made from the
// routes that are mounted (metadata.go). A customer who must be asked something
// is handed to the journeys through Interaction, and comes back through
// Resume.
//
// The package holds no SQL. Where it departs from a specification stands in
// docs/divergences.md.
package oauth

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/browser"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/clientip"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/ratelimit"
	"github.com/cardea-id/cardea/internal/route"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/signingkey"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// ResumeKind is the journey.Return.Kind of journeys that an authorization
// request began.
const ResumeKind = "authorize"

// Interaction shows pages to a customer. internal/server fills it with the
// hosted pages.
type Interaction interface {
	// Client parses who sends a request, the browser's session included.
	Client(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) (journey.Client, error)
	// Seen records that the customer did something with his session.
	Seen(ctx context.Context, t *tenant.Tenant, s *session.Session)
	// Begin shows the first page of a journey.
	Begin(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, start journey.Start)
	// Fault shows the page of a request that cannot be answered to the
	// application: kind is "redirect", "application" or "request".
	Fault(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, kind string, detail string)
	// ConfirmSignOut asks whether to sign out everywhere. The answer goes to
	// the address action with the field state as it is, and decision: sign_out or stay.
	ConfirmSignOut(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, page SignOut)
	// Languages are those that a tenant's pages are shown in, the default first.
	Languages(t *tenant.Tenant) []string
	// SignedOut says that the customer is signed out.
	SignedOut(w http.ResponseWriter, r *http.Request, t *tenant.Tenant)
}

// SignOut is the page that asks whether to sign out everywhere.
type SignOut struct {
	Action      string                   // where the answer is posted
	State       string                   // sealed
	Application *application.Application // who asks, nil when unknown
	Target      string                   // where the answer is redirected to, "" for nowhere
}

// Options are what a Provider works with.
type Options struct {
	DB            *sqldb.DB
	Ring          *keyring.Ring
	Applications  *application.Store
	Directory     *customer.Directory
	Sessions      *session.Sessions
	Grants        *grant.Grants
	Organizations *organization.Organizations
	Claims        *claim.Sets
	ClaimDropped  func() // counts a mapped claim that failed; nil counts nothing
	SigningKeys   *signingkey.Keys
	Interaction   Interaction
	Jar           browser.Jar
	Resolver      *clientip.Resolver
	Failures      *ratelimit.Limiter // of client authentication, by network
	// Held are the scopes of the admin API that somebody of the system tenant
	// holds now; none for who is no operator.
	Held   func(ctx context.Context, subject string) ([]string, error)
	Clock  clock.Clock
	Random io.Reader
	Logger *slog.Logger
}

// Provider answers the protocol's endpoints.
type Provider struct {
	Options
	documents documents
}

// New returns a provider.
func New(o Options) *Provider {
	return &Provider{Options: o, documents: documents{made: map[id.Tenant]madeDocument{}}}
}

// Routes lists what the provider answers. Discovery is derived from it.
func (p *Provider) Routes() []route.Route {
	return p.withOthers([]route.Route{
		{Method: "GET", Pattern: "/.well-known/openid-configuration", Handle: p.open(p.metadata)},
		{Method: "GET", Pattern: "/.well-known/oauth-authorization-server", Handle: p.open(p.metadata)},
		{Method: "GET", Pattern: "/jwks", Handle: p.open(p.jwks)},
		{Method: "GET", Pattern: "/authorize", Cookies: true, Handle: p.authorize},
		{Method: "POST", Pattern: "/authorize", Form: true, Handle: p.authorizePost},
		{Method: "POST", Pattern: "/token", Handle: p.open(p.token)},
		{Method: "GET", Pattern: "/userinfo", Handle: p.open(p.userinfo)},
		{Method: "POST", Pattern: "/userinfo", Handle: p.open(p.userinfo)},
		{Method: "POST", Pattern: "/introspect", Handle: p.introspect},
		{Method: "POST", Pattern: "/revoke", Handle: p.open(p.revoke)},
		{Method: "GET", Pattern: "/end_session", Handle: p.endSession},
		{Method: "POST", Pattern: "/end_session", Form: true, Handle: p.endSession},
		{Method: "POST", Pattern: confirmSignOut, Cookies: true, Form: true, Handle: p.endSessionConfirm},
		{Method: "OPTIONS", Pattern: "/.well-known/openid-configuration", Handle: p.preflight},
		{Method: "OPTIONS", Pattern: "/.well-known/oauth-authorization-server", Handle: p.preflight},
		{Method: "OPTIONS", Pattern: "/jwks", Handle: p.preflight},
		{Method: "OPTIONS", Pattern: "/token", Handle: p.preflight},
		{Method: "OPTIONS", Pattern: "/userinfo", Handle: p.preflight},
		{Method: "OPTIONS", Pattern: "/revoke", Handle: p.preflight},
	})
}

// withOthers adds to routes an answer for the methods that they do not have:
// which they do (RFC 9110, section 15.5.6). What browsers alone come to has the
// page of an address that there is not.
func (p *Provider) withOthers(routes []route.Route) []route.Route {
	methods := map[string][]string{}
	for _, r := range routes {
		if r.Pattern == confirmSignOut {
			continue
		}
		methods[r.Pattern] = append(methods[r.Pattern], r.Method)
		if r.Method == http.MethodGet {
			methods[r.Pattern] = append(methods[r.Pattern], http.MethodHead)
		}
	}
	for _, pattern := range slices.Sorted(maps.Keys(methods)) {
		allowed := slices.Sorted(slices.Values(methods[pattern]))
		handle := p.otherMethod(strings.Join(allowed, ", "))
		if slices.Contains(allowed, http.MethodOptions) {
			handle = p.open(handle)
		}
		routes = append(routes, route.Route{Pattern: pattern, Handle: handle})
	}
	return routes
}

// otherMethod refuses a request for its method.
func (p *Provider) otherMethod(allowed string) route.Handler {
	return func(w http.ResponseWriter, r *http.Request, _ *tenant.Tenant) {
		w.Header().Set("Allow", allowed)
		f := refuse(codeInvalidRequest, "The method of the request is not one of "+allowed+".")
		f.status = http.StatusMethodNotAllowed
		p.writeError(w, r, f)
	}
}

// open lets scripts of any origin call an endpoint. It reads no cookie, so
// that there is nothing to borrow: credentials are never allowed.
func (p *Provider) open(handle route.Handler) route.Handler {
	return func(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
		handle(w, r, t)
	}
}

// preflight answers a browser that asks whether a script may call.
func (p *Provider) preflight(w http.ResponseWriter, _ *http.Request, _ *tenant.Tenant) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	h.Set("Access-Control-Max-Age", "7200")
	w.WriteHeader(http.StatusNoContent)
}

// lifetime returns the application's own setting where it has one.
func lifetime(own, tenants tenant.Duration) time.Duration {
	if own > 0 {
		return own.D()
	}
	return tenants.D()
}
