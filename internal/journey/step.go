package journey

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Step is one kind of step. It holds no state of its own: what a customer has
// reached stands in the run's State. Implementations live in journey/step.
type Step interface {
	// Outcomes is the closed set of what an answer can lead to.
	Outcomes() []string
	// Check tells what is wrong with a step's settings in a definition.
	Check(Config) error
	// Prompt says what to show. It writes nothing, but may note in the run's
	// State what was shown.
	Prompt(ctx context.Context, run *Run) (Prompt, error)
	// Guard says what an answer would test or send, before it does. The engine
	// draws that from the budget first, and asks the step nothing if it is
	// refused.
	Guard(run *Run, answer Answer) Guard
	// Answer takes an answer. A mistake by the customer is a Result; an error
	// is a fault of ours.
	Answer(ctx context.Context, run *Run, answer Answer) (Result, error)
}

// Entering is a step that does something when it is reached by a submission,
// such as sending a code. What it sends is drawn from the budget first.
type Entering interface {
	Step
	// Enter is called once the budget allows what EnterGuard says. It is not
	// called, and the step shown all the same, when the budget does not.
	EnterGuard(run *Run) Guard
	Enter(ctx context.Context, run *Run) error
}

// Finishing is a step that ends the journey.
type Finishing interface {
	Step
	// Finish ends the journey, or returns an outcome that leads elsewhere.
	Finish(ctx context.Context, run *Run) (*Finished, Result, error)
}

// Guard says what a submission tests, sends or hashes: a kind of budget, or
// nothing.
type Guard struct {
	Tests  string // "password" or "code"
	Sends  string // "send"
	Text   string // the phone number that a text message goes to, in E.164, where it is one
	Hashes string // "hash": a password that is chosen, where none is tested
	// Strong says that what is tested has 64 bits or more, so that only the
	// hour's limit holds for it (NIST SP 800-63B-4, section 3.1.3.2).
	Strong bool
	// Address is the keyed hash of an address that is written to and is not
	// known to be the customer's: what is sent is drawn from its budget too, so
	// that no number of accounts writes to it more often than a stranger may.
	Address string
}

// Result is what came of an answer: an outcome, or the same step again with
// what is wrong.
type Result struct {
	outcome string
	errors  []FieldError
}

// To goes on with an outcome.
func To(outcome string) Result { return Result{outcome: outcome} }

// Again shows the step again with what is wrong; with nothing, as it was.
func Again(errors ...FieldError) Result { return Result{errors: errors} }

// Outcome returns the outcome, "" when the step is shown again.
func (r Result) Outcome() string { return r.outcome }

// Errors returns what is wrong with the answer.
func (r Result) Errors() []FieldError { return r.errors }

// Config is a step's settings in a definition.
type Config map[string]any

// Text returns a setting, "" when it is not there or not text.
func (c Config) Text(key string) string {
	text, _ := c[key].(string)
	return text
}

// Only tells when there are settings other than keys.
func (c Config) Only(keys ...string) error {
	for key := range c {
		if !slices.Contains(keys, key) {
			return fmt.Errorf("there is no setting %q; there is %v", key, keys)
		}
	}
	return nil
}

// Run is one submission on its way through the engine: what a step works with.
type Run struct {
	Tenant      *tenant.Tenant
	Keys        *keyring.Tenant
	Application *application.Application // nil for the tenant's own pages
	Client      Client
	State       *State
	Config      Config
	Now         time.Time
	Device      id.Device // the device that the browser is known as to State.Customer, "" for a stranger
	// Void says that what is tested must come to nothing: strangers have used up
	// their part of the customer's total. It is answered as if it were wrong,
	// at the same cost, so that nobody sees that there is a customer.
	Void bool
}

// Handle is the keyed hash of the identifier that was named: what budgets and
// challenges of an address without an account are kept under.
func (r *Run) Handle() []byte {
	if r.State.Subject == nil {
		return nil
	}
	return r.Keys.Lookup(string(r.State.Subject.Kind), r.State.Subject.Key)[0]
}

// Known returns who the named identifier finds, else the id that an account
// opened by this journey would have. Looking that one up costs as much and
// finds nothing, so that an address without an account is answered in the same
// time.
func (r *Run) Known() id.Customer {
	if r.State.Customer != "" {
		return r.State.Customer
	}
	return r.State.Minted
}
