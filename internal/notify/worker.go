package notify

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tracing"
)

const (
	eagerLooks = 12 // how often Run looks closely after an Enqueue, half a second altogether
	eagerFirst = 5 * time.Millisecond
	eagerMost  = 50 * time.Millisecond
	drainFor   = 10 * time.Second // what messages on their way are given when Run is told to stop
	sweepEvery = time.Hour
	sweepBatch = 200
)

// taken is a message under this node's lease.
type taken struct {
	tenant    id.Tenant
	handle    []byte
	id        id.Message
	dedup     string
	customer  id.Customer
	brand     id.Brand
	template  Template
	attempts  int
	expiresAt time.Time
	sealed    []byte
	owner     string // of this lease and no other
}

// Run sends messages until ctx is done, then gives those on their way a moment
// to finish. It may run on any number of nodes.
func (o *Outbox) Run(ctx context.Context) error {
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	slots := make(chan struct{}, o.o.Senders)
	var senders sync.WaitGroup
	eager, wait, nextSweep := 0, time.Duration(0), time.Time{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			o.drain(&senders, stop)
			return nil
		case <-o.wake:
			eager, wait = eagerLooks, eagerFirst
		case <-timer.C:
		}
		if now := o.o.DB.Clock().Now(); now.After(nextSweep) {
			nextSweep = now.Add(sweepEvery)
			if err := o.sweep(ctx); err != nil && ctx.Err() == nil {
				o.o.Logger.Warn("old messages could not be deleted", "error", err)
			}
		}
		messages, err := o.take(ctx, cap(slots)-len(slots))
		if err != nil && ctx.Err() == nil {
			o.o.Logger.Warn("the outbox could not be read", "error", err)
		}
		for _, m := range messages {
			slots <- struct{}{} // never waits: no more were taken than are free
			senders.Go(func() {
				defer func() {
					<-slots
					select { // there may be more than there were senders
					case o.wake <- struct{}{}:
					default:
					}
				}()
				o.deliver(sending, m)
			})
		}
		if eager > 0 {
			eager--
			timer.Reset(wait)
			wait = min(wait*2, eagerMost)
		} else {
			timer.Reset(o.o.Poll + o.upTo(o.o.Poll/4)) // which spreads the nodes
		}
	}
}

func (o *Outbox) drain(senders *sync.WaitGroup, stop func()) {
	timer := time.AfterFunc(drainFor, stop)
	defer timer.Stop()
	senders.Wait()
}

const (
	sqlUrgent = `SELECT tenant, handle, id FROM notify_outbox WHERE state = 'waiting' AND template IN ('code', 'recovery') AND due_at <= $1 ORDER BY due_at, id LIMIT $2`
	sqlDue    = `SELECT tenant, handle, id FROM notify_outbox WHERE state = 'waiting' AND template NOT IN ('code', 'recovery') AND due_at <= $1 ORDER BY due_at, id LIMIT $2`

	sqlTake = `UPDATE notify_outbox SET due_at = $5, lease_owner = $6, attempts = attempts + 1
WHERE tenant = $1 AND handle = $2 AND id = $3 AND state = 'waiting' AND due_at <= $4
RETURNING dedup, customer, brand, template, attempts, expires_at, sealed`
)

// due finds up to limit messages by one of the queries above.
func (o *Outbox) due(ctx context.Context, query string, limit int) ([]taken, error) {
	rows, err := o.o.DB.Query(ctx, query, o.o.DB.Clock().Now(), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var due []taken
	for rows.Next() {
		var m taken
		if err := rows.Scan(&m.tenant, &m.handle, &m.id); err != nil {
			return nil, err
		}
		due = append(due, m)
	}
	return due, rows.Err()
}

// noticesFirst is which look gives notices precedence: each fourth.
const noticesFirst = 4

// take leases up to limit messages that are due: codes, which somebody waits for,
// before notices, of which a rule may write to very many customers at once. Each
// fourth look it is the other way round: otherwise whoever has codes sent without
// end would keep back what tells a customer that something was done with his
// account. Two nodes that see the same message both try; the update, which looks at
// due_at again, lets one have it.
func (o *Outbox) take(ctx context.Context, limit int) ([]taken, error) {
	if limit <= 0 {
		return nil, nil
	}
	before, after := sqlUrgent, sqlDue
	if o.looks.Add(1)%noticesFirst == 0 {
		before, after = after, before
	}
	due, err := o.due(ctx, before, limit)
	if err == nil && len(due) < limit {
		var rest []taken
		rest, err = o.due(ctx, after, limit-len(due))
		due = append(due, rest...)
	}
	if err != nil || len(due) == 0 {
		return nil, err
	}
	var random [16]byte
	if _, err := io.ReadFull(o.o.Random, random[:]); err != nil {
		return nil, err
	}
	owner := hex.EncodeToString(random[:])
	var got []taken
	err = o.o.DB.Write(ctx, func(tx *sqldb.Tx) error {
		got = got[:0]
		for _, m := range due {
			m.owner = owner
			err := tx.QueryRow(sqlTake, m.tenant, m.handle, m.id, tx.Now(), tx.Now().Add(o.o.Lease), owner).
				Scan(&m.dedup, &m.customer, &m.brand, &m.template, &m.attempts, &m.expiresAt, &m.sealed)
			if errors.Is(err, sqldb.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			got = append(got, m)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

// Why a message was not sent, as operators read it.
const (
	reasonExpired    = "expired"
	reasonGaveUp     = "gave_up"
	reasonUnreadable = "unreadable"
	reasonTemplate   = "template"
	reasonSender     = "sender"
	reasonPanic      = "panic"
	reasonNoTexts    = "sms is not set up"
)

// errDiscard says that a message was made for nobody.
var errDiscard = errors.New("the message is for nobody")

// deliver sends one message and notes what became of it. If the note fails,
// the lease runs out and the message is sent again.
func (o *Outbox) deliver(ctx context.Context, m taken) {
	limit := min(o.o.Lease/2, m.expiresAt.Sub(o.o.DB.Clock().Now()))
	sending, cancel := context.WithTimeout(ctx, limit)
	sending, span := tracing.Root(sending, "message "+string(m.template), attribute.String("cardea.tenant", string(m.tenant)), attribute.String("cardea.message", string(m.id)))
	outcome := o.attempt(sending, m)
	if errors.Is(outcome, errDiscard) {
		span.End(nil)
	} else {
		span.End(outcome)
	}
	cancel()
	log := o.o.Logger.With("message", m.id, "tenant", m.tenant, "template", m.template, "attempts", m.attempts)
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
	defer cancel()
	var err error
	switch {
	case outcome == nil:
		o.stats.sent.Add(1)
		err = o.end(noting, m, "sent", "")
	case errors.Is(outcome, errDiscard):
		o.stats.discarded.Add(1)
		err = o.end(noting, m, "discarded", "")
	case errors.Is(outcome, keyring.ErrErased):
		err = o.end(noting, m, "erased", "")
	default:
		var permanent *PermanentError
		if !errors.As(outcome, &permanent) {
			log.Info("a message was not sent, it is tried again", "error", reasonOf(outcome))
			err = o.retry(noting, m, reasonOf(outcome))
			break
		}
		log.Warn("a message was given up", "reason", permanent.Reason)
		err = o.end(noting, m, "dead", permanent.Reason)
	}
	if err != nil {
		log.Warn("what became of a message could not be noted", "error", err)
	}
}

// attempt sends one message, unless it is past its time.
func (o *Outbox) attempt(ctx context.Context, m taken) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			o.o.Logger.Error("sending a message panicked", "message", m.id, "panic", fmt.Sprint(fault))
			err = &PermanentError{Reason: reasonPanic}
		}
	}()
	if !o.o.DB.Clock().Now().Before(m.expiresAt) {
		return &PermanentError{Reason: reasonExpired}
	}
	if m.attempts > maxAttempts {
		return &PermanentError{Reason: reasonGaveUp}
	}
	c, brand, err := o.unseal(ctx, m)
	if err != nil {
		return err
	}
	now := o.o.DB.Clock().Now()
	if !now.Before(m.expiresAt) { // keys or brand may have taken their time
		return &PermanentError{Reason: reasonExpired}
	}
	if c.By == ByText {
		if o.o.Texts == nil {
			return &PermanentError{Reason: reasonNoTexts}
		}
		text, err := o.o.Words.renderText(m.template, c.Lang, brand, c.Data)
		if err != nil {
			return &PermanentError{Reason: reasonTemplate}
		}
		text.ID, text.Tenant, text.To, text.At = m.id, m.tenant, c.To, now
		handing, span := tracing.Start(ctx, "message: hand over")
		err = o.o.Texts.SendText(handing, text)
		span.End(err)
		return err
	}
	mail, err := o.o.Words.render(m.template, c.Lang, brand, c.Data)
	if err != nil {
		return &PermanentError{Reason: reasonTemplate}
	}
	mail.ID, mail.Tenant, mail.To, mail.At = m.id, m.tenant, c.To, now
	handing, span := tracing.Start(ctx, "message: hand over")
	err = o.o.Transport.Send(handing, mail)
	span.End(err)
	return err
}

// check tells what is wrong with an address of a channel.
func (by Channel) check(to string) error {
	if by == ByText {
		return CheckPhone(to)
	}
	return CheckAddress(to)
}

// unseal opens a message and finds whose it is.
func (o *Outbox) unseal(ctx context.Context, m taken) (content, Brand, error) {
	plain, err := o.open(ctx, m)
	if errors.Is(err, keyring.ErrSealed) {
		return content{}, Brand{}, &PermanentError{Reason: reasonUnreadable}
	}
	if err != nil {
		return content{}, Brand{}, fmt.Errorf("opening it: %w", err)
	}
	var c content
	if err := json.Unmarshal(plain, &c); err != nil {
		return content{}, Brand{}, &PermanentError{Reason: reasonUnreadable}
	}
	if c.To == "" {
		return content{}, Brand{}, errDiscard
	}
	brand, err := o.o.Brands(ctx, m.tenant, m.brand)
	if err != nil {
		return content{}, Brand{}, fmt.Errorf("reading its brand: %w", err)
	}
	if err := brand.check(c.By); err != nil {
		return content{}, Brand{}, &PermanentError{Reason: reasonSender}
	}
	if err := c.By.check(c.To); err != nil {
		return content{}, Brand{}, &PermanentError{Reason: reasonUnreadable}
	}
	return c, brand, nil
}

func (o *Outbox) open(ctx context.Context, m taken) ([]byte, error) {
	if m.customer == "" {
		key, err := o.o.Ring.Tenant(ctx, m.tenant)
		if err != nil {
			return nil, err
		}
		return key.OpenField(outboxTable, sealedColumn, string(m.id), m.sealed)
	}
	key, err := o.o.Ring.Customer(ctx, m.tenant, m.customer)
	if err != nil {
		return nil, err
	}
	return key.OpenField(outboxTable, sealedColumn, string(m.id), m.sealed)
}

const (
	sqlRetry = `UPDATE notify_outbox SET due_at = $5, lease_owner = '', reason = $6
WHERE tenant = $1 AND handle = $2 AND id = $3 AND lease_owner = $4 AND state = 'waiting'`

	sqlForget = `DELETE FROM notify_outbox WHERE tenant = $1 AND handle = $2 AND id = $3 AND lease_owner = $4 AND state = 'waiting'`

	sqlEnd = `UPDATE notify_outbox SET state = $5, reason = $6, ended_at = $7, lease_owner = '', sealed = $8
WHERE tenant = $1 AND handle = $2 AND id = $3 AND lease_owner = $4 AND state = 'waiting'`
)

// retry has a message tried again later, or ends it when that would be in vain.
func (o *Outbox) retry(ctx context.Context, m taken, reason string) error {
	next := o.o.DB.Clock().Now().Add(o.backoff(m.attempts))
	switch {
	case !next.Before(m.expiresAt):
		return o.end(ctx, m, "dead", reasonExpired)
	case m.attempts >= maxAttempts:
		return o.end(ctx, m, "dead", reasonGaveUp)
	}
	o.stats.retried.Add(1)
	return o.o.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(sqlRetry, m.tenant, m.handle, m.id, m.owner, next, reason)
		return err
	})
}

// end takes a message out of the queue, if the lease is still this one.
// Nothing of its content stays.
func (o *Outbox) end(ctx context.Context, m taken, state, reason string) error {
	switch {
	case reason == reasonExpired:
		o.stats.expired.Add(1)
	case state == "dead":
		o.stats.dead.Add(1)
	}
	return o.o.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if state == "erased" || state == "discarded" || state == "sent" && m.dedup == string(m.id) {
			_, err := tx.Exec(sqlForget, m.tenant, m.handle, m.id, m.owner)
			return err
		}
		_, err := tx.Exec(sqlEnd, m.tenant, m.handle, m.id, m.owner, state, reason, tx.Now(), []byte{})
		return err
	})
}

// backoff is 2, 8, 32 seconds, then 2, 8, 30 minutes and no more, each give or
// take a quarter.
func (o *Outbox) backoff(attempts int) time.Duration {
	wait := 30 * time.Minute
	if attempts < 6 {
		wait = min(wait, 2*time.Second<<(2*max(0, attempts-1)))
	}
	return wait*3/4 + o.upTo(wait/2)
}

// upTo is any duration up to most.
func (o *Outbox) upTo(most time.Duration) time.Duration {
	var random [4]byte
	if _, err := io.ReadFull(o.o.Random, random[:]); err != nil {
		return most / 2
	}
	return time.Duration(float64(most) * float64(binary.BigEndian.Uint32(random[:])) / (1 << 32))
}

const (
	sqlEnded  = `SELECT tenant, handle, id FROM notify_outbox WHERE state <> 'waiting' AND ended_at < $1 ORDER BY ended_at LIMIT $2`
	sqlDelete = `DELETE FROM notify_outbox WHERE tenant = $1 AND handle = $2 AND id = $3 AND state <> 'waiting'`
)

// sweep deletes what ended long ago.
func (o *Outbox) sweep(ctx context.Context) error {
	for {
		rows, err := o.o.DB.Query(ctx, sqlEnded, o.o.DB.Clock().Now().Add(-keepEnded), sweepBatch)
		if err != nil {
			return err
		}
		var old []taken
		for rows.Next() {
			var m taken
			if err := rows.Scan(&m.tenant, &m.handle, &m.id); err != nil {
				return err
			}
			old = append(old, m)
		}
		if err := rows.Err(); err != nil || len(old) == 0 {
			return err
		}
		err = o.o.DB.Write(ctx, func(tx *sqldb.Tx) error {
			for _, m := range old {
				tx.Queue(sqlDelete, m.tenant, m.handle, m.id)
			}
			return nil
		})
		if err != nil || len(old) < sweepBatch {
			return err
		}
	}
}
