// Package journey is the engine that leads a customer through a journey: how
// he signs in, opens an account, agrees to what an application asks for.
//
// A journey is data (definitions/*.yaml): steps, each of a kind, and where each
// of the step's outcomes leads. The kinds of steps live in journey/step. The
// engine is the one dispatcher: it opens the sealed state, draws on the budget
// for what a submission tests or sends, hands the answer to the step, follows
// the outcome and seals the next state. Nothing is stored on the way but what a
// budget or a challenge needs; all that a journey changes is changed in the one
// transaction of its finish (DESIGN.md, rules 2, 3, 5, 11).
//
// Hosted pages, an API and tests drive the same engine. It knows no HTTP: a
// surface parses a request once into Client and values, and shows a View.
package journey

import (
	"net/netip"
	"net/url"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/session"
)

// Client is what a surface knows of who submits, parsed once from a request.
type Client struct {
	Address   netip.Addr
	UserAgent string
	Hints     session.Hints
	Language  string           // BCP 47, one that the tenant has
	Binding   string           // the journey cookie: what ties a state to this browser
	Device    string           // the device cookie
	Session   *session.Session // the session that this browser has, if any
	Request   id.Request       // what the log calls the request, "" for none
}

// Return is where a journey goes on when it has finished. Kind names who
// resumes it; Params is that one's own.
type Return struct {
	Kind   string `json:"kind"`
	Params string `json:"params,omitempty"`
	// Since is when whoever resumes first took up what it goes on with, in Unix
	// microseconds: journeys that follow one another on its behalf keep it.
	Since int64 `json:"since,omitempty"`
}

// Start asks for a journey to begin.
type Start struct {
	Journey     string // "sign-in", "sign-up", "recovery", "not-me", "consent", "join", "organization", or one for who is signed in: "change-password" …
	Return      Return
	Application *application.Application // who asks, nil for the tenant's own pages
	Scopes      []string                 // what the application asks for
	LoginHint   string                   // an identifier to offer
	Link        string                   // that a message brought the customer by: not-me, join
	Target      id.Identifier            // the address that it is about: change-address, change-number, remove-address, confirm-address
	// Organization is which the application is to get the customer's membership
	// of, where that is settled: consent.
	Organization id.Organization
	Again        bool // the customer of Client.Session is to prove himself again
	Client       Client
}

// View is what a surface shows: one step's prompt, with the state that goes
// back with the answer.
type View struct {
	State   string // sealed
	Journey string
	Step    string
	Prompt  Prompt
	Errors  []FieldError
	Limited *Limited // set when a limit keeps the step from being tried
	Busy    bool     // the installation cannot take this now; the same answer may be sent again
	// Application is who the journey is for, nil for the tenant's own pages.
	Application *application.Application
	Return      Return
}

// Prompt is what a step asks. Each kind of step has a type of its own.
type Prompt interface {
	// Kind is the kind of step whose prompt it is, such as "password".
	Kind() string
}

// FieldError says what is wrong with one field of an answer. Code is worded by
// the surface.
type FieldError struct {
	Field  string
	Code   string
	Params map[string]any
}

// Limited says that something has been tried or sent too often.
type Limited struct {
	What  string // "password", "code", "send" or "hash"
	Until time.Time
}

// Answer is what came back from a prompt.
type Answer struct {
	Values url.Values
	Choice string // the alternative that was chosen instead of answering: field "choose"
}

// Value returns a field of the answer.
func (a Answer) Value(field string) string { return a.Values.Get(field) }

// Finished is a journey's end.
type Finished struct {
	Outcome     string // "authenticated", "consented", "denied", "disowned", "password-changed", "address-added", "address-removed", "address-confirmed", "account-closed", "joined", "declined", "organization"
	Customer    id.Customer
	Session     *session.Session // the session begun or renewed, nil when none was
	SessionKey  string           // the session cookie's new value, "" to leave it
	DeviceKey   string           // the device cookie's new value, "" to leave it
	Stay        bool             // whether the session cookie outlives the browser
	Created     bool             // whether an account was made
	Recovered   bool             // whether a new password was set by recovery
	Hint        string           // the address that a recovery goes on with
	KeptUntil   time.Time        // until when a closed account can be kept
	EndedOthers bool             // whether every other session was ended
	Replaced    bool             // whether an address took the place of another
	Of          identifier.Kind  // of the address that was added, changed, removed or confirmed
	Return      Return
	Application id.Application
	// Organization is the one that was settled, joined or declined, "" for none.
	Organization id.Organization
}
