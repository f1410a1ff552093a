package backup_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/backup"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// TestRestoredOverItself is the disaster: an older backup over what is there.
func TestRestoredOverItself(t *testing.T) {
	engines(t, func(t *testing.T, engine sqldb.Engine) {
		at := newPlace(t, engine)
		w := openWorld(t, at)
		stays, goes := w.mustSignUp(t, "stays@example.com"), w.mustSignUp(t, "goes@example.com")
		before := w.mustSignUp(t, "before@example.com")
		if err := w.directory.Erase(t.Context(), w.tenant, before, "test"); err != nil {
			t.Fatal(err)
		}
		folder := w.backUp(t)
		later := w.mustSignUp(t, "later@example.com")
		if err := w.directory.Erase(t.Context(), w.tenant, goes, "test"); err != nil {
			t.Fatal(err)
		}
		token := w.seal(t)
		w.close()

		r := restoration(t, folder, at)
		if _, err := backup.Restore(t.Context(), r); !errors.Is(err, backup.ErrNotEmpty) {
			t.Fatalf("without --force: %v", err)
		}
		w = openWorld(t, at)
		if _, err := w.directory.Get(t.Context(), w.tenant, later); err != nil {
			t.Errorf("refused, and changed: %v", err)
		}
		w.mustOpen(t, token)
		if _, err := backup.Restore(t.Context(), forced(r)); !errors.Is(err, sqldb.ErrLocked) {
			t.Fatalf("while it is in use: %v", err)
		}
		w.close()
		done, err := backup.Restore(t.Context(), forced(r))
		if err != nil {
			t.Fatal(err)
		}
		if !done.Replaced || done.NoLedger || done.Erased != 1 {
			t.Errorf("%+v", done)
		}

		w = openWorld(t, at)
		if found, err := w.directory.Get(t.Context(), w.tenant, stays); err != nil || found.Profile["name"] != "stays@example.com" {
			t.Errorf("%+v, %v", found, err)
		}
		if _, err := w.directory.Get(t.Context(), w.tenant, later); !errors.Is(err, customer.ErrNotFound) {
			t.Errorf("who came after the backup: %v", err)
		}
		for _, c := range []struct {
			who  string
			gone error
		}{{"goes@example.com", w.get(goes)}, {"before@example.com", w.get(before)}} {
			if !errors.Is(c.gone, customer.ErrErased) {
				t.Errorf("%s is back: %v", c.who, c.gone)
			}
		}
		if n := count(t, w.db, `SELECT count(*) FROM customer_identifier`); n != 1 {
			t.Errorf("%d identifiers are there, one is of somebody who was not erased", n)
		}
		keys, err := w.ring.Tenant(t.Context(), w.tenant)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Open("test", token); !errors.Is(err, keyring.ErrEpoch) {
			t.Errorf("a token from before is good: %v", err)
		}
		// A second restore, in the same second if need be, kills what was issued
		// after the first.
		token = w.seal(t)
		w.close()
		if _, err := backup.Restore(t.Context(), forced(r)); err != nil {
			t.Fatal(err)
		}
		w = openWorld(t, at)
		if keys, err = w.ring.Tenant(t.Context(), w.tenant); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Open("test", token); !errors.Is(err, keyring.ErrEpoch) {
			t.Errorf("a token from between two restores is good: %v", err)
		}
		w.mustOpen(t, w.seal(t))
	})
}

func (w *world) get(c id.Customer) error {
	_, err := w.directory.Get(context.Background(), w.tenant, c)
	return err
}

func forced(r backup.Restoration) backup.Restoration {
	r.Force = true
	return r
}

func (w *world) seal(t *testing.T) string {
	t.Helper()
	keys, err := w.ring.Tenant(t.Context(), w.tenant)
	if err != nil {
		t.Fatal(err)
	}
	token, err := keys.Seal("test", []byte("token"))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (w *world) mustOpen(t *testing.T, token string) {
	t.Helper()
	keys, err := w.ring.Tenant(t.Context(), w.tenant)
	if err == nil {
		_, err = keys.Open("test", token)
	}
	if err != nil {
		t.Errorf("a token is dead: %v", err)
	}
}

// TestRestoredElsewhere is about the ledger when there is nothing at the target.
func TestRestoredElsewhere(t *testing.T) {
	engines(t, func(t *testing.T, engine sqldb.Engine) {
		w := openWorld(t, newPlace(t, engine))
		goes := w.mustSignUp(t, "goes@example.com")
		folder := w.backUp(t)
		if err := w.directory.Erase(t.Context(), w.tenant, goes, "test"); err != nil {
			t.Fatal(err)
		}
		newer := w.backUp(t)
		at := newPlace(t, engine)
		r := restoration(t, folder, at)
		if _, err := backup.Restore(t.Context(), r); !errors.Is(err, backup.ErrNoLedger) {
			t.Fatalf("without a ledger: %v", err)
		}
		other := openWorld(t, newPlace(t, engine))
		r.Ledger = filepath.Join(other.backUp(t), "ledger.jsonl")
		if _, err := backup.Restore(t.Context(), r); !errors.Is(err, keyring.ErrStore) {
			t.Fatalf("with another installation's ledger: %v", err)
		}
		r.Ledger = filepath.Join(newer, "ledger.jsonl")
		done, err := backup.Restore(t.Context(), r)
		if err != nil || done.Erased != 1 || done.NoLedger || done.Replaced {
			t.Fatalf("%+v, %v", done, err)
		}
		if err := openWorld(t, at).get(goes); !errors.Is(err, customer.ErrErased) {
			t.Errorf("back: %v", err)
		}
		at = newPlace(t, engine)
		done, err = backup.Restore(t.Context(), forced(restoration(t, folder, at)))
		if err != nil || !done.NoLedger {
			t.Fatalf("%+v, %v", done, err)
		}
		if err := openWorld(t, at).get(goes); err != nil {
			t.Errorf("without a ledger the customer cannot be known to be erased: %v", err)
		}
	})
}

// TestNothingIsChangedByARefusal gives broken backups and wrong keys.
func TestNothingIsChangedByARefusal(t *testing.T) {
	at := newPlace(t, sqldb.SQLite)
	w := openWorld(t, at)
	someone := w.mustSignUp(t, "someone@example.com")
	folder, second := w.backUp(t), w.backUp(t)
	w.close()
	refused := func(name string, want error, r backup.Restoration) {
		t.Helper()
		r.Force = true
		if _, err := backup.Restore(t.Context(), r); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		w := openWorld(t, at)
		defer w.close()
		if err := w.get(someone); err != nil {
			t.Errorf("%s: refused, and changed: %v", name, err)
		}
		if err := backup.Usable(t.Context(), w.db); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := restoration(t, folder, at)
	r.Root = root(t, 2)
	refused("another root key", keyring.ErrRoot, r)
	r = restoration(t, folder, at)
	r.Keys = filepath.Join(second, "keys")
	refused("keys of another backup", backup.ErrDamaged, r)
	refused("nothing there", backup.ErrDamaged, restoration(t, filepath.Join(folder, "nowhere"), at))

	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".txt") || strings.HasSuffix(path, ".jsonl") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		variants := map[string][]byte{"with more": append(append([]byte{}, text...), 0)}
		if len(text) > 0 {
			changed := append([]byte{}, text...)
			changed[len(changed)/2] ^= 1
			variants["changed"], variants["cut short"] = changed, text[:len(text)-1]
		}
		if filepath.Base(path) == "manifest.json" {
			delete(variants, "with more") // white space
			delete(variants, "cut short")
		}
		for name, variant := range variants {
			if err := os.WriteFile(path, variant, 0o600); err != nil {
				return err
			}
			refused(filepath.Base(path)+" "+name, backup.ErrDamaged, restoration(t, folder, at))
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		refused(filepath.Base(path)+" missing", backup.ErrDamaged, restoration(t, folder, at))
		return os.WriteFile(path, text, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Restore(t.Context(), forced(restoration(t, folder, at))); err != nil {
		t.Errorf("whole again: %v", err)
	}
}

// TestKilledInTheMiddle kills a restore at each part, and at the end.
func TestKilledInTheMiddle(t *testing.T) {
	engines(t, func(t *testing.T, engine sqldb.Engine) {
		for _, part := range []string{"database", "keys", "the end"} {
			t.Run(part, func(t *testing.T) {
				at := newPlace(t, engine)
				w := openWorld(t, at)
				stays, goes := w.mustSignUp(t, "stays@example.com"), w.mustSignUp(t, "goes@example.com")
				folder := w.backUp(t)
				if err := w.directory.Erase(t.Context(), w.tenant, goes, "test"); err != nil {
					t.Fatal(err)
				}
				w.close()

				child := exec.Command(os.Args[0])
				child.Env = append(os.Environ(), "BACKUP_TEST_KILL_AT="+part, "BACKUP_TEST_FOLDER="+folder,
					"BACKUP_TEST_DATABASE="+at.database, "BACKUP_TEST_KEYS="+at.keys)
				if output, err := child.CombinedOutput(); err == nil || child.ProcessState.ExitCode() != -1 {
					t.Fatalf("%v: %s", err, output)
				}
				unusable(t, at)

				r := restoration(t, folder, at)
				r.Finish = func(context.Context) error { return errors.New("the disk is full") }
				if _, err := backup.Restore(t.Context(), r); err == nil || !strings.Contains(err.Error(), "the disk is full") {
					t.Fatalf("%v", err)
				}
				unusable(t, at)
				// Neither --force nor a ledger: that was settled when it began.
				done, err := backup.Restore(t.Context(), restoration(t, folder, at))
				if err != nil {
					t.Fatal(err)
				}
				if done.NoLedger || done.Erased != 1 {
					t.Errorf("%+v", done)
				}
				w = openWorld(t, at)
				for _, db := range []*sqldb.DB{w.db, w.store} {
					if err := backup.Usable(t.Context(), db); err != nil {
						t.Error(err)
					}
				}
				if err := w.get(stays); err != nil {
					t.Error(err)
				}
				if err := w.get(goes); !errors.Is(err, customer.ErrErased) {
					t.Errorf("back: %v", err)
				}
			})
		}
	})
}

// unusable makes sure that nobody would serve what a restore has left.
func unusable(t *testing.T, at place) {
	t.Helper()
	for _, url := range []string{at.database, at.keys} {
		db, err := sqldb.Open(t.Context(), sqldb.Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		if err := backup.Usable(t.Context(), db); !errors.Is(err, backup.ErrUnfinished) {
			t.Errorf("half a database is served: %v", err)
		}
		db.Close()
	}
}

// TestNodesAndRestoresKeepEachOtherAway is about PostgreSQL, where a lock must
// be had that SQLite's handles have anyway.
func TestNodesAndRestoresKeepEachOtherAway(t *testing.T) {
	at := newPlace(t, sqldb.Postgres)
	w := openWorld(t, newPlace(t, sqldb.Postgres))
	folder := w.backUp(t)
	lost := func(err error) { t.Errorf("lost: %v", err) }
	hold, err := backup.Serve(t.Context(), lost, at.database, at.keys)
	if err != nil {
		t.Fatal(err)
	}
	second, err := backup.Serve(t.Context(), lost, at.database, at.keys)
	if err != nil {
		t.Fatalf("a second node: %v", err)
	}
	hold.Release()
	r := forced(restoration(t, folder, at))
	if _, err := backup.Restore(t.Context(), r); !errors.Is(err, sqldb.ErrLocked) {
		t.Fatalf("beside a node: %v", err)
	}
	second.Release()
	handle, err := sqldb.Open(t.Context(), sqldb.Options{URL: at.keys})
	if err != nil {
		t.Fatal(err)
	}
	if err := handle.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Restore(t.Context(), r); !errors.Is(err, sqldb.ErrLocked) {
		t.Fatalf("beside a node that has lost its hold: %v", err)
	}
	handle.Close()
	met := 0
	r.Logger = hooked(func(string) {
		met++
		if _, err := backup.Serve(t.Context(), lost, at.database); !errors.Is(err, backup.ErrUnfinished) {
			t.Errorf("a node starts in the middle of a restore: %v", err)
		}
		if _, err := backup.Restore(t.Context(), forced(restoration(t, folder, at))); !errors.Is(err, sqldb.ErrLocked) {
			t.Errorf("two restores at once: %v", err)
		}
	})
	if _, err := backup.Restore(t.Context(), r); err != nil || met != 2 {
		t.Fatalf("%v, %d", err, met)
	}
	hold, err = backup.Serve(t.Context(), lost, at.database, at.keys)
	if err != nil {
		t.Fatalf("afterwards: %v", err)
	}
	hold.Release()
}

// TestReleases restores a backup of the previous release, and refuses one of
// the next.
func TestReleases(t *testing.T) {
	engines(t, func(t *testing.T, engine sqldb.Engine) {
		w := openWorld(t, newPlace(t, engine))
		err := w.db.Write(t.Context(), func(tx *sqldb.Tx) error {
			tx.Queue(`INSERT INTO money (id, amount) VALUES (7, 70)`)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		folder := w.backUp(t)
		first, err := fs.ReadFile(every.FS, "migrations/001_every.sql")
		if err != nil {
			t.Fatal(err)
		}
		next := sqlSet("every", "001_every.sql", string(first), "002_currency.sql", `
ALTER TABLE money ADD COLUMN currency TEXT NOT NULL DEFAULT '';
UPDATE money SET currency = 'EUR';`)
		at := newPlace(t, engine)
		r := forced(restoration(t, folder, at))
		r.Migrations[len(r.Migrations)-1] = next
		if _, err := backup.Restore(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		got := openWorld(t, at)
		var currency string
		if err := got.db.QueryRow(t.Context(), `SELECT currency FROM money WHERE id = 7 AND amount = 70`).Scan(&currency); err != nil || currency != "EUR" {
			t.Errorf("the migration did not see what was restored: %q, %v", currency, err)
		}
		r = forced(restoration(t, got.backUp(t), newPlace(t, engine)))
		if _, err := backup.Restore(t.Context(), r); err == nil || !strings.Contains(err.Error(), "every/002_currency") {
			t.Errorf("a later release's backup: %v", err)
		}
		r.Migrations, r.Known = r.Migrations[:len(r.Migrations)-1], []sqldb.MigrationSet{next}
		if _, err := backup.Restore(t.Context(), r); err != nil {
			t.Errorf("a set that is known and not this program's: %v", err)
		}
	})
}

// TestANodeThatLosesItsHold takes it again, and stops when a restore came in
// between.
func TestANodeThatLosesItsHold(t *testing.T) {
	at := newPlace(t, sqldb.Postgres)
	w := openWorld(t, newPlace(t, sqldb.Postgres))
	folder := w.backUp(t)
	cut := func() {
		t.Helper()
		db, err := sqldb.Open(t.Context(), sqldb.Options{URL: at.database})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		rows, err := db.Query(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'cardea-hold'`)
		if err != nil || !rows.Next() {
			t.Fatalf("there is no hold: %v", err)
		}
	}
	lost := make(chan error, 1)
	hold, err := backup.Serve(t.Context(), func(err error) { lost <- err }, at.database)
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Release()
	cut()
	time.Sleep(3 * time.Second)
	if _, err := backup.Restore(t.Context(), forced(restoration(t, folder, at))); !errors.Is(err, sqldb.ErrLocked) {
		t.Fatalf("the hold was not taken again: %v", err)
	}
	cut()
	r := forced(restoration(t, folder, at))
	r.Logger = hooked(func(string) {
		select {
		case err := <-lost:
			if !errors.Is(err, backup.ErrUnfinished) {
				t.Errorf("lost: %v", err)
			}
			lost <- err
		case <-time.After(10 * time.Second):
			t.Error("the node does not learn of the restore")
		}
	})
	if _, err := backup.Restore(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}
