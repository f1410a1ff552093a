package explain

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/ratelimit"
	"github.com/cardea-id/cardea/internal/sqldb"
)

const (
	// Kept is how long an error can be explained on every node.
	Kept = 7 * 24 * time.Hour
	// remembered is how many errors a node has in memory, about 1 KB each.
	remembered = 1000
	// waiting is how many wait for the next batch at most. While the database
	// does not answer they are what is explained once it does.
	waiting = 500
	// flushEvery is how often a batch is written.
	flushEvery = time.Second
	// networks is how many networks and applications are counted at once.
	networks = 10_000
)

// How many errors a node keeps in the database. Ours have a share of their own,
// so that no flood of wrong requests hides them; so have those of applications
// and customers that are known, which strangers cannot use up. Together they
// are 18 a minute, 181,000 in seven days, if all three are used up for all of
// them.
var (
	oursLimit     = ratelimit.Limit{Burst: 120, Every: 10 * time.Second}
	knownLimit    = ratelimit.Limit{Burst: 120, Every: 10 * time.Second}
	strangerLimit = ratelimit.Limit{Burst: 60, Every: 10 * time.Second}
	// eachLimit is that of one network, or of one application that proved itself.
	eachLimit = ratelimit.Limit{Burst: 20, Every: time.Minute}
)

// ErrUnknown says that nothing is known of an id.
var ErrUnknown = errors.New("no such error is known")

// DroppedError says that an error was met and is not kept.
type DroppedError struct {
	At      time.Time // when it was met
	Dropped int64     // how many of that minute are not kept
}

func (e *DroppedError) Error() string {
	return fmt.Sprintf("it is one of %d errors of %s that were not kept", e.Dropped, e.At.UTC().Format("2006-01-02 15:04 UTC"))
}

// ExpiredError says that an error is older than errors are kept.
type ExpiredError struct{ At time.Time }

func (e *ExpiredError) Error() string {
	return "it is of " + e.At.UTC().Format("2006-01-02 15:04 UTC") + ", longer ago than errors are kept"
}

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables that this package owns.
func Migrations() sqldb.MigrationSet {
	return sqldb.MigrationSet{Package: "explain", FS: migrations}
}

// Journal keeps errors. It is safe for concurrent use.
type Journal struct {
	db    *sqldb.DB
	clock clock.Clock

	ours, known, strangers, each *ratelimit.Limiter

	mu      sync.Mutex
	memory  map[id.Fault]*Record
	order   []id.Fault // of memory; a ring once it is full
	oldest  int        // where the ring begins
	pending []*Record
	dropped map[int64]int64 // by minute, not written yet
}

// New makes a journal.
func New(db *sqldb.DB, c clock.Clock) (*Journal, error) {
	j := &Journal{db: db, clock: c, memory: map[id.Fault]*Record{}, dropped: map[int64]int64{}}
	for _, l := range []struct {
		into  **ratelimit.Limiter
		limit ratelimit.Limit
		keys  int
	}{{&j.ours, oursLimit, 1}, {&j.known, knownLimit, 1}, {&j.strangers, strangerLimit, 1}, {&j.each, eachLimit, networks}} {
		var err error
		if *l.into, err = ratelimit.New(ratelimit.Options{Limit: l.limit, Keys: l.keys, Clock: c}); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// Note keeps the error of a request that met one. network is the key of the
// caller's network; it is counted and not kept.
func (j *Journal) Note(t *Trail, network string) {
	if t.Fault() == "" {
		return
	}
	record := t.record
	keep := j.allows(&record, network)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.remember(&record)
	if keep && len(j.pending) < waiting {
		j.pending = append(j.pending, &record)
		return
	}
	minute := minuteOf(record.At)
	if _, counted := j.dropped[minute]; counted || len(j.dropped) < waiting {
		j.dropped[minute]++
	}
}

func (j *Journal) allows(r *Record, network string) bool {
	switch {
	case r.Ours():
		return j.ours.Allow("").Allowed
	case r.Proved:
		return j.each.Allow(string(r.Application)).Allowed && j.known.Allow("").Allowed
	case r.Customer != "":
		return j.each.Allow(string(r.Customer)).Allowed && j.known.Allow("").Allowed
	}
	return j.each.Allow(network).Allowed && j.strangers.Allow("").Allowed
}

func (j *Journal) remember(r *Record) {
	if len(j.order) < remembered {
		j.order = append(j.order, r.ID)
	} else {
		delete(j.memory, j.order[j.oldest])
		j.order[j.oldest] = r.ID
		j.oldest = (j.oldest + 1) % remembered
	}
	j.memory[r.ID] = r
}

// Run writes what is to be kept until ctx ends, and then the rest.
func (j *Journal) Run(ctx context.Context) error {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			return j.Flush(last)
		case <-ticker.C:
			if err := j.Flush(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// Flush writes what waits, in one transaction. What could not be written waits
// on. Writing it twice does no harm.
func (j *Journal) Flush(ctx context.Context) error {
	j.mu.Lock()
	batch, dropped := j.pending, j.dropped
	j.pending, j.dropped = nil, map[int64]int64{}
	j.mu.Unlock()
	if len(batch) == 0 && len(dropped) == 0 {
		return nil
	}
	texts := make([]string, len(batch))
	for i, r := range batch {
		text, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("write the explanation of an error: %w", err)
		}
		texts[i] = string(text)
	}
	err := j.db.Write(ctx, func(tx *sqldb.Tx) error {
		for i, r := range batch {
			if _, err := tx.Exec(`INSERT INTO explanation (fault, tenant, customer, expires_at, record) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
				r.ID, r.Tenant, r.Customer, r.At.Add(Kept), texts[i]); err != nil {
				return err
			}
		}
		for minute, n := range dropped {
			if _, err := tx.Exec(`INSERT INTO explanation_dropped (minute, dropped) VALUES ($1, $2)
				ON CONFLICT (minute) DO UPDATE SET dropped = explanation_dropped.dropped + excluded.dropped`, minute, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if room := waiting - len(j.pending); len(batch) > room {
		for _, r := range batch[room:] {
			dropped[minuteOf(r.At)]++
		}
		batch = batch[:room]
	}
	j.pending = append(batch, j.pending...)
	for minute, n := range dropped {
		j.dropped[minute] += n
	}
	return fmt.Errorf("keep the explanations of errors: %w", err)
}

// Find returns what is known of an error: ErrUnknown, a *DroppedError or an
// *ExpiredError where it is nothing.
func (j *Journal) Find(ctx context.Context, fault id.Fault) (Record, error) {
	j.mu.Lock()
	found := j.memory[fault]
	j.mu.Unlock()
	if found != nil {
		return *found, nil
	}
	var text string
	err := j.db.QueryRow(ctx, `SELECT record FROM explanation WHERE fault = $1`, fault).Scan(&text)
	if err == nil {
		var r Record
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return Record{}, fmt.Errorf("read the explanation of an error: %w", err)
		}
		return r, nil
	}
	if !errors.Is(err, sqldb.ErrNoRows) {
		return Record{}, fmt.Errorf("read the explanation of an error: %w", err)
	}
	at, now := id.Time(fault), j.clock.Now()
	if at.Before(now.Add(-Kept)) {
		return Record{}, &ExpiredError{at}
	}
	minute := minuteOf(at)
	var dropped int64
	err = j.db.QueryRow(ctx, `SELECT dropped FROM explanation_dropped WHERE minute = $1`, minute).Scan(&dropped)
	if err != nil && !errors.Is(err, sqldb.ErrNoRows) {
		return Record{}, fmt.Errorf("read how many errors were not kept: %w", err)
	}
	j.mu.Lock()
	dropped += j.dropped[minute]
	j.mu.Unlock()
	if dropped > 0 {
		return Record{}, &DroppedError{at, dropped}
	}
	return Record{}, ErrUnknown
}

// Sweep deletes at most limit explanations that have expired, and says how many.
func (j *Journal) Sweep(ctx context.Context, limit int) (int, error) {
	now := j.clock.Now()
	var due int64
	err := j.db.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM (SELECT 1 AS one FROM explanation WHERE expires_at < $1 LIMIT 1) AS old)
		+ (SELECT COUNT(*) FROM (SELECT 1 AS one FROM explanation_dropped WHERE minute < $2 LIMIT 1) AS few)`, now, minuteOf(now.Add(-Kept))).Scan(&due)
	if err != nil || due == 0 {
		return 0, err
	}
	var n int64
	err = j.db.Write(ctx, func(tx *sqldb.Tx) (err error) {
		if n, err = tx.Exec(`DELETE FROM explanation WHERE fault IN (SELECT fault FROM explanation WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, now, limit); err != nil {
			return err
		}
		_, err = tx.Exec(`DELETE FROM explanation_dropped WHERE minute < $1`, minuteOf(now.Add(-Kept)))
		return err
	})
	return int(n), err
}

// Erase deletes what is kept of a customer who is erased.
func (j *Journal) Erase(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error {
	_, err := tx.Exec(`DELETE FROM explanation WHERE tenant = $1 AND customer = $2`, tenant, customer)
	return err
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }
