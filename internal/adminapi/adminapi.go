// Package adminapi is the operator's surface: the capabilities of the product
// as JSON over HTTP. Failures are problem documents (RFC 9457).
//
// It is mounted on a Unix socket that only the server's own user may open, and
// called in process by the commands when no server runs; whoever can do either
// could read the data folder too. It asks for no further authentication, and
// must not be mounted on a network.
//
// Bodies are strict: unknown fields, unknown parameters and trailing text are
// refused. Lists are paged by key: "next" of one page is "after" of the next.
// What belongs to a tenant is addressed below it and looked for there alone, so
// that one tenant's path with another's object is 404. No answer has a secret
// in it but the one that has just been made, and no operator sets a password.
package adminapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/backup"
	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/signingkey"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Operator is the actor of what is done here: somebody who may run the
// server's commands. It names nobody in particular.
const Operator = "operator"

// Options are the parts that the handlers call. All are required, but for
// BaseURL and BackedUp.
type Options struct {
	DB           *sqldb.DB
	KeyStore     *sqldb.DB
	Ring         *keyring.Ring
	Log          *event.Log
	Budgets      *budget.Budgets
	Tenants      *tenant.Store
	Applications *application.Store
	Directory    *customer.Directory
	Sessions     *session.Sessions
	Grants       *grant.Grants
	SigningKeys  *signingkey.Keys
	Outbox       *notify.Outbox
	Explanations *explain.Journal
	Previews     Previews
	BackedUp     func(ctx context.Context, name string) error // tells of a backup that was made; nil tells nobody
	BaseURL      string                                       // where tenants without a host of their own are served
	RootID       string                                       // of the root key, to be noted in backups
	Release      string                                       // of the program
	Clock        clock.Clock
	Random       io.Reader
	Logger       *slog.Logger
}

type api struct {
	Options
	problems problem.Writer
}

// route is one thing that can be done.
type route struct {
	pattern string
	handle  func(http.ResponseWriter, *http.Request) error
}

func (a *api) routes() []route {
	const (
		ofTenant      = "/v1/tenants/{tenant}"
		ofApplication = ofTenant + "/applications/{application}"
		ofCustomer    = ofTenant + "/customers/{customer}"
	)
	return []route{
		{"GET /v1/tenants", a.listTenants},
		{"POST /v1/tenants", a.createTenant},
		{"GET " + ofTenant, a.showTenant},
		{"GET " + ofTenant + "/settings", a.showSettings},
		{"PUT " + ofTenant + "/settings", a.applySettings},
		{"POST " + ofTenant + "/suspend", a.setSuspended(true)},
		{"POST " + ofTenant + "/resume", a.setSuspended(false)},
		{"GET " + ofTenant + "/brand", a.showBrand},
		{"PUT " + ofTenant + "/brand", a.applyBrand},
		{"PUT " + ofTenant + "/brand/assets/{role}", a.setBrandAsset},
		{"DELETE " + ofTenant + "/brand/assets/{role}", a.removeBrandAsset},
		{"POST " + ofTenant + "/brand/preview", a.previewBrand},
		{"GET " + ofTenant + "/events", a.listEvents},
		{"GET " + ofTenant + "/undelivered", a.listUndelivered},
		{"GET " + ofTenant + "/keys", a.listKeys},
		{"POST " + ofTenant + "/keys/rotate", a.rotateKeys},
		{"GET " + ofTenant + "/keys/lookup", a.showLookup},

		{"GET " + ofTenant + "/applications", a.listApplications},
		{"POST " + ofTenant + "/applications", a.createApplication},
		{"GET " + ofApplication, a.showApplication},
		{"POST " + ofApplication + "/secret", a.rotateSecret},

		{"GET " + ofTenant + "/customers", a.findCustomer},
		{"POST " + ofTenant + "/customers", a.createCustomer},
		{"GET " + ofCustomer, a.showCustomer},
		{"PUT " + ofCustomer + "/profile", a.setProfile},
		{"POST " + ofCustomer + "/identifiers", a.addIdentifier},
		{"POST " + ofCustomer + "/identifiers/{identifier}/verify", a.verifyIdentifier},
		{"DELETE " + ofCustomer + "/identifiers/{identifier}", a.removeIdentifier},
		{"POST " + ofCustomer + "/lock", a.setStatus(customer.Locked)},
		{"POST " + ofCustomer + "/unlock", a.unlock},
		{"POST " + ofCustomer + "/suspend", a.setStatus(customer.Suspended)},
		{"POST " + ofCustomer + "/activate", a.setStatus(customer.Active, customer.Suspended)},
		{"POST " + ofCustomer + "/erase", a.eraseCustomer},
		{"GET " + ofCustomer + "/sessions", a.listSessions},
		{"DELETE " + ofCustomer + "/sessions", a.endSessions},
		{"DELETE " + ofCustomer + "/sessions/{session}", a.endSession},
		{"GET " + ofCustomer + "/grants", a.listGrants},
		{"DELETE " + ofCustomer + "/grants/{application}", a.revokeGrant},

		{"GET /v1/root-key", a.showRoots},
		{"POST /v1/root-key/rewrap", a.rewrap},
		{"GET /v1/erasure-ledger", a.erasureLedger},
		{"POST /v1/backup", a.backUp},
		{"GET /v1/errors/{error}", a.explainError},
		{"GET " + ofTenant + "/errors/{error}", a.explainError},
	}
}

// New returns the handler.
func New(o Options) http.Handler {
	a := &api{Options: o, problems: problem.Writer{Logger: o.Logger, Clock: o.Clock, Random: o.Random}}
	mux := http.NewServeMux()
	for _, r := range a.routes() {
		mux.HandleFunc(r.pattern, func(w http.ResponseWriter, req *http.Request) {
			request := id.New[id.Request](a.Clock.Now(), a.Random)
			ctx, trail := explain.With(id.WithRequest(req.Context(), request))
			req = req.WithContext(ctx)
			trail.At(r.pattern, "")
			defer func() { a.Explanations.Note(trail, "operators") }()
			w.Header().Set("X-Request-Id", string(request))
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			if err := r.handle(w, req); err != nil {
				a.problems.Write(w, req, fault(err))
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		a.problems.Write(w, req, problem.NotFound("There is nothing at this address."))
	})
	return a.problems.Recover(mux)
}

func (a *api) source() backup.Source {
	return backup.Source{DB: a.DB, Store: a.KeyStore, Ring: a.Ring, Root: a.RootID, Release: a.Release, Clock: a.Clock, Random: a.Random}
}
