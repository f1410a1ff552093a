package dbtest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

func sets(text string) []sqldb.MigrationSet {
	return []sqldb.MigrationSet{{Package: "a", FS: fstest.MapFS{"001_a.sql": {Data: []byte(text)}}}}
}

func TestDatabasesAreFreshAndMigrated(t *testing.T) {
	for range 2 {
		dbtest.Each(t, sets("CREATE TABLE a (n BIGINT NOT NULL);"), func(t *testing.T, db *sqldb.DB) {
			second := dbtest.OpenSecond(t, db)
			for _, handle := range []*sqldb.DB{db, second} {
				err := handle.Write(t.Context(), func(tx *sqldb.Tx) error {
					tx.Queue("INSERT INTO a (n) VALUES (1)")
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			var n int
			if err := db.QueryRow(t.Context(), "SELECT count(*) FROM a").Scan(&n); err != nil || n != 2 {
				t.Errorf("%d rows, %v", n, err)
			}
		})
	}
	dbtest.Each(t, sets("CREATE TABLE b (n BIGINT NOT NULL);"), func(t *testing.T, db *sqldb.DB) {
		if _, err := db.Query(t.Context(), "SELECT n FROM a"); err == nil {
			t.Error("another set's table is there")
		}
	})
}

const childFolder = "CARDEA_DBTEST_CHILD_FOLDER"

// TestServerChild starts a server and waits to be killed.
func TestServerChild(t *testing.T) {
	folder := os.Getenv(childFolder)
	if folder == "" {
		t.Skip("run by TestServerEndsWithItsProcess")
	}
	url, _, err := dbtest.StartPostgres(folder, dbtest.PostgresOptions{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(url)
	time.Sleep(time.Minute)
}

func TestServerEndsWithItsProcess(t *testing.T) {
	folder, err := os.MkdirTemp("/tmp", "cardea-pg-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	child := exec.Command(os.Args[0], "-test.run=^TestServerChild$")
	child.Env = append(os.Environ(), childFolder+"="+folder)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the child says nothing")
	}
	url := lines.Text()
	conn, err := pgconn.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	conn.Close(t.Context())
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait() // killed
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err := os.Stat(filepath.Join(folder, "data", "postmaster.pid")); errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server outlives the process that started it")
		}
		time.Sleep(20 * time.Millisecond)
	}

	// The folder's data is used again, this time over TCP.
	url, stop, err := dbtest.StartPostgres(folder, dbtest.PostgresOptions{Durable: true, TCP: true})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := pgconn.Connect(context.Background(), url); err == nil {
		t.Error("the server runs after stop")
	}
}
