package customer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Status is where a customer is in the life of an account.
type Status string

const (
	Invited   Status = "invited"   // made by an operator; the address is not proved yet
	Active    Status = "active"    // in use
	Locked    Status = "locked"    // shut for safety: by an operator or after an attack
	Suspended Status = "suspended" // shut by the business
	Dormant   Status = "dormant"   // shut by rule, since nobody used it for long
	Closed    Status = "closed"    // shut by the customer, who may still keep it
	Erased    Status = "erased"    // nothing is left but the fact

	// erasing is what a rule makes of an account before it destroys the key: for a
	// moment, or until a node comes back. No door knows it, and all are shut.
	erasing Status = "erasing"
)

// Statuses are all of them, in the order of a life.
var Statuses = []Status{Invited, Active, Locked, Suspended, Dormant, Closed, Erased}

// Door is one way by which a customer comes in, or by which something that he
// or his applications hold is used.
type Door string

const (
	Password   Door = "password"   // the right password at sign-in
	MailedCode Door = "code"       // the right code of a sign-in
	Recovery   Door = "recovery"   // the right code for a new password
	SignUp     Door = "sign-up"    // the right code of a sign-up with an address of the account
	Invitation Door = "invitation" // the link of an invitation
	Cookie     Door = "cookie"     // the session cookie: account pages, /authorize, prompt=none, consent
	Tokens     Door = "tokens"     // authorization codes, refresh tokens, introspection, userinfo
	Device     Door = "device"     // the device cookie
	NotMe      Door = "not-me"     // the link "This wasn't me" of a notice
	Notices    Door = "notices"    // messages that tell the customer something
)

// Doors are all of them, in the order of the documentation.
var Doors = []Door{Password, MailedCode, Recovery, SignUp, Invitation, Cookie, Tokens, Device, NotMe, Notices}

// Passage is how a door answers a customer of a status.
type Passage string

const (
	Opens    Passage = "opens"    // as it should
	Joins    Passage = "joins"    // lets in, and the account is active from then on
	Asks     Passage = "asks"     // shows when the account will be erased; lets in whoever says there that it is to be kept
	AlsoCode Passage = "code"     // asks for a mailed code too
	Tells    Passage = "tells"    // refuses, and says so, since the address was proved
	AsWrong  Passage = "as wrong" // answers as it does to a wrong password
	AsNobody Passage = "nobody"   // answers as it does for an address that has no account
	Shut     Passage = "shut"     // answers as it does to what was never good
)

// passages is the one place that says what a status means. Every door reads it
// here, docs/lifecycle.md is written from it, and the matrix test of
// internal/server walks through every field of it. A status that a node does
// not know shuts everything.
var passages = map[Door]map[Status]Passage{
	Password:   {Invited: AsWrong, Active: Opens, Locked: AsWrong, Suspended: AsWrong, Dormant: AlsoCode, Closed: Asks, Erased: AsWrong},
	MailedCode: {Invited: Joins, Active: Opens, Locked: Tells, Suspended: Tells, Dormant: Joins, Closed: Asks, Erased: AsNobody},
	Recovery:   {Invited: Joins, Active: Opens, Locked: Tells, Suspended: Tells, Dormant: Joins, Closed: Asks, Erased: AsNobody},
	SignUp:     {Invited: Joins, Active: Opens, Locked: Tells, Suspended: Tells, Dormant: Joins, Closed: Asks, Erased: AsNobody},
	Invitation: {Invited: Joins, Active: Shut, Locked: Shut, Suspended: Shut, Dormant: Shut, Closed: Shut, Erased: Shut},
	Cookie:     {Invited: Shut, Active: Opens, Locked: Shut, Suspended: Shut, Dormant: Shut, Closed: Shut, Erased: Shut},
	Tokens:     {Invited: Shut, Active: Opens, Locked: Shut, Suspended: Shut, Dormant: Shut, Closed: Shut, Erased: Shut},
	Device:     {Invited: Shut, Active: Opens, Locked: Shut, Suspended: Shut, Dormant: Shut, Closed: Shut, Erased: Shut},
	NotMe:      {Invited: Shut, Active: Opens, Locked: Opens, Suspended: Opens, Dormant: Opens, Closed: Opens, Erased: Shut},
	Notices:    {Invited: Shut, Active: Opens, Locked: Opens, Suspended: Opens, Dormant: Opens, Closed: Opens, Erased: Shut},
}

// At says how a door answers a customer of the status.
func (s Status) At(door Door) Passage {
	if passage, known := passages[door][s]; known {
		return passage
	}
	return Shut
}

// doorNames are the doors as the documentation names them.
var doorNames = map[Door]string{
	Password: "right password at sign-in", MailedCode: "right code at sign-in", Recovery: "right code for a new password",
	SignUp: "right code of a sign-up with the address", Invitation: "link of an invitation",
	Cookie: "session cookie: account, `/authorize`, `prompt=none`, consent",
	Tokens: "codes, refresh tokens, introspection, userinfo", Device: "device cookie", NotMe: "link \"This wasn't me\"",
	Notices: "messages to the customer",
}

// Table is what every status means at every door, as documentation prints it.
func Table() string {
	var b strings.Builder
	b.WriteString("| door |")
	for _, status := range Statuses {
		b.WriteString(" " + string(status) + " |")
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(Statuses)) + "\n")
	for _, door := range Doors {
		b.WriteString("| " + doorNames[door] + " |")
		for _, status := range Statuses {
			b.WriteString(" " + string(status.At(door)) + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// MayUseTokens tells whether sessions, refresh tokens and access tokens of the
// customer are good.
func (s Status) MayUseTokens() bool { return s.At(Cookie) == Opens && s.At(Tokens) == Opens }

// transitions says which status may follow which. Erased follows every other.
var transitions = map[Status][]Status{
	Invited:   {Active},
	Active:    {Locked, Suspended, Dormant, Closed},
	Locked:    {Active, Suspended, Closed},
	Suspended: {Active, Locked, Closed},
	Dormant:   {Active, Locked, Suspended, Closed},
	Closed:    {Active},
}

// Next are the statuses that may follow, but for Erased.
func (s Status) Next() []Status { return transitions[s] }

// State is what the hot paths need to know of a customer.
type State struct {
	Found   bool
	Status  Status
	Epoch   int64
	Version int64
	Until   time.Time // when the status ends by itself, zero for never
}

// Keepable tells whether a closed account may still be kept.
func (s State) Keepable(now time.Time) bool { return s.Status == Closed && now.Before(s.Until) }

// QueueState reads a customer's state with batch. It is filled in once the
// batch has run; a customer who does not exist is not Found.
func (d *Directory) QueueState(batch *sqldb.Batch, tenant id.Tenant, customer id.Customer) *State {
	state := &State{}
	batch.Queue(`SELECT status, epoch, version, until_at FROM customer WHERE tenant = $1 AND customer = $2`, []any{tenant, customer},
		func(row sqldb.Scanner) error {
			state.Found = true
			return row.Scan(&state.Status, &state.Epoch, &state.Version, &state.Until)
		})
	return state
}

// State reads a customer's state.
func (d *Directory) State(ctx context.Context, tenant id.Tenant, customer id.Customer) (State, error) {
	batch := d.DB.Batch()
	state := d.QueueState(batch, tenant, customer)
	if err := batch.Run(ctx); err != nil {
		return State{}, fmt.Errorf("read the customer's state: %w", err)
	}
	return *state, nil
}

// Active tells, as of tx, whether a customer's status lets him sign in.
func (d *Directory) Active(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) (bool, error) {
	var status Status
	err := tx.QueryRow(`SELECT status FROM customer WHERE tenant = $1 AND customer = $2`, tenant, customer).Scan(&status)
	if err != nil && !errors.Is(err, sqldb.ErrNoRows) {
		return false, fmt.Errorf("read the customer's status: %w", err)
	}
	return status == Active, nil
}

type heldKey struct {
	tenant   id.Tenant
	customer id.Customer
}

// Hold bumps a customer's version as part of tx and returns the state that
// then holds until tx commits: no other transaction that bumps it can come
// between. It does so once a transaction; Version is the new one.
func (d *Directory) Hold(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) (State, error) {
	state := held(tx, tenant, customer)
	if state.Found {
		return *state, nil
	}
	err := tx.QueryRow(`UPDATE customer SET version = version + 1 WHERE tenant = $1 AND customer = $2 RETURNING status, epoch, version, until_at`,
		tenant, customer).Scan(&state.Status, &state.Epoch, &state.Version, &state.Until)
	if errors.Is(err, sqldb.ErrNoRows) {
		return State{}, ErrNotFound
	}
	if err != nil {
		return State{}, fmt.Errorf("hold the customer: %w", err)
	}
	state.Found = true
	return *state, nil
}

// held is the state that Hold has read in tx; whoever changes it in the
// database changes it here. It is not Found, and not looked at, before.
func held(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) *State {
	return tx.Local(heldKey{tenant, customer}, func() any { return &State{} }).(*State)
}

// holdUnerased holds a customer who is to be given something: an erased one
// gets nothing any more, from a node either that still has his key.
func (d *Directory) holdUnerased(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) error {
	state, err := d.Hold(tx, tenant, customer)
	if err == nil && (state.Status == Erased || state.Status == erasing) {
		err = ErrErased
	}
	return err
}

// Bump bumps a customer's version as part of tx, once a transaction, and
// returns the new one. It is how internal/event orders a customer's events.
func (d *Directory) Bump(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) (int64, error) {
	state, err := d.Hold(tx, tenant, customer)
	return state.Version, err
}

// RaiseEpoch voids, as part of tx, the proofs, sessions and device cookies
// that a customer has. It returns the new epoch.
func (d *Directory) RaiseEpoch(tx *sqldb.Tx, tenant id.Tenant, customer id.Customer) (int64, error) {
	var epoch int64
	err := tx.QueryRow(`UPDATE customer SET epoch = epoch + 1, updated_at = $3 WHERE tenant = $1 AND customer = $2 RETURNING epoch`,
		tenant, customer, tx.Now()).Scan(&epoch)
	if errors.Is(err, sqldb.ErrNoRows) {
		return 0, ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("raise the customer's epoch: %w", err)
	}
	held(tx, tenant, customer).Epoch = epoch
	return epoch, nil
}
