package backup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cardea-id/cardea/internal/sqldb"
)

const (
	// restoreLock is the advisory lock that nodes share and a restore has for
	// itself.
	restoreLock = 0x63617264_65610002
	// applicationName is what sqldb calls its connections.
	applicationName = "cardea"
	holdName        = "cardea-hold"
	// holdCheck is how often a node looks whether its hold is there.
	holdCheck = 2 * time.Second
	// lockTries and lockPause are how long a restore waits for nodes that are
	// being stopped.
	lockTries = 40
	lockPause = 50 * time.Millisecond
	// holdReply is how long the server may take to answer.
	holdReply = 5 * time.Second
)

// The lock belongs to a connection of its own, which is nobody's pool's.
func connectPostgres(ctx context.Context, url string) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("the database's address: %w", err)
	}
	config.RuntimeParams["application_name"] = holdName
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect for the restore lock: %w", err)
	}
	return conn, nil
}

// ask runs a query that returns one value.
func ask(ctx context.Context, conn *pgconn.PgConn, sql string) (string, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 1 {
		return "", errors.New("PostgreSQL gave another answer than one value")
	}
	return string(results[0].Rows[0][0]), nil
}

func askLock(ctx context.Context, conn *pgconn.PgConn, function string) (bool, error) {
	answer, err := ask(ctx, conn, "SELECT "+function+"("+strconv.Itoa(restoreLock)+")")
	return answer == "t", err
}

var errRestoring = fmt.Errorf("%w: it is under way; wait until it is done", ErrUnfinished)

// sharePostgres takes the lock together with other nodes, and takes it again
// when the connection is lost.
func sharePostgres(ctx context.Context, url string, lost func(error)) (release func(), err error) {
	take := func(ctx context.Context) (*pgconn.PgConn, error) {
		conn, err := connectPostgres(ctx, url)
		if err != nil {
			return nil, err
		}
		got, err := askLock(ctx, conn, "pg_try_advisory_lock_shared")
		if err == nil && !got {
			err = errRestoring
		}
		if err != nil {
			closePostgres(conn)
			return nil, err
		}
		return conn, nil
	}
	conn, err := take(ctx)
	if err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	var watch sync.WaitGroup
	watch.Go(func() {
		defer func() {
			if conn != nil {
				closePostgres(conn)
			}
		}()
		ticker := time.NewTicker(holdCheck)
		defer ticker.Stop()
		for {
			select {
			case <-watching.Done():
				return
			case <-ticker.C:
			}
			within, cancel := context.WithTimeout(watching, holdReply)
			if conn != nil {
				if _, err := ask(within, conn, "SELECT 1"); err != nil {
					closePostgres(conn)
					conn = nil
				}
			}
			if conn == nil {
				again, err := take(within)
				switch {
				case err == nil:
					conn = again
				case errors.Is(err, ErrUnfinished):
					cancel()
					lost(err)
					return
				} // otherwise PostgreSQL is away, for everybody
			}
			cancel()
		}
	})
	return func() { stop(); watch.Wait() }, nil
}

func closePostgres(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the lock goes with the connection, however that ends
}

// exclusivePostgres is the lock, had alone.
type exclusivePostgres struct{ conn *pgconn.PgConn }

func lockPostgres(ctx context.Context, url string) (_ *exclusivePostgres, err error) {
	conn, err := connectPostgres(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closePostgres(conn)
		}
	}()
	// What was stopped a moment ago may still be leaving.
	for range lockTries {
		if err = alone(ctx, conn); !errors.Is(err, sqldb.ErrLocked) {
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPause):
		}
	}
	if err != nil {
		return nil, err
	}
	return &exclusivePostgres{conn}, nil
}

// alone takes the lock, if nobody else uses the database.
func alone(ctx context.Context, conn *pgconn.PgConn) error {
	got, err := askLock(ctx, conn, "pg_try_advisory_lock")
	if err != nil {
		return fmt.Errorf("take the restore lock: %w", err)
	}
	if !got {
		return fmt.Errorf("%w: a node of Cardea serves this database, or another restore works on it; stop all nodes first", sqldb.ErrLocked)
	}
	// A node that lost its lock a moment ago still has its other connections.
	// The name is to be seen for sessions of all roles.
	others, err := ask(ctx, conn, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = '`+applicationName+`'`)
	if err == nil && others == "0" {
		return nil
	}
	if err != nil {
		err = fmt.Errorf("look for other nodes: %w", err)
	} else {
		err = fmt.Errorf("%w: %s connections of Cardea are open to this database; stop all nodes first", sqldb.ErrLocked, others)
	}
	_, unlockErr := askLock(ctx, conn, "pg_advisory_unlock")
	return errors.Join(err, unlockErr)
}

func (l *exclusivePostgres) soften(ctx context.Context) error {
	got, err := askLock(ctx, l.conn, "pg_try_advisory_lock_shared")
	if err == nil && !got {
		err = errors.New("PostgreSQL refuses to share a lock that is had alone")
	}
	if err == nil {
		_, err = askLock(ctx, l.conn, "pg_advisory_unlock")
	}
	if err != nil {
		return fmt.Errorf("share the restore lock: %w", err)
	}
	return nil
}

func (l *exclusivePostgres) close() { closePostgres(l.conn) }
