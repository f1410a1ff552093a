package step

import (
	"context"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/journey"
)

// Keep asks a customer who has closed the account, and proved himself since,
// whether it is to be kept. Nothing but the answer opens it.
type Keep struct{ Capabilities }

// KeepPrompt asks.
type KeepPrompt struct {
	Until time.Time // when the account is erased otherwise
}

func (KeepPrompt) Kind() string { return "keep" }

func (Keep) Outcomes() []string                               { return []string{"kept", "left", "refused"} }
func (Keep) Check(c journey.Config) error                     { return c.Only() }
func (Keep) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (k Keep) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	if len(run.State.Proofs) == 0 {
		return nil, journey.ErrForged // nobody else is told that there is an account
	}
	state, err := k.Directory.State(ctx, run.Tenant.ID, run.State.Customer)
	return KeepPrompt{Until: state.Until}, err
}

func (k Keep) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if len(run.State.Proofs) == 0 {
		return journey.Result{}, journey.ErrForged
	}
	run.State.Joins = ""
	switch {
	case answer.Choice == "leave":
		return journey.To("left"), nil
	case answer.Choice != "" || answer.Value("decision") != "keep":
		return journey.Again(), nil
	}
	state, err := k.Directory.State(ctx, run.Tenant.ID, run.State.Customer)
	if err != nil {
		return journey.Result{}, err
	}
	if state.Status == customer.Active {
		return journey.Result{}, journey.ErrFinished // it was kept meanwhile, by this page or another
	}
	if !state.Keepable(run.Now) || state.Epoch != run.State.Epoch {
		return journey.To("refused"), nil
	}
	run.State.Joins = string(customer.Closed)
	return journey.To("kept"), nil
}
