package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// TestFindCustomers: with and without a server, by pages that nobody sees.
func TestFindCustomers(t *testing.T) {
	engines(t, func(t *testing.T, engine sqldb.Engine) {
		for _, served := range []bool{false, true} {
			m := newMachine(t, engine)
			if served {
				m.serve()
			}
			file := filepath.Join(m.folder, "settings.yaml")
			if err := os.WriteFile(file, []byte("search: {identifiers: [email], attributes: [family_name]}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			m.here("tenant", "create", "--slug", "plain", "--name", "Plain")
			m.here("tenant", "create", "--slug", "shop", "--name", "Shop", "--settings", file)
			m.here("customer", "create", "--tenant", "shop", "--email", "ana@example.com", "--verified", "--set", "given_name=Ana", "--set", "family_name=Lopes")
			if got := m.here("customer", "find", "--tenant", "shop", "LOP"); !strings.Contains(got, "Ana Lopes") || !strings.Contains(got, "ana@example.com") || !strings.Contains(got, "profile.family_name") || strings.Contains(got, "may be more") {
				t.Error(got)
			}
			if got := m.here("customer", "find", "--tenant", "shop", "nobody"); got != "Nobody was found.\n" {
				t.Error(got)
			}
			m.fails(exitFailed, "Type more of it", m.at("customer", "find", "--tenant", "shop", "lo")...)
			m.fails(exitFailed, "email, profile.family_name", m.at("customer", "find", "--tenant", "shop", "--in", "phone", "+44")...)
			m.fails(exitFailed, "under search in its settings first", m.at("customer", "find", "--tenant", "plain", "ana")...)
			m.fails(exitUsage, "--limit", m.at("customer", "find", "--tenant", "shop", "--limit=-1", "lop")...)
			for n := range 4 {
				m.here("customer", "create", "--tenant", "shop", "--email", fmt.Sprintf("someone-%d@example.com", n), "--verified")
			}
			if got := m.here("customer", "find", "--tenant", "shop", "--limit", "3", "someone"); strings.Count(got, "someone-") != 2*3 || !strings.Contains(got, "There may be more") {
				t.Error(got)
			}
			if found := parse[[]matchView](t, m.here("customer", "find", "--tenant", "shop", "--limit", "0", "--json", "someone")); len(found) != 4 || found[0].In != "email" || found[0].Status != "active" {
				t.Errorf("%+v", found)
			}
		}
	})
}
