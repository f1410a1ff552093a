package customer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// What happens to accounts by themselves is done from one column: due_at says
// when a rule looks at a customer next, so that a pass reads an index and costs
// what there is to do, however many customers there are. What a rule does is one
// transaction that still finds the due_at it has read: of two nodes one does it.
// A node that is killed leaves the date, or, once an erasure has begun, a later
// one.
//
// Whether a customer is dormant is not noted when he does something. The rule
// comes at the earliest time that he could be, asks sessions and lineages when
// he was last seen, and mostly just moves the date.

const (
	// eraseGrace is how long after its time an account is erased: so long that no
	// node, whatever its clock, still lets the customer keep it.
	eraseGrace = time.Minute
	// retryAfter is when something that failed or was begun is looked at again.
	retryAfter = 10 * time.Minute
	// suspendedAfter is when customers of a suspended tenant are looked at again:
	// they cannot come back while it is closed.
	suspendedAfter = 24 * time.Hour
	dueBatch       = 100
	passBatch      = 500
	// passSettle is how long after a change of settings all nodes know it.
	passSettle = time.Minute
	// system is who does what happens by rule.
	system = "system"
)

// errNotDue says that somebody else has dealt with a customer since he was read.
var errNotDue = errors.New("the customer was changed since he was read")

// dormancyDue is when a customer who was seen at a time is to be looked at.
func dormancyDue(l tenant.Lifecycle, seen time.Time) time.Time {
	if l.DormantAfter <= 0 {
		return time.Time{}
	}
	return seen.Add(l.DormantAfter.D() - l.WarnDormant.D())
}

// due is a customer whose time has come.
type due struct {
	tenant                     id.Tenant
	customer                   id.Customer
	status                     Status
	until, seen, warned, dueAt time.Time
	version                    int64
}

// Advance does what is due by the rules of the life of accounts, for all
// tenants. It may be interrupted and run on several nodes at once. What fails
// for one customer is tried again later and keeps nobody else waiting.
func (d *Directory) Advance(ctx context.Context) error {
	faults := []error{d.advancePasses(ctx)}
	for ctx.Err() == nil {
		page, err := d.duePage(ctx)
		if err != nil {
			return errors.Join(append(faults, err)...)
		}
		for _, it := range page {
			if ctx.Err() != nil {
				break
			}
			err := d.advance(ctx, it)
			if err == nil || errors.Is(err, errNotDue) {
				continue
			}
			if len(faults) < 10 {
				faults = append(faults, fmt.Errorf("the life of %s: %w", it.customer, err))
			}
			if err := d.postpone(ctx, it, d.Clock.Now().Add(retryAfter)); err != nil && !errors.Is(err, errNotDue) {
				return errors.Join(append(faults, err)...)
			}
		}
		if len(page) < dueBatch {
			break
		}
	}
	return errors.Join(faults...)
}

func (d *Directory) duePage(ctx context.Context) ([]due, error) {
	rows, err := d.DB.Query(ctx, `SELECT tenant, customer, status, until_at, CASE WHEN seen_at > created_at THEN seen_at ELSE created_at END, warned_at, due_at, version
		FROM customer WHERE due_at > 0 AND due_at <= $1 ORDER BY due_at LIMIT $2`, d.Clock.Now(), dueBatch)
	if err != nil {
		return nil, fmt.Errorf("read whose time has come: %w", err)
	}
	var page []due
	for rows.Next() {
		var it due
		if err := rows.Scan(&it.tenant, &it.customer, &it.status, &it.until, &it.seen, &it.warned, &it.dueAt, &it.version); err != nil {
			return nil, fmt.Errorf("read whose time has come: %w", err)
		}
		page = append(page, it)
	}
	return page, rows.Err()
}

// advance does what is due for one customer.
func (d *Directory) advance(ctx context.Context, it due) error {
	r, err := d.rules(ctx, it.tenant)
	if err != nil {
		return err
	}
	now := d.Clock.Now()
	if r.suspended {
		return d.postpone(ctx, it, now.Add(suspendedAfter))
	}
	switch it.status {
	case Active:
		return d.advanceActive(ctx, it, r, now)
	case Locked, Suspended:
		if now.Before(it.until) {
			return d.postpone(ctx, it, it.until)
		}
		return d.change(ctx, it, Active)
	case Dormant:
		return d.advanceDormant(ctx, it, r.Lifecycle, now)
	case Invited, Closed:
		if now.Before(it.until.Add(eraseGrace)) {
			return d.postpone(ctx, it, it.until.Add(eraseGrace))
		}
		return d.eraseDue(ctx, it)
	case erasing: // a node has ended on the way
		return d.eraseDue(ctx, it)
	case Erased:
	}
	return d.postpone(ctx, it, time.Time{})
}

// advanceActive finds out whether an account is dormant, and warns before.
func (d *Directory) advanceActive(ctx context.Context, it due, r rules, now time.Time) error {
	l := r.Lifecycle
	if l.DormantAfter <= 0 {
		return d.postpone(ctx, it, time.Time{})
	}
	seen := it.seen
	if d.Seen != nil {
		batch := d.DB.Batch()
		latest := d.Seen(batch, it.tenant, it.customer)
		if err := batch.Run(ctx); err != nil {
			return fmt.Errorf("read when the customer was last seen: %w", err)
		}
		if at := latest(); at.After(seen) {
			seen = at
		}
	}
	if look := dormancyDue(l, seen); now.Before(look) {
		return d.moved(ctx, it, seen, look)
	}
	found, err := d.Get(ctx, it.tenant, it.customer)
	if errors.Is(err, ErrErased) {
		return d.postpone(ctx, it, time.Time{})
	}
	if err != nil {
		return err
	}
	// Whom no message reaches can neither be warned nor come back by a code.
	if !found.Reached(r.settings) {
		return d.keepUnreached(ctx, it, seen, now.Add(l.DormantAfter.D()))
	}
	end := seen.Add(l.DormantAfter.D())
	if warning := l.WarnDormant.D(); warning > 0 {
		if !it.warned.After(seen) { // not since he was last seen
			end = later(end, now.Add(warning))
			return d.warn(ctx, it, AboutDormancy, seen, it.until, end, end)
		}
		end = later(end, it.warned.Add(warning))
	}
	if now.Before(end) {
		return d.moved(ctx, it, seen, end)
	}
	return d.change(ctx, it, Dormant)
}

// advanceDormant erases what nobody came back for, and warns before.
func (d *Directory) advanceDormant(ctx context.Context, it due, l tenant.Lifecycle, now time.Time) error {
	if l.EraseDormantAfter <= 0 || it.until.IsZero() {
		return d.postpone(ctx, it, time.Time{})
	}
	if warning := l.WarnErase.D(); warning > 0 && it.warned.IsZero() {
		if look := it.until.Add(-warning); now.Before(look) {
			return d.postpone(ctx, it, look)
		}
		end := later(it.until, now.Add(warning))
		return d.warn(ctx, it, AboutErasure, it.seen, end, end, end.Add(eraseGrace))
	}
	if end := it.until.Add(eraseGrace); now.Before(end) {
		return d.postpone(ctx, it, end)
	}
	return d.eraseDue(ctx, it)
}

// keepUnreached leaves an account in use that nobody uses, since its customer can
// be told nothing, and says so: what becomes of it is for people to decide. It is
// looked at again when it could have fallen dormant once more. A warning that did
// not arrive was none.
func (d *Directory) keepUnreached(ctx context.Context, it due, seen, again time.Time) error {
	return d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := stillDue(tx, it, seen, again); err != nil {
			return err
		}
		tx.Queue(`UPDATE customer SET warned_at = 0 WHERE tenant = $1 AND customer = $2`, it.tenant, it.customer)
		return d.Log.Append(tx, event.Event{Tenant: it.tenant, Customer: it.customer, Type: "customer.unreachable", Actor: system,
			Data: map[string]any{"kept_from": AboutDormancy, "again": again}})
	})
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// postpone has a rule look at a customer at another time, zero for never.
func (d *Directory) postpone(ctx context.Context, it due, at time.Time) error {
	return d.DB.Write(ctx, func(tx *sqldb.Tx) error { return stillDue(tx, it, it.seen, at) })
}

// moved is postpone, with when the customer was last seen.
func (d *Directory) moved(ctx context.Context, it due, seen, at time.Time) error {
	return d.DB.Write(ctx, func(tx *sqldb.Tx) error { return stillDue(tx, it, seen, at) })
}

// stillDue sets when a rule looks at a customer next, unless somebody has dealt
// with him since he was read.
func stillDue(tx *sqldb.Tx, it due, seen, at time.Time) error {
	changed, err := tx.Exec(`UPDATE customer SET due_at = $5, seen_at = $6 WHERE tenant = $1 AND customer = $2 AND status = $3 AND due_at = $4`,
		it.tenant, it.customer, it.status, it.dueAt, at, seen)
	if err == nil && changed == 0 {
		err = errNotDue
	}
	return err
}

// warn tells a customer what is about to happen at end, once. Until is when his
// status ends from then on.
func (d *Directory) warn(ctx context.Context, it due, about About, seen, until, end, look time.Time) error {
	tell, err := d.notice(ctx, it.tenant, it.customer, about, end)
	if err != nil {
		return err
	}
	return d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := stillDue(tx, it, seen, look); err != nil {
			return err
		}
		tx.Queue(`UPDATE customer SET warned_at = $3, until_at = $4 WHERE tenant = $1 AND customer = $2`, it.tenant, it.customer, tx.Now(), until)
		if tell != nil {
			if err := tell(tx); err != nil {
				return err
			}
		}
		return d.Log.Append(tx, event.Event{Tenant: it.tenant, Customer: it.customer, Type: "customer.warned", Actor: system,
			Data: map[string]any{"of": about, "at": end}})
	})
}

// change moves a customer to another status by rule. For dormancy nobody may
// have signed him in since he was read, which his version tells.
func (d *Directory) change(ctx context.Context, it due, to Status) error {
	change, err := d.PrepareStatus(ctx, it.tenant, it.customer, to, "", system)
	if err != nil {
		return err
	}
	change.due = it.dueAt
	return d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		state, err := d.Hold(tx, it.tenant, it.customer)
		if err != nil {
			return err
		}
		if state.Status != it.status || (to == Dormant && state.Version != it.version+1) {
			return errNotDue
		}
		_, err = d.ChangeStatus(tx, change)
		return err
	})
}

// eraseDue erases a customer by rule. The first transaction is what one node
// alone gets through, and shuts every door: whoever comes back after it is too
// late, whoever came back before it is not erased. Should the node end before the
// key is destroyed, the date comes again, and after that the key store's ledger
// has the rest done.
func (d *Directory) eraseDue(ctx context.Context, it due) error {
	err := d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		state, err := d.Hold(tx, it.tenant, it.customer)
		if err != nil {
			return err
		}
		if state.Status != it.status {
			return errNotDue
		}
		if err := stillDue(tx, it, it.seen, tx.Now().Add(retryAfter)); err != nil {
			return err
		}
		tx.Queue(`UPDATE customer SET status = $3, epoch = epoch + 1, revision = revision + 1 WHERE tenant = $1 AND customer = $2`, it.tenant, it.customer, erasing)
		held(tx, it.tenant, it.customer).Status = erasing
		return nil
	})
	if err != nil {
		return err
	}
	return d.Erase(ctx, it.tenant, it.customer, system)
}

// NoteSeen notes as part of tx when a customer was last seen, before whoever
// knew it forgets it.
func (d *Directory) NoteSeen(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer, at time.Time) {
	tx.Queue(`UPDATE customer SET seen_at = $3 WHERE tenant = $1 AND customer = $2 AND seen_at < $3`, tenant, customer, at)
}

// SetDates has the dates of a tenant's customers set anew, as part of the
// transaction that changes the settings which they come from.
func (d *Directory) SetDates(tx *sqldb.Tx, tenant id.Tenant) error {
	_, err := tx.Exec(`INSERT INTO lifecycle_pass (tenant, begins_at, at_customer) VALUES ($1, $2, '')
		ON CONFLICT (tenant) DO UPDATE SET begins_at = excluded.begins_at, at_customer = ''`, tenant, tx.Now().Add(passSettle))
	return err
}

// advancePasses goes on with setting dates anew. Of two nodes at one place one
// gets on; a place that was reached is kept.
func (d *Directory) advancePasses(ctx context.Context) error {
	rows, err := d.DB.Query(ctx, `SELECT tenant, begins_at, at_customer FROM lifecycle_pass WHERE begins_at <= $1 ORDER BY tenant`, d.Clock.Now())
	if err != nil {
		return fmt.Errorf("read whose dates are to be set anew: %w", err)
	}
	var passes []pass
	for rows.Next() {
		var p pass
		if err := rows.Scan(&p.tenant, &p.begins, &p.at); err != nil {
			return fmt.Errorf("read whose dates are to be set anew: %w", err)
		}
		passes = append(passes, p)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read whose dates are to be set anew: %w", err)
	}
	var faults []error
	for _, p := range passes {
		for more := true; more && ctx.Err() == nil; {
			if more, err = d.advancePass(ctx, &p); errors.Is(err, errNotDue) {
				break // another node is ahead
			} else if err != nil {
				faults = append(faults, fmt.Errorf("set the dates of the customers of %s: %w", p.tenant, err))
				break
			}
		}
	}
	return errors.Join(faults...)
}

type pass struct {
	tenant id.Tenant
	begins time.Time
	at     id.Customer
}

// advancePass sets the dates of the next customers, and says whether there are
// more.
func (d *Directory) advancePass(ctx context.Context, p *pass) (more bool, err error) {
	r, err := d.rules(ctx, p.tenant)
	if err != nil {
		return false, err
	}
	var last id.Customer
	err = d.DB.QueryRow(ctx, `SELECT customer FROM customer WHERE tenant = $1 AND customer > $2 ORDER BY customer LIMIT 1 OFFSET $3`,
		p.tenant, p.at, passBatch-1).Scan(&last)
	if errors.Is(err, sqldb.ErrNoRows) {
		err, last = nil, "~" // after every id
	}
	if err != nil {
		return false, fmt.Errorf("read the next customers: %w", err)
	}
	err = d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		taken, err := tx.Exec(`UPDATE lifecycle_pass SET at_customer = $4 WHERE tenant = $1 AND begins_at = $2 AND at_customer = $3`, p.tenant, p.begins, p.at, last)
		if err != nil {
			return err
		}
		if taken == 0 {
			return errNotDue
		}
		setDates(tx, p.tenant, p.at, last, r.Lifecycle)
		if last == "~" {
			tx.Queue(`DELETE FROM lifecycle_pass WHERE tenant = $1 AND begins_at = $2`, p.tenant, p.begins)
		}
		return nil
	})
	p.at = last
	return err == nil && last != "~", err
}

// setDates sets when rules look at customers: at the active ones when they could
// be dormant, at the dormant ones when they could be erased. Who has been told a
// date keeps it.
func setDates(tx *sqldb.Tx, tenant id.Tenant, after, last id.Customer, l tenant.Lifecycle) {
	const which = ` WHERE tenant = $1 AND customer > $2 AND customer <= $3 AND status = `
	if l.DormantAfter > 0 {
		tx.Queue(`UPDATE customer SET due_at = CASE WHEN seen_at > created_at THEN seen_at ELSE created_at END + $4`+which+`'active'`,
			tenant, after, last, (l.DormantAfter - l.WarnDormant).D().Microseconds())
	} else {
		tx.Queue(`UPDATE customer SET due_at = 0`+which+`'active' AND due_at > 0`, tenant, after, last)
	}
	if l.EraseDormantAfter > 0 {
		tx.Queue(`UPDATE customer SET until_at = status_at + $4, due_at = status_at + $5`+which+`'dormant' AND warned_at = 0`,
			tenant, after, last, l.EraseDormantAfter.D().Microseconds(), (l.EraseDormantAfter - l.WarnErase).D().Microseconds())
	} else {
		tx.Queue(`UPDATE customer SET until_at = 0, due_at = 0`+which+`'dormant'`, tenant, after, last)
	}
}
