package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cardea-id/cardea/internal/clock"
)

// postgresBackend is a PostgreSQL database and a pool of connections to it.
type postgresBackend struct {
	config *pgconn.Config
	clock  clock.Clock
	logger *slog.Logger
	conns  *pool[*postgresConn]
}

const (
	postgresLifetime = time.Hour        // after which a connection is replaced, so that load finds new servers
	postgresDoubt    = 2 * time.Second  // idle for longer, a connection is tried before it is used
	postgresCommit   = 30 * time.Second // within which a commit is answered, or its outcome is unknown
	postgresAttempts = 12               // at a transaction that loses races
)

func openPostgres(ctx context.Context, options Options, clk clock.Clock, logger *slog.Logger) (backend, error) {
	config, err := pgconn.ParseConfig(options.URL)
	if err != nil {
		return nil, err
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "cardea"
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	b := &postgresBackend{config: config, clock: clk, logger: logger}
	size := options.MaxConns
	if size <= 0 {
		size = max(16, 8*runtime.GOMAXPROCS(0))
	}
	b.conns = newPool(size, b.connect, b.usable, shutPostgres)
	if err := b.settings(ctx); err != nil {
		b.conns.close()
		return nil, err
	}
	return b, nil
}

// settings makes sure of what the code counts on: a commit that is answered is
// on disk, transactions are READ COMMITTED, and text is UTF-8.
func (b *postgresBackend) settings(ctx context.Context) error {
	results, err := b.query(ctx, []statement{{sql: `SELECT current_setting('synchronous_commit'),
		current_setting('default_transaction_isolation'), current_setting('server_encoding'), current_setting('client_encoding')`}})
	if err != nil {
		return err
	}
	var commit, isolation, server, client string
	if err := (&Row{rows: results[0]}).Scan(&commit, &isolation, &server, &client); err != nil {
		return err
	}
	if server != "UTF8" {
		return fmt.Errorf("the database's encoding is %s; create it with ENCODING 'UTF8'", server)
	}
	params := b.config.RuntimeParams
	before := len(params)
	if commit == "off" {
		b.logger.Warn("PostgreSQL has synchronous_commit off, which loses acknowledged writes; it is turned on for these connections")
		params["synchronous_commit"] = "on"
	}
	if isolation != "read committed" {
		params["default_transaction_isolation"] = "read committed"
	}
	if client != "UTF8" {
		params["client_encoding"] = "UTF8"
	}
	if len(params) > before {
		b.conns.drop() // which was opened without them
	}
	return nil
}

func (b *postgresBackend) connect(ctx context.Context) (*postgresConn, error) {
	conn, err := pgconn.ConnectConfig(ctx, b.config)
	if err != nil {
		return nil, err
	}
	lifetime := postgresLifetime + rand.N(postgresLifetime/10)
	return newPostgresConn(conn, time.Now().Add(lifetime)), nil
}

func (b *postgresBackend) usable(c *postgresConn, idle time.Duration) bool {
	if c.conn.IsClosed() || idle > postgresDoubt && time.Now().After(c.expires) {
		return false
	}
	if idle <= postgresDoubt {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return c.conn.Ping(ctx) == nil
}

func shutPostgres(c *postgresConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c.conn.Close(ctx) // what was to be known of it has been
}

func (b *postgresBackend) give(c *postgresConn) {
	broken := c.conn.IsClosed() || c.conn.IsBusy() || c.conn.TxStatus() != 'I' || time.Now().After(c.expires)
	b.conns.give(c, broken)
}

// retry says whether an error, met before the commit was sent, is one of a
// lost race or a lost connection, after which the same work may succeed.
func (b *postgresBackend) retry(err error) (again, busy bool) {
	var fault *pgconn.PgError
	if errors.As(err, &fault) {
		switch fault.Code {
		case "40001", "40P01": // serialization failure, deadlock
			return true, true
		case "0A000", "26000": // a prepared statement that the schema has left behind
			stale := fault.Code == "26000" || strings.Contains(fault.Message, "cached plan")
			return stale, false
		case "57P01", "57P02", "57P03": // the server is being shut down or started
			return true, false
		case "53300": // too many connections
			return false, true
		}
		return false, false
	}
	return errors.Is(err, errConnectionLost), false
}

var errConnectionLost = errors.New("the connection to PostgreSQL was lost")

// lost marks errors after which the connection cannot be used.
func lost(ctx context.Context, c *postgresConn, err error) error {
	if err == nil || !c.conn.IsClosed() {
		return err
	}
	if cerr := ctx.Err(); cerr != nil {
		return cerr
	}
	var fault *pgconn.PgError
	if errors.As(err, &fault) {
		return err
	}
	return fmt.Errorf("%w: %w", errConnectionLost, err)
}

// pause waits before the next attempt: at random, up to a bound that doubles.
func pause(ctx context.Context, attempt int) error {
	timer := time.NewTimer(rand.N(min(2*time.Millisecond<<attempt, 200*time.Millisecond)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *postgresBackend) write(ctx context.Context, fn func(*Tx) error) error {
	for attempt := 0; ; attempt++ {
		err, again, busy := b.attempt(ctx, fn)
		if err == nil {
			return nil
		}
		if !again || attempt == postgresAttempts {
			if busy {
				return &busyError{err}
			}
			return err
		}
		b.logger.Debug("a transaction is run again", "attempt", attempt+1, "error", err)
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

func (b *postgresBackend) attempt(ctx context.Context, fn func(*Tx) error) (err error, again, busy bool) {
	conn, err := b.conns.take(ctx)
	if err != nil {
		_, busy = b.retry(err)
		return err, false, busy
	}
	t := &postgresTx{conn: conn}
	committed := false
	defer func() {
		if !committed {
			t.rollback()
		}
		b.give(conn)
	}()
	tx := &Tx{ctx: ctx, now: transactionTime(b.clock), engine: Postgres, conn: t}
	err = fn(tx)
	tx.done = true
	if t.fault != nil {
		// The server has undone it, whatever fn made of that.
		again, busy = b.retry(t.fault)
		if again || err == nil {
			err = t.fault
		}
		if again && !busy {
			b.stale(conn)
		}
		return err, again, busy
	}
	if err != nil {
		return err, false, false
	}
	if err = ctx.Err(); err != nil {
		return err, false, false
	}
	if err = t.commit(ctx); err == nil {
		committed = true
		return nil, false, false
	}
	if !errors.Is(err, ErrOutcomeUnknown) {
		again, busy = b.retry(err)
		if again && !busy {
			b.stale(conn)
		}
	}
	return err, again, busy
}

// stale forgets what other connections have, after one of them turned out to
// be lost or to have prepared statements that the schema has left behind.
func (b *postgresBackend) stale(conn *postgresConn) {
	conn.expires = time.Time{}
	b.conns.drop()
}

// postgresTx is a transaction that begins with its first round trip.
type postgresTx struct {
	conn   *postgresConn
	queued []statement
	begun  bool
	fault  error // what failed the transaction
}

var (
	postgresBegin      = statement{sql: "BEGIN"}
	postgresCommitSQL  = statement{sql: "COMMIT"}
	postgresRollback   = statement{sql: "ROLLBACK"}
	postgresBeginRead  = statement{sql: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}
	postgresTakeAView  = statement{sql: "SELECT 1"}
	postgresServerTime = statement{sql: "SELECT clock_timestamp()"}
)

func (t *postgresTx) queue(_ context.Context, s statement) {
	if t.fault == nil {
		t.fault = s.fault
	}
	if t.fault == nil {
		s.keep()
		t.queued = append(t.queued, s)
	}
}

func (t *postgresTx) exec(ctx context.Context, s statement) (int64, error) {
	rows, err := t.query(ctx, s)
	if err != nil {
		return 0, err
	}
	return rows.affected, nil
}

func (t *postgresTx) query(ctx context.Context, s statement) (*Rows, error) {
	if t.fault != nil {
		return nil, t.fault
	}
	c := t.conn
	t.queued = append(t.queued, s)
	if _, t.fault = c.check(t.queued...); t.fault != nil {
		return nil, t.fault
	}
	c.begin(ctx)
	if !t.begun {
		c.send(postgresBegin)
		t.begun = true
	}
	for _, q := range t.queued {
		c.send(q)
	}
	clear(t.queued)
	t.queued = t.queued[:0]
	var last *Rows
	err := c.finish(func(_ int, rows *Rows) error {
		last = rows
		return nil
	})
	if err != nil {
		t.fault = lost(ctx, c, err)
		return nil, t.fault
	}
	return last, nil
}

// commit makes the transaction durable. What only ever queued statements goes
// in one round trip, which PostgreSQL makes a transaction by itself. A context
// that ends now no longer matters: the outcome is to be known.
func (t *postgresTx) commit(ctx context.Context) error {
	if !t.begun && len(t.queued) == 0 {
		return nil
	}
	c := t.conn
	known, err := c.check(t.queued...)
	if err != nil {
		return err
	}
	if !known && !t.begun {
		// Only their preparation shows whether the arguments fit.
		last := len(t.queued) - 1
		s := t.queued[last]
		t.queued = t.queued[:last]
		if _, err := t.query(ctx, s); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), postgresCommit)
	defer cancel()
	c.begin(ctx)
	for _, q := range t.queued {
		c.send(q)
	}
	if t.begun {
		c.send(postgresCommitSQL)
	}
	if err = c.finish(nil); err == nil {
		return nil
	}
	var fault *pgconn.PgError
	if errors.As(err, &fault) && fault.Severity == "ERROR" {
		return err
	}
	if c.conn.IsClosed() || fault != nil {
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return err
}

// rollback undoes what reached the server.
func (t *postgresTx) rollback() {
	c := t.conn
	if c.conn.IsClosed() || c.conn.TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c.begin(ctx)
	c.send(postgresRollback)
	c.finish(nil) // a connection that still is in the transaction is not given back
}

// read lends a connection to fn, again when it turned out to be a lost one.
func (b *postgresBackend) read(ctx context.Context, fn func(*postgresConn) error) error {
	for attempt := 0; ; attempt++ {
		err, again := b.readOnce(ctx, fn)
		if err == nil || !again || attempt == 3 {
			return err
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

func (b *postgresBackend) readOnce(ctx context.Context, fn func(*postgresConn) error) (err error, again bool) {
	conn, err := b.conns.take(ctx)
	if err != nil {
		if _, busy := b.retry(err); busy {
			err = &busyError{err}
		}
		return err, false
	}
	defer b.give(conn)
	if err = lost(ctx, conn, fn(conn)); err == nil {
		return nil, false
	}
	if again, _ = b.retry(err); again {
		b.stale(conn)
	}
	return err, again
}

func (b *postgresBackend) query(ctx context.Context, statements []statement) (results []*Rows, err error) {
	results = make([]*Rows, len(statements))
	err = b.read(ctx, func(c *postgresConn) error {
		if _, err := c.check(statements...); err != nil {
			return err
		}
		c.begin(ctx)
		for _, s := range statements {
			c.send(s)
		}
		return c.finish(func(i int, rows *Rows) error {
			results[i] = rows
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (b *postgresBackend) now(ctx context.Context) (time.Time, error) {
	results, err := b.query(ctx, []statement{postgresServerTime})
	if err != nil {
		return time.Time{}, err
	}
	var now time.Time
	err = (&Row{rows: results[0]}).Scan(&now)
	return now, err
}

func (b *postgresBackend) stats() Stats { return b.conns.stats() }

func (b *postgresBackend) ping(ctx context.Context) error {
	_, err := b.query(ctx, []statement{postgresTakeAView})
	return err
}

func (b *postgresBackend) close() error {
	b.conns.close()
	return nil
}
