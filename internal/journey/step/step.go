// Package step holds the kinds of steps that journeys are made of, a file a
// kind. A kind asks one thing, checks the answer and says what came of it; it
// keeps nothing between two submissions but what it writes to the run's State,
// and changes nothing before the finish but challenges.
//
// What every kind must do alike is the engine's: sealed state, budgets,
// expiry. What every kind is held to is in conformance_test.go, with an answer for
// each in held_test.go.
package step

import (
	"context"
	"fmt"
	"io"

	"github.com/cardea-id/cardea/internal/budget"
	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/claim"
	"github.com/cardea-id/cardea/internal/clock"
	"github.com/cardea-id/cardea/internal/consent"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/geoip"
	"github.com/cardea-id/cardea/internal/grant"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Capabilities is what steps work with.
type Capabilities struct {
	DB            *sqldb.DB
	Ring          *keyring.Ring
	Log           *event.Log
	Budgets       *budget.Budgets
	Directory     *customer.Directory
	Hasher        *credential.Hasher
	Checker       *credential.Checker
	Passwords     *credential.Passwords
	Challenges    *challenge.Challenges
	Outbox        *notify.Outbox
	Sessions      *session.Sessions
	Grants        *grant.Grants
	Claims        *claim.Sets
	Consents      *consent.Consents
	Places        *geoip.Places // nil where the operator has no database of them
	Organizations *organization.Organizations
	Clock         clock.Clock
	Random        io.Reader
}

// Kinds returns all kinds of steps by the names that definitions use.
func Kinds(c Capabilities) map[string]journey.Step {
	return map[string]journey.Step{
		"identify":         Identify{c},
		"review-addresses": ReviewAddresses{c},
		"create-account":   CreateAccount{c},
		"recover":          Recover{c},
		"password":         Password{c},
		"new-password":     NewPassword{c},
		"code":             Code{c},
		"collect":          Collect{c},
		"terms":            Terms{c},
		"consent":          Consent{c},
		"new-address":      NewAddress{c},
		"prove-address":    ProveAddress{c},
		"remove-address":   RemoveAddress{c},
		"confirm-address":  ConfirmAddress{c},
		"close-account":    CloseAccount{c},
		"membership":       Membership{c},
		"join":             Join{c},
		"organization":     Organization{c},
		"disown":           Disown{c},
		"keep":             Keep{c},
		"invitation":       Invitation{c},
		"notice":           Notice{},
		"deny":             Deny{},
		"finish":           Finish{c},
	}
}

// none is the guard of an answer that neither tests nor sends.
var none = journey.Guard{}

// normalise reads an identifier as the tenant takes it.
func normalise(run *journey.Run, kind identifier.Kind, raw string) (identifier.Normalised, error) {
	return identifier.Normalise(kind, raw, identifier.Options{
		Region: run.Tenant.Settings.Region, Rule: run.Tenant.Rules[kind],
	})
}

// recognise reads an identifier of whatever kind it seems to be. One that the
// tenant has declared goes before a user name.
func recognise(run *journey.Run, raw string) (identifier.Normalised, error) {
	guess := identifier.Guess(raw)
	if guess == identifier.Username || guess == identifier.Phone {
		for _, declared := range run.Tenant.Settings.Identifiers {
			if n, err := normalise(run, identifier.Declared(declared.Name), raw); err == nil {
				return n, nil
			}
		}
	}
	return normalise(run, guess, raw)
}

// name sets the identifier that a run is about and looks for who has it. What
// was proved of another identifier is forgotten.
func (c Capabilities) name(ctx context.Context, run *journey.Run, subject identifier.Normalised) error {
	holder, found, err := c.Directory.Find(ctx, run.Tenant.ID, run.Keys, subject)
	if err != nil {
		return err
	}
	forget(run)
	run.State.Subject = &subject
	if found {
		run.State.Customer = holder
	}
	run.Device, err = c.Device(ctx, run.Tenant.ID, run.Known(), run.Client.Device)
	return err
}

// forget has a run be about nobody: who goes back to name somebody else leaves
// nothing behind that what comes next could take longer for.
func forget(run *journey.Run) {
	s := run.State
	s.Subject, s.Customer, s.Epoch, s.Proofs, s.Challenge, s.Handle, s.Strong = nil, "", 0, nil, "", nil, false
	s.ByMail, s.Texted = false, false
	s.SentEpoch, s.PasswordHash, s.Profile, s.Offered, s.Terms, s.Joins = 0, "", nil, "", "", ""
	run.Device = ""
}

// Subject implements journey.Subjects.
func (c Capabilities) Subject(ctx context.Context, run *journey.Run, who id.Customer) error {
	found, err := c.Directory.Get(ctx, run.Tenant.ID, who)
	if err != nil {
		return fmt.Errorf("read who is signed in: %w", err)
	}
	// What codes reach goes before what they don't.
	for _, kind := range []identifier.Kind{identifier.Email, identifier.Phone, identifier.Username} {
		it, has := found.Primary(kind)
		if !has || !it.Verified || kind == identifier.Phone && !textable(run, it.Key) {
			continue
		}
		subject, err := normalise(run, kind, it.Display)
		if err != nil {
			return fmt.Errorf("read the identifier of who is signed in: %w", err)
		}
		run.State.Subject, run.State.Customer = &subject, who
		return nil
	}
	return nil
}

// Device implements journey.Devices. It reads the customer's epoch for a
// cookie that names him, and for the id that an unknown address stands for.
func (c Capabilities) Device(ctx context.Context, tenant id.Tenant, who id.Customer, cookie string) (id.Device, error) {
	if cookie == "" {
		return "", nil
	}
	state, err := c.Directory.State(ctx, tenant, who)
	if err != nil {
		return "", err
	}
	device, _, err := c.Sessions.Known(ctx, tenant, cookie, who, state.Epoch)
	if state.Status.At(customer.Device) != customer.Opens {
		device = ""
	}
	return device, err
}

// prove adds a proof to a run whose customer is known, with the epoch that it
// was given under.
func (c Capabilities) prove(ctx context.Context, run *journey.Run, proof journey.Proof) (customer.State, error) {
	state, err := c.Directory.State(ctx, run.Tenant.ID, run.State.Customer)
	if err != nil {
		return customer.State{}, err
	}
	proof.At = run.Now.Unix()
	if len(run.State.Proofs) == 0 {
		run.State.Epoch = state.Epoch
	}
	run.State.Proofs = append(run.State.Proofs, proof)
	return state, nil
}
