package event

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// roleOrder is the role of giving positions; its slots are the lanes.
const roleOrder = "order"

// settleTime is how long the leader waits after a batch that was not full, so
// that under load a batch holds many events.
const settleTime = 10 * time.Millisecond

// Run gives events their positions, in the lanes that fall to this node, until
// ctx ends. It goes on through faults of the database, which it logs.
func (l *Log) Run(ctx context.Context) error {
	o, err := l.newOrderer()
	if err != nil {
		return err
	}
	defer o.leases.release(ctx)
	wake, end := l.appended.listen()
	defer end()

	var renewAt time.Time
	wait, failing := settleTime, time.Duration(0)
	for ctx.Err() == nil {
		n := 0
		err := error(nil)
		if now := time.Now(); !now.Before(renewAt) {
			err = o.leases.renew(ctx)
			renewAt = now.Add(l.lease / 3)
		}
		if err == nil {
			n, err = o.step(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errFenced):
			l.logger.InfoContext(ctx, "event lanes were taken over by another node")
			renewAt = time.Time{}
			pause(ctx, settleTime, nil)
		case err != nil:
			failing = min(max(2*failing, l.poll), 5*time.Second)
			l.logger.ErrorContext(ctx, "events are not being ordered; trying again", "error", err, "after", failing)
			renewAt = time.Time{}
			pause(ctx, failing, nil)
			continue
		case n == l.batch:
			wait = settleTime
		default:
			if n > 0 {
				wait = settleTime
			}
			if pause(ctx, wait, wake) {
				// The commit comes a moment after the hint.
				wait = settleTime
				pause(ctx, settleTime/2, nil)
			} else {
				wait = min(2*wait, l.poll)
			}
		}
		failing = 0
	}
	return nil
}

// orderer is a leader's state. It is used by one goroutine.
type orderer struct {
	log    *Log
	leases *leases
	last   pending // up to where pending events have been given positions; the next batch goes on from there
}

// pending is an event without a position.
type pending struct {
	lane     int
	tenant   id.Tenant
	customer id.Customer
	version  int64
	seq      int64
	event    id.Event
	digest   []byte // nil from a node of an earlier release
}

var beginning = pending{lane: -1}

func (l *Log) newOrderer() (*orderer, error) {
	leases, err := l.newLeases(roleOrder)
	if err != nil {
		return nil, err
	}
	return &orderer{log: l, leases: leases, last: beginning}, nil
}

// step gives positions to one batch and says how many.
func (o *orderer) step(ctx context.Context) (int, error) {
	batch, err := o.read(ctx)
	if err != nil {
		return 0, err
	}
	return len(batch), o.assign(ctx, batch)
}

// read reads the next pending events of the lanes held. It goes round through
// lanes and customers, so that none waits for ever behind a busy one.
//
// A customer's events come in the order of version and seq, and none is
// missing between them: a transaction can raise the version only after the one
// before it has committed, so whoever sees a version's events sees those of
// all earlier versions.
func (o *orderer) read(ctx context.Context) ([]pending, error) {
	if len(o.leases.held) == 0 {
		return nil, nil
	}
	for {
		rows, err := o.log.db.Query(ctx, `SELECT lane, tenant, customer, version, seq, event, digest FROM event_pending
			WHERE (lane, tenant, customer, version, seq, event) > ($1, $2, $3, $4, $5, $6)
				AND lane IN (SELECT slot FROM event_lease WHERE role = 'order' AND holder = $7)
			ORDER BY lane, tenant, customer, version, seq, event LIMIT $8`,
			o.last.lane, o.last.tenant, o.last.customer, o.last.version, o.last.seq, o.last.event, o.leases.holder, o.log.batch)
		if err != nil {
			return nil, fmt.Errorf("read pending events: %w", err)
		}
		var batch []pending
		for rows.Next() {
			var p pending
			if err := rows.Scan(&p.lane, &p.tenant, &p.customer, &p.version, &p.seq, &p.event, &p.digest); err != nil {
				return nil, err
			}
			if _, held := o.leases.held[p.lane]; held {
				batch = append(batch, p)
			}
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
		if len(batch) > 0 || o.last.lane == beginning.lane {
			return batch, nil
		}
		o.last = beginning
	}
}

// advance moves the last positions of the lanes held by $1, each only if its
// epoch is the one given: a lane that was taken over does not come back. One
// statement does it for all lanes; those without new events add 0 and are left
// alone.
var advance = func() string {
	var b strings.Builder
	b.WriteString("WITH step (lane_number, lane_epoch, events) AS (VALUES ")
	for lane := range Lanes {
		if lane > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "(%d, CAST($%d AS BIGINT), CAST($%d AS BIGINT))", lane, 2*lane+2, 2*lane+3)
	}
	b.WriteString(`)
		UPDATE event_lease SET position = position + step.events FROM step
		WHERE role = 'order' AND slot = step.lane_number AND epoch = step.lane_epoch AND holder = $1 AND step.events > 0
		RETURNING slot, position, chain`)
	return b.String()
}()

// assign gives a batch its positions, all or, when any of its lanes was lost,
// none.
func (o *orderer) assign(ctx context.Context, batch []pending) error {
	if len(batch) == 0 {
		return nil
	}
	var counts [Lanes]int64
	lanes := 0
	for _, p := range batch {
		if counts[p.lane] == 0 {
			lanes++
		}
		counts[p.lane]++
	}
	args := make([]any, 0, 1+2*Lanes)
	args = append(args, o.leases.holder)
	for lane := range Lanes {
		args = append(args, o.leases.held[lane], counts[lane])
	}
	err := o.log.db.Write(ctx, func(tx *sqldb.Tx) error {
		rows, err := tx.Query(advance, args...)
		if err != nil {
			return err
		}
		var next [Lanes]int64 // the last position given so far
		var chains [Lanes][]byte
		found := 0
		for rows.Next() {
			var lane int
			var position int64
			var chain []byte
			if err := rows.Scan(&lane, &position, &chain); err != nil {
				return err
			}
			next[lane], chains[lane] = position-counts[lane], chain
			found++
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if found != lanes {
			return errFenced
		}
		for _, p := range batch {
			next[p.lane]++
			var chain []byte
			if p.digest != nil {
				chain = link(chains[p.lane], next[p.lane], p.digest)
				chains[p.lane] = chain
			}
			tx.Queue(`INSERT INTO event_position (lane, position, tenant, customer, event, digest, chain) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
				p.lane, next[p.lane], p.tenant, p.customer, p.event, p.digest, chain)
			tx.Queue(`DELETE FROM event_pending WHERE lane = $1 AND tenant = $2 AND customer = $3 AND version = $4 AND seq = $5 AND event = $6`,
				p.lane, p.tenant, p.customer, p.version, p.seq, p.event)
		}
		for lane, n := range counts {
			if n > 0 {
				tx.Queue(`UPDATE event_lease SET chain = $1 WHERE role = 'order' AND slot = $2`, chains[lane], lane)
			}
		}
		return nil
	})
	if err != nil {
		o.last = beginning
		return fmt.Errorf("write positions: %w", err)
	}
	o.last = batch[len(batch)-1]
	if len(batch) < o.log.batch {
		o.last = beginning
	}
	o.log.ordered.raise()
	return nil
}
