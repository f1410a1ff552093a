package event

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

//go:embed testdata/*.sql
var testMigrations embed.FS

// sets are the stream and a table of customers with a version.
var sets = []sqldb.MigrationSet{Migrations(), {Package: "testcustomer", FS: testMigrations}}

var start = time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC)

const tenantA = id.Tenant("ten_00000000000000000000000001")

// bump is what the directory does.
func bump(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) (int64, error) {
	var version int64
	err := tx.QueryRow(`INSERT INTO testcustomer (tenant, id, version) VALUES ($1, $2, 1)
		ON CONFLICT (tenant, id) DO UPDATE SET version = testcustomer.version + 1 RETURNING version`, tenant, customer).Scan(&version)
	return version, err
}

func newLog(db *sqldb.DB, change ...func(*Options)) *Log {
	o := Options{DB: db, Bump: bump, Poll: 20 * time.Millisecond, Lease: time.Second}
	for _, c := range change {
		c(&o)
	}
	return New(o)
}

func newCustomer() id.Customer { return id.New[id.Customer](time.Now(), rand.Reader) }

func (l *Log) mustAppend(t testing.TB, events ...Event) {
	t.Helper()
	err := l.db.Write(context.Background(), func(tx *sqldb.Tx) error {
		for _, e := range events {
			if err := l.Append(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func fact(customer id.Customer) Event {
	return Event{Tenant: tenantA, Customer: customer, Type: "test.happened", Actor: System}
}

func (l *Log) mustRead(t testing.TB, f Filter, p Page) []Record {
	t.Helper()
	records, err := l.Read(context.Background(), tenantA, f, p)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// key is a Sealer and Opener that shows what it is bound to.
type key string

func (k key) SealField(table, column, row string, plain []byte) ([]byte, error) {
	return []byte(strings.Join([]string{string(k), table, column, row, string(plain)}, "|")), nil
}

func (k key) OpenField(table, column, row string, sealed []byte) ([]byte, error) {
	prefix := strings.Join([]string{string(k), table, column, row, ""}, "|")
	plain, found := bytes.CutPrefix(sealed, []byte(prefix))
	if !found {
		return nil, errors.New("sealed with another key or for another place")
	}
	return plain, nil
}

// The stored row and the JSON envelope are formats that outlive releases.
func TestGoldenFormats(t *testing.T) {
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "events.db"), Clock: clock.NewFake(start)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), sets...); err != nil {
		t.Fatal(err)
	}
	l := newLog(db, func(o *Options) { o.Random = bytes.NewReader(bytes.Repeat([]byte{0xff, 0xab, 0x3f, 0xfe}, 100)) })
	l.mustAppend(t,
		Event{
			Tenant: tenantA, Customer: "cus_0000000000000000000000000a", Type: "delegation.granted", Actor: "cus_0000000000000000000000000a", Request: "req_0000000000000000000000000r",
			Data: map[string]any{"until": "2027-01-01", "scope": []string{"orders"}}, Personal: map[string]string{"note": "for my mother"}, Sealer: key("A"),
			Other: Other{Customer: "cus_0000000000000000000000000b", Personal: map[string]string{"name": "Béa"}, Sealer: key("B")},
		},
		Event{Tenant: tenantA, Customer: "cus_0000000000000000000000000a", Type: "customer.locked", Actor: "cus_0000000000000000000000000p",
			Personal: "rang us", Sealer: key("tenant"), TenantKey: true},
		Event{Tenant: tenantA, Type: "settings.applied", Actor: System, Data: struct {
			Version int `json:"version"`
		}{7}},
	)
	var got strings.Builder
	for _, r := range l.mustRead(t, Filter{}, Page{OldestFirst: true}) {
		envelope, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s\n", envelope)
	}
	rows, err := db.Query(t.Context(), `SELECT tenant, customer, id, version, seq, type, at, actor, request, data, holder, personal, other, other_personal FROM event ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var c [14]any
		if err := rows.Scan(&c[0], &c[1], &c[2], &c[3], &c[4], &c[5], &c[6], &c[7], &c[8], &c[9], &c[10], &c[11], &c[12], &c[13]); err != nil {
			t.Fatal(err)
		}
		for i, v := range c {
			if b, ok := v.([]byte); ok {
				c[i] = string(b)
			}
			fmt.Fprintf(&got, "%v\n", c[i])
		}
	}
	golden := filepath.Join("testdata", "formats.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("the stored form of events changed (-golden +now):\n%s", diff)
	}
}

// A customer's lane must never change, or their order would.
func TestLanesAreForEver(t *testing.T) {
	for customer, want := range map[id.Customer]int{
		"": 50, "cus_06c1x5m8kz7v9b2n4q6r8t0w1y": 42, "cus_06c1x5m8kz7v9b2n4q6r8t0w1z": 19, "cus_00000000000000000000000000": 21,
	} {
		if got := laneOf(tenantA, customer); got != want {
			t.Errorf("lane of customer %q is %d, was %d", customer, got, want)
		}
	}
	var load [Lanes]int
	for range 64_000 {
		load[laneOf(tenantA, newCustomer())]++
	}
	for lane, n := range load {
		if n < 800 || n > 1200 {
			t.Errorf("lane %d has %d of 64,000 customers, want about 1,000", lane, n)
		}
	}
}

func TestAppendRaisesTheVersionOnceATransaction(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		bumps := 0
		l := newLog(db, func(o *Options) {
			o.Bump = func(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) (int64, error) {
				bumps++
				return bump(tx, tenant, customer)
			}
		})
		a, b := newCustomer(), newCustomer()
		l.mustAppend(t, fact(a), fact(b), fact(a), fact(""), fact(a))
		l.mustAppend(t, fact(a))
		if bumps != 3 {
			t.Errorf("versions were raised %d times, want 3", bumps)
		}
		type place struct {
			Customer          id.Customer
			Version, Sequence int64
		}
		var got []place
		for _, r := range l.mustRead(t, Filter{}, Page{OldestFirst: true})[:5] { // made in one transaction: ids keep their order
			got = append(got, place{r.Customer, r.Version, r.Sequence})
		}
		want := []place{{a, 1, 1}, {b, 1, 1}, {a, 1, 2}, {"", 0, 1}, {a, 1, 3}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("places (-want +got):\n%s", diff)
		}
		if r := l.mustRead(t, Filter{Customer: a}, Page{Limit: 1}); r[0].Version != 2 || r[0].Sequence != 1 {
			t.Errorf("the second transaction's event has version %d, sequence %d, want 2, 1", r[0].Version, r[0].Sequence)
		}
	})
}

func TestAppendIsUndoneWithItsTransaction(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		l := newLog(db)
		failure := errors.New("changed my mind")
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			if err := l.Append(tx, fact(newCustomer())); err != nil {
				return err
			}
			return failure
		})
		if !errors.Is(err, failure) {
			t.Fatal(err)
		}
		if n := count(t, db, "event") + count(t, db, "event_pending") + count(t, db, "testcustomer"); n != 0 {
			t.Errorf("%d rows were left of a transaction that failed", n)
		}
	})
}

func TestAppendRefuses(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		l := newLog(db)
		for name, spoil := range map[string]func(*Event){
			"no tenant":                    func(e *Event) { e.Tenant = "" },
			"no type":                      func(e *Event) { e.Type = "" },
			"a type without a dot":         func(e *Event) { e.Type = "started" },
			"a type in capitals":           func(e *Event) { e.Type = "Session.started" },
			"no actor":                     func(e *Event) { e.Actor = "" },
			"personal data without a key":  func(e *Event) { e.Personal = "x" },
			"other's data without a key":   func(e *Event) { e.Other = Other{Customer: newCustomer(), Personal: "x"} },
			"other's data without a other": func(e *Event) { e.Other = Other{Personal: "x", Sealer: key("k")} },
			"data that is not JSON":        func(e *Event) { e.Data = func() {} },
		} {
			e := fact(newCustomer())
			spoil(&e)
			if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return l.Append(tx, e) }); err == nil {
				t.Errorf("%s: the event was taken", name)
			}
		}
	})
}

func TestPersonalPartsOpenWithTheirHoldersKeyAlone(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		l := newLog(db)
		a, b := newCustomer(), newCustomer()
		e := fact(a)
		e.Personal, e.Sealer = "of a", key("a")
		e.Other = Other{Customer: b, Personal: "of b", Sealer: key("b")}
		act := fact(a)
		act.Personal, act.Sealer, act.TenantKey = "of the tenant", key("tenant"), true
		plain := fact(a)
		l.mustAppend(t, e, act, plain)
		r := l.mustRead(t, Filter{Customer: a}, Page{OldestFirst: true})
		for _, c := range []struct {
			part   *Sealed
			holder id.Customer
			key    key
			want   string
		}{{r[0].Personal, a, "a", `"of a"`}, {r[0].OtherPersonal, b, "b", `"of b"`}, {r[1].Personal, "", "tenant", `"of the tenant"`}} {
			if got, err := c.part.Open(c.key); err != nil || string(got) != c.want || c.part.Holder != c.holder {
				t.Errorf("opened %s of %q, %v; want %s of %q", got, c.part.Holder, err, c.want, c.holder)
			}
			if _, err := c.part.Open(key("wrong")); err == nil {
				t.Errorf("%s opened with a wrong key", c.want)
			}
		}
		if r[1].OtherPersonal != nil || r[2].Personal != nil {
			t.Error("an event without a personal part has one")
		}
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return l.Forget(tx, tenantA, a) }); err != nil {
			t.Fatal(err)
		}
		r = l.mustRead(t, Filter{Customer: a}, Page{OldestFirst: true})
		if len(r) != 3 || r[0].Personal != nil || r[0].OtherPersonal == nil || r[1].Personal == nil {
			t.Error("forgetting a must remove a's part, and neither b's nor the operator's act")
		}
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return l.Forget(tx, tenantA, b) }); err != nil {
			t.Fatal(err)
		}
		if r = l.mustRead(t, Filter{Customer: a}, Page{OldestFirst: true}); r[0].OtherPersonal != nil {
			t.Error("forgetting b left b's part")
		}
	})
}

func TestReadPagesAndFilters(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		l := newLog(db)
		a, b := newCustomer(), newCustomer()
		other := fact(a)
		other.Tenant = "ten_00000000000000000000000002"
		l.mustAppend(t, other)
		for i := range 10 {
			e := fact(a)
			if i%3 == 0 {
				e = fact(b)
				e.Type = "test.third"
			}
			l.mustAppend(t, e)
			time.Sleep(2 * time.Millisecond) // identifiers tell milliseconds
		}
		all := l.mustRead(t, Filter{}, Page{OldestFirst: true})
		if len(all) != 10 {
			t.Fatalf("%d events were listed, want the tenant's 10", len(all))
		}
		for _, oldestFirst := range []bool{true, false} {
			var paged []id.Event
			after := id.Event("")
			for {
				page := l.mustRead(t, Filter{}, Page{After: after, Limit: 3, OldestFirst: oldestFirst})
				if len(page) == 0 {
					break
				}
				for _, r := range page {
					paged = append(paged, r.ID)
				}
				after = page[len(page)-1].ID
			}
			for i := range all {
				j := i
				if !oldestFirst {
					j = len(all) - 1 - i
				}
				if len(paged) != len(all) || paged[i] != all[j].ID {
					t.Fatalf("pages (oldest first: %v) hold %v", oldestFirst, paged)
				}
			}
		}
		if got := l.mustRead(t, Filter{Customer: b}, Page{}); len(got) != 4 || got[0].Customer != b {
			t.Errorf("%d events of b, want 4", len(got))
		}
		if got := l.mustRead(t, Filter{Type: "test.third"}, Page{}); len(got) != 4 {
			t.Errorf("%d events of the type, want 4", len(got))
		}
		if got := l.mustRead(t, Filter{Customer: a, Type: "test.third"}, Page{}); len(got) != 0 {
			t.Errorf("%d events of a of the type, want 0", len(got))
		}
		if got := l.mustRead(t, Filter{Since: all[4].At, Until: all[7].At}, Page{OldestFirst: true}); len(got) != 3 || got[0].ID != all[4].ID {
			t.Errorf("%d events in the time, want the 3 from the fifth on", len(got))
		}
		if _, err := l.Read(t.Context(), tenantA, Filter{}, Page{Limit: MaxPage + 1}); err == nil {
			t.Error("a page without bound was given")
		}
	})
}

func TestDeleteBefore(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		l := newLog(db)
		for range 200 {
			l.mustAppend(t, fact(newCustomer()))
		}
		orderAll(t, l)
		time.Sleep(3 * time.Millisecond)
		cut := time.Now()
		late, pendingOne := newCustomer(), newCustomer()
		l.mustAppend(t, fact(late))
		orderAll(t, l)
		deleted := 0
		for {
			n, err := l.DeleteBefore(t.Context(), cut, 70)
			if err != nil {
				t.Fatal(err)
			}
			if n > 70 {
				t.Fatalf("%d events were deleted at once, the limit is 70", n)
			}
			if n == 0 {
				break
			}
			deleted += n
		}
		if deleted != 200 || count(t, db, "event") != 1 || count(t, db, "event_position") != 1 {
			t.Errorf("%d events were deleted and %d are left with %d positions; want 200, 1, 1", deleted, count(t, db, "event"), count(t, db, "event_position"))
		}
		l.mustAppend(t, fact(pendingOne))
		if n, err := l.DeleteBefore(t.Context(), time.Now().Add(time.Hour), 1000); err != nil || n != 1 {
			t.Errorf("deleted %d, %v; want 1: what has no position yet stays", n, err)
		}
		if r := l.mustRead(t, Filter{}, Page{}); len(r) != 1 || r[0].Customer != pendingOne {
			t.Errorf("left are %v, want the pending one", r)
		}
		// A consumer that never came to them is not held up by what is gone.
		orderAll(t, l)
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		var seen []Record
		if err := l.Consume(ctx, "late", func(_ context.Context, b Batch) error {
			seen = append(seen, b.Records...)
			stop()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(seen) != 1 || seen[0].Customer != pendingOne {
			t.Errorf("a late consumer saw %v", seen)
		}
	})
}

func TestMonthsAreMadeAheadAndDropped(t *testing.T) {
	db := dbtest.Open(t, sqldb.Postgres, sets)
	now := clock.NewFake(time.Now())
	l := newLog(db, func(o *Options) { o.Clock = now })
	for range 2 {
		if err := l.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	months, err := l.months(t.Context())
	if err != nil || len(months) != 5 || !months[now.Now().Format(monthName)] {
		t.Fatalf("partitions are %v, %v; want the default one, this month and three more", months, err)
	}
	l.mustAppend(t, fact(newCustomer()))
	if n := count(t, db, "event_default"); n != 0 {
		t.Errorf("%d events went to the default partition", n)
	}
	later := now.Now().AddDate(0, 2, 0)
	if _, err := l.DeleteBefore(t.Context(), later, 100); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "event"); n != 1 {
		t.Fatal("a month was dropped that holds an event without a position")
	}
	orderAll(t, l)
	if n, err := l.DeleteBefore(t.Context(), later, 100); err != nil || n != 1 {
		t.Fatalf("deleted %d positions, %v; want 1", n, err)
	}
	months, err = l.months(t.Context())
	if err != nil || months[now.Now().Format(monthName)] || count(t, db, "event") != 0 {
		t.Errorf("the old month is still there: %v, %v", months, err)
	}
	// What came while no month was made stays readable, and hinders nothing.
	l.mustAppend(t, fact(newCustomer()))
	if err := l.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "event_default"); n != 1 {
		t.Errorf("%d events are in the default partition, want 1", n)
	}
}

func count(t testing.TB, db *sqldb.DB, table string) int {
	t.Helper()
	var n int
	if err := db.QueryRow(context.Background(), `SELECT count(*) FROM `+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// orderAll gives positions to all that is pending.
func orderAll(t testing.TB, l *Log) {
	t.Helper()
	o, err := l.newOrderer()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.leases.renew(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer o.leases.release(context.Background())
	for {
		n, err := o.step(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}
