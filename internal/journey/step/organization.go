package step

import (
	"context"
	"errors"
	"slices"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/organization"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// Organization asks a customer of several organizations for which of them he
// acts in the application.
type Organization struct{ Capabilities }

// OrganizationPrompt lists the organizations.
type OrganizationPrompt struct {
	Memberships []organization.Membership
}

func (OrganizationPrompt) Kind() string { return "organization" }

func (Organization) Outcomes() []string                               { return []string{"chosen", "denied"} }
func (Organization) Check(c journey.Config) error                     { return c.Only() }
func (Organization) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (o Organization) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	memberships, err := o.Organizations.Memberships(ctx, run.Tenant.ID, run.State.Customer)
	return OrganizationPrompt{memberships}, err
}

func (o Organization) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if run.Application == nil {
		return journey.Result{}, journey.ErrForged
	}
	if err := inSession(run); err != nil {
		return journey.Result{}, err
	}
	switch {
	case answer.Choice != "":
		return journey.Again(), nil
	case answer.Value("decision") == "deny":
		return journey.To("denied"), nil
	}
	chosen, err := id.Parse[id.Organization](answer.Value("organization"))
	if err != nil {
		return journey.Again(), nil
	}
	memberships, err := o.Organizations.Memberships(ctx, run.Tenant.ID, run.State.Customer)
	if err != nil {
		return journey.Result{}, err
	}
	if !slices.ContainsFunc(memberships, func(m organization.Membership) bool { return m.Organization.ID == chosen }) {
		return journey.Again(journey.FieldError{Field: "form", Code: "organization_gone"}), nil
	}
	run.State.Organization = chosen
	return journey.To("chosen"), nil
}

// chosen ends the choice of an organization: it is remembered for the session and
// the application.
func (f Finish) chosen(ctx context.Context, run *journey.Run) (*journey.Finished, journey.Result, error) {
	s := run.State
	member, err := f.Organizations.Membership(ctx, run.Tenant.ID, s.Customer, s.Organization)
	if err != nil {
		return nil, journey.Result{}, err
	}
	if member == nil || run.Client.Session == nil {
		s.Organization = ""
		return nil, journey.To("refused"), nil
	}
	err = f.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := f.markInSession(tx, run); err != nil {
			return err
		}
		return f.Organizations.Choose(tx, organization.Choice{Tenant: run.Tenant.ID, Customer: s.Customer, Session: s.Session,
			Application: s.Application, Organization: s.Organization, Until: run.Client.Session.AbsoluteUntil})
	})
	if errors.Is(err, errRefused) || errors.Is(err, customer.ErrNotFound) {
		s.Organization = ""
		return nil, journey.To("refused"), nil
	}
	if err != nil {
		return nil, journey.Result{}, err
	}
	return &journey.Finished{Outcome: "organization", Customer: s.Customer}, journey.Result{}, nil
}

// settled is the customer's membership of the organization that was settled, nil
// where none was or he is a member no more.
func (c Capabilities) settled(ctx context.Context, run *journey.Run) (*organization.Membership, error) {
	if run.State.Organization == "" {
		return nil, nil //nolint:nilnil // no membership is an answer
	}
	return c.Organizations.Membership(ctx, run.Tenant.ID, run.State.Customer, run.State.Organization)
}
