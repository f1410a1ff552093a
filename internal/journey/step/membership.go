package step

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Membership shows an invitation to an organization to whoever brings its link and is not signed in
// with the invited address, and goes on to prove that address.
type Membership struct{ Capabilities }

// MembershipPrompt tells of an invitation.
type MembershipPrompt struct {
	Offer
	SignedIn bool // as somebody else than is invited
}

// Offer is what pages tell of an invitation.
type Offer struct {
	Dead         bool // the link was used, has expired, was taken back or is not ours
	Member       bool // whoever is signed in has accepted it
	Organization string
	Inviter      string // "" names nobody
	Address      string
	Roles        []string
	Until        time.Time
}

func (MembershipPrompt) Kind() string { return "membership" }

func (Membership) Outcomes() []string                               { return []string{"identified"} }
func (Membership) Check(c journey.Config) error                     { return c.Only() }
func (Membership) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (m Membership) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	offered, err := m.offered(ctx, run)
	return MembershipPrompt{Offer: offered, SignedIn: run.Client.Session != nil}, err
}

func (m Membership) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if answer.Choice != "" || answer.Value("decision") != "continue" {
		return journey.Again(), nil
	}
	offer, err := m.offer(ctx, run)
	if err != nil || offer == nil {
		return journey.Again(), err
	}
	subject, err := normalise(run, identifier.Email, offer.Address)
	if err != nil {
		return journey.Result{}, fmt.Errorf("read who is invited: %w", err)
	}
	run.State.Hint = offer.Address // for whoever goes on by another way
	if err := m.name(ctx, run, subject); err != nil {
		return journey.Result{}, err
	}
	return journey.To("identified"), nil
}

// Join asks whoever is signed in with the invited address whether to join.
type Join struct{ Capabilities }

// JoinPrompt asks.
type JoinPrompt struct{ Offer }

func (JoinPrompt) Kind() string { return "join" }

func (Join) Outcomes() []string                               { return []string{"accepted", "declined"} }
func (Join) Check(c journey.Config) error                     { return c.Only() }
func (Join) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (j Join) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	offered, err := j.offered(ctx, run)
	return JoinPrompt{offered}, err
}

func (Join) Answer(_ context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if err := inSession(run); err != nil {
		return journey.Result{}, err
	}
	if answer.Choice != "" {
		return journey.Again(), nil
	}
	switch answer.Value("decision") {
	case "accept":
		return journey.To("accepted"), nil
	case "decline":
		return journey.To("declined"), nil
	}
	return journey.Again(), nil
}

// inSession refuses an answer outside of the session that its journey works in.
func inSession(run *journey.Run) error {
	if run.State.Session == "" {
		return journey.ErrForged
	}
	if now := run.Client.Session; now == nil || now.ID != run.State.Session || now.Customer != run.State.Customer {
		return journey.ErrCrossed
	}
	return nil
}

// offer returns what the link that brought the customer offers, nil when it
// offers nothing any more.
func (c Capabilities) offer(ctx context.Context, run *journey.Run) (*organization.Offer, error) {
	if run.State.Link == "" {
		return nil, nil //nolint:nilnil // no offer is an answer
	}
	offer, err := c.Organizations.ReadLink(ctx, run.Keys, run.Tenant.ID, run.State.Link)
	if err != nil || offer == nil || !offer.Good {
		return nil, err
	}
	return offer, nil
}

// offered is what pages tell of the invitation that brought the customer.
func (c Capabilities) offered(ctx context.Context, run *journey.Run) (Offer, error) {
	if run.State.Link == "" {
		return Offer{Dead: true}, nil
	}
	offer, err := c.Organizations.ReadLink(ctx, run.Keys, run.Tenant.ID, run.State.Link)
	if err != nil || offer == nil {
		return Offer{Dead: true}, err
	}
	signedIn := run.Client.Session
	if !offer.Good {
		o := Offer{Dead: true}
		if offer.To != nil && offer.Status == organization.Accepted && signedIn != nil && offer.Customer == signedIn.Customer {
			o.Member, o.Organization = true, offer.To.Name
		}
		return o, nil
	}
	inviter, err := c.Organizations.Inviter(ctx, run.Tenant, offer.InvitedBy)
	return Offer{Organization: offer.To.Name, Inviter: inviter, Address: offer.Address, Roles: offer.Roles, Until: offer.ExpiresAt}, err
}

// Offered implements journey.Facts.
func (c Capabilities) Offered(ctx context.Context, run *journey.Run) (journey.Offered, error) {
	offer, err := c.offer(ctx, run)
	if err != nil || offer == nil {
		return journey.Offered{}, err
	}
	var told journey.Offered
	if subject := run.State.Subject; subject != nil {
		told.Opens = run.Tenant.Settings.Organizations.SignUpByInvitation && subject.Kind == identifier.Email && subject.Key == offer.Address
	}
	if signedIn := run.Client.Session; signedIn != nil && run.State.Session == signedIn.ID && run.State.Customer == signedIn.Customer {
		told.Mine, err = c.holds(ctx, run, signedIn.Customer, offer)
	}
	return told, err
}

// holds tells whether a customer has proved the address that is invited.
func (c Capabilities) holds(ctx context.Context, run *journey.Run, who id.Customer, offer *organization.Offer) (bool, error) {
	address, err := normalise(run, identifier.Email, offer.Address)
	if err != nil {
		return false, fmt.Errorf("read who is invited: %w", err)
	}
	holder, found, err := c.Directory.Find(ctx, run.Tenant.ID, run.Keys, address)
	return found && holder == who, err
}

// answered ends an invitation in one transaction: it is spent, and whoever has
// proved the invited address becomes a member or does not. That it is his is read
// before: to take it from him raises his epoch.
func (f Finish) answered(ctx context.Context, run *journey.Run, outcome string) (*journey.Finished, journey.Result, error) {
	who := run.State.Customer
	offer, err := f.offer(ctx, run)
	if err != nil {
		return nil, journey.Result{}, err
	}
	if offer == nil || who == "" {
		return nil, journey.To("refused"), nil
	}
	if mine, err := f.holds(ctx, run, who, offer); err != nil || !mine {
		return nil, journey.To("refused"), err
	}
	err = f.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := f.markInSession(tx, run); err != nil {
			return err
		}
		if outcome == "declined" {
			return f.Organizations.Decline(tx, offer.Invitation, who)
		}
		return f.Organizations.Accept(tx, run.Tenant, offer.Invitation, who)
	})
	switch {
	case errors.Is(err, errRefused), errors.Is(err, customer.ErrNotFound), errors.Is(err, organization.ErrNoInvitation), errors.Is(err, organization.ErrSuspended),
		errors.Is(err, organization.ErrNotFound), errors.Is(err, organization.ErrGone), errors.Is(err, organization.ErrInvalid):
		return nil, journey.To("refused"), nil
	case err != nil:
		return nil, journey.Result{}, err
	}
	run.State.Organization = offer.Organization
	return &journey.Finished{Outcome: outcome, Customer: who}, journey.Result{}, nil
}

// markInSession marks a run that works in a session as finished, and refuses one
// whose customer may not sign in or has changed what lets him in.
func (f Finish) markInSession(tx *sqldb.Tx, run *journey.Run) error {
	if err := journey.Mark(tx, run); err != nil {
		return err
	}
	state, err := f.Directory.Hold(tx, run.Tenant.ID, run.State.Customer)
	if err == nil && (state.Status.At(customer.Cookie) != customer.Opens || state.Epoch != run.State.Epoch) {
		err = errRefused
	}
	return err
}
