// Package tracing tells an OpenTelemetry collector how long what took, span by
// span, where an operator has asked for it.
//
// A span is begun under the one in the context, and not without one: requests
// and messages begin a trace, and whatever goes on in the background leaves
// none. While no Tracer was made, Start costs a load of one word.
//
// Spans hold routes, names of steps and statements, ids of this program, and
// counts. No address, query, token or text that somebody typed goes into one,
// and of an error only that there was one: its words are for the log.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Options say where spans go. Endpoint and Service are required.
type Options struct {
	Endpoint   string            // the collector's address for traces, whole: "http://127.0.0.1:4318/v1/traces"
	Headers    map[string]string // sent with them, such as a key
	Ratio      float64           // of traces begun here that are kept
	Service    string
	Release    string
	Attributes map[string]string // further ones of the process
	// Failed is told of spans that could not be handed over.
	Failed func(error)
}

// Tracer begins traces. A nil Tracer begins none.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// scope is what spans are said to be of.
const scope = "github.com/cardea-id/cardea"

// on is whether any Tracer was made in this process: while it is not, nobody
// looks for a span.
var on atomic.Bool

// New makes a tracer. It does not connect: spans are handed over in batches in
// the background, and dropped when the collector does not take them.
func New(ctx context.Context, o Options) (*Tracer, error) {
	options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(o.Endpoint), otlptracehttp.WithHeaders(o.Headers), otlptracehttp.WithTimeout(10 * time.Second)}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	of := []attribute.KeyValue{attribute.String("service.name", o.Service), attribute.String("service.version", o.Release)}
	for _, name := range slices.Sorted(maps.Keys(o.Attributes)) {
		of = append(of, attribute.String(name, o.Attributes[name]))
	}
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(quiet{exporter, o.Failed}),
		sdk.WithResource(resource.NewSchemaless(of...)),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(o.Ratio))),
	)
	on.Store(true)
	return &Tracer{provider: provider, tracer: provider.Tracer(scope)}, nil
}

// quiet hands spans over, and tells of those that were not taken.
type quiet struct {
	sdk.SpanExporter
	failed func(error)
}

func (q quiet) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := q.SpanExporter.ExportSpans(ctx, spans)
	if err != nil && q.failed != nil {
		q.failed(err)
	}
	return nil
}

// Close hands over what is left.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Flush hands over what has ended.
func (t *Tracer) Flush(ctx context.Context) error { return t.provider.ForceFlush(ctx) }

type tracerKey struct{}

// With has Root begin traces of t below the context.
func (t *Tracer) With(ctx context.Context) context.Context {
	if t == nil {
		return ctx
	}
	return context.WithValue(ctx, tracerKey{}, t)
}

// Root begins a trace of what goes on in the background, where the context has
// a Tracer.
func Root(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, Span) {
	if !on.Load() {
		return ctx, Span{}
	}
	t, _ := ctx.Value(tracerKey{}).(*Tracer)
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithAttributes(attributes...))
	return ctx, Span{span}
}

// Request begins the span of an HTTP request. It goes on with the trace that
// the request names (W3C Trace Context) where believed says that the request
// comes from a proxy of the operator's: strangers begin none and join none.
func (t *Tracer) Request(r *http.Request, believed bool) (context.Context, Span) {
	ctx := r.Context()
	if believed {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	ctx, span := t.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("http.request.method", method(r.Method))))
	return ctx, Span{span}
}

// method is a request's, if it is one that there is: strangers make them up.
func method(text string) string {
	switch text {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return text
	}
	return "_OTHER"
}

// Span is one thing that took some time. The zero Span is none.
type Span struct{ span trace.Span }

// Start begins a span under the one in the context.
func Start(ctx context.Context, name string) (context.Context, Span) {
	if !on.Load() {
		return ctx, Span{}
	}
	return start(ctx, name)
}

func start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	ctx, span := parent.TracerProvider().Tracer(scope).Start(ctx, name, options...)
	return ctx, Span{span}
}

// Of is the span of a context, the zero Span where there is none.
func Of(ctx context.Context) Span {
	if !on.Load() {
		return Span{}
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		return Span{span}
	}
	return Span{}
}

// Recording tells whether anything is kept of the span, for those who would
// have to work for what they set.
func (s Span) Recording() bool { return s.span != nil }

// Part adds a span that has ended, from one time to another, under s.
func Part(ctx context.Context, name string, from, to time.Time) {
	if _, s := start(ctx, name, trace.WithTimestamp(from)); s.span != nil {
		s.span.End(trace.WithTimestamp(to))
	}
}

// Name gives the span another name.
func (s Span) Name(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// Set notes something that is no personal datum.
func (s Span) Set(name, value string) {
	if s.span != nil && value != "" {
		s.span.SetAttributes(attribute.String(name, value))
	}
}

// Count notes a number.
func (s Span) Count(name string, value int) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int(name, value))
	}
}

// Fail notes that it failed, and nothing of why: that is for the log.
func (s Span) Fail() {
	if s.span != nil {
		s.span.SetStatus(codes.Error, "")
	}
}

// End ends the span; failed says how.
func (s Span) End(failed error) {
	if s.span == nil {
		return
	}
	if failed != nil {
		s.Fail()
	}
	s.span.End()
}

// TraceID is the trace that a context is part of, "" for none.
func TraceID(ctx context.Context) string {
	if !on.Load() {
		return ""
	}
	if of := trace.SpanContextFromContext(ctx); of.IsValid() && of.IsSampled() {
		return of.TraceID().String()
	}
	return ""
}

// Statement names an SQL statement by what it does and the table that it does it
// to, without anything of its values.
func Statement(sql string) string {
	words := strings.Fields(sql[:min(len(sql), 400)])
	if len(words) == 0 {
		return "statement"
	}
	verb := strings.ToUpper(words[0])
	for i, word := range words[:len(words)-1] {
		switch strings.ToUpper(word) {
		case "FROM", "INTO", "UPDATE":
			if table := words[i+1]; strings.IndexFunc(table, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }) < 0 {
				return verb + " " + table
			}
		}
	}
	return verb
}

// Headers reads "name=value,name=value" as OTEL_EXPORTER_OTLP_HEADERS has it:
// names and values are escaped as in an address.
func Headers(text string) (map[string]string, error) {
	headers := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); !found || name == "" || err != nil {
			return nil, errors.New("a header is not of the form name=value")
		}
		headers[name] = value
	}
	return headers, nil
}
