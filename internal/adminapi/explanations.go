package adminapi

import (
	"context"
	"errors"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/tenant"
)

// explanationView is what a support person may see of an error.
type explanationView struct {
	explain.Record
	TenantName      string `json:"tenant_name,omitempty" doc:"The tenant's slug."`
	ApplicationName string `json:"application_name,omitempty" doc:"The application's name."`
	Advice          string `json:"advice" doc:"What to do."`
}

func (a *api) errorOperations() {
	const what = "What stands behind the id of an error that a customer or an application was shown, for whoever is asked about it: the door, " +
		"the check that decided, why, and what to do. It holds nothing that was typed and nothing personal but the customer's id, and is kept " +
		"for seven days; of a flood of errors not all are."
	declare(a, operation{
		id: "explainError", method: get, path: "/errors/{error}", noun: events, scope: "events:read",
		summary: "Explain an error", description: what, errors: []int{404},
	}, a.explainError)
	declare(a, operation{
		id: "explainErrorOfTenant", method: get, path: ofTenant + "/errors/{error}", noun: events, scope: "events:read",
		summary: "Explain an error of a tenant", description: what + " Another tenant's is not known here.", errors: []int{404},
	}, a.explainErrorOfTenant)
}

// ErrorPath names an error. It is exported because huma does not see into
// embedded types that are not.
type ErrorPath struct {
	Error string `path:"error" doc:"The id of the error, as it was shown or read out." example:"err_06c1x5m8kz7v9b2n4q6r8t0w1y"`
}

func (a *api) explainError(ctx context.Context, in *ErrorPath) (*answer[explanationView], error) {
	return a.explanation(ctx, in.Error, "")
}

func (a *api) explainErrorOfTenant(ctx context.Context, in *struct {
	TenantPath
	ErrorPath
},
) (*answer[explanationView], error) {
	return a.explanation(ctx, in.Error, tenantOf(ctx).ID)
}

// explanation tells what stands behind an error, of any tenant or of one alone.
func (a *api) explanation(ctx context.Context, text string, only id.Tenant) (*answer[explanationView], error) {
	fault, err := id.Read[id.Fault](text)
	if err != nil {
		return nil, badRequest("An error's id is err_ and 26 letters and digits. See whether it was read out right.")
	}
	found, err := a.Explanations.Find(ctx, fault)
	if err != nil {
		return nil, unexplained(err)
	}
	if only != "" && found.Tenant != only {
		return nil, unexplained(explain.ErrUnknown)
	}
	view := explanationView{Record: found, Advice: found.Advice()}
	if found.Tenant != "" {
		t, err := a.Tenants.ByID(ctx, found.Tenant)
		if err != nil && !errors.Is(err, tenant.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			view.TenantName = t.Slug
		}
	}
	if found.Application != "" {
		app, err := a.Applications.Get(ctx, found.Tenant, found.Application)
		if err != nil && !errors.Is(err, application.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			view.ApplicationName = app.Name
		}
	}
	return answerWith(view)
}

// unexplained says why an error cannot be explained.
func unexplained(err error) error {
	if dropped, is := errors.AsType[*explain.DroppedError](err); is {
		e := problem.NotFound("The error was met, and " + dropped.Error() + ": there were more than are written down, or it was on a node that has stopped since. If it was one of ours, the log has it by its id.")
		return e.Because(err)
	}
	if expired, is := errors.AsType[*explain.ExpiredError](err); is {
		return problem.NotFound("The error is not known any more: " + expired.Error() + ".").Because(err)
	}
	if errors.Is(err, explain.ErrUnknown) {
		return problem.NotFound("No such error is known here. See whether the id was read out right; a node writes what it has met within a second.")
	}
	return err
}
