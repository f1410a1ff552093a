package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/keyring"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
	"github.com/cardea-id/cardea/internal/tenant"
)

// shut ends what a customer holds whom his status keeps out.
func (s *Server) shut(tx *sqldb.Tx, t id.Tenant, c id.Customer, actor string) (int, error) {
	return s.Sessions.EndAll(tx, t, c, "", session.Secured, actor)
}

// spare keeps the last operator who holds everything from being shut out.
func (s *Server) spare(tx *sqldb.Tx, t id.Tenant, c id.Customer, erasing bool) error {
	err := s.Operators.Spare(tx, t, c)
	if errors.Is(err, operator.ErrLast) {
		return fmt.Errorf("%w: %w", customer.ErrSpared, err)
	}
	if err != nil || !erasing {
		return err
	}
	return s.Operators.EraseCustomer(tx, t, c)
}

// lastSeen tells the directory when a customer was last seen by sessions and
// lineages that are still there.
func (s *Server) lastSeen(batch *sqldb.Batch, t id.Tenant, c id.Customer) func() time.Time {
	inSession, byApplication := s.Sessions.QueueSeen(batch, t, c), s.Grants.QueueSeen(batch, t, c)
	return func() time.Time {
		if byApplication.After(*inSession) {
			return *byApplication
		}
		return *inSession
	}
}

// lifecycleTemplates are the messages of the life of an account.
var lifecycleTemplates = map[customer.About]notify.Template{
	customer.AboutLocked: notify.Locked, customer.AboutClosed: notify.Closed, customer.AboutReopened: notify.Reopened,
	customer.AboutDormancy: notify.Dormancy, customer.AboutErasure: notify.Erasure, customer.AboutInvited: notify.Invitation,
}

// lifecycleNotice makes ready what a customer is told of the life of his
// account, at every e-mail address that he has proved, by text message where
// mail does not reach him; who is invited, at the ones that he is to prove, with
// a link that does. The language is the one that
// he has told, else the tenant's first.
func (s *Server) lifecycleNotice(ctx context.Context, n customer.Notice) (func(*sqldb.Tx) error, error) {
	if n.About == customer.AboutAdded || n.About == customer.AboutRemoved {
		return s.identifierNotice(ctx, n)
	}
	who := n.Customer
	invited := n.About == customer.AboutInvited
	if !invited && who.Status.At(customer.Notices) != customer.Opens {
		return nil, nil //nolint:nilnil // nothing is told
	}
	t, err := s.Tenants.ByID(ctx, who.Tenant)
	if err != nil {
		return nil, err
	}
	keys, err := s.Ring.Tenant(ctx, who.Tenant)
	if err != nil {
		return nil, fmt.Errorf("the tenant's keys: %w", err)
	}
	lang, now := languageOf(t, who), s.Clock.Now()
	var messages []notify.Message
	var links []challenge.Link
	told := who.Told(t.Settings)
	if invited { // the link proves an e-mail address
		told = slices.DeleteFunc(slices.Clone(who.Identifiers), func(it customer.Identifier) bool { return it.Kind != identifier.Email || it.Verified })
	}
	for _, it := range told {
		by := notify.ByMail
		if it.Kind == identifier.Phone {
			by = notify.ByText
		}
		address, err := identifier.Normalise(it.Kind, it.Display, identifier.Options{})
		if err != nil {
			return nil, fmt.Errorf("read where a notice goes: %w", err)
		}
		m := notify.Message{Tenant: t.ID, Brand: t.Brand.ID, Customer: who.ID, Key: n.Key,
			Handle: keys.Lookup(string(address.Kind), address.Key)[0], To: address.Key, By: by,
			Template: lifecycleTemplates[n.About], Lang: lang, Data: notify.Data{At: now, Until: n.Until}, Expires: now.Add(lifecycleNoticeLife)}
		switch n.About {
		case customer.AboutClosed, customer.AboutDormancy, customer.AboutErasure:
			m.Data.Link = t.URL("/sign-in")
		case customer.AboutInvited:
			link, sealed, err := s.Challenges.NewLink(keys, challenge.Link{Tenant: t.ID, Customer: who.ID, Purpose: step.InvitationPurpose, Address: address.Key, Expires: n.Until})
			if err != nil {
				return nil, err
			}
			m.Data.Link = t.URL("/invitation") + "?link=" + sealed
			links = append(links, link)
		case customer.AboutLocked, customer.AboutReopened, customer.AboutAdded, customer.AboutRemoved:
		}
		messages = append(messages, m)
	}
	return func(tx *sqldb.Tx) error { return s.tell(tx, t, keys, messages, links) }, nil
}

// languageOf is the one that a customer has told, else the tenant's first.
func languageOf(t *tenant.Tenant, who *customer.Customer) string {
	if told, has := who.Profile["locale"].(string); has {
		return told
	}
	return t.Settings.Languages[0]
}

// tell puts notices and the links in them into the outbox as part of tx. A number
// that has been told as often as it may be is not told again.
func (s *Server) tell(tx *sqldb.Tx, t *tenant.Tenant, keys *keyring.Tenant, messages []notify.Message, links []challenge.Link) error {
	for _, link := range links {
		s.Challenges.IssueLink(tx, link)
	}
	for _, m := range messages {
		if m.By == notify.ByText {
			if room, err := s.Budgets.TakeIn(tx, t.ID, step.NoticeClaim(t, keys, m.To)); err != nil {
				return err
			} else if !room {
				continue
			}
		}
		if err := s.Outbox.Enqueue(tx, m); err != nil {
			return fmt.Errorf("tell the customer: %w", err)
		}
	}
	return nil
}

// identifierNotice makes ready what a customer is told when an operator has given
// him an address or taken one from him: at every other one that he has proved, with
// the link "This wasn't me", as when he does it himself; at the one itself without.
// Links that came to one that is taken are void with it, or whoever reads messages
// there would have it back.
func (s *Server) identifierNotice(ctx context.Context, n customer.Notice) (func(*sqldb.Tx) error, error) {
	t, err := s.Tenants.ByID(ctx, n.Customer.Tenant)
	if err != nil {
		return nil, err
	}
	keys, err := s.Ring.Tenant(ctx, t.ID)
	if err != nil {
		return nil, fmt.Errorf("the tenant's keys: %w", err)
	}
	template := map[customer.About]notify.Template{customer.AboutAdded: notify.AddressAdded, customer.AboutRemoved: notify.AddressRemoved}[n.About]
	lang, now := languageOf(t, n.Customer), s.Clock.Now()
	only := customer.Customer{Identifiers: []customer.Identifier{n.Identifier}}
	var messages []notify.Message
	var links []challenge.Link
	if n.Customer.Status.At(customer.Notices) == customer.Opens {
		others := slices.DeleteFunc(n.Customer.Proved(t.Settings), func(it customer.Identifier) bool { return it.Kind == n.Identifier.Kind && it.Key == n.Identifier.Key })
		for i, it := range append(others, only.Proved(t.Settings)...) {
			m := notify.Message{Tenant: t.ID, Brand: t.Brand.ID, Customer: n.Customer.ID, Key: n.Key,
				Handle: keys.Lookup(string(it.Kind), it.Key)[0], To: it.Key, By: notify.ByMail, Template: template, Lang: lang,
				Data: notify.Data{At: now, Address: n.Identifier.Display, Staff: true}, Expires: now.Add(lifecycleNoticeLife)}
			if it.Kind == identifier.Phone {
				m.By = notify.ByText
			}
			if i < len(others) {
				link, sealed, err := s.Challenges.NewLink(keys, challenge.Link{Tenant: t.ID, Customer: n.Customer.ID, Purpose: step.DisownPurpose, Address: it.Key, Proved: it.VerifiedAt, Expires: now.Add(step.DisownLife)})
				if err != nil {
					return nil, err
				}
				m.Data.Link = t.URL("/not-me") + "?link=" + sealed
				links = append(links, link)
			}
			messages = append(messages, m)
		}
	}
	return func(tx *sqldb.Tx) error {
		if n.About == customer.AboutRemoved {
			s.Challenges.VoidLinks(tx, keys, t.ID, n.Customer.ID, n.Identifier.Key)
		}
		return s.tell(tx, t, keys, messages, links)
	}, nil
}

// passwordNotice makes ready what a customer is told whose password an operator's
// link has set, wherever notices reach him, with the link "This wasn't me".
func (s *Server) passwordNotice(ctx context.Context, t *tenant.Tenant, keys *keyring.Tenant, key *keyring.Customer, c id.Customer) (func(*sqldb.Tx) error, error) {
	who, err := s.Directory.Get(ctx, t.ID, c)
	if err != nil {
		return nil, fmt.Errorf("read who is told: %w", err)
	}
	now := s.Clock.Now()
	var messages []notify.Message
	var links []challenge.Link
	for _, it := range who.Told(t.Settings) {
		link, sealed, err := s.Challenges.NewLink(keys, challenge.Link{Tenant: t.ID, Customer: c, Purpose: step.DisownPurpose, Address: it.Key, Expires: now.Add(step.DisownLife)})
		if err != nil {
			return nil, err
		}
		m := notify.Message{Tenant: t.ID, Brand: t.Brand.ID, Customer: c, Key: key, Handle: keys.Lookup(string(it.Kind), it.Key)[0], To: it.Key, By: notify.ByMail,
			Template: notify.PasswordChanged, Lang: languageOf(t, who), Data: notify.Data{At: now, Link: t.URL("/not-me") + "?link=" + sealed}, Expires: now.Add(lifecycleNoticeLife)}
		if it.Kind == identifier.Phone {
			m.By = notify.ByText
		}
		messages, links = append(messages, m), append(links, link)
	}
	return func(tx *sqldb.Tx) error { return s.tell(tx, t, keys, messages, links) }, nil
}

// lifecycleNoticeLife is for how long a notice that cannot be delivered is tried.
const lifecycleNoticeLife = 3 * 24 * time.Hour
