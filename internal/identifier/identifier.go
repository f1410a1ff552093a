// Package identifier brings the addresses that find a customer into the one
// form in which they are compared: e-mail addresses, phone numbers, user
// names, and identifiers that a tenant declares, such as a loyalty number.
//
// It is the only place that does so. Two texts are the same identifier exactly
// when their Keys are equal, and the one thing that a Key must never do is to
// make two people's addresses equal: lookalike letters (`mıke@`, `vïctim@`,
// Kelvin's K) stay apart or are refused, never folded together. Keys are
// stable: normalising a Key gives the same Key.
//
// The package knows no tenant, no customer and no store.
package identifier

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind is the kind of an identifier: Email, Phone, Username, or one made by
// Declared.
type Kind string

// The kinds that every tenant has.
const (
	Email    Kind = "email"
	Phone    Kind = "phone"
	Username Kind = "username"
)

const declaredPrefix = "declared:"

// Declared returns the kind of the identifier that a tenant declares by name.
func Declared(name string) Kind { return Kind(declaredPrefix + name) }

// DeclaredName returns the name of a declared kind, and whether it is one.
func (k Kind) DeclaredName() (string, bool) {
	name, found := strings.CutPrefix(string(k), declaredPrefix)
	return name, found && name != ""
}

// Normalised is an identifier in its comparable, its shown and its deliverable
// form.
type Normalised struct {
	Kind Kind
	Key  string // what is compared and looked up; never shown
	// Display is what the customer sees: an e-mail address, user name or
	// declared identifier as it was typed, without the spaces around it; a
	// phone number in its international form. It has the same Key.
	Display string
	// Delivery is where a message goes: an e-mail address with its domain in
	// ASCII, a phone number in E.164. It is "" for kinds that take no messages.
	Delivery string
}

// Options are a tenant's settings for its identifiers.
type Options struct {
	// Region is where a phone number without a country code is from, as an
	// ISO 3166-1 code ("DE"). Without it such numbers are refused.
	Region string
	// Rule is that of the declared kind. Other kinds do not use it.
	Rule *Rule
}

// Reason says why a text is not an identifier of its kind, for a page to put
// into words.
type Reason string

// The reasons.
const (
	Empty         Reason = "empty"          // nothing was typed
	TooLong       Reason = "too_long"       // no such identifier is that long
	BadCharacter  Reason = "bad_character"  // a character that the kind does not have
	BadForm       Reason = "bad_form"       // not one address: no @, two @, a dot at the wrong place
	BadDomain     Reason = "bad_domain"     // what follows the @ is not a domain name
	CountryNeeded Reason = "country_needed" // a phone number without a country code
	NoSuchNumber  Reason = "no_such_number" // no phone number of that country looks so
	Extension     Reason = "extension"      // a phone number with an extension
	OtherKind     Reason = "other_kind"     // a user name that reads as an e-mail address or a phone number
	MixedScripts  Reason = "mixed_scripts"  // a user name of letters that look alike from different scripts
	BadPattern    Reason = "bad_pattern"    // a declared identifier that its pattern does not take
)

// Error says that a text is not an identifier of the kind. It does not repeat
// the text, so that it may be logged.
type Error struct {
	Kind   Kind
	Reason Reason
}

func (e *Error) Error() string { return fmt.Sprintf("not a valid %s: %s", e.Kind, e.Reason) }

// MaxBytes is more than any identifier has; longer texts are not looked at.
const MaxBytes = 512

// Normalise reads raw as an identifier of the kind. The error is an *Error,
// except for a kind that does not exist or a declared kind without its rule.
func Normalise(kind Kind, raw string, options Options) (Normalised, error) {
	text := strings.TrimFunc(raw, unicode.IsSpace)
	var n Normalised
	var reason Reason
	_, declared := kind.DeclaredName()
	switch {
	case kind != Email && kind != Phone && kind != Username && !declared:
		return Normalised{}, fmt.Errorf("there is no identifier kind %q", kind)
	case declared && options.Rule == nil:
		return Normalised{}, fmt.Errorf("the identifier kind %q has no rule", kind)
	case text == "":
		reason = Empty
	case len(text) > MaxBytes:
		reason = TooLong
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unprintable):
		reason = BadCharacter
	case kind == Email:
		n, reason = email(text)
	case kind == Phone:
		n, reason = phone(text, options.Region)
	case kind == Username:
		n, reason = username(text)
	default:
		n, reason = options.Rule.normalise(text)
	}
	if reason != "" {
		return Normalised{}, &Error{Kind: kind, Reason: reason}
	}
	n.Kind = kind
	return n, nil
}

// unprintable takes controls, format characters (zero-width and bidirectional
// marks), private use, surrogates and line separators.
func unprintable(r rune) bool {
	return unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) || r == utf8.RuneError
}

// Guess tells which kind someone meant who typed raw into a field that takes
// any of them. A text that Normalise takes as a Username is never guessed to
// be something else.
func Guess(raw string) Kind {
	text := strings.TrimFunc(raw, unicode.IsSpace)
	switch {
	case strings.ContainsAny(text, "@＠"):
		return Email
	case phoneLike(text):
		return Phone
	}
	return Username
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// lowerASCII lowers the letters A to Z and nothing else.
func lowerASCII(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}
