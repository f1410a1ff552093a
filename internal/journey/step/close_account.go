package step

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// CloseAccount tells who is signed in what happens when he closes his account,
// and until when he can take it back, and asks.
type CloseAccount struct{ Capabilities }

// CloseAccountPrompt asks.
type CloseAccountPrompt struct {
	Until time.Time // until when signing in keeps the account
}

func (CloseAccountPrompt) Kind() string { return "close-account" }

func (CloseAccount) Outcomes() []string                               { return []string{"confirmed", "back"} }
func (CloseAccount) Check(c journey.Config) error                     { return c.Only() }
func (CloseAccount) Guard(*journey.Run, journey.Answer) journey.Guard { return none }

func (CloseAccount) Prompt(_ context.Context, run *journey.Run) (journey.Prompt, error) {
	return CloseAccountPrompt{Until: run.Now.Add(run.Tenant.Settings.Lifecycle.CloseWindow.D())}, nil
}

func (CloseAccount) Answer(_ context.Context, run *journey.Run, answer journey.Answer) (journey.Result, error) {
	if answer.Choice == "back" {
		return journey.To("back"), nil
	}
	if answer.Choice != "" || answer.Value("decision") != "close" {
		return journey.Again(), nil
	}
	if !journey.Fresh(run, journey.FreshFor) {
		return journey.Result{}, journey.ErrExpired
	}
	return journey.To("confirmed"), nil
}

// accountClosed closes the account of who is signed in, in one transaction:
// whatever let somebody in is dead, and every address is told until when it can
// be kept (docs/lifecycle.md).
func (f Finish) accountClosed(ctx context.Context, run *journey.Run) (*journey.Finished, journey.Result, error) {
	who, _, err := f.withSession(ctx, run)
	if err != nil {
		return nil, journey.Result{}, err
	}
	closing, err := f.Directory.PrepareStatus(ctx, run.Tenant.ID, who.ID, customer.Closed, "", string(who.ID))
	if err != nil {
		return nil, journey.Result{}, fmt.Errorf("prepare to close the account: %w", err)
	}
	err = f.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := journey.Mark(tx, run); err != nil {
			return err
		}
		state, err := f.Directory.Hold(tx, run.Tenant.ID, who.ID)
		if err != nil {
			return err
		}
		if state.Status != customer.Active || state.Epoch != run.State.Epoch {
			return errRefused
		}
		if here, err := f.Sessions.Persists(tx, run.Tenant.ID, who.ID, run.State.Session); err != nil || !here {
			return errors.Join(err, errRefused)
		}
		if err := f.spend(tx, run); err != nil {
			return err
		}
		if _, err := f.Directory.ChangeStatus(tx, closing); err != nil {
			return err
		}
		for _, it := range who.Identifiers {
			for _, handle := range run.Keys.Lookup(string(it.Kind), it.Key) {
				f.Challenges.Void(tx, run.Tenant.ID, handle)
			}
		}
		_, err = f.Sessions.EndAll(tx, run.Tenant.ID, who.ID, "", session.Secured, string(who.ID))
		return err
	})
	switch {
	case errors.Is(err, errRefused), errors.Is(err, customer.ErrNotFound), errors.Is(err, customer.ErrErased), errors.Is(err, customer.ErrNotAllowed), errors.Is(err, customer.ErrSpared):
		return nil, journey.To("refused"), nil
	case err != nil:
		return nil, journey.Result{}, err
	}
	return &journey.Finished{Outcome: accountClosed, Customer: who.ID, KeptUntil: run.Now.Add(run.Tenant.Settings.Lifecycle.CloseWindow.D())}, journey.Result{}, nil
}
