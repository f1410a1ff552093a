package notify

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the outbox's tables.
func Migrations() sqldb.MigrationSet { return sqldb.MigrationSet{Package: "notify", FS: migrations} }

// Sealer seals a message's content: *keyring.Customer, or *keyring.Tenant for
// an address without an account.
type Sealer interface {
	SealField(table, column, row string, plain []byte) ([]byte, error)
}

// Message is a message to be sent.
type Message struct {
	Tenant id.Tenant
	Brand  id.Brand
	// Customer is whose Key seals the message; "" means that it is the tenant's.
	Customer id.Customer
	Key      Sealer
	// Handle is the keyed hash that the address is looked up by. It keeps the
	// message beside its challenge.
	Handle []byte
	To     string // one bare address, or a phone number in E.164
	// By is how it travels.
	By Channel
	// Discard makes the message the same row as any other and has it sent to
	// nobody: To is empty. It is for what must cost the same whether or not
	// there is somebody to write to.
	Discard  bool
	Template Template
	Lang     string // BCP 47; one that is not spoken falls back to English
	Data     Data
	// DedupKey, where set, keeps a second message of the same key to the same
	// handle from being sent within seven days.
	DedupKey string
	// Expires is when the message is of no use any more; the zero time means
	// in a day.
	Expires time.Time
}

// Options are what an Outbox works with. DB, Ring, Brands, Transport, Random
// and Words are required.
type Options struct {
	DB        *sqldb.DB
	Ring      *keyring.Ring
	Brands    Brands
	Transport Transport
	Texts     TextTransport // nil gives text messages up
	Words     *Words
	Random    io.Reader // safe for concurrent use
	Logger    *slog.Logger
	// Senders is how many messages a node sends at once; 0 means 8.
	Senders int
	// Poll is how often a node looks for messages that other nodes left behind
	// or that are to be tried again; 0 means every second.
	Poll time.Duration
	// Lease is for how long a message belongs to the node that took it; 0 means
	// two minutes. Sending is given up after half of it, which leaves the rest
	// for clocks that differ.
	Lease time.Duration
}

// Outbox is where messages leave from. It is safe for concurrent use.
type Outbox struct {
	o     Options
	wake  chan struct{}
	looks atomic.Uint64
	stats struct{ sent, retried, expired, dead, discarded atomic.Uint64 }
}

// Limits of a message's life.
const (
	defaultExpiry = 24 * time.Hour
	maxAttempts   = 12
	keepEnded     = 7 * 24 * time.Hour
)

// New makes an Outbox. Messages are sent while Run runs.
func New(o Options) (*Outbox, error) {
	if o.DB == nil || o.Ring == nil || o.Brands == nil || o.Transport == nil || o.Random == nil || o.Words == nil {
		return nil, errors.New("notify: an outbox needs DB, Ring, Brands, Transport, Words and Random")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Senders <= 0 {
		o.Senders = 8
	}
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	if o.Lease <= 0 {
		o.Lease = 2 * time.Minute
	}
	return &Outbox{o: o, wake: make(chan struct{}, 1)}, nil
}

// content is what is sealed of a message.
type content struct {
	To   string  `json:"to"` // "" for a message to be discarded
	By   Channel `json:"by,omitempty"`
	Lang string  `json:"lang"`
	Data Data    `json:"data"`
}

const outboxTable, sealedColumn = "notify_outbox", "sealed"

const sqlEnqueue = `INSERT INTO notify_outbox (tenant, handle, id, dedup, customer, brand, template, state, due_at, lease_owner, attempts, expires_at, created_at, ended_at, reason, sealed)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'waiting', $8, '', 0, $9, $8, 0, '', $10) ON CONFLICT (tenant, handle, dedup) DO NOTHING`

// Enqueue puts a message into the outbox in the transaction of what it tells
// of. It fails with ErrAddress or ErrPhone for anything but one address.
//
// Nothing here asks what the customer prefers, or what hour it is where he is:
// every message of this package is a code that somebody waits for or a notice
// that protects an account, and leaves whatever was said about news and offers.
func (o *Outbox) Enqueue(tx *sqldb.Tx, m Message) error {
	if m.Discard {
		m.To = ""
	} else if err := m.By.check(m.To); err != nil {
		return err
	}
	if m.Tenant == "" || m.Key == nil || len(m.Handle) == 0 || !o.o.Words.has(m.Template) {
		return fmt.Errorf("notify: message %q lacks its tenant, key, handle or template", m.Template)
	}
	now := tx.Now()
	if m.Expires.IsZero() {
		m.Expires = now.Add(defaultExpiry)
	}
	if m.Data.At.IsZero() {
		m.Data.At = now
	}
	plain, err := json.Marshal(content{m.To, m.By, m.Lang, m.Data})
	if err != nil {
		return fmt.Errorf("notify: writing a message: %w", err)
	}
	message := id.New[id.Message](now, o.o.Random)
	sealed, err := m.Key.SealField(outboxTable, sealedColumn, string(message), plain)
	if err != nil {
		return fmt.Errorf("notify: sealing a message: %w", err)
	}
	dedup := m.DedupKey
	if dedup == "" {
		dedup = string(message)
	}
	tx.Queue(sqlEnqueue, m.Tenant, m.Handle, message, dedup, m.Customer, m.Brand, m.Template, now, m.Expires, sealed)
	select {
	case o.wake <- struct{}{}: // Run looks again and again for a moment, until the commit shows
	default:
	}
	return nil
}

// Stats counts since the start, for metrics.
type Stats struct {
	Sent, Retried, Expired, Dead, Discarded uint64
}

const sqlWaiting = `SELECT COUNT(*), COALESCE(MIN(created_at), 0) FROM (SELECT created_at FROM notify_outbox WHERE state = 'waiting' ORDER BY due_at LIMIT $1) AS waiting`

// mostWaiting bounds what Backlog counts.
const mostWaiting = 100_000

// Backlog tells how many messages wait to be sent, on all nodes, and since when
// the oldest of them does. It counts 100,000 at most.
func (o *Outbox) Backlog(ctx context.Context) (waiting int, oldest time.Time, err error) {
	err = o.o.DB.QueryRow(ctx, sqlWaiting, mostWaiting).Scan(&waiting, &oldest)
	return waiting, oldest, err
}

// Stats answers this node's counts.
func (o *Outbox) Stats() Stats {
	return Stats{o.stats.sent.Load(), o.stats.retried.Load(), o.stats.expired.Load(), o.stats.dead.Load(), o.stats.discarded.Load()}
}
