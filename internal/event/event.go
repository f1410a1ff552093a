// Package event keeps the stream of facts that every change of state appends
// to, and that audit, webhooks, analytics and provisioning read.
//
// Append joins the transaction of the change: it inserts the event and a row
// that says it waits for its place in the order. Run, on every node, gives the
// places: each event belongs to one of 64 lanes (by its customer, else its
// tenant), and whichever node holds a lane's lease writes positions without
// gaps. Within a customer positions follow the customer's version, which every
// transaction that appends raises, and no clock; events of a tenant alone are
// in no particular order. Consume calls a handler with each lane's events in
// order, at least once. Read lists them by time.
//
// A lease carries a fencing epoch that is checked in the transaction that
// writes: a node that lost its lease without noticing writes nothing more.
//
// What an event tells is open but for its personal part, which is sealed with
// the key of the customer it is about, or with the tenant's for an operator's
// own act. The package knows neither keys nor customers: it is given a Sealer
// with each event, and a function that raises a customer's version.
package event

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this package.
func Migrations() sqldb.MigrationSet { return sqldb.MigrationSet{Package: "event", FS: migrations} }

// System is the actor of what nobody did: expiry, schedules, clean-up.
const System = "system"

// Sealer seals personal data: a customer's key or a tenant's.
type Sealer interface {
	SealField(table, column, row string, plain []byte) ([]byte, error)
}

// Event is a fact to be appended.
type Event struct {
	Tenant   id.Tenant
	Customer id.Customer // whom it is about; "" for an event of the tenant alone
	Type     string      // what happened: "session.started"
	Actor    string      // who did it: the id of a customer, operator or application, or System
	Request  id.Request  // the HTTP request it happened in; "" takes that of the transaction's context
	Data     any         // encoded as JSON; nothing personal; nil is {}

	// Personal is encoded as JSON and sealed with Sealer, which is the key of
	// Customer unless TenantKey is set or there is no customer.
	Personal any
	Sealer   Sealer
	// TenantKey says that Sealer is the tenant's key: for what an operator did
	// to a customer, which outlives the customer's erasure.
	TenantKey bool

	// Other is a second customer whom the event is about.
	Other Other
}

// Other is the second person of an event, with a sealed part of their own.
type Other struct {
	Customer id.Customer
	Personal any
	Sealer   Sealer
}

// Options say how a Log works.
type Options struct {
	DB    *sqldb.DB   // holds Migrations
	Clock clock.Clock // for leases; nil means the DB's
	// Random is where identifiers come from; nil means crypto/rand.
	Random io.Reader
	// Bump raises a customer's version in the transaction and returns the new
	// one. It is called once a transaction and customer, and must hold the
	// customer's row until the commit, as an UPDATE does.
	Bump   func(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) (version int64, err error)
	Logger *slog.Logger // nil means silence

	// Lease is how long a node that died keeps what it held; 0 means 10 s on
	// PostgreSQL. SQLite has one node, which takes all over when it starts;
	// there 0 means a minute.
	Lease time.Duration
	// Poll is how often an idle node looks for what other nodes appended; 0
	// means 250 ms on PostgreSQL and 1 s on SQLite. Its own appends wake it.
	Poll time.Duration
	// Batch is how many events are given positions, or handed to a consumer,
	// at once; 0 means 500.
	Batch int
}

// Log is the stream of one database. It is safe for concurrent use.
type Log struct {
	db     *sqldb.DB
	clock  clock.Clock
	random io.Reader
	bump   func(*sqldb.Tx, id.Tenant, id.Customer) (int64, error)
	logger *slog.Logger
	lease  time.Duration
	poll   time.Duration
	batch  int

	appended signal // something was appended here, or will be when its transaction commits
	ordered  signal // this node wrote positions
}

// New makes a Log. It panics without DB or Bump, which is a fault of wiring.
func New(o Options) *Log {
	if o.DB == nil || o.Bump == nil {
		panic("event: New needs DB and Bump")
	}
	l := &Log{
		db: o.DB, clock: o.Clock, random: o.Random, bump: o.Bump, logger: o.Logger,
		lease: o.Lease, poll: o.Poll, batch: o.Batch,
	}
	if l.clock == nil {
		l.clock = o.DB.Clock()
	}
	if l.random == nil {
		l.random = rand.Reader
	}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	local := o.DB.Engine() == sqldb.SQLite
	if l.lease <= 0 {
		l.lease = 10 * time.Second
		if local {
			l.lease = time.Minute
		}
	}
	if l.poll <= 0 {
		l.poll = 250 * time.Millisecond
		if local {
			l.poll = time.Second
		}
	}
	if l.batch <= 0 {
		l.batch = 500
	}
	return l
}

// Lanes is how many orders there are side by side. It never changes.
const Lanes = 64

// laneOf spreads customers, and tenants for events without one, over the lanes.
func laneOf(tenant id.Tenant, customer id.Customer) int {
	h := fnv.New32a()
	if customer != "" {
		_, _ = io.WriteString(h, string(customer)) // a hash's Write never fails
	} else {
		_, _ = io.WriteString(h, string(tenant))
	}
	sum := h.Sum32()
	return int((sum ^ sum>>16) % Lanes)
}

var typeName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$`)

// Append records that e happened, in the transaction that makes it so. On
// PostgreSQL it costs no round trip of its own, beyond Bump's.
func (l *Log) Append(tx *sqldb.Tx, e Event) error {
	if err := l.append(tx, e); err != nil {
		return fmt.Errorf("append event %q: %w", e.Type, err)
	}
	// A hint that comes before the commit, and perhaps of a transaction that
	// is undone: the leader looks for a little while.
	l.appended.raise()
	return nil
}

func (l *Log) append(tx *sqldb.Tx, e Event) error {
	switch {
	case e.Tenant == "":
		return errors.New("no tenant")
	case !typeName.MatchString(e.Type):
		return errors.New(`a type is lower-case words with a dot, such as "session.started"`)
	case e.Actor == "":
		return errors.New("no actor")
	case e.Personal != nil && e.Sealer == nil, e.Other.Personal != nil && e.Other.Sealer == nil:
		return errors.New("a personal part without a key to seal it")
	case e.Other.Personal != nil && e.Other.Customer == "":
		return errors.New("a second personal part of nobody")
	}
	if e.Request == "" {
		e.Request = id.RequestOf(tx.Context())
	}
	u := tx.Local(unitKey{l}, func() any { return l.newUnit(tx) }).(*unit)
	s, err := u.subject(tx, l, e.Tenant, e.Customer)
	if err != nil {
		return err
	}
	s.seq++
	key := u.nextID()

	data := []byte("{}")
	if e.Data != nil {
		if data, err = json.Marshal(e.Data); err != nil {
			return err
		}
	}
	personal, err := seal(e.Sealer, columnPersonal, key, e.Personal)
	if err != nil {
		return err
	}
	holder := e.Customer
	if e.TenantKey {
		holder = ""
	}
	other, err := seal(e.Other.Sealer, columnOther, key, e.Other.Personal)
	if err != nil {
		return err
	}
	r := Record{ID: key, Type: e.Type, At: tx.Now(), Tenant: e.Tenant, Customer: e.Customer, Version: s.version, Sequence: s.seq, Actor: e.Actor,
		Request: e.Request, Other: e.Other.Customer, Data: data}
	tx.Queue(`INSERT INTO event (tenant, customer, id, version, seq, type, at, actor, request, data, holder, personal, other, other_personal)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		e.Tenant, e.Customer, key, s.version, s.seq, e.Type, r.At, e.Actor, e.Request, string(data), holder, personal, e.Other.Customer, other)
	tx.Queue(`INSERT INTO event_pending (lane, tenant, customer, version, seq, event, digest) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		laneOf(e.Tenant, e.Customer), e.Tenant, e.Customer, s.version, s.seq, key, r.digest(holder))
	return nil
}

// Names that personal parts are bound to when they are sealed, beside the
// event's id. They are part of the stored format.
const (
	tableEvent     = "event"
	columnPersonal = "personal"
	columnOther    = "other_personal"
)

func seal(s Sealer, column string, key id.Event, content any) ([]byte, error) {
	if content == nil {
		return nil, nil
	}
	plain, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	sealed, err := s.SealField(tableEvent, column, string(key), plain)
	if err != nil {
		return nil, fmt.Errorf("seal its personal part: %w", err)
	}
	return sealed, nil
}

// unit is what one attempt at a transaction has appended so far.
type unit struct {
	now      time.Time
	random   [10]byte // of the transaction's first event; the next ones count up from it
	subjects map[subjectKey]*subject
}

type unitKey struct{ log *Log }

type subjectKey struct {
	tenant   id.Tenant
	customer id.Customer
}

// subject is where one customer, or a tenant alone, stands in the transaction.
type subject struct{ version, seq int64 }

func (l *Log) newUnit(tx *sqldb.Tx) *unit {
	u := &unit{now: tx.Now(), subjects: map[subjectKey]*subject{}}
	if _, err := io.ReadFull(l.random, u.random[:]); err != nil {
		panic(fmt.Sprintf("event: reading randomness: %v", err)) // as id.New does
	}
	u.random[2] &= 0x1f // room for the count below the bits that UUIDv7 fixes
	return u
}

func (u *unit) subject(tx *sqldb.Tx, l *Log, tenant id.Tenant, customer id.Customer) (*subject, error) {
	key := subjectKey{tenant, customer}
	if s, found := u.subjects[key]; found {
		return s, nil
	}
	s := &subject{}
	if customer != "" {
		version, err := l.bump(tx, tenant, customer)
		if err != nil {
			return nil, fmt.Errorf("raise the customer's version: %w", err)
		}
		s.version = version
	}
	u.subjects[key] = s
	return s, nil
}

// nextID makes an id that sorts after those made before in this transaction
// (RFC 9562, section 6.2, method 2), so that a list by time tells them in order.
func (u *unit) nextID() id.Event {
	made := id.New[id.Event](u.now, (*fixed)(&u.random))
	for i := len(u.random) - 1; i > 1; i-- {
		u.random[i]++
		if u.random[i] != 0 {
			break
		}
	}
	return made
}

// fixed is a source of the same ten bytes.
type fixed [10]byte

func (f *fixed) Read(p []byte) (int, error) { return copy(p, f[:]), nil }

// signal wakes those who wait for it; raising it twice before they look is
// raising it once.
type signal struct {
	mu      sync.Mutex
	waiting map[chan struct{}]bool
}

func (s *signal) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.waiting {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// listen returns a channel that gets a value when the signal is raised, and a
// function that ends it.
func (s *signal) listen() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		s.waiting = map[chan struct{}]bool{}
	}
	s.waiting[c] = true
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiting, c)
	}
}

// pause waits for d, for wake, or for the end of ctx. It says whether it was woken.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-wake:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
