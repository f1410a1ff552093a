package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// The ledger is written to one name every day, and over nothing else that has the
// name.
func TestTheLedgerReplacesTheOneBefore(t *testing.T) {
	m, other := newMachine(t, sqldb.SQLite), newMachine(t, sqldb.SQLite)
	folder := t.TempDir()
	ledger := filepath.Join(folder, "ledger.jsonl")
	content := func() string {
		t.Helper()
		text, err := os.ReadFile(ledger)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	m.here("tenant", "create", "--slug", "shop", "--name", "Shop")
	var erased []string
	for _, address := range []string{"ana@example.com", "ben@example.com"} {
		made := parse[customerView](t, m.here("customer", "create", "--tenant", "shop", "--email", address, "--verified", "--json"))
		m.here("customer", "erase", "--yes", "--tenant", "shop", made.ID)
		erased = append(erased, made.ID)
		m.here("keys", "ledger", "--out", ledger)
		for _, who := range erased {
			if !strings.Contains(content(), who) {
				t.Errorf("%s is not in the ledger", who)
			}
		}
	}
	newest := content()
	if at, err := os.Stat(ledger); err != nil || at.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", at.Mode(), err)
	}

	other.fails(exitFailed, "no former ledger of this key store", other.at("keys", "ledger", "--out", ledger)...)
	longer := strings.Replace(newest, `{"entries":2}`, strings.Replace(strings.Split(newest, "\n")[1], erased[0], "cus_06c1x5m8kz7v9b2n4q6r8t0w1y", 1)+"\n"+`{"entries":3}`, 1)
	for _, there := range []string{"a key", longer} {
		if err := os.WriteFile(ledger, []byte(there), 0o600); err != nil {
			t.Fatal(err)
		}
		m.fails(exitFailed, "left as it is", m.at("keys", "ledger", "--out", ledger)...)
		if content() != there {
			t.Errorf("%q was written over", there)
		}
	}
	// One that was cut short is replaced by the whole.
	if err := os.WriteFile(ledger, []byte(newest[:len(newest)-20]), 0o600); err != nil {
		t.Fatal(err)
	}
	m.here("keys", "ledger", "--out", ledger)
	if content() != newest {
		t.Error("the ledger that was cut short is still there")
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("%v is left, %v", left, err)
	}
}
