package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	_ "modernc.org/sqlite" // its start patches the library on linux/arm64

	"github.com/cardea-id/cardea/internal/clock"
)

// sqliteBackend is a SQLite file: one connection that writes, some that read.
type sqliteBackend struct {
	path    string
	clock   clock.Clock
	lock    *Lock
	writer  *sqliteWriter
	readers *pool[*sqliteConn]
}

// Settings of every connection. synchronous=FULL makes each commit reach the
// disk; fullfsync makes macOS mean it. Sub-journals of savepoints and sorting
// stay in memory. The WAL is cut back to 64 MB after it had to grow.
const sqliteSettings = `
PRAGMA busy_timeout = 10000;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA fullfsync = ON;
PRAGMA checkpoint_fullfsync = ON;
PRAGMA foreign_keys = ON;
PRAGMA trusted_schema = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -16384;
PRAGMA journal_size_limit = 67108864;
`

// sqlitePath takes the file out of what follows "sqlite:" in a URL.
func sqlitePath(rest string) (string, error) {
	path := rest
	if strings.HasPrefix(rest, "//") {
		path = rest[2:]
	}
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf(`"sqlite:%s" does not name an absolute file`, rest)
	}
	return filepath.Clean(path), nil
}

func openSQLite(rest string, options Options, clk clock.Clock, logger *slog.Logger) (_ backend, err error) {
	path, err := sqlitePath(rest)
	if err != nil {
		return nil, err
	}
	b := &sqliteBackend{path: path, clock: clk}
	if options.Lock == nil {
		if b.lock, err = lockFile(path, false); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				b.lock.Release()
			}
		}()
	} else if options.Lock.path != path {
		return nil, fmt.Errorf("the lock given is on %s, not on %s", options.Lock.path, path)
	}
	// SQLite gives the files beside the database its mode.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	conn, err := openSQLiteConn(path, true)
	if err != nil {
		return nil, err
	}
	if err := conn.script(sqliteSettings); err != nil {
		conn.close()
		return nil, err
	}
	if options.Scrub {
		if err := conn.script("PRAGMA secure_delete = ON"); err != nil {
			conn.close()
			return nil, err
		}
	}
	if err := durable(conn); err != nil {
		conn.close()
		return nil, err
	}
	readers := options.Readers
	if readers <= 0 {
		readers = max(4, 2*runtime.GOMAXPROCS(0))
	}
	b.readers = newPool(readers, b.openReader, func(*sqliteConn, time.Duration) bool { return true }, (*sqliteConn).close)
	b.writer = startSQLiteWriter(conn, clk, logger)
	return b, nil
}

// durable makes sure that the file system took the settings that commits
// depend on: SQLite only says so when asked.
func durable(conn *sqliteConn) error {
	var journal string
	var synchronous int
	for text, dest := range map[string]any{"PRAGMA journal_mode": &journal, "PRAGMA synchronous": &synchronous} {
		rows, err := conn.query(statement{sql: text})
		if err != nil {
			return err
		}
		if err := (&Row{rows: rows}).Scan(dest); err != nil {
			return err
		}
	}
	if journal != "wal" || synchronous != 2 {
		return fmt.Errorf("%w: it has journal_mode %s and synchronous %d", ErrNotDurable, journal, synchronous)
	}
	return nil
}

func (b *sqliteBackend) openReader(context.Context) (*sqliteConn, error) {
	conn, err := openSQLiteConn(b.path, false)
	if err != nil {
		return nil, err
	}
	// A reader's cache is void after each commit of the writer: the system's holds the pages.
	if err := conn.script(sqliteSettings + "PRAGMA query_only = ON; PRAGMA cache_size = -4096;"); err != nil {
		conn.close()
		return nil, err
	}
	conn.watch()
	return conn, nil
}

func (b *sqliteBackend) write(ctx context.Context, fn func(*Tx) error) error {
	return b.writer.write(ctx, fn)
}

// read lends a reader, whose statements end with ctx, to fn.
func (b *sqliteBackend) read(ctx context.Context, fn func(*sqliteConn) error) (err error) {
	conn, err := b.readers.take(ctx)
	if err != nil {
		return err
	}
	broken := true // when fn panics
	defer func() {
		conn.watched = nil
		if conn.inTransaction() && conn.script("ROLLBACK") != nil {
			broken = true
		}
		b.readers.give(conn, broken)
	}()
	if ctx.Done() != nil {
		if err := ctx.Err(); err != nil {
			broken = false
			return err
		}
		conn.watched = ctx
	}
	err = fn(conn)
	broken = false
	return err
}

var (
	sqliteBeginRead = statement{sql: "BEGIN"}
	sqliteCommit    = statement{sql: "COMMIT"}
)

func (b *sqliteBackend) query(ctx context.Context, statements []statement) (results []*Rows, err error) {
	results = make([]*Rows, len(statements))
	err = b.read(ctx, func(conn *sqliteConn) error {
		if len(statements) == 1 {
			results[0], err = conn.query(statements[0])
			return err
		}
		if _, err := conn.exec(sqliteBeginRead); err != nil {
			return err
		}
		for i, s := range statements {
			if results[i], err = conn.query(s); err != nil {
				return err
			}
		}
		_, err := conn.exec(sqliteCommit)
		return err
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

type sqliteSnapshot struct{ conn *sqliteConn }

func (s sqliteSnapshot) stream(_ context.Context, st statement) (*Rows, error) {
	return s.conn.stream(st)
}

func (b *sqliteBackend) snapshot(ctx context.Context, fn func(*Snapshot) error) error {
	return b.read(ctx, func(conn *sqliteConn) error {
		if _, err := conn.exec(sqliteBeginRead); err != nil {
			return err
		}
		// The view is that of the first read, so make one now.
		if _, err := conn.query(statement{sql: "SELECT count(*) FROM sqlite_schema"}); err != nil {
			return err
		}
		s := &Snapshot{ctx: ctx, engine: SQLite, conn: sqliteSnapshot{conn}}
		defer s.end()
		return fn(s)
	})
}

func (b *sqliteBackend) tables(_ context.Context, s *Snapshot) ([]Table, error) {
	rows, err := s.Query(`
		SELECT t.name, c.name, upper(c.type), c."notnull", c.pk
		FROM pragma_table_list AS t JOIN pragma_table_info(t.name) AS c
		WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite~_%' ESCAPE '~'
		ORDER BY t.name, c.cid`)
	if err != nil {
		return nil, err
	}
	return scanTables(rows)
}

// backupTo copies by VACUUM INTO on a reader: one read transaction, beside
// which the writer goes on.
func (b *sqliteBackend) backupTo(ctx context.Context, path string) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s exists already", path)
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, file.Close())
		if err != nil {
			os.Remove(path)
			os.Remove(path + "-journal")
		}
	}()
	s, err := newStatement("VACUUM INTO $1", []any{path})
	if err != nil {
		return err
	}
	err = b.read(ctx, func(conn *sqliteConn) error {
		if err := conn.script("PRAGMA query_only = OFF"); err != nil {
			return err
		}
		_, err := conn.exec(s)
		return errors.Join(err, conn.script("PRAGMA query_only = ON"))
	})
	if err != nil {
		return fmt.Errorf("copy to %s: %w", path, err)
	}
	return errors.Join(file.Sync(), syncFolder(filepath.Dir(path)))
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func (b *sqliteBackend) migrate(ctx context.Context, plan []migration) error {
	err := b.writer.alone(ctx, func(conn *sqliteConn) error {
		return conn.script(sqlCreateMigrationTable)
	})
	if err != nil {
		return err
	}
	for {
		applied := ""
		err := b.writer.alone(ctx, func(conn *sqliteConn) error {
			rows, err := conn.query(statement{sql: sqlAppliedMigrations})
			if err != nil {
				return err
			}
			missing, err := pending(plan, rows)
			if err != nil || len(missing) == 0 {
				return err
			}
			m := missing[0]
			if err := conn.script(m.text); err != nil {
				return fmt.Errorf("%s: %w", m, err)
			}
			if !conn.inTransaction() {
				return fmt.Errorf("%s: it ends the transaction that it runs in", m)
			}
			s, err := newStatement(sqlAddMigration, []any{m.pkg, m.number, m.name, m.checksum, b.clock.Now()})
			if err != nil {
				return err
			}
			applied = m.String()
			_, err = conn.exec(s)
			return err
		})
		if err != nil {
			return err
		}
		if applied == "" {
			return nil
		}
	}
}

func (b *sqliteBackend) now(context.Context) (time.Time, error) { return b.clock.Now().UTC(), nil }

func (b *sqliteBackend) stats() Stats {
	s := b.readers.stats()
	s.Waiting += int(b.writer.queued.Load())
	return s
}

func (b *sqliteBackend) ping(ctx context.Context) error {
	return b.read(ctx, func(conn *sqliteConn) error {
		_, err := conn.query(statement{sql: "SELECT 1 FROM sqlite_schema LIMIT 1"})
		return err
	})
}

func (b *sqliteBackend) close() error {
	b.readers.close()
	b.writer.close()
	if b.lock == nil {
		return nil
	}
	return b.lock.Release()
}

// scrub moves the journal into the database and empties it. It waits for the
// writer and for readers of an older state; where one of those stays, the
// journal is emptied by the next scrub.
func (b *sqliteBackend) scrub(ctx context.Context) error {
	return b.read(ctx, func(conn *sqliteConn) error {
		err := conn.script("PRAGMA query_only = OFF; PRAGMA wal_checkpoint(TRUNCATE)")
		return errors.Join(err, conn.script("PRAGMA query_only = ON"))
	})
}
