package step

import (
	"context"

	"github.com/cardea-id/cardea/internal/journey"
)

// Recover asks whose password is to be set anew. What was typed before is kept.
// It says the same to an identifier that finds nobody as to one that does.
type Recover struct{ Capabilities }

// RecoverPrompt asks for an identifier.
type RecoverPrompt struct {
	Value string   // what was typed before, or the hint
	Phone bool     // whether a phone number is taken for one that gets codes
	Kinds []string // labels of the tenant's own identifiers
}

func (RecoverPrompt) Kind() string { return "recover" }

func (Recover) Outcomes() []string                               { return []string{"identified", "sign-in"} }
func (Recover) Check(c journey.Config) error                     { return c.Only() }
func (Recover) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (Recover) Prompt(_ context.Context, run *journey.Run) (journey.Prompt, error) {
	p := RecoverPrompt{Value: run.State.Hint, Phone: run.Tenant.Settings.Phone.Enabled}
	for _, declared := range run.Tenant.Settings.Identifiers {
		p.Kinds = append(p.Kinds, declared.Label)
	}
	return p, nil
}

func (r Recover) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	signIn := answer.Choice == "sign-in" || answer.Choice == "back"
	if answer.Choice != "" && !signIn {
		return journey.Again(), nil
	}
	if signIn {
		forget(run)
		return journey.To("sign-in"), nil
	}
	return named(ctx, r.Capabilities, run, answer)
}
