package step

import (
	"context"
	"errors"

	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
)

// CreateAccount asks for the e-mail address or, where the tenant has them, the
// phone number that an account is to be opened with. The address is proved next; only then is it told whether it has an
// account already.
type CreateAccount struct{ Capabilities }

// CreateAccountPrompt asks for an e-mail address or a phone number.
type CreateAccountPrompt struct {
	Value string
	Phone bool // whether a phone number is taken
}

func (CreateAccountPrompt) Kind() string { return "create-account" }

func (CreateAccount) Outcomes() []string                               { return []string{"identified", "sign-in"} }
func (CreateAccount) Check(c journey.Config) error                     { return c.Only() }
func (CreateAccount) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (CreateAccount) Prompt(_ context.Context, run *journey.Run) (journey.Prompt, error) {
	p := CreateAccountPrompt{Phone: run.Tenant.Settings.Phone.Enabled}
	if kind := identifier.Guess(run.State.Hint); kind == identifier.Email || p.Phone && kind == identifier.Phone {
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
	subject, err := opening(run, typed)
	if err != nil {
		return journey.Again(identifierError(err)), nil
	}
	if err := c.name(ctx, run, subject); err != nil {
		return journey.Result{}, err
	}
	return journey.To("identified"), nil
}

// errNoTexts says that a number takes no text messages.
var errNoTexts = errors.New("the number takes no text messages")

// opening reads the address that an account is opened with.
func opening(run *journey.Run, typed string) (identifier.Normalised, error) {
	if !run.Tenant.Settings.Phone.Enabled || identifier.Guess(typed) != identifier.Phone {
		return normalise(run, identifier.Email, typed)
	}
	subject, err := normalise(run, identifier.Phone, typed)
	if err == nil && !textable(run, subject.Key) {
		err = errNoTexts
	}
	return subject, err
}
