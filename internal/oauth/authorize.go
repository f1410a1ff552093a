package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/tenant"
)

// maxAuthorizeQuery is the longest authorization request that is taken.
const maxAuthorizeQuery = 8 << 10

// authorize is the authorization endpoint (RFC 6749, section 3.1; OpenID
// Connect Core 1.0, section 3.1.2). With a session that will do it writes
// nothing.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	p.authorizeWith(w, r, t, r.URL.RawQuery, nil)
}

// authorizePost takes an authorization request by POST. It comes from another
// site, without the cookies that tell who is signed in, and so re-enters by
// GET.
func (p *Provider) authorizePost(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	f, err := readForm(w, r)
	if err != nil {
		p.Interaction.Fault(w, r, t, "request", p.faultOf(r, err).description)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, t.URL("/authorize")+"?"+url.Values(f).Encode(), http.StatusSeeOther)
}

// Resume goes on with an authorization request after a journey that it began.
func (p *Provider) Resume(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, finished *journey.Finished) {
	p.authorizeWith(w, r, t, finished.Return.Params, finished)
}

func (p *Provider) authorizeWith(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, query string, finished *journey.Finished) {
	w.Header().Set("Cache-Control", "no-store")
	if len(query) > maxAuthorizeQuery {
		p.Interaction.Fault(w, r, t, "request", "The authorization request is longer than 8 KiB.")
		return
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		p.Interaction.Fault(w, r, t, "request", "The authorization request's parameters cannot be read.")
		return
	}
	x := &exchange{ctx: r.Context(), tenant: t, form: form(values), resumeParams: query}
	if err := p.check(atAuthorize, x); err != nil {
		p.refuseAuthorize(w, r, x, err)
		return
	}
	if r.Method == http.MethodHead { // only looks: no code is made for it, no session seen
		w.WriteHeader(http.StatusOK)
		return
	}
	client, err := p.Interaction.Client(w, r, t)
	if err != nil {
		p.refuseAuthorize(w, r, x, err)
		return
	}
	if finished != nil && finished.Session != nil {
		client.Session = finished.Session
	}
	if client.Session != nil {
		explain.Of(r.Context()).About(client.Session.Customer)
	}
	if err := p.decide(w, r, x, client, finished); err != nil {
		p.refuseAuthorize(w, r, x, err)
	}
}

// refuseAuthorize tells of a fault: to the application by redirect once that
// is safe, else to the customer on a page (RFC 6749, section 4.1.2.1; RFC
// 9700, section 4.11).
func (p *Provider) refuseAuthorize(w http.ResponseWriter, r *http.Request, x *exchange, err error) {
	var page *errOnPage
	f := p.faultOf(r, err)
	switch {
	case errors.As(err, &page):
		p.Interaction.Fault(w, r, x.tenant, page.kind, f.description)
	case x.app == nil || x.redirectURI == "":
		p.Interaction.Fault(w, r, x.tenant, "request", f.description)
	default:
		if f.status >= 500 {
			f.code = codeServerError
		}
		params := url.Values{"error": {f.code}, "error_description": {f.description}}
		if f.named != "" {
			params.Set("error_id", string(f.named))
		}
		p.answer(w, r, x, params)
	}
}

// answer redirects to the application with params, state and iss (RFC 9207).
func (p *Provider) answer(w http.ResponseWriter, r *http.Request, x *exchange, params url.Values) {
	if state := x.form.get("state"); state != "" {
		params.Set("state", state)
	}
	params.Set("iss", x.tenant.Issuer)
	w.Header().Set("Location", withQuery(x.redirectURI, params))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusSeeOther) // RFC 9700, section 4.12: never 307
}

// decide answers an authorization request that is in order: with a code, with
// a page, or with why neither.
func (p *Provider) decide(w http.ResponseWriter, r *http.Request, x *exchange, client journey.Client, finished *journey.Finished) error {
	silent := slices.Contains(x.prompts, "none")
	if finished != nil && finished.Outcome == "denied" {
		return endedAs(codeAccessDenied, "The customer did not allow it.")
	}
	proved := finished != nil && finished.Outcome == "authenticated"
	resume := journey.Return{Kind: ResumeKind, Params: x.resumeParams, Since: p.Clock.Now().UnixMicro()}
	if finished != nil {
		resume.Since = finished.Return.Since
	}
	if x.tenant.Suspended {
		return refuse(codeAccessDenied, "This service is closed.")
	}
	if !p.sessionWillDo(x, client.Session, finished) {
		if silent {
			return endedAs(codeLoginRequired, "The customer has to sign in.")
		}
		if proved { // he has just signed in, as somebody else than the hint names
			return refuse(codeLoginRequired, "The customer signed in to another account than the one that was asked for.")
		}
		p.Interaction.Begin(w, r, x.tenant, journey.Start{
			Journey: startJourney(x), Return: resume,
			Application: x.app, Scopes: x.scopes, LoginHint: x.form.get("login_hint"),
			Again: client.Session != nil && !slices.Contains(x.prompts, "select_account") &&
				(x.hintSubject == "" || x.hintSubject == client.Session.Customer), Client: client,
		})
		return nil
	}
	// Only now: an application that asks for recent activity would otherwise be
	// answered by the very request that it turned away.
	p.Interaction.Seen(r.Context(), x.tenant, client.Session)
	settled, asked, err := p.settleOrganization(w, r, x, client, resume, finished)
	if err != nil || asked {
		return err
	}
	consented := finished != nil && finished.Outcome == "consented"
	if !consented {
		needed, err := p.consentNeeded(x, client.Session)
		if err != nil {
			return err
		}
		if needed {
			if silent {
				return endedAs(codeConsentRequired, "The customer has to allow it.")
			}
			p.Interaction.Begin(w, r, x.tenant, journey.Start{
				Journey: "consent", Return: resume, Organization: settled,
				Application: x.app, Scopes: x.scopes, Client: client,
			})
			return nil
		}
	}
	code, err := p.newCode(x, client.Session, settled)
	if err != nil {
		return err
	}
	p.answer(w, r, x, url.Values{"code": {code}})
	return nil
}

// startJourney is the journey that signs the customer in.
func startJourney(x *exchange) string {
	if slices.Contains(x.prompts, "create") && x.tenant.Settings.SignUp.Enabled {
		return "sign-up"
	}
	return "sign-in"
}

// sessionWillDo tells whether the browser's session answers the request as it
// is: prompt, max_age, the hint and the application's own demands (OpenID
// Connect Core 1.0, section 3.1.2.3).
func (p *Provider) sessionWillDo(x *exchange, s *session.Session, finished *journey.Finished) bool {
	if s == nil || (x.hintSubject != "" && x.hintSubject != s.Customer) {
		return false
	}
	// Having proved himself for this very request is enough, however long the
	// pages after it were open: asking again for each would never end.
	if finished != nil && (finished.Outcome == "authenticated" || s.AuthenticatedAt.UnixMicro() > finished.Return.Since) {
		return true
	}
	if x.hintUnknown { // who is signed in cannot be compared with whom it meant (section 3.1.2.1)
		return false
	}
	if finished == nil && (slices.Contains(x.prompts, "login") || slices.Contains(x.prompts, "select_account") || slices.Contains(x.prompts, "create")) {
		return false
	}
	now := p.Clock.Now()
	if x.maxAge != nil && now.Sub(s.AuthenticatedAt) > *x.maxAge {
		return false
	}
	return s.Fresh(now, x.app.SessionIdle.D(), x.app.SessionMaxAge.D())
}

// consentNeeded tells whether the customer must be asked: first-party
// applications are the tenant's own and ask nothing; others ask once for what
// they want, and again for more. What an application was given while it was the
// tenant's own was not asked for.
func (p *Provider) consentNeeded(x *exchange, s *session.Session) (bool, error) {
	if slices.Contains(x.prompts, "consent") {
		return true, nil
	}
	if x.app.FirstParty {
		return false, nil
	}
	granted, found, err := p.Grants.Find(x.ctx, x.tenant.ID, s.Customer, x.app.ID)
	if err != nil {
		return false, err
	}
	return !found || !granted.Covers(x.scopes, slices.Concat(claimNames(x.scopes), x.app.ClaimSet(p.Claims, x.tenant).Consents(x.scopes))), nil
}

// newCode makes the authorization code. It is sealed, so that making it writes
// nothing; redeeming it begins the lineage whose id it carries.
func (p *Provider) newCode(x *exchange, s *session.Session, settled id.Organization) (string, error) {
	now := p.Clock.Now()
	return p.sealCode(x.ctx, x.tenant, code{
		Application: x.app.ID,
		RedirectURI: x.form.get("redirect_uri"),
		Challenge:   x.form.get("code_challenge"),
		Nonce:       x.form.get("nonce"),
		Customer:    s.Customer,
		Session:     s.ID,
		Scope:       strings.Join(x.scopes, " "),
		AuthTime:    s.AuthenticatedAt.Unix(),
		Methods:     strings.Join(s.Methods, " "),
		ACR:         s.ACR,
		Lineage:     id.New[id.Lineage](now, p.Random),
		Expires:     now.Add(x.tenant.Settings.Tokens.Code.D()).Unix(),

		Organization: settled,
		Resources:    x.resources,
	})
}
