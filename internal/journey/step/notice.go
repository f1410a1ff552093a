package step

import (
	"context"
	"errors"

	"github.com/cardea-id/cardea/internal/journey"
)

// Notice tells something and goes on.
type Notice struct{}

// NoticePrompt shows a text that pages word by its name.
type NoticePrompt struct{ Text string }

func (NoticePrompt) Kind() string { return "notice" }

func (Notice) Outcomes() []string                               { return []string{"continued"} }
func (Notice) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (Notice) Check(c journey.Config) error {
	if c.Text("text") == "" {
		return errors.New("a notice needs text: the name of what it says")
	}
	return c.Only("text")
}

func (Notice) Prompt(_ context.Context, run *journey.Run) (journey.Prompt, error) {
	return NoticePrompt{Text: run.Config.Text("text")}, nil
}

func (Notice) Answer(_ context.Context, _ *journey.Run, answer journey.Answer) (journey.Result, error) {
	if answer.Choice != "" {
		return journey.Again(), nil
	}
	return journey.To("continued"), nil
}

// Deny says that a journey goes no further and why. It has no outcome.
type Deny struct{}

// DenyPrompt shows a reason that pages word by its name.
type DenyPrompt struct{ Reason string }

func (DenyPrompt) Kind() string { return "deny" }

func (Deny) Outcomes() []string                               { return nil }
func (Deny) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (Deny) Check(c journey.Config) error {
	if c.Text("reason") == "" {
		return errors.New("a denial needs a reason: the name of what it says")
	}
	return c.Only("reason")
}

func (Deny) Prompt(_ context.Context, run *journey.Run) (journey.Prompt, error) {
	return DenyPrompt{Reason: run.Config.Text("reason")}, nil
}

func (Deny) Answer(context.Context, *journey.Run, journey.Answer) (journey.Result, error) {
	return journey.Again(), nil
}
