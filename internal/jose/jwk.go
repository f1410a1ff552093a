package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
)

// PublicKey is a public key with its name.
type PublicKey struct {
	ID  string // kid; "" if its owner gave none
	Alg Alg    // "" if its owner stated none: any algorithm of its type
	Key crypto.PublicKey
}

// KeySet is the keys of one sender. Nothing but what was put in is ever in it.
type KeySet struct {
	keys []PublicKey
}

// NewKeySet makes a KeySet of keys, each usable and no two with one id.
func NewKeySet(keys ...PublicKey) (*KeySet, error) {
	ids := make(map[string]bool, len(keys))
	for _, key := range keys {
		if err := usable(key); err != nil {
			return nil, err
		}
		if key.ID != "" && ids[key.ID] {
			return nil, fmt.Errorf("%w: two keys have the id %q", ErrBadKey, key.ID)
		}
		ids[key.ID] = true
	}
	return &KeySet{keys: keys}, nil
}

func usable(key PublicKey) error {
	if key.Alg != "" {
		return fits(key.Alg, key.Key)
	}
	switch key.Key.(type) {
	case *ecdsa.PublicKey:
		return fits(ES256, key.Key)
	case *rsa.PublicKey:
		return fits(RS256, key.Key)
	}
	return fits(EdDSA, key.Key)
}

// find returns the key with the id, if it serves the algorithm. A token
// without an id finds a key only if exactly one serves the algorithm.
func (s *KeySet) find(kid string, alg Alg) (PublicKey, error) {
	if s == nil {
		return PublicKey{}, ErrKey
	}
	var found []PublicKey
	for _, key := range s.keys {
		if (kid == "" || key.ID == kid) && (key.Alg == "" || key.Alg == alg) && fits(alg, key.Key) == nil {
			found = append(found, key)
		}
	}
	if len(found) != 1 {
		return PublicKey{}, ErrKey
	}
	return found[0], nil
}

// required renders the members that make up a key, by name and without spaces:
// the form whose hash is the thumbprint (RFC 7638, section 3).
func required(key crypto.PublicKey) ([]byte, error) {
	enc := base64.RawURLEncoding.EncodeToString
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil || k.Curve != elliptic.P256() {
			return nil, fmt.Errorf("%w: not on P-256", ErrBadKey)
		}
		return fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, enc(point[1:33]), enc(point[33:])), nil
	case *rsa.PublicKey:
		return fmt.Appendf(nil, `{"e":"%s","kty":"RSA","n":"%s"}`, enc(big.NewInt(int64(k.E)).Bytes()), enc(k.N.Bytes())), nil
	case ed25519.PublicKey:
		return fmt.Appendf(nil, `{"crv":"Ed25519","kty":"OKP","x":"%s"}`, enc(k)), nil
	}
	return nil, fmt.Errorf("%w: a %T", ErrBadKey, key)
}

// Thumbprint returns the key's SHA-256 thumbprint in base64url (RFC 7638).
func Thumbprint(key crypto.PublicKey) (string, error) {
	members, err := required(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(members)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// JWK renders the key for verifying signatures. The order of its members is
// fixed.
func (k PublicKey) JWK() ([]byte, error) {
	if err := usable(k); err != nil {
		return nil, err
	}
	members, err := required(k.Key)
	if err != nil {
		return nil, err
	}
	jwk := append(members[:len(members)-1], `,"use":"sig"`...)
	for _, more := range []struct{ name, value string }{{"alg", string(k.Alg)}, {"kid", k.ID}} {
		if more.value != "" {
			value, err := json.Marshal(more.value)
			if err != nil {
				return nil, fmt.Errorf("rendering a key: %w", err)
			}
			jwk = fmt.Appendf(jwk, `,"%s":%s`, more.name, value)
		}
	}
	return append(jwk, '}'), nil
}

// JWKS renders keys, in the order given, as a JWK Set (RFC 7517, section 5).
func JWKS(keys []PublicKey) ([]byte, error) {
	rendered := make([][]byte, len(keys))
	for i, key := range keys {
		var err error
		if rendered[i], err = key.JWK(); err != nil {
			return nil, err
		}
	}
	return append(append([]byte(`{"keys":[`), bytes.Join(rendered, []byte{','})...), `]}`...), nil
}

const (
	maxJWKSBytes = 128 << 10
	maxKeys      = 64
)

// ParseJWK reads a public key. One with private or symmetric parts, of another
// type or curve, or for another use than signatures is refused.
func ParseJWK(data []byte) (PublicKey, error) {
	if len(data) > MaxBytes {
		return PublicKey{}, fmt.Errorf("%w: too large", ErrBadKey)
	}
	members, err := object(data)
	if err != nil {
		return PublicKey{}, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	fields := make(map[string]string)
	for _, m := range members {
		switch m.name {
		case "d", "p", "q", "dp", "dq", "qi", "oth", "k":
			return PublicKey{}, fmt.Errorf("%w: it has the private part %q, which must never be sent", ErrBadKey, m.name)
		case "kty", "crv", "x", "y", "n", "e", "use", "alg", "kid":
			if fields[m.name], err = text(m.value); err != nil {
				return PublicKey{}, fmt.Errorf("%w: %q: %w", ErrBadKey, m.name, err)
			}
		}
	}
	if use, given := fields["use"]; given && use != "sig" {
		return PublicKey{}, fmt.Errorf("%w: its use is %q", ErrBadKey, use)
	}
	key := PublicKey{ID: fields["kid"], Alg: Alg(fields["alg"])}
	switch fields["kty"] + " " + fields["crv"] {
	case "EC P-256":
		x, errX := coordinate(fields["x"])
		y, errY := coordinate(fields["y"])
		if errX != nil || errY != nil {
			return PublicKey{}, fmt.Errorf("%w: not a point of P-256", ErrBadKey)
		}
		point := append(append([]byte{4}, x...), y...)
		if key.Key, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err != nil {
			return PublicKey{}, fmt.Errorf("%w: %w", ErrBadKey, err)
		}
	case "OKP Ed25519":
		x, err := coordinate(fields["x"])
		if err != nil {
			return PublicKey{}, fmt.Errorf("%w: not a key of Ed25519", ErrBadKey)
		}
		key.Key = ed25519.PublicKey(x)
	case "RSA ":
		n, errN := decode(fields["n"])
		e, errE := decode(fields["e"])
		if errN != nil || errE != nil || len(n) == 0 || n[0] == 0 || len(n) > maxRSABits/8 || len(e) == 0 || e[0] == 0 || len(e) > 4 {
			return PublicKey{}, fmt.Errorf("%w: not a key of RSA with up to %d bits", ErrBadKey, maxRSABits)
		}
		exponent := new(big.Int).SetBytes(e)
		if exponent.BitLen() > 31 {
			return PublicKey{}, fmt.Errorf("%w: too large an exponent", ErrBadKey)
		}
		key.Key = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}
	default:
		return PublicKey{}, fmt.Errorf("%w: of type %q with curve %q", ErrBadKey, fields["kty"], fields["crv"])
	}
	if err := usable(key); err != nil {
		return PublicKey{}, err
	}
	return key, nil
}

func coordinate(field string) ([]byte, error) {
	decoded, err := decode(field)
	if err == nil && len(decoded) != 32 {
		err = ErrBadKey
	}
	return decoded, err
}

// ParseJWKS reads the JWK Set of another party. Keys that cannot be used here
// are passed over (RFC 7517, section 5); a private one refuses the set.
func ParseJWKS(data []byte) (*KeySet, error) {
	if len(data) > maxJWKSBytes {
		return nil, fmt.Errorf("%w: the key set is too large", ErrBadKey)
	}
	members, err := object(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	list, _ := find(members, "keys")
	var raw []json.RawMessage
	if err := json.Unmarshal(list, &raw); err != nil || len(list) == 0 || isNull(list) {
		return nil, fmt.Errorf("%w: the key set has no keys", ErrBadKey)
	}
	if len(raw) > maxKeys {
		return nil, fmt.Errorf("%w: the key set has more than %d keys", ErrBadKey, maxKeys)
	}
	var keys []PublicKey
	for _, one := range raw {
		key, err := ParseJWK(one)
		if err == nil {
			keys = append(keys, key)
			continue
		}
		if parts, errObject := object(one); errObject == nil {
			if _, private := find(parts, "d"); private {
				return nil, err
			}
		}
	}
	return NewKeySet(keys...)
}

// Keys returns the keys of the set.
func (s *KeySet) Keys() []PublicKey { return append([]PublicKey(nil), s.keys...) }
