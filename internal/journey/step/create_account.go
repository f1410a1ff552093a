package step

import (
	"context"

	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
)

// CreateAccount asks for the e-mail address that an account is to be opened
// with. The address is proved next; only then is it told whether it has an
// account already.
type CreateAccount struct{ Capabilities }

// CreateAccountPrompt asks for an e-mail address.
type CreateAccountPrompt struct{ Value string }

func (CreateAccountPrompt) Kind() string { return "create-account" }

func (CreateAccount) Outcomes() []string                               { return []string{"identified", "sign-in"} }
func (CreateAccount) Check(c journey.Config) error                     { return c.Only() }
func (CreateAccount) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (CreateAccount) Prompt(_ context.Context, run *journey.Run) (journey.Prompt, error) {
	p := CreateAccountPrompt{}
	if identifier.Guess(run.State.Hint) == identifier.Email {
		p.Value = run.State.Hint
	}
	return p, nil
}

func (c CreateAccount) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	signIn := answer.Choice == "sign-in" || answer.Choice == "back"
	if answer.Choice != "" && !signIn {
		return journey.Again(), nil
	}
	typed := answer.Value("identifier")
	if len(typed) <= identifier.MaxBytes {
		run.State.Hint = typed
	}
	if signIn {
		forget(run)
		return journey.To("sign-in"), nil
	}
	subject, err := normalise(run, identifier.Email, typed)
	if err != nil {
		return journey.Again(identifierError(err)), nil
	}
	if err := c.name(ctx, run, subject); err != nil {
		return journey.Result{}, err
	}
	return journey.To("identified"), nil
}
