package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// SECURITY 84: what somebody does to the record in the database is found by a
// command; and by an anchor also that the whole of it was made anew.
func TestTheRecordIsVerified(t *testing.T) {
	engines(t, func(t *testing.T, engine sqldb.Engine) {
		m := newMachine(t, engine)
		m.here("tenant", "create", "--slug", "shop", "--name", "Shop")
		m.serve()
		for _, address := range []string{"ana@example.com", "ben@example.com", "cleo@example.com"} {
			m.here("customer", "create", "--tenant", "shop", "--email", address, "--verified")
		}
		db, err := sqldb.Open(t.Context(), sqldb.Options{URL: m.urls[0], MaxConns: 2})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		for waiting := 1; waiting > 0; time.Sleep(20 * time.Millisecond) {
			if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM event_pending`).Scan(&waiting); err != nil {
				t.Fatal(err)
			}
		}
		anchor := filepath.Join(m.folder, "anchor.json")
		m.here("event", "anchor", "--out", anchor)
		m.here("customer", "create", "--tenant", "shop", "--email", "dora@example.com", "--verified")
		for _, with := range [][]string{nil, {"--anchor", anchor}} {
			if out := m.here(append([]string{"event", "verify"}, with...)...); !strings.Contains(out, "all are as they were made") {
				t.Errorf("%v: %s", with, out)
			}
		}
		write := func(statement string) {
			t.Helper()
			if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := tx.Exec(statement); return err }); err != nil {
				t.Fatal(err)
			}
		}
		write(`UPDATE event SET actor = 'nobody' WHERE type = 'customer.created'`)
		m.fails(exitFailed, "the record is not as it was made", m.at("event", "verify")...)
		if out := m.run(m.at("event", "verify")...).out; !strings.Contains(out, "the event is not as it was made (evt_") {
			t.Errorf("it says %s", out)
		}
		// Everything gone, as if nothing had ever happened.
		write(`DELETE FROM event_position`)
		write(`DELETE FROM event`)
		write(`UPDATE event_lease SET position = 0, chain = NULL WHERE role = 'order'`)
		m.here("event", "verify")
		m.fails(exitFailed, "the record is not as it was made", m.at("event", "verify", "--anchor", anchor)...)
		if out := m.run(m.at("event", "verify", "--anchor", anchor)...).out; !strings.Contains(out, "does not lead through the anchor") {
			t.Errorf("it says %s", out)
		}
		if err := os.WriteFile(anchor, []byte(`[]`), 0o600); err != nil {
			t.Fatal(err)
		}
		m.fails(exitFailed, "is no anchor", m.at("event", "verify", "--anchor", anchor)...)
	})
}
