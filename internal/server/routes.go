package server

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cardea-id/cardea/internal/explain"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/mailhook"
	"github.com/cardea-id/cardea/internal/ratelimit"
	"github.com/cardea-id/cardea/internal/route"
	"github.com/cardea-id/cardea/internal/tenant"
)

// surfaces lists what is mounted for every tenant.
func (s *Server) surfaces() []route.Route {
	return append(s.OAuth.Routes(), s.Pages.Routes()...)
}

// Handler answers everything that customers and applications ask.
func (s *Server) Handler() http.Handler {
	tenants := http.NewServeMux()
	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Pages.Fault(w, r, tenantOf(r.Context()), "forged", "The request came from another site.")
	}))
	for _, mounted := range s.surfaces() {
		var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mounted.Handle(w, r, tenantOf(r.Context()))
		})
		if mounted.Form {
			handler = s.limited(handler)
		}
		if mounted.Cookies { // before the limit, so that no other site uses it up
			handler = crossOrigin.Handler(handler)
		}
		pattern := strings.TrimSpace(mounted.Method + " " + mounted.Pattern)
		tenants.Handle(pattern, s.metrics.observe(pattern, at(pattern, handler)))
	}
	tenants.Handle("/", s.metrics.observe("other", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Pages.NotFound(w, r, tenantOf(r.Context()))
	})))

	root := http.NewServeMux()
	root.HandleFunc("GET /healthz", s.healthy)
	root.HandleFunc("GET /readyz", s.ready)
	root.Handle("POST "+mailhook.Prefix+"{provider}", s.metrics.observe("POST "+mailhook.Prefix, s.hooks))
	// RFC 8414, section 3.1: for an issuer with a path the well-known part
	// comes first.
	root.Handle("/.well-known/oauth-authorization-server/t/{slug}", s.bySlug(tenants, func(r *http.Request) string {
		return "/.well-known/oauth-authorization-server"
	}))
	root.Handle("/t/{slug}/", s.bySlug(tenants, func(r *http.Request) string {
		return strings.TrimPrefix(r.URL.Path, "/t/"+r.PathValue("slug"))
	}))
	root.Handle(adminPath, s.metrics.observe(adminPath, s.adminHandler(s.byHost(tenants))))
	root.Handle("/", s.byHost(tenants))
	return s.outermost(root)
}

// at notes which door a request came to, for whoever is asked about its error.
func at(door string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := tenantOf(r.Context())
		explain.Of(r.Context()).At(door, t.ID)
		traceRoute(r.Context(), door, t)
		next.ServeHTTP(w, r)
	})
}

// limited takes so many requests of one network; one more is told until when
// to wait, before its body is read.
func (s *Server) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.forms != nil {
			if verdict := s.forms.Allow(ratelimit.AddressKey(s.resolver.Client(r).IP)); !verdict.Allowed {
				s.Pages.Limited(w, r, tenantOf(r.Context()), verdict.RetryAfter)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

type contextKey int

const tenantKey contextKey = 0

func tenantOf(ctx context.Context) *tenant.Tenant {
	t, _ := ctx.Value(tenantKey).(*tenant.Tenant)
	return t
}

// bySlug serves the tenants that are served by path, on the host of their
// issuer alone: on another tenant's their pages would have its origin
// (DESIGN.md, rule 13).
func (s *Server) bySlug(next http.Handler, path func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := s.Tenants.BySlug(r.Context(), r.PathValue("slug"))
		if err == nil && (t.Host != "" || tenant.Authority(r.Host) != t.Authority) {
			err = tenant.ErrNotFound
		}
		s.serve(w, r, next, t, path(r), err)
	})
}

// byHost serves the tenants that have a host of their own.
func (s *Server) byHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := s.Tenants.ByHost(r.Context(), r.Host)
		s.serve(w, r, next, t, r.URL.Path, err)
	})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, next http.Handler, t *tenant.Tenant, path string, err error) {
	if errors.Is(err, tenant.ErrNotFound) || r.URL.RawPath != "" { // no address of ours is spelled in an unusual way
		http.Error(w, "There is nothing at this address.", http.StatusNotFound)
		return
	}
	if err != nil {
		s.problems.Write(w, r, err)
		return
	}
	inner := r.WithContext(context.WithValue(r.Context(), tenantKey, t))
	url := *r.URL
	url.Path, url.RawPath = path, ""
	inner.URL = &url
	next.ServeHTTP(w, inner)
}

// outermost is what every response has: an id for the request, headers that
// bound what a browser does with it, a last resort for panics, and a log line
// without personal data.
func (s *Server) outermost(next http.Handler) http.Handler {
	recovered := s.problems.Recover(next)
	// Shared by all responses; net/http only reads them.
	fixed := map[string][]string{"X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"same-origin"}}
	if !s.Development {
		fixed["Strict-Transport-Security"] = []string{"max-age=63072000; includeSubDomains"}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		request := id.New[id.Request](s.Clock.Now(), s.Random)
		ctx, trail := explain.With(id.WithRequest(r.Context(), request))
		r = r.WithContext(ctx)
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		if s.Tracing != nil {
			inSpan, end := s.traced(r, request)
			r = inSpan
			defer func() { end(recorder.status) }()
		}
		h := w.Header()
		h.Set("X-Request-Id", string(request))
		maps.Copy(h, fixed)
		switch {
		case r.Body == http.NoBody, strings.HasPrefix(r.URL.Path, adminPath): // which bounds each operation's by itself
		case strings.HasPrefix(r.URL.Path, mailhook.Prefix): // which come in batches
			r.Body = http.MaxBytesReader(w, r.Body, mailhook.MaxBody)
		default:
			r.Body = http.MaxBytesReader(w, r.Body, s.Config.Limits.MaxBodyBytes)
		}
		defer func() { // also where the answer is cut off
			if trail.Fault() != "" {
				s.Explanations.Note(trail, ratelimit.AddressKey(s.resolver.Client(r).IP))
			}
		}()
		recovered.ServeHTTP(recorder, r)
		level, more := slog.LevelDebug, slog.Attr{}
		switch {
		case recorder.status == http.StatusServiceUnavailable:
			// Overload is no fault, and must not fill the log as well.
			if count, due := s.shed.note(s.Clock.Now()); due {
				level, more = slog.LevelWarn, slog.Int64("turned_away", count)
			}
		case recorder.status >= 500:
			level = slog.LevelError
		}
		if s.Logger.Enabled(r.Context(), level) {
			attrs := []slog.Attr{slog.String("method", r.Method), slog.String("path", r.URL.Path),
				slog.Int("status", recorder.status), slog.Duration("took", time.Since(began))}
			if fault := id.FaultOf(r.Context()); fault != "" {
				attrs = append(attrs, slog.String("fault", string(fault)))
			}
			if more.Key != "" {
				attrs = append(attrs, more)
			}
			s.Logger.LogAttrs(r.Context(), level, "request", attrs...)
		}
	})
}

// sampled thins out a line of the log that many requests would write: it is due
// once a second, and then stands for all since the last.
type sampled struct {
	mu    sync.Mutex
	last  time.Time
	count int64
}

// note counts one, and says whether the line is due and for how many.
func (s *sampled) note(now time.Time) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	if since := now.Sub(s.last); since >= 0 && since < time.Second { // a clock that went back does not silence it
		return 0, false
	}
	count := s.count
	s.last, s.count = now, 0
	return count, true
}

// statusRecorder remembers the status of a response.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (w *statusRecorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
