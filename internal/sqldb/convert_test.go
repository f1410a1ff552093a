package sqldb_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

var values = []sqldb.MigrationSet{set("value", "001_value.sql", `
CREATE TABLE value (
	id BIGINT NOT NULL PRIMARY KEY,
	t TEXT, n BIGINT, b BOOLEAN, y BYTEA
);`)}

type (
	state  int8
	flag   bool
	secret []byte
	key    [4]byte
)

func TestValuesGoAndComeBack(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123_456_000, time.UTC)
	text := "x"
	cases := []struct {
		name   string
		column string
		give   any
		want   any // nil means give
	}{
		{"string", "t", "Olive & Thyme ✓ \" ' \\ $1", nil},
		{"empty string", "t", "", nil},
		{"long string", "t", strings.Repeat("0123456789", 20_000), nil},
		{"typed string", "t", id.Customer("cus_x"), nil},
		{"int", "n", 42, nil},
		{"int64 bounds", "n", int64(math.MinInt64), nil},
		{"int64 upper", "n", int64(math.MaxInt64), nil},
		{"typed int", "n", state(-3), nil},
		{"uint32", "n", uint32(math.MaxUint32), nil},
		{"duration", "n", 90 * time.Second, nil},
		{"time", "n", at, nil},
		{"time elsewhere", "n", at.In(time.FixedZone("", -7200)), at},
		{"time before 1970", "n", time.Date(1912, 6, 23, 0, 0, 0, 1000, time.UTC), nil},
		{"zero time", "n", time.Time{}, nil},
		{"time as number", "n", at, at.UnixMicro()},
		{"zero time as number", "n", time.Time{}, int64(0)},
		{"bool", "b", true, nil},
		{"false", "b", false, nil},
		{"typed bool", "b", flag(true), nil},
		{"bytes", "y", []byte{0, 1, 0xff, '\\'}, nil},
		{"no bytes", "y", []byte{}, nil},
		{"nil bytes", "y", []byte(nil), nil},
		{"long bytes", "y", bytes.Repeat([]byte{0xfe, 0}, 100_000), nil},
		{"typed bytes", "y", secret("secret"), nil},
		{"raw JSON as bytes", "y", json.RawMessage(`{"a":1}`), nil},
		{"array", "y", key{1, 2, 3, 4}, nil},
		{"pointer", "t", &text, nil},
		{"nil pointer", "t", (*string)(nil), nil},
		{"null string", "t", sql.Null[string]{}, nil},
		{"not null string", "t", sql.Null[string]{V: "a", Valid: true}, nil},
		{"null time", "n", sql.Null[time.Time]{}, nil},
		{"not null time", "n", sql.Null[time.Time]{V: at, Valid: true}, nil},
		{"not null bool", "b", sql.NullBool{Bool: true, Valid: true}, nil},
		{"any text", "t", "a", any("a")},
	}
	dbtest.Each(t, values, func(t *testing.T, db *sqldb.DB) {
		for i, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				want := c.want
				if want == nil {
					want = c.give
				}
				got := reflect.New(reflect.TypeOf(want))
				err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
					return tx.QueryRow(`INSERT INTO value (id, `+c.column+`) VALUES ($1, $2) RETURNING `+c.column, i, c.give).Scan(got.Interface())
				})
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got.Elem().Interface(), want) {
					t.Errorf("written, it comes back as %.100v, want %.100v", got.Elem(), want)
				}
				got.Elem().SetZero()
				if err := db.QueryRow(t.Context(), `SELECT `+c.column+` FROM value WHERE id = $1`, i).Scan(got.Interface()); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got.Elem().Interface(), want) {
					t.Errorf("read, it comes back as %.100v, want %.100v", got.Elem(), want)
				}
			})
		}
	})
}

func TestAnyTakesWhatTheColumnHolds(t *testing.T) {
	dbtest.Each(t, values, func(t *testing.T, db *sqldb.DB) {
		var got [5]any
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			return tx.QueryRow(`INSERT INTO value (id, t, b, y) VALUES (1, 'a', TRUE, $1) RETURNING id, t, n, b, y`, []byte{7}).
				Scan(&got[0], &got[1], &got[2], &got[3], &got[4])
		})
		want := [5]any{int64(1), "a", nil, true, []byte{7}}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%#v, %v", got, err)
		}
	})
}

func TestSumsAndComparisonsComeAlike(t *testing.T) {
	dbtest.Each(t, values, func(t *testing.T, db *sqldb.DB) {
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			tx.Queue(`INSERT INTO value (id, n) VALUES (1, 40), (2, 2)`)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var sum, number int64
		var none *int64
		var yes bool
		err = db.QueryRow(t.Context(), `SELECT sum(n), count(*), (SELECT max(n) FROM value WHERE id > 2), count(*) = 2 FROM value`).Scan(&sum, &number, &none, &yes)
		if err != nil || sum != 42 || number != 2 || none != nil || !yes {
			t.Errorf("%d, %d, %v, %v, %v", sum, number, none, yes, err)
		}
	})
}

func TestWhatIsRefused(t *testing.T) {
	scan := func(column string, dest any) func(*testing.T, *sqldb.DB) error {
		return func(t *testing.T, db *sqldb.DB) error {
			return db.QueryRow(t.Context(), `SELECT `+column+` FROM value`).Scan(dest)
		}
	}
	write := func(text string, args ...any) func(*testing.T, *sqldb.DB) error {
		return func(t *testing.T, db *sqldb.DB) error {
			return db.Write(t.Context(), func(tx *sqldb.Tx) error {
				_, err := tx.Exec(text, args...)
				return err
			})
		}
	}
	queued := func(text string, args ...any) func(*testing.T, *sqldb.DB) error {
		return func(t *testing.T, db *sqldb.DB) error {
			return db.Write(t.Context(), func(tx *sqldb.Tx) error { tx.Queue(text, args...); return nil })
		}
	}
	const insert = `INSERT INTO value (id, t) VALUES (2, $1)`
	cases := map[string]func(*testing.T, *sqldb.DB) error{
		"NULL into a string":       scan("t", new(string)),
		"NULL into a typed string": scan("t", new(id.Customer)),
		"NULL into a number":       scan("t", new(int64)),
		"NULL into a bool":         scan("t", new(bool)),
		"NULL into a time":         scan("t", new(time.Time)),
		"a number into a string":   scan("n", new(string)),
		"a large number into int8": scan("n", new(int8)),
		"a negative into uint":     scan("-n", new(uint64)),
		"bytes into a short array": scan("y", new(key)),
		"a value as destination":   scan("n", 1),
		"too few destinations": func(t *testing.T, db *sqldb.DB) error {
			var n int
			return db.QueryRow(t.Context(), `SELECT id, n FROM value`).Scan(&n)
		},
		"a NUL in text":                write(insert, "a\x00b"),
		"a NUL in queued text":         queued(insert, "a\x00b"),
		"a struct":                     write(insert, struct{}{}),
		"a list":                       write(insert, []string{"a"}),
		"a uint64 that does not fit":   write(`INSERT INTO value (id) VALUES ($1)`, uint64(math.MaxUint64)),
		"too few arguments":            write(`INSERT INTO value (id, t) VALUES ($1, $2)`, 2),
		"too many arguments":           write(insert, "a", "b"),
		"two statements":               write(`DELETE FROM value; DELETE FROM value`),
		"another kind of placeholder":  write(`DELETE FROM value WHERE id = ?`, 1),
		"a query that writes (SELECT)": func(t *testing.T, db *sqldb.DB) error { _, err := db.Query(t.Context(), `SELEC`); return err },
	}
	dbtest.Each(t, values, func(t *testing.T, db *sqldb.DB) {
		if err := write(`INSERT INTO value (id, n, y) VALUES (1, 300, $1)`, []byte("long enough"))(t, db); err != nil {
			t.Fatal(err)
		}
		for name, do := range cases {
			t.Run(name, func(t *testing.T) {
				for range 2 {
					if do(t, db) == nil {
						t.Error("is accepted")
					}
				}
			})
		}
		if n := count(t, db, "value"); n != 1 {
			t.Errorf("%d rows", n)
		}
	})
}

// What SQLite would store as it is, PostgreSQL refuses, on the first use of a
// statement as on later ones, and nothing of its transaction is left.
func TestKindsThatDoNotFitAreRefusedByPostgres(t *testing.T) {
	for _, c := range []struct {
		column string
		value  any
	}{
		{"t", 1}, {"t", []byte("a")}, {"t", true}, {"n", "1"}, {"n", true}, {"b", 1}, {"b", "true"}, {"y", "a"}, {"y", 1},
	} {
		db := dbtest.Open(t, sqldb.Postgres, values)
		insert := `INSERT INTO value (id, ` + c.column + `) VALUES ($1, $2)`
		for i := range 3 {
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
				tx.Queue(`INSERT INTO value (id) VALUES ($1)`, 10+i)
				tx.Queue(insert, i, c.value)
				return nil
			})
			if err == nil || count(t, db, "value") != 0 {
				t.Errorf("%T for column %s: %v, %d rows", c.value, c.column, err, count(t, db, "value"))
			}
			err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
				_, err := tx.Exec(insert, i, c.value)
				return err
			})
			if err == nil || count(t, db, "value") != 0 {
				t.Errorf("%T for column %s: %v, %d rows", c.value, c.column, err, count(t, db, "value"))
			}
		}
	}
}

func TestPlaceholdersAreBoundByNumber(t *testing.T) {
	dbtest.Each(t, values, func(t *testing.T, db *sqldb.DB) {
		var a, b, c int64
		err := db.QueryRow(t.Context(), `SELECT CAST($2 AS BIGINT), CAST($1 AS BIGINT), CAST($2 AS BIGINT) + CAST($3 AS BIGINT)`, 1, 2, 3).Scan(&a, &b, &c)
		if err != nil || a != 2 || b != 1 || c != 5 {
			t.Errorf("%d %d %d, %v", a, b, c, err)
		}
	})
}
