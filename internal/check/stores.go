package check

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/backup"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/sqldb"
)

const (
	maxSkew = 5 * time.Second // beyond it a node is not ready (DESIGN.md, rule 9)
	drift   = time.Second
	// A disk is full below, or low.
	fullBytes, lowBytes = 100 << 20, 1 << 30
	fullPart, lowPart   = 50, 10 // one in so many
	// oldPostgres is the first release that is maintained.
	oldPostgres = 150000
	// besidePool is what a node opens beside its pool: what holds restores away,
	// one each store, and the pool of the key store.
	besidePool = 6
)

// disks looks at the disks that SQLite writes to.
func (c *checker) disks() {
	seen := map[string]bool{}
	for _, address := range []string{server.DatabaseURL(c.Config), server.KeyStoreURL(c.Config)} {
		path, sqlite := strings.CutPrefix(address, "sqlite:")
		folder := filepath.Dir(path)
		if !sqlite || seen[folder] {
			continue
		}
		seen[folder] = true
		if free, total, network, ok := disk(folder); ok {
			c.judgeDisk(folder, free, total, network)
		}
	}
}

func (c *checker) judgeDisk(folder string, free, total uint64, network string) {
	switch {
	case free < fullBytes || free < total/fullPart && free < lowBytes:
		c.found("disk-full", "%s has %d MiB left", folder, free>>20)
	case free < lowBytes || free < total/lowPart && free < 10*lowBytes:
		c.found("disk-low", "%s has %d MiB left", folder, free>>20)
	}
	if network != "" {
		c.found("sqlite-network-disk", "%s is on %s", folder, network)
	}
}

// stores looks at both databases, and at what they tell.
func (c *checker) stores(ctx context.Context) {
	var closers []func() error
	defer func() {
		for _, closeOne := range closers {
			_ = closeOne() // nothing was written
		}
	}()
	whole := true
	open := func(name, url string, scrub bool, sets []sqldb.MigrationSet) *sqldb.DB {
		db := c.open(ctx, name, url, scrub)
		if db == nil {
			whole = false
			return nil
		}
		closers = append(closers, db.Close)
		whole = c.store(ctx, name, db, sets) && whole
		return db
	}
	db := open("database", server.DatabaseURL(c.Config), false, server.Migrations())
	keys := open("key store", server.KeyStoreURL(c.Config), true, server.KeyStoreMigrations())
	if whole {
		c.contents(ctx, db, keys)
	}
}

// open opens a database that is there.
func (c *checker) open(ctx context.Context, name, url string, scrub bool) *sqldb.DB {
	if path, sqlite := strings.CutPrefix(url, "sqlite:"); sqlite {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && c.neither() {
			c.found("never-started", "the %s: there is no %s", name, path)
			return nil
		} else if err != nil { // opening would make it
			c.found("database-unreachable", "the %s: %v", name, err)
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	db, err := sqldb.Open(ctx, sqldb.Options{URL: url, MaxConns: 2, Readers: 2, Scrub: scrub, Clock: c.Clock})
	if err != nil {
		c.unopened(name, err)
		return nil
	}
	return db
}

// neither tells whether both stores are files that are not there, as before the
// first start; where one of them is, the other was lost.
func (c *checker) neither() bool {
	for _, address := range []string{server.DatabaseURL(c.Config), server.KeyStoreURL(c.Config)} {
		path, sqlite := strings.CutPrefix(address, "sqlite:")
		if _, err := os.Stat(path); !sqlite || !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// unopened tells why a database cannot be opened.
func (c *checker) unopened(name string, err error) {
	rule := "database-unreachable"
	if errors.Is(err, sqldb.ErrNotDurable) {
		rule = "sqlite-journal"
	}
	c.found(rule, "the %s: %v", name, err)
}

// store looks at one database, and says whether its tables can be read.
func (c *checker) store(ctx context.Context, name string, db *sqldb.DB, sets []sqldb.MigrationSet) (readable bool) {
	if err := backup.Usable(ctx, db); errors.Is(err, backup.ErrUnfinished) {
		c.found("restore-unfinished", "the %s: %v", name, err)
		return false
	}
	before := c.Clock.Now()
	there, err := db.ServerNow(ctx)
	if err != nil {
		c.found("database-unreachable", "the %s: %v", name, err)
		return false
	}
	c.judgeClock(name, before, there, c.Clock.Now())
	facts, err := db.Facts(ctx)
	if err != nil {
		c.found("database-unreachable", "the %s: %v", name, err)
		return false
	}
	if db.Engine() == sqldb.Postgres {
		c.judgePostgres(name, facts)
	}
	tables, err := db.Tables(ctx)
	if err != nil {
		c.found("database-unreachable", "the %s: %v", name, err)
		return false
	}
	if !slices.ContainsFunc(tables, func(t sqldb.Table) bool { return t.Name != "schema_migration" }) {
		c.found("never-started", "the %s", name)
		return false
	}
	names, _, err := db.Pending(ctx, sets...)
	later := false
	if err == nil && len(names) == 0 { // tables of development are no later release's
		_, later, err = db.Pending(ctx, append(slices.Clone(sets), server.DevelopmentMigrations()...)...)
	}
	switch {
	case errors.Is(err, sqldb.ErrChangedMigration):
		c.found("migration-changed", "the %s: %v", name, err)
		return false
	case err != nil:
		c.found("database-unreachable", "the %s: %v", name, err)
		return false
	case len(names) > 0:
		c.found("migrations-pending", "the %s lacks %s", name, strings.Join(names, ", "))
		return false
	case later:
		c.found("migrations-later", "the %s has tables of a later release", name)
	}
	return true
}

func (c *checker) judgeClock(name string, before, there, after time.Time) {
	off := max(before.Sub(there), there.Sub(after))
	switch {
	case off > maxSkew:
		c.found("clock-skew", "this machine's clock is %s from that of the %s", ago(off), name)
	case off > drift:
		c.found("clock-drift", "this machine's clock is %s from that of the %s", off.Round(time.Millisecond), name)
	}
}

// judgePostgres tells what of a server's set-up is weak.
func (c *checker) judgePostgres(name string, f sqldb.Facts) {
	switch {
	case !f.Remote || f.TLS == sqldb.TLSVerified:
	case f.TLS == sqldb.TLSNone:
		c.found("postgres-clear", "the connection to the %s", name)
	default:
		c.found("postgres-unproved", "the connection to the %s", name)
	}
	if f.Number < oldPostgres {
		c.found("postgres-old", "the %s is on PostgreSQL %s", name, f.Version)
	}
	if f.Replica {
		c.found("postgres-replica", "the %s", name)
	}
	if !f.Fsync {
		c.found("postgres-fsync", "the %s has fsync off", name)
	}
	if !f.FullPageWrites {
		c.found("postgres-full-page-writes", "the %s has full_page_writes off", name)
	}
	if f.SynchronousCommit == "off" || f.SynchronousCommit == "local" && f.Standbys != "" {
		c.found("postgres-synchronous-commit", "the %s has synchronous_commit %s", name, f.SynchronousCommit)
	}
	switch {
	case f.Standbys == "":
		c.found("postgres-no-standby", "the %s has no synchronous_standby_names", name)
	case f.Synchronous == 0 && !f.Replica:
		c.found("postgres-standby-gone", "the %s waits for %s, and none answers", name, f.Standbys)
	}
	if f.Pooled {
		c.found("postgres-pooler", "the %s", name)
	}
}

// judgeConnections tells whether all nodes together fit a server.
func (c *checker) judgeConnections(f sqldb.Facts, nodes int) {
	nodes = max(1, nodes)
	if need := nodes * (c.Config.Database.MaxConnections + besidePool); need > f.Connections {
		c.found("postgres-connections", "%d node(s) may open %d connections, and the server lends %d", nodes, need, f.Connections)
	}
}
