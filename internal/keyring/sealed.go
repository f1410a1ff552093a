package keyring

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A sealed token is, in base64url without padding:
//
//	version     1 byte   1
//	epoch       8 bytes  when it was issued: the ring's epoch, big-endian
//	generation  4 bytes  of the tenant's key, big-endian
//	salt       16 bytes  random
//	ciphertext           AES-256-GCM, with its 16-byte tag at the end
//
// Everything before the ciphertext is the header. The message's key is
// HKDF-Expand-SHA256(purpose key, "cardea/message" and header), where the
// purpose key is HKDF-SHA256 of the tenant's key for that purpose. Each message
// has a key of its own, so that the nonce is zero and no count of messages
// matters: at a hundred thousand a second for a year two salts of a purpose
// meet with a chance below 2^-45. The associated data is header, tenant and
// purpose.
const (
	sealedV1 = 1

	epochAt      = 1
	generationAt = epochAt + 8
	saltAt       = generationAt + 4
	headerSize   = saltAt + 16
	tagSize      = 16

	// MaxSealed is the most bytes that Seal takes. Open refuses what is longer
	// before it looks at it.
	MaxSealed = 64 << 10
)

// maxSealedText is the length of the longest token.
const maxSealedText = ((headerSize+MaxSealed+tagSize)*8 + 5) / 6

// strict refuses stray bits in the last character; what it still lets pass are
// line breaks, which Open refuses itself.
var strict = base64.RawURLEncoding.Strict()

var zeroNonce [12]byte

// Format is what new tokens and fields are written in. All formats up to the
// newest are read. A release writes the previous release's format until the
// operator finalises the upgrade, so that nodes of both can run together.
type Format uint32

// Format1 is the first format.
const (
	Format1      Format = 1
	NewestFormat        = Format1
)

// purpose is what is kept ready for sealing under one purpose of one
// generation of a tenant's key.
type purpose struct {
	prf *prf
	aad []byte // the associated data behind the header
}

func newPurpose(key *secret, tenant, name string) *purpose {
	return &purpose{
		prf: newPRF(derive(key, useSealed, name)),
		aad: appendPart(appendPart(nil, tenant), name),
	}
}

// Seal encrypts plain, which is at most MaxSealed bytes, into a token that only
// Open of the same tenant and purpose reads, and only until the epoch is
// raised. It uses no database.
func (t *Tenant) Seal(purpose string, plain []byte) (string, error) {
	if len(plain) > MaxSealed {
		return "", fmt.Errorf("keyring: sealing %d bytes for %q: the limit is %d", len(plain), purpose, MaxSealed)
	}
	current := t.current()
	p := current.purpose(t.id, purpose)

	state := p.prf.get()
	defer p.prf.put(state)
	out := slices.Grow(state.message[:0], headerSize+len(plain)+tagSize)[:headerSize]
	out[0] = sealedV1 // of Format1; there is no other
	binary.BigEndian.PutUint64(out[epochAt:], uint64(t.ring.epoch.Load()))
	binary.BigEndian.PutUint32(out[generationAt:], current.number)
	if _, err := io.ReadFull(t.ring.random, out[saltAt:]); err != nil {
		return "", fmt.Errorf("keyring: reading randomness: %w", err)
	}
	aead := newAEAD(state.messageKey(out))
	state.message = aead.Seal(out, zeroNonce[:], plain, state.associated(out, p.aad))
	state.room = strict.AppendEncode(state.room[:0], state.message)
	return string(state.room), nil
}

// Open returns what was sealed. Whatever is wrong with the token, the error is
// ErrSealed; it is ErrEpoch as well when the token is genuine but from before
// the epoch was last raised.
func (t *Tenant) Open(purpose, sealed string) ([]byte, error) {
	data, ok := decode(sealed)
	if !ok || data[0] != sealedV1 {
		return nil, ErrSealed
	}
	generation := t.generation(binary.BigEndian.Uint32(data[generationAt:]))
	if generation == nil {
		return nil, ErrSealed
	}
	p := generation.purpose(t.id, purpose)
	header, ciphertext := data[:headerSize:headerSize], data[headerSize:]

	state := p.prf.get()
	aead := newAEAD(state.messageKey(header))
	plain, err := aead.Open(ciphertext[:0], zeroNonce[:], ciphertext, state.associated(header, p.aad))
	p.prf.put(state)
	if err != nil {
		return nil, ErrSealed
	}
	// Only a genuine token's epoch is looked at.
	if err := t.ring.checkEpoch(int64(binary.BigEndian.Uint64(header[epochAt:]))); err != nil {
		return nil, err
	}
	return plain[:len(plain):len(plain)], nil
}

// decode reads the one spelling that a token has.
func decode(sealed string) ([]byte, bool) {
	if len(sealed) > maxSealedText || strings.IndexByte(sealed, '\n') >= 0 || strings.IndexByte(sealed, '\r') >= 0 {
		return nil, false
	}
	data, err := strict.DecodeString(sealed)
	return data, err == nil && len(data) >= headerSize+tagSize
}

// messageKey is HKDF-Expand (RFC 5869, section 2.3) of one block: the prf's key
// is the pseudorandom key, the header with its salt the info.
func (s *prfState) messageKey(header []byte) *secret {
	s.room = appendPart(s.room[:0], useMessage)
	s.room = append(s.room, header...)
	s.room = append(s.room, 1) // the number of the block
	return s.hash(s.room)
}

func (s *prfState) associated(header, rest []byte) []byte {
	s.room = append(append(s.room[:0], header...), rest...)
	return s.room
}
