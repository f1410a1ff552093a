package server

import (
	"context"
	"log/slog"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/tracing"
)

// traced adds to every record the request that it was written for, and the
// trace where one is kept.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if request := id.RequestOf(ctx); request != "" {
		r.AddAttrs(slog.String("request", string(request)))
	}
	if of := tracing.TraceID(ctx); of != "" {
		r.AddAttrs(slog.String("trace_id", of))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }
func (h traced) WithGroup(name string) slog.Handler       { return traced{h.Handler.WithGroup(name)} }
