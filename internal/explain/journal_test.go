package explain

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

var began = time.Date(2026, 11, 25, 12, 0, 5, 0, time.UTC)

func journal(t *testing.T, db *sqldb.DB, c clock.Clock) *Journal {
	t.Helper()
	j, err := New(db, c)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// meet has a request meet an error.
func meet(c clock.Clock, j *Journal, network string, v Verdict, change func(*Trail)) id.Fault {
	ctx, trail := With(id.WithRequest(context.Background(), id.New[id.Request](c.Now(), rand.Reader)))
	trail.At("POST /token", "ten_a")
	if change != nil {
		change(trail)
	}
	fault := Met(ctx, c.Now(), rand.Reader, v)
	j.Note(trail, network)
	return fault
}

func rows(t *testing.T, db *sqldb.DB, table string) (n int) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func flush(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestARequestHasOneID(t *testing.T) {
	ctx, trail := With(t.Context())
	first := Met(ctx, began, rand.Reader, Verdict{Status: 400, Code: "invalid_request", Reason: "The code is missing."})
	trail.Because("one")
	trail.Because("two")
	if again := Met(ctx, began, rand.Reader, Verdict{Status: 500, Code: "other"}); again != first || trail.record.Code != "invalid_request" || trail.record.Why != "one" {
		t.Errorf("%s, then %s: %+v", first, again, trail.record)
	}
	if Met(t.Context(), began, rand.Reader, Verdict{}) == "" || Of(t.Context()).Fault() != "" {
		t.Error("an error without a trail has no id")
	}
	Of(t.Context()).At("x", "y") // takes notes and keeps none
}

// What one node met is explained by another, after it was forgotten in memory,
// until it expires.
func TestExplainedFromAnotherNode(t *testing.T) {
	dbtest.Each(t, []sqldb.MigrationSet{Migrations()}, func(t *testing.T, db *sqldb.DB) {
		c := clock.NewFake(began)
		first, second := journal(t, db, c), journal(t, db, c)
		fault := meet(c, first, "n", Verdict{Status: 400, Code: "invalid_grant", Reason: "It is not good."}, func(tr *Trail) {
			tr.From("app_a", true)
			tr.About("cus_a")
			tr.Uses("authorization_code")
			tr.Decided("the grant authorization_code", "one", "two")
			tr.Because("It was used before.")
		})
		if _, err := second.Find(t.Context(), fault); !errors.Is(err, ErrUnknown) {
			t.Errorf("before it was written: %v", err)
		}
		flush(t, first)
		flush(t, first)
		here, err := first.Find(t.Context(), fault)
		if err != nil {
			t.Fatal(err)
		}
		there, err := second.Find(t.Context(), fault)
		if err != nil || fmt.Sprint(there) != fmt.Sprint(here) || there.Why != "It was used before." || len(there.Tried) != 2 || there.Request == "" {
			t.Errorf("%v\n%+v\n%+v", err, here, there)
		}
		if n, err := second.Sweep(t.Context(), 10); err != nil || n != 0 {
			t.Errorf("%d were swept: %v", n, err)
		}
		c.Advance(Kept + time.Minute)
		if n, err := second.Sweep(t.Context(), 10); err != nil || n != 1 || rows(t, db, "explanation") != 0 {
			t.Errorf("%d were swept: %v", n, err)
		}
		var expired *ExpiredError
		if _, err := second.Find(t.Context(), fault); !errors.As(err, &expired) {
			t.Errorf("after it has expired: %v", err)
		}
	})
}

// However many errors strangers make, the rows are few, errors of ours and of
// applications that are known are kept beside them, and who asks for one that
// was dropped is told so.
func TestFloodIsBounded(t *testing.T) {
	dbtest.Each(t, []sqldb.MigrationSet{Migrations()}, func(t *testing.T, db *sqldb.DB) {
		c := clock.NewFake(began)
		j, other := journal(t, db, c), journal(t, db, c)
		refused := Verdict{Status: 400, Code: "redirect", Reason: "No."}
		const flood = 3000
		var last id.Fault
		for range flood {
			last = meet(c, j, "one network", refused, nil)
		}
		flush(t, j)
		if n := rows(t, db, "explanation"); n != eachLimit.Burst {
			t.Errorf("one network made %d rows", n)
		}
		for n := range flood {
			last = meet(c, j, fmt.Sprint("network ", n), refused, nil)
		}
		ours := meet(c, j, "one network", Verdict{Status: 500, Code: "broken"}, nil)
		known := meet(c, j, "one network", refused, func(tr *Trail) { tr.From("app_a", true) })
		shed := meet(c, j, "one network", Verdict{Status: 503, Code: "busy", Shed: true}, nil)
		flush(t, j)
		if n := rows(t, db, "explanation"); n != strangerLimit.Burst+2 {
			t.Errorf("a flood made %d rows", n)
		}
		for _, fault := range []id.Fault{ours, known} {
			if _, err := other.Find(t.Context(), fault); err != nil {
				t.Errorf("%v", err)
			}
		}
		if len(j.memory) != remembered || len(j.order) != remembered {
			t.Errorf("%d are in memory", len(j.memory))
		}
		if _, err := j.Find(t.Context(), last); err != nil {
			t.Errorf("the newest is not in memory: %v", err)
		}
		var dropped *DroppedError
		for _, fault := range []id.Fault{last, shed} {
			if _, err := other.Find(t.Context(), fault); !errors.As(err, &dropped) || dropped.Dropped != 2*flood-int64(strangerLimit.Burst)+1 {
				t.Errorf("%v", err)
			}
		}
		for range 60 { // an hour of it
			c.Advance(time.Minute)
			for n := range 100 {
				meet(c, j, fmt.Sprint("network ", n), refused, nil)
			}
			flush(t, j)
		}
		if n := rows(t, db, "explanation"); n > strangerLimit.Burst+2+60*6 {
			t.Errorf("an hour of flood made %d rows", n)
		}
		if n := rows(t, db, "explanation_dropped"); n > 61 {
			t.Errorf("an hour of flood made %d rows of what was dropped", n)
		}
	})
}

// Errors that are met while the database does not answer are explained once it
// does: those are what people ask about.
func TestErrorsWaitForTheDatabase(t *testing.T) {
	c := clock.NewFake(began)
	db := dbtest.Open(t, sqldb.SQLite, []sqldb.MigrationSet{Migrations()})
	j := journal(t, db, c)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var met []id.Fault
	for range 3 {
		met = append(met, meet(c, j, "n", Verdict{Status: 500, Code: "broken"}, nil))
		if err := j.Flush(gone); err == nil {
			t.Fatal("it was written")
		}
	}
	for range 2 * waiting {
		c.Advance(10 * time.Second)
		met = append(met, meet(c, j, "n", Verdict{Status: 500, Code: "broken"}, nil))
	}
	if err := j.Flush(gone); err == nil || len(j.pending) != waiting {
		t.Fatalf("%d wait", len(j.pending))
	}
	flush(t, j)
	other := journal(t, db, c)
	for _, fault := range met[:waiting] {
		if _, err := other.Find(t.Context(), fault); err != nil {
			t.Fatal(err)
		}
	}
}

func TestErasedCustomersErrorsGo(t *testing.T) {
	dbtest.Each(t, []sqldb.MigrationSet{Migrations()}, func(t *testing.T, db *sqldb.DB) {
		c := clock.NewFake(began)
		j := journal(t, db, c)
		for _, who := range []id.Customer{"cus_a", "cus_b"} {
			meet(c, j, "n", Verdict{Status: 400, Code: "x"}, func(tr *Trail) { tr.About(who) })
		}
		flush(t, j)
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return j.Erase(tx, "ten_a", "cus_a") })
		if err != nil || rows(t, db, "explanation") != 1 {
			t.Errorf("%v: %d are left", err, rows(t, db, "explanation"))
		}
	})
}
