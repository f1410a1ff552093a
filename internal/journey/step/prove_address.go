package step

import (
	"context"
	"fmt"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// addressPurpose is what the codes of ProveAddress are for: they let nobody in.
const addressPurpose = "address"

// ProveAddress has who is signed in prove an e-mail address or a phone number, by
// a code that is sent to it. One that another account has is sent the same code:
// that it is taken is told only to who has brought the code back, and reads
// messages there.
type ProveAddress struct{ Capabilities }

// ProveAddressPrompt asks for the code.
type ProveAddressPrompt struct {
	Of      identifier.Kind
	Address string // as it was typed
	Digits  int
	Sent    bool
}

func (ProveAddressPrompt) Kind() string { return "prove-address" }

func (ProveAddress) Outcomes() []string           { return []string{"proved", "taken", "back"} }
func (ProveAddress) Check(c journey.Config) error { return c.Only() }

func (ProveAddress) Prompt(_ context.Context, run *journey.Run) (journey.Prompt, error) {
	to := run.State.Address
	if to == nil {
		return nil, journey.ErrForged
	}
	return ProveAddressPrompt{Of: to.Kind, Address: to.Display, Digits: challenge.Digits, Sent: to.Challenge != ""}, nil
}

func (p ProveAddress) Guard(run *journey.Run, answer journey.Answer) journey.Guard {
	switch {
	case answer.Choice == "resend":
		return p.EnterGuard(run)
	case answer.Choice != "" || answer.Value("code") == "" || run.State.Address == nil || run.State.Address.Challenge == "":
		return none
	}
	return journey.Guard{Tests: budget.Code, Strong: run.State.Address.Strong}
}

// EnterGuard draws on the customer's budget and on that of the address; for a
// number also on what text messages draw on.
func (ProveAddress) EnterGuard(run *journey.Run) journey.Guard {
	to := run.State.Address
	if to == nil {
		return none
	}
	guard := journey.Guard{Sends: budget.Send, Address: string(handleOf(run))}
	if to.Kind == identifier.Phone {
		guard.Text = to.Key
	}
	return guard
}

// handleOf is the keyed hash of the new address.
func handleOf(run *journey.Run) []byte {
	return run.Keys.Lookup(string(run.State.Address.Kind), run.State.Address.Key)[0]
}

// Enter sends the code. It is bound to the address: the challenge is kept under
// its hash, and both travel sealed together, so that a code that came to one
// address proves no other (SECURITY F11).
func (p ProveAddress) Enter(ctx context.Context, run *journey.Run) error {
	to := run.State.Address
	if to == nil {
		return journey.ErrForged
	}
	to.Challenge, to.Handle, to.Strong, to.Proved = "", nil, false, false
	if to.Kind == identifier.Phone && !textable(run, to.Key) { // any more
		return journey.ErrExpired
	}
	// Where no guess at a short code is good any more the code is a long one, as
	// at the sign-in.
	make := challenge.NewCode
	var err error
	if to.Strong, err = p.Budgets.Exhausted(ctx, run.Tenant.ID, budget.Code, journey.Subject(run), journey.LimitOf(run.Tenant, budget.Code)); err != nil {
		return err
	}
	if to.Strong {
		make = challenge.NewLongCode
	}
	code, err := make(p.Random)
	if err != nil {
		return err
	}
	limits := run.Tenant.Settings.Limits
	agent := session.ParseAgent(run.Client.UserAgent, run.Client.Hints, run.Client.Address.String())
	expires, handle := run.Now.Add(limits.CodeLifetime.D()), handleOf(run)
	err = p.DB.Write(ctx, func(tx *sqldb.Tx) error {
		var err error
		to.Challenge, err = p.Challenges.Issue(tx, run.Keys, challenge.Issue{
			Tenant: run.Tenant.ID, Handle: handle, Purpose: addressPurpose, Run: run.State.Run,
			Code: code, Expires: expires, MaxAttempts: limits.AttemptsPerCode,
		})
		if err != nil {
			return err
		}
		return p.Outbox.Enqueue(tx, notify.Message{
			Tenant: run.Tenant.ID, Brand: run.Tenant.Brand.ID, Key: run.Keys, Handle: handle, To: to.Key, By: channelOf(to.Kind),
			Template: notify.Code, Lang: run.Client.Language, Expires: expires,
			Data: notify.Data{Code: code, ValidFor: limits.CodeLifetime.D(), Application: run.Tenant.Name,
				Browser: agent.Browser, System: agent.OS, At: run.Now},
		})
	})
	if err != nil {
		return fmt.Errorf("send the code: %w", err)
	}
	to.Handle = handle
	return nil
}

func (p ProveAddress) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	to := run.State.Address
	if to == nil {
		return journey.Result{}, journey.ErrForged
	}
	switch answer.Choice {
	case "":
	case "back":
		run.State.Address = nil
		return journey.To("back"), nil
	case "resend":
		return journey.Again(), p.Enter(ctx, run)
	default:
		return journey.Again(), nil
	}
	if answer.Value("code") == "" {
		return journey.Again(journey.FieldError{Field: "code", Code: "code_empty"}), nil
	}
	if to.Challenge == "" {
		return journey.Again(journey.FieldError{Field: "code", Code: "code_expired"}), nil
	}
	typed := answer.Value("code")
	if run.Void { // the attempt is counted, and no code is empty
		typed = ""
	}
	result, err := p.Challenges.Test(ctx, challenge.Asked{
		Tenant: run.Tenant.ID, Handle: to.Handle, Challenge: to.Challenge, Purpose: addressPurpose, Run: run.State.Run,
	}, typed)
	if err != nil {
		return journey.Result{}, err
	}
	switch result {
	case challenge.Correct:
	case challenge.Wrong:
		return journey.Again(journey.FieldError{Field: "code", Code: "code_wrong"}), nil
	case challenge.Exhausted:
		return journey.Again(journey.FieldError{Field: "code", Code: "code_exhausted"}), nil
	default:
		return journey.Again(journey.FieldError{Field: "code", Code: "code_expired"}), nil
	}
	holder, found, err := p.Directory.Find(ctx, run.Tenant.ID, run.Keys, to.Normalised)
	if err != nil {
		return journey.Result{}, err
	}
	if found && holder != run.State.Customer {
		return journey.To("taken"), nil
	}
	to.Proved = true
	return journey.To("proved"), nil
}
