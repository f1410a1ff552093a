package step

import (
	"context"
	"slices"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/tenant"
)

// RemoveAddress asks who is signed in whether to give up the address that the
// journey is about.
type RemoveAddress struct{ Capabilities }

// RemoveAddressPrompt asks.
type RemoveAddressPrompt struct {
	Of      identifier.Kind
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
	return RemoveAddressPrompt{Of: it.Kind, Address: it.Display, Last: !MayRemove(run.Tenant.Settings, who, it)}, nil
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
	if !MayRemove(run.Tenant.Settings, who, it) {
		return journey.Again(), nil
	}
	return journey.To("confirmed"), nil
}

// MayRemove tells whether a customer may give up one of his addresses: not the
// last that codes reach. Who has an e-mail address keeps one, so that a text
// message does not become the only way to him (SECURITY, item 20).
func MayRemove(s tenant.Settings, who *customer.Customer, gone customer.Identifier) bool {
	if !gone.Verified {
		return true // nothing is sent there
	}
	return slices.ContainsFunc(who.Proved(s), func(it customer.Identifier) bool {
		return it.ID != gone.ID && (it.Kind == identifier.Email || gone.Kind == identifier.Phone) && (it.Arrives() || !gone.Arrives())
	})
}
