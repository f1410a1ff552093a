package customer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

// TestPlansOfSearching: SQLite, which has no statistics of a table before
// somebody asks for them, reads no more of an index than it has to. PostgreSQL
// chooses by what is there, and the benchmark tells.
func TestPlansOfSearching(t *testing.T) {
	db := dbtest.Open(t, sqldb.SQLite, []sqldb.MigrationSet{Migrations()})
	for query, want := range map[string]string{
		sqlMatches:   "customer_prefix_lookup (tenant=? AND (lookup,customer)>(?,?) AND lookup<?)",
		sqlLookupsOf: "(tenant=? AND customer=?)",
		`DELETE FROM customer_prefix WHERE tenant = $1 AND customer = $2`:                                                 "(tenant=? AND customer=?)",
		`DELETE FROM customer_prefix WHERE tenant = $1 AND customer = $2 AND source = $3`:                                 "(tenant=? AND customer=? AND source=?)",
		`SELECT customer FROM customer WHERE tenant = $1 AND customer > $2 AND status <> $3 ORDER BY customer LIMIT $4`:   "(tenant=? AND customer>?)",
		`SELECT customer FROM customer WHERE tenant = $1 AND customer > $2 AND customer <= $3 ORDER BY customer LIMIT $4`: "(tenant=? AND customer>? AND customer<?)",
		`SELECT customer FROM identifier_holder WHERE tenant = $1 AND kind = $2 AND lookup = $3`:                          "(tenant=? AND kind=? AND lookup=?)",
	} {
		args := []any{"t", []byte("l"), "c", []byte("m"), 5}
		rows, err := db.Query(t.Context(), "EXPLAIN QUERY PLAN "+query, args[:strings.Count(query, "$")]...)
		if err != nil {
			t.Fatal(err)
		}
		plan := ""
		for rows.Next() {
			var node, parent, unused int64
			var line string
			if err := rows.Scan(&node, &parent, &unused, &line); err != nil {
				t.Fatal(err)
			}
			plan += fmt.Sprintln(line)
		}
		if !strings.Contains(plan, want) || strings.Contains(plan, "TEMP B-TREE") || strings.Contains(plan, "SCAN") {
			t.Errorf("%s\nis done so:\n%s\nand not by %s", query, plan, want)
		}
	}
}
