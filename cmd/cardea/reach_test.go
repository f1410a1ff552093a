package main

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/sqldb"
)

func TestBreachedBuild(t *testing.T) {
	m := newMachine(t, sqldb.SQLite)
	var lines []string
	for n := range 50 {
		lines = append(lines, fmt.Sprintf("%X:7", sha1.Sum(fmt.Appendf(nil, "leaked %d", n))))
	}
	slices.Sort(lines)
	from, to := filepath.Join(m.folder, "published.txt"), filepath.Join(m.folder, "breached.bin")
	if err := os.WriteFile(from, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := m.must("breached", "build", "--from", from, "--out", to); !strings.Contains(out, "50 passwords") {
		t.Errorf("%q", out)
	}
	made, err := credential.OpenBreachedList(to)
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
}

// A key store that is lost for good is replaced by one that is named, and by
// nothing less than saying so.
func TestAdoptKeyStore(t *testing.T) {
	m := newMachine(t, sqldb.SQLite)
	m.here("tenant", "create", "--slug", "shop", "--name", "Shop")
	for _, name := range []string{"keys.db", "keys.db-wal", "keys.db-shm"} {
		if err := os.Remove(filepath.Join(m.folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	m.fails(exitFailed, "cardea keys adopt", m.at("tenant", "list")...)
	m.fails(exitUsage, "--lost", m.at("keys", "adopt")...)
	m.here("keys", "adopt", "--lost")
	if out := m.here("tenant", "list"); !strings.Contains(out, "shop") {
		t.Errorf("%q", out)
	}
}
