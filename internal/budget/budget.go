// Package budget counts, durably and across all nodes, how often a secret may
// be tried and a message sent.
//
// A budget belongs to a subject: a customer, one of a customer's devices, or,
// where no customer is known, one of 2^20 buckets. What is to be
// tried or sent is first taken, before anything is hashed or sent; a take is
// one write transaction and, for customers and strangers alike, one upsert, so
// that both cost the same. However many nodes take at once, no more are allowed
// than the limit says: the condition is part of the upsert. A refused take is
// rolled back, and so writes nothing.
//
// Two limits hold side by side. Per window: a window begins with the first take
// and is counted anew once it is over. Total: how many of a customer's may fail
// in a row; only a success (Settle) or Clear begins it again. Buckets have no
// total: they belong to nobody who could begin it again.
//
// Takes from a device count against a window of the device's own, and against
// the customer's total, of which a part is reserved for devices: strangers who
// guess at an account lock out its owner neither for an hour nor for good. When
// strangers have used up their part of the total, their takes are Void: counted
// in the window as ever, so that nobody sees a difference, and good for nothing.
//
// The package does not know what is tried or what follows from a refusal; a
// caller gives Take what appends the event of a limit that is met.
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
	Hash     = "hash"     // new passwords hashed

	// Text messages are counted beside what is sent, by whom they cost.
	TextNumber  = "text_number"
	TextNetwork = "text_network"
	TextCountry = "text_country"
	TextTenant  = "text_tenant"
	// TextNotice is what a number's owner is told by text message.
	TextNotice = "text_notice"
)

// Limit is how much may be taken.
type Limit struct {
	Window    time.Duration // above 0
	PerWindow int           // at least 1
	Total     int           // a customer's takes in a row without a success; 0: no limit, and not counted
	Reserve   int           // how many of Total are kept for the customer's devices
}

// strangers is how much of the total may be taken without a device. Where there
// is a reserve, one more is kept: Take counts it to mark that strangers have
// used up theirs.
func (l Limit) strangers() int {
	if l.Reserve == 0 {
		return l.Total
	}
	return max(1, l.Total-l.Reserve-1)
}

// Verdict is the answer to a take.
type Verdict struct {
	Allowed bool
	// Void is true for an allowed take that must come to nothing: the caller
	// answers as if what is tried were wrong, whatever it is. Only a success on
	// another way or Clear ends that.
	Void bool
	// Crossed is true for the one take of a window that uses its last, and for
	// the one take that uses the last of the total.
	Crossed bool
	// Until is when the next take will have room, for a refused take and for
	// one that used the last; else zero. It is zero also when Exhausted.
	Until time.Time
	// Exhausted says that the total is used up: no time will bring room, only
	// a success on another way or Clear.
	Exhausted bool

	receipt receipt
}

// receipt is what Refund needs to know of a take.
type receipt struct {
	windowEnd time.Time
	counted   bool // whether it counts in the customer's total
	round     int  // of that total
}

// buckets is how many counters all strangers of a tenant share: enough that an
// honest one rarely meets an attacked one, few enough that no one can fill the
// disk with addresses.
const buckets = 1 << 20

// Subject is whose budget it is. The zero Subject is nobody's and is refused.
type Subject struct {
	key    string // the customer's id, or the name of a bucket
	device id.Device
	bucket bool
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
// hash, and some others that share the bucket. No total holds for a stranger.
func Stranger(handleHash []byte) Subject {
	if len(handleHash) == 0 {
		return Subject{}
	}
	sum := sha256.Sum256(handleHash)
	return Subject{key: fmt.Sprintf("bucket_%05x", binary.BigEndian.Uint32(sum[:])%buckets), bucket: true}
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

// take counts one in a row's window if that has room; a row whose window is over
// begins a new one. It counts in the total up to one more than $8: a total above
// $8 says that this take was not among the first $8. $5 now, $6 end of a new
// window, $7 per window.
const take = `
INSERT INTO budget (tenant, subject, device, kind, window_end, used, met, total)
VALUES ($1, $2, $3, $4, CAST($6 AS BIGINT), 1, CASE WHEN CAST($7 AS BIGINT) = 1 THEN 1 ELSE 0 END,
	CASE WHEN CAST($8 AS BIGINT) > 0 THEN 1 ELSE 0 END)
ON CONFLICT (tenant, subject, device, kind) DO UPDATE SET
	window_end = CASE WHEN budget.window_end <= CAST($5 AS BIGINT) THEN CAST($6 AS BIGINT) ELSE budget.window_end END,
	used = 1 + CASE WHEN budget.window_end <= CAST($5 AS BIGINT) THEN 0 ELSE budget.used END,
	met = CASE WHEN budget.window_end <= CAST($5 AS BIGINT) THEN 0 ELSE budget.met END
		+ CASE WHEN CAST($7 AS BIGINT) = 1 + CASE WHEN budget.window_end <= CAST($5 AS BIGINT) THEN 0 ELSE budget.used END THEN 1 ELSE 0 END,
	total = budget.total + CASE WHEN CAST($8 AS BIGINT) > 0 AND budget.total <= CAST($8 AS BIGINT) THEN 1 ELSE 0 END
WHERE budget.window_end <= CAST($5 AS BIGINT) OR budget.used < CAST($7 AS BIGINT)
RETURNING window_end, used, met, total, round`

// takeTotal counts one of a device in the total $4 of its customer, if that has
// room. It opens no window.
const takeTotal = `
INSERT INTO budget (tenant, subject, device, kind, window_end, used, met, total) VALUES ($1, $2, '', $3, 0, 0, 0, 1)
ON CONFLICT (tenant, subject, device, kind) DO UPDATE SET total = budget.total + 1 WHERE budget.total < CAST($4 AS BIGINT)
RETURNING total, round`

var errRefused = errors.New("refused")

// Take counts one against the budget of kind that tenant's subject has, and
// says whether there was room. When it says no, or fails, nothing is counted
// and the caller must not do what it asked for. What crossed does is part of
// the transaction of the one take that is Crossed.
func (b *Budgets) Take(ctx context.Context, tenant id.Tenant, kind string, s Subject, l Limit, crossed ...func(*sqldb.Tx) error) (Verdict, error) {
	if err := valid(tenant, kind, s); err != nil {
		return Verdict{}, err
	}
	if l.Window < time.Microsecond || l.PerWindow < 1 || l.Total < 0 || l.Reserve < 0 {
		return Verdict{}, fmt.Errorf("budget: %+v is not a limit", l)
	}
	if s.bucket {
		l.Total = 0
	}
	now := b.clock.Now()
	var v Verdict
	err := b.db.Write(ctx, func(tx *sqldb.Tx) (err error) {
		v, err = takeOne(tx, now, tenant, kind, s, l)
		if err != nil || !v.Crossed {
			return err
		}
		return tell(tx, crossed)
	})
	if err != nil && !errors.Is(err, errRefused) {
		return Verdict{}, fmt.Errorf("budget: take %s: %w", kind, err)
	}
	if !v.Allowed {
		b.refused.Add(1)
	}
	return v, nil
}

func tell(tx *sqldb.Tx, crossed []func(*sqldb.Tx) error) error {
	for _, one := range crossed {
		if err := one(tx); err != nil {
			return err
		}
	}
	return nil
}

// Claim is one of several takes that go together.
type Claim struct {
	Kind    string
	Subject Subject // nobody's in particular: it has no total
	Limit   Limit
	Crossed func(*sqldb.Tx) error // as of Take; nil for none
}

// TakeAll takes each claim or none, in one transaction. It says which claim
// there was no room for, -1 for none. All callers name kinds in the same order.
func (b *Budgets) TakeAll(ctx context.Context, tenant id.Tenant, claims []Claim) (refused int, v Verdict, err error) {
	for _, c := range claims {
		if err := valid(tenant, c.Kind, c.Subject); err != nil {
			return -1, Verdict{}, err
		}
		if !c.Subject.bucket || c.Limit.Window < time.Microsecond || c.Limit.PerWindow < 1 || c.Limit.Total != 0 {
			return -1, Verdict{}, fmt.Errorf("budget: %+v is not a claim", c)
		}
	}
	now := b.clock.Now()
	err = b.db.Write(ctx, func(tx *sqldb.Tx) error {
		refused = -1
		for n, c := range claims {
			var err error
			if v, err = takeOne(tx, now, tenant, c.Kind, c.Subject, c.Limit); errors.Is(err, errRefused) {
				refused = n
			}
			if err != nil {
				return err
			}
			if v.Crossed && c.Crossed != nil {
				if err := c.Crossed(tx); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errRefused) {
		return -1, Verdict{}, fmt.Errorf("budget: take together: %w", err)
	}
	if refused >= 0 {
		b.refused.Add(1)
	}
	return refused, v, nil
}

// TakeIn takes a claim as part of tx, and says whether there was room. Where there
// was none nothing is counted, and the rest of tx stands.
func (b *Budgets) TakeIn(tx *sqldb.Tx, tenant id.Tenant, c Claim) (bool, error) {
	if err := valid(tenant, c.Kind, c.Subject); err != nil {
		return false, err
	}
	if !c.Subject.bucket || c.Limit.Window < time.Microsecond || c.Limit.PerWindow < 1 || c.Limit.Total != 0 {
		return false, fmt.Errorf("budget: %+v is not a claim", c)
	}
	v, err := takeOne(tx, tx.Now(), tenant, c.Kind, c.Subject, c.Limit)
	switch {
	case errors.Is(err, errRefused):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("budget: take %s: %w", c.Kind, err)
	case v.Crossed && c.Crossed != nil:
		return true, c.Crossed(tx)
	}
	return true, nil
}

// takeOne is one take as part of tx. errRefused has the transaction given up,
// with the verdict that says until when.
func takeOne(tx *sqldb.Tx, now time.Time, tenant id.Tenant, kind string, s Subject, l Limit) (Verdict, error) {
	v := Verdict{Allowed: true}
	strangers := 0
	switch {
	case l.Total > 0 && s.device == "":
		strangers = l.strangers()
	case l.Total > 0:
		// The customer's row comes first for every device, so that no two
		// takes wait for each other.
		total := 0
		err := tx.QueryRow(takeTotal, tenant, s.key, kind, l.Total).Scan(&total, &v.receipt.round)
		if errors.Is(err, sqldb.ErrNoRows) {
			v = Verdict{Exhausted: true}
			return v, errRefused
		}
		if err != nil {
			return v, err
		}
		v.receipt.counted = true
		v.Exhausted = total == l.Total
		v.Crossed = v.Exhausted
	}
	var used, met, total, round int
	err := tx.QueryRow(take, tenant, s.key, s.device, kind, now, now.Add(l.Window), l.PerWindow, strangers).
		Scan(&v.receipt.windowEnd, &used, &met, &total, &round)
	if errors.Is(err, sqldb.ErrNoRows) {
		err = refusal(tx, &v, tenant, kind, s)
		return v, err
	}
	if err != nil {
		return v, err
	}
	if used >= l.PerWindow {
		v.Until = v.receipt.windowEnd
		v.Crossed = v.Crossed || met == 1
	}
	if l.Total > 0 && s.device == "" {
		v.Void, v.Exhausted = total > strangers, total >= strangers
		v.Crossed = v.Crossed || total == strangers
		v.receipt.counted, v.receipt.round = !v.Void, round
	}
	if v.Exhausted {
		v.Until = time.Time{}
	}
	return v, nil
}

// refusal makes v the verdict of a take whose window has no room, and returns
// errRefused to have the transaction rolled back.
func refusal(tx *sqldb.Tx, v *Verdict, tenant id.Tenant, kind string, s Subject) error {
	*v = Verdict{}
	err := tx.QueryRow(`SELECT window_end FROM budget WHERE tenant = $1 AND subject = $2 AND device = $3 AND kind = $4`,
		tenant, s.key, s.device, kind).Scan(&v.Until)
	if err != nil {
		return err
	}
	return errRefused
}

// Refund gives back a take whose verdict is given, when what it was for was not
// done after all: the guess was not looked at. The window gets it back while it
// lasts; the total, unless a success has begun it again meanwhile.
func (b *Budgets) Refund(ctx context.Context, tenant id.Tenant, kind string, s Subject, v Verdict) error {
	if err := valid(tenant, kind, s); err != nil {
		return err
	}
	if !v.Allowed {
		return nil
	}
	err := b.db.Write(ctx, func(tx *sqldb.Tx) error {
		if v.receipt.counted { // the customer's row before the device's, as in Take
			tx.Queue(`UPDATE budget SET total = total - 1 WHERE tenant = $1 AND subject = $2 AND device = '' AND kind = $3
				AND total > 0 AND round = CAST($4 AS BIGINT)`, tenant, s.key, kind, v.receipt.round)
		}
		tx.Queue(`UPDATE budget SET used = used - 1 WHERE tenant = $1 AND subject = $2 AND device = $3 AND kind = $4
			AND used > 0 AND window_end = CAST($5 AS BIGINT)`, tenant, s.key, s.device, kind, v.receipt.windowEnd)
		return nil
	})
	if err != nil {
		return fmt.Errorf("budget: refund %s: %w", kind, err)
	}
	return nil
}

// Exhausted tells whether the part of the total that s may take is used up. It
// reads one row, whoever s is.
func (b *Budgets) Exhausted(ctx context.Context, tenant id.Tenant, kind string, s Subject, l Limit) (bool, error) {
	if err := valid(tenant, kind, s); err != nil {
		return false, err
	}
	var total int
	err := b.db.QueryRow(ctx, `SELECT total FROM budget WHERE tenant = $1 AND subject = $2 AND device = '' AND kind = $3`, tenant, s.key, kind).Scan(&total)
	if err != nil && !errors.Is(err, sqldb.ErrNoRows) {
		return false, fmt.Errorf("budget: read %s: %w", kind, err)
	}
	switch {
	case s.bucket || l.Total == 0:
		return false, nil
	case s.device != "":
		return total >= l.Total, nil
	}
	return total >= l.strangers(), nil
}

// Settle ends a take that succeeded: it gives the one back and begins the
// customer's totals of every kind anew, in the transaction of what succeeded.
func (b *Budgets) Settle(tx *sqldb.Tx, tenant id.Tenant, kind string, s Subject) error {
	if err := valid(tenant, kind, s); err != nil {
		return err
	}
	if !s.bucket { // the customer's rows before the device's, as in Take
		tx.Queue(`UPDATE budget SET total = 0, round = round + 1 WHERE tenant = $1 AND subject = $2 AND device = '' AND total > 0`, tenant, s.key)
	}
	tx.Queue(`UPDATE budget SET used = used - 1 WHERE tenant = $1 AND subject = $2 AND device = $3 AND kind = $4 AND used > 0`, tenant, s.key, s.device, kind)
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
