package server_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

func TestStartWarnsOfTenantsSettings(t *testing.T) {
	log := &journal{}
	i := servertest.New(t, sqldb.SQLite, func(e *server.Environment) {
		e.Development = false
		e.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	})
	i.Tenant("strict", nil)
	i.Tenant("weak", func(s *tenant.Settings) { s.Password.MinLength = 8 })
	i.Tenant("short", func(s *tenant.Settings) { s.Password.MinLength = 12 })
	i.Restart()
	eventually(t, "warned", func() bool { return strings.Count(log.String(), "password.min_length is") == 2 })
	for slug, times := range map[string]int{"strict": 0, "weak": 1, "short": 1} {
		if n := strings.Count(log.String(), `"tenant":"`+slug+`"`); n != times {
			t.Errorf("%s is named %d times: %s", slug, n, log)
		}
	}
}
