package adminapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/id"
)

func (a *api) applicationOperations() {
	const one = ofTenant + "/applications/{application}"
	declare(a, operation{
		id: "listApplications", method: get, path: ofTenant + "/applications", noun: applications, scope: "applications:read",
		summary: "List a tenant's applications", description: "In the order of their making, without their secrets.", errors: []int{404},
	}, a.listApplications)
	declare(a, operation{
		id: "createApplication", method: post, path: ofTenant + "/applications", noun: applications, scope: "applications:write", status: http.StatusCreated,
		summary:     "Create an application",
		description: "What is left out follows from the kind. The secret of an application that keeps one is in the answer, this once: only its hash is kept.",
		errors:      []int{404},
	}, a.createApplication)
	declare(a, operation{
		id: "showApplication", method: get, path: one, noun: applications, scope: "applications:read",
		summary: "Show an application", description: "Its settings, without its secrets.", errors: []int{404},
	}, a.showApplication)
	declare(a, operation{
		id: "makeApplicationSecret", method: post, path: one + "/secret", noun: applications, scope: "applications:write", status: http.StatusCreated,
		summary:     "Make a new secret for an application",
		description: "It is in the answer, this once. The one before dies at once, or with keep_old when the next is made.",
		errors:      []int{404},
	}, a.rotateSecret)
}

// ApplicationView is an application as it is answered. Its secrets are not in
// it: they are told when they are made, and only hashes are kept.
type ApplicationView struct {
	ClientID id.Application `json:"client_id"`
	Tenant   id.Tenant      `json:"tenant"`
	Revision int64          `json:"revision"`
	application.Settings
}

func viewApplication(x *application.Application) ApplicationView {
	return ApplicationView{x.ID, x.Tenant, x.Revision, x.Settings}
}

// applicationPath names an application of a tenant.
type ApplicationPath struct {
	TenantPath
	Application string `path:"application" doc:"The application's client_id." example:"app_06c1x5m8kz7v9b2n4q6r8t0w1y"`
}

// applicationOf finds the application that a path names within its tenant.
func (a *api) applicationOf(ctx context.Context, in ApplicationPath) (*application.Application, error) {
	name, err := id.Parse[id.Application](in.Application)
	if err != nil {
		return nil, application.ErrNotFound
	}
	return a.Applications.Get(ctx, tenantOf(ctx).ID, name)
}

func (a *api) listApplications(ctx context.Context, in *struct {
	TenantPath
	Paging
},
) (*answer[page[ApplicationView]], error) {
	after, err := afterOf[id.Application](in.Paging)
	if err != nil {
		return nil, err
	}
	found, err := a.Applications.List(ctx, tenantOf(ctx).ID, after, in.Limit)
	if err != nil {
		return nil, err
	}
	return answerWith(pageOf(found, in.Limit, func(x *application.Application) string { return string(x.ID) }, viewApplication))
}

// newApplication is what an application is made of.
type newApplication struct {
	application.Settings
}

// TransformSchema says what cannot be left out.
func (newApplication) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = []string{"name", "kind"}
	return s
}

// createdApplication tells the secret, this once.
type createdApplication struct {
	ApplicationView
	Secret string `json:"client_secret,omitempty" doc:"Told this once; missing for an application that keeps none."`
}

func (a *api) createApplication(ctx context.Context, in *struct {
	TenantPath
	Body newApplication
},
) (*answer[createdApplication], error) {
	made, secret, err := a.Applications.Create(ctx, tenantOf(ctx).ID, "", in.Body.Settings, actor(ctx))
	if err != nil {
		return nil, err
	}
	return answerWith(createdApplication{viewApplication(made), secret})
}

func (a *api) showApplication(ctx context.Context, in *struct{ ApplicationPath }) (*answer[ApplicationView], error) {
	found, err := a.applicationOf(ctx, in.ApplicationPath)
	if err != nil {
		return nil, err
	}
	return answerWith(viewApplication(found))
}

// newSecret is how a secret is made.
type newSecret struct {
	KeepOld bool `json:"keep_old,omitempty" doc:"The one before stays good until the next is made."`
}

type madeSecret struct {
	ClientID id.Application `json:"client_id"`
	Secret   string         `json:"client_secret" doc:"Told this once."`
}

func (a *api) rotateSecret(ctx context.Context, in *struct {
	ApplicationPath
	Body *newSecret
},
) (*answer[madeSecret], error) {
	found, err := a.applicationOf(ctx, in.ApplicationPath)
	if err != nil {
		return nil, err
	}
	secret, err := a.Applications.RotateSecret(ctx, found.Tenant, found.ID, in.Body != nil && in.Body.KeepOld, actor(ctx))
	if err != nil {
		return nil, err
	}
	return answerWith(madeSecret{found.ID, secret})
}
