package step

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Collect asks for the profile properties that the tenant wants and the
// customer has not told yet.
type Collect struct{ Capabilities }

// CollectPrompt asks for profile properties.
type CollectPrompt struct {
	Fields []tenant.Attribute // in the tenant's order; an object's parts stand for it
}

func (CollectPrompt) Kind() string { return "collect" }

func (Collect) Outcomes() []string                               { return []string{"collected"} }
func (Collect) Check(c journey.Config) error                     { return c.Only() }
func (Collect) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (c Collect) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	fields, err := c.asked(ctx, run)
	return CollectPrompt{Fields: fields}, err
}

// asked are the attributes of what is missing. A property that is wanted is
// required, whatever the schema says of profiles in general; of one that has
// parts, those that the schema requires are.
func (c Collect) asked(ctx context.Context, run *journey.Run) ([]tenant.Attribute, error) {
	missing, err := c.Missing(ctx, run)
	if err != nil {
		return nil, err
	}
	var asked []tenant.Attribute
	for _, name := range missing {
		for _, a := range run.Tenant.Schema.Attributes() {
			if a.Top() == name {
				a.Required = a.Required || a.Name == name
				asked = append(asked, a)
			}
		}
	}
	return asked, nil
}

func (c Collect) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if len(run.State.Proofs) == 0 {
		return journey.Result{}, journey.ErrForged
	}
	if answer.Choice != "" {
		return journey.Again(), nil
	}
	asked, err := c.asked(ctx, run)
	if err != nil {
		return journey.Result{}, err
	}
	profile, wrong := run.Tenant.Schema.ReadForm(nil, asked, answer.Value)
	faults := fieldErrors(wrong)
	for _, a := range asked {
		if _, told := profile[a.Top()]; !told && !slices.ContainsFunc(wrong, func(f tenant.Fault) bool { return f.Name == a.Name }) {
			faults = append(faults, journey.FieldError{Field: a.Name, Code: "field_empty"})
			break // of the parts of an object, any will do
		}
	}
	if len(faults) > 0 {
		return journey.Again(faults...), nil
	}
	run.State.Profile = profile
	return journey.To("collected"), nil
}

// fieldErrors words what is wrong with attributes as codes for pages.
func fieldErrors(faults []tenant.Fault) []journey.FieldError {
	var errors []journey.FieldError
	for _, fault := range faults {
		code := "field_invalid"
		if fault.Missing {
			code = "field_empty"
		}
		errors = append(errors, journey.FieldError{Field: fault.Name, Code: code})
	}
	return errors
}

// Missing implements journey.Facts.
func (c Capabilities) Missing(ctx context.Context, run *journey.Run) ([]string, error) {
	wanted := run.Tenant.Settings.SignUp.Collect
	if len(wanted) == 0 || run.State.Subject == nil {
		return nil, nil
	}
	told := run.State.Profile
	if run.State.Customer != "" {
		found, err := c.Directory.Get(ctx, run.Tenant.ID, run.State.Customer)
		if errors.Is(err, customer.ErrErased) {
			return nil, nil // nothing is asked of him any more: the finish refuses him
		}
		if err != nil {
			return nil, fmt.Errorf("read what the customer has told: %w", err)
		}
		told = found.Profile
	}
	var missing []string
	for _, name := range wanted {
		if value, has := told[name]; !has || value == "" {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// HasPassword implements journey.Facts.
func (c Capabilities) HasPassword(ctx context.Context, run *journey.Run) (bool, error) {
	if run.State.Customer == "" {
		return false, nil
	}
	stored, err := c.Passwords.Password(ctx, run.Tenant.ID, run.State.Customer)
	return stored.Exists(), err
}
