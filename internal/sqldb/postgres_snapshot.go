package sqldb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func (b *postgresBackend) snapshot(ctx context.Context, fn func(*Snapshot) error) error {
	conn, err := b.conns.take(ctx)
	if err != nil {
		return err
	}
	t := &postgresTx{conn: conn}
	s := &Snapshot{ctx: ctx, engine: Postgres, conn: t}
	defer func() {
		s.end()
		t.rollback()
		b.give(conn)
	}()
	conn.begin(ctx)
	conn.send(postgresBeginRead)
	conn.send(postgresTakeAView)
	if err := conn.finish(nil); err != nil {
		return lost(ctx, conn, err)
	}
	return lost(ctx, conn, fn(s))
}

// postgresStream is the rows of a statement, as they come from the server.
type postgresStream struct {
	conn   *postgresConn
	reader *pgconn.ResultReader
}

func (r *postgresStream) next(rows *Rows) (bool, error) {
	if !r.reader.NextRow() {
		return false, nil // its error comes with close
	}
	return true, decodeRow(rows, r.reader)
}

func (r *postgresStream) close() error {
	_, err := r.reader.Close()
	if cerr := r.conn.pipeline.Close(); err == nil {
		err = cerr
	}
	return err
}

// stream runs a statement whose rows are read one by one. Closing them early
// still receives the rest.
func (t *postgresTx) stream(ctx context.Context, s statement) (*Rows, error) {
	c := t.conn
	if _, err := c.check(s); err != nil {
		return nil, err
	}
	c.begin(ctx)
	c.send(s)
	err := c.pipeline.Sync()
	for at := 0; err == nil && at < len(c.sent); at++ {
		if r := &c.sent[at]; r.prepares != nil || r.drops {
			err = c.receivePrepared(r)
			continue
		}
		var got any
		if got, err = c.pipeline.GetResults(); err != nil {
			break
		}
		reader, ok := got.(*pgconn.ResultReader)
		if !ok {
			err = fmt.Errorf("postgres answered a statement with %T", got)
			break
		}
		c.end(nil)
		return &Rows{at: -1, columns: len(reader.FieldDescriptions()), source: &postgresStream{c, reader}}, nil
	}
	c.end(err)
	c.pipeline.Close() // it meets the same error again
	return nil, statementFault(s, err)
}

func (b *postgresBackend) tables(_ context.Context, s *Snapshot) ([]Table, error) {
	rows, err := s.Query(`
		SELECT c.relname, a.attname, upper(format_type(a.atttypid, a.atttypmod)), a.attnotnull,
			coalesce((SELECT k.place FROM unnest(i.indkey::INT2[]) WITH ORDINALITY AS k(attnum, place) WHERE k.attnum = a.attnum), 0)
		FROM pg_class AS c
		JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		LEFT JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisprimary
		WHERE c.relnamespace = current_schema()::REGNAMESPACE AND c.relkind IN ('r', 'p') AND NOT c.relispartition
		ORDER BY c.relname COLLATE "C", a.attnum`)
	if err != nil {
		return nil, err
	}
	return scanTables(rows)
}

func (b *postgresBackend) scrub(context.Context) error { return nil }

func (b *postgresBackend) backupTo(context.Context, string) error {
	return errors.New("PostgreSQL has no file to copy; export its tables from a Snapshot")
}

// migrationLock is the advisory lock under which one process migrates.
const migrationLock = 0x63617264_65610001

// migrationWait is how long a migration waits for a table that is in use
// before it lets the statements queued behind it go on, and tries again. It is
// shorter than PostgreSQL waits before it looks for a deadlock (a second): where
// a migration has one table and wants another that somebody holds who wants the
// first, it is the migration that steps back.
const (
	migrationWait  = 700 * time.Millisecond
	migrationTries = 150
)

func (b *postgresBackend) migrate(ctx context.Context, plan []migration) error {
	for tries := 0; ; {
		more, err := b.migrateNext(ctx, plan)
		var fault *pgconn.PgError
		if errors.As(err, &fault) && (fault.Code == "55P03" || fault.Code == "40P01") && tries < migrationTries { // lock timeout, deadlock
			tries++
			b.logger.Info("a migration waits for a table that is in use", "error", err)
			if err := pause(ctx, 6); err != nil {
				return err
			}
			continue
		}
		if err != nil || !more {
			return err
		}
		tries = 0
	}
}

// migrateNext applies the first migration that is missing and says whether
// there may be more.
func (b *postgresBackend) migrateNext(ctx context.Context, plan []migration) (more bool, err error) {
	conn, err := b.conns.take(ctx)
	if err != nil {
		return false, err
	}
	t := &postgresTx{conn: conn}
	defer func() {
		t.rollback()
		b.stale(conn) // its statements were prepared for another schema
		b.give(conn)
	}()
	tx := &Tx{ctx: ctx, now: transactionTime(b.clock), engine: Postgres, conn: t}
	if _, err := tx.Query("SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
		return false, err
	}
	var exists bool
	if err := tx.QueryRow("SELECT to_regclass('schema_migration') IS NOT NULL").Scan(&exists); err != nil {
		return false, err
	}
	if !exists {
		if _, err := tx.Exec(sqlCreateMigrationTable); err != nil {
			return false, err
		}
	}
	rows, err := tx.Query(sqlAppliedMigrations)
	if err != nil {
		return false, err
	}
	missing, err := pending(plan, rows)
	if err != nil || len(missing) == 0 && exists {
		return false, err
	}
	if len(missing) > 0 {
		m := missing[0]
		if _, err := tx.Exec(fmt.Sprintf("SET LOCAL lock_timeout = %d", migrationWait.Milliseconds())); err != nil {
			return false, err
		}
		// The simple protocol takes many statements at once.
		if err := conn.conn.Exec(ctx, m.text).Close(); err != nil {
			return false, fmt.Errorf("%s: %w", m, err)
		}
		if conn.conn.TxStatus() != 'T' {
			return false, fmt.Errorf("%s: it ends the transaction that it runs in", m)
		}
		tx.Queue(sqlAddMigration, m.pkg, m.number, m.name, m.checksum, tx.Now())
	}
	return len(missing) > 1, t.commit(ctx)
}
