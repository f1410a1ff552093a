package config

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// hidden is what every way of printing a Secret gives.
const hidden = "[secret]"

// Secret is a setting that is never printed, logged or encoded, and cannot be
// compared by accident.
type Secret struct {
	_     [0]func() // makes == a compile error
	value string
}

// NewSecret makes a Secret of value.
func NewSecret(value string) Secret { return Secret{value: value} }

// Reveal returns the value, for whoever uses it.
func (s Secret) Reveal() string { return s.value }

// IsZero tells whether there is none.
func (s Secret) IsZero() bool { return s.value == "" }

// Equal compares in constant time, but for the fact that both lengths are
// hashed.
func (s Secret) Equal(other Secret) bool {
	a, b := sha256.Sum256([]byte(s.value)), sha256.Sum256([]byte(other.value))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Format serves fmt, for every verb.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, hidden) }

// MarshalText serves JSON, YAML and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue serves slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
