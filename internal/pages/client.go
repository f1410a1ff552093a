package pages

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/browser"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/tenant"
)

// resumedKey is where a request that goes on after a journey has the Client
// that the journey left: its cookies are still those from before.
type resumedKey struct{}

func withResumed(r *http.Request, client journey.Client) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), resumedKey{}, client))
}

func resumed(r *http.Request) (journey.Client, bool) {
	client, ok := r.Context().Value(resumedKey{}).(journey.Client)
	return client, ok
}

// Client parses who sends a request: address, browser, language, cookies, and
// the live session if there is one. A broken, forged or old cookie is no
// cookie; an error is a fault of storage. The session is not thereby seen:
// whoever lets the customer through on it says so with Seen.
//
// The binding is the journey cookie's, or a new one, which Begin then sets: a
// request that begins no journey leaves no cookie.
func (p *Pages) Client(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) (journey.Client, error) {
	if client, ok := resumed(r); ok {
		return client, nil
	}
	client := journey.Client{
		Address:   p.Resolver.Client(r).IP,
		UserAgent: r.UserAgent(),
		Hints: session.Hints{
			Brands: r.Header.Get("Sec-CH-UA"), Platform: r.Header.Get("Sec-CH-UA-Platform"), Model: r.Header.Get("Sec-CH-UA-Model"),
		},
		Language: p.language(r, t),
		Binding:  p.Jar.Get(r, t, browser.Journey),
		Device:   p.Jar.Get(r, t, browser.Device),
		Request:  id.Request(w.Header().Get("X-Request-Id")), // whatever stands before us has set it
	}
	if len(client.Binding) != bindingLength {
		var err error
		if client.Binding, err = newBinding(p.Random); err != nil {
			return client, err
		}
	}
	live, err := p.Sessions.Read(r.Context(), t, p.Jar.Get(r, t, browser.Session))
	if errors.Is(err, session.ErrNone) {
		return client, nil
	}
	if err != nil {
		return client, err
	}
	client.Session = live
	return client, nil
}

// Seen records that the customer did something with his session.
func (p *Pages) Seen(ctx context.Context, t *tenant.Tenant, s *session.Session) {
	if err := p.Sessions.Touch(ctx, t, s); err != nil {
		// He may go on all the same: it is for the next time.
		p.Logger.LogAttrs(ctx, slog.LevelWarn, "a session that was seen could not be recorded", slog.Any("error", err))
	}
}

// bindingBytes is how much chance is in a journey cookie.
const bindingBytes = 16

var bindingLength = base64.RawURLEncoding.EncodedLen(bindingBytes)

func newBinding(random io.Reader) (string, error) {
	value := make([]byte, bindingBytes)
	if _, err := io.ReadFull(random, value); err != nil {
		return "", fmt.Errorf("make a journey cookie: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(value), nil
}

// language chooses the language of a request's pages: what the address or the
// application asks for, what was chosen in this browser, what the browser asks
// for, what the tenant speaks.
func (p *Pages) language(r *http.Request, t *tenant.Tenant) string {
	if client, ok := resumed(r); ok {
		return client.Language
	}
	return p.preferred(r, t)
}

// preferred is language for a request that goes on after no journey.
func (p *Pages) preferred(r *http.Request, t *tenant.Tenant) string {
	offered := p.offered(t)
	if _, lang := p.chosen(r, t); lang != "" && !r.URL.Query().Has("ui_locales") {
		return lang
	}
	lang := p.Views.Words().Match(r.URL.Query().Get("ui_locales"), r.Header.Get("Accept-Language"), strings.Join(offered, " "))
	if slices.Contains(offered, lang) {
		return lang
	}
	return offered[0]
}

// offered are the languages that the tenant has and that we have words in, the
// tenant's own first. There is at least one.
func (p *Pages) offered(t *tenant.Tenant) []string {
	var offered []string
	spoken := p.Views.Words().Languages()
	for _, wanted := range t.Settings.Languages {
		for _, lang := range spoken {
			if (wanted == lang || strings.HasPrefix(wanted, lang+"-")) && !slices.Contains(offered, lang) {
				offered = append(offered, lang)
			}
		}
	}
	if len(offered) == 0 {
		return spoken[:1]
	}
	return offered
}

// Languages are those that the tenant's pages are shown in, the default first.
func (p *Pages) Languages(t *tenant.Tenant) []string { return p.offered(t) }

// withLanguage puts the language that was chosen before a sealed state, and
// splitLanguage takes it off again. It is not sealed: who changes it changes
// the language of his own page.
func withLanguage(lang, sealed string) string { return lang + "." + sealed }

func (p *Pages) splitLanguage(t *tenant.Tenant, state string) (lang, sealed string) {
	lang, sealed, found := strings.Cut(state, ".")
	if !found {
		return "", state
	}
	if !slices.Contains(p.offered(t), lang) {
		lang = ""
	}
	return lang, sealed
}
