package step

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/credential"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// DisownPurpose is what the links of notices are for: "This wasn't me".
const DisownPurpose = "not_me"

// Disown asks whoever brings the link of a notice whether everybody is to be
// signed out.
type Disown struct{ Capabilities }

// DisownPrompt asks.
type DisownPrompt struct {
	Dead bool // the link was used, has expired or is not ours
}

func (DisownPrompt) Kind() string { return "disown" }

func (Disown) Outcomes() []string                               { return []string{"disowned"} }
func (Disown) Check(c journey.Config) error                     { return c.Only() }
func (Disown) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (d Disown) Prompt(ctx context.Context, run *journey.Run) (journey.Prompt, error) {
	link, good, err := d.Challenges.ReadLink(ctx, run.Keys, run.Tenant.ID, DisownPurpose, run.State.Link)
	if err != nil || !good {
		return DisownPrompt{Dead: true}, err
	}
	state, err := d.Directory.State(ctx, run.Tenant.ID, link.Customer)
	return DisownPrompt{Dead: state.Status.At(customer.NotMe) != customer.Opens}, err
}

func (Disown) Answer(_ context.Context, _ *journey.Run, answer journey.Answer) (journey.Result, error) {
	if answer.Choice != "" || answer.Value("decision") != "secure" {
		return journey.Again(), nil
	}
	return journey.To("disowned"), nil
}

// errSpent says that a link is good for nothing any more.
var errSpent = errors.New("the link was used or has expired")

// disowned ends everything that lets somebody into the account of whom a notice
// was sent to: sessions, lineages, codes that are under way, the password, of
// which the customer says that it is not his. He comes back in by a mailed code.
func (f Finish) disowned(ctx context.Context, run *journey.Run) (*journey.Finished, journey.Result, error) {
	link, good, err := f.Challenges.ReadLink(ctx, run.Keys, run.Tenant.ID, DisownPurpose, run.State.Link)
	if err != nil {
		return nil, journey.Result{}, err
	}
	if !good {
		return nil, journey.To("refused"), nil
	}
	who, err := f.Directory.Get(ctx, run.Tenant.ID, link.Customer)
	var key *keyring.Customer
	if err == nil {
		key, err = f.Directory.Key(ctx, run.Tenant.ID, link.Customer)
	}
	if errors.Is(err, customer.ErrErased) || errors.Is(err, customer.ErrNotFound) {
		return nil, journey.To("refused"), nil
	}
	if err != nil {
		return nil, journey.Result{}, fmt.Errorf("read whose notice it was: %w", err)
	}
	free, err := f.free(ctx, run, who, link.Address)
	if err != nil {
		return nil, journey.Result{}, err
	}
	notices, err := f.notices(run, who, key, notify.Disowned)
	if err != nil {
		return nil, journey.Result{}, err
	}
	for i := range notices {
		notices[i].Data.Link = run.Tenant.URL("/recover")
	}
	err = f.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := journey.Mark(tx, run); err != nil {
			return err
		}
		state, err := f.Directory.Hold(tx, run.Tenant.ID, who.ID)
		if err != nil {
			return err
		}
		if state.Epoch != who.Epoch {
			return customer.ErrChanged // his addresses may have been, since he was read
		}
		if state.Status.At(customer.NotMe) != customer.Opens {
			return errSpent
		}
		spent, err := f.Challenges.SpendLink(tx, link)
		if err != nil {
			return err
		}
		if !spent {
			return errSpent
		}
		ended, err := f.void(tx, run, who)
		if err != nil {
			return err
		}
		if _, err := f.Passwords.Remove(tx, credential.Change{Tenant: run.Tenant.ID, Customer: who.ID, Actor: string(who.ID)}); err != nil {
			return err
		}
		if err := f.restore(tx, run, who, key, link, free); err != nil {
			return err
		}
		if _, err := f.Directory.RaiseEpoch(tx, run.Tenant.ID, who.ID); err != nil {
			return err
		}
		if err := f.Log.Append(tx, event.Event{Tenant: run.Tenant.ID, Customer: who.ID, Type: "customer.disowned", Actor: string(who.ID),
			Data: map[string]any{"link": link.ID, "sessions_ended": ended}, Personal: agentOf(run), Sealer: key}); err != nil {
			return err
		}
		return f.tell(tx, run, notices, nil)
	})
	switch {
	case errors.Is(err, customer.ErrChanged), errors.Is(err, customer.ErrTaken): // somebody has it by now
		return f.disowned(ctx, run)
	case errors.Is(err, errSpent), errors.Is(err, customer.ErrNotFound):
		return nil, journey.To("refused"), nil
	case err != nil:
		return nil, journey.Result{}, err
	}
	return &journey.Finished{Outcome: "disowned", Customer: who.ID, Hint: link.Address}, journey.Result{}, nil
}

// linked puts the link "This wasn't me" into notices. What it returns is stored
// with them.
func (c Capabilities) linked(run *journey.Run, who *customer.Customer, notices []notify.Message) ([]challenge.Link, error) {
	links := make([]challenge.Link, 0, len(notices))
	for i := range notices {
		var proved time.Time
		for _, it := range who.Identifiers {
			if it.Key == notices[i].To {
				proved = it.VerifiedAt
			}
		}
		link, sealed, err := c.Challenges.NewLink(run.Keys, challenge.Link{
			Tenant: run.Tenant.ID, Customer: who.ID, Purpose: DisownPurpose, Address: notices[i].To, Proved: proved, Expires: run.Now.Add(DisownLife),
		})
		if err != nil {
			return nil, err
		}
		notices[i].Data.Link = run.Tenant.URL("/not-me") + "?link=" + sealed
		links = append(links, link)
	}
	return links, nil
}

// free reads the address that a link was sent to, where it has been taken from
// its customer and nobody else has it by now; nil where there is nothing to be
// given back.
func (f Finish) free(ctx context.Context, run *journey.Run, who *customer.Customer, sentTo string) (*identifier.Normalised, error) {
	kind := identifier.Email
	if notify.CheckPhone(sentTo) == nil {
		kind = identifier.Phone
	}
	address, err := normalise(run, kind, sentTo)
	if err != nil {
		return nil, fmt.Errorf("read where the link was sent: %w", err)
	}
	if slices.ContainsFunc(who.Identifiers, func(it customer.Identifier) bool {
		return it.Kind == address.Kind && it.Key == address.Key && it.Verified
	}) {
		return nil, nil //nolint:nilnil // he has it
	}
	_, taken, err := f.Directory.Find(ctx, run.Tenant.ID, run.Keys, address)
	if err != nil || taken {
		return nil, err
	}
	return &address, nil
}

// restore undoes what somebody else may have done to the customer's addresses
// and numbers since the notice was written: those that were proved since are taken
// out, and the one that the notice came to is his again, as old as it was: were it
// younger than an intruder's, he could take it out in a recovery (ReviewAddresses).
// Whoever brings the link reads messages there. Without it, an intruder who has put
// his own address in the place of the customer's would recover the account by it.
func (f Finish) restore(tx *sqldb.Tx, run *journey.Run, who *customer.Customer, key *keyring.Customer, link challenge.Link, free *identifier.Normalised) error {
	since := id.Time(link.ID)
	if free != nil {
		give := f.Directory.AddIdentifier
		if slices.ContainsFunc(who.Identifiers, func(it customer.Identifier) bool { return it.Kind == free.Kind && it.Key == free.Key }) {
			give = func(tx *sqldb.Tx, keys *keyring.Tenant, _ *keyring.Customer, tenant id.Tenant, of id.Customer, n customer.NewIdentifier, actor string) (id.Identifier, error) {
				return "", f.Directory.VerifyIdentifier(tx, keys, tenant, of, n.Normalised, actor)
			}
		}
		if _, err := give(tx, run.Keys, key, run.Tenant.ID, who.ID, customer.NewIdentifier{Normalised: *free, Verified: true, VerifiedAt: link.Proved}, string(who.ID)); err != nil {
			return err
		}
	}
	for _, it := range who.Identifiers {
		if it.Verified && !it.VerifiedAt.Before(since) && it.Key != link.Address {
			if err := f.Directory.RemoveIdentifier(tx, run.Tenant.ID, who.ID, it.ID, string(who.ID)); err != nil {
				return err
			}
		}
	}
	return nil
}
