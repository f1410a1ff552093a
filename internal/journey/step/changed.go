package step

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// change is what a journey for who is signed in does at its end.
type change struct {
	outcome string
	of      identifier.Kind          // of the address that is changed, "" for none
	apply   func(tx *sqldb.Tx) error // in the transaction, when the customer is held
	notices []notify.Message
	links   []challenge.Link
}

// withSession says, for a journey that is about to change what decides who gets
// in, who is signed in and with which key his data is sealed. He must have
// proved himself lately, in this run or when he signed in.
func (f Finish) withSession(ctx context.Context, run *journey.Run) (*customer.Customer, *keyring.Customer, error) {
	if !journey.InSession(run) {
		return nil, nil, journey.ErrCrossed
	}
	if !journey.Fresh(run, journey.FreshUntil) {
		return nil, nil, journey.ErrExpired
	}
	who, err := f.Directory.Get(ctx, run.Tenant.ID, run.State.Customer)
	if err != nil {
		return nil, nil, fmt.Errorf("read who is signed in: %w", err)
	}
	key, err := f.Directory.Key(ctx, run.Tenant.ID, who.ID)
	return who, key, err
}

// change ends a journey in one transaction: what was proved is spent, the change
// made, and the security epoch has risen, so that every other proof, code and
// change that is under way is dead. This browser stays signed in, with another
// cookie; the others do unless the customer wants them signed out.
func (f Finish) change(ctx context.Context, run *journey.Run, who *customer.Customer, key *keyring.Customer, c change) (*journey.Finished, journey.Result, error) {
	s := run.State
	finished := &journey.Finished{Outcome: c.outcome, Customer: who.ID, Of: c.of, EndedOthers: s.EndOthers, Replaced: s.Target != "" && c.outcome == addressAdded}
	var secret session.Secret
	var epoch int64
	err := f.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := journey.Mark(tx, run); err != nil {
			return err
		}
		state, err := f.Directory.Hold(tx, run.Tenant.ID, who.ID)
		if err != nil {
			return err
		}
		if state.Status.At(customer.Cookie) != customer.Opens || state.Epoch != s.Epoch {
			return errRefused
		}
		if err := f.spend(tx, run); err != nil {
			return err
		}
		if err := c.apply(tx); err != nil {
			return err
		}
		if epoch, err = f.Directory.RaiseEpoch(tx, run.Tenant.ID, who.ID); err != nil {
			return err
		}
		for _, it := range who.Identifiers {
			for _, handle := range run.Keys.Lookup(string(it.Kind), it.Key) {
				f.Challenges.Void(tx, run.Tenant.ID, handle)
			}
		}
		if err := f.others(tx, run, s.Epoch, epoch); err != nil {
			return err
		}
		if err := f.tell(tx, run, c.notices, c.links); err != nil {
			return err
		}
		methods, acr := methodsOf(run), ACR
		finished.Session, secret, err = f.Sessions.Renew(tx, run.Tenant, run.Client.Session, session.Renewal{
			Epoch: epoch, Reauthenticated: len(methods) > 0, Methods: methods, ACR: acr, Stay: run.Client.Session.Stay,
		})
		return err
	})
	switch {
	case errors.Is(err, errRefused), errors.Is(err, session.ErrNone), errors.Is(err, customer.ErrNotFound), errors.Is(err, customer.ErrErased):
		return nil, journey.To("refused"), nil
	case errors.Is(err, customer.ErrTaken):
		return nil, journey.To("taken"), nil
	case err != nil:
		return nil, journey.Result{}, err
	}
	return f.handOver(ctx, run, finished, secret, epoch)
}

// others ends the customer's other sessions, or has them and what applications
// hold live on under the new epoch. What was dead before stays so.
func (f Finish) others(tx *sqldb.Tx, run *journey.Run, before, epoch int64) error {
	s := run.State
	keep := s.Session // and its lineages
	if s.EndOthers {
		if _, err := f.Sessions.EndAll(tx, run.Tenant.ID, s.Customer, s.Session, session.Secured, string(s.Customer)); err != nil {
			return err
		}
	} else {
		keep = ""
		f.Sessions.Carry(tx, run.Tenant.ID, s.Customer, before, epoch)
	}
	f.Grants.Carry(tx, run.Tenant.ID, s.Customer, keep, before, epoch)
	return nil
}

// passwordChanged sets the password that was chosen.
func (f Finish) passwordChanged(ctx context.Context, run *journey.Run) (*journey.Finished, journey.Result, error) {
	s := run.State
	who, key, err := f.withSession(ctx, run)
	if err != nil {
		return nil, journey.Result{}, err
	}
	stored, err := f.Passwords.Password(ctx, run.Tenant.ID, who.ID)
	if err != nil {
		return nil, journey.Result{}, err
	}
	if s.PasswordHash == "" || (stored.Exists() && len(s.Proofs) == 0) {
		return nil, journey.Result{}, journey.ErrForged // the present one is asked for, however lately he signed in
	}
	notices, err := f.notices(run, who, key, notify.PasswordChanged)
	if err != nil {
		return nil, journey.Result{}, err
	}
	links, err := f.linked(run, who, notices)
	if err != nil {
		return nil, journey.Result{}, err
	}
	return f.change(ctx, run, who, key, change{outcome: passwordChanged, notices: notices, links: links, apply: func(tx *sqldb.Tx) error {
		_, err := f.Passwords.SetPassword(tx, key, credential.Change{Tenant: run.Tenant.ID, Customer: who.ID, Actor: string(who.ID)}, credential.Hash(s.PasswordHash))
		return err
	}})
}

// addressAdded gives the customer the address that he has proved, in the place
// of another where the journey is about one. Every address and number that he has
// had is told, and the new one: who reads one of them may not be he.
func (f Finish) addressAdded(ctx context.Context, run *journey.Run) (*journey.Finished, journey.Result, error) {
	s := run.State
	if s.Address == nil || !s.Address.Proved {
		return nil, journey.Result{}, journey.ErrForged
	}
	if !his(run, s.Address.Kind) {
		return nil, journey.Result{}, journey.ErrExpired // numbers were turned off since
	}
	who, key, err := f.withSession(ctx, run)
	if err != nil {
		return nil, journey.Result{}, err
	}
	if full(run, who, s.Address.Normalised) { // since it was named
		return nil, journey.To("refused"), nil
	}
	template := notify.AddressAdded
	if s.Target != "" {
		if it, found := addressOf(who, s.Target); !found || it.Kind != s.Address.Kind {
			return nil, journey.To("refused"), nil
		}
		template = notify.AddressChanged
	}
	notices, err := f.noticesTo(run, who, key, template, who.Proved(run.Tenant.Settings))
	if err != nil {
		return nil, journey.Result{}, err
	}
	links, err := f.linked(run, who, notices)
	if err != nil {
		return nil, journey.Result{}, err
	}
	// The new address is told without a link: whoever reads it is no surer to be
	// the customer than whoever added it.
	notices = append(notices, f.notice(run, who, key, notify.AddressAdded, s.Address.Normalised))
	for i := range notices {
		notices[i].Data.Address = s.Address.Display
	}
	return f.change(ctx, run, who, key, change{outcome: addressAdded, of: s.Address.Kind, notices: notices, links: links, apply: func(tx *sqldb.Tx) error {
		spent, err := f.Challenges.Spend(tx, challenge.Asked{
			Tenant: run.Tenant.ID, Handle: s.Address.Handle, Challenge: s.Address.Challenge, Purpose: addressPurpose, Run: s.Run,
		})
		if err != nil {
			return err
		}
		if !spent {
			return journey.ErrFinished
		}
		if err := f.Budgets.Settle(tx, run.Tenant.ID, budget.Code, journey.Subject(run)); err != nil {
			return err
		}
		if err := f.give(tx, run, who, key); err != nil || s.Target == "" {
			return err
		}
		return f.Directory.RemoveIdentifier(tx, run.Tenant.ID, who.ID, s.Target, string(who.ID))
	}})
}

// give adds the new address, or records that one which the customer has is
// proved. Where its place is taken by itself there is nothing to do.
func (f Finish) give(tx *sqldb.Tx, run *journey.Run, who *customer.Customer, key *keyring.Customer) error {
	address := run.State.Address.Normalised
	for _, it := range who.Identifiers {
		if it.Kind == address.Kind && it.Key == address.Key {
			return f.Directory.VerifyIdentifier(tx, run.Keys, run.Tenant.ID, who.ID, address, string(who.ID))
		}
	}
	_, err := f.Directory.AddIdentifier(tx, run.Keys, key, run.Tenant.ID, who.ID, customer.NewIdentifier{Normalised: address, Verified: true}, string(who.ID))
	return err
}

// addressRemoved takes an address or a number from the customer, and tells it and
// those that stay.
func (f Finish) addressRemoved(ctx context.Context, run *journey.Run) (*journey.Finished, journey.Result, error) {
	who, key, err := f.withSession(ctx, run)
	if err != nil {
		return nil, journey.Result{}, err
	}
	it, found := addressOf(who, run.State.Target)
	if !found || !his(run, it.Kind) || !MayRemove(run.Tenant.Settings, who, it) {
		return nil, journey.To("refused"), nil
	}
	notices, err := f.noticesTo(run, who, key, notify.AddressRemoved, who.Proved(run.Tenant.Settings))
	if err != nil {
		return nil, journey.Result{}, err
	}
	links, err := f.linked(run, who, notices)
	if err != nil {
		return nil, journey.Result{}, err
	}
	for i := range notices {
		notices[i].Data.Address = it.Display
	}
	// Whether another address is left was read before: every change of an address
	// that lets him in raises the epoch, which change compares.
	return f.change(ctx, run, who, key, change{outcome: addressRemoved, of: it.Kind, notices: notices, links: links, apply: func(tx *sqldb.Tx) error {
		return f.Directory.RemoveIdentifier(tx, run.Tenant.ID, who.ID, it.ID, string(who.ID))
	}})
}

// The ends of journeys for who is signed in.
const (
	passwordChanged  = "password-changed"
	addressAdded     = "address-added"
	addressRemoved   = "address-removed"
	addressConfirmed = "address-confirmed"
	accountClosed    = "account-closed"
)
