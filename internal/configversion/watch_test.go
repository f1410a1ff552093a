package configversion_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/configversion"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

const acme id.Tenant = "ten_acme"

// node is one node of an installation, and what it was told.
type node struct {
	db    *sqldb.DB
	watch *configversion.Watch
	heard []configversion.Change
}

func newNode(db *sqldb.DB, c clock.Clock) *node {
	n := &node{db: db, watch: configversion.New(db, c, slog.New(slog.DiscardHandler))}
	n.watch.OnChange(func(change configversion.Change) { n.heard = append(n.heard, change) })
	return n
}

// each runs test with two nodes on one database: on PostgreSQL with a
// connection pool each.
func each(t *testing.T, test func(t *testing.T, c *clock.Fake, one, two *node)) {
	fake := clock.NewFake(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC))
	withClock := func(o *sqldb.Options) { o.Clock = fake }
	dbtest.Each(t, []sqldb.MigrationSet{configversion.Migrations()}, func(t *testing.T, db *sqldb.DB) {
		second := db
		if db.Engine() == sqldb.Postgres {
			second = dbtest.OpenSecond(t, db, withClock)
		}
		one, two := newNode(db, fake), newNode(second, fake)
		for _, n := range []*node{one, two} {
			if err := n.watch.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		test(t, fake, one, two)
	}, withClock)
}

func (n *node) bump(t *testing.T, refs ...string) {
	t.Helper()
	err := n.db.Write(t.Context(), func(tx *sqldb.Tx) error {
		for _, ref := range refs {
			if _, err := n.watch.Bump(tx, acme, "application", ref); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTwoNodesSeeEachOthersChanges(t *testing.T) {
	each(t, func(t *testing.T, c *clock.Fake, one, two *node) {
		one.bump(t, "a")
		one.bump(t, "b")
		if err := two.watch.Current(t.Context()); err != nil || len(two.heard) > 0 {
			t.Errorf("a poll of this very instant is no longer trusted: %v, %v", two.heard, err)
		}
		c.Advance(configversion.Staleness + time.Microsecond)
		if err := two.watch.Current(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []configversion.Change{
			{Version: 1, Tenant: acme, Kind: "application", Ref: "a"},
			{Version: 2, Tenant: acme, Kind: "application", Ref: "b"},
		}
		if !slices.Equal(two.heard, want) {
			t.Errorf("heard %v", two.heard)
		}
		// What was heard once is not heard again.
		if err := two.watch.Poll(t.Context()); err != nil || len(two.heard) != 2 {
			t.Errorf("heard %v, %v", two.heard, err)
		}
	})
}

func TestUndoneChangeIsNone(t *testing.T) {
	each(t, func(t *testing.T, _ *clock.Fake, one, two *node) {
		undone := fmt.Errorf("undone")
		err := one.db.Write(t.Context(), func(tx *sqldb.Tx) error {
			if _, err := one.watch.Bump(tx, acme, "tenant", "x"); err != nil {
				return err
			}
			return undone
		})
		if err == nil {
			t.Fatal("the transaction was not undone")
		}
		if err := two.watch.Poll(t.Context()); err != nil || len(two.heard) != 0 {
			t.Errorf("heard %v, %v", two.heard, err)
		}
	})
}

// everything is what a node is told that cannot know what changed.
func (n *node) everything() bool { return len(n.heard) == 1 && n.heard[0].Kind == "" }

func TestSweptLogForgetsEverything(t *testing.T) {
	each(t, func(t *testing.T, _ *clock.Fake, one, two *node) {
		one.bump(t, make([]string, 1002)...)
		if err := two.watch.Poll(t.Context()); err != nil || !two.everything() {
			t.Errorf("heard %d changes, %v", len(two.heard), err)
		}
		var kept int
		if err := one.db.QueryRow(t.Context(), `SELECT COUNT(*) FROM config_change`).Scan(&kept); err != nil || kept != 1000 {
			t.Errorf("%d lines are kept, %v", kept, err)
		}
		// From there on changes are told one by one again.
		one.bump(t, "a")
		if err := two.watch.Poll(t.Context()); err != nil || len(two.heard) != 2 || two.heard[1].Ref != "a" {
			t.Errorf("heard %d changes, %v", len(two.heard), err)
		}
	})
}

// TestLinesSweptBetweenTwoReads is what a poll sees when others change
// configuration after it has read the counter: as many lines as it expects,
// without the oldest.
func TestLinesSweptBetweenTwoReads(t *testing.T) {
	each(t, func(t *testing.T, _ *clock.Fake, one, two *node) {
		one.bump(t, make([]string, 1005)...)
		err := one.db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(`UPDATE config_version SET version = 1000 WHERE one = 1`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := two.watch.Poll(t.Context()); err != nil || !two.everything() {
			t.Errorf("heard %d changes, %v", len(two.heard), err)
		}
	})
}

func TestRestoredDatabaseForgetsEverything(t *testing.T) {
	each(t, func(t *testing.T, _ *clock.Fake, one, two *node) {
		one.bump(t, "a", "b", "c")
		if err := two.watch.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		two.heard = nil
		err := one.db.Write(t.Context(), func(tx *sqldb.Tx) error {
			tx.Queue(`DELETE FROM config_change WHERE version > 1`)
			_, err := tx.Exec(`UPDATE config_version SET version = 1 WHERE one = 1`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := two.watch.Poll(t.Context()); err != nil || !two.everything() {
			t.Errorf("heard %v, %v", two.heard, err)
		}
	})
}

func TestSteppedBackClockIsNotTrusted(t *testing.T) {
	each(t, func(t *testing.T, c *clock.Fake, one, two *node) {
		one.bump(t, "a")
		c.Advance(-time.Hour)
		if err := two.watch.Current(t.Context()); err != nil || len(two.heard) != 1 {
			t.Errorf("heard %v, %v", two.heard, err)
		}
	})
}

func TestRunPolls(t *testing.T) {
	db := dbtest.Open(t, sqldb.SQLite, []sqldb.MigrationSet{configversion.Migrations()})
	w := configversion.New(db, clock.System(), slog.New(slog.DiscardHandler))
	heard := make(chan configversion.Change, 1)
	w.OnChange(func(c configversion.Change) { heard <- c })
	if err := w.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	(&node{db: db, watch: w}).bump(t, "a")
	select {
	case c := <-heard:
		if c.Ref != "a" {
			t.Errorf("heard %v", c)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody polled")
	}
	stop()
	<-ended
}
