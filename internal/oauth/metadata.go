package oauth

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/signingkey"
	"github.com/cardea-id/cardea/internal/tenant"
)

// endpoints names the routes that discovery tells of (OpenID Connect Discovery
// 1.0, section 3; RFC 8414, section 2). One that is not mounted is not told.
var endpoints = map[string]string{
	"/authorize":   "authorization_endpoint",
	"/token":       "token_endpoint",
	"/userinfo":    "userinfo_endpoint",
	"/introspect":  "introspection_endpoint",
	"/revoke":      "revocation_endpoint",
	"/end_session": "end_session_endpoint",
	"/jwks":        "jwks_uri",
}

// documents are tenants' discovery documents as they are sent, by the revision
// of the settings that they tell of.
type documents struct {
	mu   sync.RWMutex
	made map[id.Tenant]madeDocument
}

type madeDocument struct {
	revision int64
	body     []byte
}

// mostDocuments is how many a node keeps. Beyond it they are made again.
const mostDocuments = 1024

func (d *documents) of(t *tenant.Tenant, make func(*tenant.Tenant) ([]byte, error)) ([]byte, error) {
	d.mu.RLock()
	made, found := d.made[t.ID]
	d.mu.RUnlock()
	if found && made.revision == t.Revision {
		return made.body, nil
	}
	body, err := make(t)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.made) >= mostDocuments {
		clear(d.made)
	}
	d.made[t.ID] = madeDocument{t.Revision, body}
	return body, nil
}

// metadata answers discovery.
func (p *Provider) metadata(w http.ResponseWriter, _ *http.Request, t *tenant.Tenant) {
	body, err := p.documents.of(t, p.document)
	if err != nil { // of texts and lists: it cannot fail
		http.Error(w, "discovery could not be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// document writes discovery. It is made from what is mounted and allowed.
func (p *Provider) document(t *tenant.Tenant) ([]byte, error) {
	document := map[string]any{
		"issuer":                                         t.Issuer,
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          grantTypeNames(),
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{"RS256", "ES256", "EdDSA"},
		"token_endpoint_auth_methods_supported":          []string{application.AuthBasic, application.AuthPost, application.AuthNone},
		"introspection_endpoint_auth_methods_supported":  []string{application.AuthBasic, application.AuthPost},
		"revocation_endpoint_auth_methods_supported":     []string{application.AuthBasic, application.AuthPost, application.AuthNone},
		"code_challenge_methods_supported":               []string{"S256"},
		"prompt_values_supported":                        promptsOf(t),
		"acr_values_supported":                           []string{step.ACR},
		"ui_locales_supported":                           p.Interaction.Languages(t),
		"scopes_supported":                               slices.Concat([]string{"openid", "offline_access", organization.Scope}, customer.Scopes(), scopesOfTenant(t)),
		"claims_supported":                               append([]string{"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash"}, supportedClaims(t)...),
		"claim_types_supported":                          []string{"normal"},
		"claims_parameter_supported":                     false,
		"request_parameter_supported":                    false,
		"request_uri_parameter_supported":                false,
		"authorization_response_iss_parameter_supported": true,
	}
	for _, route := range p.Routes() {
		if name := endpoints[route.Pattern]; name != "" {
			document[name] = t.URL(route.Pattern)
		}
	}
	return json.Marshal(document)
}

// supportedClaims are those that scopes release and those that the tenant maps for
// all of its applications. What single applications get is theirs to know.
func supportedClaims(t *tenant.Tenant) []string {
	names := claimNames(append(customer.Scopes(), organization.Scope))
	for _, m := range t.Settings.Claims {
		if !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
	}
	return names
}

// jwks answers with the tenant's public keys (RFC 7517, section 5).
func (p *Provider) jwks(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	body, err := p.SigningKeys.Public(r.Context(), t.ID)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age="+strconv.Itoa(int(signingkey.CacheFor.Seconds())))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}
