package sqldb_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

func eachEngine(b *testing.B, bench func(b *testing.B, db *sqldb.DB)) {
	for _, engine := range []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			db := dbtest.Open(b, engine, counters)
			b.ResetTimer() // the server was started
			bench(b, db)
		})
	}
}

// BenchmarkWriteParallel is transactions of one update of a row of the
// caller's own and one insert, from 64 goroutines. The PostgreSQL server of
// the tests does not wait for the disk.
func BenchmarkWriteParallel(b *testing.B) {
	shapes := []struct {
		name string
		fn   func(tx *sqldb.Tx, name string, id int64) error
	}{
		{"queued", func(tx *sqldb.Tx, name string, id int64) error {
			tx.Queue(`INSERT INTO counter (name, value) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET value = counter.value + 1`, name)
			tx.Queue(`INSERT INTO note (id, text) VALUES ($1, $2)`, id, name)
			return nil
		}},
		{"query", func(tx *sqldb.Tx, name string, id int64) error {
			var v int64
			err := tx.QueryRow(`INSERT INTO counter (name, value) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET value = counter.value + 1 RETURNING value`, name).Scan(&v)
			tx.Queue(`INSERT INTO note (id, text) VALUES ($1, $2)`, id, name)
			return err
		}},
	}
	for _, shape := range shapes {
		b.Run(shape.name, func(b *testing.B) {
			eachEngine(b, func(b *testing.B, db *sqldb.DB) {
				var ids, names atomic.Int64
				b.SetParallelism(32)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					name := fmt.Sprintf("counter of goroutine %d", names.Add(1))
					for pb.Next() {
						err := db.Write(b.Context(), func(tx *sqldb.Tx) error { return shape.fn(tx, name, ids.Add(1)) })
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
			})
		})
	}
}

// BenchmarkWriteAlone is the same from one goroutine.
func BenchmarkWriteAlone(b *testing.B) {
	eachEngine(b, func(b *testing.B, db *sqldb.DB) {
		for i := range b.N {
			err := db.Write(b.Context(), func(tx *sqldb.Tx) error {
				tx.Queue(`INSERT INTO note (id, text) VALUES ($1, 'x')`, i)
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRead is the reading of one row by its key.
func BenchmarkRead(b *testing.B) {
	eachEngine(b, func(b *testing.B, db *sqldb.DB) {
		fill(b, db, 10_000)
		read := func(b *testing.B, i int) {
			var text string
			if err := db.QueryRow(b.Context(), `SELECT text FROM note WHERE id = $1`, i%10_000).Scan(&text); err != nil {
				b.Error(err)
			}
		}
		b.Run("alone", func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				read(b, i)
			}
		})
		b.Run("parallel", func(b *testing.B) {
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					read(b, i)
				}
			})
		})
		b.Run("batch of 3", func(b *testing.B) {
			for i := range b.N {
				var a, c, d string
				batch := db.Batch()
				batch.QueueRow(`SELECT text FROM note WHERE id = $1`, []any{i % 10_000}, &a)
				batch.QueueRow(`SELECT text FROM note WHERE id = $1`, []any{(i + 7) % 10_000}, &c)
				batch.QueueRow(`SELECT text FROM note WHERE id = $1`, []any{(i + 9) % 10_000}, &d)
				if err := batch.Run(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// BenchmarkReadBesideWrites is reads while one goroutine writes without pause.
func BenchmarkReadBesideWrites(b *testing.B) {
	eachEngine(b, func(b *testing.B, db *sqldb.DB) {
		fill(b, db, 10_000)
		stop, ended := make(chan struct{}), make(chan struct{})
		var writes int
		go func() {
			defer close(ended)
			for i := 100_000; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				err := db.Write(b.Context(), func(tx *sqldb.Tx) error {
					tx.Queue(`INSERT INTO note (id, text) VALUES ($1, $2)`, i, "written beside the reads")
					return nil
				})
				if err != nil {
					b.Error(err)
					return
				}
				writes++
			}
		}()
		b.ResetTimer()
		for i := range b.N {
			var text string
			if err := db.QueryRow(b.Context(), `SELECT text FROM note WHERE id = $1`, i%10_000).Scan(&text); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		close(stop)
		<-ended
		b.ReportMetric(float64(writes)/b.Elapsed().Seconds(), "writes/s")
	})
}

func fill(b *testing.B, db *sqldb.DB, rows int) {
	b.Helper()
	err := db.Write(b.Context(), func(tx *sqldb.Tx) error {
		for i := range rows {
			tx.Queue(`INSERT INTO note (id, text) VALUES ($1, $2)`, i, fmt.Sprintf("note %d with some forty characters in it", i))
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
