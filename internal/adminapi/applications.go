package adminapi

import (
	"context"
	"errors"
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
		id: "changeApplication", method: put, path: one, noun: applications, scope: "applications:write",
		summary:     "Change an application",
		description: "What the body names is changed, and the rest stays as it is; a list is replaced whole. disabled shuts the application, at once and for tokens that are out as well.",
		errors:      []int{404, 409, 412}, body: onlyJSON(partial[application.Settings](a)),
	}, a.changeApplication)
	declare(a, operation{
		id: "deleteApplication", method: remove, path: one, noun: applications, scope: "applications:write",
		summary:     "Delete an application",
		description: "For good. Its tokens are good for nothing at once, and nobody signs in to it any more.",
		errors:      []int{404, 409, 412},
	}, a.deleteApplication)
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
	v := ApplicationView{x.ID, x.Tenant, x.Revision, x.Settings}
	for _, list := range []*[]string{&v.RedirectURIs, &v.PostLogoutURIs, &v.Scopes, &v.GrantTypes} {
		if *list == nil {
			*list = []string{}
		}
	}
	return v
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

func answerApplication(x *application.Application) (*versioned[ApplicationView], error) {
	return &versioned[ApplicationView]{etag(x.Revision), viewApplication(x)}, nil
}

func (a *api) showApplication(ctx context.Context, in *struct{ ApplicationPath }) (*versioned[ApplicationView], error) {
	found, err := a.applicationOf(ctx, in.ApplicationPath)
	if err != nil {
		return nil, err
	}
	return answerApplication(found)
}

func (a *api) changeApplication(ctx context.Context, in *struct {
	ApplicationPath
	IfMatch
	RawBody []byte
},
) (*versioned[ApplicationView], error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		// What this node has read may be older than what another has changed.
		if err := a.Applications.Watch.Poll(ctx); err != nil {
			return nil, err
		}
		found, err := a.applicationOf(ctx, in.ApplicationPath)
		if err != nil {
			return nil, err
		}
		if revision != 0 && revision != found.Revision {
			return nil, applicationChanged()
		}
		settings, err := found.Settings.With(in.RawBody)
		if err != nil {
			return nil, err
		}
		changed, err := a.Applications.Update(ctx, found.Tenant, found.ID, found.Revision, settings, actor(ctx))
		if errors.Is(err, application.ErrChanged) {
			if revision != 0 {
				return nil, applicationChanged()
			}
			if attempt < settingsAttempts {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		return answerApplication(changed)
	}
}

func applicationChanged() error {
	return preconditionFailed("The application was changed by somebody else since it was read. Nothing was changed. Read it again and repeat.")
}

func (a *api) deleteApplication(ctx context.Context, in *struct {
	ApplicationPath
	IfMatch
},
) (*nothing, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	found, err := a.applicationOf(ctx, in.ApplicationPath)
	if err != nil {
		return nil, err
	}
	err = a.Applications.Delete(ctx, found.Tenant, found.ID, revision, actor(ctx))
	if errors.Is(err, application.ErrChanged) && revision != 0 {
		return nil, applicationChanged()
	}
	if err != nil {
		return nil, err
	}
	return &nothing{}, nil
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
