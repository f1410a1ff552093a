package sqldb_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cardea-id/cardea/internal/sqldb"
)

func TestExclusiveLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data.db")
	open := func(lock *sqldb.Lock) (*sqldb.DB, error) {
		return sqldb.Open(t.Context(), sqldb.Options{URL: "sqlite:" + path, Lock: lock})
	}
	one, err := open(nil)
	if err != nil {
		t.Fatal(err)
	}
	two, err := open(nil)
	if err != nil {
		t.Fatalf("two servers cannot share a file: %v", err)
	}
	if _, err := sqldb.LockExclusive(path); !errors.Is(err, sqldb.ErrLocked) {
		t.Errorf("locked under two servers: %v", err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sqldb.LockExclusive(path); !errors.Is(err, sqldb.ErrLocked) {
		t.Errorf("locked under a server: %v", err)
	}
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	lock, err := sqldb.LockExclusive(path)
	if err != nil {
		t.Fatalf("not locked though nobody has it open: %v", err)
	}
	if _, err := open(nil); !errors.Is(err, sqldb.ErrLocked) {
		t.Errorf("opened under an exclusive lock: %v", err)
	}
	if _, err := sqldb.LockExclusive(path); !errors.Is(err, sqldb.ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	under, err := open(lock)
	if err != nil {
		t.Fatalf("whoever holds the lock cannot open: %v", err)
	}
	if err := under.Migrate(t.Context(), counters...); err != nil {
		t.Error(err)
	}
	if err := under.Close(); err != nil {
		t.Error(err)
	}
	if _, err := open(nil); !errors.Is(err, sqldb.ErrLocked) {
		t.Errorf("closing the handle gave up the lock: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	last, err := open(nil)
	if err != nil {
		t.Fatalf("released, it is still locked: %v", err)
	}
	last.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
}

func TestURLsThatAreRefused(t *testing.T) {
	for _, url := range []string{"", "file.db", "sqlite:relative.db", "mysql://x", "sqlite:/nowhere/at/all.db", "postgres://127.0.0.1:1/x?connect_timeout=1"} {
		if db, err := sqldb.Open(t.Context(), sqldb.Options{URL: url}); err == nil {
			db.Close()
			t.Errorf("%q is opened", url)
		}
	}
}
