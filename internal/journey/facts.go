package journey

import (
	"context"
	"fmt"

	"github.com/cardea-id/cardea/internal/expr"
)

// Facts tells what conditions may ask of a customer. Each is asked only for a
// condition that names it. Before a proof they are told of nobody: what is read
// of a customer takes time, which would tell strangers that there is one.
// Implemented by journey/step, which knows the capabilities.
type Facts interface {
	// Missing returns the profile properties that the tenant asks for and the
	// customer has neither told before nor in this journey.
	Missing(ctx context.Context, run *Run) ([]string, error)
	// TermsDue tells whether the tenant has terms that the customer has not
	// agreed to.
	TermsDue(ctx context.Context, run *Run) (bool, error)
	// HasPassword tells whether the customer has a password.
	HasPassword(ctx context.Context, run *Run) (bool, error)
	// Newer returns the addresses and numbers that were added to the account
	// lately, and later than the one that a recovery is proved by.
	Newer(ctx context.Context, run *Run) ([]string, error)
	// Offered tells what the link of an invitation, which brought the customer,
	// is good for.
	Offered(ctx context.Context, run *Run) (Offered, error)
}

// Offered is what the link of an invitation is good for. Without a link, or with
// one that is good no more, it is nothing.
type Offered struct {
	Mine  bool // it was sent to an address that whoever is signed in has proved
	Opens bool // it was sent to the address that was named, which may have an account opened for it
}

// condition is a compiled "when".
type condition struct{ program *expr.Program }

// variables are what a condition may ask for.
var variables = []expr.Variable{
	{Name: "tenant.sign_up.enabled", Type: expr.Bool},
	{Name: "tenant.password_required", Type: expr.Bool},
	{Name: "terms.due", Type: expr.Bool},
	{Name: "membership.mine", Type: expr.Bool},     // see Offered
	{Name: "membership.opens", Type: expr.Bool},    // see Offered
	{Name: "customer.known", Type: expr.Bool},      // whether the identifier found somebody
	{Name: "customer.missing", Type: expr.Strings}, // profile properties that are asked for and not told
	{Name: "customer.newer", Type: expr.Strings},   // see Facts.Newer
	{Name: "application.id", Type: expr.String},    // "" for the tenant's own pages
	{Name: "application.first_party", Type: expr.Bool},
	{Name: "customer.has_password", Type: expr.Bool},
	{Name: "client.known_device", Type: expr.Bool},
	{Name: "client.stale", Type: expr.Bool}, // whether who is signed in has not proved himself in the last minutes
	{Name: "client.language", Type: expr.String},
	{Name: "proofs", Type: expr.Strings}, // methods (amr)
}

func compileCondition(environment *expr.Environment, text string) (*condition, error) {
	program, err := environment.Compile(text)
	if err != nil {
		return nil, err
	}
	return &condition{program: program}, nil
}

func (c *condition) holds(ctx context.Context, facts Facts, run *Run) (bool, error) {
	of := run
	if !proved(run) {
		of = nobody(run)
	}
	var missing, newer []string
	var due, password bool
	var offered Offered
	var err error
	if c.program.Names("customer.missing") {
		if missing, err = facts.Missing(ctx, of); err != nil {
			return false, err
		}
	}
	if c.program.Names("customer.newer") {
		if newer, err = facts.Newer(ctx, of); err != nil {
			return false, err
		}
	}
	if c.program.Names("terms.due") {
		if due, err = facts.TermsDue(ctx, of); err != nil {
			return false, err
		}
	}
	if c.program.Names("customer.has_password") {
		if password, err = facts.HasPassword(ctx, of); err != nil {
			return false, err
		}
	}
	if c.program.Names("membership.mine") || c.program.Names("membership.opens") {
		if offered, err = facts.Offered(ctx, of); err != nil {
			return false, err
		}
	}
	application, firstParty := "", true
	if run.Application != nil {
		application, firstParty = string(run.Application.ID), run.Application.FirstParty
	}
	methods := make([]string, 0, len(run.State.Proofs))
	for _, proof := range run.State.Proofs {
		methods = append(methods, proof.Method)
	}
	holds, err := c.program.Eval(ctx, map[string]any{
		"tenant.sign_up.enabled":   run.Tenant.Settings.SignUp.Enabled,
		"tenant.password_required": run.Tenant.Settings.SignUp.PasswordRequired,
		"terms.due":                due,
		"membership.mine":          offered.Mine,
		"membership.opens":         offered.Opens,
		"customer.known":           run.State.Customer != "",
		"customer.missing":         missing,
		"customer.newer":           newer,
		"application.id":           application,
		"application.first_party":  firstParty,
		"customer.has_password":    password,
		"client.known_device":      run.Device != "",
		"client.stale":             !Fresh(run, FreshFor),
		"client.language":          run.Client.Language,
		"proofs":                   methods,
	})
	if err != nil {
		return false, fmt.Errorf("a condition of the journey %s: %w", run.State.Journey, err)
	}
	return holds, nil
}

// proved tells whether a run may ask for what is stored of its customer: after
// a proof, or in that customer's own session.
func proved(run *Run) bool {
	return len(run.State.Proofs) > 0 || InSession(run)
}

// nobody is a run that has found no customer.
func nobody(run *Run) *Run {
	state := *run.State
	state.Customer = ""
	of := *run
	of.State, of.Device = &state, ""
	return &of
}
