package cardea_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	cardea "github.com/cardea-id/cardea/sdk/go"
)

// TestWithCardeaItself is the one test with an issuer that is not made up.
func TestWithCardeaItself(t *testing.T) {
	i := servertest.New(t, sqldb.SQLite)
	shop := i.Tenant("shop", nil)
	i.Customer(shop, "ana@example.com", "correct horse battery staple")
	app := i.Application(shop, nil)
	tokens := app.SignIn(i, i.Browser(), "ana@example.com", "correct horse battery staple", url.Values{"scope": {"openid offline_access"}})
	guard := func(introspection *cardea.Introspection) *cardea.Guard {
		g, err := cardea.New(cardea.Config{Issuer: shop.Issuer, Audience: shop.Issuer, Introspection: introspection, Now: i.Clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	alone, asking := guard(nil), guard(&cardea.Introspection{ClientID: string(app.ID), ClientSecret: app.Secret})
	for _, g := range []*cardea.Guard{alone, asking} {
		if got := callScoped(g, []string{"openid"}, "Bearer "+tokens.Access); got.status != http.StatusOK {
			t.Errorf("%+v", got)
		}
		refused(t, "an ID token", g, tokens.ID)
		refused(t, "a refresh token", g, tokens.Refresh)
	}
	machine := i.Application(shop, func(s *application.Settings) {
		s.Kind, s.RedirectURIs, s.Scopes, s.FirstParty = application.Machine, nil, []string{"stock:read"}, false
	})
	own := machine.Token(i, url.Values{"grant_type": {"client_credentials"}})
	if got := callScoped(alone, []string{"stock:read"}, "Bearer "+own.Access); got.status != http.StatusOK || got.body != "orders of "+string(machine.ID) {
		t.Errorf("%+v", got)
	}
	// Revoked: seen by whoever asks, and by everybody once it has expired.
	if status, _, body, err := app.Post(i, "/revoke", url.Values{"token": {tokens.Refresh}}); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s %v", status, body, err)
	}
	refused(t, "revoked", asking, tokens.Access)
	i.Clock.Advance(shop.Settings.Tokens.Access.D())
	refused(t, "expired", alone, tokens.Access)
}
