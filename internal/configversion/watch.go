// Package configversion tells the nodes of an installation that configuration
// has changed.
//
// One counter row counts the changes of all configuration: tenants, brands,
// applications, signing keys. Whoever changes some calls Bump in the same
// transaction, which serialises configuration changes and leaves a line that
// says what changed. Every node polls the counter twice a second and forgets
// what it has cached of that. Before trusting a cache, a reader calls Current,
// which polls at once when the last good poll is more than a second old; so
// no node acts on configuration that is older than that (DESIGN.md, rule 7).
//
// The package knows nothing of what the configuration is.
package configversion

import (
	"context"
	"embed"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables that this package owns.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "configversion", FS: migrations}
}

const (
	// Interval is the time between two polls of the counter.
	Interval = 500 * time.Millisecond
	// Staleness is the age of the last good poll beyond which Current polls.
	Staleness = time.Second
	// keep is how many lines of change are kept. A node that has slept through
	// more of them forgets all that it has cached.
	keep = 1000
)

// Change is one change of configuration.
type Change struct {
	Version int64     // the counter's value after the change
	Tenant  id.Tenant // whose configuration changed
	Kind    string    // what changed: "tenant", "application", "signingkey"; "" says that anything may have
	Ref     string    // the identifier of the object that changed
}

// Watch follows the counter for one node.
type Watch struct {
	db     *sqldb.DB
	clock  clock.Clock
	logger *slog.Logger

	listeners []func(Change)
	polled    atomic.Int64 // when the last good poll began, UTC microseconds
	mu        sync.Mutex   // one poll at a time
	version   int64        // the last version seen
	started   bool
}

// New returns a watch over db. Its listeners are set before the first poll.
func New(db *sqldb.DB, c clock.Clock, logger *slog.Logger) *Watch {
	return &Watch{db: db, clock: c, logger: logger}
}

// OnChange has listener called for each change that a poll finds, before
// Current returns. It is called while the program is wired, not later.
func (w *Watch) OnChange(listener func(Change)) { w.listeners = append(w.listeners, listener) }

// Bump counts a change of configuration as part of tx and returns the new
// version. Its row is the one that all changes of configuration contend for,
// so that it is best called last.
func (w *Watch) Bump(tx *sqldb.Tx, tenant id.Tenant, kind, ref string) (int64, error) {
	var version int64
	err := tx.QueryRow(`UPDATE config_version SET version = version + 1 WHERE one = 1 RETURNING version`).Scan(&version)
	if err != nil {
		return 0, fmt.Errorf("count the configuration change: %w", err)
	}
	tx.Queue(`INSERT INTO config_change (version, tenant, kind, ref, at) VALUES ($1, $2, $3, $4, $5)`,
		version, tenant, kind, ref, tx.Now())
	tx.Queue(`DELETE FROM config_change WHERE version <= $1`, version-keep)
	return version, nil
}

// Run polls until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	ticker := time.NewTicker(Interval)
	defer ticker.Stop()
	for {
		if err := w.Poll(ctx); err != nil && ctx.Err() == nil {
			w.logger.WarnContext(ctx, "configuration version could not be read; it is read again before the next use", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Current returns once this node has seen all configuration that was committed
// up to Staleness ago. It costs nothing while Run's polls succeed.
func (w *Watch) Current(ctx context.Context) error {
	if w.fresh() {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fresh() { // somebody else has just polled
		return nil
	}
	return w.poll(ctx)
}

func (w *Watch) fresh() bool {
	age := w.clock.Now().UnixMicro() - w.polled.Load()
	return age >= 0 && age <= Staleness.Microseconds()
}

// Poll reads the counter now and tells the listeners what has changed.
func (w *Watch) Poll(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.poll(ctx)
}

func (w *Watch) poll(ctx context.Context) error {
	began := w.clock.Now().UnixMicro()
	var version int64
	if err := w.db.QueryRow(ctx, `SELECT version FROM config_version WHERE one = 1`).Scan(&version); err != nil {
		return fmt.Errorf("read the configuration version: %w", err)
	}
	if w.started && version != w.version {
		changes, err := w.changesSince(ctx, w.version)
		if err != nil {
			return err
		}
		if version < w.version || len(changes) == 0 || changes[0].Version != w.version+1 {
			changes = []Change{{Version: version}} // too far behind, or the database was restored
		}
		for _, change := range changes {
			for _, listener := range w.listeners {
				listener(change)
			}
			version = max(version, change.Version)
		}
	}
	w.version, w.started = version, true
	w.polled.Store(began)
	return nil
}

func (w *Watch) changesSince(ctx context.Context, version int64) ([]Change, error) {
	rows, err := w.db.Query(ctx, `SELECT version, tenant, kind, ref FROM config_change WHERE version > $1 ORDER BY version`, version)
	if err != nil {
		return nil, fmt.Errorf("read the configuration changes: %w", err)
	}
	defer rows.Close()
	var changes []Change
	for rows.Next() {
		var c Change
		if err := rows.Scan(&c.Version, &c.Tenant, &c.Kind, &c.Ref); err != nil {
			return nil, fmt.Errorf("read a configuration change: %w", err)
		}
		changes = append(changes, c)
	}
	return changes, rows.Err()
}
