package server_test

import (
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/server/servertest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

func TestMetricsOfWhatWaits(t *testing.T) {
	servertest.Each(t, func(t *testing.T, i *servertest.Installation) {
		ctx, stop := context.WithCancel(t.Context())
		ready, ended := make(chan bool), make(chan error, 1)
		go func() { ended <- i.Run(ctx, nil, func(net.Addr) { close(ready) }) }()
		<-ready
		h := newHouse(t, i, "thyme", nil)
		h.signIn()
		h.write(func(tx *sqldb.Tx) error {
			tx.Queue(`INSERT INTO notify_outbox (tenant, handle, id, dedup, customer, brand, template, state, due_at, lease_owner, attempts, expires_at, created_at, ended_at, reason, sealed)
				VALUES ($1, $2, 'msg_x', 'msg_x', '', '', 'code', 'waiting', $3, '', 0, $3, $4, 0, '', $2)`,
				h.tenant.ID, []byte{1}, tx.Now().Add(time.Hour), tx.Now().Add(-90*time.Second))
			return nil
		})
		scrape := func() string {
			recorder := httptest.NewRecorder()
			i.MetricsHandler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
			return recorder.Body.String()
		}
		eventually(t, "events ordered and messages sent", func() bool {
			text := scrape()
			return strings.Contains(text, "\ncardea_events_pending 0\n") && strings.Contains(text, "\ncardea_outbox_waiting 1\n")
		})
		text := scrape()
		for _, want := range []string{"cardea_build_info{version=\"1.2.3\"} 1", "cardea_outbox_waiting 1", "cardea_outbox_oldest_seconds 9", "cardea_scrape_failed 0",
			"cardea_events_pending_oldest_seconds 0", `cardea_database_in_use{store="key_store"}`, `cardea_database_limit{store="database"}`,
			`cardea_database_waiting{store="database"} 0`, `cardea_database_busy_total{store="database"} 0`, "cardea_budget_refusals_total 0"} {
			if !strings.Contains(text, "\n"+want) {
				t.Errorf("no %q in:\n%s", want, text)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}, func(e *server.Environment) {
		e.Release, e.Config.Listen, e.Config.DrainDelay = "1.2.3", "127.0.0.1:0", 0
	})
}
