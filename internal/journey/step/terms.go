package step

import (
	"context"

	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Terms asks the customer to agree to the tenant's documents. What he agreed
// to is kept with its version at the finish.
type Terms struct{ Capabilities }

// TermsPrompt shows the documents.
type TermsPrompt struct {
	Version   string
	Documents []tenant.Document
}

func (TermsPrompt) Kind() string { return "terms" }

func (Terms) Outcomes() []string                               { return []string{"accepted", "declined"} }
func (Terms) Check(c journey.Config) error                     { return c.Only() }
func (Terms) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (Terms) Prompt(_ context.Context, run *journey.Run) (journey.Prompt, error) {
	terms := run.Tenant.Settings.Terms
	run.State.Offered = terms.Version
	return TermsPrompt{Version: terms.Version, Documents: terms.Documents}, nil
}

func (Terms) Answer(_ context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if len(run.State.Proofs) == 0 {
		return journey.Result{}, journey.ErrForged
	}
	switch {
	case answer.Choice == "decline":
		return journey.To("declined"), nil
	case run.State.Offered != run.Tenant.Settings.Terms.Version: // they have changed since they were shown
		return journey.Again(), nil
	case answer.Choice == "" && answer.Value("decision") == "allow":
		run.State.Terms = run.Tenant.Settings.Terms.Version
		return journey.To("accepted"), nil
	}
	return journey.Again(), nil
}

// TermsDue implements journey.Facts.
func (c Capabilities) TermsDue(ctx context.Context, run *journey.Run) (bool, error) {
	version := run.Tenant.Settings.Terms.Version
	if version == "" || run.State.Terms == version {
		return false, nil
	}
	if run.State.Customer == "" {
		return true, nil
	}
	accepted, err := c.Consents.TermsAccepted(ctx, run.Tenant.ID, run.State.Customer, version)
	return !accepted, err
}
