package server_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Item 60: an application's own token has its own scopes, and none that is
// about a customer.
func TestAnApplicationsOwnScopes(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	both := i.Application(h.tenant, func(s *application.Settings) {
		s.GrantTypes = []string{application.GrantCode, application.GrantRefresh, application.GrantCredentials}
		s.Scopes = []string{"openid", "email", "profile", "offline_access", "orders", "stock"}
	})
	bare := i.Application(h.tenant, func(s *application.Settings) {
		s.GrantTypes, s.Scopes = []string{application.GrantCode, application.GrantCredentials}, []string{"openid", "email"}
	})
	ask := func(app *servertest.App, scope string) servertest.Tokens {
		return app.Token(i, url.Values{"grant_type": {"client_credentials"}, "scope": {scope}})
	}
	if got := ask(both, ""); got.Status != http.StatusOK || got.Scope != "orders stock" {
		t.Errorf("without a scope: %+v", got)
	}
	if got := ask(both, "stock"); got.Status != http.StatusOK || got.Scope != "stock" {
		t.Errorf("one scope: %+v", got)
	}
	if got := ask(bare, ""); got.Status != http.StatusOK || got.Scope != "" {
		t.Errorf("without any of its own: %+v", got)
	}
	for _, scope := range []string{"openid", "offline_access", "profile email", "orders email", "phone", "elsewhere"} {
		if got := ask(both, scope); got.Error != "invalid_scope" || got.Access != "" {
			t.Errorf("%s: %+v", scope, got)
		}
	}
}
