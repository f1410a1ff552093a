package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/check"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// The command runs beside a server and without one, tells what it found in
// words and in JSON, and by its exit code.
func TestCheck(t *testing.T) {
	engines(t, func(t *testing.T, engine sqldb.Engine) {
		m := newMachine(t, engine)
		has := func(result result, rule string) bool {
			return slices.ContainsFunc(parse[[]check.Finding](t, result.out), func(f check.Finding) bool { return f.ID == rule && f.Do != "" && f.Means != "" })
		}
		// Nothing is made by looking.
		got := m.run(m.at("check", "--json")...)
		const want = "never-started"
		if got.code != exitFailed || !has(got, want) || has(got, "migrations-pending") || has(got, "database-unreachable") {
			t.Errorf("before there is anything: %d\n%s%s", got.code, got.out, got.err)
		}
		if _, err := os.Stat(m.folder + "/cardea.db"); err == nil {
			t.Error("a check made the database")
		}
		stop := m.serve()
		m.here("backup", "--out", m.folder+"/backup")
		for range 2 {
			got = m.run(m.at("check", "--json")...)
			if got.code != exitFailed || !has(got, "config-weak") || has(got, "backup-none") || has(got, want) {
				t.Errorf("%d\n%s%s", got.code, got.out, got.err)
			}
			stop()
		}
		if got := m.run(m.at("check")...); !strings.Contains(got.out, "WEAKNESS  config-weak") || !strings.Contains(got.err, "weakness") {
			t.Errorf("%s%s", got.out, got.err)
		}
		if engine == sqldb.SQLite {
			// How full this machine's disk is, is no matter of the test.
			faults := slices.DeleteFunc(parse[[]check.Finding](t, m.run(m.at("check", "--json")...).out), func(f check.Finding) bool { return f.Severity != check.Fault })
			full := slices.ContainsFunc(faults, func(f check.Finding) bool { return f.ID == "disk-full" })
			want := exitDone
			if full {
				want = exitFailed
			}
			if got := m.run(m.at("check", "--fail-on", "fault")...); got.code != want || len(faults) > 1 || len(faults) == 1 && !full {
				t.Errorf("%d\n%s%s", got.code, got.out, got.err)
			}
		}
		if err := os.WriteFile(m.config, []byte("listen: nonsense\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := m.run(m.at("check", "--json")...); got.code != exitUsage || !has(got, "config-fault") {
			t.Errorf("%d\n%s%s", got.code, got.out, got.err)
		}
	})
}
