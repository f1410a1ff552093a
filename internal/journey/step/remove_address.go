package step

import (
	"context"
	"slices"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
)

// RemoveAddress asks who is signed in whether to give up the address that the
// journey is about.
type RemoveAddress struct{ Capabilities }

// RemoveAddressPrompt asks.
type RemoveAddressPrompt struct {
	Address string
	Last    bool // no code and no notice would reach him without it: it stays
}

func (RemoveAddressPrompt) Kind() string { return "remove-address" }

func (RemoveAddress) Outcomes() []string                               { return []string{"confirmed", "back"} }
func (RemoveAddress) Check(c journey.Config) error                     { return c.Only() }
func (RemoveAddress) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (r RemoveAddress) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	it, who, err := r.target(ctx, run)
	if err != nil {
		return nil, err
	}
	return RemoveAddressPrompt{Address: it.Display, Last: !reachedWithout(who, it.ID)}, nil
}

func (r RemoveAddress) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if answer.Choice == "back" {
		return journey.To("back"), nil
	}
	if answer.Choice != "" || answer.Value("decision") != "remove" {
		return journey.Again(), nil
	}
	if run.State.Target == "" || !journey.Fresh(run, journey.FreshFor) {
		return journey.Result{}, journey.ErrExpired
	}
	it, who, err := r.target(ctx, run)
	if err != nil {
		return journey.Result{}, err
	}
	if !reachedWithout(who, it.ID) {
		return journey.Again(), nil
	}
	return journey.To("confirmed"), nil
}

// reachedWithout tells whether a customer can be reached, and let in by a code,
// without one of his addresses.
func reachedWithout(who *customer.Customer, gone id.Identifier) bool {
	return slices.ContainsFunc(who.Identifiers, func(it customer.Identifier) bool {
		return it.ID != gone && it.Verified && slices.Contains(reachable, it.Kind)
	})
}
