package tracing

import (
	"context"
	"maps"
	"testing"
)

func TestStatementIsNamedWithoutItsValues(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT a, b FROM customer WHERE c = 'ana@example.com'":    "SELECT customer",
		"\n\tINSERT INTO session (a) VALUES ($1)":                  "INSERT session",
		"UPDATE lineage SET a = 1":                                 "UPDATE lineage",
		"WITH x AS (SELECT 1) SELECT * FROM (SELECT 2) AS y":       "WITH",
		"SELECT 'x' FROM 'ana@example.com'":                        "SELECT",
		"":                                                         "statement",
		"SELECT (SELECT COUNT(*) FROM event_pending) FROM other_t": "SELECT other_t",
	} {
		if got := Statement(sql); got != want {
			t.Errorf("%q: %q, want %q", sql, got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	got, err := Headers("api-key=a%20b, team = login,")
	if err != nil || !maps.Equal(got, map[string]string{"api-key": "a b", "team": "login"}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Headers("nonsense"); err == nil {
		t.Error("nonsense is a header")
	}
}

// While nothing is traced, a span costs nothing that can be seen.
func TestNoTracingAllocatesNothing(t *testing.T) {
	ctx := context.Background()
	if n := testing.AllocsPerRun(1000, func() {
		_, span := Start(ctx, "x")
		span.Set("a", "b")
		span.End(nil)
		_ = TraceID(ctx)
		_ = Of(ctx).Recording()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOff(b *testing.B) {
	ctx := context.Background()
	for b.Loop() {
		_, span := Start(ctx, "x")
		span.End(nil)
	}
}
