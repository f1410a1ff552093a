// Package budget counts, durably and across all nodes, how often a secret may
// be tried and a message sent.
//
// A budget belongs to a subject: a customer, one of a customer's devices, or,
// where no customer is known, one of 2^20 buckets of strangers. What is to be
// tried or sent is first taken, before anything is hashed or sent; a take is
// one write transaction and, for customers and strangers alike, one upsert, so
// that both cost the same. However many nodes take at once, no more are allowed
// than the limit says: the condition is part of the upsert. A refused take is
// rolled back, and so writes nothing.
//
// Two limits hold side by side. Per window: a window begins with the first take
// and is counted anew once it is over. Total: how many may fail in a row; only
// a success (Settle) or Clear begins it again. Takes from a device count
// against a window of the device's own, so that strangers who guess at an
// account do not lock out its owner, and against the customer's total.
//
// The package does not know what is tried or what follows from a refusal; a
// caller that is told Crossed appends the event.
package budget

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this package.
func Migrations() sqldb.MigrationSet { return sqldb.MigrationSet{Package: "budget", FS: migrations} }

// The kinds of budgets there are.
const (
	Password = "password" // guesses at a password
	Code     = "code"     // guesses at a short code
	Send     = "send"     // messages sent
)

// Limit is how much may be taken.
type Limit struct {
	Window    time.Duration // above 0
	PerWindow int           // at least 1
	Total     int           // takes in a row without a success; 0: no limit, and not counted
}

// Verdict is the answer to a take.
type Verdict struct {
	Allowed bool
	// Crossed is true for the one take of a window that uses its last, and for
	// the one take that uses the last of the total.
	Crossed bool
	// Until is when the next take will have room, for a refused take and for
	// one that used the last; else zero. It is zero also when Exhausted.
	Until time.Time
	// Exhausted says that the total is used up: no time will bring room, only
	// a success on another way or Clear.
	Exhausted bool
}

// buckets is how many counters all strangers of a tenant share: enough that an
// honest one rarely meets an attacked one, few enough that no one can fill the
// disk with addresses.
const buckets = 1 << 20

// Subject is whose budget it is. The zero Subject is nobody's and is refused.
type Subject struct {
	key    string // the customer's id, or the name of a bucket
	device id.Device
}

// Known is a customer.
func Known(customer id.Customer) Subject { return Subject{key: string(customer)} }

// Device is a customer's device, proven by its cookie.
func Device(customer id.Customer, device id.Device) Subject {
	if device == "" { // must never become the customer's own counter
		return Subject{}
	}
	return Subject{key: string(customer), device: device}
}

// Stranger is whoever has the handle (an address, a user name) of this keyed
// hash, and some others that share the bucket.
func Stranger(handleHash []byte) Subject {
	if len(handleHash) == 0 {
		return Subject{}
	}
	sum := sha256.Sum256(handleHash)
	return Subject{key: fmt.Sprintf("bucket_%05x", binary.BigEndian.Uint32(sum[:])%buckets)}
}

// Budgets takes from budgets. It is safe for concurrent use.
type Budgets struct {
	db    *sqldb.DB
	clock clock.Clock

	refused atomic.Int64
}

// Refused is how many takes this node has refused since its start.
func (b *Budgets) Refused() int64 { return b.refused.Load() }

// New makes Budgets over a database that holds Migrations.
func New(db *sqldb.DB, clock clock.Clock) *Budgets { return &Budgets{db: db, clock: clock} }

// take counts one if both limits have room. A row whose window is over begins
// a new one. $5 now, $6 end of a new window, $7 what is added to used,
// $8 to total, $9 per window, $10 total.
const take = `
INSERT INTO budget (tenant, subject, device, kind, window_end, used, met, total)
VALUES ($1, $2, $3, $4, CAST($6 AS BIGINT), CAST($7 AS BIGINT),
	CASE WHEN CAST($7 AS BIGINT) = CAST($9 AS BIGINT) THEN 1 ELSE 0 END, CAST($8 AS BIGINT))
ON CONFLICT (tenant, subject, device, kind) DO UPDATE SET
	window_end = CASE WHEN budget.window_end <= CAST($5 AS BIGINT) THEN CAST($6 AS BIGINT) ELSE budget.window_end END,
	used = CAST($7 AS BIGINT) + CASE WHEN budget.window_end <= CAST($5 AS BIGINT) THEN 0 ELSE budget.used END,
	met = CASE WHEN budget.window_end <= CAST($5 AS BIGINT) THEN 0 ELSE budget.met END
		+ CASE WHEN CAST($7 AS BIGINT) > 0 AND CAST($9 AS BIGINT) = CAST($7 AS BIGINT)
			+ CASE WHEN budget.window_end <= CAST($5 AS BIGINT) THEN 0 ELSE budget.used END THEN 1 ELSE 0 END,
	total = budget.total + CAST($8 AS BIGINT)
WHERE (CAST($7 AS BIGINT) = 0 OR budget.window_end <= CAST($5 AS BIGINT) OR budget.used < CAST($9 AS BIGINT))
	AND (CAST($10 AS BIGINT) = 0 OR budget.total < CAST($10 AS BIGINT))
RETURNING window_end, used, met, total`

// row is what take returns of a row.
type row struct {
	windowEnd        time.Time
	used, met, total int
}

var errRefused = errors.New("refused")

// Take counts one against the budget of kind that tenant's subject has, and
// says whether there was room. When it says no, or fails, nothing is counted
// and the caller must not do what it asked for.
func (b *Budgets) Take(ctx context.Context, tenant id.Tenant, kind string, s Subject, l Limit) (Verdict, error) {
	if err := valid(tenant, kind, s); err != nil {
		return Verdict{}, err
	}
	if l.Window < time.Microsecond || l.PerWindow < 1 || l.Total < 0 {
		return Verdict{}, fmt.Errorf("budget: %+v is not a limit", l)
	}
	now := b.clock.Now()
	var v Verdict
	err := b.db.Write(ctx, func(tx *sqldb.Tx) error {
		v = Verdict{Allowed: true}
		counted := 0 // of the customer's total, by this transaction
		if s.device != "" && l.Total > 0 {
			// The customer's row comes first for every device, so that no two
			// takes wait for each other.
			whole, found, err := takeRow(tx, tenant, kind, Subject{key: s.key}, now, 0, 1, l)
			if err != nil || !found {
				return refusal(tx, &v, tenant, kind, s, now, l, 0, err)
			}
			v.note(whole, l, 0, 1)
			counted = 1
		}
		count := 0
		if s.device == "" && l.Total > 0 {
			count = 1
		}
		got, found, err := takeRow(tx, tenant, kind, s, now, 1, count, l)
		if err != nil || !found {
			return refusal(tx, &v, tenant, kind, s, now, l, counted, err)
		}
		v.note(got, l, 1, count)
		return nil
	})
	if err != nil && !errors.Is(err, errRefused) {
		return Verdict{}, fmt.Errorf("budget: take %s: %w", kind, err)
	}
	if !v.Allowed {
		b.refused.Add(1)
	}
	return v, nil
}

// takeRow adds used and total to one row, unless a limit is in the way.
func takeRow(tx *sqldb.Tx, tenant id.Tenant, kind string, s Subject, now time.Time, used, total int, l Limit) (row, bool, error) {
	end, limit := now.Add(l.Window), l.Total
	if used == 0 {
		end = time.Time{} // a total alone opens no window
	}
	if total == 0 {
		limit = 0
	}
	var r row
	err := tx.QueryRow(take, tenant, s.key, s.device, kind, now, end, used, total, l.PerWindow, limit).
		Scan(&r.windowEnd, &r.used, &r.met, &r.total)
	if errors.Is(err, sqldb.ErrNoRows) {
		return row{}, false, nil
	}
	return r, err == nil, err
}

// note works a counted row into the verdict.
func (v *Verdict) note(r row, l Limit, used, total int) {
	if total > 0 && r.total == l.Total {
		v.Crossed, v.Exhausted, v.Until = true, true, time.Time{}
	}
	if used > 0 && r.used >= l.PerWindow {
		v.Crossed = v.Crossed || (r.used == l.PerWindow && r.met == 1)
		if !v.Exhausted {
			v.Until = r.windowEnd
		}
	}
}

// refusal makes v the verdict of a take that found no room after it had counted
// some of the total, and returns errRefused to have the transaction rolled back.
func refusal(tx *sqldb.Tx, v *Verdict, tenant id.Tenant, kind string, s Subject, now time.Time, l Limit, counted int, err error) error {
	if err != nil {
		return err
	}
	*v = Verdict{}
	rows, err := tx.Query(`SELECT device, window_end, used, total FROM budget
		WHERE tenant = $1 AND subject = $2 AND kind = $3 AND (device = '' OR device = $4)`, tenant, s.key, kind, s.device)
	if err != nil {
		return err
	}
	for rows.Next() {
		var device id.Device
		var r row
		if err := rows.Scan(&device, &r.windowEnd, &r.used, &r.total); err != nil {
			return err
		}
		if device == "" && l.Total > 0 && r.total-counted >= l.Total {
			v.Exhausted = true
		}
		if device == s.device && r.used >= l.PerWindow && r.windowEnd.After(now) {
			v.Until = r.windowEnd
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if v.Exhausted {
		v.Until = time.Time{}
	}
	return errRefused
}

// Settle ends a take that succeeded: it gives the one back and begins the
// total anew, in the transaction of what succeeded.
func (b *Budgets) Settle(tx *sqldb.Tx, tenant id.Tenant, kind string, s Subject) error {
	if err := valid(tenant, kind, s); err != nil {
		return err
	}
	if s.device != "" { // in the order of Take
		tx.Queue(`UPDATE budget SET total = 0 WHERE tenant = $1 AND subject = $2 AND device = '' AND kind = $3`, tenant, s.key, kind)
	}
	tx.Queue(`UPDATE budget SET total = 0, used = CASE WHEN used > 0 THEN used - 1 ELSE 0 END
		WHERE tenant = $1 AND subject = $2 AND device = $3 AND kind = $4`, tenant, s.key, s.device, kind)
	return nil
}

// Clear forgets all that was counted for a customer and the customer's
// devices: for an operator who unlocks an account, for a recovery that proved
// its owner, and for erasure.
func (b *Budgets) Clear(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error {
	if tenant == "" || customer == "" {
		return errNobody
	}
	tx.Queue(`DELETE FROM budget WHERE tenant = $1 AND subject = $2`, tenant, customer)
	return nil
}

// Sweep deletes up to limit rows whose window is over and that hold no total,
// and says how many it deleted. Fewer than limit means that no more are left.
func (b *Budgets) Sweep(ctx context.Context, limit int) (int, error) {
	now := b.clock.Now()
	var deleted int64
	err := b.db.Write(ctx, func(tx *sqldb.Tx) (err error) {
		// The condition stands outside again: a row that began a new window
		// since the inner query read it must stay.
		deleted, err = tx.Exec(`DELETE FROM budget WHERE (tenant, subject, device, kind) IN
				(SELECT tenant, subject, device, kind FROM budget WHERE total = 0 AND window_end <= $1 ORDER BY window_end LIMIT $2)
			AND total = 0 AND window_end <= $1`, now, limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("budget: sweep: %w", err)
	}
	return int(deleted), nil
}

var errNobody = errors.New("budget: a budget needs a tenant, a kind and a subject")

func valid(tenant id.Tenant, kind string, s Subject) error {
	if tenant == "" || kind == "" || s.key == "" {
		return errNobody
	}
	return nil
}
