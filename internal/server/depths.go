package server

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// depths is what is read from the databases when Prometheus asks: how much
// waits, and since when.
type depths struct{ s *Server }

// depthsTimeout bounds the reads of one scrape.
const depthsTimeout = 2 * time.Second

func described(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	eventsPending  = described("cardea_events_pending", "Events without a place in the order yet, on all nodes; 100,000 at most.")
	eventsOldest   = described("cardea_events_pending_oldest_seconds", "How long the oldest event without a place in the order has waited.")
	outboxWaiting  = described("cardea_outbox_waiting", "Messages that wait to be sent, on all nodes; 100,000 at most.")
	outboxOldest   = described("cardea_outbox_oldest_seconds", "How long the oldest message that waits to be sent has waited.")
	scrapeFailed   = described("cardea_scrape_failed", "1 when the databases did not tell how much waits.")
	databaseInUse  = described("cardea_database_in_use", "Connections in use; of SQLite those that read.", "store")
	databaseLimit  = described("cardea_database_limit", "Connections that there may be.", "store")
	databaseWaits  = described("cardea_database_waiting", "Requests that wait for a connection, or on SQLite for the writer.", "store")
	databaseBusies = described("cardea_database_busy_total", "Writes that failed because the database had too much to do.", "store")
)

// Describe names all of it.
func (d *depths) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{eventsPending, eventsOldest, outboxWaiting, outboxOldest, scrapeFailed, databaseInUse, databaseLimit, databaseWaits, databaseBusies} {
		to <- desc
	}
}

// Collect reads all of it.
func (d *depths) Collect(to chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for store, db := range map[string]sqldb.Stats{"database": d.s.DB.Stats(), "key_store": d.s.KeyStore.Stats()} {
		gauge(databaseInUse, float64(db.InUse), store)
		gauge(databaseLimit, float64(db.Limit), store)
		gauge(databaseWaits, float64(db.Waiting), store)
		to <- prometheus.MustNewConstMetric(databaseBusies, prometheus.CounterValue, float64(db.Busy), store)
	}
	ctx, cancel := context.WithTimeout(context.Background(), depthsTimeout)
	defer cancel()
	now := d.s.Clock.Now()
	age := func(count int, oldest time.Time) float64 {
		if count == 0 {
			return 0
		}
		return max(0, now.Sub(oldest).Seconds())
	}
	pending, oldestEvent, eventErr := d.s.Log.Backlog(ctx)
	if eventErr == nil {
		gauge(eventsPending, float64(pending))
		gauge(eventsOldest, age(pending, oldestEvent))
	}
	waiting, oldestMessage, messageErr := d.s.Outbox.Backlog(ctx)
	if messageErr == nil {
		gauge(outboxWaiting, float64(waiting))
		gauge(outboxOldest, age(waiting, oldestMessage))
	}
	failed := 0.0
	if err := errors.Join(eventErr, messageErr); err != nil {
		failed = 1
		d.s.Logger.WarnContext(ctx, "the metrics of what waits could not be read", "error", err)
	}
	gauge(scrapeFailed, failed)
}
