package step

import (
	"context"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/journey"
)

// NewPassword has the customer choose a password for the account that he
// opens, or skip it where the tenant allows accounts without one.
type NewPassword struct{ Capabilities }

// NewPasswordPrompt asks for a new password.
type NewPasswordPrompt struct {
	Identifier string // for password managers
	MinLength  int    // code points
	MaySkip    bool
}

func (NewPasswordPrompt) Kind() string { return "new-password" }

func (NewPassword) Outcomes() []string           { return []string{"chosen", "skipped"} }
func (NewPassword) Check(c journey.Config) error { return c.Only() }

// Guard bounds how often a page may be sent again to have passwords hashed:
// whether the run has been finished is looked at only at its finish.
func (NewPassword) Guard(run *journey.Run, answer journey.Answer) journey.Guard {
	if len(run.State.Proofs) == 0 || answer.Choice != "" || answer.Value("new_password") == "" {
		return none
	}
	return journey.Guard{Hashes: budget.Hash}
}

func (NewPassword) Prompt(_ context.Context, run *journey.Run) (journey.Prompt, error) {
	return NewPasswordPrompt{
		Identifier: shown(run), MinLength: run.Tenant.Settings.Password.MinLength,
		MaySkip: !run.Tenant.Settings.SignUp.PasswordRequired,
	}, nil
}

func (n NewPassword) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if len(run.State.Proofs) == 0 {
		return journey.Result{}, journey.ErrForged // an address that was not proved gets no password
	}
	if answer.Choice == "skip" && !run.Tenant.Settings.SignUp.PasswordRequired {
		run.State.PasswordHash = ""
		return journey.To("skipped"), nil
	}
	if answer.Choice != "" {
		return journey.Again(), nil
	}
	if answer.Value("new_password") == "" {
		return journey.Again(journey.FieldError{Field: "new_password", Code: "password_empty"}), nil
	}
	typed := credential.NewPassword(answer.Value("new_password"))
	policy := credential.DefaultPolicy()
	policy.MinLength = run.Tenant.Settings.Password.MinLength
	words := credential.ContextWords(shown(run), run.Tenant.Brand.Name, run.Tenant.Name)
	assessment, err := n.Checker.Check(policy, typed, words)
	if err != nil {
		return journey.Result{}, err
	}
	if !assessment.OK() {
		finding := assessment.Findings[0]
		return journey.Again(journey.FieldError{Field: "new_password", Code: "password_" + string(finding.Code),
			Params: map[string]any{"Min": finding.Min, "Max": finding.Max}}), nil
	}
	hash, err := n.Hasher.Hash(ctx, credential.Asker{Tenant: run.Tenant.ID, Known: run.Device != ""}, paramsOf(run.Tenant), typed)
	if err != nil {
		return journey.Result{}, err
	}
	run.State.PasswordHash = string(hash)
	return journey.To("chosen"), nil
}
