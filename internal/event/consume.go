package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/sqldb"
)

// Batch is some events of one lane in their order, at least one.
type Batch struct {
	Lane    int
	Records []Record
}

// storeEvery is how long a consumer that is busy goes on before it stores how
// far it has come.
const storeEvery = time.Second

// Consume calls handle with all events from the first one on, a lane's in
// their order, until ctx ends. Of all calls with the same consumer's name, on
// all nodes, one works at a time and the others stand by.
//
// How far it has come is stored after handle returned nil, so that handle sees
// again what it did last before a crash: it must be able to bear that. A batch
// that handle returned an error for is handed over again after a while; its
// lane waits, the others go on. handle's context ends when the node lost its
// turn.
func (l *Log) Consume(ctx context.Context, consumer string, handle func(context.Context, Batch) error) error {
	if consumer == "" {
		return errors.New("event: a consumer needs a name")
	}
	role := "consume/" + consumer
	leases, err := l.newLeases(role)
	if err != nil {
		return err
	}
	var failing time.Duration
	made := false
	for ctx.Err() == nil {
		if !made {
			err = l.makeRole(ctx, role)
			made = err == nil
		}
		if err == nil {
			err = leases.renew(ctx)
		}
		if err == nil && len(leases.held) == 0 {
			pause(ctx, l.lease/3, nil)
			continue
		}
		if err == nil {
			c := &consumption{log: l, consumer: consumer, leases: leases, epoch: leases.held[0], handle: handle}
			err = c.run(ctx)
		}
		if ctx.Err() != nil {
			break
		}
		failing = min(max(2*failing, l.poll), 5*time.Second)
		if err == nil || errors.Is(err, errFenced) {
			failing = 0
			l.logger.InfoContext(ctx, "a consumer of events moved to another node", "consumer", consumer)
		} else {
			l.logger.ErrorContext(ctx, "events are not being consumed; trying again", "consumer", consumer, "error", err, "after", failing)
		}
		err = nil
		pause(ctx, max(failing, l.poll), nil)
	}
	leases.release(ctx)
	return nil
}

// makeRole makes the lease of a consumer that is run for the first time.
func (l *Log) makeRole(ctx context.Context, role string) error {
	var there int
	err := l.db.QueryRow(ctx, `SELECT 1 FROM event_lease WHERE role = $1 AND slot = 0`, role).Scan(&there)
	if !errors.Is(err, sqldb.ErrNoRows) {
		return err
	}
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`INSERT INTO event_lease (role, slot, holder, epoch, expires, position) VALUES ($1, 0, '', 0, 0, 0)
			ON CONFLICT (role, slot) DO NOTHING`, role)
		return err
	})
}

// consumption is one turn of a consumer on this node.
type consumption struct {
	log      *Log
	consumer string
	leases   *leases
	epoch    int64
	handle   func(context.Context, Batch) error

	done    [Lanes]int64 // handled
	stored  [Lanes]int64 // and stored
	lag     [Lanes]lag
	storeAt time.Time
}

// lag is a lane whose batch failed and is tried again later.
type lag struct {
	until time.Time
	after time.Duration
}

// run works until the lease is lost or something fails.
func (c *consumption) run(ctx context.Context) error {
	ctx, lost := context.WithCancel(ctx)
	defer lost()
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		defer lost()
		c.keepLease(ctx)
	}()
	defer func() { lost(); <-renewed }()

	if err := c.load(ctx); err != nil {
		return err
	}
	wake, end := c.log.ordered.listen()
	defer end()
	for {
		n, err := c.round(ctx)
		if err == nil {
			err = c.store(ctx)
		}
		if ctx.Err() != nil { // also where the store was what the end cut short
			c.storeLast(ctx)
			return nil
		}
		if err != nil {
			return err
		}
		if n == 0 {
			pause(ctx, c.log.poll, wake)
		}
	}
}

// keepLease renews the lease until it is lost or ctx ends.
func (c *consumption) keepLease(ctx context.Context) {
	renewed := time.Now()
	for {
		if pause(ctx, c.log.lease/3, nil); ctx.Err() != nil {
			return
		}
		now := time.Now()
		err := c.leases.renew(ctx)
		switch {
		case err == nil && c.leases.held[0] == c.epoch:
			renewed = now
		case err == nil:
			return
		case time.Since(renewed) >= c.log.lease:
			c.log.logger.WarnContext(ctx, "a consumer's lease could not be renewed", "consumer", c.consumer, "error", err)
			return
		}
	}
}

func (c *consumption) load(ctx context.Context) error {
	rows, err := c.log.db.Query(ctx, `SELECT lane, position FROM event_cursor WHERE consumer = $1`, c.consumer)
	if err != nil {
		return fmt.Errorf("read cursors: %w", err)
	}
	for rows.Next() {
		var lane int
		var position int64
		if err := rows.Scan(&lane, &position); err != nil {
			return err
		}
		c.done[lane], c.stored[lane] = position, position
	}
	c.storeAt = time.Now().Add(storeEvery)
	return rows.Err()
}

// round hands over one batch of each lane that has news, and says how many
// events it handed over.
func (c *consumption) round(ctx context.Context) (int, error) {
	heads, err := c.log.heads(ctx)
	if err != nil {
		return 0, err
	}
	handled := 0
	for lane, head := range heads {
		if head <= c.done[lane] || time.Now().Before(c.lag[lane].until) {
			continue
		}
		records, err := c.log.readLane(ctx, lane, c.done[lane])
		if err != nil {
			return handled, err
		}
		if len(records) == 0 {
			c.done[lane] = head // what was there has been deleted for its age
			continue
		}
		if err := c.handle(ctx, Batch{Lane: lane, Records: records}); err != nil {
			if ctx.Err() != nil {
				return handled, nil
			}
			wait := min(max(2*c.lag[lane].after, 250*time.Millisecond), time.Minute)
			c.lag[lane] = lag{until: time.Now().Add(wait), after: wait}
			c.log.logger.ErrorContext(ctx, "a consumer could not handle events; its lane waits", "consumer", c.consumer, "lane", lane, "error", err, "after", wait)
			continue
		}
		c.lag[lane] = lag{}
		c.done[lane] = records[len(records)-1].Position
		handled += len(records)
		if time.Now().After(c.storeAt) {
			if err := c.store(ctx); err != nil {
				return handled, err
			}
		}
	}
	return handled, nil
}

// heads is the last position given in each lane.
func (l *Log) heads(ctx context.Context) ([Lanes]int64, error) {
	var heads [Lanes]int64
	rows, err := l.db.Query(ctx, `SELECT slot, position FROM event_lease WHERE role = 'order'`)
	if err != nil {
		return heads, fmt.Errorf("read the lanes' last positions: %w", err)
	}
	for rows.Next() {
		var lane int
		var position int64
		if err := rows.Scan(&lane, &position); err != nil {
			return heads, err
		}
		heads[lane] = position
	}
	return heads, rows.Err()
}

// store writes how far the consumer has come, unless another node has its turn.
func (c *consumption) store(ctx context.Context) error {
	c.storeAt = time.Now().Add(storeEvery)
	if c.done == c.stored {
		return nil
	}
	err := c.log.db.Write(ctx, func(tx *sqldb.Tx) error {
		// An update, so that the lease cannot change hands before the commit.
		n, err := tx.Exec(`UPDATE event_lease SET epoch = epoch WHERE role = $1 AND slot = 0 AND holder = $2 AND epoch = $3`,
			c.leases.role, c.leases.holder, c.epoch)
		if err != nil {
			return err
		}
		if n != 1 {
			return errFenced
		}
		for lane, position := range c.done {
			if position != c.stored[lane] {
				tx.Queue(`INSERT INTO event_cursor (consumer, lane, position) VALUES ($1, $2, $3)
					ON CONFLICT (consumer, lane) DO UPDATE SET position = excluded.position`, c.consumer, lane, position)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store cursors: %w", err)
	}
	c.stored = c.done
	return nil
}

// storeLast stores what was done before ctx ended, so that a node that stops in
// order hands over without repeating anything.
func (c *consumption) storeLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := c.store(ctx); err != nil && !errors.Is(err, errFenced) {
		c.log.logger.WarnContext(ctx, "a consumer's last events will be handled again", "consumer", c.consumer, "error", err)
	}
}

// readLane reads the events of a lane that come after a position.
func (l *Log) readLane(ctx context.Context, lane int, after int64) ([]Record, error) {
	rows, err := l.db.Query(ctx, `SELECT p.position, `+columns+` FROM event_position p
		JOIN event e ON e.tenant = p.tenant AND e.customer = p.customer AND e.id = p.event
		WHERE p.lane = $1 AND p.position > $2 ORDER BY p.position LIMIT $3`, lane, after, l.batch)
	if err != nil {
		return nil, fmt.Errorf("read lane %d: %w", lane, err)
	}
	var records []Record
	for rows.Next() {
		var position int64
		r, err := scanRecord(rows, &position)
		if err != nil {
			return nil, fmt.Errorf("read lane %d: %w", lane, err)
		}
		r.Position = position
		records = append(records, r)
	}
	return records, rows.Err()
}
