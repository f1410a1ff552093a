package pages

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/browser"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Begin shows the first page of a journey. Start.Client is what Client has
// returned for this request, or what a surface has made of it.
func (p *Pages) Begin(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, start journey.Start) {
	p.beginWith(w, r, t, start, nil)
}

// beginWith is Begin with a notice of what has just been done.
func (p *Pages) beginWith(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, start journey.Start, notice *view.Notice) {
	if len(start.LoginHint) > identifier.MaxBytes {
		start.LoginHint = "" // no identifier is that long
	}
	v, err := p.Engine.Begin(r.Context(), t, start)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	if _, resumes := resumed(r); !resumes && p.Jar.Get(r, t, browser.Journey) != start.Client.Binding {
		p.Jar.Set(w, t, browser.Journey, start.Client.Binding, 0)
	}
	p.show(w, r, t, shown{View: v, lang: start.Client.Language, notice: notice})
}

// again is the choice by which a page asks to be shown once more, with nothing
// answered: no step has an outcome of that name.
const again = "again"

// answer takes what came back from a page of a journey.
func (p *Pages) answer(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	typed, ok := p.form(w, r, t)
	if !ok {
		return
	}
	client, err := p.Client(w, r, t)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	lang, sealed := p.splitLanguage(t, typed.Get("state"))
	if chosen := typed.Get("lang"); slices.Contains(p.offered(t), chosen) {
		lang = chosen
	}
	if lang != "" {
		client.Language = lang
	}
	onlyShow := typed.Has("lang") || typed.Get("choose") == again
	v, finished, err := p.Engine.Answer(r.Context(), t, sealed, answerOf(typed, onlyShow), client)
	switch {
	case err != nil:
		p.refuse(w, r, t, sealed, client, err)
	case finished != nil:
		p.finish(w, r, t, client, finished)
	default:
		if onlyShow {
			v.Errors = nil
		}
		p.show(w, r, t, shown{View: v, lang: client.Language, typed: typed})
	}
}

// answerOf is the answer that a form gives. One that only asks to be shown
// again answers nothing, so that it neither guesses nor sends.
func answerOf(typed url.Values, onlyShow bool) url.Values {
	if onlyShow {
		values := url.Values{"choose": {again}}
		if typed.Has("stay") {
			values.Set("stay", typed.Get("stay"))
		}
		return values
	}
	values := maps.Clone(typed)
	values.Del("state")
	// The form that asks to agree says so by itself; declining is a choice.
	if values.Get("choose") == "decline" {
		values.Set("decision", "deny")
	}
	return values
}

// finish leaves in the browser what a journey has ended with, and goes on. The
// journey cookie changes when the customer has authenticated, so that pages
// from before are dead; whoever resumes is given the new one with the request.
func (p *Pages) finish(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, client journey.Client, finished *journey.Finished) {
	if finished.SessionKey != "" {
		var err error
		if client.Binding, err = newBinding(p.Random); err != nil {
			p.broken(w, r, t, err)
			return
		}
		life := finished.Session.AbsoluteUntil.Sub(p.Clock.Now())
		if !finished.Stay {
			life = 0 // until the browser is closed
		}
		p.Jar.Set(w, t, browser.Session, finished.SessionKey, life)
		p.Jar.Set(w, t, browser.Journey, client.Binding, 0)
	}
	if finished.DeviceKey != "" {
		p.Jar.Set(w, t, browser.Device, finished.DeviceKey, session.DeviceLife)
		client.Device = finished.DeviceKey
	}
	if finished.Session != nil {
		client.Session = finished.Session
	}
	w.Header().Set("Cache-Control", "no-store")
	r = withResumed(r, client)
	switch resume := p.Resume[finished.Return.Kind]; {
	case resume != nil:
		resume(w, r, t, finished)
	case finished.Return.Kind == returnRecovery:
		client.Session = nil // it was ended with the others
		p.beginWith(w, r, t, journey.Start{Journey: "recovery", Return: journey.Return{Kind: returnAccount}, Client: client, LoginHint: finished.Hint},
			&view.Notice{Tone: view.OK, Text: view.T("notice.disowned")})
	case finished.Return.Kind == returnJoin:
		p.afterJoin(w, r, t, client, finished)
	case finished.Return.Kind == returnAccount:
		p.toAccount(w, r, t, client, finished)
	default:
		p.broken(w, r, t, fmt.Errorf("nobody resumes journeys of kind %q", finished.Return.Kind))
	}
}

// toAccount goes on to the page of the account that a journey was for, which
// says what was done.
func (p *Pages) toAccount(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, client journey.Client, finished *journey.Finished) {
	if finished.Outcome == "account-closed" {
		p.Jar.Clear(w, t, browser.Session)
		p.Jar.Clear(w, t, browser.Journey)
		p.draw(w, r, t, sheet{page: view.Page{Lang: client.Language, Data: view.SignedOut{SignInURL: p.signInURL(t, client.Language), Closed: finished.KeptUntil}}})
		return
	}
	var done accountState
	switch {
	case finished.Recovered, finished.Outcome == "password-changed" && !finished.EndedOthers:
		done.Done = "password_saved"
	case finished.Outcome == "password-changed":
		done.Done = "password_saved_alone"
	case finished.Outcome == "address-added" && finished.Replaced:
		done.Done = "address_changed"
	default:
		done.Done = map[string]string{"address-added": "address_added", "address-removed": "address_removed", "address-confirmed": "address_confirmed"}[finished.Outcome]
	}
	if finished.Of == identifier.Phone {
		done.Done = strings.Replace(done.Done, "address_", "number_", 1)
	}
	of := id.Session("")
	if client.Session != nil {
		of = client.Session.ID
	}
	address, err := p.telling(r.Context(), t, p.accountURL(r, t, finished.Return, client.Language), of, done)
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	redirect(w, address)
}

// refuse answers a state that cannot go on. Going back, reloading, a second
// tab and a long lunch are no errors: where the state can be read, what it was
// for is begun again by one button, or at once where the customer has signed
// in meanwhile. The status is 410 for what is over, 400 for what was never
// this browser's, 403 is left to the cross-origin protection.
func (p *Pages) refuse(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, sealed string, client journey.Client, err error) {
	s := sheet{status: http.StatusGone, page: view.Page{Lang: client.Language}}
	crossed, finished := errors.Is(err, journey.ErrCrossed), errors.Is(err, journey.ErrFinished)
	switch {
	case crossed:
		p.logRefused(r, t, "crossed", "The state of a form is of another browser or session.")
		s.status = http.StatusBadRequest
	case finished, errors.Is(err, journey.ErrExpired):
	case errors.Is(err, journey.ErrForged):
		p.logRefused(r, t, string(view.FaultForged), "The state of a form is none of ours.")
		s.status = http.StatusBadRequest
		s.page.Data = view.Fault{Kind: view.FaultForged, BackURL: p.signInURL(t, client.Language)}
		p.draw(w, r, t, s)
		return
	case errors.Is(err, customer.ErrNotFound), errors.Is(err, customer.ErrErased): // gone since the journey began
	default:
		p.broken(w, r, t, err)
		return
	}
	restart := p.signInURL(t, client.Language)
	if to, readable := p.Engine.Resumable(r.Context(), t, sealed); readable {
		switch to.Kind {
		case returnAccount:
			if to.Params != "" {
				restart = p.accountURL(r, t, to, client.Language)
			}
		case returnAuthorize:
			restart = t.URL("/authorize") + "?" + to.Params
		case returnJoin:
			restart = joinURL(t, client.Language, to.Params)
		case returnRecovery:
			restart = t.URL("/recover") + "?ui_locales=" + url.QueryEscape(client.Language)
		}
		if client.Session != nil && (crossed || finished) {
			if to.Kind == returnAccount {
				restart = p.accountURL(r, t, to, client.Language)
			}
			redirect(w, restart)
			return
		}
	}
	s.page.Data = view.Expired{RestartURL: restart}
	p.draw(w, r, t, s)
}

func (p *Pages) signInURL(t *tenant.Tenant, lang string) string {
	return t.URL("/sign-in") + "?ui_locales=" + url.QueryEscape(lang)
}

// accountURL is the page of the account that a journey returns to. It says in
// which language only where that was chosen on the way: the customer may have
// one of his own.
func (p *Pages) accountURL(r *http.Request, t *tenant.Tenant, to journey.Return, lang string) string {
	path := accountPath
	if to.Kind == returnAccount && to.Params != "" {
		path = to.Params
	}
	if lang == p.preferred(r, t) && !r.URL.Query().Has("ui_locales") {
		return t.URL(path)
	}
	return t.URL(path) + "?ui_locales=" + url.QueryEscape(lang)
}
