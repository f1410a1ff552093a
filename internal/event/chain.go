package event

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// The chain makes it show when somebody who can write to the database changes,
// removes or puts in events. Append makes a digest of each; whoever gives it its
// position hashes it onto the chain of its lane. What a later hand changes no
// longer fits the chain; who makes the whole chain anew is found out by an Anchor
// that was kept elsewhere (docs/decisions/0140).
//
// A personal part is not in the digest: it goes with its customer's erasure, and
// is sealed to its event by itself.

// Anchor is where the chain of one lane stands.
type Anchor struct {
	Lane     int    `json:"lane"`
	Position int64  `json:"position"` // of the last event; 0 for a lane without one
	Chain    []byte `json:"chain"`    // SHA-256; empty while nothing is chained
}

// digest is the SHA-256 of all that an event tells openly, each part with its
// length before it. It is part of the stored format.
func (r *Record) digest(holder id.Customer) []byte {
	h := sha256.New()
	number := func(n int64) { _ = binary.Write(h, binary.BigEndian, n) } // a hash's Write never fails
	for _, part := range []string{string(r.Tenant), string(r.Customer), string(r.ID), r.Type, r.Actor, string(r.Request), string(holder), string(r.Other), string(r.Data)} {
		number(int64(len(part)))
		h.Write([]byte(part))
	}
	number(r.At.UnixMicro())
	number(r.Version)
	number(r.Sequence)
	return h.Sum(nil)
}

// link hashes an event onto a chain.
func link(chain []byte, position int64, digest []byte) []byte {
	h := sha256.New()
	h.Write(chain)
	_ = binary.Write(h, binary.BigEndian, position)
	h.Write(digest)
	return h.Sum(nil)
}

// Anchors tells where the chains of all lanes stand.
func (l *Log) Anchors(ctx context.Context) ([]Anchor, error) {
	rows, err := l.db.Query(ctx, `SELECT slot, position, chain FROM event_lease WHERE role = 'order' ORDER BY slot`)
	if err != nil {
		return nil, fmt.Errorf("read the chains: %w", err)
	}
	defer rows.Close()
	var anchors []Anchor
	for rows.Next() {
		var a Anchor
		if err := rows.Scan(&a.Lane, &a.Position, &a.Chain); err != nil {
			return nil, fmt.Errorf("read a chain: %w", err)
		}
		anchors = append(anchors, a)
	}
	return anchors, rows.Err()
}

// Fault is what is wrong with the events of a lane.
type Fault string

const (
	FaultChanged Fault = "changed" // the event is not as it was when it was made
	FaultRemoved Fault = "removed" // the event, or its position, is gone
	FaultChain   Fault = "chain"   // the chain was broken before it
	FaultCut     Fault = "cut"     // events at the end are gone
)

// Checked is how far a lane was looked at, and what was found.
type Checked struct {
	Anchor
	Events    int      `json:"events"`    // that are as they were
	Unchained int      `json:"unchained"` // of a release that made no chain: nothing can be said of them
	Aged      int      `json:"aged"`      // whose time was over, and which are gone but for their positions
	End       bool     `json:"end"`       // nothing follows
	Last      int64    `json:"last"`      // the position that was given last in the lane
	Fault     Fault    `json:"fault,omitempty"`
	Event     id.Event `json:"event,omitempty"` // that the fault is of, where there is one

	seen bool
}

// MaxChecked is how many events Check looks at in one go.
const MaxChecked = 5000

// Check looks at up to limit events of a lane that come after from, and no
// further than the position to, 0 for the end. It stops at the first fault. Where
// from has no chain, that of the first event is believed: those before it are gone
// when their time is over. Seen says that an event was found in the lane before:
// from then on none may be missing.
func (l *Log) Check(ctx context.Context, from Anchor, seen bool, to int64, limit int) (Checked, error) {
	done := Checked{Anchor: from, seen: seen}
	end := Anchor{Lane: from.Lane}
	err := l.db.QueryRow(ctx, `SELECT position, chain FROM event_lease WHERE role = 'order' AND slot = $1`, from.Lane).Scan(&end.Position, &end.Chain)
	if err != nil {
		return done, fmt.Errorf("read the end of the lane: %w", err)
	}
	if done.Last = end.Position; to == 0 || to > end.Position {
		to = end.Position
	}
	rows, err := l.db.Query(ctx, `SELECT p.position, p.event, p.digest, p.chain, CASE WHEN e.id IS NULL THEN 0 ELSE 1 END,
			COALESCE(e.type, ''), COALESCE(e.at, 0), p.tenant, p.customer, COALESCE(e.version, 0), COALESCE(e.seq, 0), COALESCE(e.actor, ''), COALESCE(e.request, ''),
			COALESCE(e.other, ''), COALESCE(e.data, ''), COALESCE(e.holder, '')
		FROM event_position p LEFT JOIN event e ON e.tenant = p.tenant AND e.customer = p.customer AND e.id = p.event
		WHERE p.lane = $1 AND p.position > $2 AND p.position <= $3 ORDER BY p.position LIMIT $4`, from.Lane, from.Position, to, limit)
	if err != nil {
		return done, fmt.Errorf("read the lane: %w", err)
	}
	defer rows.Close()
	looked := 0
	for rows.Next() {
		var x positioned
		if err := x.scan(rows); err != nil {
			return done, fmt.Errorf("read the lane: %w", err)
		}
		if looked++; !done.take(x) {
			return done, nil
		}
	}
	if err := rows.Err(); err != nil {
		return done, err
	}
	done.End = looked < limit
	// A lane of which nothing is left is one whose events' time was over.
	if done.End && to == end.Position && done.Position > 0 && (done.Position != end.Position || len(done.Chain) > 0 && !bytes.Equal(done.Chain, end.Chain)) {
		done.Fault = FaultCut
	}
	return done, nil
}

// positioned is an event with its place in the chain.
type positioned struct {
	Record
	found         bool
	holder        id.Customer
	stored, chain []byte
}

func (x *positioned) scan(rows *sqldb.Rows) error {
	var found int
	var data string
	err := rows.Scan(&x.Position, &x.ID, &x.stored, &x.chain, &found, &x.Type, &x.At, &x.Tenant, &x.Customer, &x.Version, &x.Sequence, &x.Actor, &x.Request,
		&x.Other, &data, &x.holder)
	x.found, x.Data = found == 1, []byte(data)
	return err
}

// take goes on by one event, or says what is wrong with it.
func (c *Checked) take(x positioned) bool {
	fault := func(f Fault) bool {
		c.Fault, c.Event = f, x.ID
		return false
	}
	if c.Position > 0 && x.Position != c.Position+1 {
		return fault(FaultRemoved)
	}
	switch {
	case x.stored == nil: // to take a digest away breaks the chain after it
		c.Unchained++
	case !x.found && c.seen:
		return fault(FaultRemoved)
	case !x.found:
		c.Aged++
	case !bytes.Equal(x.stored, x.digest(x.holder)):
		return fault(FaultChanged)
	default:
		c.Events++
		c.seen = true
	}
	believed := len(c.Chain) == 0 && x.Position > 1
	if x.stored != nil && !believed && !bytes.Equal(x.chain, link(c.Chain, x.Position, x.stored)) {
		return fault(FaultChain)
	}
	c.Position = x.Position
	if x.stored != nil {
		c.Chain = x.chain
	}
	return true
}
