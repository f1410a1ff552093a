package oauth

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/ratelimit"
)

// checkClientAuthentication finds the application of a request and has it
// prove itself by the one method that it registered (RFC 6749, section 2.3):
// none, client_secret_basic or client_secret_post. Whatever is wrong, the
// answer is the same.
//
// A network that failed too often with an application is refused for that
// application before anything is compared: a right secret too, or no guesses
// were limited. Others of the network go on, whose neighbour has a wrong
// secret; all that name no application share one count. Requests in flight at
// once may all be looked at. Only failures are counted, so that applications
// that prove themselves cost nothing.
func (p *Provider) checkClientAuthentication(x *exchange) error {
	failures := p.Failures
	key := func() string { return ratelimit.AddressKey(x.address) }
	presented, errPresented := presentedBy(x)
	var app *application.Application
	if errPresented == nil {
		found, err := p.Applications.Get(x.ctx, x.tenant.ID, id.Application(presented.id))
		if err != nil && !errors.Is(err, application.ErrNotFound) {
			return err
		}
		if err == nil {
			app = found
			explain.Of(x.ctx).From(app.ID, false)
			if app.Public() {
				failures = nil // it has no secret that could be guessed
			}
			key = func() string { return ratelimit.AddressKey(x.address) + " " + string(app.ID) }
		}
	}
	if verdict := failures.Check(key); !verdict.Allowed {
		return &fault{status: http.StatusTooManyRequests, code: codeTemporarilyUnavailable, retry: verdict.RetryAfter,
			description: "Too many requests from this network did not prove that they are from this application. Wait as long as Retry-After says, and see that the client_id and the secret are right."}
	}
	err := errPresented
	if err == nil && !proves(app, presented) {
		explain.Of(x.ctx).Because(unproven(app, presented))
		err = refuseClient("The application is unknown, is disabled, or did not prove itself by the method that it registered.")
	}
	if err != nil {
		var f *fault
		if errors.As(err, &f) && f.code == codeInvalidClient {
			failures.Allow(key())
			p.logUnproven(x, app, presented, f)
		}
		return err
	}
	x.app, x.authenticated = app, !app.Public()
	explain.Of(x.ctx).From(app.ID, x.authenticated)
	return nil
}

// logUnproven tells the log of a request that did not prove its application. What
// was presented is not in it: it may be a secret in the wrong place. There are no
// more lines than failures that are let pass.
func (p *Provider) logUnproven(x *exchange, app *application.Application, presented presentation, f *fault) {
	who, why := id.Application(""), f.description
	if presented.method != "" {
		why = unproven(app, presented)
	}
	if app != nil {
		who = app.ID
	}
	p.Logger.LogAttrs(x.ctx, slog.LevelInfo, "an application did not prove itself", slog.String("request", string(id.RequestOf(x.ctx))),
		slog.String("tenant", string(x.tenant.ID)), slog.String("application", string(who)), slog.String("why", why))
}

// proves tells whether what was presented proves the application, which is nil
// when it is unknown.
func proves(app *application.Application, presented presentation) bool {
	return app != nil && !app.Disabled && presented.method == app.AuthMethod && (app.Public() || app.CheckSecret(presented.secret))
}

// unproven is why an application has not proved itself, for its operator: the
// application itself is not told.
func unproven(app *application.Application, presented presentation) string {
	switch {
	case app == nil:
		return "The tenant has no application of that client_id."
	case app.Disabled:
		return "The application is disabled."
	case presented.method != app.AuthMethod:
		return "The application is registered for " + app.AuthMethod + " and came with " + presented.method + "."
	}
	return "The secret is not the application's."
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
