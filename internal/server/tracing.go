package server

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/tenant"
	"github.com/cardea-id/cardea/internal/tracing"
)

// lastSpans is how long the end of the program waits for the collector.
const lastSpans = 3 * time.Second

// newTracer makes what tells a collector of spans, nil where none is configured.
func newTracer(ctx context.Context, env Environment) (*tracing.Tracer, error) {
	c := env.Config.Tracing
	if c.Traces == "" {
		return nil, nil //nolint:nilnil // a nil Tracer begins no trace
	}
	var lost sampled
	return tracing.New(ctx, tracing.Options{Endpoint: c.Traces, Headers: c.Sent, Ratio: c.Ratio, Service: c.Service, Release: env.Release,
		Attributes: c.Attributes, Failed: func(err error) {
			if count, due := lost.note(env.Clock.Now()); due {
				env.Logger.Warn("the collector did not take spans; they are dropped", "batches", count, slog.Any("error", err))
			}
		}})
}

func (s *Server) closeTracing() {
	ctx, cancel := context.WithTimeout(context.Background(), lastSpans)
	defer cancel()
	if err := s.Tracing.Close(ctx); err != nil {
		s.Logger.WarnContext(ctx, "the collector did not take the last spans; they are dropped", slog.Any("error", err))
	}
}

// traced begins the span of a request. The function that it returns ends it.
func (s *Server) traced(r *http.Request, request id.Request) (*http.Request, func(status int)) {
	ctx, span := s.Tracing.Request(r, s.resolver.Proxied(r))
	span.Set("cardea.request", string(request))
	return r.WithContext(ctx), func(status int) {
		span.Count("http.response.status_code", status)
		if status >= 500 {
			span.Fail()
		}
		span.Set("cardea.fault", string(id.FaultOf(ctx)))
		span.End(nil)
	}
}

// traceRoute tells the span of a request which route took it, of which tenant.
func traceRoute(ctx context.Context, pattern string, t *tenant.Tenant) {
	span := tracing.Of(ctx)
	if !span.Recording() {
		return
	}
	span.Name(pattern)
	_, route, found := strings.Cut(pattern, " ")
	if !found {
		route = pattern
	}
	span.Set("http.route", route)
	span.Set("cardea.tenant", string(t.ID))
}
