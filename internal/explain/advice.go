package explain

import (
	"net/http"
	"strings"
)

// Advice is what to do about an error, for whoever was asked about it.
func (r *Record) Advice() string {
	switch {
	case r.Shed:
		return "Nothing is broken: there was too much to do, and nothing was done. Trying again helps. If it goes on, see \"What to watch\" in docs/production.md."
	case r.Ours():
		return "Something is broken on our side. The log has the cause: search it for the id of the error or of the request."
	}
	switch r.Code {
	case "invalid_client":
		return "Compare the application's client_id, its secret and the way it sends them with its registration; 'cardea app secret' gives a new secret."
	case "invalid_grant":
		return "A code is good once and for a short time, a refresh token until it is used. The application begins a new sign-in."
	case "unauthorized_client", "unsupported_grant_type", "unsupported_response_type":
		return "The application asks for something that its kind is not registered for: see 'cardea app list'."
	case "invalid_scope":
		return "Compare the scopes that the application asks for with its registration."
	case "redirect":
		return "The address must be registered for the application, letter by letter. Register it, or correct the application."
	case "application":
		return "The link or the application has a client_id that this tenant does not have, or has disabled."
	case "invalid_token", "insufficient_scope":
		return "The application gets a new access token by its refresh token, or by a new sign-in with the scopes that it needs."
	case "forged":
		return "Often an old tab or another browser, or a browser that refuses cookies. The customer begins again from the application."
	case "invalid_request", "request", "request_not_supported", "request_uri_not_supported":
		return "The application's request is not in order. Its developers see why in the reason."
	case "temporarily_unavailable":
		if r.Status == http.StatusTooManyRequests {
			return "The network failed too often to prove the application. It waits as Retry-After says; see rate_limit in docs/production.md."
		}
	case "access_denied":
		if strings.Contains(r.Reason, "closed") {
			return "The tenant is closed: 'cardea tenant resume' opens it."
		}
		return "The customer is not a member of the organization that is asked for, or of any. 'cardea organization' shows its members and invites more; or the application asks for less."
	case "invalid_target":
		return "Compare the resources that the application asks for with its registration, and with those of its authorization request."
	}
	return "The reason says what was wrong with the request."
}
