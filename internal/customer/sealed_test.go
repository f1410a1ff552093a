package customer_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// dump reads every column of every row of a database.
func dump(t *testing.T, db *sqldb.DB) map[string][]byte {
	t.Helper()
	tables, err := db.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]byte{}
	for _, table := range tables {
		for _, column := range table.Columns {
			rows, err := db.Query(t.Context(), `SELECT `+column.Name+` FROM `+table.Name)
			if err != nil {
				t.Fatal(err)
			}
			name := table.Name + "." + column.Name
			for rows.Next() {
				switch column.Type {
				case "BYTEA":
					var value []byte
					if err := rows.Scan(&value); err != nil {
						t.Fatal(err)
					}
					found[name] = append(append(found[name], value...), '\n')
				case "TEXT":
					var value string
					if err := rows.Scan(&value); err != nil {
						t.Fatal(err)
					}
					found[name] = append(append(found[name], value...), '\n')
				}
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return found
}

// TestNothingPersonalLiesOpen looks for what was told of a customer in the whole
// database, plain and in the usual spellings of bytes.
func TestNothingPersonalLiesOpen(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		who, err := w.create(t, map[string]any{"given_name": "Quirina", "address": map[string]any{"locality": "Zwolle-Nord"}}, verified(t, "Quirina.Vermeulen@Sealed.example"))
		if err != nil {
			t.Fatal(err)
		}
		phone, err := identifier.Normalise(identifier.Phone, "+31612345678", identifier.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.add(t, who, customer.NewIdentifier{Normalised: phone}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.add(t, who, unverified(t, "second@sealed.example")); err != nil {
			t.Fatal(err)
		}
		if err := w.verify(t, who, "second@sealed.example"); err != nil {
			t.Fatal(err)
		}
		key := w.key(t, who)
		w.Write(t, func(tx *sqldb.Tx) error {
			return w.Directory.SetProfile(tx, w.keys(t), key, w.Tenant.ID, who, w.get(t, who).Revision, map[string]any{"given_name": "Quirina", "family_name": "Vermeulen"}, string(who))
		})
		w.SignIn(t, who, true)
		contents := dump(t, w.DB)
		for _, table := range []string{"customer.profile", "customer_identifier.value", "event.personal"} {
			if len(contents[table]) < 50 {
				t.Fatalf("%s holds %d bytes: nothing was looked at", table, len(contents[table]))
			}
		}
		for _, secret := range []string{"quirina", "vermeulen", "sealed.example", "second@", "31612345678", "612345678", "Zwolle", "192.0.2.7", "Firefox"} {
			for name, content := range contents {
				spellings := []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))[:len(secret)], fmt.Sprintf("%q", secret)}
				for _, spelling := range spellings {
					if bytes.Contains(bytes.ToLower(content), []byte(strings.ToLower(spelling))) {
						t.Errorf("%s holds %q", name, spelling)
					}
				}
			}
		}
	})
}

// TestSealedValuesStayInTheirRows: what one row has sealed does not open in
// another row, of the same customer or of another.
func TestSealedValuesStayInTheirRows(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		one := w.created(t, verified(t, "one@example.com"), verified(t, "uno@example.com"))
		two := w.created(t, verified(t, "two@example.com"))
		swap := func(statement string, args ...any) {
			t.Helper()
			w.Write(t, func(tx *sqldb.Tx) error {
				n, err := tx.Exec(statement, args...)
				if n == 0 {
					t.Error("nothing was changed")
				}
				return err
			})
		}
		ids := w.get(t, one).Identifiers
		swap(`UPDATE customer_identifier SET value = (SELECT value FROM customer_identifier WHERE identifier = $1) WHERE identifier = $2`, ids[0].ID, ids[1].ID)
		if got, err := w.Directory.Get(t.Context(), w.Tenant.ID, one); err == nil {
			t.Errorf("an address moved to another row reads %v", got.Identifiers)
		}
		swap(`UPDATE customer SET profile = (SELECT profile FROM customer WHERE customer = $1) WHERE customer = $2`, one, two)
		if got, err := w.Directory.Get(t.Context(), w.Tenant.ID, two); err == nil {
			t.Errorf("a profile moved to another customer reads %v", got.Profile)
		}
	})
}
