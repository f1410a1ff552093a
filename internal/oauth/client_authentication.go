package oauth

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/ratelimit"
)

// checkFailures refuses a network that has failed to prove itself too often,
// before anything is looked up or compared: a right secret is refused too, or
// the limit would limit no guesses. Requests in flight at once may all be
// looked at. Nothing is counted here, so that applications that prove
// themselves cost nothing.
func (p *Provider) checkFailures(x *exchange) error {
	verdict := p.Failures.Check(func() string { return ratelimit.AddressKey(x.address) })
	if verdict.Allowed {
		return nil
	}
	return &fault{status: http.StatusTooManyRequests, code: codeTemporarilyUnavailable, retry: verdict.RetryAfter,
		description: "Too many requests from this network did not prove which application they are from. Wait as long as Retry-After says, and see that the client_id and the secret are right."}
}

// checkClientAuthentication has an application prove itself, and counts where
// that fails.
func (p *Provider) checkClientAuthentication(x *exchange) error {
	err := p.authenticateClient(x)
	var f *fault
	if errors.As(err, &f) && f.code == codeInvalidClient {
		p.Failures.Allow(ratelimit.AddressKey(x.address))
	}
	return err
}

// authenticateClient finds the application of a request and has it
// prove itself by the one method that it registered (RFC 6749, section 2.3):
// none, client_secret_basic or client_secret_post. Whatever is wrong, the
// answer is the same.
func (p *Provider) authenticateClient(x *exchange) error {
	presented, err := presentedBy(x)
	if err != nil {
		return err
	}
	wrong := refuseClient("The application is unknown, is disabled, or did not prove itself by the method that it registered.")
	app, err := p.Applications.Get(x.ctx, x.tenant.ID, id.Application(presented.id))
	if errors.Is(err, application.ErrNotFound) {
		return wrong
	}
	if err != nil {
		return err
	}
	if app.Disabled || presented.method != app.AuthMethod {
		return wrong
	}
	if !app.Public() && !app.CheckSecret(presented.secret) {
		return wrong
	}
	x.app, x.authenticated = app, !app.Public()
	return nil
}

// presentation is how an application says who it is.
type presentation struct{ method, id, secret string }

func presentedBy(x *exchange) (presentation, error) {
	if x.form.has("client_assertion") || x.form.has("client_assertion_type") {
		return presentation{}, refuseClient("Client assertions are not supported.")
	}
	if x.basic == "" {
		presented := presentation{application.AuthNone, x.form.get("client_id"), x.form.get("client_secret")}
		if x.form.has("client_secret") {
			presented.method = application.AuthPost
		}
		if presented.id == "" {
			return presentation{}, refuseClient("The request does not say which application it is from.")
		}
		return presented, nil
	}
	if x.form.has("client_secret") {
		return presentation{}, refuse(codeInvalidRequest, "The application proves itself in two ways at once.")
	}
	name, secret, ok := basic(x.basic)
	if !ok {
		return presentation{}, refuseClient("The Authorization header is not HTTP Basic with a form-encoded client_id and secret.")
	}
	if x.form.has("client_id") && x.form.get("client_id") != name {
		return presentation{}, refuse(codeInvalidRequest, "The client_id in the body is not the one in the Authorization header.")
	}
	return presentation{application.AuthBasic, name, secret}, nil
}

// basic reads HTTP Basic as RFC 6749, section 2.3.1 wants it: both parts are
// form-encoded first.
func basic(header string) (name, secret string, ok bool) {
	scheme, encoded, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, "Basic") || len(encoded) > 2048 {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", "", false
	}
	name, secret, found = strings.Cut(string(decoded), ":")
	if !found {
		return "", "", false
	}
	name, errName := url.QueryUnescape(name)
	secret, errSecret := url.QueryUnescape(secret)
	return name, secret, errName == nil && errSecret == nil
}
