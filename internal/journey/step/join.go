package step

import (
	"context"
	"slices"

	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// joining is a customer who is active from the finish on, made ready before the
// transaction; nil for one who is so already.
type joining struct {
	change customer.StatusChange
	link   *challenge.Link // of an invitation, where that was what proved the address
}

// prepareJoining gets ready what makes the customer of a run active. It is not
// good where a link has been used meanwhile.
func (f Finish) prepareJoining(ctx context.Context, run *journey.Run) (_ *joining, good bool, err error) {
	s := run.State
	if s.Joins == "" || s.Customer == "" {
		return nil, true, nil
	}
	var j joining
	if j.change, err = f.Directory.PrepareStatus(ctx, run.Tenant.ID, s.Customer, customer.Active, "", string(s.Customer)); err != nil {
		return nil, false, err
	}
	if byLink(s) {
		link, _, good, err := f.invited(ctx, run)
		if err != nil || !good || link.Customer != s.Customer {
			return nil, false, err
		}
		j.link = &link
	}
	return &j, true, nil
}

// byLink tells whether an invitation's link is what a run goes by.
func byLink(s *journey.State) bool {
	return slices.ContainsFunc(s.Proofs, func(p journey.Proof) bool { return p.Purpose == InvitationPurpose })
}

// byAddress tells whether a code that was sent to an address or to a number, or a
// link, is among the proofs.
func byAddress(s *journey.State) bool {
	return slices.ContainsFunc(s.Proofs, func(p journey.Proof) bool { return p.Method == "otp" || p.Method == "sms" })
}

// admit lets the customer of a run in as part of the finish, who is held in the
// given state, or says errRefused. It asks the same doors again that the steps
// have asked: much may have happened since. Who joins is active afterwards.
func (f Finish) admit(tx *sqldb.Tx, run *journey.Run, key *keyring.Customer, state customer.State, j *joining) error {
	s := run.State
	door := customer.Password
	switch {
	case byLink(s):
		door = customer.Invitation
	case provesRecovery(s):
		door = customer.Recovery
	case byAddress(s):
		door = customer.MailedCode
	}
	switch passage := state.Status.At(door); {
	case passage == customer.Opens:
		return nil
	case j == nil || s.Joins != string(state.Status):
		return errRefused
	case passage == customer.Asks && state.Keepable(tx.Now()):
	case passage == customer.Joins:
	default:
		return errRefused
	}
	if state.Status != customer.Invited {
		_, err := f.Directory.ChangeStatus(tx, j.change)
		return err
	}
	if s.Subject == nil || !provesAddress(s) {
		return journey.ErrForged
	}
	if j.link != nil {
		spent, err := f.Challenges.SpendLink(tx, *j.link)
		if err != nil {
			return err
		}
		if !spent {
			return errRefused
		}
	}
	if err := f.Directory.Accept(tx, run.Keys, j.change, *s.Subject); err != nil {
		return err
	}
	if s.PasswordHash == "" {
		return nil
	}
	_, err := f.Passwords.SetPassword(tx, key, credential.Change{Tenant: run.Tenant.ID, Customer: s.Customer, Actor: string(s.Customer)}, credential.Hash(s.PasswordHash))
	return err
}
