package step

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/journey"
)

// Collect asks for the profile properties that the tenant wants and the
// customer has not told yet.
type Collect struct{ Capabilities }

// CollectPrompt asks for profile properties.
type CollectPrompt struct {
	Fields []string          // claim names, in the tenant's order
	Values map[string]string // what was typed
}

func (CollectPrompt) Kind() string { return "collect" }

func (Collect) Outcomes() []string                               { return []string{"collected"} }
func (Collect) Check(c journey.Config) error                     { return c.Only() }
func (Collect) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (c Collect) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	fields, err := c.Missing(ctx, run)
	return CollectPrompt{Fields: fields}, err
}

// maxField is the most bytes of one profile field that are read.
const maxField = 2000

func (c Collect) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if len(run.State.Proofs) == 0 {
		return journey.Result{}, journey.ErrForged
	}
	if answer.Choice != "" {
		return journey.Again(), nil
	}
	fields, err := c.Missing(ctx, run)
	if err != nil {
		return journey.Result{}, err
	}
	profile := map[string]any{}
	var faults []journey.FieldError
	for _, field := range fields {
		value := strings.TrimSpace(answer.Value(field))
		switch {
		case value == "":
			faults = append(faults, journey.FieldError{Field: field, Code: "field_empty"})
		case len(value) > maxField:
			faults = append(faults, journey.FieldError{Field: field, Code: "field_invalid"})
		default:
			profile[field] = value
		}
	}
	for _, fault := range run.Tenant.Schema.Validate(profile) {
		if slices.Contains(fields, fault.Name) {
			faults = append(faults, journey.FieldError{Field: fault.Name, Code: "field_invalid"})
		}
	}
	if len(faults) > 0 {
		return journey.Again(faults...), nil
	}
	run.State.Profile = profile
	return journey.To("collected"), nil
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
