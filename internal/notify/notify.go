// Package notify owns the messages that Cardea sends to people: the outbox they
// leave by, their words and look, and the transports that carry them.
//
// A message is put into the outbox in the transaction of the change that it
// tells of (Outbox.Enqueue), sealed. Workers on every node (Outbox.Run) take
// messages under leases, put them into words and hand them to a Transport, or to
// a TextTransport where they go to a phone: SMTP, a provider's HTTP API, or the
// inbox of `cardea dev`. Delivery is at least once: a node that dies
// between sending and noting it has the message sent again, under the same
// Message-ID. A message past its expiry is never sent.
//
// The package does not know why a message is sent, nor who may have how many of
// them; callers take from a budget first.
package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cardea-id/cardea/internal/brand"
	"github.com/cardea-id/cardea/internal/id"
)

// Template names a kind of message.
type Template string

// The kinds of messages.
const (
	Code            Template = "code"             // a code to sign up or sign in with; the same for both, as the sender must not tell
	Recovery        Template = "recovery"         // a code to set a new password with
	Welcome         Template = "welcome"          // an account was opened
	PasswordChanged Template = "password_changed" // the password was set or changed
	Disowned        Template = "disowned"         // everybody was signed out, since the customer said that it wasn't him
	AddressAdded    Template = "address_added"    // another address was added to the account
	AddressChanged  Template = "address_changed"  // another address took the place of one
	AddressRemoved  Template = "address_removed"  // an address was taken from the account
	NewSignIn       Template = "new_sign_in"      // somebody signed in on a new device
	Invitation      Template = "invitation"       // an account waits for whoever has the address
	Locked          Template = "locked"           // nobody can sign in, until a time or until it is lifted
	Closed          Template = "closed"           // the account was closed and will be erased
	Reopened        Template = "reopened"         // a closed or dormant account is in use again
	Dormancy        Template = "dormancy"         // the account is about to fall dormant
	Erasure         Template = "erasure"          // a dormant account is about to be erased

	JoinOrganization Template = "join_organization" // somebody may join an organization
)

// Templates lists all kinds.
func Templates() []Template {
	return []Template{Code, Recovery, Welcome, PasswordChanged, AddressAdded, AddressChanged, AddressRemoved, Disowned, NewSignIn,
		Invitation, Locked, Closed, Reopened, Dormancy, Erasure, JoinOrganization}
}

// Data is what varies in a message. All of it is shown as plain text; nothing
// in it is ever read as a template or as markup.
type Data struct {
	Code        string        `json:"code,omitempty"`        // as the customer types it, "123456"
	ValidFor    time.Duration `json:"valid_for,omitempty"`   // how long the code works
	Application string        `json:"application,omitempty"` // its name: who asked
	Browser     string        `json:"browser,omitempty"`     // "Chrome"
	System      string        `json:"system,omitempty"`      // "Windows"
	Network     string        `json:"network,omitempty"`     // the IP address that it was done from
	Holder      Holder        `json:"holder,omitempty"`      // of a code to set a new password with
	Address     string        `json:"address,omitempty"`     // that a notice is about
	Staff       bool          `json:"staff,omitempty"`       // whether an operator did it
	Link        string        `json:"link,omitempty"`        // of the button, in place of the account's
	Until       time.Time     `json:"until,omitzero"`        // when it ends, or what it tells of happens
	At          time.Time     `json:"at,omitzero"`           // when it happened; the zero time means when it was enqueued

	Organization string `json:"organization,omitempty"` // its name: what the message invites to
	Inviter      string `json:"inviter,omitempty"`      // who invites; "" names nobody
}

// Holder is who has the address that a code goes to, where that is to be said.
type Holder string

const (
	Passwordless Holder = "passwordless" // an account that has no password
	Nobody       Holder = "nobody"       // no account
)

// Brand is whose message it is. It comes from configuration alone.
type Brand struct {
	Name       string
	FromName   string // "" takes Name
	From       string // address
	ReplyTo    string // address, "" for none
	Accent     string // "#rrggbb" of buttons and lines; anything else takes the default
	OnAccent   string // "#rrggbb" of the text on it
	AccountURL string // where a customer looks after the account; "" leaves the link out
	// Texts are the brand's own words, by language and kind of message. They
	// were checked by Words.CheckBrand.
	Texts map[string]map[string]brand.MailText
	// Sender is who text messages come from, and SMS the brand's own words in
	// them, by language and kind of message.
	Sender string
	SMS    map[string]map[string]string
}

// Brands finds a brand. An error has the message tried again later.
type Brands func(ctx context.Context, tenant id.Tenant, brand id.Brand) (Brand, error)

// Mail is a message in its final words, to one recipient.
type Mail struct {
	ID       id.Message
	Tenant   id.Tenant
	FromName string
	From     string
	ReplyTo  string
	To       string
	Lang     string
	Subject  string
	Text     string
	HTML     string
	Code     string // the code in it, as it is typed; "" for none
	At       time.Time
}

// Transport carries messages.
type Transport interface {
	// Send returns nil when the message was taken over for good. An error that
	// is a *PermanentError has the message given up; every other has it tried
	// again.
	Send(ctx context.Context, m Mail) error
}

// PermanentError says that trying again is in vain. Reason is kept for
// operators and contains nothing personal.
type PermanentError struct{ Reason string }

func (e *PermanentError) Error() string { return "the message cannot be delivered: " + e.Reason }

// ErrAddress says that a text is not one e-mail address.
var ErrAddress = errors.New("not an e-mail address")

// CheckAddress accepts a bare address (RFC 5321, section 4.1.2, dot-string
// form; RFC 6531 letters) and nothing that a mail system might read as several,
// as a name, as a comment or as another header.
func CheckAddress(address string) error {
	local, domain, found := strings.Cut(address, "@")
	if !found || len(address) > 254 || len(local) > 64 || !utf8.ValidString(address) {
		return ErrAddress
	}
	labels := strings.Split(domain, ".")
	if len(labels) < 2 {
		return ErrAddress
	}
	for _, atom := range strings.Split(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !letterOrDigit(r) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r) }) {
			return ErrAddress
		}
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return !letterOrDigit(r) && r != '-' }) {
			return ErrAddress
		}
	}
	return nil
}

func letterOrDigit(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}

// check tells whether the brand is fit to send for by a channel.
func (b Brand) check(by Channel) error {
	if by == ByText {
		return CheckSender(b.Sender)
	}
	if err := CheckAddress(b.From); err != nil {
		return fmt.Errorf("the sender of brand %q: %w", b.Name, err)
	}
	if b.ReplyTo != "" {
		if err := CheckAddress(b.ReplyTo); err != nil {
			return fmt.Errorf("the reply address of brand %q: %w", b.Name, err)
		}
	}
	return nil
}
