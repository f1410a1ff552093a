package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/backup"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// TestEveryValueComesBack restores from each engine to each.
func TestEveryValueComesBack(t *testing.T) {
	engines(t, func(t *testing.T, from sqldb.Engine) {
		w := openWorld(t, newPlace(t, from))
		long := strings.Repeat("ü", 100_000)
		err := w.db.Write(t.Context(), func(tx *sqldb.Tx) error {
			tx.Queue(`DELETE FROM money`)
			tx.Queue(`INSERT INTO every (id, "text", flag, data, at) VALUES ($1, $2, $3, $4, $5)`, int64(-1)<<63, "", true, []byte{}, int64(1)<<62)
			tx.Queue(`INSERT INTO every (id) VALUES ($1)`, 0)
			tx.Queue(`INSERT INTO every (id, "text", flag, data, at) VALUES ($1, $2, $3, $4, $5)`, 1, long, false, []byte{0, 255, '\n', 0}, -1)
			for i := 2; i < 12_000; i++ {
				tx.Queue(`INSERT INTO every (id, "text") VALUES ($1, $2)`, i, "'; DROP TABLE every; --\r\n\t\u202e")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := dump(t, w.db, "every")
		folder := w.backUp(t)
		engines(t, func(t *testing.T, to sqldb.Engine) {
			at := newPlace(t, to)
			r := restoration(t, folder, at)
			r.Force = true // there is no ledger
			done, err := backup.Restore(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if done.Replaced || !done.NoLedger || done.Rows < 12_000 {
				t.Errorf("%+v", done)
			}
			got := openWorld(t, at)
			if there := dump(t, got.db, "every"); there != want {
				t.Errorf("%d bytes came back of %d", len(there), len(want))
			}
			if n := count(t, got.db, `SELECT count(*) FROM money`); n != 0 {
				t.Errorf("a row that a migration makes and the backup had not is there: %d", n)
			}
			if n := count(t, got.db, `SELECT count(*) FROM event_lease`); n != 64 {
				t.Errorf("%d leases", n)
			}
			if err := backup.Usable(t.Context(), got.db); err != nil {
				t.Error(err)
			}
		})
	})
}

func dump(t testing.TB, db *sqldb.DB, table string) string {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT id, "text", flag, data, at FROM `+table+` ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for rows.Next() {
		var key int64
		var text *string
		var flag *bool
		var data []byte
		var at *int64
		if err := rows.Scan(&key, &text, &flag, &data, &at); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(&out, key)
		if text != nil {
			fmt.Fprintf(&out, " %q", *text)
		}
		if flag != nil {
			fmt.Fprint(&out, " ", *flag)
		}
		fmt.Fprintf(&out, " %t %x", data == nil, data)
		if at != nil {
			fmt.Fprint(&out, " ", *at)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func count(t testing.TB, db *sqldb.DB, sql string) (n int64) {
	t.Helper()
	if err := db.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestConcurrentWritesDoNotTearABackup backs up while money moves, customers
// sign up, and others are erased.
func TestConcurrentWritesDoNotTearABackup(t *testing.T) {
	engines(t, func(t *testing.T, engine sqldb.Engine) {
		w := openWorld(t, newPlace(t, engine))
		const accounts, each = 50, 1000
		err := w.db.Write(t.Context(), func(tx *sqldb.Tx) error {
			for i := range accounts {
				tx.Queue(`INSERT INTO money (id, amount) VALUES ($1, $2)`, i, each)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var early []id.Customer
		for i := range 60 {
			early = append(early, w.mustSignUp(t, fmt.Sprintf("early%d@example.com", i)))
		}
		ctx, stop := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		var moved, signedUp, erased atomic.Int64
		work := func(n int, do func(ctx context.Context, worker, i int) error) {
			for worker := range n {
				writers.Go(func() {
					for i := 0; ctx.Err() == nil; i++ {
						if err := do(context.WithoutCancel(ctx), worker, i); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
		}
		work(4, func(ctx context.Context, _, _ int) error {
			moved.Add(1)
			a, b, amount := rand.N(accounts), rand.N(accounts), rand.N(50)
			return w.db.Write(ctx, func(tx *sqldb.Tx) error {
				// In one order, so that two transfers do not wait for each other.
				for _, change := range [][2]int{{min(a, b), amount}, {max(a, b), -amount}} {
					if _, err := tx.Exec(`UPDATE money SET amount = amount + $2 WHERE id = $1`, change[0], change[1]); err != nil {
						return err
					}
				}
				return nil
			})
		})
		work(2, func(ctx context.Context, worker, i int) error {
			signedUp.Add(1)
			_, err := w.signUp(ctx, fmt.Sprintf("late%d.%d@example.com", worker, i))
			return err
		})
		work(1, func(ctx context.Context, _, i int) error {
			if i >= len(early) {
				time.Sleep(time.Millisecond)
				return nil
			}
			erased.Add(1)
			time.Sleep(5 * time.Millisecond)
			return w.directory.Erase(ctx, w.tenant, early[i], "test")
		})
		var folders []string
		for range 3 {
			time.Sleep(50 * time.Millisecond)
			folders = append(folders, w.backUp(t))
		}
		stop()
		writers.Wait()
		t.Logf("%d transfers, %d sign-ups, %d erasures meanwhile", moved.Load(), signedUp.Load(), erased.Load())
		if moved.Load() == 0 || signedUp.Load() == 0 || erased.Load() == 0 {
			t.Fatal("nothing happened while it was backed up")
		}
		for _, folder := range folders {
			at := newPlace(t, engine)
			r := restoration(t, folder, at)
			r.Ledger = filepath.Join(folder, "ledger.jsonl")
			if _, err := backup.Restore(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			got := openWorld(t, at)
			if sum := count(t, got.db, `SELECT CAST(sum(amount) AS BIGINT) FROM money WHERE id >= 0`); sum != accounts*each {
				t.Errorf("the accounts sum up to %d, not %d", sum, accounts*each)
			}
			opened, gone := got.openAll(t)
			t.Logf("%d customers can be read, %d are erased", opened, gone)
			if opened == 0 {
				t.Error("no customer can be read")
			}
			got.close()
		}
	})
}

// openAll reads every customer: each can be read, or was erased, rows and all.
func (w *world) openAll(t *testing.T) (opened, gone int) {
	t.Helper()
	rows, err := w.db.Query(t.Context(), `SELECT customer FROM customer`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var c id.Customer
		if err := rows.Scan(&c); err != nil {
			t.Fatal(err)
		}
		found, err := w.directory.Get(t.Context(), w.tenant, c)
		switch {
		case errors.Is(err, customer.ErrErased):
			gone++
			state, err := w.directory.State(t.Context(), w.tenant, c)
			if err != nil || state.Status != customer.Erased {
				t.Errorf("%s has no key, and the status %q, %v", c, state.Status, err)
			}
		case err != nil:
			t.Errorf("%s: %v", c, err)
		case len(found.Identifiers) != 1 || found.Identifiers[0].Display != found.Profile["name"]:
			t.Errorf("%s: %+v", c, found)
		default:
			opened++
		}
	}
	return opened, gone
}

// TestWhatABackupLooksLike is about the files: who may read them, and what is
// left when a backup fails.
func TestWhatABackupLooksLike(t *testing.T) {
	w := openWorld(t, newPlace(t, sqldb.SQLite))
	w.mustSignUp(t, "someone@example.com")
	parent := t.TempDir()
	folder, keys := filepath.Join(parent, "main"), filepath.Join(parent, "elsewhere", "keys")
	if err := os.Mkdir(filepath.Dir(keys), 0o700); err != nil {
		t.Fatal(err)
	}
	report, err := backup.Write(t.Context(), w.source(t), backup.Destination{Folder: folder, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if report.Folder != folder || report.Keys != keys || report.Rows == 0 || report.Bytes == 0 {
		t.Errorf("%+v", report)
	}
	for _, name := range []string{"main/README.txt", "main/ledger.jsonl", "main/database/manifest.json", "main/database/customer.rows", "elsewhere/keys/manifest.json", "elsewhere/keys/customer_key.rows"} {
		if _, err := os.Stat(filepath.Join(parent, name)); err != nil {
			t.Error(err)
		}
	}
	err = filepath.WalkDir(parent, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == parent {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s may be read by others: %v", path, info.Mode())
		}
		if err == nil && strings.Contains(entry.Name(), "bak_") {
			t.Errorf("%s is left over", path)
		}
		if err == nil && !entry.IsDir() {
			text, err := os.ReadFile(path)
			if err == nil && bytes.Contains(text, []byte("someone@example.com")) {
				t.Errorf("%s has an e-mail address in it", path)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := backup.Write(t.Context(), w.source(t), backup.Destination{Folder: folder}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an older backup is replaced: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backup.Write(cancelled, w.source(t), backup.Destination{Folder: filepath.Join(parent, "none")}); err == nil {
		t.Error("a backup that was given up succeeds")
	}
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	// The parts are found where they are said to be.
	r := restoration(t, folder, newPlace(t, sqldb.SQLite))
	r.Keys, r.Force = keys, true
	if _, err := backup.Restore(t.Context(), r); err != nil {
		t.Error(err)
	}
}
