package oauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/redirecturi"
	"github.com/cardea-id/cardea/internal/tenant"
)

// endpoint is a set of the endpoints that take parameters.
type endpoint int

const (
	atAuthorize endpoint = 1 << iota
	atToken
	atIntrospect
	atRevoke
)

// exchange is one request on its way through the checks.
type exchange struct {
	ctx    context.Context
	tenant *tenant.Tenant
	form   form
	basic  string // the Authorization header of the request

	address netip.Addr // of the client; only where applications prove themselves

	app           *application.Application
	authenticated bool // whether the application has proved itself by its registered method

	// what the checks of an authorization request read from it
	redirectURI  string
	scopes       []string
	organization string   // that the scope names by id or slug, "" for whichever
	resources    []string // that are asked for, sorted; at the token endpoint too
	prompts      []string
	maxAge       *time.Duration
	hintSubject  id.Customer // from id_token_hint
	hintUnknown  bool        // there is an id_token_hint, and it names nobody
	resumeParams string
}

// check is one rule and where it holds.
type check struct {
	name string
	at   endpoint
	run  func(*Provider, *exchange) error
}

// checks is every rule that is held before an endpoint does anything of its
// own, in the order in which they are held. An authorization request whose
// application and redirect URI are good is told of later faults by redirect;
// before that the customer is shown a page (RFC 6749, section 4.1.2.1).
var checks = []check{
	{"parameters are there once", atAuthorize | atToken | atIntrospect | atRevoke, (*Provider).checkParameters},
	{"the application is known", atAuthorize, (*Provider).checkApplication},
	{"the redirect URI is registered", atAuthorize, (*Provider).checkRedirectURI},
	{"the application proves itself", atToken | atIntrospect | atRevoke, (*Provider).checkClientAuthentication},
	{"the application keeps a secret", atIntrospect, (*Provider).checkConfidential},
	{"the application may use codes", atAuthorize, (*Provider).checkCodeGrant},
	{"the application may use the grant", atToken, (*Provider).checkGrantType},
	{"no request objects", atAuthorize, (*Provider).checkRequestObject},
	{"the response type is code", atAuthorize, (*Provider).checkResponseType},
	{"the response mode is query", atAuthorize, (*Provider).checkResponseMode},
	{"PKCE by S256", atAuthorize, (*Provider).checkPKCE},
	{"scopes are allowed", atAuthorize, (*Provider).checkScope},
	{"resources are allowed", atAuthorize | atToken, (*Provider).checkResources},
	{"state and nonce are of a size", atAuthorize, (*Provider).checkSizes},
	{"prompts go together", atAuthorize, (*Provider).checkPrompt},
	{"max_age is a number", atAuthorize, (*Provider).checkMaxAge},
	{"whom the hint names", atAuthorize, (*Provider).checkIDTokenHint},
}

// check holds the checks of an endpoint, up to the first that fails.
func (p *Provider) check(at endpoint, x *exchange) error {
	for _, c := range checks {
		if c.at&at == 0 {
			continue
		}
		if err := c.run(p, x); err != nil {
			explain.Of(x.ctx).Decided(c.name, passed(at, c.name)...)
			return err
		}
	}
	return nil
}

// passed are the checks that were held at an endpoint before the one of a name.
func passed(at endpoint, before string) []string {
	var names []string
	for _, c := range checks {
		if c.name == before {
			break
		}
		if c.at&at != 0 {
			names = append(names, c.name)
		}
	}
	return names
}

// checkParameters: RFC 6749, sections 3.1 and 3.2. What is sent without a value
// is as if it were not there; but not a code_verifier, which must not be there
// without a challenge at all (RFC 9700, section 4.8.2).
func (p *Provider) checkParameters(x *exchange) error {
	if err := checkOnce(x.form); err != nil {
		return err
	}
	maps.DeleteFunc(x.form, func(name string, values []string) bool {
		return len(values) == 1 && values[0] == "" && name != "code_verifier"
	})
	return nil
}

// errOnPage marks a fault of an authorization request that must not be told by
// redirect.
type errOnPage struct {
	kind string // "application" or "redirect"
	*fault
}

func (e *errOnPage) Unwrap() error { return e.fault }

func (p *Provider) checkApplication(x *exchange) error {
	app, err := p.Applications.Get(x.ctx, x.tenant.ID, id.Application(x.form.get("client_id")))
	if errors.Is(err, application.ErrNotFound) || (err == nil && app.Disabled) {
		return &errOnPage{"application", refuse(codeInvalidClient, "There is no such application here, or it is disabled.")}
	}
	if err != nil {
		return err
	}
	x.app = app
	explain.Of(x.ctx).From(app.ID, false)
	return nil
}

// checkRedirectURI: RFC 9700, section 4.1.3: simple string comparison. It may
// be left out where the application has one only (RFC 6749, section 3.1.2.3),
// but not from an OpenID Connect request (Core 1.0, section 3.1.2.1).
func (p *Provider) checkRedirectURI(x *exchange) error {
	uri := x.form.get("redirect_uri")
	openID := slices.Contains(strings.Fields(x.form.get("scope")), "openid")
	if uri == "" && len(x.app.RedirectURIs) == 1 && !openID {
		x.redirectURI = x.app.RedirectURIs[0]
		return nil
	}
	if !redirecturi.Match(x.app.RedirectURIs, uri) {
		return &errOnPage{"redirect", refuse(codeInvalidRequest, "The redirect_uri is not one that the application has registered.")}
	}
	x.redirectURI = uri
	return nil
}

func (p *Provider) checkConfidential(x *exchange) error {
	if x.app.Public() {
		return refuseClient("Only an application that keeps a secret may ask about tokens.")
	}
	return nil
}

func (p *Provider) checkCodeGrant(x *exchange) error {
	if !x.app.Allows(application.GrantCode) {
		return refuse(codeUnauthorizedClient, "The application may not ask for authorization codes.")
	}
	return nil
}

func (p *Provider) checkGrantType(x *exchange) error {
	name := x.form.get("grant_type")
	if name == "" {
		return refuse(codeInvalidRequest, "The grant_type is missing.")
	}
	if grantTypes[name] == nil {
		return refuse(codeUnsupportedGrantType, "The grant_type is not one of "+strings.Join(grantTypeNames(), ", ")+".")
	}
	if !x.app.Allows(name) {
		return refuse(codeUnauthorizedClient, "The application may not use this grant_type.")
	}
	return nil
}

// checkRequestObject: OpenID Connect Core 1.0, section 3.1.2.6.
func (p *Provider) checkRequestObject(x *exchange) error {
	if x.form.has("request") {
		return refuse(codeRequestNotSupported, "Request objects are not supported.")
	}
	if x.form.has("request_uri") {
		return refuse(codeRequestURINotSupported, "The request_uri is not supported.")
	}
	return nil
}

func (p *Provider) checkResponseType(x *exchange) error {
	switch x.form.get("response_type") {
	case "code":
		return nil
	case "":
		return refuse(codeInvalidRequest, "The response_type is missing.")
	}
	return refuse(codeUnsupportedResponseType, "The response_type is not code.")
}

func (p *Provider) checkResponseMode(x *exchange) error {
	if mode := x.form.get("response_mode"); mode != "" && mode != "query" {
		return refuse(codeInvalidRequest, "The response_mode is not query.")
	}
	return nil
}

// checkPKCE: RFC 7636, section 4.3; RFC 9700, section 2.1.1: S256 only.
func (p *Provider) checkPKCE(x *exchange) error {
	challenge := x.form.get("code_challenge")
	if challenge == "" {
		if x.form.has("code_challenge_method") {
			return refuse(codeInvalidRequest, "There is a code_challenge_method and no code_challenge.")
		}
		if x.app.PKCEOptional && !x.app.Public() {
			return nil
		}
		return refuse(codeInvalidRequest, "The code_challenge is missing: PKCE is required.")
	}
	if x.form.get("code_challenge_method") != "S256" {
		return refuse(codeInvalidRequest, "The code_challenge_method is not S256.")
	}
	if len(challenge) != 43 || !base64URL(challenge) {
		return refuse(codeInvalidRequest, "The code_challenge is not a SHA-256 in base64url.")
	}
	return nil
}

func base64URL(text string) bool {
	for i := range len(text) {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// maxScopes is the most scopes of one request.
const maxScopes = 50

func (p *Provider) checkScope(x *exchange) error {
	scopes, err := readScopes(x.form.get("scope"))
	if err != nil {
		return err
	}
	if x.scopes, x.organization, err = organizationScope(scopes, x.app.OrganizationRequired()); err != nil {
		return err
	}
	return checkAllowed(x.scopes, x.app)
}

// scopesOf reads a scope parameter. Scopes that the application may not ask
// for are refused, so that a mistake shows at once.
func scopesOf(text string, app *application.Application) ([]string, error) {
	scopes, err := readScopes(text)
	if err != nil {
		return nil, err
	}
	return scopes, checkAllowed(scopes, app)
}

func readScopes(text string) ([]string, error) {
	if len(text) > 4096 {
		return nil, refuse(codeInvalidScope, "The scope is longer than 4096 bytes.")
	}
	scopes := strings.Fields(text)
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	if len(scopes) > maxScopes {
		return nil, refuse(codeInvalidScope, fmt.Sprintf("There are more than %d scopes.", maxScopes))
	}
	return scopes, nil
}

func checkAllowed(scopes []string, app *application.Application) error {
	for _, scope := range scopes {
		if !slices.Contains(app.Scopes, scope) {
			return refuse(codeInvalidScope, "A scope is not one that the application may ask for.")
		}
	}
	return nil
}

// checkSizes keeps what is echoed or sealed to a size that fits a code.
func (p *Provider) checkSizes(x *exchange) error {
	for _, limit := range []struct {
		name string
		most int
	}{{"state", 2048}, {"nonce", 512}, {"login_hint", 320}, {"ui_locales", 512}, {"acr_values", 512}} {
		if len(x.form.get(limit.name)) > limit.most {
			return refuse(codeInvalidRequest, fmt.Sprintf("The %s is longer than %d bytes.", limit.name, limit.most))
		}
	}
	return nil
}

// checkPrompt: OpenID Connect Core 1.0, section 3.1.2.1, and Initiating User
// Registration 1.0 for create.
func (p *Provider) checkPrompt(x *exchange) error {
	x.prompts = strings.Fields(x.form.get("prompt"))
	for _, prompt := range x.prompts {
		if prompt != promptOrganization && !slices.Contains(promptValues, prompt) {
			return refuse(codeInvalidRequest, "A prompt is not one of "+strings.Join(promptValues, ", ")+", "+promptOrganization+".")
		}
	}
	if slices.Contains(x.prompts, "none") && len(x.prompts) > 1 {
		return refuse(codeInvalidRequest, "The prompt none goes with no other.")
	}
	return nil
}

// promptValues are those of OpenID Connect Core 1.0, section 3.1.2.1, and of
// Initiating User Registration 1.0.
var promptValues = []string{"none", "login", "consent", "select_account", "create"}

// promptOrganization is our own: who is in several organizations is asked again
// for which of them he acts. Discovery does not name it: Spring Security, for one,
// takes no document with a prompt that it does not know.
const promptOrganization = "select_organization"

// promptsOf are the prompts that do something at a tenant: where no accounts
// are opened, create is taken for login.
func promptsOf(t *tenant.Tenant) []string {
	if t.Settings.SignUp.Enabled {
		return promptValues
	}
	return slices.DeleteFunc(slices.Clone(promptValues), func(prompt string) bool { return prompt == "create" })
}

func (p *Provider) checkMaxAge(x *exchange) error {
	text := x.form.get("max_age")
	if text == "" {
		return nil
	}
	seconds, err := strconv.ParseInt(text, 10, 32)
	if err != nil || seconds < 0 {
		return refuse(codeInvalidRequest, "The max_age is not a number of seconds.")
	}
	age := time.Duration(seconds) * time.Second
	x.maxAge = &age
	return nil
}

// checkIDTokenHint: OpenID Connect Core 1.0, section 3.1.2.1. The token may
// have expired; it must be ours and the application's. One that is not names
// nobody: that is no fault of the customer's, who is asked to sign in.
func (p *Provider) checkIDTokenHint(x *exchange) error {
	hint := x.form.get("id_token_hint")
	if hint == "" {
		return nil
	}
	token, err := p.readIDToken(x.ctx, x.tenant, hint)
	if err != nil {
		return err
	}
	if token == nil || !slices.Contains(token.audience, string(x.app.ID)) {
		x.hintUnknown = true
		return nil
	}
	x.hintSubject = token.subject
	return nil
}

// withQuery adds parameters to a registered redirect URI, keeping its own
// query as it stands (RFC 6749, section 3.1.2).
func withQuery(uri string, params url.Values) string {
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
		if strings.HasSuffix(uri, "?") || strings.HasSuffix(uri, "&") {
			separator = ""
		}
	}
	return uri + separator + params.Encode()
}
