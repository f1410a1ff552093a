package view

import (
	"html/template"
	"time"
)

// Portal is what stands around a page of the account: the way back, and where
// else to go. Where it is nil a page is none of the account's.
type Portal struct {
	HomeURL string
	Links   []PortalLink
}

// PortalLink leads to a page of the account.
type PortalLink struct {
	Name string // profile, access, devices, applications, organizations, preferences or close
	URL  string
	Here bool
}

// Account is the customer's own page: where he can go from here. Choices:
// sign_out.
type Account struct {
	Name       string // how to greet; may be empty
	Identifier string
	Services   []Service
	Devices    int // where he is signed in
	Connected  int // applications of others
	Language   string
}

// Service is an application that the customer can go to.
type Service struct{ Name, URL string }

// Profile is what the customer tells of himself. Fields: by claim name. Nothing
// to fill in is shown where there are no fields.
type Profile struct {
	Groups []Group
	Facts  []Fact // what others set
}

// Group are the fields that belong together. Title is empty for those that
// stand alone.
type Group struct {
	Title  Text
	Fields []Field
}

// Fact is something that is shown and not changed here.
type Fact struct {
	Field
	Value string
}

// FactLabel is what a fact is called.
func (f *frame) FactLabel(fact Fact) template.HTML { return f.Say(fact.whole().Label) }

// Access is how the customer signs in.
type Access struct {
	Addresses   []Address
	AddURL      string // to add an e-mail address
	NumberURL   string // to add a phone number; empty: not offered
	Phone       bool   // codes come to a phone number: there is no e-mail address
	Password    bool   // whether there is one
	Changed     time.Time
	PasswordURL string
}

// Address is one address that finds the customer. Where an URL is empty the
// page does not offer it.
type Address struct {
	Value      string
	Phone      bool // a phone number
	Main       bool // where codes and notices go first
	Unverified bool
	Returned   bool // messages to it come back
	ChangeURL  string
	RemoveURL  string
	ConfirmURL string
}

// Devices is where the customer is signed in. Its buttons post end (a session's
// ID) or choose: end_others.
type Devices struct{ Sessions []Session }

// Session is one place where the customer is signed in.
type Session struct {
	ID              string
	Browser, System string // "Firefox", "Windows"; may be empty
	Place           string // "Lisbon, Portugal"; may be empty
	Phone           bool
	This            bool
	Seen            time.Time
}

// Applications are those of others that have access to the account.
type Applications struct{ Connected []Connection }

// Connection is an application that has access to the account.
type Connection struct {
	Name   string
	URL    string // of the page that tells of it and removes it
	Shares []Share
	Since  time.Time
}

// Revoke tells what an application gets and asks whether to remove its access.
// Field: decision, remove.
type Revoke struct {
	Connection
	BackURL string
}

// Preferences asks for the language and the look of pages. Fields: language,
// appearance.
type Preferences struct {
	Languages []string
	Mail      bool // the language is kept with the customer, and holds for messages
}

func (Account) page() string      { return "account" }
func (Profile) page() string      { return "profile" }
func (Access) page() string       { return "access" }
func (Devices) page() string      { return "devices" }
func (Applications) page() string { return "applications" }
func (Revoke) page() string       { return "revoke" }
func (Preferences) page() string  { return "preferences" }

// portalNames are the words and marks of the account's pages.
var portalNames = map[string][2]string{
	"profile":       {"portal.profile", "person"},
	"access":        {"portal.access", "key"},
	"devices":       {"portal.devices", "screen"},
	"applications":  {"portal.applications", "link"},
	"organizations": {"portal.organizations", "people"},
	"preferences":   {"portal.preferences", "globe"},
	"close":         {"portal.close", "out"},
}

// PortalName is what a page of the account is called in the navigation.
func (f *frame) PortalName(name string) template.HTML { return f.T(portalNames[name][0]) }

// PortalGlyph is the mark of a page of the account.
func (f *frame) PortalGlyph(name string) string { return portalNames[name][1] }

// ProfileInputs are the fields of a group; the first that is wrong on the page
// gets the focus. Where nothing is wrong nothing does: the page is for reading
// too.
func (f *frame) ProfileInputs(group Group) []Input {
	data, _ := f.Data.(Profile)
	focus := ""
	for _, g := range data.Groups {
		for _, field := range g.Fields {
			if focus == "" && f.HasError(field.Name) {
				focus = field.Name
			}
		}
	}
	var inputs []Input
	for _, field := range group.Fields {
		inputs = append(inputs, f.Input(field, focus))
	}
	return inputs
}

// appearances are what pages can look like: as the device, or always so.
var appearances = []string{"system", "light", "dark"}

// Appearances lists what pages can look like, the first being the default.
func Appearances() []string { return appearances }

// AppearanceName says what an appearance is.
func (f *frame) AppearanceName(appearance string) template.HTML {
	switch appearance {
	case "light":
		return f.T("preferences.light")
	case "dark":
		return f.T("preferences.dark")
	}
	return f.T("preferences.system")
}

// Appearances are the choices of the page.
func (f *frame) Appearances() []string { return appearances }

// Forced is the appearance that a page is to have whatever the device has, ""
// for none.
func (f *frame) Forced() string {
	if f.Appearance == "light" || f.Appearance == "dark" {
		return f.Appearance
	}
	return ""
}
