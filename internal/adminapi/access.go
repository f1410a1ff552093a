package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/ratelimit"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Access is how requests from the network are let in.
type Access struct {
	// Authenticate reads an access token of the system tenant, and all that it
	// hangs on. It answers nil for one that is not good.
	Authenticate func(ctx context.Context, token string) (*Caller, error)
	Requests     *ratelimit.Limiter // by operator; nil limits nothing
	Failures     *ratelimit.Limiter // of authentication, by network; nil limits nothing
	Client       func(*http.Request) string
}

// Caller is whose token was presented.
type Caller struct {
	Subject string // a customer or an application of the system tenant
	Scopes  []string
}

// maxToken is longer than any token of ours.
const maxToken = 8 << 10

// admit finds out who asks and what he holds now. What is not granted is
// refused: the scope must be in the token and still held.
func (a *api) admit(w http.ResponseWriter, r *http.Request, o operation) (*call, error) {
	if a.access == nil {
		return &call{actor: Operator, subject: Operator, holding: operator.Everything()}, nil
	}
	caller, err := a.authenticate(w, r)
	if err != nil {
		return nil, err
	}
	if l := a.access.Requests; l != nil {
		if verdict := l.Allow(caller.Subject); !verdict.Allowed {
			return nil, tooMany(problem.New("too-many-requests", http.StatusTooManyRequests, "Too many requests",
				"Nothing was done. You ask more often than is allowed. Wait as long as Retry-After says."), verdict)
		}
	}
	held, err := a.Operators.Get(r.Context(), caller.Subject)
	if errors.Is(err, operator.ErrNotFound) {
		refused := problem.Forbidden("The token is good, and whoever it is of is no operator. Nothing was done.")
		a.logRefused(r.Context(), caller.Subject, o, refused)
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	for scopes, whose := range map[*[]string]string{&caller.Scopes: "The token", &held.Scopes: "The operator"} {
		if !slices.Contains(*scopes, o.scope) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_scope", scope=%q`, o.scope))
			refused := problem.Forbidden(fmt.Sprintf("%s does not hold the scope %s. Nothing was done.", whose, o.scope))
			a.logRefused(r.Context(), caller.Subject, o, refused)
			return nil, refused
		}
	}
	return &call{actor: operator.Actor(caller.Subject), subject: caller.Subject, holding: held.Holding}, nil
}

// authenticate reads the token of a request: from the header alone (RFC 6750,
// section 2.1).
func (a *api) authenticate(w http.ResponseWriter, r *http.Request) (*Caller, error) {
	refuse := func(challenge, detail string) error {
		w.Header().Set("WWW-Authenticate", challenge)
		return problem.New("unauthenticated", http.StatusUnauthorized, "Who asks is not known", detail)
	}
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return nil, refuse("Bearer", "Nothing was done. Send an access token of the system tenant in the Authorization header.")
	}
	scheme, token, found := strings.Cut(headers[0], " ")
	if len(headers) > 1 || !found || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken {
		return nil, refuse(`Bearer error="invalid_request"`, "Nothing was done. The Authorization header is Bearer and one access token.")
	}
	l := a.access.Failures
	network := func() string { return "adminapi " + ratelimit.Address(a.access.Client(r)) }
	if l != nil {
		if verdict := l.Check(network); !verdict.Allowed {
			return nil, tooMany(problem.New("too-many-requests", http.StatusTooManyRequests, "Too many requests",
				"Nothing was done. Too many tokens from your network were not good. Wait as long as Retry-After says."), verdict)
		}
	}
	caller, err := a.access.Authenticate(r.Context(), token)
	if err != nil {
		return nil, err
	}
	if caller == nil {
		if l != nil {
			l.Allow(network())
		}
		a.Logger.InfoContext(r.Context(), "a token for the admin API was not good", "request", string(id.RequestOf(r.Context())))
		return nil, refuse(`Bearer error="invalid_token"`, "Nothing was done. The access token is not one of the system tenant, has expired or was revoked. Get a new one.")
	}
	return caller, nil
}

func tooMany(e *problem.Error, verdict ratelimit.Verdict) error {
	e.Retry = verdict.RetryAfter
	return e
}

// reach finds the tenant that a path names, for those whom it is for. To all
// others there is no such tenant, and that they asked is on record.
func (a *api) reach(ctx context.Context, c *call, o operation, name string) error {
	t, err := a.findTenant(ctx, name)
	if err != nil {
		return err
	}
	if !c.holding.Reaches(t.ID) {
		if err := a.refusedTenant(ctx, c, o, t); err != nil {
			return err
		}
		return tenant.ErrNotFound
	}
	// Who changes the system tenant could make himself any operator.
	if t.ID == id.SystemTenant && operator.Writes(o.scope) && !c.holding.Full() {
		return problem.Forbidden("The system tenant is changed only by operators who hold every scope for all tenants. Nothing was done.")
	}
	c.tenant = t
	return nil
}

// logRefused tells the log of an operator who may not do what he asked for; err
// may be anything else, or nil. Tenants that are not his are on record as well.
func (a *api) logRefused(ctx context.Context, subject string, o operation, err error) {
	if told, is := errors.AsType[*problem.Error](err); is && told.Status == http.StatusForbidden {
		a.Logger.WarnContext(ctx, "an operator was refused", "request", string(id.RequestOf(ctx)), "operator", subject, "operation", o.id, "why", told.Detail)
	}
}

func (a *api) refusedTenant(ctx context.Context, c *call, o operation, t *tenant.Tenant) error {
	a.Logger.WarnContext(ctx, "an operator asked for a tenant that is not his", "operator", c.subject, "operation", o.id, "tenant", string(t.ID))
	return a.DB.Write(ctx, func(tx *sqldb.Tx) error {
		return a.Log.Append(tx, event.Event{Tenant: id.SystemTenant, Type: "operator.refused", Actor: c.actor,
			Data: map[string]any{"operation": o.id, "tenant": t.ID}})
	})
}

// everywhere refuses what concerns all tenants to those who are for some.
func everywhere(c *call) error {
	if !c.holding.All {
		return problem.Forbidden("This concerns all tenants, and the operator is for some. Nothing was done.")
	}
	return nil
}
