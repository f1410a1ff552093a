package adminapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/problem"
	"github.com/cardea-id/cardea/internal/tenant"
)

// tenantView is a tenant as it is answered.
type tenantView struct {
	ID        id.Tenant `json:"id"`
	Slug      string    `json:"slug"`
	Name      string    `json:"name"`
	Issuer    string    `json:"issuer"`
	Suspended bool      `json:"suspended"`
	Brand     string    `json:"brand"`
	Revision  int64     `json:"revision"`
	Warnings  []string  `json:"warnings,omitempty"`
}

func viewTenant(t *tenant.Tenant) tenantView {
	return tenantView{t.ID, t.Slug, t.Name, t.Issuer, t.Suspended, t.Brand.Name, t.Revision, t.Settings.Warnings()}
}

func (a *api) listTenants(w http.ResponseWriter, r *http.Request) error {
	given, err := parameters(r, "after", "limit")
	if err != nil {
		return err
	}
	after, limit, err := paging[id.Tenant](given)
	if err != nil {
		return err
	}
	found, err := a.Tenants.List(r.Context(), after, limit)
	if err != nil {
		return err
	}
	answer := page[tenantView]{Items: []tenantView{}, Next: next(found, limit, func(t *tenant.Tenant) string { return string(t.ID) })}
	for _, t := range found {
		answer.Items = append(answer.Items, viewTenant(t))
	}
	return respond(w, http.StatusOK, answer)
}

// newTenant is what a tenant is made of.
type newTenant struct {
	Slug     string          `json:"slug"`
	Name     string          `json:"name"`
	Issuer   string          `json:"issuer"`   // an origin of its own; "" for one that is served by path
	Brand    string          `json:"brand"`    // "" takes the name
	Settings json.RawMessage `json:"settings"` // what differs from the defaults
}

func (a *api) createTenant(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	var n newTenant
	if err := decode(w, r, &n); err != nil {
		return err
	}
	settings, err := tenant.ParseSettings(tenant.Defaults(), n.Settings)
	if err != nil {
		return refused(reason(err, err))
	}
	made := tenant.New{Slug: n.Slug, Name: n.Name, Issuer: n.Issuer, Brand: n.Brand, Settings: settings, Actor: Operator}
	if n.Issuer == "" {
		if a.BaseURL == "" {
			return refused("the tenant needs an issuer such as https://id.example.com, as this installation has no base_url to serve tenants by path")
		}
		made.Issuer, made.ByPath = a.BaseURL, true
	}
	t, err := a.Tenants.Create(r.Context(), made)
	if err != nil {
		return err
	}
	return respond(w, http.StatusCreated, viewTenant(t))
}

func (a *api) showTenant(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	return respond(w, http.StatusOK, viewTenant(t))
}

// setSuspended shuts a tenant, or opens it again. It may be repeated. The
// tenant of the operators stays open.
func (a *api) setSuspended(suspended bool) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, err := parameters(r); err != nil {
			return err
		}
		t, err := a.tenantOf(r)
		if err != nil {
			return err
		}
		if err := decode(w, r, &struct{}{}); err != nil {
			return err
		}
		if t.ID == id.SystemTenant {
			return problem.Conflict("The tenant of the operators is not suspended. Nothing was changed.")
		}
		if t.Suspended != suspended {
			if t, err = a.Tenants.SetSuspended(r.Context(), t.ID, suspended, Operator); err != nil {
				return err
			}
		}
		return respond(w, http.StatusOK, viewTenant(t))
	}
}

// settingsView is a tenant's settings as they are answered.
type settingsView struct {
	Tenant   id.Tenant       `json:"tenant"`
	Revision int64           `json:"revision"`
	Settings tenant.Settings `json:"settings"`
	Warnings []string        `json:"warnings,omitempty"`
}

func respondSettings(w http.ResponseWriter, t *tenant.Tenant) error {
	w.Header().Set("ETag", etag(t.Revision))
	return respond(w, http.StatusOK, settingsView{t.ID, t.Revision, t.Settings, t.Settings.Warnings()})
}

func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// ifMatch reads the revision that the caller has read; 0 where none is named.
func ifMatch(r *http.Request) (int64, error) {
	text := r.Header.Get("If-Match")
	if text == "" || text == "*" {
		return 0, nil
	}
	revision, err := strconv.ParseInt(strings.Trim(text, `"`), 10, 64)
	if err != nil || revision < 1 || etag(revision) != text {
		return 0, badRequest(`If-Match is the ETag that was answered, as in "3".`)
	}
	return revision, nil
}

func (a *api) showSettings(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	t, err := a.tenantOf(r)
	if err != nil {
		return err
	}
	return respondSettings(w, t)
}

// settingsAttempts is how often settings are applied on top of newer ones,
// where the caller did not say which ones they were meant for.
const settingsAttempts = 5

// applySettings changes what the body names and leaves the rest as it is.
func (a *api) applySettings(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	wanted, err := ifMatch(r)
	if err != nil {
		return err
	}
	text, err := body(w, r, "application/json", "application/yaml")
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		// What this node has read may be older than what another has applied.
		if err := a.Tenants.Watch.Poll(r.Context()); err != nil {
			return err
		}
		t, err := a.tenantOf(r)
		if err != nil {
			return err
		}
		if wanted != 0 && t.Revision != wanted {
			return preconditionFailed(t.Revision)
		}
		base, err := copySettings(t.Settings)
		if err != nil {
			return err
		}
		settings, err := tenant.ParseSettings(base, text)
		if err != nil {
			return refused(reason(err, err))
		}
		applied, err := a.Tenants.Apply(r.Context(), t.ID, t.Revision, settings, Operator)
		if errors.Is(err, tenant.ErrChanged) && wanted != 0 {
			return preconditionFailed(0)
		}
		if errors.Is(err, tenant.ErrChanged) && attempt < settingsAttempts {
			continue
		}
		if err != nil {
			return err
		}
		return respondSettings(w, applied)
	}
}

func preconditionFailed(present int64) error {
	detail := "The settings were changed by somebody else since they were read. Nothing was changed. Read them again and repeat."
	if present != 0 {
		detail += fmt.Sprintf(" They are at revision %d now.", present)
	}
	return problem.New("precondition-failed", http.StatusPreconditionFailed, "The state has changed", detail)
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
