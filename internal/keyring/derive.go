package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"
)

// The uses that keys are derived for. They stand first in the HKDF info, so
// that no purpose that a caller names can collide with another use.
const (
	useSealed   = "cardea/sealed"
	useMAC      = "cardea/mac"
	useField    = "cardea/field"
	useCustomer = "cardea/customer-key"
	useMessage  = "cardea/message"
)

// derive is HKDF-SHA256 (RFC 5869) of a key for one use and its details.
func derive(key *secret, use string, details ...string) *secret {
	info := appendPart(nil, use)
	for _, d := range details {
		info = appendPart(info, d)
	}
	out, err := hkdf.Key(sha256.New, key[:], nil, string(info), keySize)
	if err != nil {
		panic(fmt.Sprintf("keyring: hkdf: %v", err)) // only for lengths that are not ours
	}
	return (*secret)(out)
}

// appendPart appends a part behind its length, so that a row of parts has one
// reading only.
func appendPart[T ~string | ~[]byte](to []byte, part T) []byte {
	to = binary.BigEndian.AppendUint32(to, uint32(len(part)))
	return append(to, part...)
}

// newAEAD is AES-256-GCM under key.
func newAEAD(key *secret) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(fmt.Sprintf("keyring: aes: %v", err)) // only for another key size
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(fmt.Sprintf("keyring: gcm: %v", err)) // only for another block size
	}
	return aead
}

// prf is HMAC-SHA256 under one key, which it absorbs once for each of the
// states that it keeps for reuse.
type prf struct{ states sync.Pool }

// maxRoom is how many bytes a state that is kept may hold on to.
const maxRoom = 4096

// prfState is one use of a prf: an HMAC, room for what it hashes and for what
// comes of it, and for a message that is sealed.
type prfState struct {
	hash.Hash
	room    []byte
	message []byte
	sum     secret
}

func newPRF(key *secret) *prf {
	p := &prf{}
	p.states.New = func() any {
		s := &prfState{Hash: hmac.New(sha256.New, key[:]), room: make([]byte, 0, 256)}
		s.Reset() // from now on resetting costs no hashing
		return s
	}
	return p
}

func (p *prf) get() *prfState { return p.states.Get().(*prfState) }

func (p *prf) put(s *prfState) {
	s.sum = secret{}
	if cap(s.room) <= maxRoom && cap(s.message) <= maxRoom {
		p.states.Put(s)
	}
}

// hash is the HMAC of data, in the state's own memory.
func (s *prfState) hash(data []byte) *secret {
	s.Reset()
	s.Write(data)
	s.Sum(s.sum[:0])
	return &s.sum
}
