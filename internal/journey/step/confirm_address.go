package step

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// ConfirmAddress asks who is signed in whether a code is to be sent to an address
// of his that messages come back from. That the code comes back shows that they
// arrive again.
type ConfirmAddress struct{ Capabilities }

// ConfirmAddressPrompt asks.
type ConfirmAddressPrompt struct {
	Of      identifier.Kind
	Address string
}

func (ConfirmAddressPrompt) Kind() string { return "confirm-address" }

func (ConfirmAddress) Outcomes() []string                               { return []string{"confirmed", "back"} }
func (ConfirmAddress) Check(c journey.Config) error                     { return c.Only() }
func (ConfirmAddress) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (c ConfirmAddress) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	it, err := c.returned(ctx, run)
	return ConfirmAddressPrompt{Of: it.Kind, Address: it.Display}, err
}

func (c ConfirmAddress) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if answer.Choice == "back" {
		return journey.To("back"), nil
	}
	if answer.Choice != "" || answer.Value("decision") != "send" {
		return journey.Again(), nil
	}
	it, err := c.returned(ctx, run)
	if err != nil {
		return journey.Result{}, err
	}
	address, err := normalise(run, it.Kind, it.Display)
	if err != nil {
		return journey.Result{}, fmt.Errorf("read the address that is to be confirmed: %w", err)
	}
	run.State.Address = &journey.NewAddress{Normalised: address}
	return journey.To("confirmed"), nil
}

// returned is the address that the journey is about: one that the customer has
// proved, and that messages come back from. Any other ends the journey.
func (c ConfirmAddress) returned(ctx context.Context, run *journey.Run) (customer.Identifier, error) {
	it, _, err := c.target(ctx, run)
	if err == nil && (run.State.Target == "" || !it.Verified || it.Undeliverable == "") {
		err = journey.ErrExpired
	}
	return it, err
}

// addressConfirmed notes that messages to an address arrive again. Nothing of how
// its customer signs in has changed: his sessions stay as they are.
func (f Finish) addressConfirmed(ctx context.Context, run *journey.Run) (*journey.Finished, journey.Result, error) {
	s := run.State
	if s.Address == nil || !s.Address.Proved {
		return nil, journey.Result{}, journey.ErrForged
	}
	if !journey.InSession(run) {
		return nil, journey.Result{}, journey.ErrCrossed
	}
	err := f.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := f.markInSession(tx, run); err != nil {
			return err
		}
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
		return f.Directory.MarkDelivered(tx, run.Keys, run.Tenant.ID, s.Customer, s.Address.Normalised, string(s.Customer))
	})
	if errors.Is(err, errRefused) || errors.Is(err, customer.ErrNotFound) || errors.Is(err, customer.ErrErased) {
		return nil, journey.To("refused"), nil
	}
	if err != nil {
		return nil, journey.Result{}, err
	}
	return &journey.Finished{Outcome: addressConfirmed, Customer: s.Customer, Of: s.Address.Kind}, journey.Result{}, nil
}
