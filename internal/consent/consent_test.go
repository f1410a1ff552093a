package consent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/consent"
	"github.com/cardea-id/cardea/internal/session/sessiontest"
	"github.com/cardea-id/cardea/internal/sqldb"
)

func TestAcceptTerms(t *testing.T) {
	sessiontest.Each(t, []sqldb.MigrationSet{consent.Migrations()}, func(t *testing.T, w *sessiontest.World) {
		c := consent.New(consent.Options{DB: w.DB, Log: w.Log})
		who, _ := w.NewCustomer(t)
		accepted := func(version string) bool {
			t.Helper()
			got, err := c.TermsAccepted(t.Context(), w.Tenant.ID, who, version)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		accept := func(version, title, language string) {
			t.Helper()
			w.Write(t, func(tx *sqldb.Tx) error {
				return c.AcceptTerms(tx, consent.Acceptance{Tenant: w.Tenant.ID, Customer: who, Version: version,
					Documents: []consent.Document{{Title: title, URL: "https://shop.example/terms"}}, Language: language, Channel: "pages"})
			})
		}
		if accepted("2026-01") {
			t.Error("accepted before it was asked")
		}
		at := w.Clock.Now()
		accept("2026-01", "الشروط", "ar")
		w.Clock.Advance(time.Hour)
		accept("2026-01", "Terms", "en") // the first stands
		if !accepted("2026-01") || accepted("2026-02") {
			t.Error("another version is accepted than was")
		}
		w.Clock.Advance(time.Hour)
		accept("2026-02", "Terms", "en")
		if !accepted("2026-01") || !accepted("2026-02") {
			t.Error("a version that was accepted is not any more")
		}
		list, err := c.List(t.Context(), w.Tenant.ID, who, time.Time{}, 10)
		if err != nil || len(list) != 2 || list[0].Version != "2026-02" {
			t.Fatalf("listed %+v, %v", list, err)
		}
		first := list[1]
		if !first.At.Equal(at) || first.Language != "ar" || first.Channel != "pages" || len(first.Documents) != 1 || first.Documents[0].Title != "الشروط" {
			t.Errorf("the proof is %+v", first)
		}
		if page, err := c.List(t.Context(), w.Tenant.ID, who, list[0].At, 10); err != nil || len(page) != 1 {
			t.Errorf("the second page is %+v, %v", page, err)
		}
		if n := w.Events(t, "consent.terms.accepted"); n != 2 {
			t.Errorf("%d events", n)
		}
		var data string
		if err := w.DB.QueryRow(t.Context(), `SELECT data FROM event WHERE type = $1 ORDER BY at LIMIT 1`, "consent.terms.accepted").Scan(&data); err != nil || !strings.Contains(data, "2026-01") {
			t.Errorf("the event tells %s, %v", data, err)
		}
		if err := w.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			return c.AcceptTerms(tx, consent.Acceptance{Tenant: w.Tenant.ID, Customer: who})
		}); err == nil {
			t.Error("terms without a version are accepted")
		}
		w.Write(t, func(tx *sqldb.Tx) error { return c.EraseCustomer(tx, w.Tenant.ID, who) })
		if accepted("2026-01") {
			t.Error("it is not erased")
		}
	})
}
