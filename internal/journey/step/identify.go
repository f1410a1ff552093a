package step

import (
	"context"
	"errors"

	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
)

// Identify asks who somebody is. It says the same to an identifier that finds
// nobody as to one that does.
type Identify struct{ Capabilities }

// IdentifyPrompt asks for an identifier.
type IdentifyPrompt struct {
	Value   string   // what was typed before, or the application's hint
	Phone   bool     // whether a phone number is taken for one that gets codes
	Kinds   []string // names of what is taken: "email", "username", a declared one's label …
	MayOpen bool     // whether an account can be opened instead
}

func (IdentifyPrompt) Kind() string { return "identify" }

func (Identify) Outcomes() []string                               { return []string{"identified", "create"} }
func (Identify) Check(c journey.Config) error                     { return c.Only() }
func (Identify) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (i Identify) Prompt(_ context.Context, run *journey.Run) (journey.Prompt, error) {
	p := IdentifyPrompt{Value: run.State.Hint, MayOpen: run.Tenant.Settings.SignUp.Enabled, Phone: run.Tenant.Settings.Phone.Enabled}
	for _, declared := range run.Tenant.Settings.Identifiers {
		p.Kinds = append(p.Kinds, declared.Label)
	}
	return p, nil
}

func (i Identify) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if answer.Choice != "" && answer.Choice != "create" {
		return journey.Again(), nil
	}
	if answer.Choice == "create" {
		if typed := answer.Value("identifier"); len(typed) <= identifier.MaxBytes {
			run.State.Hint = typed
		}
		forget(run)
		return journey.To("create"), nil
	}
	return named(ctx, i.Capabilities, run, answer)
}

// named takes an identifier of any kind and says that somebody was named, or
// what is wrong with it.
func named(ctx context.Context, c Capabilities, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	typed := answer.Value("identifier")
	if len(typed) <= identifier.MaxBytes {
		run.State.Hint = typed
	}
	subject, err := recognise(run, typed)
	if err != nil {
		return journey.Again(identifierError(err)), nil
	}
	if err := c.name(ctx, run, subject); err != nil {
		return journey.Result{}, err
	}
	return journey.To("identified"), nil
}

// identifierError words what is wrong with an identifier as a code for pages.
func identifierError(err error) journey.FieldError {
	var wrong *identifier.Error
	if errors.As(err, &wrong) && wrong.Reason == identifier.Empty {
		return journey.FieldError{Field: "identifier", Code: "identifier_empty"}
	}
	if errors.As(err, &wrong) && wrong.Kind == identifier.Phone {
		return journey.FieldError{Field: "identifier", Code: "phone_invalid"}
	}
	if errors.Is(err, errNoTexts) {
		return journey.FieldError{Field: "identifier", Code: "phone_no_texts"}
	}
	if errors.As(err, &wrong) && wrong.Kind == identifier.Email {
		return journey.FieldError{Field: "identifier", Code: "email_invalid"}
	}
	return journey.FieldError{Field: "identifier", Code: "identifier_invalid"}
}
