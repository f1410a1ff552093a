package server_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// BenchmarkCachedDocuments measures what the program adds to net/http for an
// answer that it has ready.
func BenchmarkCachedDocuments(b *testing.B) {
	i := servertest.New(b, sqldb.SQLite)
	t := i.Tenant("thyme", nil)
	i.Application(t, nil)
	handler := i.Handler()
	for _, path := range []string{"/jwks", "/.well-known/openid-configuration"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, t.URL(path), nil))
				if w.Code != http.StatusOK {
					b.Fatalf("%s answered %d", path, w.Code)
				}
			}
		})
	}
}
