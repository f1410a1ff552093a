package dbtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// server is the PostgreSQL server of this process.
var server struct {
	once sync.Once
	url  string
	err  error
}

// ServerURL is the URL of the database "postgres" of the server that tests
// use, which it starts if need be.
func ServerURL() (string, error) {
	server.once.Do(func() {
		if server.url = os.Getenv("CARDEA_TEST_POSTGRES_URL"); server.url != "" {
			return
		}
		// It goes, and its files with it, when this process does.
		server.url, _, server.err = StartPostgres("", PostgresOptions{})
	})
	return server.url, server.err
}

// on returns the URL of another database of the same server.
func on(server, database string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	u.Path = "/" + database
	return u.String(), nil
}

// administer runs statements on the server, outside of any transaction.
func administer(ctx context.Context, server string, statements ...string) error {
	conn, err := pgconn.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if err := conn.Exec(ctx, s).Close(); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func postgresURL(t testing.TB, sets []sqldb.MigrationSet) (string, error) {
	server, err := ServerURL()
	if err != nil {
		return "", err
	}
	made, sum, err := templateOf(sqldb.Postgres, sets)
	if err != nil {
		return "", err
	}
	made.once.Do(func() { made.name, made.err = postgresTemplate(t.Context(), server, sum, sets) })
	if made.err != nil {
		return "", made.err
	}
	name := "cardea_test_" + randomName()
	if err := administer(t.Context(), server, "CREATE DATABASE "+name+" TEMPLATE "+made.name); err != nil {
		return "", err
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := administer(ctx, server, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("delete the test's database: %v", err)
		}
	})
	return on(server, name)
}

// postgresTemplate makes the database that those of tests are copied from. On
// a shared server another process may have, or may be about to.
func postgresTemplate(ctx context.Context, server, sum string, sets []sqldb.MigrationSet) (string, error) {
	name := "cardea_template_" + sum
	draft := "cardea_draft_" + randomName()
	url, err := on(server, draft)
	if err != nil {
		return "", err
	}
	if err := administer(ctx, server, "CREATE DATABASE "+draft+" TEMPLATE template0 ENCODING 'UTF8'"); err != nil {
		return "", err
	}
	db, err := sqldb.Open(ctx, sqldb.Options{URL: url})
	if err != nil {
		return "", err
	}
	err = db.Migrate(ctx, sets...)
	if err := errors.Join(err, db.Close()); err != nil {
		return "", err
	}
	// Whoever renames first has made it; a half-made one never has the name.
	err = administer(ctx, server, "ALTER DATABASE "+draft+" RENAME TO "+name)
	var fault *pgconn.PgError
	if errors.As(err, &fault) && (fault.Code == "42P04" || fault.Code == "23505") {
		return name, administer(ctx, server, "DROP DATABASE "+draft+" WITH (FORCE)")
	}
	return name, err
}
