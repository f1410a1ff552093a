package step

import (
	"context"
	"errors"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Password asks for the password of whoever was named. An address without an
// account, an account without a password and one that is locked are answered
// as a wrong password is, in the same time. The right password of a dormant
// account leads to a mailed code, that of a closed one to the question whether
// it is to be kept.
type Password struct{ Capabilities }

// PasswordPrompt asks for a password.
type PasswordPrompt struct {
	Identifier string // who was named, as typed
	OfferStay  bool   // whether "stay signed in" is offered
	Stay       bool   // whether it was ticked
	Account    bool   // whether who is signed in shows with it that he still is himself
}

func (PasswordPrompt) Kind() string { return "password" }

func (Password) Outcomes() []string           { return []string{"correct", "closed", "code", "recover", "back"} }
func (Password) Check(c journey.Config) error { return checkPurpose(c) }

func (Password) Prompt(_ context.Context, run *journey.Run) (journey.Prompt, error) {
	if run.Config.Text("purpose") == accountPurpose {
		return PasswordPrompt{Identifier: shown(run), Account: true}, nil
	}
	return PasswordPrompt{
		Identifier: shown(run), OfferStay: run.Tenant.Settings.Session.OfferStay, Stay: run.State.Stay,
	}, nil
}

func (Password) Guard(_ *journey.Run, answer journey.Answer) journey.Guard {
	if answer.Choice != "" || answer.Value("password") == "" {
		return none
	}
	return journey.Guard{Tests: budget.Password}
}

func (p Password) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	run.State.Stay = run.Tenant.Settings.Session.OfferStay && answer.Value("stay") != ""
	switch answer.Choice {
	case "":
	case "back":
		forget(run)
		return journey.To("back"), nil
	case "code", "recover":
		if run.State.Hint == "" {
			run.State.Hint = shown(run)
		}
		return journey.To(answer.Choice), nil
	default:
		return journey.Again(), nil
	}
	if answer.Value("password") == "" {
		return journey.Again(journey.FieldError{Field: "password", Code: "password_empty"}), nil
	}
	typed := credential.NewPassword(answer.Value("password"))
	wrong := journey.Again(journey.FieldError{Field: "password", Code: "password_wrong"})

	stored, err := p.Passwords.Password(ctx, run.Tenant.ID, run.Known())
	if err != nil {
		return journey.Result{}, err
	}
	asker := credential.Asker{Tenant: run.Tenant.ID, Known: run.Device != ""}
	dummy := params(run.Tenant.CostOf(run.Handle(), run.Now))
	if !stored.Exists() {
		return wrong, p.Hasher.VerifyDummy(ctx, asker, dummy, typed)
	}
	key, err := p.Directory.Key(ctx, run.Tenant.ID, run.State.Customer)
	if errors.Is(err, customer.ErrErased) {
		return wrong, p.Hasher.VerifyDummy(ctx, asker, dummy, typed)
	}
	if err != nil {
		return journey.Result{}, err
	}
	hash, err := stored.Hash(key)
	if err != nil {
		return journey.Result{}, err
	}
	right, err := p.Hasher.Verify(ctx, asker, hash, typed)
	if err != nil {
		return journey.Result{}, err
	}
	if !right || run.Void {
		return wrong, nil
	}
	state, err := p.prove(ctx, run, journey.Proof{Method: "pwd", Budget: budget.Password})
	if err != nil {
		return journey.Result{}, err
	}
	passage := state.Status.At(customer.Password)
	if passage != customer.Opens && passage != customer.AlsoCode && (passage != customer.Asks || !state.Keepable(run.Now)) {
		run.State.Proofs, run.State.Epoch = nil, 0
		return wrong, nil
	}
	if credential.NeedsRehash(hash, paramsOf(run.Tenant)) {
		if err := p.rehash(ctx, run, key, stored, asker, typed); err != nil {
			return journey.Result{}, err
		}
	}
	if passage == customer.AlsoCode {
		return journey.To("code"), nil
	}
	if passage == customer.Asks {
		return journey.To("closed"), nil
	}
	return journey.To("correct"), nil
}

// rehash brings a hash to the tenant's present parameters while the password
// is at hand. When the installation is busy it is left for another time.
func (p Password) rehash(ctx context.Context, run *journey.Run, key *keyring.Customer, stored credential.Stored, asker credential.Asker, typed credential.Password) error {
	renewed, err := p.Hasher.Hash(ctx, asker, paramsOf(run.Tenant), typed)
	if errors.Is(err, credential.ErrBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := p.Passwords.Rehash(tx, key, run.Tenant.ID, stored, renewed)
		return err
	})
}

func paramsOf(t *tenant.Tenant) credential.Params { return params(t.Settings.Password) }

func params(p tenant.Password) credential.Params {
	return credential.Params{MemoryKiB: p.MemoryKiB, Time: p.Time, Parallelism: p.Parallelism}
}

// shown is the identifier that was named, as the customer typed it.
func shown(run *journey.Run) string {
	if run.State.Subject == nil {
		return ""
	}
	return run.State.Subject.Display
}
