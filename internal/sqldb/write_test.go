package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

// set is migrations of one package from the texts given, file by file.
func set(pkg string, files ...string) sqldb.MigrationSet {
	fs := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		fs["migrations/"+files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return sqldb.MigrationSet{Package: pkg, FS: fs}
}

var counters = []sqldb.MigrationSet{set("counter", "001_counter.sql", `
-- ground
CREATE TABLE counter (
	name TEXT NOT NULL PRIMARY KEY,
	value BIGINT NOT NULL
);
-- ground
CREATE TABLE note (id BIGINT NOT NULL PRIMARY KEY, text TEXT NOT NULL);
CREATE INDEX note_text ON note (text);
`)}

func count(t testing.TB, db *sqldb.DB, table string) int {
	t.Helper()
	var n int
	if err := db.QueryRow(context.Background(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func addNote(tx *sqldb.Tx, id int) error {
	_, err := tx.Exec(`INSERT INTO note (id, text) VALUES ($1, $2)`, id, fmt.Sprint("note ", id))
	return err
}

func TestWriteIsRead(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			tx.Queue(`INSERT INTO counter (name, value) VALUES ($1, $2)`, "a", 1)
			n, err := tx.Exec(`UPDATE counter SET value = value + $2 WHERE name = $1`, "a", 41)
			if err != nil || n != 1 {
				t.Errorf("update changed %d rows, %v", n, err)
			}
			var v int
			if err := tx.QueryRow(`SELECT value FROM counter WHERE name = $1`, "a").Scan(&v); err != nil || v != 42 {
				t.Errorf("within the transaction: %d, %v", v, err)
			}
			n, err = tx.Exec(`UPDATE counter SET value = 0 WHERE name = $1`, "nobody")
			if err != nil || n != 0 {
				t.Errorf("an update of nothing changed %d rows, %v", n, err)
			}
			n, err = tx.Exec(`INSERT INTO counter (name, value) VALUES ($1, 2) ON CONFLICT DO NOTHING`, "a")
			if err != nil || n != 0 {
				t.Errorf("a conflicting insert changed %d rows, %v", n, err)
			}
			err = tx.QueryRow(`SELECT value FROM counter WHERE name = $1`, "nobody").Scan(&v)
			if !errors.Is(err, sqldb.ErrNoRows) {
				t.Errorf("no row gives %v", err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var v int
		if err := db.QueryRow(t.Context(), `SELECT value FROM counter WHERE name = $1`, "a").Scan(&v); err != nil || v != 42 {
			t.Errorf("afterwards: %d, %v", v, err)
		}
	})
}

func TestEmptyTransactionsCostNothing(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		if err := db.Write(t.Context(), func(*sqldb.Tx) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

func TestQueuedStatementsRunInOrderAndTogether(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		for range 3 { // once prepared they take another way
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
				tx.Queue(`DELETE FROM counter`)
				tx.Queue(`INSERT INTO counter (name, value) VALUES ($1, 1)`, "a")
				tx.Queue(`UPDATE counter SET value = value * 2 + 1`)
				tx.Queue(`UPDATE counter SET value = value * 2 + 1`)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			var v int
			if err := db.QueryRow(t.Context(), `SELECT value FROM counter`).Scan(&v); err != nil || v != 7 {
				t.Fatalf("%d, %v", v, err)
			}
			err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
				tx.Queue(`UPDATE counter SET value = 100`)
				tx.Queue(`INSERT INTO counter (name, value) VALUES ($1, 1)`, "a")
				return nil
			})
			if err == nil {
				t.Fatal("a queued statement's error is lost")
			}
			if err := db.QueryRow(t.Context(), `SELECT value FROM counter`).Scan(&v); err != nil || v != 7 {
				t.Fatalf("half of a failed transaction is left: %d, %v", v, err)
			}
		}
	})
}

func TestQueuedBytesAreTheCallersAgain(t *testing.T) {
	blobs := []sqldb.MigrationSet{set("blob", "001_blob.sql", `CREATE TABLE blob (b BYTEA NOT NULL);`)}
	dbtest.Each(t, blobs, func(t *testing.T, db *sqldb.DB) {
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			b := []byte("before")
			tx.Queue(`INSERT INTO blob (b) VALUES ($1)`, b)
			copy(b, "after!")
			return nil
		})
		var got []byte
		if err := errors.Join(err, db.QueryRow(t.Context(), `SELECT b FROM blob`).Scan(&got)); err != nil || string(got) != "before" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// In PostgreSQL a failed statement fails the transaction; so that code tried
// on one engine works on the other, SQLite does as well.
func TestFailedStatementFailsTheTransaction(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			if err := addNote(tx, 1); err != nil {
				return err
			}
			if addNote(tx, 1) == nil {
				t.Error("a duplicate key is accepted")
			}
			if addNote(tx, 2) == nil {
				t.Error("the transaction goes on after a failed statement")
			}
			return nil
		})
		if err == nil {
			t.Error("Write hides the failed statement")
		}
		if n := count(t, db, "note"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

func TestErrorAndPanicAndExitUndo(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		mine := errors.New("mine")
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return errors.Join(addNote(tx, 1), mine) })
		if !errors.Is(err, mine) {
			t.Errorf("got %v", err)
		}
		func() {
			defer func() {
				if v := recover(); v != mine {
					t.Errorf("recovered %v", v)
				}
			}()
			db.Write(t.Context(), func(tx *sqldb.Tx) error {
				addNote(tx, 2)
				panic(mine)
			})
			t.Error("Write returned from a panic")
		}()
		var wg sync.WaitGroup
		wg.Add(1)
		go func() {
			defer wg.Done()
			db.Write(t.Context(), func(tx *sqldb.Tx) error {
				addNote(tx, 3)
				runtime.Goexit() // as t.FailNow does
				return nil
			})
			t.Error("Write returned though its function ended the goroutine")
		}()
		wg.Wait()
		if n := count(t, db, "note"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return addNote(tx, 4) }); err != nil {
			t.Errorf("the next one fails: %v", err)
		}
	})
}

// Many writers at once, of whom some fail in every way there is: each of the
// others is whole, none of the failed has left anything.
func TestParallelWritersDoNotTouchEachOther(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		const writers, rounds = 32, 40
		var acked atomic.Int64
		var wg sync.WaitGroup
		for w := range writers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for r := range rounds {
					id := w*rounds + r
					kind := id % 7
					err := attempt(func() error {
						return db.Write(t.Context(), func(tx *sqldb.Tx) error {
							tx.Queue(`INSERT INTO counter (name, value) VALUES ('all', 1) ON CONFLICT (name) DO UPDATE SET value = counter.value + 1`)
							if kind == 1 {
								return errors.New("refused")
							}
							if err := addNote(tx, id); err != nil {
								return err
							}
							switch kind {
							case 2:
								panic("panicked")
							case 3:
								return addNote(tx, id)
							case 4:
								addNote(tx, id)
								return nil
							}
							return nil
						})
					})
					if ok := kind == 0 || kind > 4; ok != (err == nil) {
						t.Errorf("kind %d: %v", kind, err)
					}
					if err == nil {
						acked.Add(1)
					}
				}
			}()
		}
		wg.Wait()
		var v int64
		if err := db.QueryRow(t.Context(), `SELECT value FROM counter WHERE name = 'all'`).Scan(&v); err != nil {
			t.Fatal(err)
		}
		if n := int64(count(t, db, "note")); v != acked.Load() || n != acked.Load() {
			t.Errorf("%d transactions were acknowledged; the counter says %d, and there are %d rows", acked.Load(), v, n)
		}
	})
}

// attempt makes an error of a panic.
func attempt(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return fn()
}

func TestCancelledWritesAreNotRun(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		err := db.Write(cancelled, func(tx *sqldb.Tx) error {
			t.Error("the function of a cancelled write is run")
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = db.Write(ctx, func(tx *sqldb.Tx) error {
			cancel()
			return addNote(tx, 1)
		})
		// Either outcome is right, but it must be told.
		if n := count(t, db, "note"); (err == nil) != (n == 1) {
			t.Errorf("cancelled in the middle: %d rows, %v", n, err)
		}
	})
}

func TestWritesCancelledInTheQueueAreNotRun(t *testing.T) {
	db := dbtest.Open(t, sqldb.SQLite, counters)
	holds, release := make(chan struct{}), make(chan struct{})
	go db.Write(t.Context(), func(tx *sqldb.Tx) error {
		close(holds)
		<-release
		return nil
	})
	<-holds
	ctx, cancel := context.WithCancel(t.Context())
	var ran atomic.Bool
	results := make(chan error)
	for range 20 {
		go func() {
			results <- db.Write(ctx, func(tx *sqldb.Tx) error { ran.Store(true); return nil })
		}()
	}
	other := make(chan error)
	go func() { other <- db.Write(t.Context(), func(tx *sqldb.Tx) error { return addNote(tx, 1) }) }()
	time.Sleep(20 * time.Millisecond)
	cancel()
	for range 20 {
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	close(release)
	if err := <-other; err != nil {
		t.Errorf("one that was not cancelled: %v", err)
	}
	if ran.Load() {
		t.Error("a function was run after its caller had been told that it was cancelled")
	}
}

// Writers that meet while one commits are committed together.
func TestConcurrentWritesShareACommit(t *testing.T) {
	db := dbtest.Open(t, sqldb.SQLite, counters)
	holds, release := make(chan struct{}), make(chan struct{})
	results := make(chan error)
	go func() {
		results <- db.Write(t.Context(), func(tx *sqldb.Tx) error {
			close(holds)
			<-release
			return addNote(tx, 1000)
		})
	}()
	<-holds
	var mu sync.Mutex
	var order []int // of the functions: what each finds already written
	for i := range 40 {
		go func() {
			results <- db.Write(t.Context(), func(tx *sqldb.Tx) error {
				var before int
				if err := tx.QueryRow(`SELECT count(*) FROM note`).Scan(&before); err != nil {
					return err
				}
				mu.Lock()
				order = append(order, count(t, db, "note"))
				mu.Unlock()
				return addNote(tx, i)
			})
		}()
	}
	time.Sleep(20 * time.Millisecond)
	close(release)
	for range 41 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	commits := map[int]bool{}
	for _, seen := range order {
		commits[seen] = true // readers see what has been committed
	}
	if len(commits) > 10 {
		t.Errorf("40 writes that waited together took some %d commits", len(commits))
	}
	if n := count(t, db, "note"); n != 41 {
		t.Errorf("%d rows", n)
	}
}

func TestTransactionHasOneTimeAndAMemo(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123_456_789, time.FixedZone("", 3600))
	fake := clock.NewFake(at)
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		fake.Set(at)
		var kept *sqldb.Tx
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			kept = tx
			before := tx.Now()
			fake.Advance(time.Hour)
			if !tx.Now().Equal(before) || !before.Equal(at.Truncate(time.Microsecond)) || before.Location() != time.UTC {
				t.Errorf("the transaction's time was %v and is %v", before, tx.Now())
			}
			made := 0
			for range 3 {
				tx.Local("key", func() any { made++; return new(int) })
			}
			if made != 1 {
				t.Errorf("the memo was made %d times", made)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kept.Exec(`DELETE FROM note`); err == nil {
			t.Error("a transaction can be used after its end")
		}
	}, func(o *sqldb.Options) { o.Clock = fake })
}

func TestClosedHandle(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		results := make(chan error)
		for i := range 20 {
			go func() { results <- db.Write(t.Context(), func(tx *sqldb.Tx) error { return addNote(tx, i) }) }()
		}
		second := dbtest.OpenSecond(t, db)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		written := 0
		for range 20 {
			if err := <-results; err == nil {
				written++
			} else if !errors.Is(err, sqldb.ErrClosed) {
				t.Error(err)
			}
		}
		if n := count(t, second, "note"); n != written {
			t.Errorf("%d writes were acknowledged, %d rows are there", written, n)
		}
		if _, err := db.Query(t.Context(), `SELECT 1`); !errors.Is(err, sqldb.ErrClosed) {
			t.Errorf("a query after Close: %v", err)
		}
		if err := db.Write(t.Context(), func(*sqldb.Tx) error { return nil }); !errors.Is(err, sqldb.ErrClosed) {
			t.Errorf("a write after Close: %v", err)
		}
	})
}

// Two nodes, or a server and a command, write to the same database.
func TestTwoHandlesWriteAtOnce(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		second := dbtest.OpenSecond(t, db)
		var wg sync.WaitGroup
		for i, handle := range []*sqldb.DB{db, second, db, second, db, second, db, second} {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for r := range 25 {
					err := handle.Write(t.Context(), func(tx *sqldb.Tx) error {
						tx.Queue(`INSERT INTO counter (name, value) VALUES ('all', 1) ON CONFLICT (name) DO UPDATE SET value = counter.value + 1`)
						return addNote(tx, i*100+r)
					})
					if err != nil {
						t.Error(err)
					}
				}
			}()
		}
		wg.Wait()
		var v int
		if err := second.QueryRow(t.Context(), `SELECT value FROM counter`).Scan(&v); err != nil || v != 200 {
			t.Errorf("%d of 200 increments, %v", v, err)
		}
	})
}

// Only what was committed to the database that is watched is told of.
func TestCommitsAreWatched(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		other := dbtest.Open(t, sqldb.SQLite, counters)
		ctx, committed := db.WatchCommits(t.Context())
		insert := func(tx *sqldb.Tx) error {
			_, err := tx.Exec(`INSERT INTO counter (name, value) VALUES ('a', 1)`)
			return err
		}
		refused := errors.New("refused")
		if err := db.Write(ctx, func(tx *sqldb.Tx) error { return errors.Join(insert(tx), refused) }); !errors.Is(err, refused) || committed() {
			t.Errorf("undone: %v, %v", err, committed())
		}
		if err := other.Write(ctx, insert); err != nil || committed() {
			t.Errorf("another database: %v, %v", err, committed())
		}
		if err := db.Write(t.Context(), func(*sqldb.Tx) error { return nil }); err != nil || committed() {
			t.Errorf("another request: %v, %v", err, committed())
		}
		within, cancel := context.WithCancel(ctx)
		if err := db.Write(within, insert); err != nil || !committed() {
			t.Errorf("committed: %v, %v", err, committed())
		}
		cancel()
	})
}
