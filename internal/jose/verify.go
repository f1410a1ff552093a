package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// MaxBytes is the size of the largest token read where Expect names none.
const MaxBytes = 16 << 10

// Header is what of a token's header is read. It is the sender's word until
// the token is verified, and chooses nothing but a key among those given.
type Header struct {
	Alg   Alg
	KeyID string
	Type  string // as it was written; "" if it was not
}

// Token is a token that was read.
type Token struct {
	Header  Header
	Claims  Claims
	Payload []byte // the claims as they were sent
	KeyID   string // of the key that verified it, "" if unverified
}

// Expect is what a token must be. Neither list may be empty.
type Expect struct {
	Algs []Alg
	// Types lists the types allowed, as in "at+jwt"; a prefix "application/" and
	// the case of letters do not matter (RFC 7515, section 4.1.9). The type ""
	// allows a token that states none.
	Types    []string
	MaxBytes int // 0 means MaxBytes
}

// Verify reads a token and verifies its signature. It does not judge the
// claims: that is for Claims.Validate.
func Verify(compact string, expect Expect, keys *KeySet) (Token, error) {
	if len(expect.Algs) == 0 {
		return Token{}, fmt.Errorf("%w: the caller stated none", ErrAlg)
	}
	if len(expect.Types) == 0 {
		return Token{}, fmt.Errorf("%w: the caller stated none", ErrType)
	}
	token, input, signature, err := read(compact, expect.MaxBytes)
	if err != nil {
		return Token{}, err
	}
	if !slices.Contains(expect.Algs, token.Header.Alg) {
		return Token{}, ErrAlg
	}
	if !typeAllowed(expect.Types, token.Header.Type) {
		return Token{}, ErrType
	}
	key, err := keys.find(token.Header.KeyID, token.Header.Alg)
	if err != nil {
		return Token{}, err
	}
	if !verifies(key.Key, token.Header.Alg, []byte(input), signature) {
		return Token{}, ErrSignature
	}
	token.KeyID = key.ID
	return token, nil
}

// ReadUnverified reads a token whose sender is not yet known, to learn whose
// keys to verify it with. Nothing in it may be believed.
func ReadUnverified(compact string, maxBytes int) (Token, error) {
	token, _, _, err := read(compact, maxBytes)
	return token, err
}

// read takes a token apart. It costs little more than the token is long.
func read(compact string, maxBytes int) (token Token, input string, signature []byte, err error) {
	if maxBytes == 0 {
		maxBytes = MaxBytes
	}
	if len(compact) > maxBytes {
		return Token{}, "", nil, ErrTooLarge
	}
	first := strings.IndexByte(compact, '.')
	last := strings.LastIndexByte(compact, '.')
	if first < 0 || first == last || strings.IndexByte(compact[first+1:last], '.') >= 0 {
		return Token{}, "", nil, fmt.Errorf("%w: not three parts", ErrMalformed)
	}
	header, err := decode(compact[:first])
	if err != nil {
		return Token{}, "", nil, err
	}
	if token.Payload, err = decode(compact[first+1 : last]); err != nil {
		return Token{}, "", nil, err
	}
	if signature, err = decode(compact[last+1:]); err != nil {
		return Token{}, "", nil, err
	}
	if token.Header, err = readHeader(header); err != nil {
		return Token{}, "", nil, err
	}
	if token.Claims, err = readClaims(token.Payload); err != nil {
		return Token{}, "", nil, err
	}
	return token, compact[:last], signature, nil
}

// decode takes the one canonical spelling of base64url: no padding, no line
// ends (which encoding/base64 passes over), no stray bits at the end.
func decode(part string) ([]byte, error) {
	if strings.IndexByte(part, '\n') >= 0 || strings.IndexByte(part, '\r') >= 0 {
		return nil, fmt.Errorf("%w: not base64url", ErrMalformed)
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, fmt.Errorf("%w: not base64url", ErrMalformed)
	}
	return decoded, nil
}

func readHeader(data []byte) (Header, error) {
	members, err := object(data)
	if err != nil {
		return Header{}, err
	}
	var header Header
	for _, m := range members {
		var into *string
		switch m.name {
		case "alg":
			into = (*string)(&header.Alg)
		case "kid":
			into = &header.KeyID
		case "typ":
			into = &header.Type
		case "crit", "b64", "enc", "zip":
			// RFC 7515, section 4.1.11: what must be understood and is not
			// refuses the token. The others make it something else than a JWT.
			return Header{}, fmt.Errorf("%w: the header %q is not understood", ErrMalformed, m.name)
		default:
			continue // jku, jwk, x5u, x5c and the like choose nothing here
		}
		if *into, err = text(m.value); err != nil {
			return Header{}, err
		}
		if *into == "" {
			return Header{}, fmt.Errorf("%w: the header %q is empty", ErrMalformed, m.name)
		}
	}
	if header.Alg == "" {
		return Header{}, fmt.Errorf("%w: it states none", ErrAlg)
	}
	return header, nil
}

func typeAllowed(types []string, typ string) bool {
	short := func(t string) string {
		t = strings.ToLower(t)
		if cut, found := strings.CutPrefix(t, "application/"); found && !strings.Contains(cut, "/") {
			return cut
		}
		return t
	}
	typ = short(typ)
	return slices.ContainsFunc(types, func(allowed string) bool { return short(allowed) == typ })
}

// verifies tells whether the signature of input is the key's. The key has been
// found to fit the algorithm.
func verifies(key crypto.PublicKey, alg Alg, input, signature []byte) bool {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return alg == EdDSA && len(signature) == ed25519.SignatureSize && ed25519.Verify(k, input, signature)
	case *ecdsa.PublicKey:
		if alg != ES256 || len(signature) != 64 {
			return false
		}
		digest := sha256.Sum256(input)
		return ecdsa.VerifyASN1(k, digest[:], derECDSA(signature))
	case *rsa.PublicKey:
		if len(signature) != k.Size() {
			return false
		}
		digest := sha256.Sum256(input)
		if alg == RS256 {
			return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], signature) == nil
		}
		if alg == PS256 {
			options := rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
			return rsa.VerifyPSS(k, crypto.SHA256, digest[:], signature, &options) == nil
		}
	}
	return false
}

// isNull tells whether a value is JSON's null.
func isNull(value []byte) bool { return bytes.Equal(value, []byte("null")) }
