package sqldb_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

func addNotes(t testing.TB, db *sqldb.DB, from, to int) {
	t.Helper()
	err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		for i := from; i < to; i++ {
			tx.Queue(`INSERT INTO note (id, text) VALUES ($1, $2)`, i, fmt.Sprint("note ", i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotSeesOneInstant(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		addNotes(t, db, 0, 500)
		err := db.Snapshot(t.Context(), func(s *sqldb.Snapshot) error {
			addNotes(t, db, 500, 600)
			rows, err := s.Query(`SELECT id, text FROM note WHERE id >= $1 ORDER BY id`, 10)
			if err != nil {
				return err
			}
			next := 10
			for rows.Next() {
				var id int
				var text string
				if err := rows.Scan(&id, &text); err != nil {
					return err
				}
				if id != next || text != fmt.Sprint("note ", id) {
					t.Fatalf("row %d is %d, %q", next, id, text)
				}
				next++
			}
			if next != 500 || rows.Err() != nil {
				t.Errorf("read up to %d, %v", next, rows.Err())
			}
			addNotes(t, db, 600, 700)
			for range 2 { // the first is left unread
				if rows, err = s.Query(`SELECT count(*) FROM note`); err != nil {
					return err
				}
			}
			var n int
			if !rows.Next() || rows.Scan(&n) != nil || n != 500 {
				t.Errorf("%d rows, %v", n, rows.Err())
			}
			if rows, err = s.Query(`SELECT id FROM note ORDER BY id`); err != nil || !rows.Next() {
				t.Errorf("%v", err)
			}
			return rows.Close() // in the middle
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := count(t, db, "note"); n != 700 {
			t.Errorf("%d rows afterwards", n)
		}
		mine := errors.New("mine")
		if err := db.Snapshot(t.Context(), func(s *sqldb.Snapshot) error { return mine }); !errors.Is(err, mine) {
			t.Errorf("got %v", err)
		}
		err = db.Snapshot(t.Context(), func(s *sqldb.Snapshot) error {
			rows, err := s.Query(`DELETE FROM note RETURNING id`)
			if err != nil {
				return err
			}
			for rows.Next() {
			}
			return rows.Err()
		})
		if err == nil || count(t, db, "note") != 700 {
			t.Errorf("a snapshot can write: %v", err)
		}
		if err := db.Snapshot(t.Context(), func(s *sqldb.Snapshot) error { _, err := s.Query(`SELEC`); return err }); err == nil {
			t.Error("a wrong query is accepted")
		}
		if n := count(t, db, "note"); n != 700 {
			t.Errorf("%d rows at the end", n)
		}
	})
}

func TestTables(t *testing.T) {
	sets := []sqldb.MigrationSet{set("some", "001_some.sql", `
CREATE TABLE zebra (b TEXT NOT NULL, a BIGINT NOT NULL, c BOOLEAN, d BYTEA, PRIMARY KEY (a, b));
CREATE TABLE apple (x TEXT);
ALTER TABLE zebra ADD COLUMN e TEXT NOT NULL DEFAULT '';
ALTER TABLE zebra DROP COLUMN c;`)}
	want := []sqldb.Table{
		{Name: "apple", Columns: []sqldb.Column{{Name: "x", Type: "TEXT"}}},
		{Name: "schema_migration", Key: []string{"package", "number"}, Columns: []sqldb.Column{
			{"package", "TEXT", true}, {"number", "BIGINT", true}, {"name", "TEXT", true}, {"checksum", "TEXT", true}, {"applied_at", "BIGINT", true}}},
		{Name: "zebra", Key: []string{"a", "b"}, Columns: []sqldb.Column{
			{"b", "TEXT", true}, {"a", "BIGINT", true}, {"d", "BYTEA", false}, {"e", "TEXT", true}}},
	}
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		got, err := db.Tables(t.Context())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestBackupUnderLoad(t *testing.T) {
	db := dbtest.Open(t, sqldb.SQLite, counters)
	addNotes(t, db, 0, 5000)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 5000; ; i += 2 {
			select {
			case <-stop:
				return
			default:
			}
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return errors.Join(addNote(tx, i), addNote(tx, i+1)) })
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for i := range 3 {
		time.Sleep(10 * time.Millisecond)
		before := count(t, db, "note")
		path := filepath.Join(t.TempDir(), fmt.Sprintf("it's copy %d.db", i))
		if err := db.BackupTo(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if err := db.BackupTo(t.Context(), path); err == nil {
			t.Error("an older backup is overwritten")
		}
		after := count(t, db, "note")
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		copied, err := sqldb.Open(t.Context(), sqldb.Options{URL: "sqlite:" + path})
		if err != nil {
			t.Fatal(err)
		}
		if n := count(t, copied, "note"); n < before || n > after || n%2 != 0 {
			t.Errorf("the copy has %d rows; there were %d before and %d after, two a transaction", n, before, after)
		}
		var health string
		if err := copied.QueryRow(t.Context(), `PRAGMA integrity_check`).Scan(&health); err != nil || health != "ok" {
			t.Errorf("%s, %v", health, err)
		}
		copied.Close()
	}
	close(stop)
	<-ended
	if err := db.BackupTo(t.Context(), "/nowhere/at/all.db"); err == nil {
		t.Error("a backup to nowhere succeeds")
	}
}

func TestBatchReads(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		addNotes(t, db, 0, 10)
		for range 2 {
			var text string
			var n int
			var ids []int
			batch := db.Batch()
			found := batch.QueueRow(`SELECT text FROM note WHERE id = $1`, []any{3}, &text)
			missing := batch.QueueRow(`SELECT text FROM note WHERE id = $1`, []any{33}, &text)
			batch.QueueRow(`SELECT count(*) FROM note`, nil, &n)
			batch.Queue(`SELECT id FROM note WHERE id > $1 ORDER BY id`, []any{6}, func(s sqldb.Scanner) error {
				var id int
				err := s.Scan(&id)
				ids = append(ids, id)
				return err
			})
			if err := batch.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !*found || *missing || text != "note 3" || n != 10 || !reflect.DeepEqual(ids, []int{7, 8, 9}) {
				t.Errorf("%v %v %q %d %v", *found, *missing, text, n, ids)
			}
			if err := batch.Run(t.Context()); err != nil {
				t.Errorf("an empty batch: %v", err)
			}
			batch.QueueRow(`SELECT count(*) FROM note`, nil, &n)
			batch.QueueRow(`SELECT count(*) FROM nowhere`, nil, &n)
			if err := batch.Run(t.Context()); err == nil {
				t.Error("a wrong query in a batch is accepted")
			}
		}
	})
}

func TestServerNow(t *testing.T) {
	dbtest.Each(t, nil, func(t *testing.T, db *sqldb.DB) {
		now, err := db.ServerNow(t.Context())
		if err != nil || time.Since(now).Abs() > time.Minute || now.Location() != time.UTC {
			t.Errorf("%v, %v", now, err)
		}
		if err := db.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
