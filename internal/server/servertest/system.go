package servertest

import (
	"context"
	"net/http"
	"strings"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// System makes the tenant of the operators, which has an origin of its own.
func (i *Installation) System() *tenant.Tenant {
	i.t.Helper()
	i.Server.Config.SystemURL = strings.Replace(i.Base, "127.0.0.1", "localhost", 1)
	settings := Settings()
	settings.SignUp.Enabled = false
	t, err := i.Tenants.Create(context.Background(), tenant.New{ID: id.SystemTenant, Slug: "system", Name: "Cardea", Issuer: i.Server.Config.SystemURL, Settings: settings})
	i.must(err)
	return t
}

// SystemBrowser returns a new browser of an operator.
func (i *Installation) SystemBrowser() *Browser {
	b := i.Browser()
	b.base = i.Server.Config.SystemURL
	return b
}

// at is where a tenant is reached at node i.
func (i *Installation) at(t *tenant.Tenant) string {
	if t.Path == "" {
		return t.Issuer
	}
	return i.Base + t.Path
}

// Operator has somebody of the system tenant hold what is said.
func (i *Installation) Operator(subject string, h operator.Holding) {
	i.t.Helper()
	i.must(i.DB.Write(context.Background(), func(tx *sqldb.Tx) error { return i.Operators.Set(tx, subject, 0, h, "test") }))
}

// Robot makes an application of the system tenant that acts for itself and
// holds what is said.
func (i *Installation) Robot(system *tenant.Tenant, h operator.Holding) *App {
	i.t.Helper()
	app := i.Application(system, func(s *application.Settings) {
		s.Name, s.Kind, s.RedirectURIs, s.PostLogoutURIs, s.Scopes = "Robot", application.Machine, nil, nil, operator.Scopes()
	})
	i.Operator(string(app.ID), h)
	return app
}

// Admin sends a request to the admin API with an access token; "" sends none.
func (i *Installation) Admin(token, method, path, body string, header ...string) (int, http.Header, string) {
	i.t.Helper()
	request, err := http.NewRequest(method, i.Server.Config.SystemURL+path, strings.NewReader(body))
	i.must(err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for n := 0; n+1 < len(header); n += 2 {
		request.Header.Set(header[n], header[n+1])
	}
	status, answered, text, err := send(request)
	i.must(err)
	return status, answered, text
}
