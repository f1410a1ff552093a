package oauth

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// The error codes of RFC 6749 (sections 4.1.2.1 and 5.2), RFC 6750 (section
// 3.1), RFC 7009, RFC 8707 (section 2) and OpenID Connect Core 1.0 (section 3.1.2.6).
const (
	codeInvalidRequest          = "invalid_request"
	codeInvalidClient           = "invalid_client"
	codeInvalidGrant            = "invalid_grant"
	codeUnauthorizedClient      = "unauthorized_client"
	codeUnsupportedGrantType    = "unsupported_grant_type"
	codeUnsupportedResponseType = "unsupported_response_type"
	codeUnsupportedTokenType    = "unsupported_token_type"
	codeInvalidScope            = "invalid_scope"
	codeInvalidTarget           = "invalid_target"
	codeInvalidToken            = "invalid_token"
	codeAccessDenied            = "access_denied"
	codeLoginRequired           = "login_required"
	codeConsentRequired         = "consent_required"
	codeInteractionRequired     = "interaction_required"
	codeRequestNotSupported     = "request_not_supported"
	codeRequestURINotSupported  = "request_uri_not_supported"
	codeServerError             = "server_error"
	codeTemporarilyUnavailable  = "temporarily_unavailable"
)

// fault is an error of the protocol. Each is made where it happens, so that
// nothing of one request is seen in another's answer.
type fault struct {
	status      int
	code        string
	description string        // says what happened and what to do; no quotes, no backslashes
	challenge   string        // the scheme of WWW-Authenticate, "" for none
	retry       time.Duration // when trying again makes sense, 0 where that is not said
	named       id.Fault      // what the error is asked about by; "" for what is no error but an outcome
	outcome     bool          // how a request ended that was in order: it has no name and is not kept
}

func (f *fault) Error() string { return f.code + ": " + f.description }

// endedAs is how a request ended that was in order, as by a customer who did not
// allow it.
func endedAs(code, description string) *fault {
	return &fault{status: http.StatusBadRequest, code: code, description: description, outcome: true}
}

func refuse(code, description string) *fault {
	return &fault{status: http.StatusBadRequest, code: code, description: description}
}

// refuseClient answers an application that did not prove itself. It is told of
// the one scheme that there is, whatever it tried: RFC 9110, section 15.5.2.
func refuseClient(description string) *fault {
	return &fault{status: http.StatusUnauthorized, code: codeInvalidClient, description: description, challenge: "Basic"}
}

func refuseToken(description string) *fault {
	return &fault{status: http.StatusUnauthorized, code: codeInvalidToken, description: description, challenge: "Bearer"}
}

// writeError answers in the protocol's form (RFC 6749, section 5.2). What is
// not a fault of the protocol is ours: the caller learns an id, the log the
// cause.
func (p *Provider) writeError(w http.ResponseWriter, r *http.Request, err error) {
	f := p.faultOf(r, err)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	switch f.challenge {
	case "Basic":
		h.Set("WWW-Authenticate", `Basic realm="token", charset="UTF-8"`)
	case "Bearer":
		h.Set("WWW-Authenticate", `Bearer error="`+f.code+`", error_description="`+f.description+`"`)
	case "Bearer ":
		h.Set("WWW-Authenticate", `Bearer`)
	}
	if f.retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((f.retry+time.Second-1)/time.Second), 10))
	}
	body := map[string]string{"error": f.code, "error_description": f.description}
	if f.named != "" {
		body["error_id"] = string(f.named)
	}
	writeJSON(w, f.status, body)
}

// faultOf returns err as a fault of the protocol, which has a name by which
// 'cardea explain' tells what stands behind it.
func (p *Provider) faultOf(r *http.Request, err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		if !f.outcome {
			verdict := explain.Verdict{Status: f.status, Code: f.code, Reason: f.description}
			if page, shown := errors.AsType[*errOnPage](err); shown {
				verdict.Code = page.kind // says more of what to do than the code, which nobody is told
			}
			f.named = explain.Met(r.Context(), p.Clock.Now(), p.Random, verdict)
		}
		return f
	}
	const sorry = "Something went wrong on our side and nothing was done. Try again; if it persists, quote "
	named := explain.Met(r.Context(), p.Clock.Now(), p.Random, explain.Verdict{Status: http.StatusServiceUnavailable, Code: codeTemporarilyUnavailable,
		Reason: "Something went wrong on our side and nothing was done.", Shed: sqldb.IsBusy(err)})
	p.Logger.LogAttrs(r.Context(), slog.LevelError, "an OAuth endpoint failed",
		slog.String("fault", string(named)), slog.String("path", r.URL.Path), slog.Any("error", err))
	// RFC 7009, section 2.2.1: 503 tells that the request was not carried out
	// and may be tried again; nothing was decided.
	return &fault{status: http.StatusServiceUnavailable, code: codeTemporarilyUnavailable, retry: time.Second,
		description: sorry + string(named) + ".", named: named}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the status is out; a reader who has gone is no fault
}
