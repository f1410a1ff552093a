package step

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// ReviewAddresses shows who recovers an account the addresses and numbers that
// were added to it lately, and asks which of them are not his. Somebody else who
// was in the account may have put his own there, and would recover it by that.
// Only what was proved after the address that this recovery was proved by is
// shown: who has only a later one takes nothing from who has an earlier.
type ReviewAddresses struct{ Capabilities }

// reviewed is how long ago an address may have been added to be asked about.
const reviewed = 30 * 24 * time.Hour

// ReviewAddressesPrompt lists them, the latest first. Each is answered by a field
// that is named "remove_" and its id.
type ReviewAddressesPrompt struct{ Added []customer.Identifier }

func (ReviewAddressesPrompt) Kind() string { return "review-addresses" }

func (ReviewAddresses) Outcomes() []string                               { return []string{"reviewed"} }
func (ReviewAddresses) Check(c journey.Config) error                     { return c.Only() }
func (ReviewAddresses) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (r ReviewAddresses) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	if !provesRecovery(run.State) {
		return nil, journey.ErrForged // nobody else is told an address
	}
	added, err := r.newer(ctx, run)
	return ReviewAddressesPrompt{Added: added}, err
}

func (r ReviewAddresses) Answer(ctx context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if !provesRecovery(run.State) {
		return journey.Result{}, journey.ErrForged
	}
	if answer.Choice != "" || answer.Value("decision") != "continue" {
		return journey.Again(), nil
	}
	added, err := r.newer(ctx, run)
	if err != nil {
		return journey.Result{}, err
	}
	run.State.Disowned = nil
	for _, it := range added {
		if answer.Value("remove_"+string(it.ID)) != "" {
			run.State.Disowned = append(run.State.Disowned, it.ID)
		}
	}
	return journey.To("reviewed"), nil
}

// Newer implements journey.Facts.
func (c Capabilities) Newer(ctx context.Context, run *journey.Run) ([]string, error) {
	added, err := c.newer(ctx, run)
	addresses := make([]string, 0, len(added))
	for _, it := range added {
		addresses = append(addresses, it.Display)
	}
	return addresses, err
}

func (c Capabilities) newer(ctx context.Context, run *journey.Run) ([]customer.Identifier, error) {
	if run.State.Customer == "" || run.State.Subject == nil {
		return nil, nil
	}
	who, err := c.Directory.Get(ctx, run.Tenant.ID, run.State.Customer)
	if errors.Is(err, customer.ErrErased) || errors.Is(err, customer.ErrNotFound) {
		return nil, nil // the finish refuses him
	}
	if err != nil {
		return nil, fmt.Errorf("read what was added to the account: %w", err)
	}
	return newerThanProof(run, who), nil
}

// newerThanProof are the addresses and numbers that a customer has proved later
// than the one by which this recovery was, and lately, the latest first.
func newerThanProof(run *journey.Run, who *customer.Customer) []customer.Identifier {
	by, found := provedBy(run, who)
	if !found {
		return nil
	}
	added := slices.DeleteFunc(slices.Clone(who.Identifiers), func(it customer.Identifier) bool {
		return !it.Verified || it.ID == by.ID || (it.Kind != identifier.Email && it.Kind != identifier.Phone) ||
			!it.VerifiedAt.After(by.VerifiedAt) || it.VerifiedAt.Before(run.Now.Add(-reviewed))
	})
	slices.SortStableFunc(added, func(a, b customer.Identifier) int { return b.VerifiedAt.Compare(a.VerifiedAt) })
	return added
}

// provedBy is the customer's address that the code of a run came to.
func provedBy(run *journey.Run, who *customer.Customer) (customer.Identifier, bool) {
	subject := run.State.Subject
	if subject.Kind != identifier.Email && !run.State.Texted {
		it, has := who.Primary(identifier.Email) // as Code.mailOf
		return it, has && it.Verified
	}
	at := slices.IndexFunc(who.Identifiers, func(it customer.Identifier) bool {
		return it.Verified && it.Kind == subject.Kind && it.Key == subject.Key
	})
	if at < 0 {
		return customer.Identifier{}, false
	}
	return who.Identifiers[at], true
}

// disownedOf are those of newerThanProof that the customer has said are not his.
func disownedOf(run *journey.Run, who *customer.Customer) []customer.Identifier {
	return slices.DeleteFunc(newerThanProof(run, who), func(it customer.Identifier) bool {
		return !slices.Contains(run.State.Disowned, it.ID)
	})
}

// takeOut removes addresses that are not the customer's, as part of tx, with the
// links that were sent to them: by those, their owner would have them back.
func (f Finish) takeOut(tx *sqldb.Tx, run *journey.Run, addresses []customer.Identifier) error {
	for _, it := range addresses {
		if err := f.Directory.RemoveIdentifier(tx, run.Tenant.ID, run.State.Customer, it.ID, string(run.State.Customer)); err != nil {
			return err
		}
		f.Challenges.VoidLinks(tx, run.Keys, run.Tenant.ID, run.State.Customer, it.Key)
	}
	return nil
}
