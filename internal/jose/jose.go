// Package jose signs and verifies JSON Web Tokens in compact form (RFC 7515,
// 7519), and reads and writes public keys as JSON Web Keys (RFC 7517, 7638).
//
// It has few choices on purpose: four asymmetric algorithms, no symmetric
// ones, no encryption, no "none". The caller states which algorithms, which
// type and which keys a token may have; nothing in a token chooses for it
// (RFC 8725). Headers that name keys or addresses (jwk, jku, x5c, x5u) are not
// read; a "crit" header refuses the token, as no extension is understood.
// Signing uses the standard library directly, as it is on the hottest path.
//
// A Signer and a KeySet are safe for concurrent use.
package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
)

// Alg is a signature algorithm by its name in JOSE (RFC 7518, section 3.1).
type Alg string

// The algorithms.
const (
	ES256 Alg = "ES256" // ECDSA, P-256, SHA-256
	RS256 Alg = "RS256" // RSA, PKCS #1 v1.5, SHA-256
	PS256 Alg = "PS256" // RSA, PSS, SHA-256
	EdDSA Alg = "EdDSA" // Ed25519 (RFC 8037); by its older name, which clients know
)

// The sizes of RSA moduli, in bits: what is made, and what is taken from
// others. Larger ones only cost our time.
const (
	rsaBits    = 2048
	minRSABits = 2048
	maxRSABits = 4096
)

// The errors. Each refused token has one of them in its chain.
var (
	ErrMalformed = errors.New("not a well-formed signed token")
	ErrTooLarge  = errors.New("the token is too large")
	ErrAlg       = errors.New("the token's algorithm is not allowed here")
	ErrType      = errors.New("the token is of another type")
	ErrKey       = errors.New("the token names no key known here")
	ErrSignature = errors.New("the token's signature does not fit")
	ErrExpired   = errors.New("the token has expired")
	ErrNotYet    = errors.New("the token is from the future")
	ErrIssuer    = errors.New("the token is from another issuer")
	ErrAudience  = errors.New("the token is meant for another audience")
	ErrClaim     = errors.New("the token lacks a claim or has a malformed one")
	ErrBadKey    = errors.New("not a usable key")
)

// GenerateKey makes a private key for the algorithm.
func GenerateKey(alg Alg, random io.Reader) (crypto.Signer, error) {
	switch alg {
	case ES256:
		return ecdsa.GenerateKey(elliptic.P256(), random)
	case RS256, PS256:
		return rsa.GenerateKey(random, rsaBits)
	case EdDSA:
		_, key, err := ed25519.GenerateKey(random)
		return key, err
	}
	return nil, fmt.Errorf("%w: %q", ErrAlg, alg)
}

// MarshalPrivateKey writes a private key as PKCS #8, to be sealed and stored.
func MarshalPrivateKey(key crypto.Signer) ([]byte, error) { return x509.MarshalPKCS8PrivateKey(key) }

// ParsePrivateKey reads what MarshalPrivateKey wrote, for the algorithm.
func ParsePrivateKey(alg Alg, der []byte) (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: a %T does not sign", ErrBadKey, parsed)
	}
	if err := fits(alg, key.Public()); err != nil {
		return nil, err
	}
	return key, nil
}

// fits tells whether a public key is one for the algorithm.
func fits(alg Alg, key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if alg == ES256 && k.Curve == elliptic.P256() {
			return nil
		}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("%w: an RSA key of %d bits", ErrBadKey, bits)
		}
		if k.E < 3 || k.E&1 == 0 {
			return fmt.Errorf("%w: an RSA key with exponent %d", ErrBadKey, k.E)
		}
		if alg == RS256 || alg == PS256 {
			return nil
		}
	case ed25519.PublicKey:
		if alg == EdDSA && len(k) == ed25519.PublicKeySize {
			return nil
		}
	}
	return fmt.Errorf("%w: a %T does not serve %q", ErrBadKey, key, alg)
}
