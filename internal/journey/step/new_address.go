package step

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
)

// NewAddress asks who is signed in for an address of a kind that is to be his,
// beside the others or, where the journey has a target, in its place. It says
// the same to an address that another account has.
type NewAddress struct{ Capabilities }

// NewAddressPrompt asks for an address.
type NewAddressPrompt struct {
	Of       identifier.Kind
	Value    string // what was typed before
	Replaces string // the address whose place it takes, "" for none
}

func (NewAddressPrompt) Kind() string { return "new-address" }

// reachable are the kinds of addresses that codes and notices can be sent to:
// a customer keeps one of them that he has proved.
var reachable = []identifier.Kind{identifier.Email}

func (NewAddress) Outcomes() []string                               { return []string{"named", "back"} }
func (NewAddress) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (NewAddress) Check(c journey.Config) error {
	if !slices.Contains(reachable, identifier.Kind(c.Text("kind"))) {
		return fmt.Errorf("kind is %q; it is one of %v", c.Text("kind"), reachable)
	}
	return c.Only("kind")
}

func (n NewAddress) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	p := NewAddressPrompt{Of: identifier.Kind(run.Config.Text("kind")), Value: run.State.Hint}
	if run.State.Target == "" {
		return p, nil
	}
	target, _, err := n.target(ctx, run)
	p.Replaces = target.Display
	return p, err
}

func (n NewAddress) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if answer.Choice == "back" {
		return journey.To("back"), nil
	}
	if answer.Choice != "" {
		return journey.Again(), nil
	}
	if !journey.Fresh(run, journey.FreshFor) {
		return journey.Result{}, journey.ErrExpired
	}
	typed := answer.Value("identifier")
	if len(typed) <= identifier.MaxBytes {
		run.State.Hint = typed
	}
	address, err := normalise(run, identifier.Kind(run.Config.Text("kind")), typed)
	if err != nil {
		return journey.Again(identifierError(err)), nil
	}
	_, who, err := n.target(ctx, run)
	if err != nil {
		return journey.Result{}, err
	}
	if slices.ContainsFunc(who.Identifiers, func(it customer.Identifier) bool {
		return it.Verified && it.Kind == address.Kind && it.Key == address.Key
	}) {
		return journey.Again(journey.FieldError{Field: "identifier", Code: "address_same"}), nil
	}
	run.State.Address = &journey.NewAddress{Normalised: address}
	run.State.EndOthers = answer.Value("end_others") != ""
	return journey.To("named"), nil
}

// target reads who is signed in, and the address of his that the journey is
// about, where it is about one. One that is no longer his ends the journey.
func (c Capabilities) target(ctx context.Context, run *journey.Run) (customer.Identifier, *customer.Customer, error) {
	if !journey.InSession(run) {
		return customer.Identifier{}, nil, journey.ErrCrossed
	}
	who, err := c.Directory.Get(ctx, run.Tenant.ID, run.State.Customer)
	if errors.Is(err, customer.ErrErased) || errors.Is(err, customer.ErrNotFound) {
		return customer.Identifier{}, nil, err
	}
	if err != nil {
		return customer.Identifier{}, nil, fmt.Errorf("read who is signed in: %w", err)
	}
	if run.State.Target == "" {
		return customer.Identifier{}, who, nil
	}
	it, found := addressOf(who, run.State.Target)
	if !found {
		return it, nil, journey.ErrExpired
	}
	return it, who, nil
}

func addressOf(who *customer.Customer, it id.Identifier) (customer.Identifier, bool) {
	for _, has := range who.Identifiers {
		if has.ID == it {
			return has, true
		}
	}
	return customer.Identifier{}, false
}
