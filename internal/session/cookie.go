package session

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"

	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/keyring"
)

// Secret is what a session's cookie proves: 256 random bits. It does not print.
type Secret struct{ value [32]byte }

func newSecret(random io.Reader) (Secret, error) {
	var s Secret
	if _, err := io.ReadFull(random, s.value[:]); err != nil {
		return Secret{}, fmt.Errorf("read randomness: %w", err)
	}
	return s, nil
}

func (s Secret) hash() []byte {
	sum := sha256.Sum256(s.value[:])
	return sum[:]
}

// Format writes a placeholder, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }

// LogValue is the placeholder as well.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText refuses: a secret leaves by Handle only.
func (Secret) MarshalText() ([]byte, error) {
	return nil, fmt.Errorf("a session's secret is not written")
}

// cookiePurpose is what the cookie is sealed for.
const cookiePurpose = "session"

// handle is what the cookie says: customer and session as they are spelled, 30
// bytes each, and the 32 bytes of the secret.
type handle struct {
	customer id.Customer
	session  id.Session
	secret   Secret
}

const idLength = 30

func (h handle) plain() []byte {
	plain := make([]byte, 0, 2*idLength+len(h.secret.value))
	plain = append(plain, h.customer...)
	plain = append(plain, h.session...)
	return append(plain, h.secret.value[:]...)
}

func parseHandle(plain []byte) (h handle, ok bool) {
	if len(plain) != 2*idLength+len(h.secret.value) {
		return handle{}, false
	}
	customer, err := id.Parse[id.Customer](string(plain[:idLength]))
	if err != nil {
		return handle{}, false
	}
	session, err := id.Parse[id.Session](string(plain[idLength : 2*idLength]))
	if err != nil {
		return handle{}, false
	}
	h.customer, h.session = customer, session
	copy(h.secret.value[:], plain[2*idLength:])
	return h, true
}

// Handle returns the value of the cookie for a session whose Begin or Renew
// returned secret. It is called after the transaction.
func (s *Sessions) Handle(ctx context.Context, x *Session, secret Secret) (string, error) {
	keys, err := s.Ring.Tenant(ctx, x.Tenant)
	if err != nil {
		return "", fmt.Errorf("the tenant's keys: %w", err)
	}
	return keys.Seal(cookiePurpose, handle{x.Customer, x.ID, secret}.plain())
}

// openHandle reads a cookie. Whatever is wrong with it, it is not ok.
func openHandle(keys *keyring.Tenant, cookie string) (handle, bool) {
	plain, err := keys.Open(cookiePurpose, cookie)
	if err != nil {
		return handle{}, false
	}
	return parseHandle(plain)
}

// proves tells in constant time whether the secret is the one of hash.
func (h handle) proves(hash []byte) bool {
	return subtle.ConstantTimeCompare(h.secret.hash(), hash) == 1
}
