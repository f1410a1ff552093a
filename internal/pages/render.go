package pages

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// sheet is a page on its way out.
type sheet struct {
	status int       // 0: 200
	retry  time.Time // Retry-After, where it is not zero
	target string    // where answering the page's form may redirect to
	back   bool      // the back button may show it again, from this browser's cache
	page   view.Page // Lang is set by whoever makes it; the rest of the frame is filled in
}

// draw writes a page. Every page has the same headers, whatever it says.
func (p *Pages) draw(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, s sheet) {
	look, err := p.looks.of(r.Context(), p.Logger, t)
	if err != nil {
		p.bare(w, r, err)
		return
	}
	s.page.Look, s.page.Now = look, p.Clock.Now()
	p.name(r, &s)
	s.page.Appearance, _ = p.chosen(r, t)
	var out bytes.Buffer
	if err := p.Views.Render(&out, s.page); err != nil {
		p.bare(w, r, err)
		return
	}
	body := out.Bytes()
	if t.Path != "" { // no text can hold this: quotes in it are escaped
		body = bytes.ReplaceAll(body, []byte(`src="`+view.AssetPath), []byte(`src="`+t.Path+view.AssetPath))
	}
	h := w.Header()
	secure(h, s.target)
	if s.back && len(h["Set-Cookie"]) == 0 {
		// A page that answered a POST and was not stored is, for the back button,
		// an error page of the browser. This one holds what was typed and a state
		// that is worth nothing in another browser or after signing in.
		h.Set("Cache-Control", "private, no-cache")
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	if !s.retry.IsZero() {
		seconds := max(1, int((s.retry.Sub(s.page.Now)+time.Second-1)/time.Second))
		h.Set("Retry-After", strconv.Itoa(seconds))
	}
	if s.status != 0 {
		w.WriteHeader(s.status)
	}
	_, _ = w.Write(body)
}

// name gives the page of an error its id, by which 'cardea explain' tells what
// stands behind it.
func (p *Pages) name(r *http.Request, s *sheet) {
	switch data := s.page.Data.(type) {
	case view.Fault:
		if data.ID == "" {
			reason := "The request is not one that this page answers."
			if data.Kind == view.FaultForged {
				reason = "The form is none that this browser was given, or was opened too long ago."
			}
			data.ID = string(p.met(r, s.status, string(data.Kind), reason))
		}
		s.page.Data = data
	case view.Busy:
		data.ID = string(p.met(r, s.status, "busy", "There was too much to do."))
		s.page.Data = data
	}
}

// secure sets what bounds a page in a browser.
func secure(h http.Header, target string) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", view.CSP(target))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for browsers without frame-ancestors (RFC 9700, section 4.16)
	// Nothing of our addresses is told to other sites (RFC 9700, section 4.2).
	// It is not "no-referrer": with that, browsers send "Origin: null" with our
	// own forms (Fetch, section 3.2), and the cross-origin protection would
	// refuse those that do not send Sec-Fetch-Site.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), "+
		"magnetometer=(), microphone=(), midi=(), payment=(), usb=()")
	h.Set("X-Robots-Tag", "noindex")
}

// logRefused tells the log of a request that was refused: of the request itself
// there is nothing in it.
func (p *Pages) logRefused(r *http.Request, t *tenant.Tenant, kind, detail string) {
	p.Logger.LogAttrs(r.Context(), slog.LevelInfo, "a request was refused on a page", slog.String("request", string(id.RequestOf(r.Context()))),
		slog.String("tenant", string(t.ID)), slog.String("kind", kind), slog.String("detail", detail))
}

// Fault shows the page of a request that cannot be answered to whoever sent
// the customer. Kind is one of view's kinds of faults or "expired". Detail is
// for the log; where it quotes a fault of ours, the page says it is ours.
func (p *Pages) Fault(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, kind, detail string) {
	if quoted := faultID.FindString(detail); quoted != "" {
		p.draw(w, r, t, sheet{status: http.StatusInternalServerError,
			page: view.Page{Lang: p.language(r, t), Data: view.Fault{ID: quoted}}})
		return
	}
	p.met(r, http.StatusBadRequest, kind, detail)
	p.logRefused(r, t, kind, detail)
	s := sheet{status: http.StatusBadRequest, page: view.Page{Lang: p.language(r, t)}}
	switch kind {
	case "expired":
		s.status, s.page.Data = http.StatusGone, view.Expired{RestartURL: t.URL("/account")}
	case string(view.FaultForged):
		s.status = http.StatusForbidden
		s.page.Data = view.Fault{Kind: view.FaultForged, BackURL: t.URL("/account")}
	case string(view.FaultOperator):
		s.status, s.page.Data = http.StatusGone, view.Fault{Kind: view.FaultOperator}
	case string(view.FaultRedirect), string(view.FaultApplication):
		s.page.Data = view.Fault{Kind: view.FaultKind(kind)}
	default:
		s.page.Data = view.Fault{Kind: view.FaultRequest}
	}
	p.draw(w, r, t, s)
}

var faultID = regexp.MustCompile(`\berr_[0-9a-z]{26}\b`)

// NotFound says that there is nothing at this address.
func (p *Pages) NotFound(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	p.draw(w, r, t, sheet{status: http.StatusNotFound,
		page: view.Page{Lang: p.language(r, t), Data: view.NotFound{HomeURL: t.URL("/account")}}})
}

// broken shows the page of an error of ours: the customer gets an id to quote,
// the log the cause. A database that is busy asks him to wait.
func (p *Pages) broken(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, err error) {
	if sqldb.IsBusy(err) {
		p.Logger.LogAttrs(r.Context(), slog.LevelWarn, "the database is busy", slog.Any("error", err))
		var retry string
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			retry = t.URL(r.URL.EscapedPath())
			if r.URL.RawQuery != "" {
				retry += "?" + r.URL.RawQuery
			}
		} else {
			retry = t.URL("/account")
		}
		p.draw(w, r, t, sheet{status: http.StatusServiceUnavailable, retry: p.Clock.Now().Add(busyWait),
			page: view.Page{Lang: p.language(r, t), Data: view.Busy{RetryURL: retry}}})
		return
	}
	if errors.Is(err, journey.ErrClosed) {
		p.draw(w, r, t, sheet{status: http.StatusForbidden, page: view.Page{Lang: p.language(r, t), Data: view.Deny{}}})
		return
	}
	if errors.Is(err, application.ErrNotFound) {
		p.Fault(w, r, t, string(view.FaultApplication), "The application that the pages were for is not there any more.")
		return
	}
	named := p.logged(r, err)
	p.draw(w, r, t, sheet{status: http.StatusInternalServerError,
		page: view.Page{Lang: p.language(r, t), Data: view.Fault{ID: named}}})
}

// Limited asks whoever's network posts too many forms to wait. What was typed
// is not kept: the button shows the step again.
func (p *Pages) Limited(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, wait time.Duration) {
	until := p.Clock.Now().Add(wait)
	s := sheet{status: http.StatusTooManyRequests, retry: until, page: view.Page{Lang: p.language(r, t)}}
	data := view.Limited{Until: until, Network: true}
	if r.URL.Path == journeyPath {
		typed, ok := p.form(w, r, t)
		if !ok {
			return
		}
		lang, sealed := p.splitLanguage(t, typed.Get("state"))
		if lang != "" {
			s.page.Lang = lang
		}
		s.page.Action, s.page.State = t.Path+journeyPath, withLanguage(s.page.Lang, sealed)
		s.page.Values = map[string]string{"choose": again}
	} else {
		data.RetryURL = t.URL("/account")
	}
	s.page.Data = data
	p.draw(w, r, t, s)
}

// busyWait is when trying again makes sense for whoever met a queue.
const busyWait = 2 * time.Second

// met gives the error that a page is about its id. Reason is a sentence of this
// program.
func (p *Pages) met(r *http.Request, status int, kind, reason string) id.Fault {
	return explain.Met(r.Context(), p.Clock.Now(), p.Random, explain.Verdict{Status: status, Code: kind, Reason: reason, Shed: status == http.StatusServiceUnavailable})
}

func (p *Pages) logged(r *http.Request, err error) string {
	named := p.met(r, http.StatusInternalServerError, "broken", "Something went wrong on our side.")
	p.Logger.LogAttrs(r.Context(), slog.LevelError, "a page failed",
		slog.String("fault", string(named)), slog.String("path", r.URL.Path), slog.Any("error", err))
	return string(named)
}

// bare is the last resort: pages themselves cannot be drawn.
func (p *Pages) bare(w http.ResponseWriter, r *http.Request, err error) {
	named := p.logged(r, err)
	secure(w.Header(), "")
	http.Error(w, strings.Join([]string{"Something went wrong on our side. Please try again.", named}, "\n"), http.StatusInternalServerError)
}
