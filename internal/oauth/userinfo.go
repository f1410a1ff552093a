package oauth

import (
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/tenant"
)

// userinfo is the userinfo endpoint (OpenID Connect Core 1.0, section 5.3). It
// writes nothing.
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	presented, err := bearer(w, r)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	token, err := p.readAccessToken(r.Context(), t, presented)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	if token != nil {
		explain.Of(r.Context()).About(id.Customer(token.subject))
	}
	if token == nil || token.lineage == "" || !slices.Contains(token.raw.Audience, t.Issuer) {
		p.writeError(w, r, refuseToken("The access token is not one of this issuer for a customer, or has expired."))
		return
	}
	active, app, err := p.active(r.Context(), t, token)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	if !active {
		p.writeError(w, r, refuseToken("The access token has been revoked."))
		return
	}
	if !slices.Contains(token.scopes, "openid") {
		f := refuse("insufficient_scope", "The access token lacks the scope openid.")
		f.status, f.challenge = http.StatusForbidden, "Bearer"
		p.writeError(w, r, f)
		return
	}
	who, err := p.Directory.Get(r.Context(), t.ID, id.Customer(token.subject))
	if errors.Is(err, customer.ErrErased) || errors.Is(err, customer.ErrNotFound) {
		p.writeError(w, r, refuseToken("The access token has been revoked."))
		return
	}
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	given, err := p.mapped(r.Context(), t, app, app.ClaimSet(p.Claims, t), who.ID, who, token.member, token.scopes)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	claims := who.Claims(token.scopes)
	for _, g := range p.kept(r.Context(), t, app, claim.For(given, claim.UserInfo)) {
		claims[g.Name] = g.Value
		// What was verified is what the customer has proved, and not this.
		switch g.Name {
		case "email":
			delete(claims, "email_verified")
		case "phone_number":
			delete(claims, "phone_number_verified")
		}
	}
	claims["sub"] = token.subject
	addOrganization(claims, token.member, token.scopes)
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, claims)
}

// bearer reads the access token of a request (RFC 6750, sections 2.1 and 2.2):
// from the header or from a form, never from the address.
func bearer(w http.ResponseWriter, r *http.Request) (string, error) {
	header := r.Header.Get("Authorization")
	body := ""
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); r.Method == http.MethodPost && err == nil && kind == "application/x-www-form-urlencoded" {
		f, err := readForm(w, r)
		if err != nil {
			return "", err
		}
		if err := checkOnce(f); err != nil {
			return "", err
		}
		body = f.get("access_token")
	}
	if header != "" && body != "" {
		return "", refuse(codeInvalidRequest, "The access token is there in two ways at once.")
	}
	if body != "" {
		return body, nil
	}
	scheme, token, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, "Bearer") || token == "" {
		// RFC 6750, section 3.1: no error code where there was no token.
		return "", &fault{status: http.StatusUnauthorized, code: codeInvalidToken, description: "The request carries no access token.", challenge: "Bearer "}
	}
	return token, nil
}

// notFoundIsNil takes an application that is not there for an answer.
func notFoundIsNil(err error) error {
	if errors.Is(err, application.ErrNotFound) {
		return nil
	}
	return err
}
