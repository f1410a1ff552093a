package step

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/consent"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// ACR is the authentication context that one factor gives.
const ACR = "urn:cardea:acr:1fa"

// Finish ends a journey in one transaction: it spends the proofs, makes the
// account if there is none, keeps what was chosen and agreed to, and begins
// the session.
type Finish struct{ Capabilities }

// outcomes are how a journey can be finished.
var outcomes = []string{"authenticated", "recovered", "disowned", "consented", "denied", passwordChanged, addressAdded, addressRemoved, addressConfirmed, accountClosed, "joined", "declined", "organization"}

func (Finish) Outcomes() []string                               { return []string{"refused", "taken", "closed"} }
func (Finish) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (Finish) Check(c journey.Config) error {
	if !slices.Contains(outcomes, c.Text("outcome")) {
		return fmt.Errorf("outcome is %q; it is one of %v", c.Text("outcome"), outcomes)
	}
	return c.Only("outcome")
}

func (Finish) Prompt(context.Context, *journey.Run) (journey.Prompt, error) {
	return nil, errors.New("a finish shows nothing")
}

func (Finish) Answer(context.Context, *journey.Run, journey.Answer) (journey.Result, error) {
	return journey.Result{}, journey.ErrForged
}

// errRefused says that the customer may not sign in, or that what lets him in
// has changed since the first proof.
var errRefused = errors.New("the customer may not sign in")

func (f Finish) Finish(ctx context.Context, run *journey.Run) (*journey.Finished, journey.Result, error) {
	switch run.Config.Text("outcome") {
	case "denied":
		return &journey.Finished{Outcome: "denied", Customer: run.State.Customer}, journey.Result{}, nil
	case "consented":
		return f.consented(ctx, run)
	case "recovered":
		return f.recovered(ctx, run)
	case "disowned":
		return f.disowned(ctx, run)
	case passwordChanged:
		return f.passwordChanged(ctx, run)
	case addressAdded:
		return f.addressAdded(ctx, run)
	case addressRemoved:
		return f.addressRemoved(ctx, run)
	case addressConfirmed:
		return f.addressConfirmed(ctx, run)
	case accountClosed:
		return f.accountClosed(ctx, run)
	case "joined", "declined":
		return f.answered(ctx, run, run.Config.Text("outcome"))
	case "organization":
		return f.chosen(ctx, run)
	}
	return f.authenticated(ctx, run)
}

func (f Finish) consented(ctx context.Context, run *journey.Run) (*journey.Finished, journey.Result, error) {
	err := f.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := journey.Mark(tx, run); err != nil {
			return err
		}
		state, err := f.Directory.Hold(tx, run.Tenant.ID, run.State.Customer)
		if err != nil {
			return err
		}
		if state.Status.At(customer.Cookie) != customer.Opens || state.Epoch != run.State.Epoch {
			return errRefused
		}
		_, err = f.Grants.Allow(tx, grant.Allowance{
			Tenant: run.Tenant.ID, Customer: run.State.Customer, Application: run.State.Application,
			FirstParty: run.Application.FirstParty, Scopes: run.State.Scopes, Claims: slices.Concat(claimsOf(run.State.Scopes), run.State.Asked),
		})
		return err
	})
	if errors.Is(err, errRefused) || errors.Is(err, customer.ErrNotFound) {
		return nil, journey.To("refused"), nil
	}
	if err != nil {
		return nil, journey.Result{}, err
	}
	return &journey.Finished{Outcome: "consented", Customer: run.State.Customer}, journey.Result{}, nil
}

func (f Finish) authenticated(ctx context.Context, run *journey.Run) (*journey.Finished, journey.Result, error) {
	s := run.State
	if len(s.Proofs) == 0 || s.Subject == nil {
		return nil, journey.Result{}, journey.ErrForged // no journey leads here without a proof
	}
	if s.Terms != "" && s.Terms != run.Tenant.Settings.Terms.Version {
		return nil, journey.Result{}, journey.ErrExpired // there are other documents now than were agreed to
	}
	who, created := s.Customer, s.Customer == ""
	if created && !run.Tenant.Settings.SignUp.Enabled { // it was closed since the journey began, or is open to the invited
		offered, err := f.Offered(ctx, run)
		if err != nil {
			return nil, journey.Result{}, err
		}
		if !offered.Opens {
			return nil, journey.To("closed"), nil
		}
	}
	var key *keyring.Customer
	var err error
	var before *customer.Customer
	if created {
		who = s.Minted
		key, err = f.Ring.CreateCustomer(ctx, run.Tenant.ID, who)
	} else {
		key, err = f.Directory.Key(ctx, run.Tenant.ID, who)
		if err == nil && (len(s.Profile) > 0 || tellsSignIn(run)) {
			before, err = f.Directory.Get(ctx, run.Tenant.ID, who)
		}
	}
	switch {
	case errors.Is(err, customer.ErrErased), errors.Is(err, keyring.ErrErased):
		return nil, journey.To("refused"), nil
	case err != nil:
		return nil, journey.Result{}, fmt.Errorf("the customer's key: %w", err)
	}
	var notices []notify.Message
	var links []challenge.Link
	if before != nil && tellsSignIn(run) {
		if notices, err = f.notices(run, before, key, notify.NewSignIn); err != nil {
			return nil, journey.Result{}, err
		}
		if links, err = f.linked(run, before, notices); err != nil {
			return nil, journey.Result{}, err
		}
	}
	if len(s.Profile) == 0 {
		before = nil
	}

	joins, good, err := f.prepareJoining(ctx, run)
	if err != nil {
		return nil, journey.Result{}, err
	}
	if !good {
		return nil, journey.To("refused"), nil
	}

	agent := f.placed(run)
	finished := &journey.Finished{Outcome: "authenticated", Customer: who, Created: created}
	var secret session.Secret
	var epoch int64
	err = f.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := journey.Mark(tx, run); err != nil {
			return err
		}
		if created {
			if err := f.create(tx, run, key); err != nil {
				return err
			}
		}
		state, err := f.Directory.Hold(tx, run.Tenant.ID, who)
		if err != nil {
			return err
		}
		if !created && state.Epoch != s.Epoch {
			return errRefused
		}
		if err := f.spend(tx, run); err != nil {
			return err
		}
		if err := f.keep(tx, run, key, who, before); err != nil {
			return err
		}
		if err := f.tell(tx, run, notices, links); err != nil {
			return err
		}
		if !created {
			if err := f.admit(tx, run, key, state, joins); err != nil {
				return err
			}
			if state, err = f.Directory.Hold(tx, run.Tenant.ID, who); err != nil {
				return err
			}
		}
		epoch = state.Epoch
		finished.Session, secret, err = f.begin(tx, run, key, who, epoch, agent)
		return err
	})
	switch {
	case errors.Is(err, errRefused), errors.Is(err, customer.ErrNotFound):
		return nil, journey.To("refused"), nil
	case errors.Is(err, customer.ErrTaken):
		return f.afterTaken(ctx, run)
	case errors.Is(err, customer.ErrChanged): // his profile was: what he told is added to what there is now
		return f.authenticated(ctx, run)
	case errors.Is(err, session.ErrNone): // the old session has gone meanwhile
		run.Client.Session = nil
		return f.authenticated(ctx, run)
	case err != nil:
		return nil, journey.Result{}, err
	}
	return f.handOver(ctx, run, finished, secret, epoch)
}

// tellsSignIn tells whether a sign-in is told to its customer: it is his first
// on this device, and the tenant wants it told (OWASP ASVS 6.3.5).
func tellsSignIn(run *journey.Run) bool {
	old := run.Client.Session
	return run.Tenant.Settings.Notices.NewSignIn && run.Device == "" && (old == nil || old.Customer != run.State.Customer)
}

// handOver puts into finished what opens the session that was begun, and what
// the browser is known by from now on.
func (f Finish) handOver(ctx context.Context, run *journey.Run, finished *journey.Finished, secret session.Secret, epoch int64) (*journey.Finished, journey.Result, error) {
	var err error
	if finished.SessionKey, err = f.Sessions.Handle(ctx, finished.Session, secret); err != nil {
		return nil, journey.Result{}, err
	}
	finished.Stay = finished.Session.Stay
	finished.DeviceKey, err = f.Sessions.Remember(ctx, run.Tenant.ID, run.Client.Device, finished.Customer, epoch, finished.Session.Device)
	return finished, journey.Result{}, err
}

// afterTaken goes on when somebody else has opened an account with the address
// while this one was being opened. The address was proved here, so that this
// customer signs in to the account that has it.
func (f Finish) afterTaken(ctx context.Context, run *journey.Run) (*journey.Finished, journey.Result, error) {
	s := run.State
	holder, found, err := f.Directory.Find(ctx, run.Tenant.ID, run.Keys, *s.Subject)
	if err != nil {
		return nil, journey.Result{}, err
	}
	if !found || !provesAddress(s) {
		return nil, journey.To("taken"), nil
	}
	state, err := f.Directory.State(ctx, run.Tenant.ID, holder)
	if err != nil {
		return nil, journey.Result{}, err
	}
	s.Customer, s.Epoch, s.PasswordHash, s.Profile, s.Joins = holder, state.Epoch, "", nil, ""
	if run.Device, err = f.Device(ctx, run.Tenant.ID, holder, run.Client.Device); err != nil {
		return nil, journey.Result{}, err
	}
	return f.authenticated(ctx, run)
}

func provesAddress(s *journey.State) bool {
	return slices.ContainsFunc(s.Proofs, func(p journey.Proof) bool { return p.Verified })
}

func (f Finish) create(tx *sqldb.Tx, run *journey.Run, key *keyring.Customer) error {
	s := run.State
	if !provesAddress(s) {
		return journey.ErrForged // no account without a proved address
	}
	err := f.Directory.Create(tx, run.Keys, key, customer.NewCustomer{
		Tenant: run.Tenant.ID, Customer: s.Minted, Profile: s.Profile,
		Identifiers: []customer.NewIdentifier{{Normalised: *s.Subject, Verified: true}}, Lifecycle: run.Tenant.Settings.Lifecycle,
	})
	if err != nil {
		return err
	}
	if s.PasswordHash == "" {
		return nil
	}
	_, err = f.Passwords.SetPassword(tx, key, credential.Change{Tenant: run.Tenant.ID, Customer: s.Minted, Actor: string(s.Minted)}, credential.Hash(s.PasswordHash))
	return err
}

// spend uses up what was proved: a code buys one finish, and the budget that a
// guess was drawn on is settled.
func (f Finish) spend(tx *sqldb.Tx, run *journey.Run) error {
	if s := run.State; s.Customer != "" && s.Subject != nil && provesAddress(s) {
		if err := f.Directory.MarkDelivered(tx, run.Keys, run.Tenant.ID, s.Customer, *s.Subject, string(s.Customer)); err != nil {
			return err
		}
	}
	for _, proof := range run.State.Proofs {
		if proof.Challenge != "" {
			spent, err := f.Challenges.Spend(tx, challenge.Asked{
				Tenant: run.Tenant.ID, Handle: proof.Handle, Challenge: proof.Challenge, Purpose: purposeOf(proof.Purpose), Run: run.State.Run,
			})
			if err != nil {
				return err
			}
			if !spent {
				return journey.ErrFinished
			}
		}
		if proof.Budget == "" { // a link's: nothing was guessed
			continue
		}
		if err := f.Budgets.Settle(tx, run.Tenant.ID, proof.Budget, journey.Subject(run)); err != nil {
			return err
		}
	}
	return nil
}

// keep stores what an existing customer told and agreed to.
func (f Finish) keep(tx *sqldb.Tx, run *journey.Run, key *keyring.Customer, who id.Customer, before *customer.Customer) error {
	s := run.State
	if before != nil {
		profile := before.Profile
		for name, value := range s.Profile {
			profile[name] = value
		}
		if err := f.Directory.SetProfile(tx, run.Keys, key, run.Tenant.ID, who, before.Revision, profile, string(who)); err != nil {
			return err
		}
	}
	if s.Terms == "" {
		return nil
	}
	documents := make([]consent.Document, 0, len(run.Tenant.Settings.Terms.Documents))
	for _, d := range run.Tenant.Settings.Terms.Documents {
		documents = append(documents, consent.Document{Title: d.TitleIn(run.Client.Language), URL: d.URL})
	}
	return f.Consents.AcceptTerms(tx, consent.Acceptance{
		Tenant: run.Tenant.ID, Customer: who, Version: s.Terms, Documents: documents, Language: run.Client.Language, Channel: "pages",
	})
}

// begin starts the session, or renews the one that the same customer has in
// this browser. Another customer's session in it is ended.
func (f Finish) begin(tx *sqldb.Tx, run *journey.Run, key *keyring.Customer, who id.Customer, epoch int64, agent session.Agent) (*session.Session, session.Secret, error) {
	methods := methodsOf(run)
	if old := run.Client.Session; old != nil {
		if old.Customer == who {
			return f.Sessions.Renew(tx, run.Tenant, old, session.Renewal{Epoch: epoch, Reauthenticated: true, Methods: methods, ACR: ACR, Stay: run.State.Stay})
		}
		if _, err := f.Sessions.End(tx, run.Tenant.ID, old.Customer, old.ID, session.Replaced, string(who)); err != nil {
			return nil, session.Secret{}, err
		}
	}
	device := run.Device
	if device == "" {
		device = id.New[id.Device](tx.Now(), f.Random)
	}
	return f.Sessions.Begin(tx, key, session.Start{
		Tenant: run.Tenant, Customer: who, Device: device, Epoch: epoch, Methods: methods, ACR: ACR, Stay: run.State.Stay,
		Agent: agent,
	})
}

// methodsOf are the methods of what was proved in a run, each once.
func methodsOf(run *journey.Run) []string {
	methods := make([]string, 0, len(run.State.Proofs))
	for _, proof := range run.State.Proofs {
		if !slices.Contains(methods, proof.Method) {
			methods = append(methods, proof.Method)
		}
	}
	return methods
}
