package adminapi

import (
	"context"
	"errors"
	"slices"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/tenant"
)

// ClaimPreview is what an application would get of a customer: in its ID token,
// in its access token and from userinfo.
type ClaimPreview struct {
	Scopes      []string       `json:"scopes"`
	IDToken     map[string]any `json:"id_token"`
	AccessToken map[string]any `json:"access_token"`
	UserInfo    map[string]any `json:"userinfo"`
	Dropped     []DroppedClaim `json:"dropped" doc:"Claims whose mapping fails for this customer."`
}

// DroppedClaim is a mapped claim that an application would not get.
type DroppedClaim struct {
	Name string `json:"name"`
	In   string `json:"in"`
	Why  string `json:"why"`
}

// ClaimPreviews shows what an application would get, by what makes its tokens.
// Mappings, where there are any, are tried in place of the application's own.
type ClaimPreviews func(ctx context.Context, t *tenant.Tenant, app *application.Application, who *customer.Customer, scopes []string, resource string, mappings []claim.Mapping) (*ClaimPreview, error)

func (a *api) claimOperations() {
	const one = ofTenant + "/applications/{application}/claims"
	declare(a, operation{
		id: "replaceApplicationClaims", method: put, path: one, noun: applications, scope: "applications:write",
		summary:     "Replace the claims that are mapped for an application",
		description: "Those of the tenant, in its settings, hold too, unless the application has one of the same name. They hold from the next token on.",
		errors:      []int{404, 409},
	}, a.replaceClaims)
	declare(a, operation{
		id: "previewApplicationClaims", method: post, path: one + "/preview", noun: applications, scope: "customers:read",
		summary:     "Show which claims an application would get of a customer",
		description: "In its ID token, in its access token and from userinfo, as if the customer had allowed it. With claims, these are tried in place of the application's own, and nothing is stored.",
		errors:      []int{404, 410},
	}, a.previewClaims)
}

func (a *api) replaceClaims(ctx context.Context, in *struct {
	ApplicationPath
	Body struct {
		Revision int64           `json:"revision" minimum:"1" doc:"Of the application, as it was read."`
		Claims   []claim.Mapping `json:"claims" doc:"[] removes them."`
	}
},
) (*answer[ApplicationView], error) {
	app, err := a.applicationOf(ctx, in.ApplicationPath)
	if err != nil {
		return nil, err
	}
	settings := app.Settings
	settings.Claims = in.Body.Claims
	changed, err := a.Applications.Update(ctx, app.Tenant, app.ID, in.Body.Revision, settings, actor(ctx))
	if err != nil {
		return nil, err
	}
	return answerWith(viewApplication(changed))
}

func (a *api) previewClaims(ctx context.Context, in *struct {
	ApplicationPath
	Body struct {
		Customer id.Customer     `json:"customer"`
		Scopes   []string        `json:"scopes,omitempty" doc:"That the token would have; without any, all that the application may ask for."`
		Resource string          `json:"resource,omitempty" doc:"The API that the access token would be for; without, the issuer's own endpoints."`
		Claims   []claim.Mapping `json:"claims,omitempty" doc:"To be tried in place of the application's own."`
	}
},
) (*answer[ClaimPreview], error) {
	app, err := a.applicationOf(ctx, in.ApplicationPath)
	if err != nil {
		return nil, err
	}
	if err := claim.Check(in.Body.Claims); err != nil {
		return nil, refused(reason(err, errors.New("")))
	}
	scopes := in.Body.Scopes
	if len(scopes) == 0 {
		scopes = app.Scopes
	}
	for _, scope := range scopes {
		if !slices.Contains(app.Scopes, scope) {
			return nil, problem.InvalidInput(problem.Field{Pointer: "/scopes", Detail: "names a scope that the application may not ask for"})
		}
	}
	if in.Body.Resource != "" && !slices.Contains(app.Resources, in.Body.Resource) {
		return nil, problem.InvalidInput(problem.Field{Pointer: "/resource", Detail: "is not a resource that the application may ask for"})
	}
	who, err := id.Parse[id.Customer](string(in.Body.Customer))
	if err != nil {
		return nil, customer.ErrNotFound
	}
	found, err := a.Directory.Get(ctx, tenantOf(ctx).ID, who)
	if err != nil {
		return nil, err
	}
	preview, err := a.Claims(ctx, tenantOf(ctx), app, found, scopes, in.Body.Resource, in.Body.Claims)
	if err != nil {
		return nil, err
	}
	return answerWith(*preview)
}
