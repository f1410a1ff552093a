// Package adminapi is the admin API: the capabilities of the product as JSON
// over HTTP, for operators and their programs. Failures are problem documents
// (RFC 9457), and an OpenAPI 3.1 document is made from what is mounted.
//
// To add an operation, write its handler in the file of its noun,
//
//	func (a *api) showThing(ctx context.Context, in *thingPath) (*answer[thingView], error)
//
// where in is a struct of parameters (tags path, query, header) and perhaps a
// Body, and declare it there beside the others of the noun:
//
//	declare(a, operation{
//		id: "showThing", method: get, path: ofTenant + "/things/{thing}", noun: things, scope: "things:read",
//		summary: "Show a thing", description: "What it is, and what it is not.", errors: []int{404},
//	}, a.showThing)
//
// A new noun is one more line in operations, and one in nouns (document.go).
// Its scopes stand in package operator. What every
// operation needs is done before its handler runs, in pipeline.go: the
// tenant that a path names is found and is tenantOf(ctx), and who acts is
// actor(ctx), which belongs into every event. Bodies are checked against the
// schema that their type makes: fields are required unless their tag has
// omitempty or required:"false", and unknown ones are refused.
//
// Lists are paged by key: "next" of one page is "after" of the next. What
// belongs to a tenant is addressed below it and looked for there alone, so that
// one tenant's path with another's object is 404. No answer has a secret in it
// but the one that has just been made, and no operator sets a password.
package adminapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/backup"
	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/idempotency"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/signingkey"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Operator is the actor of what is done by somebody who may run the server's
// commands. It names nobody in particular.
const Operator = "operator"

// Options are the parts that the handlers call. All are required, but for
// BaseURL and BackedUp.
type Options struct {
	DB            *sqldb.DB
	KeyStore      *sqldb.DB
	Ring          *keyring.Ring
	Log           *event.Log
	Budgets       *budget.Budgets
	Tenants       *tenant.Store
	Applications  *application.Store
	Directory     *customer.Directory
	Sessions      *session.Sessions
	Grants        *grant.Grants
	Organizations *organization.Organizations
	SigningKeys   *signingkey.Keys
	Outbox        *notify.Outbox
	Explanations  *explain.Journal
	Operators     *operator.Operators
	Once          *idempotency.Keys
	Previews      Previews
	Claims        ClaimPreviews
	Mail          Mail
	// OperatorLink is the address of a one-time link that makes an operator.
	OperatorLink func(ctx context.Context, secret string) (string, error)
	// BackedUp tells of a backup that was made; nil tells nobody.
	BackedUp func(ctx context.Context, name string) error
	BaseURL  string // where tenants without a host of their own are served
	RootID   string // of the root key, to be noted in backups
	Release  string // of the program
	Clock    clock.Clock
	Random   io.Reader
	Logger   *slog.Logger
}

type api struct {
	Options
	problems problem.Writer
	mux      *http.ServeMux
	huma     huma.API
	declared []*huma.Operation
	access   *Access // nil on the socket, where everybody holds everything
}

// operations declares what can be done, noun by noun.
func (a *api) operations() {
	a.tenantOperations()
	a.brandOperations()
	a.applicationOperations()
	a.customerOperations()
	a.searchOperations()
	a.lifecycleOperations()
	a.claimOperations()
	a.identifierOperations()
	a.sessionOperations()
	a.organizationOperations()
	a.eventOperations()
	a.errorOperations()
	a.messageOperations()
	a.keyOperations()
	a.recordOperations()
	a.operatorOperations()
	a.backupOperations()
}

// New returns the handler for the socket and for calls in process. Whoever can
// reach either could read the data folder too: it asks for no further
// authentication, and must not be mounted on a network.
func New(o Options) http.Handler { return mount(o, nil) }

// NewHTTP returns the handler for the network: each request carries an access
// token of an operator.
func NewHTTP(o Options, access Access) http.Handler { return mount(o, &access) }

func mount(o Options, access *Access) http.Handler {
	a := &api{Options: o, access: access, problems: problem.Writer{Logger: o.Logger, Clock: o.Clock, Random: o.Random}, mux: http.NewServeMux()}
	a.huma = huma.NewAPI(describe(), adapter{a})
	a.operations()
	a.mountDocument()
	a.mountReference()
	a.mux.HandleFunc("/", a.elsewhere)
	return a.problems.Recover(a.mux)
}

// elsewhere answers what no operation is for: with the methods that the address
// has, where it has some (RFC 9110, section 15.5.6).
func (a *api) elsewhere(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{get, http.MethodHead, post, put, patch, remove} {
		probe := *r
		probe.Method = method
		if _, pattern := a.mux.Handler(&probe); pattern != "" && pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		a.problems.Write(w, r, problem.NotFound("There is nothing at this address."))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	a.problems.Write(w, r, problem.New("method-not-allowed", http.StatusMethodNotAllowed, "The method is not for this address",
		"Nothing was changed. This address takes "+strings.Join(allowed, ", ")+"."))
}

func (a *api) source() backup.Source {
	return backup.Source{DB: a.DB, Store: a.KeyStore, Ring: a.Ring, Root: a.RootID, Release: a.Release, Clock: a.Clock, Random: a.Random}
}
