package backup_test

import ("testing";"time";"strings"
"github.com/cardea-id/cardea/internal/backup"
"github.com/cardea-id/cardea/internal/sqldb")

func TestTmpSpeed(t *testing.T) {
	engines(t, func(t *testing.T, e sqldb.Engine) {
		w := openWorld(t, newPlace(t, e))
		const n = 200000
		for b := 0; b < n; b += 5000 {
			err := w.db.Write(t.Context(), func(tx *sqldb.Tx) error {
				for i := b; i < b+5000; i++ { tx.Queue(`INSERT INTO every (id, "text", flag, data, at) VALUES ($1,$2,$3,$4,$5)`, i, "some text of some length", true, []byte(strings.Repeat("x", 150)), i) }
				return nil })
			if err != nil { t.Fatal(err) }
		}
		s := time.Now(); f := w.backUp(t); t.Logf("backup %v", time.Since(s))
		s = time.Now(); if _, err := backup.Restore(t.Context(), forced(restoration(t, f, newPlace(t, e)))); err != nil { t.Fatal(err) }
		t.Logf("restore %v", time.Since(s))
	})
}
