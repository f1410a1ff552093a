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

// NewAddress asks who is signed in for an e-mail address or a phone number that is to be his,
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

// reachable are the kinds of addresses that codes and notices can be sent to,
// which a customer adds, changes and removes himself.
var reachable = []identifier.Kind{identifier.Email, identifier.Phone}

// his tells whether a kind of address is the customer's to change: what else the
// business has given is the business's, and so are numbers where the tenant
// sends no codes to phones.
func his(run *journey.Run, kind identifier.Kind) bool {
	return slices.Contains(reachable, kind) && (kind != identifier.Phone || run.Tenant.Settings.Phone.Enabled)
}

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
	if run.State.Target == "" && his(run, p.Of) {
		return p, nil
	}
	target, _, err := n.replaced(ctx, run, p.Of)
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
	kind := identifier.Kind(run.Config.Text("kind"))
	_, who, err := n.replaced(ctx, run, kind)
	if err != nil {
		return journey.Result{}, err
	}
	address, err := normalise(run, kind, typed)
	switch {
	case err != nil:
		return journey.Again(identifierError(err)), nil
	case full(run, who, address):
		return journey.Again(journey.FieldError{Field: "identifier", Code: "address_many"}), nil
	case kind == identifier.Phone && !textable(run, address.Key):
		return journey.Again(journey.FieldError{Field: "identifier", Code: "number_no_texts"}), nil
	}
	if slices.ContainsFunc(who.Identifiers, func(it customer.Identifier) bool {
		return it.Verified && it.Kind == address.Kind && it.Key == address.Key
	}) {
		same := "address_same"
		if kind == identifier.Phone {
			same = "number_same"
		}
		return journey.Again(journey.FieldError{Field: "identifier", Code: same}), nil
	}
	run.State.Address = &journey.NewAddress{Normalised: address}
	run.State.EndOthers = answer.Value("end_others") != ""
	return journey.To("named"), nil
}

// full tells whether a customer has as many addresses as he may have, and this one
// would be one more.
func full(run *journey.Run, who *customer.Customer, address identifier.Normalised) bool {
	return run.State.Target == "" && len(who.Identifiers) >= customer.MaxIdentifiers && !slices.ContainsFunc(who.Identifiers, func(it customer.Identifier) bool {
		return it.Kind == address.Kind && it.Key == address.Key
	})
}

// replaced is target for a journey that is about addresses of a kind: none of
// another is put in the place of one.
func (c Capabilities) replaced(ctx context.Context, run *journey.Run, kind identifier.Kind) (customer.Identifier, *customer.Customer, error) {
	it, who, err := c.target(ctx, run)
	if err == nil && (!his(run, kind) || run.State.Target != "" && it.Kind != kind) {
		err = journey.ErrExpired
	}
	return it, who, err
}

// target reads who is signed in, and the address of his that the journey is
// about, where it is about one. One that is not his, or not his to change, ends
// the journey.
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
	if !found || !his(run, it.Kind) {
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
