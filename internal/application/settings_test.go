package application_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

func TestWhatFollowsFromTheKind(t *testing.T) {
	w := newWorld(t, sqldb.SQLite)
	code, credentials := []string{"authorization_code", "refresh_token"}, []string{"client_credentials"}
	for _, c := range []struct {
		kind   application.Kind
		auth   string
		grants []string
		scopes int
		keys   []string
	}{
		{application.Web, "client_secret_basic", code, 6, []string{"ES256", "RS256"}},
		{application.SPA, "none", code, 6, []string{"ES256", "RS256"}},
		{application.Native, "none", code, 6, []string{"ES256", "RS256"}},
		{application.Machine, "client_secret_basic", credentials, 0, []string{"ES256"}},
	} {
		settings := application.Settings{Name: "X", Kind: c.kind}
		if c.kind != application.Machine {
			settings.RedirectURIs = []string{"https://x.example/callback"}
		}
		w.keys = nil
		made, secret := w.create(t, settings)
		if made.AuthMethod != c.auth || !slices.Equal(made.GrantTypes, c.grants) || len(made.Scopes) != c.scopes || made.IDTokenAlg != "RS256" {
			t.Errorf("%s: got %+v", c.kind, made.Settings)
		}
		if made.Public() != (c.auth == "none") || made.Public() != (secret == "") {
			t.Errorf("%s: public %t, secret of %d", c.kind, made.Public(), len(secret))
		}
		if !made.Allows(c.grants[0]) || made.Allows("password") || made.Allows("") {
			t.Errorf("%s: what it may use is %v", c.kind, made.GrantTypes)
		}
		if !slices.Equal(w.keys, c.keys) {
			t.Errorf("%s: keys %v", c.kind, w.keys)
		}
	}
}

func TestSettings(t *testing.T) {
	w := newWorld(t, sqldb.SQLite)
	machine := func(s *application.Settings) { s.Kind, s.RedirectURIs = application.Machine, nil }
	for _, c := range []struct {
		name   string
		change func(*application.Settings)
		names  string // "" says that it is right
	}{
		{"as it is", func(*application.Settings) {}, ""},
		{"no name", func(s *application.Settings) { s.Name = " " }, "name"},
		{"a long name", func(s *application.Settings) { s.Name = strings.Repeat("a", 101) }, "name"},
		{"no kind", func(s *application.Settings) { s.Kind = "" }, "kind"},
		{"another kind", func(s *application.Settings) { s.Kind = "desktop" }, "kind"},
		{"a secret in the form", func(s *application.Settings) { s.AuthMethod = "client_secret_post" }, ""},
		{"a signed assertion", func(s *application.Settings) { s.AuthMethod = "private_key_jwt" }, "token_endpoint_auth_method"},
		{"a web application without a secret", func(s *application.Settings) { s.AuthMethod = "none" }, ""},
		{"a machine", machine, ""},
		{"a machine without a secret", func(s *application.Settings) { machine(s); s.AuthMethod = "none" }, "machine"},
		{"a machine with a code grant and nowhere to go", func(s *application.Settings) { machine(s); s.GrantTypes = []string{"authorization_code"} }, "redirect_uris"},
		{"credentials without a secret", func(s *application.Settings) {
			s.Kind, s.GrantTypes = application.SPA, []string{"authorization_code", "client_credentials"}
		}, "client_credentials"},
		{"the implicit grant", func(s *application.Settings) { s.GrantTypes = []string{"implicit"} }, "implicit"},
		{"the password grant", func(s *application.Settings) { s.GrantTypes = []string{"password"} }, "password"},
		{"nowhere to go", func(s *application.Settings) { s.RedirectURIs = nil }, "redirect_uris"},
		{"ES256", func(s *application.Settings) { s.IDTokenAlg = "ES256" }, ""},
		{"EdDSA", func(s *application.Settings) { s.IDTokenAlg = "EdDSA" }, ""},
		{"no signature", func(s *application.Settings) { s.IDTokenAlg = "none" }, "id_token_signed_response_alg"},
		{"a shared key", func(s *application.Settings) { s.IDTokenAlg = "HS256" }, "id_token_signed_response_alg"},
		{"without PKCE", func(s *application.Settings) { s.PKCEOptional = true }, ""},
		{"a public one without PKCE", func(s *application.Settings) { s.Kind, s.PKCEOptional = application.SPA, true }, "pkce_optional"},
		{"scopes of its own", func(s *application.Settings) {
			s.Scopes = []string{"openid", "orders:read", "https://shop.example/all"}
		}, ""},
		{"a scope with a space", func(s *application.Settings) { s.Scopes = []string{"a b"} }, "scopes"},
		{"a scope with a quote", func(s *application.Settings) { s.Scopes = []string{`a"`} }, "scopes"},
		{"an empty scope", func(s *application.Settings) { s.Scopes = []string{""} }, "scopes"},
		{"a scope in other letters", func(s *application.Settings) { s.Scopes = []string{"é"} }, "scopes"},
		{"a negative life of tokens", func(s *application.Settings) { s.AccessTTL = -1 }, "access_token_ttl"},
		{"a negative life of refresh tokens", func(s *application.Settings) { s.RefreshIdle = -1 }, "refresh_token_idle"},
		{"a negative age of sessions", func(s *application.Settings) { s.SessionMaxAge = -1 }, "session_max_age"},
		{"an idleness shorter than it is known", func(s *application.Settings) { s.SessionIdle = tenant.Duration(9 * time.Minute) }, "session_idle"},
		{"a negative idleness of sessions", func(s *application.Settings) { s.SessionIdle = -1 }, "session_idle"},
		{"tokens that live for a year", func(s *application.Settings) { s.AccessTTL = 365 * 24 * 3600 * 1e9 }, "access_token_ttl"},
		{"a private scheme of a web application", func(s *application.Settings) { s.RedirectURIs = []string{"com.example.shop:/callback"} }, "com.example.shop"},
		{"a private scheme of an app", func(s *application.Settings) {
			s.Kind, s.RedirectURIs = application.Native, []string{"com.example.shop:/callback"}
		}, ""},
		{"localhost", func(s *application.Settings) { s.RedirectURIs = []string{"http://localhost:8081/callback"} }, "localhost"},
	} {
		settings := shop()
		c.change(&settings)
		_, _, err := w.Create(t.Context(), acme, "", settings, "")
		switch {
		case c.names == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.names != "" && (!errors.Is(err, application.ErrInvalid) || !strings.Contains(err.Error(), c.names)):
			t.Errorf("%s: %v", c.name, err)
		}
	}
	_, _, err := w.Create(t.Context(), acme, "", application.Settings{Scopes: []string{""}, IDTokenAlg: "none", GrantTypes: []string{"implicit"}}, "")
	for _, all := range []string{"name", "kind", "scopes", "id_token_signed_response_alg", "implicit"} {
		if err == nil || !strings.Contains(err.Error(), all) {
			t.Errorf("%s is not told of: %v", all, err)
		}
	}
}

// hostile are addresses that must not be registered anywhere (SECURITY.md, row
// A6, and the rows of A that concern registration).
var hostile = []string{
	"JaVaScript:alert(1)", "javascript://x.example/%0aalert(1)", "data:text/html,<script>", "DATA:text/html,x", "vbscript:msgbox", "VbScRiPt:x",
	"\tjavascript:alert(1)", "\x00javascript:alert(1)", " https://x.example/", "\thttps://x.example/", "\x00https://x.example/", "https://x.example/\x00",
	"https://x.example/\r\nSet-Cookie: a=b", "https://x.example/a b", "https://a@x.example/", "https://a:b@x.example/", "https://x.example@evil.example/",
	"https:///x", "https://", "https:x.example", "//x.example/", "/callback", "https://x.example\\@evil.example/", "http://x.example/", "file:///etc/passwd",
	"blob:https://x.example/1", "about:blank", "view-source:https://x.example/", "ftp://x.example/",
}

func TestHostileAddressesAreRefusedInEveryField(t *testing.T) {
	w := newWorld(t, sqldb.SQLite)
	made, _ := w.create(t, shop())
	fields := map[string]func(*application.Settings, string){
		"redirect_uris":             func(s *application.Settings, uri string) { s.RedirectURIs = append(s.RedirectURIs, uri) },
		"post_logout_redirect_uris": func(s *application.Settings, uri string) { s.PostLogoutURIs = []string{uri} },
		"client_uri":                func(s *application.Settings, uri string) { s.HomeURL = uri },
		"policy_uri":                func(s *application.Settings, uri string) { s.PolicyURL = uri },
		"tos_uri":                   func(s *application.Settings, uri string) { s.TermsURL = uri },
	}
	for name, set := range fields {
		for _, kind := range []application.Kind{application.Web, application.SPA, application.Native} {
			for _, uri := range hostile {
				settings := shop()
				settings.Kind = kind
				set(&settings, uri)
				if _, _, err := w.Create(t.Context(), acme, "", settings, ""); !errors.Is(err, application.ErrInvalid) {
					t.Errorf("%s %s of a %s application: %v", name, strings.ToValidUTF8(uri, "?"), kind, err)
				}
				if _, err := w.Update(t.Context(), acme, made.ID, 0, settings, ""); !errors.Is(err, application.ErrInvalid) {
					t.Errorf("%s %s of a %s application, afterwards: %v", name, strings.ToValidUTF8(uri, "?"), kind, err)
				}
			}
		}
		settings := shop()
		set(&settings, "https://x.example/page")
		if _, _, err := w.Create(t.Context(), acme, "", settings, ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDevelopmentAllowsLoopback(t *testing.T) {
	w := newWorld(t, sqldb.SQLite)
	settings := shop()
	settings.RedirectURIs, settings.PostLogoutURIs, settings.HomeURL = []string{"http://localhost:8081/callback"}, []string{"http://localhost:8081/"}, "http://localhost:8081"
	if _, _, err := w.Create(t.Context(), acme, "", settings, ""); !errors.Is(err, application.ErrInvalid) {
		t.Errorf("in production: %v", err)
	}
	w.wire(true)
	if _, _, err := w.Create(t.Context(), acme, "", settings, ""); err != nil {
		t.Errorf("in development: %v", err)
	}
	for _, address := range []string{"http://localhost.evil.example/", "http://localhost@evil.example/", "http://10.0.0.1/"} {
		settings.HomeURL = address
		if _, _, err := w.Create(t.Context(), acme, "", settings, ""); !errors.Is(err, application.ErrInvalid) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
