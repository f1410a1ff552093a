package view

import "time"

// Identify asks who it is. Field: identifier. Choices: create.
type Identify struct {
	Kinds  []string // what the tenant takes: email, phone, username
	Create bool     // offer "Create account"
}

// Password asks for the password. Fields: password, stay. Choices: back, code,
// recover.
type Password struct {
	Identifier string
	Stay       bool // offer "Stay signed in"
	Code       bool // offer "Send me a code instead"
	Recover    bool // offer "Forgot your password?"
	Account    bool // it is asked for before something of the account is changed
}

// Recover asks whose password is to be set anew. Field: identifier. Choices:
// sign-in.
type Recover struct {
	Kinds []string // what the tenant takes: email, phone, username
}

// CreateAccount asks for the address of a new account. Field: identifier.
// Choices: back (to signing in).
type CreateAccount struct {
	SignIn bool // offer "Sign in"
	Phone  bool // a phone number is taken too
	// Operator asks whoever has a one-time link of operators, and sends nothing.
	Operator bool
}

// Code asks for the code that was sent. Field: code. Choices: resend, back,
// password.
type Code struct {
	Address  string // where the code went, as it was typed
	Phone    bool   // by text message
	Mailed   bool   // by mail, to the account that the number finds
	Mail     bool   // offer to send it by mail
	Text     bool   // offer to send it by text message
	SignUp   bool   // the address is being proven for a new account
	Recovery bool   // a new password is chosen next
	Length   int    // digits; the script sends the form when they are there, 0 = it doesn't
	Resend   bool
	Back     bool
	Password bool
	Account  bool // something of the account is changed next
	New      bool // the address, or the number, is to be the customer's
	Returned bool // it is his, and messages to it came back
}

// NewPassword asks for a new password. Field: new_password. Choices: skip.
type NewPassword struct {
	Identifier string // for password managers
	MinLength  int    // characters
	Skip       bool
	Recovery   bool // it takes the place of a forgotten one, and signs out everywhere else
	Account    bool // who is signed in chooses it. Field: end_others. Choices: none
	Operator   bool // whoever has a one-time link of operators chooses it. Choices: none
}

// NewAddress asks for an e-mail address, or a phone number, that is to be the
// customer's. Fields: identifier, end_others. Choices: back.
type NewAddress struct {
	Phone    bool
	Replaces string // the address whose place it takes, "" for none
}

// CloseAccount tells what closing the account does, and asks. Field: decision,
// close. Choices: back.
type CloseAccount struct{ Until time.Time }

// RemoveAddress asks whether to give an address up. Field: decision, remove.
// Choices: back.
type RemoveAddress struct {
	Phone   bool
	Address string
	Last    bool // it stays: the page says why
}

// ReviewAddresses asks which of the addresses that were added lately are not the
// customer's. Fields: decision, continue; "remove_" and an id for each that is
// not.
type ReviewAddresses struct{ Added []Added }

// Added is an address or a number that was added to the account.
type Added struct {
	ID      string
	Address string
	At      time.Time
}

// ConfirmAddress asks whether to send a code to an address that messages came back
// from. Field: decision, send. Choices: back.
type ConfirmAddress struct{ Address string }

// Collect asks for parts of the profile. Fields: by claim name. Choices: skip.
type Collect struct {
	Title  Text // empty: "A little about you"
	Lead   Text
	Fields []Field
	Skip   bool
}

// Terms asks to agree to documents. The form's own button agrees. Choices:
// decline.
type Terms struct {
	Documents []Document
	Decline   bool
}

// Document is one text to agree to.
type Document struct {
	Label   Text
	URL     string
	Updated time.Time // zero: not said
}

// Consent asks whether an application may have data. Field: decision, allow or
// deny.
type Consent struct {
	As         string // the customer's own address
	Shares     []Share
	ThirdParty bool // made by others than the brand
	Verified   bool // and the brand has checked who they are
	PolicyURL  string
	TermsURL   string
}

// Share is one thing that an application would get, with the real value.
type Share struct {
	Name  string // the claim or scope, for the label "share.<name>"
	Label Text   // instead of it
	Value string
	Asked bool // a value that the customer has not given yet
}

// Disown asks whoever says that it wasn't him whether to sign everybody out.
// Field: decision, secure. With Dead the link is good for nothing any more, and
// RecoverURL is where to go instead.
type Disown struct {
	Dead       bool
	RecoverURL string
}

// Keep asks whether a closed account is to be kept. Field: decision, keep.
// Choices: leave.
type Keep struct {
	Until time.Time // when it is erased otherwise
}

// Invitation asks whether an account is to be opened. Field: decision, accept.
// With Dead the link is good for nothing any more, and SignInURL is where to go
// instead.
type Invitation struct {
	Dead      bool
	Address   string // that was invited
	SignInURL string
}

// Message says one thing and goes on. Posts the form with nothing chosen.
type Message struct {
	Title, Body Text
	Continue    Text // empty: "Continue"
}

// Deny ends a journey that may not go on.
type Deny struct {
	Reason  Text   // empty: a general one
	ID      string // to quote when asking for help
	BackURL string // to the application; empty: no link
	// AccountURL is the page of the account to go back to; empty: no link.
	AccountURL string
}

// FaultKind says what could not be done; its wording is fixed.
type FaultKind string

const (
	FaultServer      FaultKind = ""            // our own mistake
	FaultRedirect    FaultKind = "redirect"    // a redirect URI that is not registered
	FaultApplication FaultKind = "application" // an unknown application
	FaultRequest     FaultKind = "request"     // another mistake in the request
	FaultForged      FaultKind = "forged"      // a state of another browser or tenant
	FaultOperator    FaultKind = "operator"    // a one-time link of operators that is not good
)

// Fault is the page of an error that cannot be sent back to the application.
type Fault struct {
	Kind    FaultKind
	ID      string // to quote when asking for help
	BackURL string // where to start again; empty: no link
}

// Expired says that the page was left too long. One button: a link to
// RestartURL, or without it the form's choice restart.
type Expired struct{ RestartURL string }

// Limited says until when a way in is paused. Choices: code, password, back.
// With Network everything is: the button posts the form again, as that of Busy
// does, and RetryURL makes it a link instead.
type Limited struct {
	Until    time.Time
	Network  bool // the network that the customer is in asks too much
	RetryURL string
	Code     bool // still works
	Password bool // still works
	Mail     bool // still works, for codes
	Back     bool
}

// Busy says that the server has too much to do (status 503). The button posts
// the form again: Values and State are kept in hidden fields where given,
// never the password. RetryURL makes it a link instead.
type Busy struct{ RetryURL, ID string }

// SignOut asks whether to sign out everywhere. Field: decision, sign_out or
// stay.
type SignOut struct{}

// SignedOut says that it is done.
type SignedOut struct {
	BackURL   string // to the application; empty: no link
	SignInURL string // empty: no link
	// Closed is until when the account that was just closed can be kept; zero
	// where none was.
	Closed time.Time
}

// NotFound says that there is nothing at this address.
type NotFound struct{ HomeURL string }

func (Identify) page() string        { return "identify" }
func (Password) page() string        { return "password" }
func (Recover) page() string         { return "recover" }
func (CreateAccount) page() string   { return "signup" }
func (Code) page() string            { return "code" }
func (NewPassword) page() string     { return "newpassword" }
func (NewAddress) page() string      { return "newaddress" }
func (CloseAccount) page() string    { return "closeaccount" }
func (RemoveAddress) page() string   { return "removeaddress" }
func (ReviewAddresses) page() string { return "reviewaddresses" }
func (ConfirmAddress) page() string  { return "confirmaddress" }
func (Collect) page() string         { return "collect" }
func (Terms) page() string           { return "terms" }
func (Consent) page() string         { return "consent" }
func (Disown) page() string          { return "disown" }
func (Keep) page() string            { return "keep" }
func (Invitation) page() string      { return "invitation" }
func (Message) page() string         { return "message" }
func (Deny) page() string            { return "deny" }
func (Fault) page() string           { return "fault" }
func (Expired) page() string         { return "expired" }
func (Limited) page() string         { return "limited" }
func (Busy) page() string            { return "busy" }
func (SignOut) page() string         { return "signout" }
func (SignedOut) page() string       { return "signedout" }
func (NotFound) page() string        { return "notfound" }

func everyPage() []Data {
	return []Data{
		Identify{}, Password{}, Recover{}, CreateAccount{}, Code{}, NewPassword{}, NewAddress{}, RemoveAddress{}, ReviewAddresses{}, ConfirmAddress{}, CloseAccount{}, Collect{}, Terms{}, Consent{}, Disown{},
		Keep{}, Invitation{}, Message{},
		Deny{}, Fault{}, Expired{}, Limited{}, Busy{}, SignOut{}, SignedOut{}, NotFound{},
		Account{}, Profile{}, Access{}, Devices{}, Applications{}, Revoke{}, Preferences{},
		JoinOrganization{}, ChooseOrganization{}, Organizations{}, LeaveOrganization{},
	}
}
