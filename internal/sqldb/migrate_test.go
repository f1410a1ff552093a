package sqldb_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

const (
	makeA = "-- a comment; with a semicolon\nCREATE TABLE a (n BIGINT NOT NULL, s TEXT NOT NULL DEFAULT 'x;y');\nINSERT INTO a (n) VALUES (1);\nINSERT INTO a (n) VALUES (2);\n"
	makeB = "CREATE TABLE b (n BIGINT NOT NULL);"
)

func TestMigrationsAreAppliedOnceInOrder(t *testing.T) {
	dbtest.Each(t, nil, func(t *testing.T, db *sqldb.DB) {
		first := set("one", "001_a.sql", makeA, "002_more.sql", "INSERT INTO a (n) VALUES (3);")
		second := set("two", "001_b.sqlite.sql", makeB, "001_b.postgres.sql", makeB+"\n-- its own text",
			"010_fill.sql", "INSERT INTO b (n) SELECT n FROM a;")
		for range 3 {
			if err := db.Migrate(t.Context(), first, second); err != nil {
				t.Fatal(err)
			}
		}
		if n := count(t, db, "b"); n != 3 {
			t.Errorf("%d rows", n)
		}
		if n := count(t, db, "schema_migration"); n != 4 {
			t.Errorf("%d migrations are recorded", n)
		}
		// A later release adds one; the release before must still start.
		if err := db.Migrate(t.Context(), set("one", "001_a.sql", makeA, "002_more.sql", "INSERT INTO a (n) VALUES (3);", "003_c.sql", "CREATE TABLE c (n BIGINT);")); err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context(), first, second); err != nil {
			t.Errorf("the previous release does not start: %v", err)
		}
		// One that was forgotten between others is applied too.
		if err := db.Migrate(t.Context(), set("two", "005_between.sql", "CREATE TABLE d (n BIGINT);")); err != nil {
			t.Error(err)
		}
	})
}

func TestChangedMigrationIsRefused(t *testing.T) {
	dbtest.Each(t, nil, func(t *testing.T, db *sqldb.DB) {
		if err := db.Migrate(t.Context(), set("one", "001_a.sql", makeA)); err != nil {
			t.Fatal(err)
		}
		err := db.Migrate(t.Context(), set("one", "001_a.sql", makeA+" ", "002_b.sql", makeB))
		if !errors.Is(err, sqldb.ErrChangedMigration) || !strings.Contains(err.Error(), "one/001_a") {
			t.Errorf("got %v", err)
		}
		if _, err := db.Query(t.Context(), "SELECT n FROM b"); err == nil {
			t.Error("those after it were applied")
		}
	})
}

func TestFailedMigrationLeavesNothing(t *testing.T) {
	for name, text := range map[string]string{
		"wrong":     makeB + "\nINSERT INTO b (n) VALUES (1); INSERT INTO nowhere (n) VALUES (1);",
		"commits":   makeB + "\nCOMMIT;",
		"rolls":     makeB + "\nROLLBACK;",
		"unfinised": makeB + "\nCREATE TABLE",
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, nil, func(t *testing.T, db *sqldb.DB) {
				err := db.Migrate(t.Context(), set("one", "001_a.sql", makeA, "002_b.sql", text))
				if err == nil || !strings.Contains(err.Error(), "one/002_b") {
					t.Errorf("got %v", err)
				}
				if n := count(t, db, "schema_migration"); n != 1 {
					t.Errorf("%d migrations are recorded", n)
				}
				if name == "commits" {
					return // what it committed is there
				}
				if err := db.Migrate(t.Context(), set("one", "001_a.sql", makeA, "002_b.sql", makeB)); err != nil {
					t.Errorf("put right, it is not applied: %v", err)
				}
			})
		})
	}
}

func TestMisnamedMigrationsAreRefused(t *testing.T) {
	cases := map[string][]sqldb.MigrationSet{
		"no number":        {set("one", "a.sql", makeA)},
		"short number":     {set("one", "1_a.sql", makeA)},
		"upper case":       {set("one", "001_A.sql", makeA)},
		"unknown engine":   {set("one", "001_a.mysql.sql", makeA)},
		"number twice":     {set("one", "001_a.sql", makeA, "001_b.sql", makeB)},
		"one engine only":  {set("one", "001_a.sqlite.sql", makeA)},
		"shared and own":   {set("one", "001_a.sql", makeA, "001_a.sqlite.sql", makeA, "001_a.postgres.sql", makeA)},
		"package twice":    {set("one", "001_a.sql", makeA), set("one", "002_b.sql", makeB)},
		"package unnamed":  {set("", "001_a.sql", makeA)},
		"engines disagree": {set("one", "001_a.sqlite.sql", makeA, "001_b.postgres.sql", makeB)},
	}
	dbtest.Each(t, nil, func(t *testing.T, db *sqldb.DB) {
		for name, sets := range cases {
			if err := db.Migrate(t.Context(), sets...); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	})
}

// Nodes that start at once apply each migration once.
func TestNodesMigrateAtOnce(t *testing.T) {
	dbtest.Each(t, nil, func(t *testing.T, db *sqldb.DB) {
		handles := []*sqldb.DB{db, dbtest.OpenSecond(t, db), dbtest.OpenSecond(t, db)}
		var wg sync.WaitGroup
		for _, handle := range handles {
			wg.Add(1)
			go func() {
				defer wg.Done()
				err := handle.Migrate(t.Context(), set("one", "001_a.sql", makeA, "002_b.sql", makeB, "003_fill.sql", "INSERT INTO b (n) SELECT n FROM a;"))
				if err != nil {
					t.Error(err)
				}
			}()
		}
		wg.Wait()
		if n := count(t, db, "b"); n != 2 {
			t.Errorf("%d rows", n)
		}
	})
}

// A running node's statements outlive the next release's migrations.
func TestStatementsSurviveMigrationsByOthers(t *testing.T) {
	dbtest.Each(t, nil, func(t *testing.T, db *sqldb.DB) {
		one := set("one", "001_a.sql", makeA)
		if err := db.Migrate(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		use := func() {
			t.Helper()
			if n := count(t, db, "a"); n < 2 {
				t.Errorf("%d rows", n)
			}
			rows, err := db.Query(t.Context(), "SELECT * FROM a")
			if err != nil {
				t.Fatal(err)
			}
			t.Log(rows.Columns(), "columns")
			err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
				if _, err := tx.Query("SELECT * FROM a"); err != nil {
					return err
				}
				_, err := tx.Query("INSERT INTO a (n) VALUES ($1) RETURNING *", 7)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		use()
		other := dbtest.OpenSecond(t, db)
		if err := other.Migrate(t.Context(), one, set("two", "001_wide.sql", "ALTER TABLE a ADD COLUMN late TEXT NOT NULL DEFAULT '';")); err != nil {
			t.Fatal(err)
		}
		use()
		use()
	})
}

// A migration that has one table and waits for another gives way to a
// transaction that has this one and wants that one.
func TestMigrationGivesWay(t *testing.T) {
	db := dbtest.Open(t, sqldb.Postgres, nil)
	tables := set("one", "001_a.sql", makeA, "002_b.sql", makeB)
	if err := db.Migrate(t.Context(), tables); err != nil {
		t.Fatal(err)
	}
	inside, runs, done := make(chan struct{}), 0, make(chan error, 1)
	go func() {
		done <- db.Write(t.Context(), func(tx *sqldb.Tx) error {
			runs++
			if _, err := tx.Exec("INSERT INTO b (n) VALUES (1)"); err != nil {
				return err
			}
			if runs == 1 {
				close(inside)
				time.Sleep(100 * time.Millisecond) // the migration has a, and waits for b
			}
			_, err := tx.Exec("INSERT INTO a (n) VALUES (1)")
			return err
		})
	}()
	<-inside
	other := dbtest.OpenSecond(t, db)
	err := other.Migrate(t.Context(), set("two", "001_wide.sql", "ALTER TABLE a ADD COLUMN late TEXT NOT NULL DEFAULT ''; ALTER TABLE b ADD COLUMN late TEXT NOT NULL DEFAULT '';"))
	if err != nil {
		t.Errorf("the migration: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("the transaction: %v", err)
	}
	if n := count(t, db, "b"); n != 1 {
		t.Errorf("%d rows", n)
	}
}
