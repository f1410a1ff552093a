package step

import (
	"context"
	"slices"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/journey"
)

// NewPassword has the customer choose a password for the account that he
// opens, or skip it where the tenant allows accounts without one. With the
// purpose "recovery" it is for the account that he has, and takes nothing but
// the proof by a code that was sent for it; with "account" it is for who is
// signed in and has just proved himself.
type NewPassword struct{ Capabilities }

// NewPasswordPrompt asks for a new password.
type NewPasswordPrompt struct {
	Identifier string // for password managers
	MinLength  int    // code points
	MaySkip    bool
	Recovery   bool // whether it takes the place of a forgotten one
	Account    bool // whether who is signed in chooses it, and may end his other sessions with it
}

func (NewPasswordPrompt) Kind() string { return "new-password" }

func (NewPassword) Outcomes() []string           { return []string{"chosen", "skipped"} }
func (NewPassword) Check(c journey.Config) error { return checkPurpose(c) }

// admits tells whether what was proved lets a password be chosen.
func (NewPassword) admits(run *journey.Run) bool {
	switch run.Config.Text("purpose") {
	case recoveryPurpose:
		return provesRecovery(run.State)
	case accountPurpose:
		return journey.Fresh(run, journey.FreshFor)
	}
	return len(run.State.Proofs) > 0 // an address that was not proved gets no password
}

// provesRecovery tells whether a customer has proved what recovery asks for:
// the code of a recovery, and nothing else.
func provesRecovery(s *journey.State) bool {
	return s.Customer != "" && slices.ContainsFunc(s.Proofs, func(p journey.Proof) bool {
		return p.Purpose == recoveryPurpose && p.Challenge != ""
	})
}

// maySkip tells whether there may be no password: of a new account where the
// tenant allows it; of one that is recovered where there is none either.
func (n NewPassword) maySkip(ctx context.Context, run *journey.Run) (bool, error) {
	if run.Tenant.Settings.SignUp.PasswordRequired || run.Config.Text("purpose") == accountPurpose {
		return false, nil
	}
	if run.Config.Text("purpose") != recoveryPurpose {
		return true, nil
	}
	if !n.admits(run) {
		return false, nil
	}
	stored, err := n.Passwords.Password(ctx, run.Tenant.ID, run.State.Customer)
	return err == nil && !stored.Exists(), err
}

// Guard bounds how often a page may be sent again to have passwords hashed:
// whether the run has been finished is looked at only at its finish.
func (n NewPassword) Guard(run *journey.Run, answer journey.Answer) journey.Guard {
	if !n.admits(run) || answer.Choice != "" || answer.Value("new_password") == "" {
		return none
	}
	return journey.Guard{Hashes: budget.Hash}
}

func (n NewPassword) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	skip, err := n.maySkip(ctx, run)
	return NewPasswordPrompt{
		Identifier: shown(run), MinLength: run.Tenant.Settings.Password.MinLength, MaySkip: skip,
		Recovery: run.Config.Text("purpose") == recoveryPurpose, Account: run.Config.Text("purpose") == accountPurpose,
	}, err
}

func (n NewPassword) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if !n.admits(run) {
		if run.Config.Text("purpose") == accountPurpose {
			return journey.Result{}, journey.ErrExpired // it took longer than a proof is fresh
		}
		return journey.Result{}, journey.ErrForged
	}
	run.State.EndOthers = run.Config.Text("purpose") == accountPurpose && answer.Value("end_others") != ""
	if answer.Choice == "skip" {
		skip, err := n.maySkip(ctx, run)
		if err != nil || !skip {
			return journey.Again(), err
		}
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
