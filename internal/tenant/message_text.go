package tenant

import (
	"context"
	"errors"
	"maps"

	"github.com/cardea-id/cardea/internal/brand"
	"github.com/cardea-id/cardea/internal/event"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// MessageText is a brand's own words in one kind of message in one language:
// Mail, or SMS where it is a text message. One that is empty stands for the
// program's words.
type MessageText struct {
	Channel string // "mail" or "sms"
	Kind    string
	Lang    string
	Mail    brand.MailText
	SMS     string
}

// Empty tells whether nothing is said in words of the brand's own.
func (m MessageText) Empty() bool { return m.Mail == (brand.MailText{}) && m.SMS == "" }

// MessageText returns what a brand says in its own words in a message.
func (b Brand) MessageText(channel, kind, lang string) MessageText {
	m := MessageText{Channel: channel, Kind: kind, Lang: lang}
	if channel == "sms" {
		m.SMS = b.Document.SMS.Texts[lang][kind]
	} else {
		m.Mail = b.Document.Mail.Texts[lang][kind]
	}
	return m
}

// put has the brand say a message in these words. What it has read is shared
// with others and stays as it is.
func (b *Brand) put(m MessageText) {
	if m.Channel == "sms" {
		b.Document.SMS.Texts = with(b.Document.SMS.Texts, m.Lang, m.Kind, m.SMS, m.Empty())
	} else {
		b.Document.Mail.Texts = with(b.Document.Mail.Texts, m.Lang, m.Kind, m.Mail, m.Empty())
	}
}

// with are texts with one of them put in or, to be without it, taken out.
func with[T any](texts map[string]map[string]T, lang, kind string, text T, without bool) map[string]map[string]T {
	all, own := maps.Clone(texts), maps.Clone(texts[lang])
	if all == nil {
		all = map[string]map[string]T{}
	}
	if own == nil {
		own = map[string]T{}
	}
	if without {
		delete(own, kind)
	} else {
		own[kind] = text
	}
	all[lang] = own
	if len(own) == 0 {
		delete(all, lang)
	}
	return all
}

// errSame says that a change would leave everything as it is.
var errSame = errors.New("the brand says so already")

// SetMessageText has a brand say one kind of message in its own words, or in the
// program's again. The revision is the one that the caller has read; 0 sets it
// whatever there is. What is so already is no change.
func (s *Store) SetMessageText(ctx context.Context, tenant id.Tenant, revision int64, m MessageText, by string) (*Tenant, error) {
	kind := "brand.message.set"
	if m.Empty() {
		kind = "brand.message.reset"
	}
	changed, err := s.changeBrand(ctx, tenant, revision, func(b *Brand) error {
		if b.MessageText(m.Channel, m.Kind, m.Lang) == m {
			return errSame
		}
		b.put(m)
		return nil
	}, func(tx *sqldb.Tx, b Brand) error {
		return s.Log.Append(tx, event.Event{Tenant: tenant, Type: kind, Actor: actor(by),
			Data: map[string]any{"brand": b.ID, "revision": b.Revision, "channel": m.Channel, "kind": m.Kind, "lang": m.Lang}})
	})
	if errors.Is(err, errSame) {
		return s.ByID(ctx, tenant)
	}
	return changed, err
}

// WithMessageText returns the tenant as it would be with a message in these
// words, which must be right, and stores nothing: for looking at it.
func (s *Store) WithMessageText(t *Tenant, m MessageText) (*Tenant, error) {
	changed := *t
	changed.Brand.put(m)
	changed.Brand.Revision = Draft
	return &changed, s.checkBrand(&changed)
}
