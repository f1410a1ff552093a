package keyring

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const keySize = 32 // bytes: AES-256, HMAC-SHA256

// redacted is what printing anything that leads to a key shows.
const redacted = "[secret]"

// secret is a key. It is handled by pointer, which fmt does not follow from
// within another struct, and it prints and encodes as [secret].
type secret [keySize]byte

// newSecret reads a key from random.
func newSecret(random io.Reader) (*secret, error) {
	s := new(secret)
	if _, err := io.ReadFull(random, s[:]); err != nil {
		return nil, fmt.Errorf("keyring: reading randomness: %w", err)
	}
	return s, nil
}

// secretFrom copies a key out of key, which is 32 bytes or refused.
func secretFrom(key []byte) (*secret, error) {
	if len(key) != keySize {
		return nil, fmt.Errorf("keyring: a key has %d bytes, not %d", len(key), keySize)
	}
	return (*secret)(key[:keySize:keySize]).clone(), nil
}

func (s *secret) clone() *secret {
	c := *s
	return &c
}

// Equal compares in constant time.
func (s *secret) Equal(other *secret) bool {
	return subtle.ConstantTimeCompare(s[:], other[:]) == 1
}

func (s secret) Format(f fmt.State, _ rune)   { redact(f) }
func (s secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (s secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// What holds keys prints as they do.

func (l *localRoot) Format(f fmt.State, _ rune)   { redact(f) }
func (l *localRoot) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (l *localRoot) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func (r *Ring) Format(f fmt.State, _ rune)   { redact(f) }
func (r *Ring) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (r *Ring) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func (t *Tenant) Format(f fmt.State, _ rune)   { redact(f) }
func (t *Tenant) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (t *Tenant) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func (c *Customer) Format(f fmt.State, _ rune)   { redact(f) }
func (c *Customer) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (c *Customer) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func redact(w io.Writer) {
	_, _ = io.WriteString(w, redacted) // fmt.State keeps no error
}
