package event

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Record is an event as it is stored. Its JSON form is the envelope that
// leaves Cardea: what is personal is not in it.
type Record struct {
	ID       id.Event        `json:"id"`
	Type     string          `json:"type"`
	At       time.Time       `json:"at"`
	Tenant   id.Tenant       `json:"tenant"`
	Customer id.Customer     `json:"customer,omitempty"`
	Version  int64           `json:"version,omitempty"` // the customer's; 0 for an event of the tenant alone
	Sequence int64           `json:"sequence"`          // within the version, from 1
	Actor    string          `json:"actor"`
	Request  id.Request      `json:"request,omitempty"`
	Other    id.Customer     `json:"other,omitempty"` // the second customer it is about
	Data     json.RawMessage `json:"data"`

	Personal      *Sealed `json:"-"` // nil when there is none
	OtherPersonal *Sealed `json:"-"`
	Position      int64   `json:"-"` // in its lane; 0 when listed by Read
}

// Sealed is a personal part of an event.
type Sealed struct {
	Holder id.Customer // whose key opens it; "" is the tenant's
	event  id.Event
	column string
	sealed []byte
}

// Opener opens what a Sealer of the same key has sealed.
type Opener interface {
	OpenField(table, column, row string, sealed []byte) ([]byte, error)
}

// Open opens the part with its holder's key.
func (s *Sealed) Open(key Opener) (json.RawMessage, error) {
	plain, err := key.OpenField(tableEvent, s.column, string(s.event), s.sealed)
	if err != nil {
		return nil, fmt.Errorf("open the personal part of %s: %w", s.event, err)
	}
	return plain, nil
}

// columns are what scanRecord scans, of the event called e.
const columns = `e.id, e.type, e.at, e.tenant, e.customer, e.version, e.seq, e.actor, e.request, e.other, e.data, e.holder, e.personal, e.other_personal`

func scanRecord(row sqldb.Scanner, before ...any) (Record, error) {
	var r Record
	var data string
	var holder id.Customer
	var personal, other []byte
	err := row.Scan(append(before, &r.ID, &r.Type, &r.At, &r.Tenant, &r.Customer, &r.Version, &r.Sequence, &r.Actor, &r.Request, &r.Other,
		&data, &holder, &personal, &other)...)
	if err != nil {
		return Record{}, err
	}
	r.Data = json.RawMessage(data)
	if personal != nil {
		r.Personal = &Sealed{Holder: holder, event: r.ID, column: columnPersonal, sealed: personal}
	}
	if other != nil {
		r.OtherPersonal = &Sealed{Holder: r.Other, event: r.ID, column: columnOther, sealed: other}
	}
	return r, nil
}

// Filter says which events of a tenant to list. The zero Filter lists all.
type Filter struct {
	Customer id.Customer // about this customer alone
	Type     string      // of this type
	Since    time.Time   // at or after
	Until    time.Time   // before
}

// Page says which part of a list to return.
type Page struct {
	After       id.Event // go on after the last event of the page before; "" is the first page
	Limit       int      // 1 to MaxPage; 0 is MaxPage
	OldestFirst bool     // otherwise the newest comes first
}

// MaxPage is the largest page.
const MaxPage = 1000

// Read lists events of a tenant by the time of their making, whether they have
// a position yet or not. Where a customer's events are concerned, Version and
// Sequence tell their order more exactly than the clocks of several nodes can.
func (l *Log) Read(ctx context.Context, tenant id.Tenant, f Filter, p Page) ([]Record, error) {
	if p.Limit < 0 || p.Limit > MaxPage {
		return nil, fmt.Errorf("event: a page has 1 to %d events, not %d", MaxPage, p.Limit)
	}
	if p.Limit == 0 {
		p.Limit = MaxPage
	}
	// The identifier begins with the millisecond; at is exact.
	low, high, since, until := "", "evt`", int64(0), int64(1<<62) // '`' follows '_'
	if !f.Since.IsZero() {
		low, since = string(firstID(f.Since)), f.Since.UnixMicro()
	}
	if !f.Until.IsZero() {
		high, until = string(firstID(f.Until.Add(time.Millisecond))), f.Until.UnixMicro()
	}
	comparison, order := "e.id < $5", "DESC"
	if p.OldestFirst {
		comparison, order = "e.id > $5", ""
	}
	if p.After == "" && !p.OldestFirst {
		p.After = "evt`"
	}
	var q strings.Builder
	q.WriteString(`SELECT ` + columns + ` FROM event e WHERE e.tenant = $1 AND e.id >= $2 AND e.id < $3 AND e.at >= $4 AND ` + comparison + ` AND e.at < $6`)
	args := []any{tenant, low, high, since, p.After, until}
	if f.Customer != "" {
		args = append(args, f.Customer)
		fmt.Fprintf(&q, " AND e.customer = $%d", len(args))
	}
	if f.Type != "" {
		args = append(args, f.Type)
		fmt.Fprintf(&q, " AND e.type = $%d", len(args))
	}
	args = append(args, p.Limit)
	fmt.Fprintf(&q, " ORDER BY e.id %s LIMIT $%d", order, len(args))

	rows, err := l.db.Query(ctx, q.String(), args...)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	var records []Record
	for rows.Next() {
		r, err := scanRecord(rows)
		if err != nil {
			return nil, fmt.Errorf("list events: %w", err)
		}
		records = append(records, r)
	}
	return records, rows.Err()
}

// mostPending bounds what Backlog counts.
const mostPending = 100_000

// Backlog tells how many events wait for their place in the order, on all
// nodes, and when the oldest of them was made. It counts 100,000 at most.
func (l *Log) Backlog(ctx context.Context) (pending int, oldest time.Time, err error) {
	var first id.Event
	err = l.db.QueryRow(ctx, `SELECT COUNT(*), COALESCE(MIN(event), '') FROM (SELECT event FROM event_pending LIMIT $1) AS waiting`, mostPending).Scan(&pending, &first)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("count the events that wait: %w", err)
	}
	return pending, id.Time(first), nil
}

// firstID is the least identifier that an event of this millisecond can have.
func firstID(t time.Time) id.Event { return id.New[id.Event](t, new(fixed)) }
