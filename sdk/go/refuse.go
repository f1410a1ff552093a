package cardea

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// Error is why a request was refused, as RFC 6750, section 3, tells it.
type Error struct {
	Status      int    // 400, 401, 403, or 503 when the issuer could not be asked
	Code        string // "" when the request came without a token
	Description string
	Scope       string // the scopes that are needed, with insufficient_scope

	dpop  bool
	cause error
}

func (e *Error) Error() string {
	if e.Code == "" {
		return "cardea: the request carries no access token"
	}
	return "cardea: " + e.Code + ": " + e.Description
}

func (e *Error) Unwrap() error { return e.cause }

func bad(description string) error {
	return &Error{Status: http.StatusUnauthorized, Code: "invalid_token", Description: description}
}

func lacks(scopes []string) error {
	return &Error{
		Status: http.StatusForbidden, Code: "insufficient_scope", Scope: strings.Join(scopes, " "),
		Description: "The token lacks a scope that this needs.",
	}
}

// unavailable is for when nobody can tell whether a token is good: that is not
// the caller's fault, and trying again may help.
func unavailable(cause error) error {
	return &Error{
		Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", cause: cause,
		Description: "Whether the token is good cannot be told right now. Please try again.",
	}
}

// Refuse answers a request with an error of Request.
func (g *Guard) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	refused := &Error{}
	if !errors.As(err, &refused) {
		refused = &Error{Status: http.StatusInternalServerError, Code: "server_error", Description: "The request could not be checked."}
	}
	g.config.Logger.InfoContext(r.Context(), "refused", "status", refused.Status, "error", refused.Code, "why", refused.Description, "cause", refused.cause)
	h := w.Header()
	if refused.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	} else if refused.Status < http.StatusInternalServerError {
		if !refused.dpop {
			h.Add("WWW-Authenticate", challenge("Bearer", refused))
		}
		if refused.dpop || g.config.Proof != nil && refused.Status == http.StatusUnauthorized {
			h.Add("WWW-Authenticate", challenge("DPoP", refused)+separator(refused)+`algs="ES256"`)
		}
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(refused.Status)
	body := map[string]string{"error": refused.Code, "error_description": refused.Description}
	if refused.Code == "" {
		body = map[string]string{"error": "unauthorized", "error_description": "The request carries no access token."}
	}
	_ = json.NewEncoder(w).Encode(body) // the caller has gone away: nobody is left to tell
}

// challenge writes a WWW-Authenticate header (RFC 6750, section 3).
func challenge(scheme string, e *Error) string {
	if e.Code == "" {
		return scheme
	}
	parts := []string{`error="` + quotable(e.Code) + `"`, `error_description="` + quotable(e.Description) + `"`}
	if e.Scope != "" {
		parts = append(parts, `scope="`+quotable(e.Scope)+`"`)
	}
	return scheme + " " + strings.Join(parts, ", ")
}

func separator(e *Error) string {
	if e.Code == "" {
		return " "
	}
	return ", "
}

// quotable leaves of a text what may stand there (RFC 6750, section 3).
func quotable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, text)
}
