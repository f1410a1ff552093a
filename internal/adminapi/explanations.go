package adminapi

import (
	"errors"
	"net/http"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/tenant"
)

// explanationView is what a support person may see of an error.
type explanationView struct {
	explain.Record
	TenantName      string `json:"tenant_name,omitempty"`
	ApplicationName string `json:"application_name,omitempty"`
	Advice          string `json:"advice"`
}

// explainError tells what stands behind an error's id: of the installation, or
// of the tenant that the path names.
func (a *api) explainError(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	fault, err := id.Read[id.Fault](r.PathValue("error"))
	if err != nil {
		return badRequest("An error's id is err_ and 26 letters and digits. See whether it was read out right.")
	}
	var only id.Tenant
	if r.PathValue("tenant") != "" {
		t, err := a.tenantOf(r)
		if err != nil {
			return err
		}
		only = t.ID
	}
	found, err := a.Explanations.Find(r.Context(), fault)
	if err != nil {
		return unexplained(err)
	}
	if only != "" && found.Tenant != only {
		return unexplained(explain.ErrUnknown)
	}
	view := explanationView{Record: found, Advice: found.Advice()}
	if found.Tenant != "" {
		t, err := a.Tenants.ByID(r.Context(), found.Tenant)
		if err != nil && !errors.Is(err, tenant.ErrNotFound) {
			return err
		}
		if err == nil {
			view.TenantName = t.Slug
		}
	}
	if found.Application != "" {
		app, err := a.Applications.Get(r.Context(), found.Tenant, found.Application)
		if err != nil && !errors.Is(err, application.ErrNotFound) {
			return err
		}
		if err == nil {
			view.ApplicationName = app.Name
		}
	}
	return respond(w, http.StatusOK, view)
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
