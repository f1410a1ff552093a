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
	"github.com/cardea-id/cardea/internal/i18n"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// recovered ends a recovery in one transaction: the proof is spent, the password
// set, and every older proof is dead: sessions, lineages, codes that are under
// way, device cookies, states of journeys. Then the new session begins, and
// every address that the customer has proved is told.
func (f Finish) recovered(ctx context.Context, run *journey.Run) (*journey.Finished, journey.Result, error) {
	s := run.State
	if !provesRecovery(s) || s.PasswordHash == "" {
		return nil, journey.Result{}, journey.ErrForged // no journey leads here without the code
	}
	if s.Terms != "" && s.Terms != run.Tenant.Settings.Terms.Version {
		return nil, journey.Result{}, journey.ErrExpired // there are other documents now than were agreed to
	}
	who := s.Customer
	before, err := f.Directory.Get(ctx, run.Tenant.ID, who)
	var key *keyring.Customer
	if err == nil {
		key, err = f.Directory.Key(ctx, run.Tenant.ID, who)
	}
	switch {
	case errors.Is(err, customer.ErrErased), errors.Is(err, customer.ErrNotFound):
		return nil, journey.To("refused"), nil
	case err != nil:
		return nil, journey.Result{}, fmt.Errorf("read who recovers: %w", err)
	}
	disowned := disownedOf(run, before)
	notices, links, err := f.recoveryNotices(run, before, key, disowned)
	if err != nil {
		return nil, journey.Result{}, err
	}
	// A session that the customer has in this browser ends with the others, and
	// the browser is as new as any.
	afterwards := *run
	afterwards.Device = ""
	if old := run.Client.Session; old != nil && old.Customer == who {
		afterwards.Client.Session = nil
	}
	told := before
	if len(s.Profile) == 0 {
		told = nil
	}

	joins, good, err := f.prepareJoining(ctx, run)
	if err != nil {
		return nil, journey.Result{}, err
	}
	if !good {
		return nil, journey.To("refused"), nil
	}

	agent := f.placed(run)
	finished := &journey.Finished{Outcome: "authenticated", Customer: who, Recovered: true}
	var secret session.Secret
	var epoch int64
	err = f.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := journey.Mark(tx, run); err != nil {
			return err
		}
		state, err := f.Directory.Hold(tx, run.Tenant.ID, who)
		if err != nil {
			return err
		}
		if state.Epoch != s.Epoch {
			return errRefused
		}
		if err := f.spend(tx, run); err != nil {
			return err
		}
		if _, err := f.Passwords.SetPassword(tx, key, credential.Change{Tenant: run.Tenant.ID, Customer: who, Actor: string(who)}, credential.Hash(s.PasswordHash)); err != nil {
			return err
		}
		ended, err := f.void(tx, run, before)
		if err != nil {
			return err
		}
		if err := f.takeOut(tx, run, disowned); err != nil {
			return err
		}
		if err := f.keep(tx, run, key, who, told); err != nil {
			return err
		}
		if err := f.admit(tx, run, key, state, joins); err != nil {
			return err
		}
		if epoch, err = f.Directory.RaiseEpoch(tx, run.Tenant.ID, who); err != nil {
			return err
		}
		if err := f.Log.Append(tx, event.Event{Tenant: run.Tenant.ID, Customer: who, Type: "customer.password.recovered", Actor: string(who),
			Data: map[string]any{"method": methodOf(s), "sessions_ended": ended}, Personal: agentOf(run), Sealer: key}); err != nil {
			return err
		}
		if err := f.tell(tx, run, notices, links); err != nil {
			return err
		}
		finished.Session, secret, err = f.begin(tx, &afterwards, key, who, epoch, agent)
		return err
	})
	switch {
	case errors.Is(err, errRefused), errors.Is(err, customer.ErrNotFound):
		return nil, journey.To("refused"), nil
	case errors.Is(err, customer.ErrChanged): // his profile was: what he told is added to what there is now
		return f.recovered(ctx, run)
	case err != nil:
		return nil, journey.Result{}, err
	}
	return f.handOver(ctx, run, finished, secret, epoch)
}

// recoveryNotices are what is told of a recovery: the new password at every
// address that stays, with the links "This wasn't me", and that others were taken
// out, there and here. Those get no link, as they would be back by it.
func (f Finish) recoveryNotices(run *journey.Run, who *customer.Customer, key *keyring.Customer, disowned []customer.Identifier) ([]notify.Message, []challenge.Link, error) {
	stays := *who
	stays.Identifiers = slices.DeleteFunc(slices.Clone(who.Identifiers), func(it customer.Identifier) bool {
		return slices.ContainsFunc(disowned, func(out customer.Identifier) bool { return out.ID == it.ID })
	})
	notices, err := f.notices(run, &stays, key, notify.PasswordChanged)
	if err != nil {
		return nil, nil, err
	}
	links, err := f.linked(run, &stays, notices)
	if err != nil {
		return nil, nil, err
	}
	for _, it := range disowned {
		only := customer.Customer{Identifiers: []customer.Identifier{it}}
		told, err := f.noticesTo(run, who, key, notify.AddressRemoved, append(stays.Told(run.Tenant.Settings), only.Proved(run.Tenant.Settings)...))
		if err != nil {
			return nil, nil, err
		}
		for i := range told {
			told[i].Data.Address = it.Display
		}
		notices = append(notices, told...)
	}
	return notices, links, nil
}

// void ends a customer's sessions with the lineages of all his applications, and
// the codes that are under way to any of his addresses. With the epoch, which
// the caller raises, everything that let him in before is dead. It says how
// many sessions there were.
func (c Capabilities) void(tx *sqldb.Tx, run *journey.Run, who *customer.Customer) (int, error) {
	for _, it := range who.Identifiers {
		for _, handle := range run.Keys.Lookup(string(it.Kind), it.Key) {
			c.Challenges.Void(tx, run.Tenant.ID, handle)
		}
	}
	return c.Sessions.EndAll(tx, run.Tenant.ID, who.ID, "", session.Secured, string(who.ID))
}

// agentOf is the browser that submits, as it is told to the customer.
func agentOf(run *journey.Run) session.Agent {
	return session.ParseAgent(run.Client.UserAgent, run.Client.Hints, run.Client.Address.String())
}

// placed is the browser that submits and roughly where it is. It is made before
// the transaction that stores it: places are read from a file.
func (c Capabilities) placed(run *journey.Run) session.Agent {
	agent := agentOf(run)
	agent.Place = c.Places.Near(run.Client.Address, run.Client.Language)
	return agent
}

// methodOf is how a recovery was proved.
func methodOf(s *journey.State) string {
	for _, proof := range s.Proofs {
		if proof.Purpose == recoveryPurpose {
			return proof.Method
		}
	}
	return ""
}

// notices are the messages that tell a customer what has been done with his
// account, when, where and in which browser: at every e-mail address that he has
// proved, by text message where mail does not reach him.
func (c Capabilities) notices(run *journey.Run, who *customer.Customer, key *keyring.Customer, template notify.Template) ([]notify.Message, error) {
	return c.noticesTo(run, who, key, template, who.Told(run.Tenant.Settings))
}

func (c Capabilities) noticesTo(run *journey.Run, who *customer.Customer, key *keyring.Customer, template notify.Template, told []customer.Identifier) ([]notify.Message, error) {
	messages := make([]notify.Message, 0, len(told))
	for _, it := range told {
		address, err := normalise(run, it.Kind, it.Display)
		if err != nil {
			return nil, fmt.Errorf("read where a notice goes: %w", err)
		}
		messages = append(messages, c.notice(run, who, key, template, address))
	}
	return messages, nil
}

// notice is the message to one address, in the language that the customer has
// chosen, else in that of the page.
func (c Capabilities) notice(run *journey.Run, who *customer.Customer, key *keyring.Customer, template notify.Template, to identifier.Normalised) notify.Message {
	agent := agentOf(run)
	data := notify.Data{Browser: agent.Browser, System: agent.OS, Network: agent.IP, At: run.Now}
	if run.Application != nil {
		data.Application = run.Application.Name
	}
	lang := run.Client.Language
	if locale, told := who.Profile["locale"].(string); told && i18n.Supports(locale) {
		lang = locale
	}
	return notify.Message{
		Tenant: run.Tenant.ID, Brand: run.Tenant.Brand.ID, Customer: who.ID, Key: key,
		Handle: run.Keys.Lookup(string(to.Kind), to.Key)[0], To: to.Key, By: channelOf(to.Kind),
		Template: template, Lang: lang, Data: data, Expires: run.Now.Add(noticeLife),
	}
}

const (
	// noticeLife is for how long a notice that cannot be delivered is tried.
	noticeLife = 3 * 24 * time.Hour
	// DisownLife is for how long the link "This wasn't me" in it is good.
	DisownLife = 7 * 24 * time.Hour
)

// tell sends notices, with the links that are in the first of them, as part of
// the transaction of what they tell of. A number that has been told as often as
// it may be is not told again.
func (c Capabilities) tell(tx *sqldb.Tx, run *journey.Run, notices []notify.Message, links []challenge.Link) error {
	for n, notice := range notices {
		if notice.By == notify.ByText {
			room, err := c.Budgets.TakeIn(tx, run.Tenant.ID, NoticeClaim(run.Tenant, run.Keys, notice.To))
			if err != nil {
				return err
			}
			if !room {
				continue
			}
		}
		if n < len(links) {
			c.Challenges.IssueLink(tx, links[n])
		}
		if err := c.Outbox.Enqueue(tx, notice); err != nil {
			return fmt.Errorf("tell the customer: %w", err)
		}
	}
	return nil
}
