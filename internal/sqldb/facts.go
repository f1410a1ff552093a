package sqldb

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// Facts are how a database is set up, for whoever looks for weaknesses in it.
type Facts struct {
	Version string // as the engine spells it
	// SQLite alone.
	File string
	// PostgreSQL alone, as the server has it for connections that ask for
	// nothing.
	Number            int // server_version_num: 150004
	Fsync             bool
	FullPageWrites    bool
	SynchronousCommit string
	Replica           bool   // it is in recovery, and takes no writes
	Standbys          string // synchronous_standby_names
	Synchronous       int    // standbys that confirm commits at present; -1 where this user may not see
	Connections       int    // that users may have together
	Pooled            bool   // something that lends connections stands between
	Remote            bool   // it is on another machine
	TLS               TLS    // of the connection that asked
}

// TLS is how well a connection is sealed.
type TLS int

// Only a verified connection is safe from whoever is in between.
const (
	TLSNone       TLS = iota // in the clear
	TLSUnverified            // encrypted, to whoever answered
	TLSVerified              // encrypted, to the server of that name (sslmode=verify-full)
)

// Facts reads how the database is set up. It changes nothing.
func (db *DB) Facts(ctx context.Context) (Facts, error) {
	f, err := db.backend.facts(ctx)
	if err != nil {
		return Facts{}, fmt.Errorf("read how the database is set up: %w", err)
	}
	return f, nil
}

// Pending lists the migrations of the sets that have not been applied, and says
// whether a later release has applied some that are not in the sets. It changes
// nothing. ErrChangedMigration is returned as Migrate returns it.
func (db *DB) Pending(ctx context.Context, sets ...MigrationSet) (names []string, later bool, err error) {
	plan, err := planMigrations(db.engine, sets)
	if err != nil {
		return nil, false, err
	}
	tables, err := db.Tables(ctx)
	if err != nil {
		return nil, false, err
	}
	applied, missing := 0, plan
	for _, table := range tables {
		if table.Name != "schema_migration" {
			continue
		}
		rows, err := db.Query(ctx, sqlAppliedMigrations)
		if err != nil {
			return nil, false, err
		}
		if missing, err = pending(plan, rows); err != nil {
			return nil, false, err
		}
		if err := db.QueryRow(ctx, `SELECT COUNT(*) FROM schema_migration`).Scan(&applied); err != nil {
			return nil, false, err
		}
	}
	for _, m := range missing {
		names = append(names, m.String())
	}
	return names, applied > len(plan)-len(missing), nil
}

func (b *sqliteBackend) facts(ctx context.Context) (Facts, error) {
	f := Facts{File: b.path}
	results, err := b.query(ctx, []statement{{sql: `SELECT sqlite_version()`}})
	if err != nil {
		return f, err
	}
	return f, (&Row{rows: results[0]}).Scan(&f.Version)
}

const postgresFacts = `SELECT current_setting('server_version'), current_setting('server_version_num'), current_setting('fsync'),
	current_setting('full_page_writes'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
	CAST(current_setting('max_connections') AS BIGINT) - CAST(current_setting('superuser_reserved_connections') AS BIGINT), pg_is_in_recovery(), pg_backend_pid(),
	(SELECT COUNT(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')),
	(SELECT COUNT(*) FROM pg_stat_replication WHERE sync_state IS NULL)`

// facts asks over a connection of its own, which has none of the settings that
// this program gives to its connections. What lends connections gives each
// client a process number of its own making.
func (b *postgresBackend) facts(ctx context.Context) (Facts, error) {
	config := b.config.Copy()
	for _, name := range []string{"synchronous_commit", "default_transaction_isolation", "client_encoding"} {
		delete(config.RuntimeParams, name)
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return Facts{}, err
	}
	defer shutPostgres(&postgresConn{conn: conn})
	results, err := conn.Exec(ctx, postgresFacts).ReadAll()
	if err != nil {
		return Facts{}, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return Facts{}, fmt.Errorf("the server answered with %d results", len(results))
	}
	row := results[0].Rows[0]
	text := func(n int) string { return string(row[n]) }
	number := func(n int) int {
		value, convErr := strconv.Atoi(text(n))
		if convErr != nil && err == nil {
			err = convErr
		}
		return value
	}
	f := Facts{
		Version: text(0), Number: number(1), Fsync: text(2) == "on", FullPageWrites: text(3) == "on", SynchronousCommit: text(4), Standbys: text(5),
		Connections: number(6), Replica: text(7) == "t", Pooled: number(8) != int(conn.PID()), Synchronous: number(9),
	}
	if number(10) > 0 {
		f.Synchronous = -1
	}
	f.Remote, f.TLS = sealed(conn.Conn())
	return f, err
}

// sealed tells whether a connection leaves this machine, and how well it is sealed.
func sealed(conn net.Conn) (remote bool, how TLS) {
	if there, ok := conn.RemoteAddr().(*net.TCPAddr); ok && !there.IP.IsLoopback() {
		here, known := conn.LocalAddr().(*net.TCPAddr)
		remote = !known || !there.IP.Equal(here.IP)
	}
	if over, ok := conn.(*tls.Conn); ok {
		how = TLSUnverified
		if len(over.ConnectionState().VerifiedChains) > 0 {
			how = TLSVerified
		}
	}
	return remote, how
}
