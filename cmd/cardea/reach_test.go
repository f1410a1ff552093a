package main

import (
	"crypto/sha1"
	"fmt"
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
