package configversion_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

// applications is the kind of cache that configuration has: by reference.
func applications(w *configversion.Watch) *configversion.Cache[string, int] {
	return configversion.NewCache[string, int](w, 100, func(c configversion.Change, remove func(string), _ func()) {
		if c.Kind == "application" {
			remove(c.Ref)
		}
	})
}

// loads counts and answers what a test says.
type loads struct {
	value int
	err   error
	count int
}

func (l *loads) load(context.Context) (int, error) { l.count++; return l.value, l.err }

func TestCacheKeepsUntilChanged(t *testing.T) {
	each(t, func(t *testing.T, c *clock.Fake, one, two *node) {
		cache := applications(two.watch)
		from := &loads{value: 1}
		get := func(key string) int {
			t.Helper()
			value, err := cache.Get(t.Context(), key, from.load)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
		get("a")
		get("b")
		if get("a"); from.count != 2 {
			t.Errorf("%d loads", from.count)
		}
		from.value = 2
		one.bump(t, "a")
		if got := get("a"); got != 1 || from.count != 2 {
			t.Errorf("got %d after %d loads within the time that configuration may be stale", got, from.count)
		}
		c.Advance(configversion.Staleness + time.Microsecond)
		if a, b := get("a"), get("b"); a != 2 || b != 1 {
			t.Errorf("a is %d, b is %d", a, b)
		}
		one.bump(t, make([]string, 1002)...)
		from.value = 3
		c.Advance(configversion.Staleness + time.Microsecond)
		if a, b := get("a"), get("b"); a != 3 || b != 3 {
			t.Errorf("a is %d, b is %d after what changed was not to be told", a, b)
		}
	})
}

func TestCacheKeepsNoErrors(t *testing.T) {
	each(t, func(t *testing.T, _ *clock.Fake, _, two *node) {
		cache := applications(two.watch)
		from := &loads{err: errors.New("no connection")}
		if _, err := cache.Get(t.Context(), "a", from.load); !errors.Is(err, from.err) {
			t.Errorf("got %v", err)
		}
		from.err, from.value = nil, 7
		if got, err := cache.Get(t.Context(), "a", from.load); err != nil || got != 7 {
			t.Errorf("got %d, %v", got, err)
		}
	})
}

// TestCacheFailsClosed: a node that cannot ask whether its configuration still
// holds does not use it.
func TestCacheFailsClosed(t *testing.T) {
	each(t, func(t *testing.T, c *clock.Fake, _, two *node) {
		cache := applications(two.watch)
		from := &loads{value: 1}
		if _, err := cache.Get(t.Context(), "a", from.load); err != nil {
			t.Fatal(err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if got, err := cache.Get(gone, "a", from.load); err != nil || got != 1 {
			t.Errorf("got %d, %v while the last poll is good", got, err)
		}
		c.Advance(configversion.Staleness + time.Microsecond)
		if got, err := cache.Get(gone, "a", from.load); err == nil {
			t.Errorf("got %d without having asked", got)
		}
	})
}

// TestRaceCacheNeverKeepsAStaleValue has readers load slowly while the value
// changes. Once a node has polled, none of them may have put back what was read
// before.
func TestRaceCacheNeverKeepsAStaleValue(t *testing.T) {
	sets := []sqldb.MigrationSet{configversion.Migrations()}
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		second := db
		if db.Engine() == sqldb.Postgres {
			second = dbtest.OpenSecond(t, db)
		}
		quiet := slog.New(slog.DiscardHandler)
		writer, reader := configversion.New(db, clock.System(), quiet), configversion.New(second, clock.System(), quiet)
		cache := applications(reader)
		// The value is the counter itself, which commits with its change.
		load := func(ctx context.Context) (value int, err error) {
			err = second.QueryRow(ctx, `SELECT version FROM config_version WHERE one = 1`).Scan(&value)
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
			return value, err
		}
		ctx, stop := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		for range 6 {
			readers.Go(func() {
				for ctx.Err() == nil {
					if _, err := cache.Get(ctx, "a", load); err != nil && ctx.Err() == nil {
						t.Error(err)
						return
					}
					time.Sleep(200 * time.Microsecond)
				}
			})
		}
		for range 150 {
			var changed int64
			err := db.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
				changed, err = writer.Bump(tx, acme, "application", "a")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := reader.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				got, err := cache.Get(t.Context(), "a", load)
				if err != nil || int64(got) < changed {
					t.Fatalf("got %d, %v after a poll that saw %d", got, err, changed)
				}
			}
		}
		stop()
		readers.Wait()
	})
}
