package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/tenant"
)

func (a *api) tenantOperations() {
	declare(a, operation{
		id: "listTenants", method: get, path: "/tenants", noun: tenants, scope: "tenants:read", anyTenants: true,
		summary: "List tenants", description: "The tenants of the installation that you are for, in the order of their making.",
	}, a.listTenants)
	declare(a, operation{
		id: "createTenant", method: post, path: "/tenants", noun: tenants, scope: "tenants:write", status: http.StatusCreated,
		summary:     "Create a tenant",
		description: "The issuer is fixed from now on: applications know the tenant by it. Settings that are not named have their defaults.",
		errors:      []int{409},
	}, a.createTenant)
	declare(a, operation{
		id: "showTenant", method: get, path: ofTenant, noun: tenants, scope: "tenants:read",
		summary: "Show a tenant", description: "What the tenant is called and where it is served.", errors: []int{404},
	}, a.showTenant)
	declare(a, operation{
		id: "showTenantSettings", method: get, path: ofTenant + "/settings", noun: tenants, scope: "tenants:read",
		summary: "Show a tenant's settings", description: "All of them, those that have their defaults included.", errors: []int{404},
	}, a.showSettings)
	declare(a, operation{
		id: "changeTenantSettings", method: put, path: ofTenant + "/settings", noun: tenants, scope: "tenants:write",
		summary:     "Change a tenant's settings",
		description: "What the body names is changed, and the rest stays as it is; a list is replaced whole. The body may be YAML.",
		errors:      []int{404, 409, 412}, body: jsonOrYAML(partial[tenant.Settings](a)),
	}, a.applySettings)
	declare(a, operation{
		id: "suspendTenant", method: post, path: ofTenant + "/suspend", noun: tenants, scope: "tenants:write",
		summary: "Shut a tenant", description: "Nobody signs in, and tokens are not good any more, until it is opened again. It may be repeated.", errors: []int{404, 409},
	}, a.setSuspended(true))
	declare(a, operation{
		id: "resumeTenant", method: post, path: ofTenant + "/resume", noun: tenants, scope: "tenants:write",
		summary: "Open a tenant again", description: "Ends a suspension. It may be repeated.", errors: []int{404, 409},
	}, a.setSuspended(false))
}

// tenantView is a tenant as it is answered.
type tenantView struct {
	ID        id.Tenant `json:"id"`
	Slug      string    `json:"slug"`
	Name      string    `json:"name"`
	Issuer    string    `json:"issuer" doc:"The address that tokens name, and that applications find everything else by."`
	Suspended bool      `json:"suspended"`
	Brand     string    `json:"brand" doc:"The name of the brand."`
	Revision  int64     `json:"revision"`
	Warnings  []string  `json:"warnings,omitempty" doc:"What is allowed but weak."`
}

func viewTenant(t *tenant.Tenant) tenantView {
	return tenantView{t.ID, t.Slug, t.Name, t.Issuer, t.Suspended, t.Brand.Name, t.Revision, t.Settings.Warnings()}
}

func (a *api) listTenants(ctx context.Context, in *struct{ Paging }) (*answer[page[tenantView]], error) {
	after, err := afterOf[id.Tenant](in.Paging)
	if err != nil {
		return nil, err
	}
	h := callOf(ctx).holding
	if !h.All {
		return a.boundTenants(ctx, h.Tenants, after, in.Limit)
	}
	found, err := a.Tenants.List(ctx, after, in.Limit)
	if err != nil {
		return nil, err
	}
	return answerWith(pageOf(found, in.Limit, func(t *tenant.Tenant) string { return string(t.ID) }, viewTenant))
}

// boundTenants lists those of the named tenants that there are.
func (a *api) boundTenants(ctx context.Context, names []id.Tenant, after id.Tenant, limit int) (*answer[page[tenantView]], error) {
	var found []*tenant.Tenant
	for _, name := range slices.Sorted(slices.Values(names)) {
		if name <= after || len(found) == limit {
			continue
		}
		t, err := a.Tenants.ByID(ctx, name)
		if errors.Is(err, tenant.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, t)
	}
	return answerWith(pageOf(found, limit, func(t *tenant.Tenant) string { return string(t.ID) }, viewTenant))
}

// newTenant is what a tenant is made of.
type newTenant struct {
	Slug     string          `json:"slug" doc:"Short name in paths and commands: lower-case letters, digits and hyphens." example:"shop"`
	Name     string          `json:"name" example:"The Shop"`
	Issuer   string          `json:"issuer,omitempty" doc:"An origin of its own; without one the tenant is served by path." example:"https://id.shop.example"`
	Brand    string          `json:"brand,omitempty" doc:"The name of its brand; without one the tenant's name."`
	Settings json.RawMessage `json:"settings,omitempty" doc:"What differs from the defaults."`
}

func (a *api) createTenant(ctx context.Context, in *struct{ Body newTenant }) (*answer[tenantView], error) {
	n := in.Body
	settings, err := tenant.ParseSettings(tenant.Defaults(), n.Settings)
	if err != nil {
		return nil, refused(reason(err, err))
	}
	made := tenant.New{Slug: n.Slug, Name: n.Name, Issuer: n.Issuer, Brand: n.Brand, Settings: settings, Actor: actor(ctx)}
	if n.Issuer == "" {
		if a.BaseURL == "" {
			return nil, refused("the tenant needs an issuer such as https://id.example.com, as this installation has no base_url to serve tenants by path")
		}
		made.Issuer, made.ByPath = a.BaseURL, true
	}
	t, err := a.Tenants.Create(ctx, made)
	if err != nil {
		return nil, err
	}
	return answerWith(viewTenant(t))
}

func (a *api) showTenant(ctx context.Context, _ *struct{ TenantPath }) (*answer[tenantView], error) {
	return answerWith(viewTenant(tenantOf(ctx)))
}

// setSuspended shuts a tenant, or opens it again. The tenant of the operators
// stays open.
func (a *api) setSuspended(suspended bool) func(context.Context, *struct{ TenantPath }) (*answer[tenantView], error) {
	return func(ctx context.Context, _ *struct{ TenantPath }) (_ *answer[tenantView], err error) {
		t := tenantOf(ctx)
		if t.ID == id.SystemTenant {
			return nil, problem.Conflict("The tenant of the operators is not suspended. Nothing was changed.")
		}
		if t.Suspended != suspended {
			if t, err = a.Tenants.SetSuspended(ctx, t.ID, suspended, actor(ctx)); err != nil {
				return nil, err
			}
		}
		return answerWith(viewTenant(t))
	}
}

// settingsView is a tenant's settings as they are answered.
type settingsView struct {
	Tenant   id.Tenant       `json:"tenant"`
	Revision int64           `json:"revision"`
	Settings tenant.Settings `json:"settings"`
	Warnings []string        `json:"warnings,omitempty" doc:"What is allowed but weak."`
}

func answerSettings(t *tenant.Tenant) (*versioned[settingsView], error) {
	return &versioned[settingsView]{etag(t.Revision), settingsView{t.ID, t.Revision, t.Settings, t.Settings.Warnings()}}, nil
}

func (a *api) showSettings(ctx context.Context, _ *struct{ TenantPath }) (*versioned[settingsView], error) {
	return answerSettings(tenantOf(ctx))
}

// settingsAttempts is how often settings are applied on top of newer ones,
// where the caller did not say which ones they were meant for.
const settingsAttempts = 5

// applySettings changes what the body names and leaves the rest as it is.
func (a *api) applySettings(ctx context.Context, in *struct {
	TenantPath
	IfMatch
	RawBody []byte
},
) (*versioned[settingsView], error) {
	wanted, err := in.revision()
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		// What this node has read may be older than what another has applied.
		if err := a.Tenants.Watch.Poll(ctx); err != nil {
			return nil, err
		}
		t, err := a.Tenants.ByID(ctx, tenantOf(ctx).ID)
		if err != nil {
			return nil, err
		}
		if wanted != 0 && t.Revision != wanted {
			return nil, settingsChanged(t.Revision)
		}
		base, err := copySettings(t.Settings)
		if err != nil {
			return nil, err
		}
		settings, err := tenant.ParseSettings(base, in.RawBody)
		if err != nil {
			return nil, refused(reason(err, err))
		}
		if err := maySendAs(ctx, t.Settings.Mail.FromAddress, settings.Mail.FromAddress); err != nil {
			return nil, err
		}
		applied, err := a.Tenants.Apply(ctx, t.ID, t.Revision, settings, actor(ctx))
		if errors.Is(err, tenant.ErrChanged) && wanted != 0 {
			return nil, settingsChanged(0)
		}
		if errors.Is(err, tenant.ErrChanged) && attempt < settingsAttempts {
			continue
		}
		if err != nil {
			return nil, err
		}
		return answerSettings(applied)
	}
}

func settingsChanged(present int64) error {
	detail := "The settings were changed by somebody else since they were read. Nothing was changed. Read them again and repeat."
	if present != 0 {
		detail += fmt.Sprintf(" They are at revision %d now.", present)
	}
	return preconditionFailed(detail)
}

// copySettings makes settings that share nothing with a tenant that others
// read.
func copySettings(shared tenant.Settings) (tenant.Settings, error) {
	text, err := json.Marshal(shared)
	if err != nil {
		return tenant.Settings{}, fmt.Errorf("copy the settings: %w", err)
	}
	var own tenant.Settings
	if err := json.Unmarshal(text, &own); err != nil {
		return tenant.Settings{}, fmt.Errorf("copy the settings: %w", err)
	}
	return own, nil
}
