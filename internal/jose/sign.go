package jose

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Signer signs tokens with one key.
type Signer struct {
	alg    Alg
	kid    string
	key    crypto.Signer
	random io.Reader
	size   int // of a signature, in bytes
}

// NewSigner makes a Signer. The kid goes into each token's header.
func NewSigner(alg Alg, kid string, key crypto.Signer, random io.Reader) (*Signer, error) {
	if err := fits(alg, key.Public()); err != nil {
		return nil, err
	}
	if !plain(kid) {
		return nil, fmt.Errorf("%w: the key id %q is not of letters, digits and . _ ~ -", ErrBadKey, kid)
	}
	size := 64
	if public, ok := key.Public().(*rsa.PublicKey); ok {
		size = public.Size()
	}
	return &Signer{alg: alg, kid: kid, key: key, random: random, size: size}, nil
}

// Alg returns the algorithm.
func (s *Signer) Alg() Alg { return s.alg }

// KeyID returns the kid.
func (s *Signer) KeyID() string { return s.kid }

// Public returns the public half, to be published.
func (s *Signer) Public() PublicKey {
	return PublicKey{ID: s.kid, Alg: s.alg, Key: s.key.Public()}
}

// Sign returns claims, which is a JSON object, as a signed token. They go in
// byte for byte, so that their order is the caller's. typ is the token's type,
// such as "JWT" or "at+jwt".
func (s *Signer) Sign(typ string, claims []byte) (string, error) {
	if !plain(strings.Replace(typ, "+", "", 1)) {
		return "", fmt.Errorf("%w: %q cannot be a type", ErrType, typ)
	}
	enc := base64.RawURLEncoding
	header := make([]byte, 0, 128)
	header = append(header, `{"alg":"`...)
	header = append(header, s.alg...)
	header = append(header, `","kid":"`...)
	header = append(header, s.kid...)
	header = append(header, `","typ":"`...)
	header = append(header, typ...)
	header = append(header, `"}`...)

	token := make([]byte, 0, enc.EncodedLen(len(header))+enc.EncodedLen(len(claims))+enc.EncodedLen(s.size)+2)
	token = enc.AppendEncode(token, header)
	token = append(token, '.')
	token = enc.AppendEncode(token, claims)
	signature, err := s.signature(token)
	if err != nil {
		return "", fmt.Errorf("signing a token with %s: %w", s.kid, err)
	}
	token = append(token, '.')
	token = enc.AppendEncode(token, signature)
	return string(token), nil
}

func (s *Signer) signature(input []byte) ([]byte, error) {
	if s.alg == EdDSA { // it hashes by itself
		return s.key.Sign(s.random, input, crypto.Hash(0))
	}
	digest := sha256.Sum256(input)
	switch s.alg {
	default: // ES256
		der, err := s.key.Sign(s.random, digest[:], crypto.SHA256)
		if err != nil {
			return nil, err
		}
		return rawECDSA(der)
	case RS256:
		return s.key.Sign(s.random, digest[:], crypto.SHA256)
	case PS256:
		return s.key.Sign(s.random, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	}
}

// rawECDSA turns an ASN.1 signature into r and s side by side (RFC 7518,
// section 3.4).
func rawECDSA(der []byte) ([]byte, error) {
	input, inner := cryptobyte.String(der), cryptobyte.String(nil)
	var r, s []byte
	if !input.ReadASN1(&inner, asn1.SEQUENCE) || !inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) || len(r) > 32 || len(s) > 32 {
		return nil, fmt.Errorf("the key gave no signature of P-256")
	}
	raw := make([]byte, 64)
	copy(raw[32-len(r):], r)
	copy(raw[64-len(s):], s)
	return raw, nil
}

// derECDSA turns r and s side by side into ASN.1.
func derECDSA(raw []byte) []byte {
	half := func(der, number []byte) []byte {
		for len(number) > 1 && number[0] == 0 {
			number = number[1:]
		}
		pad := number[0] >> 7 // a leading bit would be read as a sign
		der = append(der, 2, byte(len(number))+pad)
		if pad == 1 {
			der = append(der, 0)
		}
		return append(der, number...)
	}
	der := append(make([]byte, 0, 72), 0x30, 0)
	der = half(half(der, raw[:32]), raw[32:])
	der[1] = byte(len(der) - 2)
	return der
}

// plain takes what needs no escape in JSON.
func plain(text string) bool {
	for i := range len(text) {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("._~-", c) < 0 {
			return false
		}
	}
	return text != "" && len(text) <= 128
}
