package step

import (
	"context"

	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
)

// InvitationPurpose is what the links of invitations are for.
const InvitationPurpose = "invitation"

// Invitation asks whoever brings the link of an invitation whether the account
// is to be opened. The link proves the address that it was sent to; opening it
// does nothing, since mail filters open links too.
type Invitation struct{ Capabilities }

// InvitationPrompt asks.
type InvitationPrompt struct {
	Dead    bool   // the link was used, has expired or is not ours
	Address string // that was invited
}

func (InvitationPrompt) Kind() string { return "invitation" }

func (Invitation) Outcomes() []string                               { return []string{"accepted"} }
func (Invitation) Check(c journey.Config) error                     { return c.Only() }
func (Invitation) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (i Invitation) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	link, _, good, err := i.invited(ctx, run)
	if err != nil || !good {
		return InvitationPrompt{Dead: true}, err
	}
	return InvitationPrompt{Address: link.Address}, nil
}

// invited reads the link of a run, and whom it invites while it is good.
func (c Capabilities) invited(ctx context.Context, run *journey.Run) (challenge.Link, customer.State, bool, error) {
	link, good, err := c.Challenges.ReadLink(ctx, run.Keys, run.Tenant.ID, InvitationPurpose, run.State.Link)
	if err != nil || !good {
		return challenge.Link{}, customer.State{}, false, err
	}
	state, err := c.Directory.State(ctx, run.Tenant.ID, link.Customer)
	if err != nil || !state.Found || state.Status.At(customer.Invitation) != customer.Joins || !run.Now.Before(state.Until) {
		return challenge.Link{}, customer.State{}, false, err
	}
	return link, state, true, nil
}

func (i Invitation) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if answer.Choice != "" || answer.Value("decision") != "accept" {
		return journey.Again(), nil
	}
	link, state, good, err := i.invited(ctx, run)
	if err != nil || !good {
		return journey.Again(), err
	}
	subject, err := normalise(run, identifier.Email, link.Address)
	if err != nil {
		return journey.Result{}, err
	}
	forget(run)
	run.State.Subject, run.State.Customer, run.State.Epoch = &subject, link.Customer, state.Epoch
	run.State.Joins = string(customer.Invited)
	run.State.Proofs = []journey.Proof{{Method: "otp", Purpose: InvitationPurpose, Verified: true, At: run.Now.Unix()}}
	return journey.To("accepted"), nil
}
