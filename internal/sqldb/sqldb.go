// Package sqldb is the one handle over the two stores, SQLite and PostgreSQL.
//
// It owns connections, transactions, the conversion of values, migrations,
// and the primitives that backups are made of. It knows nothing of what is
// stored. SQL is written once, in the subset that both engines share, with $1
// placeholders; each engine binds them by number.
//
// Every change of state goes through DB.Write, whose function may be run again
// and therefore has no effects but on the transaction that it is given. When
// Write returns nil, what was written survives a crash of the process and of
// the machine.
//
// On SQLite one connection writes. Its goroutine takes all functions that wait,
// runs each in a savepoint of its own, commits them together and only then
// answers: many concurrent writes cost one synchronised commit. On PostgreSQL
// the transaction begins with its first statement, and statements whose
// results nobody waits for travel with the next round trip or the commit.
//
// Values: TEXT is any string kind, BIGINT any integer kind and time.Time (UTC
// microseconds, 0 for the zero time), BOOLEAN any bool kind, BYTEA []byte and
// byte arrays. A pointer to a pointer, or a sql.Null of any of these, takes
// NULL; other destinations refuse it, but for []byte, which becomes nil.
package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/tracing"
)

// Engine is the kind of a database.
type Engine string

// The engines there are.
const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
)

// Options say which database to open, and how.
type Options struct {
	// URL is "sqlite:/absolute/file.db" or "postgres://user@host/database".
	URL string
	// Readers is the number of SQLite connections that read; 0 means two a
	// processor, four at least.
	Readers int
	// MaxConns is the number of PostgreSQL connections; 0 means eight a
	// processor, sixteen at least.
	MaxConns int
	// Clock gives transactions their time; nil means the machine's.
	Clock clock.Clock
	// Logger is told about retries and broken connections; nil means nobody.
	Logger *slog.Logger
	// Lock opens a SQLite file under the exclusive lock of this process.
	Lock *Lock
	// Scrub has SQLite overwrite what is deleted with zeros, for what must be
	// gone when it is deleted, such as keys. DB.Scrub clears the journal too.
	Scrub bool
}

// DB is a handle on one database. It is safe for concurrent use.
type DB struct {
	engine  Engine
	clock   clock.Clock
	logger  *slog.Logger
	backend backend
	busy    atomic.Int64
}

// backend is what the two engines do differently. All of its statements have
// had their arguments converted.
type backend interface {
	write(ctx context.Context, fn func(*Tx) error) error
	query(ctx context.Context, statements []statement) ([]*Rows, error)
	snapshot(ctx context.Context, fn func(*Snapshot) error) error
	migrate(ctx context.Context, plan []migration) error
	tables(ctx context.Context, s *Snapshot) ([]Table, error)
	backupTo(ctx context.Context, path string) error
	scrub(ctx context.Context) error
	now(ctx context.Context) (time.Time, error)
	ping(ctx context.Context) error
	stats() Stats
	facts(ctx context.Context) (Facts, error)
	close() error
}

// statement is SQL with its converted arguments.
type statement struct {
	sql   string
	args  []argument
	fault error // found before it was sent
}

// Open opens the database that the options name. A SQLite file is made when it
// is not there; it is refused while LockExclusive holds it.
func Open(ctx context.Context, options Options) (*DB, error) {
	db := &DB{clock: options.Clock, logger: options.Logger}
	if db.clock == nil {
		db.clock = clock.System()
	}
	if db.logger == nil {
		db.logger = slog.New(slog.DiscardHandler)
	}
	scheme, rest, _ := strings.Cut(options.URL, ":")
	var err error
	switch scheme {
	case "sqlite":
		db.engine = SQLite
		db.backend, err = openSQLite(rest, options, db.clock, db.logger)
	case "postgres", "postgresql":
		db.engine = Postgres
		db.backend, err = openPostgres(ctx, options, db.clock, db.logger)
	default:
		err = errors.New(`a database's URL begins with "sqlite:" or "postgres:"`)
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return db, nil
}

// Engine says which engine the database is on.
func (db *DB) Engine() Engine { return db.engine }

// Clock is the clock that transactions take their time from.
func (db *DB) Clock() clock.Clock { return db.clock }

// Close waits for the writes under way and closes all connections.
func (db *DB) Close() error { return db.backend.close() }

// Stats tells how busy this node's connections to a database are.
type Stats struct {
	InUse   int   // connections that are used: of SQLite those that read
	Limit   int   // how many there may be
	Waiting int   // requests that wait for one, or on SQLite for the writer
	Busy    int64 // writes that failed because the database had too much to do, since the start
}

// Stats tells how busy the database is.
func (db *DB) Stats() Stats {
	s := db.backend.stats()
	s.Busy = db.busy.Load()
	return s
}

// Ping says whether the database answers.
func (db *DB) Ping(ctx context.Context) error { return db.backend.ping(ctx) }

// ServerNow is the time by the database's own clock; on SQLite, by this
// machine's.
func (db *DB) ServerNow(ctx context.Context) (time.Time, error) {
	return db.backend.now(ctx)
}

// Write runs fn in one transaction and commits it. It is the only way to
// change what is stored. fn may be run again after a lost race, so it has no
// effects outside of the transaction; everything it wrote is undone when it
// returns an error or panics, and Write returns that error or panics likewise.
// A nil error means that the transaction is durable. An error from the commit
// itself can leave the outcome unknown: see ErrOutcomeUnknown.
//
// fn is run on another goroutine's schedule on SQLite: it must not call
// Write, or wait for anything that does.
func (db *DB) Write(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	span := tracing.Of(ctx)
	var err error
	if span.Recording() {
		err = db.tracedWrite(ctx, fn)
	} else {
		err = db.backend.write(ctx, fn)
	}
	if err != nil && IsBusy(err) {
		db.busy.Add(1)
	}
	if err == nil {
		if noted, is := ctx.Value(commitsKey{db}).(*atomic.Bool); is {
			noted.Store(true)
		}
	}
	return err
}

// commitsKey is where the note of WatchCommits is.
type commitsKey struct{ db *DB }

// WatchCommits returns a context, and what tells whether a Write to db that was
// given it has been committed: for who must know whether a request that failed in
// the end has had an effect.
func (db *DB) WatchCommits(ctx context.Context) (context.Context, func() bool) {
	noted := new(atomic.Bool)
	return context.WithValue(ctx, commitsKey{db}, noted), noted.Load
}

// Query reads rows outside of any transaction. The rows are held in memory:
// page large results, or use Snapshot.
func (db *DB) Query(ctx context.Context, sql string, args ...any) (*Rows, error) {
	s, err := newStatement(sql, args)
	if err != nil {
		return nil, err
	}
	var span tracing.Span
	if tracing.Of(ctx).Recording() {
		_, span = tracing.Start(ctx, "read: "+tracing.Statement(sql))
	}
	results, err := db.backend.query(ctx, []statement{s})
	span.End(err)
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

// QueryRow reads one row. Its error, ErrNoRows when there is none, comes with
// Scan.
func (db *DB) QueryRow(ctx context.Context, sql string, args ...any) *Row {
	rows, err := db.Query(ctx, sql, args...)
	return &Row{rows: rows, err: err}
}
