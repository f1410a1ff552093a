package keyring

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
)

// A sealed field is:
//
//	version     1 byte   1
//	generation  4 bytes  of the key, big-endian
//	nonce      12 bytes  random
//	ciphertext           AES-256-GCM, with its 16-byte tag at the end
//
// The associated data is version and generation, table, column and row. A
// field's key seals at most 2^32 messages (NIST SP 800-38D, section 8.3), which
// neither a customer's data nor a tenant's own secrets come near.
const (
	fieldV1 = 1

	fieldNonceAt = 1 + 4
	fieldHeader  = fieldNonceAt + 12
)

func sealField(aead cipher.AEAD, random io.Reader, generation uint32, table, column, row string, plain []byte) ([]byte, error) {
	out := make([]byte, fieldHeader, fieldHeader+len(plain)+tagSize)
	out[0] = fieldV1 // of Format1; there is no other
	binary.BigEndian.PutUint32(out[1:], generation)
	nonce := out[fieldNonceAt:fieldHeader]
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, fmt.Errorf("keyring: reading randomness: %w", err)
	}
	return aead.Seal(out, nonce, plain, fieldAAD(out[:fieldNonceAt], table, column, row)), nil
}

func openField(aead cipher.AEAD, table, column, row string, sealed []byte) ([]byte, error) {
	plain, err := aead.Open(nil, sealed[fieldNonceAt:fieldHeader], sealed[fieldHeader:],
		fieldAAD(sealed[:fieldNonceAt], table, column, row))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// fieldGeneration is the generation of the key that a field is sealed with.
func fieldGeneration(sealed []byte) (uint32, bool) {
	if len(sealed) < fieldHeader+tagSize || sealed[0] != fieldV1 {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:]), true
}

func fieldAAD(head []byte, table, column, row string) []byte {
	aad := make([]byte, 0, len(head)+3*4+len(table)+len(column)+len(row))
	aad = append(aad, head...)
	return appendPart(appendPart(appendPart(aad, table), column), row)
}

// SealField encrypts a secret of the tenant's own that is stored in the named
// place: only there, and only with this tenant's keys, can it be opened.
func (t *Tenant) SealField(table, column, row string, plain []byte) ([]byte, error) {
	g := t.current()
	return sealField(g.field, t.ring.random, g.number, table, column, row, plain)
}

// OpenField returns what SealField was given for the place. Whatever is wrong,
// the error is ErrSealed.
func (t *Tenant) OpenField(table, column, row string, sealed []byte) ([]byte, error) {
	number, ok := fieldGeneration(sealed)
	if !ok {
		return nil, ErrSealed
	}
	g := t.generation(number)
	if g == nil {
		return nil, ErrSealed
	}
	return openField(g.field, table, column, row, sealed)
}

// SealField encrypts a personal value that is stored in the named place: only
// there, and only with this customer's key, can it be opened. After the
// customer was erased the error is ErrErased.
func (c *Customer) SealField(table, column, row string, plain []byte) ([]byte, error) {
	if c.erased.Load() {
		return nil, ErrErased
	}
	k := &c.keys[len(c.keys)-1]
	return sealField(k.aead, c.random, k.generation, table, column, row, plain)
}

// OpenField returns what SealField was given for the place. After the customer
// was erased the error is ErrErased; whatever else is wrong, it is ErrSealed.
func (c *Customer) OpenField(table, column, row string, sealed []byte) ([]byte, error) {
	if c.erased.Load() {
		return nil, ErrErased
	}
	number, ok := fieldGeneration(sealed)
	if !ok {
		return nil, ErrSealed
	}
	for i := range c.keys {
		if c.keys[i].generation == number {
			return openField(c.keys[i].aead, table, column, row, sealed)
		}
	}
	return nil, ErrSealed
}
