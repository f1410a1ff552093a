package event

import (
	"fmt"
	"testing"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/sqldb/dbtest"
)

// walk checks a lane to its end, a few events at a time.
func walk(t *testing.T, l *Log, lane int) (all Checked) {
	t.Helper()
	at, seen := Anchor{Lane: lane}, false
	for {
		done, err := l.Check(t.Context(), at, seen, 0, 3)
		if err != nil {
			t.Fatal(err)
		}
		all.Events, all.Unchained, all.Aged, all.Anchor = all.Events+done.Events, all.Unchained+done.Unchained, all.Aged+done.Aged, done.Anchor
		all.Fault, all.Event = done.Fault, done.Event
		if at, seen = done.Anchor, seen || done.Events > 0; done.End || done.Fault != "" {
			return all
		}
	}
}

func mustWrite(t *testing.T, db *sqldb.DB, statement string, args ...any) {
	t.Helper()
	if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := tx.Exec(statement, args...); return err }); err != nil {
		t.Fatal(err)
	}
}

// SECURITY 84: whatever is changed in the record, taken out of it or put into it,
// shows; and who makes the whole chain anew is found out by an earlier anchor.
func TestTheChainShowsWhatWasDoneToTheRecord(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		l := newLog(db)
		who := newCustomer()
		lane := laneOf(tenantA, who)
		for n := range 10 {
			e := fact(who)
			e.Data = map[string]any{"n": n, "text": "ünï \" \\ 世界"}
			e.Personal, e.Sealer = "Ana", key("k")
			l.mustAppend(t, e)
		}
		orderAll(t, l)
		if got := walk(t, l, lane); got.Fault != "" || got.Events != 10 || got.Unchained+got.Aged != 0 {
			t.Fatalf("as it was made: %+v", got)
		}
		anchors, err := l.Anchors(t.Context())
		if err != nil || len(anchors) != Lanes || anchors[lane].Position != 10 || len(anchors[lane].Chain) != 32 {
			t.Fatalf("%v, %v", anchors, err)
		}
		// An erasure takes the personal parts, and breaks nothing.
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return l.Forget(tx, tenantA, who) }); err != nil {
			t.Fatal(err)
		}
		if got := walk(t, l, lane); got.Fault != "" || got.Events != 10 {
			t.Fatalf("after an erasure: %+v", got)
		}
		var fifth, last id.Event
		for position, into := range map[int]*id.Event{5: &fifth, 10: &last} {
			if err := db.QueryRow(t.Context(), `SELECT event FROM event_position WHERE lane = $1 AND position = $2`, lane, position).Scan(into); err != nil {
				t.Fatal(err)
			}
		}
		backup := func(names ...string) func() { // what is done is undone
			for _, name := range names {
				mustWrite(t, db, fmt.Sprintf(`CREATE TABLE kept_%s AS SELECT * FROM %s`, name, name))
			}
			return func() {
				for _, name := range names {
					mustWrite(t, db, `DELETE FROM `+name)
					mustWrite(t, db, fmt.Sprintf(`INSERT INTO %s SELECT * FROM kept_%s`, name, name))
				}
			}
		}
		first := fmt.Sprintf(`DELETE FROM event WHERE id IN (SELECT event FROM event_position WHERE lane = %d AND position < 5)`, lane)
		undo := backup("event", "event_position", "event_lease")
		for name, c := range map[string]struct {
			do   []string
			want Fault
			of   id.Event
		}{
			"another actor":        {[]string{`UPDATE event SET actor = 'nobody' WHERE id = '` + string(fifth) + `'`}, FaultChanged, fifth},
			"other data":           {[]string{`UPDATE event SET data = '{}' WHERE id = '` + string(fifth) + `'`}, FaultChanged, fifth},
			"another time":         {[]string{`UPDATE event SET at = at + 1 WHERE id = '` + string(fifth) + `'`}, FaultChanged, fifth},
			"an event is gone":     {[]string{`DELETE FROM event WHERE id = '` + string(fifth) + `'`}, FaultRemoved, fifth},
			"with its position":    {[]string{`DELETE FROM event WHERE id = '` + string(fifth) + `'`, `DELETE FROM event_position WHERE event = '` + string(fifth) + `'`}, FaultRemoved, ""},
			"the end is gone":      {[]string{`DELETE FROM event WHERE id = '` + string(last) + `'`, `DELETE FROM event_position WHERE event = '` + string(last) + `'`}, FaultCut, ""},
			"its digest is gone":   {[]string{`UPDATE event SET actor = 'x' WHERE id = '` + string(fifth) + `'`, `UPDATE event_position SET digest = NULL, chain = NULL WHERE event = '` + string(fifth) + `'`}, FaultChain, ""},
			"the last digest":      {[]string{`UPDATE event SET actor = 'x' WHERE id = '` + string(last) + `'`, `UPDATE event_position SET digest = NULL, chain = NULL WHERE event = '` + string(last) + `'`}, FaultCut, ""},
			"two changed places":   {[]string{`UPDATE event_position SET position = 100 WHERE lane = ` + fmt.Sprint(lane) + ` AND position = 5`, `UPDATE event_position SET position = 5 WHERE lane = ` + fmt.Sprint(lane) + ` AND position = 6`, `UPDATE event_position SET position = 6 WHERE lane = ` + fmt.Sprint(lane) + ` AND position = 100`}, FaultChain, ""},
			"the lease says less":  {[]string{`UPDATE event_lease SET position = 9 WHERE role = 'order' AND slot = ` + fmt.Sprint(lane)}, FaultCut, ""},
			"another chain's end":  {[]string{`UPDATE event_lease SET chain = digest FROM event_position WHERE role = 'order' AND slot = ` + fmt.Sprint(lane) + ` AND lane = slot AND event_position.position = 1`}, FaultCut, ""},
			"nothing":              {nil, "", ""},
			"the first of them go": {[]string{first, `DELETE FROM event_position WHERE lane = ` + fmt.Sprint(lane) + ` AND position < 5`}, "", ""}, // as when their time is over
			"but their positions":  {[]string{first}, "", ""},
		} {
			for _, statement := range c.do {
				mustWrite(t, db, statement)
			}
			if got := walk(t, l, lane); got.Fault != c.want || (c.of != "" && got.Event != c.of) {
				t.Errorf("%s: %+v, want %q", name, got, c.want)
			}
			undo()
		}
		// The chain goes on, and who makes all of it anew has another one where the anchor was.
		l.mustAppend(t, fact(who))
		orderAll(t, l)
		upTo, err := l.Check(t.Context(), Anchor{Lane: lane}, false, anchors[lane].Position, MaxChecked)
		if err != nil || upTo.Fault != "" || string(upTo.Chain) != string(anchors[lane].Chain) {
			t.Fatalf("%+v, %v", upTo, err)
		}
		if got := walk(t, l, lane); got.Events != 11 || got.Fault != "" {
			t.Errorf("%+v", got)
		}
	})
}

// While nodes of an earlier release run beside this one, some events have no
// digest; the chain passes over them and holds.
func TestTheChainPassesOverWhatAnEarlierReleaseWrote(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, db *sqldb.DB) {
		l := newLog(db)
		who := newCustomer()
		lane := laneOf(tenantA, who)
		for n := range 9 {
			l.mustAppend(t, fact(who))
			if n%3 == 1 { // an earlier release appends
				mustWrite(t, db, `UPDATE event_pending SET digest = NULL`)
			}
			orderAll(t, l)
			time.Sleep(time.Millisecond)
		}
		if got := walk(t, l, lane); got.Fault != "" || got.Events != 6 || got.Unchained != 3 {
			t.Errorf("%+v", got)
		}
		mustWrite(t, db, `UPDATE event_position SET digest = NULL, chain = NULL WHERE position = 4`)
		if got := walk(t, l, lane); got.Fault != FaultChain {
			t.Errorf("a digest is taken away: %+v", got)
		}
	})
}

// The digest and the chain are part of the stored format.
func TestDigestsAreForEver(t *testing.T) {
	r := Record{ID: "evt_0000000000000000000000000e", Type: "customer.locked", At: start, Tenant: tenantA, Customer: "cus_0000000000000000000000000a", Version: 7, Sequence: 2,
		Actor: "system", Request: "req_0000000000000000000000000r", Other: "cus_0000000000000000000000000b", Data: []byte(`{"n":1}`)}
	digest := r.digest("")
	if got := fmt.Sprintf("%x", digest); got != "eb9e851777e5c655c5c98433335574884cea046ca301740f0e832b906d06e8b3" {
		t.Errorf("the digest is %s", got)
	}
	if got := fmt.Sprintf("%x", link(link(nil, 1, digest), 2, digest)); got != "122cebced3daf21edcc02db4ef1b081dbc8406d16fa82999405aa531486080c1" {
		t.Errorf("the chain is %s", got)
	}
	seen := map[string]bool{string(digest): true}
	for name, change := range map[string]func(*Record){
		"id": func(r *Record) { r.ID += "x" }, "type": func(r *Record) { r.Type += "x" }, "at": func(r *Record) { r.At = r.At.Add(time.Microsecond) },
		"tenant": func(r *Record) { r.Tenant += "x" }, "customer": func(r *Record) { r.Customer += "x" }, "version": func(r *Record) { r.Version++ },
		"sequence": func(r *Record) { r.Sequence++ }, "actor": func(r *Record) { r.Actor += "x" }, "request": func(r *Record) { r.Request += "x" },
		"other": func(r *Record) { r.Other += "x" }, "data": func(r *Record) { r.Data = append(r.Data, ' ') },
	} {
		changed := r
		changed.Data = append([]byte(nil), r.Data...)
		change(&changed)
		if sum := string(changed.digest("")); seen[sum] {
			t.Errorf("%s is not in the digest", name)
		} else {
			seen[sum] = true
		}
	}
	if seen[string(r.digest("cus_x"))] {
		t.Error("the holder is not in the digest")
	}
}
