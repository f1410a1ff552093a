package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/browser"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/redirecturi"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// signOutLife is how long the question whether to sign out stands.
const signOutLife = 10 * time.Minute

// signOutPurpose is what the question's state is sealed for.
const signOutPurpose = "sign-out"

// confirmSignOut is where the question's answer is posted.
const confirmSignOut = "/end_session/confirm"

// signOutState is what the question's form carries, sealed.
type signOutState struct {
	Session     id.Session     `json:"session"`
	Application id.Application `json:"application,omitempty"`
	Target      string         `json:"target,omitempty"` // where to go afterwards, with its state
	Expires     int64          `json:"expires"`
}

// endSession is RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0).
// Nobody is signed out without being asked, whatever the request proves: any
// site could send it.
func (p *Provider) endSession(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	w.Header().Set("Cache-Control", "no-store")
	f := form(r.URL.Query())
	if r.Method == http.MethodPost {
		// It comes from another site, without cookies: re-enter by GET.
		body, err := readForm(w, r)
		if err != nil {
			p.Interaction.Fault(w, r, t, "request", p.faultOf(r, err).description)
			return
		}
		http.Redirect(w, r, t.URL("/end_session")+"?"+url.Values(body).Encode(), http.StatusSeeOther)
		return
	}
	app, target, err := p.signOutTarget(r, t, f)
	if err != nil {
		var page *errOnPage
		kind := "request"
		if errors.As(err, &page) {
			kind = page.kind
		}
		p.Interaction.Fault(w, r, t, kind, p.faultOf(r, err).description)
		return
	}
	client, err := p.Interaction.Client(w, r, t)
	if err != nil {
		p.Interaction.Fault(w, r, t, "request", p.faultOf(r, err).description)
		return
	}
	if client.Session == nil {
		p.leave(w, r, t, target)
		return
	}
	state := signOutState{Session: client.Session.ID, Target: target, Expires: p.Clock.Now().Add(signOutLife).Unix()}
	if app != nil {
		state.Application = app.ID
	}
	sealed, err := p.sealSignOut(r, t, state)
	if err != nil {
		p.Interaction.Fault(w, r, t, "request", p.faultOf(r, err).description)
		return
	}
	p.Interaction.ConfirmSignOut(w, r, t, SignOut{Action: t.Path + confirmSignOut, State: sealed, Application: app, Target: target})
}

// signOutTarget finds who asks and where to go afterwards. The address must be
// one that the application registered, and the application known by its ID
// token or its client_id (section 2). Of a request whose ID token cannot be read
// the rest is good: with a client_id all of it, without one the question is
// asked and nobody is sent anywhere (section 4).
func (p *Provider) signOutTarget(r *http.Request, t *tenant.Tenant, f form) (*application.Application, string, error) {
	if err := checkOnce(f); err != nil {
		return nil, "", err
	}
	name := id.Application(f.get("client_id"))
	unreadable := false
	if hint := f.get("id_token_hint"); hint != "" {
		token, err := p.readIDToken(r.Context(), t, hint)
		if err != nil {
			return nil, "", err
		}
		switch unreadable = token == nil || len(token.audience) == 0; {
		case unreadable:
		case name != "" && !slices.Contains(token.audience, string(name)):
			return nil, "", refuse(codeInvalidRequest, "The id_token_hint is not an ID token for the application that client_id names.")
		default:
			name = id.Application(token.audience[0])
		}
	}
	uri := f.get("post_logout_redirect_uri")
	if name == "" {
		if uri != "" && !unreadable {
			return nil, "", &errOnPage{"redirect", refuse(codeInvalidRequest, "A post_logout_redirect_uri needs an id_token_hint or a client_id.")}
		}
		return nil, "", nil
	}
	app, err := p.Applications.Get(r.Context(), t.ID, name)
	if errors.Is(err, application.ErrNotFound) || (err == nil && app.Disabled) {
		return nil, "", &errOnPage{"application", refuse(codeInvalidRequest, "There is no such application here, or it is disabled.")}
	}
	if err != nil || uri == "" {
		return app, "", err
	}
	if !redirecturi.Match(app.PostLogoutURIs, uri) {
		return nil, "", &errOnPage{"redirect", refuse(codeInvalidRequest, "The post_logout_redirect_uri is not one that the application has registered.")}
	}
	if state := f.get("state"); state != "" {
		uri = withQuery(uri, url.Values{"state": {state}})
	}
	return app, uri, nil
}

// endSessionConfirm takes the customer's answer.
func (p *Provider) endSessionConfirm(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	w.Header().Set("Cache-Control", "no-store")
	f, err := readForm(w, r)
	if err != nil {
		p.Interaction.Fault(w, r, t, "request", p.faultOf(r, err).description)
		return
	}
	state, ok, err := p.openSignOut(r, t, f.get("state"))
	if err != nil || !ok {
		p.Interaction.Fault(w, r, t, "expired", "The question has been open for too long.")
		return
	}
	client, err := p.Interaction.Client(w, r, t)
	if err != nil {
		p.Interaction.Fault(w, r, t, "request", p.faultOf(r, err).description)
		return
	}
	if f.get("decision") == "sign_out" && client.Session != nil && client.Session.ID == state.Session {
		err := p.DB.Write(r.Context(), func(tx *sqldb.Tx) error {
			_, err := p.Sessions.End(tx, t.ID, client.Session.Customer, client.Session.ID, session.SignedOut, string(client.Session.Customer))
			return err
		})
		if err != nil {
			p.Interaction.Fault(w, r, t, "request", p.faultOf(r, err).description)
			return
		}
		p.Jar.Clear(w, t, browser.Session)
		p.Jar.Clear(w, t, browser.Journey)
	}
	p.leave(w, r, t, state.Target)
}

// leave goes where the sign-out was to end.
func (p *Provider) leave(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, target string) {
	if target == "" {
		p.Interaction.SignedOut(w, r, t)
		return
	}
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}

func (p *Provider) sealSignOut(r *http.Request, t *tenant.Tenant, s signOutState) (string, error) {
	keys, err := p.Ring.Tenant(r.Context(), t.ID)
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("write the sign-out state: %w", err)
	}
	return keys.Seal(signOutPurpose, plain)
}

func (p *Provider) openSignOut(r *http.Request, t *tenant.Tenant, sealed string) (signOutState, bool, error) {
	var s signOutState
	keys, err := p.Ring.Tenant(r.Context(), t.ID)
	if err != nil {
		return s, false, err
	}
	plain, err := keys.Open(signOutPurpose, sealed)
	if err != nil || json.Unmarshal(plain, &s) != nil || p.Clock.Now().Unix() >= s.Expires {
		return s, false, nil
	}
	return s, true, nil
}
