// Package application owns the applications of a tenant: the clients of its
// protocols. What an application may ask for stands here; how it asks is the
// protocols' business.
//
// Applications are configuration. They are read one at a time, through a
// bounded cache that internal/configversion keeps true, and the values handed
// out are shared and not changed.
package application

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/redirecturi"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Kind says where an application runs, and so whether it can keep a secret.
type Kind string

const (
	Web     Kind = "web"     // on a server; keeps a secret
	SPA     Kind = "spa"     // in the browser; keeps none
	Native  Kind = "native"  // on a customer's device; keeps none
	Machine Kind = "machine" // acts for itself; keeps a secret
)

// The ways in which an application proves itself (RFC 7591, section 2).
const (
	AuthNone  = "none"
	AuthBasic = "client_secret_basic"
	AuthPost  = "client_secret_post"
)

// The grant types that applications may use (RFC 6749, OAuth 2.1).
const (
	GrantCode        = "authorization_code"
	GrantRefresh     = "refresh_token"
	GrantCredentials = "client_credentials"
)

// Settings is what an operator chooses for an application.
type Settings struct {
	Name           string          `json:"name"`
	Kind           Kind            `json:"kind"`
	FirstParty     bool            `json:"first_party"` // the tenant's own: consent is not asked
	RedirectURIs   []string        `json:"redirect_uris"`
	PostLogoutURIs []string        `json:"post_logout_redirect_uris"`
	Scopes         []string        `json:"scopes"`      // those that it may ask for
	GrantTypes     []string        `json:"grant_types"` // empty: what the kind needs
	AuthMethod     string          `json:"token_endpoint_auth_method"`
	IDTokenAlg     string          `json:"id_token_signed_response_alg"` // RS256 (the default of OpenID Connect registration), ES256 or EdDSA
	HomeURL        string          `json:"client_uri"`
	PolicyURL      string          `json:"policy_uri"`
	TermsURL       string          `json:"tos_uri"`
	AccessTTL      tenant.Duration `json:"access_token_ttl"`   // 0: the tenant's
	RefreshIdle    tenant.Duration `json:"refresh_token_idle"` // 0: the tenant's
	PKCEOptional   bool            `json:"pkce_optional"`      // lets an application with a secret, whose library is older than PKCE, do without
	SessionMaxAge  tenant.Duration `json:"session_max_age"`    // a session older than this is asked to prove itself again; 0: the session's own life
	SessionIdle    tenant.Duration `json:"session_idle"`       // a session idle for longer is asked to prove itself again; 0: the tenant's
	Disabled       bool            `json:"disabled"`
	Claims         []claim.Mapping `json:"claims,omitempty"`          // of the application's own
	Resources      []string        `json:"resources,omitempty"`       // the APIs that it may ask for tokens for (RFC 8707)
	ResourceServer string          `json:"resource_server,omitempty"` // the API that it is itself: it may introspect tokens that are for it
	Organization   string          `json:"organization"`              // "optional": it may ask for the customer's organization; "required": it is for members of one only; "": neither
}

// Application is one client of the protocols.
type Application struct {
	Settings
	ID       id.Application // the client_id
	Tenant   id.Tenant
	Revision int64

	secrets [][]byte // SHA-256 of each secret that is good
}

// standardScopes are those that every application may be given.
var standardScopes = []string{"openid", "profile", "email", "phone", "address", "offline_access"}

// Public tells whether the application keeps no secret.
func (a *Application) Public() bool { return a.AuthMethod == AuthNone }

// Allows tells whether the application may use a grant type.
func (a *Application) Allows(grantType string) bool { return slices.Contains(a.GrantTypes, grantType) }

// ClaimSet is the mapped claims that hold for the application: the tenant's and
// its own. It is nil where there are none, which costs nothing.
func (a *Application) ClaimSet(sets *claim.Sets, t *tenant.Tenant) *claim.Set {
	if len(t.Settings.Claims) == 0 && len(a.Claims) == 0 {
		return nil
	}
	return sets.Of(claim.Owner{Tenant: string(t.ID), TenantRevision: t.Revision, Application: string(a.ID), Revision: a.Revision}, t.Settings.Claims, a.Claims)
}

// CheckSecret tells whether presented is a secret of the application. It takes
// the same time whatever is wrong.
func (a *Application) CheckSecret(presented string) bool {
	sum := sha256.Sum256([]byte(presented))
	good := 0
	for _, secret := range a.secrets {
		good |= subtle.ConstantTimeCompare(sum[:], secret)
	}
	return good == 1
}

// scopeOrganization asks for the organization that the customer acts for.
const scopeOrganization = "organization"

// OrganizationRequired tells whether only members of an organization may use the
// application.
func (s *Settings) OrganizationRequired() bool { return s.Organization == "required" }

// complete fills in what follows from the kind and checks the rest. Loopback
// says that http://localhost redirect URIs are allowed, for development.
func (s *Settings) complete(development bool) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if strings.TrimSpace(s.Name) == "" || len(s.Name) > 100 {
		fault("name is empty or longer than 100 bytes")
	}
	confidential := s.Kind == Web || s.Kind == Machine
	if !confidential && s.Kind != SPA && s.Kind != Native {
		fault("kind is %q; it is web, spa, native or machine", s.Kind)
	}
	if s.AuthMethod == "" {
		s.AuthMethod = AuthNone
		if confidential {
			s.AuthMethod = AuthBasic
		}
	}
	if !slices.Contains([]string{AuthNone, AuthBasic, AuthPost}, s.AuthMethod) {
		fault("token_endpoint_auth_method is %q; it is none, client_secret_basic or client_secret_post", s.AuthMethod)
	}
	if s.AuthMethod != AuthNone && (s.Kind == SPA || s.Kind == Native) {
		fault("token_endpoint_auth_method is %q; whoever has the application, a browser or a device, could read its secret: it is none", s.AuthMethod)
	}
	if s.AuthMethod == AuthNone && s.Kind == Machine {
		fault("a machine needs a secret: token_endpoint_auth_method cannot be none")
	}
	if len(s.GrantTypes) == 0 {
		s.GrantTypes = []string{GrantCode, GrantRefresh}
		if s.Kind == Machine {
			s.GrantTypes = []string{GrantCredentials}
		}
	}
	for _, grantType := range s.GrantTypes {
		if !slices.Contains([]string{GrantCode, GrantRefresh, GrantCredentials}, grantType) {
			fault("grant_types: %q is not authorization_code, refresh_token or client_credentials", grantType)
		}
	}
	if slices.Contains(s.GrantTypes, GrantCredentials) && s.AuthMethod == AuthNone {
		fault("grant_types: client_credentials needs an application that keeps a secret")
	}
	if s.IDTokenAlg == "" {
		s.IDTokenAlg = "RS256"
	}
	if s.PKCEOptional && s.AuthMethod == AuthNone {
		fault("pkce_optional: an application without a secret cannot do without PKCE")
	}
	if !slices.Contains([]string{"RS256", "ES256", "EdDSA"}, s.IDTokenAlg) {
		fault("id_token_signed_response_alg is %q; it is RS256, ES256 or EdDSA", s.IDTokenAlg)
	}
	if len(s.Scopes) == 0 && s.Kind != Machine {
		s.Scopes = slices.Clone(standardScopes)
	}
	if s.Organization != "" && s.Organization != "optional" && s.Organization != "required" {
		fault("organization is %q; it is optional or required", s.Organization)
	}
	if s.Organization != "" && !slices.Contains(s.Scopes, scopeOrganization) {
		s.Scopes = append(slices.Clone(s.Scopes), scopeOrganization)
	}
	if s.OrganizationRequired() && s.Kind == Machine {
		fault("organization: a machine acts for itself, and is a member of none")
	}
	for _, scope := range s.Scopes {
		if strings.HasPrefix(scope, scopeOrganization+":") {
			fault("scopes: %q is a choice that a request makes; the scope is organization", scope)
		}
		if !validScope(scope) {
			fault("scopes: %q is not a scope token (RFC 6749, section 3.3)", scope)
		}
	}
	if slices.Contains(s.GrantTypes, GrantCode) && len(s.RedirectURIs) == 0 {
		fault("redirect_uris is empty: the application could not be answered")
	}
	uris := func(key string, all []string) {
		for _, uri := range all {
			if err := redirecturi.Validate(uri, redirecturi.Options{Native: s.Kind == Native, Localhost: development}); err != nil {
				fault("%s: %q: %w", key, uri, err)
			}
		}
	}
	uris("redirect_uris", s.RedirectURIs)
	uris("post_logout_redirect_uris", s.PostLogoutURIs)
	if len(s.Resources) > 20 {
		fault("resources has more than 20")
	}
	for key, resources := range map[string][]string{"resources": s.Resources, "resource_server": {s.ResourceServer}} {
		for _, resource := range resources {
			if (key == "resources" || resource != "") && !validResource(resource) {
				fault("%s: %q is not the absolute URI of an API without a fragment, such as https://stock.example (RFC 8707, section 2)", key, resource)
			}
		}
	}
	if s.ResourceServer != "" && s.AuthMethod == AuthNone {
		fault("resource_server: an API that asks about tokens keeps a secret")
	}
	between := func(key string, d tenant.Duration, least, most time.Duration) {
		if d != 0 && (d.D() < least || d.D() > most) {
			fault("%s is %s; it is between %s and %s, or 0 for the tenant's", key, d.D(), least, most)
		}
	}
	const day = 24 * time.Hour
	between("access_token_ttl", s.AccessTTL, time.Minute, day)
	between("refresh_token_idle", s.RefreshIdle, time.Minute, 400*day)
	between("session_max_age", s.SessionMaxAge, time.Second, 400*day)
	between("session_idle", s.SessionIdle, 2*tenant.SeenEvery, 400*day)
	if err := claim.Check(s.Claims); err != nil {
		faults = append(faults, err)
	}
	for key, address := range map[string]string{"client_uri": s.HomeURL, "policy_uri": s.PolicyURL, "tos_uri": s.TermsURL} {
		if address == "" {
			continue
		}
		u, err := url.Parse(address)
		loopback := err == nil && development && u.Scheme == "http" && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1")
		if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && !loopback) || strings.ContainsAny(address, " \t\r\n\x00\\") {
			fault("%s: %q is not an https address", key, address)
		}
	}
	return errors.Join(faults...)
}

// validResource tells whether text is an absolute URI without a fragment, in
// characters that stand in a list with spaces between.
func validResource(text string) bool {
	u, err := url.Parse(text)
	if err != nil || !u.IsAbs() || (u.Host == "" && u.Opaque == "") || u.User != nil || strings.Contains(text, "#") || len(text) > 200 {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`|"\<>`, r) })
}

// validScope tells whether text is a scope-token of RFC 6749, section 3.3.
func validScope(text string) bool {
	if text == "" || len(text) > 100 {
		return false
	}
	for i := range len(text) {
		if c := text[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// newSecret makes a secret of 256 bits; what is stored of it is its SHA-256.
func newSecret(random io.Reader) (string, []byte, error) {
	var raw [32]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return "", nil, fmt.Errorf("read randomness: %w", err)
	}
	secret := base64.RawURLEncoding.EncodeToString(raw[:])
	sum := sha256.Sum256([]byte(secret))
	return secret, sum[:], nil
}
