// Package credential owns what proves a customer. Today that is the password:
// how it is read, judged, hashed, stored and replaced.
//
// The parts are used one after another. NewPassword reads what was typed.
// Checker judges a new password and answers findings as data, which pages put
// into words. Hasher turns passwords into Argon2id hashes and verifies them,
// with bounded concurrency and a queue that is fair to every tenant; it knows
// no database, and is used outside of transactions. Passwords keeps the hashes,
// sealed with the customer's key.
//
// The package does not know how guesses are limited, who a customer is, or what
// a page looks like.
package credential

import (
	"crypto/subtle"
	"errors"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxLength is the length, in code points, above which a password is refused
// before anything is computed from it.
const MaxLength = 1024

// Faults of a password that make it unfit to be hashed or verified.
var (
	ErrTooLong   = errors.New("the password is longer than 1024 characters")
	ErrMalformed = errors.New("the password is empty or not valid UTF-8")
	errSecret    = errors.New("a secret is not to be written out")
)

// Password is what a customer typed. It cannot be printed, logged or encoded
// by accident, and is compared in constant time.
//
// It is kept as the OpaqueString profile of RFC 8265, section 4.2, prescribes:
// spaces outside of ASCII become the ASCII space, then NFC; case and width stay
// as they are. Unlike the profile nothing is refused for the characters in it,
// so that no later version of Unicode changes what is accepted.
type Password struct {
	text   string
	length int
	fault  error
}

// NewPassword reads a typed password. It always succeeds: a password that is
// too long or not UTF-8 carries its fault, is refused by Hash, found wanting by
// Check and never verifies.
func NewPassword(typed string) Password {
	if len(typed) > MaxLength*utf8.UTFMax || utf8.RuneCountInString(typed) > MaxLength {
		return Password{fault: ErrTooLong, length: MaxLength + 1}
	}
	if typed == "" || !utf8.ValidString(typed) {
		return Password{fault: ErrMalformed}
	}
	text := norm.NFC.String(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Zs, r) {
			return ' '
		}
		return r
	}, typed))
	return Password{text: text, length: utf8.RuneCountInString(text)}
}

// Length is the number of code points.
func (p Password) Length() int { return p.length }

// Fault is ErrTooLong, ErrMalformed or nil.
func (p Password) Fault() error { return p.fault }

// Equal tells in constant time whether both are the same password. Passwords
// with a fault equal nothing.
func (p Password) Equal(other Password) bool {
	return p.fault == nil && other.fault == nil &&
		subtle.ConstantTimeCompare([]byte(p.text), []byte(other.text)) == 1
}

const redacted = "[secret]"

func (Password) String() string               { return redacted }
func (Password) GoString() string             { return redacted }
func (Password) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Password) MarshalText() ([]byte, error) { return nil, errSecret }
func (Password) MarshalJSON() ([]byte, error) { return nil, errSecret }

// Hash is a password's hash in the PHC string format. It cannot be printed,
// logged or encoded by accident; string(h) is the text.
type Hash string

func (Hash) String() string               { return redacted }
func (Hash) GoString() string             { return redacted }
func (Hash) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Hash) MarshalText() ([]byte, error) { return nil, errSecret }
func (Hash) MarshalJSON() ([]byte, error) { return nil, errSecret }
