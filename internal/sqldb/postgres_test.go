package sqldb_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

func TestDeadlockedWritesAreRunAgain(t *testing.T) {
	db := dbtest.Open(t, sqldb.Postgres, counters)
	err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		tx.Queue(`INSERT INTO counter (name, value) VALUES ('a', 0), ('b', 0)`)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var runs atomic.Int64
	var both sync.WaitGroup
	both.Add(2)
	results := make(chan error)
	for _, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
		go func() {
			var meet sync.Once
			results <- db.Write(t.Context(), func(tx *sqldb.Tx) error {
				runs.Add(1)
				if tx.Local("first", func() any { return 0 }) != 0 {
					t.Error("the memo outlives the attempt")
				}
				tx.Local("first", nil)
				if _, err := tx.Exec(`UPDATE counter SET value = value + 1 WHERE name = $1`, order[0]); err != nil {
					return errors.New("told in other words") // it is run again all the same
				}
				meet.Do(func() { both.Done(); both.Wait() })
				_, err := tx.Exec(`UPDATE counter SET value = value + 1 WHERE name = $1`, order[1])
				return err
			})
		}()
	}
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if runs.Load() < 3 {
		t.Errorf("there was no deadlock: %d runs", runs.Load())
	}
	var sum int
	if err := db.QueryRow(t.Context(), `SELECT sum(value) FROM counter`).Scan(&sum); err != nil || sum != 4 {
		t.Errorf("%d, %v", sum, err)
	}
}

// Work that loses every race it is given ends, and says what it met.
func TestRacesThatAreAlwaysLostEnd(t *testing.T) {
	db := dbtest.Open(t, sqldb.Postgres, counters)
	runs := 0
	err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		runs++
		_, err := tx.Exec(`DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$`)
		return err
	})
	if !sqldb.IsBusy(err) || runs < 5 || runs > 50 {
		t.Errorf("%d runs, %v", runs, err)
	}
}

func terminateOthers(t *testing.T, by *sqldb.DB) {
	t.Helper()
	if _, err := by.Query(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`); err != nil {
		t.Fatal(err)
	}
}

func TestLostConnectionsAreReplaced(t *testing.T) {
	db := dbtest.Open(t, sqldb.Postgres, counters)
	other := dbtest.OpenSecond(t, db)
	for i := range 5 {
		addNotes(t, db, i*10, i*10+5)
		terminateOthers(t, other)
		if n := count(t, db, "note"); n != i*6+5 {
			t.Errorf("%d rows", n)
		}
		runs := 0
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			runs++
			if err := addNote(tx, i*10+5); err != nil {
				return err
			}
			if runs == 1 {
				terminateOthers(t, other)
			}
			_, err := tx.Query(`SELECT 1`)
			return err
		})
		if err != nil || runs != 2 {
			t.Errorf("cut in the middle: %d runs, %v", runs, err)
		}
	}
}

func TestPanicsReturnTheirConnection(t *testing.T) {
	db := dbtest.Open(t, sqldb.Postgres, counters, func(o *sqldb.Options) { o.MaxConns = 1 })
	for i := range 5 {
		attempt(func() error {
			return db.Write(t.Context(), func(tx *sqldb.Tx) error {
				addNote(tx, i)
				panic("panic")
			})
		})
		if n := count(t, db, "note"); n != 0 {
			t.Errorf("%d rows", n)
		}
	}
}

func TestLongReadsEndWithTheirContext(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := db.Query(ctx, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n`)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		if err := db.Ping(t.Context()); err != nil {
			t.Errorf("the handle does not work any more: %v", err)
		}
	})
}

func TestWaitingForAConnectionEndsWithTheContext(t *testing.T) {
	dbtest.Each(t, counters, func(t *testing.T, db *sqldb.DB) {
		err := db.Snapshot(t.Context(), func(*sqldb.Snapshot) error {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if _, err := db.Query(ctx, `SELECT 1`); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if err := db.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}, func(o *sqldb.Options) { o.MaxConns, o.Readers = 1, 1 })
}

// wire stands between a handle and the server. It counts the round trips and
// can lose the answers.
type wire struct {
	listener net.Listener
	server   string
	trips    atomic.Int64
	cut      atomic.Bool
}

func openThroughWire(t *testing.T) (*sqldb.DB, *wire) {
	t.Helper()
	direct := dbtest.URL(t, sqldb.Postgres, counters)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	if u.Host != "" {
		t.Skip("the server of the tests is not on a socket")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	w := &wire{listener: listener, server: filepath.Join(u.Query().Get("host"), ".s.PGSQL.5432")}
	go w.serve()
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: "postgres://postgres@" + listener.Addr().String() + u.Path + "?sslmode=disable", MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, w
}

func (w *wire) serve() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", w.server)
		if err != nil {
			client.Close()
			return
		}
		go func() {
			defer client.Close()
			buffer := make([]byte, 1<<16)
			for {
				n, err := server.Read(buffer)
				if err != nil || w.cut.Load() {
					return
				}
				client.Write(buffer[:n])
			}
		}()
		go func() {
			defer server.Close()
			var head [5]byte
			if _, err := io.ReadFull(client, head[:4]); err != nil { // the start-up message has no type
				return
			}
			body := make([]byte, binary.BigEndian.Uint32(head[:4])-4)
			io.ReadFull(client, body)
			server.Write(append(head[:4], body...))
			for {
				if _, err := io.ReadFull(client, head[:]); err != nil {
					return
				}
				body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
				if _, err := io.ReadFull(client, body); err != nil {
					return
				}
				if head[0] == 'S' || head[0] == 'Q' {
					w.trips.Add(1)
				}
				server.Write(append(append([]byte{}, head[:]...), body...))
			}
		}()
	}
}

func TestRoundTrips(t *testing.T) {
	db, w := openThroughWire(t)
	id := 0
	insert := func(tx *sqldb.Tx) { id++; tx.Queue(`INSERT INTO note (id, text) VALUES ($1, 'a')`, id) }
	cases := []struct {
		name string
		want int64
		do   func() error
	}{
		{"a read", 1, func() error { _, err := db.Query(t.Context(), `SELECT count(*) FROM note`); return err }},
		{"a batch of reads", 1, func() error {
			b := db.Batch()
			var n, m int
			b.QueueRow(`SELECT count(*) FROM note`, nil, &n)
			b.QueueRow(`SELECT count(*) FROM counter`, nil, &m)
			return b.Run(t.Context())
		}},
		{"queued statements", 1, func() error {
			return db.Write(t.Context(), func(tx *sqldb.Tx) error { insert(tx); insert(tx); insert(tx); return nil })
		}},
		{"a query and queued statements", 2, func() error {
			return db.Write(t.Context(), func(tx *sqldb.Tx) error {
				insert(tx)
				if _, err := tx.Query(`SELECT count(*) FROM note`); err != nil {
					return err
				}
				insert(tx)
				insert(tx)
				return nil
			})
		}},
		{"nothing", 0, func() error { return db.Write(t.Context(), func(*sqldb.Tx) error { return nil }) }},
		{"queued statements and an error", 0, func() error {
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error { insert(tx); return io.EOF })
			if !errors.Is(err, io.EOF) {
				return errors.New("the error is lost")
			}
			return nil
		}},
	}
	for _, c := range cases {
		for range 2 { // the first time prepares
			before := w.trips.Load()
			if err := c.do(); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			id += 10
			if took := w.trips.Load() - before; took > c.want+1 {
				t.Errorf("%s takes %d round trips", c.name, took)
			}
		}
		before := w.trips.Load()
		if err := c.do(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if took := w.trips.Load() - before; took != c.want {
			t.Errorf("%s takes %d round trips, want %d", c.name, took, c.want)
		}
	}
}

func TestCommitWithoutAnAnswerIsAnError(t *testing.T) {
	for name, work := range map[string]func(tx *sqldb.Tx) error{
		"queued": func(tx *sqldb.Tx) error { tx.Queue(`INSERT INTO counter (name, value) VALUES ('x', 1)`); return nil },
		"begun": func(tx *sqldb.Tx) error {
			_, err := tx.Exec(`INSERT INTO counter (name, value) VALUES ('x', 1)`)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			db, w := openThroughWire(t)
			prepare := errors.New("only to prepare")
			for range 2 {
				err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
					if _, err := tx.Exec(`INSERT INTO counter (name, value) VALUES ('x', 1)`); err != nil {
						return err
					}
					return prepare
				})
				if !errors.Is(err, prepare) {
					t.Fatal(err)
				}
			}
			runs := 0
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
				runs++
				if err := work(tx); err != nil {
					return err
				}
				w.cut.Store(true)
				return nil
			})
			if !errors.Is(err, sqldb.ErrOutcomeUnknown) || runs != 1 {
				t.Errorf("%d runs, %v", runs, err)
			}
			w.cut.Store(false)
			if n := count(t, db, "counter"); n != 1 {
				t.Errorf("%d rows", n)
			}
		})
	}
}
