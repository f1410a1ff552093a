package sqldb_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/cardea-id/cardea/internal/sqldb"
)

func TestScrubLeavesNothingOfWhatWasDeletedInTheFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: "sqlite:" + path, Scrub: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	secret := bytes.Repeat([]byte("the-secret-key-of-somebody!"), 3)
	write := func(sql string, args ...any) {
		t.Helper()
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(sql, args...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	found := func() (n int) {
		for _, suffix := range []string{"", "-wal"} {
			content, err := os.ReadFile(path + suffix)
			if err != nil {
				t.Fatal(err)
			}
			n += bytes.Count(content, secret)
		}
		return n
	}
	write(`CREATE TABLE kept (id BIGINT PRIMARY KEY, content BYTEA)`)
	write(`INSERT INTO kept (id, content) VALUES (1, $1)`, secret)
	if found() == 0 {
		t.Fatal("what was written is not in the files: the test looks at the wrong place")
	}
	write(`UPDATE kept SET content = $1 WHERE id = 1`, []byte{})
	write(`DELETE FROM kept WHERE id = 1`)
	if err := db.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := found(); n != 0 {
		t.Errorf("what was deleted is still there %d times", n)
	}
}
