package customer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// StatusChange is a move of a customer to another status, made by
// PrepareStatus. Whatever makes one, it ends what the new status has no use
// for, tells the customer, and sets when a rule looks at him next.
type StatusChange struct {
	tenant   id.Tenant
	customer id.Customer
	status   Status
	reason   string
	actor    string
	key      *keyring.Customer // nil where there is no reason, or no key any more
	keys     *keyring.Tenant   // nil where there is no reason
	rules    tenant.Lifecycle
	until    time.Time             // when the status ends by itself, zero for never
	tell     func(*sqldb.Tx) error // puts the notices into the outbox; nil for none
	due      time.Time             // of a rule: what it has read, zero for no rule
}

// Until is when the status will end by itself, zero for never: for Closed, when
// the account is erased.
func (c StatusChange) Until() time.Time { return c.until }

// Changed is what came of a change of status.
type Changed struct {
	Changed  bool   // he had another status
	From     Status // the one that he had
	Sessions int    // that were ended
}

// Notice is something that a customer is told of the life of his account.
type Notice struct {
	About    About
	Customer *Customer
	Key      *keyring.Customer
	Until    time.Time // when it ends or happens, zero for no such time
	// Identifier is the address that was added or removed. Customer has it in the
	// second case alone: he is as he was before.
	Identifier Identifier
}

// About is what a notice is about.
type About string

const (
	AboutLocked   About = "locked"
	AboutClosed   About = "closed"
	AboutReopened About = "reopened"
	AboutDormancy About = "dormancy" // the account is about to fall dormant
	AboutErasure  About = "erasure"  // a dormant account is about to be erased
	AboutInvited  About = "invited"
	AboutAdded    About = "added"   // an operator gave him an address
	AboutRemoved  About = "removed" // an operator took one from him
)

// ErrUntil says that a time at which a status is to end has passed, or that the
// status has no such time.
var ErrUntil = errors.New("a status ends at a time that is still to come; locked and suspended may have one")

// ErrSpared says that a customer cannot be done without.
var ErrSpared = errors.New("the customer cannot be done without")

// PrepareStatus gets ready what ChangeStatus writes. The reason, which is
// whoever changes it's own words, is kept with the customer under his key, and
// in the event under the tenant's: what an operator did outlives the customer.
func (d *Directory) PrepareStatus(ctx context.Context, tenant id.Tenant, customer id.Customer, status Status, reason, actor string) (StatusChange, error) {
	return d.PrepareStatusUntil(ctx, tenant, customer, status, time.Time{}, reason, actor)
}

// PrepareStatusUntil is PrepareStatus for a status that ends by itself.
func (d *Directory) PrepareStatusUntil(ctx context.Context, tenant id.Tenant, customer id.Customer, status Status, until time.Time, reason, actor string) (StatusChange, error) {
	change := StatusChange{tenant: tenant, customer: customer, status: status, reason: reason, actor: actor, until: until}
	now := d.Clock.Now()
	if !until.IsZero() && (!until.After(now) || (status != Locked && status != Suspended)) {
		return change, ErrUntil
	}
	rules, err := d.rules(ctx, tenant)
	if err != nil {
		return change, err
	}
	change.rules = rules.Lifecycle
	switch {
	case status == Closed:
		change.until = now.Add(change.rules.CloseWindow.D())
	case status == Dormant && change.rules.EraseDormantAfter > 0:
		change.until = now.Add(change.rules.EraseDormantAfter.D())
	}
	if change.tell, err = d.prepareNotice(ctx, change); err != nil {
		return change, err
	}
	if reason == "" {
		return change, nil
	}
	change.key, err = d.Ring.Customer(ctx, tenant, customer)
	if err != nil && !errors.Is(err, keyring.ErrErased) && !errors.Is(err, keyring.ErrNoKey) { // of whom ChangeStatus says more
		return change, fmt.Errorf("read the customer's key: %w", err)
	}
	if change.keys, err = d.Ring.Tenant(ctx, tenant); err != nil {
		return change, fmt.Errorf("read the tenant's keys: %w", err)
	}
	return change, nil
}

// prepareNotice gets ready what a customer is told of a change. Who is not
// there, or erased, is told nothing.
func (d *Directory) prepareNotice(ctx context.Context, change StatusChange) (func(*sqldb.Tx) error, error) {
	if d.Notice == nil || (change.status != Locked && change.status != Closed && change.status != Active) {
		return nil, nil //nolint:nilnil // nothing is told
	}
	about := map[Status]About{Locked: AboutLocked, Closed: AboutClosed, Active: AboutReopened}[change.status]
	if change.status == Active {
		state, err := d.State(ctx, change.tenant, change.customer)
		if err != nil || (state.Status != Closed && state.Status != Dormant) {
			return nil, err
		}
	}
	return d.notice(ctx, change.tenant, change.customer, about, change.until)
}

func (d *Directory) notice(ctx context.Context, tenant id.Tenant, customer id.Customer, about About, until time.Time) (func(*sqldb.Tx) error, error) {
	if d.Notice == nil {
		return nil, nil //nolint:nilnil // nothing is told
	}
	found, err := d.Get(ctx, tenant, customer)
	var key *keyring.Customer
	if err == nil {
		key, err = d.Key(ctx, tenant, customer)
	}
	if errors.Is(err, ErrErased) || errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // nobody is left to be told
	}
	if err != nil {
		return nil, fmt.Errorf("read who is to be told: %w", err)
	}
	return d.Notice(ctx, Notice{About: about, Customer: found, Key: key, Until: until})
}

// PrepareIdentifierNotice gets ready what a customer is told when an operator
// changes the addresses that let him in: what it returns goes before the change, in
// its transaction, and refuses with ErrChanged when what lets him in was changed
// since he was read: an address that was taken out since is sent no link that
// brings it back. An address that he has not proved lets nobody in, nor does one
// that no messages go to, such as a user name, and nothing is told of it.
func (d *Directory) PrepareIdentifierNotice(ctx context.Context, about About, who *Customer, it Identifier) (func(*sqldb.Tx) error, error) {
	nothing := func(*sqldb.Tx) error { return nil }
	if d.Notice == nil || !it.Verified || (it.Kind != identifier.Email && it.Kind != identifier.Phone) {
		return nothing, nil
	}
	key, err := d.Key(ctx, who.Tenant, who.ID)
	if err != nil {
		return nil, fmt.Errorf("read who is to be told: %w", err)
	}
	tell, err := d.Notice(ctx, Notice{About: about, Customer: who, Key: key, Identifier: it})
	if tell == nil || err != nil {
		return nothing, err
	}
	return func(tx *sqldb.Tx) error {
		if err := d.holdUnerased(tx, who.Tenant, who.ID); err != nil {
			return err
		}
		if held(tx, who.Tenant, who.ID).Epoch != who.Epoch {
			return ErrChanged
		}
		return tell(tx)
	}, nil
}

// SetStatus moves a customer to another status, which voids what lets him in.
// To set the status that he has changes nothing.
func (d *Directory) SetStatus(ctx context.Context, tenant id.Tenant, customer id.Customer, status Status, reason, actor string) error {
	change, err := d.PrepareStatus(ctx, tenant, customer, status, reason, actor)
	if err != nil {
		return err
	}
	return d.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := d.ChangeStatus(tx, change)
		return err
	})
}

// untilOf is what an event tells of how long a status lasts: no until is until
// somebody lifts it.
func untilOf(change StatusChange) map[string]any {
	data := map[string]any{"status": change.status}
	if !change.until.IsZero() {
		data["until"] = change.until
	}
	return data
}

// ChangeStatus is SetStatus as part of tx. A lock or suspension that is there
// already gets the new end, and nothing else.
func (d *Directory) ChangeStatus(tx *sqldb.Tx, change StatusChange) (Changed, error) {
	tenant, customer := change.tenant, change.customer
	state, err := d.Hold(tx, tenant, customer)
	if err != nil {
		return Changed{}, err
	}
	done := Changed{From: state.Status}
	if state.Status == change.status {
		if change.due.IsZero() && !state.Until.Equal(change.until) && (change.status == Locked || change.status == Suspended) {
			tx.Queue(`UPDATE customer SET until_at = $3, due_at = $3, revision = revision + 1, updated_at = $4 WHERE tenant = $1 AND customer = $2`,
				tenant, customer, change.until, tx.Now())
			return done, d.Log.Append(tx, event.Event{Tenant: tenant, Customer: customer, Type: "customer.status.prolonged", Actor: change.actor,
				Data: untilOf(change)})
		}
		return done, nil
	}
	if !slices.Contains(transitions[state.Status], change.status) {
		return done, fmt.Errorf("%w: from %s to %s", ErrNotAllowed, state.Status, change.status)
	}
	if state.Status == Closed && !state.Keepable(tx.Now()) {
		return done, fmt.Errorf("%w: the time to keep the account is over", ErrNotAllowed)
	}
	if state.Status == Active && change.due.IsZero() && d.Spare != nil {
		if err := d.Spare(tx, tenant, customer, false); err != nil {
			return done, err
		}
	}
	data := map[string]any{"from": state.Status, "to": change.status}
	if !change.until.IsZero() {
		data["until"] = change.until
	}
	happened := event.Event{Tenant: tenant, Customer: customer, Type: "customer.status.changed", Actor: change.actor, Data: data}
	var reason []byte
	if change.reason != "" {
		if change.key == nil {
			return done, ErrErased
		}
		if reason, err = sealReason(change.key, tenant, customer, sealedReason{change.status, change.reason}); err != nil {
			return done, err
		}
		happened.Personal, happened.Sealer, happened.TenantKey = map[string]string{"reason": change.reason}, change.keys, true
	}
	// Whoever changes a status has just dealt with the customer: he is not taken
	// for one who was not seen for long.
	changed, err := tx.Exec(`UPDATE customer SET status = $3, reason = '', reason_sealed = $4, revision = revision + 1, epoch = epoch + 1,
			status_at = $5, until_at = $6, due_at = $7, warned_at = 0, seen_at = CASE WHEN $8 THEN $5 ELSE seen_at END, updated_at = $5
		WHERE tenant = $1 AND customer = $2 AND status = $9 AND (due_at = $10 OR $10 = 0)`,
		tenant, customer, change.status, reason, tx.Now(), change.until, change.dueAfter(tx.Now()), change.status == Active, state.Status, change.due)
	if err != nil {
		return done, fmt.Errorf("store the status: %w", err)
	}
	if changed == 0 {
		return done, errNotDue
	}
	kept := held(tx, tenant, customer)
	kept.Status, kept.Until = change.status, change.until
	kept.Epoch++
	done.Changed = true
	if err := d.Log.Append(tx, happened); err != nil {
		return done, err
	}
	if !change.status.MayUseTokens() && d.Shut != nil {
		if done.Sessions, err = d.Shut(tx, tenant, customer, change.actor); err != nil {
			return done, err
		}
	}
	if change.tell != nil {
		return done, change.tell(tx)
	}
	return done, nil
}

// dueAfter is when a rule looks at the customer next, after a change at now.
func (c StatusChange) dueAfter(now time.Time) time.Time {
	switch c.status {
	case Active:
		return dormancyDue(c.rules, now)
	case Closed:
		return c.until.Add(eraseGrace)
	case Dormant:
		if c.until.IsZero() {
			return time.Time{}
		}
		return c.until.Add(-c.rules.WarnErase.D())
	case Locked, Suspended, Invited, Erased, erasing:
	}
	return c.until
}

// rules are what a tenant says of the life of accounts and of messages, and
// whether it is closed altogether.
type rules struct {
	tenant.Lifecycle
	settings  tenant.Settings
	suspended bool
}

func (d *Directory) rules(ctx context.Context, t id.Tenant) (rules, error) {
	if d.Tenant == nil {
		return rules{Lifecycle: tenant.Defaults().Lifecycle, settings: tenant.Defaults()}, nil
	}
	found, err := d.Tenant(ctx, t)
	if err != nil {
		return rules{}, fmt.Errorf("read what the tenant says of accounts: %w", err)
	}
	return rules{Lifecycle: found.Settings.Lifecycle, settings: found.Settings, suspended: found.Suspended}, nil
}
