package server

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cardea-id/cardea/internal/challenge"
	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/notify"
	"github.com/cardea-id/cardea/internal/session"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// shut ends what a customer holds whom his status keeps out.
func (s *Server) shut(tx *sqldb.Tx, t id.Tenant, c id.Customer, actor string) (int, error) {
	return s.Sessions.EndAll(tx, t, c, "", session.Secured, actor)
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
	lang := t.Settings.Languages[0]
	if told, has := who.Profile["locale"].(string); has {
		lang = told
	}
	now := s.Clock.Now()
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
		case customer.AboutLocked, customer.AboutReopened:
		}
		messages = append(messages, m)
	}
	return func(tx *sqldb.Tx) error {
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
	}, nil
}

// lifecycleNoticeLife is for how long a notice that cannot be delivered is tried.
const lifecycleNoticeLife = 3 * 24 * time.Hour
