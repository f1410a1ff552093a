package adminapi

import (
	"net/http"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/tenant"
)

// applicationView is an application as it is answered. Its secrets are not in
// it: they are told when they are made, and only hashes are kept.
type applicationView struct {
	ClientID id.Application `json:"client_id"`
	Tenant   id.Tenant      `json:"tenant"`
	Revision int64          `json:"revision"`
	application.Settings
}

func viewApplication(x *application.Application) applicationView {
	return applicationView{x.ID, x.Tenant, x.Revision, x.Settings}
}

// applicationOf finds the application that a path names within its tenant.
func (a *api) applicationOf(r *http.Request) (*tenant.Tenant, *application.Application, error) {
	t, err := a.tenantOf(r)
	if err != nil {
		return nil, nil, err
	}
	name, err := id.Parse[id.Application](r.PathValue("application"))
	if err != nil {
		return nil, nil, application.ErrNotFound
	}
	found, err := a.Applications.Get(r.Context(), t.ID, name)
	return t, found, err
}

func (a *api) listApplications(w http.ResponseWriter, r *http.Request) error {
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	given, err := parameters(r, "after", "limit")
	if err != nil {
		return err
	}
	after, limit, err := paging[id.Application](given)
	if err != nil {
		return err
	}
	found, err := a.Applications.List(r.Context(), t.ID, after, limit)
	if err != nil {
		return err
	}
	answer := page[applicationView]{Items: []applicationView{}, Next: next(found, limit, func(x *application.Application) string { return string(x.ID) })}
	for _, x := range found {
		answer.Items = append(answer.Items, viewApplication(x))
	}
	return respond(w, http.StatusOK, answer)
}

// createdApplication tells the secret, this once.
type createdApplication struct {
	applicationView
	Secret string `json:"client_secret,omitempty"`
}

func (a *api) createApplication(w http.ResponseWriter, r *http.Request) error {
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	if _, err := parameters(r); err != nil {
		return err
	}
	var settings application.Settings
	if err := decode(w, r, &settings); err != nil {
		return err
	}
	made, secret, err := a.Applications.Create(r.Context(), t.ID, "", settings, Operator)
	if err != nil {
		return err
	}
	return respond(w, http.StatusCreated, createdApplication{viewApplication(made), secret})
}

func (a *api) showApplication(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	_, found, err := a.applicationOf(r)
	if err != nil {
		return err
	}
	return respond(w, http.StatusOK, viewApplication(found))
}

// newSecret is how a secret is made.
type newSecret struct {
	KeepOld bool `json:"keep_old"` // the one before stays good until the next is made
}

type madeSecret struct {
	ClientID id.Application `json:"client_id"`
	Secret   string         `json:"client_secret"`
}

func (a *api) rotateSecret(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, found, err := a.applicationOf(r)
	if err != nil {
		return err
	}
	var wanted newSecret
	if err := decode(w, r, &wanted); err != nil {
		return err
	}
	secret, err := a.Applications.RotateSecret(r.Context(), t.ID, found.ID, wanted.KeepOld, Operator)
	if err != nil {
		return err
	}
	return respond(w, http.StatusCreated, madeSecret{found.ID, secret})
}
