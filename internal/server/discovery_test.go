package server_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/jose"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

var formed = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}

// discovery reads a tenant's metadata at an address.
func discovery(t *testing.T, address string) map[string]any {
	t.Helper()
	status, header, body := send(t, http.MethodGet, address, "", nil)
	if status != http.StatusOK || header.Get("Content-Type") != "application/json" || header.Get("Access-Control-Allow-Origin") != "*" {
		t.Fatalf("%s answers %d %v %s", address, status, header, body)
	}
	document := map[string]any{}
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	return document
}

func texts(value any) []string {
	list, _ := value.([]any)
	var all []string
	for _, one := range list {
		text, _ := one.(string)
		all = append(all, text)
	}
	return all
}

// Discovery says what is so, at each of its addresses, and every endpoint that
// it names answers (OpenID Connect Discovery 1.0; RFC 8414).
func TestDiscoverySaysWhatIsSo(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	issuer := h.tenant.Issuer
	document := discovery(t, issuer+"/.well-known/openid-configuration")
	for _, address := range []string{issuer + "/.well-known/oauth-authorization-server", i.Base + "/.well-known/oauth-authorization-server" + h.tenant.Path} {
		if other := discovery(t, address); !maps.EqualFunc(document, other, func(a, b any) bool { return jsonOf(t, a) == jsonOf(t, b) }) {
			t.Errorf("%s says something else: %v", address, other)
		}
	}
	for name, want := range map[string]string{
		"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token", "userinfo_endpoint": issuer + "/userinfo",
		"introspection_endpoint": issuer + "/introspect", "revocation_endpoint": issuer + "/revoke", "end_session_endpoint": issuer + "/end_session", "jwks_uri": issuer + "/jwks",
	} {
		if document[name] != want {
			t.Errorf("%s is %v", name, document[name])
		}
	}
	for name, want := range map[string][]string{
		"response_types_supported": {"code"}, "response_modes_supported": {"query"}, "subject_types_supported": {"public"},
		"grant_types_supported":                         {"authorization_code", "client_credentials", "refresh_token"},
		"code_challenge_methods_supported":              {"S256"},
		"id_token_signing_alg_values_supported":         {"RS256", "ES256", "EdDSA"},
		"token_endpoint_auth_methods_supported":         {"client_secret_basic", "client_secret_post", "none"},
		"introspection_endpoint_auth_methods_supported": {"client_secret_basic", "client_secret_post"},
		"revocation_endpoint_auth_methods_supported":    {"client_secret_basic", "client_secret_post", "none"},
		"prompt_values_supported":                       {"none", "login", "consent", "select_account", "create"},
		"ui_locales_supported":                          {"en", "de", "ar"},
		"acr_values_supported":                          {"urn:cardea:acr:1fa"},
		"scopes_supported":                              {"openid", "offline_access", "organization", "address", "email", "phone", "profile"},
		"claim_types_supported":                         {"normal"},
	} {
		if got := texts(document[name]); !slices.Equal(got, want) {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
	for name, want := range map[string]bool{
		"claims_parameter_supported": false, "request_parameter_supported": false, "request_uri_parameter_supported": false, "authorization_response_iss_parameter_supported": true,
	} {
		if got, told := document[name].(bool); !told || got != want {
			t.Errorf("%s is %v", name, document[name])
		}
	}
	for _, scope := range customer.Scopes() {
		for _, claim := range customer.ClaimsOf(scope) {
			if !slices.Contains(texts(document["claims_supported"]), claim) {
				t.Errorf("claims_supported lacks %s", claim)
			}
		}
	}

	// What is named answers, in its own way, to whoever brings nothing.
	answers := map[string]struct {
		method string
		status int
	}{
		"authorization_endpoint": {http.MethodGet, http.StatusBadRequest}, "token_endpoint": {http.MethodPost, http.StatusUnauthorized},
		"userinfo_endpoint": {http.MethodGet, http.StatusUnauthorized}, "introspection_endpoint": {http.MethodPost, http.StatusUnauthorized},
		"revocation_endpoint": {http.MethodPost, http.StatusUnauthorized}, "end_session_endpoint": {http.MethodGet, http.StatusOK}, "jwks_uri": {http.MethodGet, http.StatusOK},
	}
	for name, value := range document {
		if !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
			continue
		}
		want, known := answers[name]
		if !known {
			t.Errorf("%s is named, and nothing is known of what it answers", name)
			continue
		}
		header := http.Header{}
		if want.method == http.MethodPost {
			header = formed
		}
		if status, _, body := send(t, want.method, value.(string), "", header); status != want.status || (name == "end_session_endpoint" && !strings.Contains(body, "signed out")) {
			t.Errorf("%s, %v, answers %d %s", name, value, status, servertest.Text(body))
		}
	}
}

func jsonOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What a tenant's settings allow is what discovery says: languages that pages
// have words in, and create where accounts are opened.
func TestDiscoveryFollowsTheSettings(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	closed := i.Tenant("thyme", func(s *tenant.Settings) { s.Languages, s.SignUp.Enabled = []string{"fr", "ar", "en-GB"}, false })
	document := discovery(t, closed.Issuer+"/.well-known/openid-configuration")
	if got := texts(document["ui_locales_supported"]); !slices.Equal(got, []string{"ar", "en"}) {
		t.Errorf("ui_locales_supported is %v", got)
	}
	if got := texts(document["prompt_values_supported"]); slices.Contains(got, "create") || !slices.Contains(got, "login") {
		t.Errorf("prompt_values_supported is %v", got)
	}
	foreign := i.Tenant("rosmarin", func(s *tenant.Settings) { s.Languages = []string{"fr"} })
	if got := texts(discovery(t, foreign.Issuer+"/.well-known/openid-configuration")["ui_locales_supported"]); !slices.Equal(got, []string{"en"}) {
		t.Errorf("ui_locales_supported is %v where pages are in English", got)
	}
	// And it follows at once.
	settings := closed.Settings
	settings.SignUp.Enabled = true
	if _, err := i.Tenants.Apply(t.Context(), closed.ID, closed.Revision, settings, "test"); err != nil {
		t.Fatal(err)
	}
	if got := texts(discovery(t, closed.Issuer+"/.well-known/openid-configuration")["prompt_values_supported"]); !slices.Contains(got, "create") {
		t.Errorf("prompt_values_supported is %v once accounts are opened", got)
	}
}

// A method that an endpoint does not have is answered by those that it has, in
// the protocol's form, and to scripts where they may call (RFC 9110, section
// 15.5.6).
func TestOtherMethodsAreToldWhichThereAre(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	for _, c := range []struct {
		method, path, allow string
		open                bool
	}{
		{"GET", "/token", "OPTIONS, POST", true}, {"HEAD", "/token", "OPTIONS, POST", true}, {"PUT", "/token", "OPTIONS, POST", true},
		{"GET", "/revoke", "OPTIONS, POST", true}, {"GET", "/introspect", "POST", false}, {"OPTIONS", "/introspect", "POST", false},
		{"POST", "/jwks", "GET, HEAD, OPTIONS", true}, {"PUT", "/userinfo", "GET, HEAD, OPTIONS, POST", true}, {"DELETE", "/authorize", "GET, HEAD, POST", false},
		{"PATCH", "/end_session", "GET, HEAD, POST", false}, {"POST", "/.well-known/openid-configuration", "GET, HEAD, OPTIONS", true},
	} {
		status, header, body := send(t, c.method, h.tenant.Issuer+c.path, "", formed)
		if status != http.StatusMethodNotAllowed || header.Get("Allow") != c.allow || header.Get("Content-Type") != "application/json" ||
			(c.method != http.MethodHead && !strings.Contains(body, `"error":"invalid_request"`)) || (header.Get("Access-Control-Allow-Origin") == "*") != c.open {
			t.Errorf("%s %s was answered %d %v %s", c.method, c.path, status, header, body)
		}
	}
	if status, header, _ := send(t, http.MethodGet, h.tenant.Issuer+"/nothing-here", "", nil); status != http.StatusNotFound || header.Get("Allow") != "" {
		t.Errorf("an address that there is not was answered %d, Allow %q", status, header.Get("Allow"))
	}
}

// Scripts of any origin may call what reads no cookie, and read the answer,
// also when it is that they did something wrong (Fetch standard, CORS).
func TestScriptsMayCall(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	spa := i.Application(h.tenant, func(s *application.Settings) { s.Kind = application.SPA })
	tokens := spa.SignIn(i, i.Browser(), anaMail, anaPassword, nil)
	from := func(more http.Header) http.Header {
		header := http.Header{"Origin": {"https://spa.example"}}
		maps.Copy(header, more)
		return header
	}
	for _, path := range []string{"/token", "/userinfo", "/revoke", "/jwks", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		status, header, _ := send(t, http.MethodOptions, h.tenant.Issuer+path, "", from(http.Header{
			"Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization,content-type"}}))
		allowed := strings.ToLower(header.Get("Access-Control-Allow-Headers"))
		if status != http.StatusNoContent || header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(header.Get("Access-Control-Allow-Methods"), "POST") ||
			!strings.Contains(allowed, "authorization") || !strings.Contains(allowed, "content-type") || header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("preflight at %s: %d %v", path, status, header)
		}
	}
	if status, header, _ := send(t, http.MethodOptions, i.Base+"/.well-known/oauth-authorization-server"+h.tenant.Path, "", from(http.Header{"Access-Control-Request-Method": {"GET"}})); status != http.StatusNoContent || header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("preflight at the path form of RFC 8414: %d %v", status, header)
	}
	client := "&client_id=" + url.QueryEscape(string(spa.ID))
	for _, c := range []struct {
		name, method, path, body string
		header                   http.Header
		status                   int
	}{
		{"good", "POST", "/token", refreshing(tokens.Refresh).Encode() + client, formed, http.StatusOK},
		{"a bad token", "POST", "/token", refreshing("x").Encode() + client, formed, http.StatusBadRequest},
		{"no application", "POST", "/token", "grant_type=refresh_token", formed, http.StatusUnauthorized},
		{"no form", "POST", "/token", "{}", http.Header{"Content-Type": {"application/json"}}, http.StatusBadRequest},
		{"good", "GET", "/userinfo", "", http.Header{"Authorization": {"Bearer " + tokens.Access}}, http.StatusOK},
		{"a bad token", "GET", "/userinfo", "", http.Header{"Authorization": {"Bearer x"}}, http.StatusUnauthorized},
		{"no token", "GET", "/userinfo", "", nil, http.StatusUnauthorized},
		{"good", "POST", "/revoke", "token=x" + client, formed, http.StatusOK},
		{"no application", "POST", "/revoke", "token=x", formed, http.StatusUnauthorized},
		{"good", "GET", "/jwks", "", nil, http.StatusOK},
	} {
		status, header, body := send(t, c.method, h.tenant.Issuer+c.path, c.body, from(c.header))
		if status != c.status || header.Get("Access-Control-Allow-Origin") != "*" || header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s %s, %s: %d %v %s", c.method, c.path, c.name, status, header, body)
		}
		if status == http.StatusUnauthorized && (header.Get("WWW-Authenticate") == "" || !strings.Contains(header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate")) {
			t.Errorf("%s %s, %s: a script cannot read how to prove itself: %v", c.method, c.path, c.name, header)
		}
	}
	// What acts on cookies, and what only servers ask, is not open.
	for _, path := range []string{"/introspect", "/authorize", "/end_session", "/account", "/journey"} {
		if _, header, _ := send(t, http.MethodPost, h.tenant.Issuer+path, "", from(formed)); header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s is open to scripts of other origins", path)
		}
	}
}

// Whoever asks with a 401 is told by which scheme to prove itself (RFC 9110,
// section 15.5.2).
func TestWhoeverIsRefusedIsToldTheScheme(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	id := url.QueryEscape(string(h.shop.ID))
	for _, path := range []string{"/token", "/introspect", "/revoke"} {
		for _, body := range []string{"", "client_id=" + id, "client_id=" + id + "&client_secret=wrong", "client_id=nobody", "client_assertion=x&client_id=" + id} {
			status, header, text := send(t, http.MethodPost, h.tenant.Issuer+path, "grant_type=client_credentials&"+body, formed)
			if status != http.StatusUnauthorized || !strings.HasPrefix(header.Get("WWW-Authenticate"), "Basic ") || !strings.Contains(text, `"error":"invalid_client"`) {
				t.Errorf("%s with %q: %d, WWW-Authenticate %q, %s", path, body, status, header.Get("WWW-Authenticate"), text)
			}
		}
	}
}

// To look at the authorization endpoint makes no code.
func TestLookingMakesNoCode(t *testing.T) {
	t.Parallel()
	i := servertest.New(t, sqldb.SQLite)
	h := newHouse(t, i, "thyme", nil)
	browser, _ := h.signIn()
	for _, change := range []url.Values{nil, {"prompt": {"none"}}, {"nonce": {strings.Repeat("n", 512)}}} {
		p, err := browser.Do(http.MethodHead, h.shop.URL(i, h.shop.Authorize(change)), nil, "")
		if err != nil || p.Status != http.StatusOK || p.Location != nil || p.Header.Get("Cache-Control") != "no-store" || len(p.Header["Set-Cookie"]) > 0 {
			t.Errorf("HEAD was answered %d, to %v, %v %v", p.Status, p.Location, p.Header, err)
		}
	}
	if n := h.count(`SELECT COUNT(*) FROM oauth_code WHERE tenant = $1`, h.tenant.ID); n != 0 {
		t.Errorf("%d codes were kept", n)
	}
	bad := h.shop.Authorize(url.Values{"response_type": {"token"}})
	if p, err := browser.Do(http.MethodHead, h.shop.URL(i, bad), nil, ""); err != nil || p.Location == nil || p.Location.Query().Get("error") != "unsupported_response_type" {
		t.Errorf("HEAD of a wrong request led to %v %v", p.Location, err)
	}
}

// A key is published before it signs and as long as what it has signed lives
// (SECURITY, item 100); whoever has a copy of the set that is no older than it
// says can verify every token.
func TestKeysAreThereBeforeAndAfterTheySign(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		h := newHouse(t, i, "thyme", nil)
		browser, first := h.staying()
		set := func() string {
			t.Helper()
			status, header, body := send(t, http.MethodGet, h.tenant.Issuer+"/jwks", "", nil)
			if status != http.StatusOK || header.Get("Content-Type") != "application/jwk-set+json" || header.Get("Cache-Control") != "public, max-age=300" {
				t.Fatalf("the JWK Set is answered %d %v", status, header)
			}
			if strings.Contains(body, `"d"`) {
				t.Fatalf("a private part is published: %s", body)
			}
			return body
		}
		tokens := func() servertest.Tokens {
			t.Helper()
			r, code := h.code(browser, h.shop, nil)
			return h.shop.Token(i, redemption(r, code))
		}
		// cached is as others have it, who ask again when it is five minutes old.
		cached := set()
		verifies := func(what string, got servertest.Tokens) {
			t.Helper()
			for name, token := range map[string]string{"access token": got.Access, "ID token": got.ID} {
				keys, err := jose.ParseJWKS([]byte(cached))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := jose.Verify(token, jose.Expect{Algs: []jose.Alg{jose.ES256}, Types: []string{"JWT", "at+jwt"}}, keys); err != nil {
					t.Errorf("%s: the %s cannot be verified: %v", what, name, err)
				}
			}
		}
		advance := func(by time.Duration) {
			t.Helper()
			i.Clock.Advance(by)
			if err := i.SigningKeys.Advance(t.Context()); err != nil {
				t.Fatal(err)
			}
			i.Clock.Advance(configversion.Staleness + time.Millisecond)
		}
		verifies("before", first)
		if _, err := i.SigningKeys.Rotate(t.Context(), h.tenant.ID, jose.ES256, "test"); err != nil {
			t.Fatal(err)
		}
		if now := set(); strings.Count(now, `"kid"`) != strings.Count(cached, `"kid"`)+1 {
			t.Errorf("the replacement is not published: %s", now)
		}
		verifies("published", tokens())
		advance(4 * time.Minute) // the copy is still good
		verifies("while old copies are good", tokens())
		cached = set()
		advance(2 * time.Minute)
		second := tokens()
		verifies("activated", second)
		if kidIn(t, second.Access, kidOf(t, first.Access)) {
			t.Error("the replacement does not sign")
		}
		verifies("what the former key signed", first)
		if !h.shop.Active(i, first.Access) {
			t.Error("a token of the former key is refused while it lives")
		}
		cached = set()
		verifies("a new copy, and what the former key signed", first)
		advance(26 * time.Hour)
		if now := set(); kidIn(t, first.Access, now) || !kidIn(t, second.Access, now) {
			t.Errorf("a day later the set is %s", now)
		}
	})
}
