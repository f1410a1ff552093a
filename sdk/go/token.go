package cardea

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// maxTokenBytes bounds what is looked at of what strangers send.
const maxTokenBytes = 16 << 10

// header is what is read of a token's header. Keys that a token brings along or
// points to (jwk, jku, x5c, x5u) are not: the issuer's own are the only ones.
type header struct {
	alg, kid, typ string
}

// check verifies a token by itself: signature, type, issuer, audience, times.
func (g *Guard) check(ctx context.Context, token string) (*Claims, error) {
	h, err := g.readHeader(token)
	if err != nil {
		return nil, err
	}
	parsed, err := jose.ParseSignedCompact(token, g.algorithms)
	if err != nil {
		return nil, bad("The token is not a signed one that is understood here.")
	}
	key, err := g.issuer.key(ctx, h.kid, h.alg)
	if err != nil {
		return nil, err
	}
	payload, err := parsed.Verify(key)
	if err != nil {
		return nil, bad("The token's signature is not the issuer's.")
	}
	claims, err := readClaims(payload)
	if err != nil {
		return nil, err
	}
	if err := claims.valid(g.config.Now(), &g.config); err != nil {
		return nil, err
	}
	return claims, nil
}

// readHeader refuses whatever cannot be a good token before a key is looked
// for. A token has one spelling only: base64url without padding, and without
// the line breaks and spare bits that decoders overlook.
func (g *Guard) readHeader(token string) (header, error) {
	if len(token) > maxTokenBytes {
		return header{}, bad("The token is too long.")
	}
	parts := strings.SplitN(token, ".", 4)
	if len(parts) != 3 {
		return header{}, bad("The token is not a signed JWT in its compact form.")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil || part == "" || strings.ContainsAny(part, "\r\n") {
			return header{}, bad("The token is not a signed JWT in its compact form.")
		}
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(decoded[0], &members); err != nil {
		return header{}, bad("The token's header is not a JSON object.")
	}
	var h header
	for name, into := range map[string]*string{"alg": &h.alg, "kid": &h.kid, "typ": &h.typ} {
		if err := json.Unmarshal(members[name], into); err != nil || *into == "" {
			return header{}, bad("The token's header has no good " + name + ".")
		}
	}
	if _, has := members["crit"]; has { // RFC 7515, section 4.1.11: there is no extension that is understood here
		return header{}, bad("The token's header has critical extensions.")
	}
	if !slices.Contains(g.algorithms, jose.SignatureAlgorithm(h.alg)) {
		return header{}, bad("The token is signed with an algorithm that is not taken here.")
	}
	// RFC 9068, section 4. Types are media types, of which case does not matter.
	if typ := strings.ToLower(h.typ); typ != "at+jwt" && typ != "application/at+jwt" {
		return header{}, bad("The token is not an access token: its type is not at+jwt.")
	}
	return h, nil
}

// presented returns the scheme and the token of a request (RFC 6750, section
// 2.1). Tokens in addresses and forms are not looked for.
func presented(r *http.Request) (scheme, token string, err error) {
	given := r.Header.Values("Authorization")
	switch {
	case len(given) == 0:
		return "", "", &Error{Status: http.StatusUnauthorized}
	case len(given) > 1:
		return "", "", &Error{Status: http.StatusBadRequest, Code: "invalid_request", Description: "The request has more than one Authorization header."}
	}
	scheme, token, _ = strings.Cut(given[0], " ")
	scheme, token = strings.ToLower(scheme), strings.TrimLeft(token, " ")
	if scheme != "bearer" && scheme != "dpop" {
		return "", "", &Error{Status: http.StatusUnauthorized}
	}
	if token == "" || strings.ContainsAny(token, " ,\t") {
		return "", "", &Error{Status: http.StatusBadRequest, Code: "invalid_request", Description: "The Authorization header has no token, or more than one."}
	}
	return scheme, token, nil
}

// Proof checks that whoever sent a request holds the key that its token is
// bound to.
type Proof interface {
	// Check is called with a token that is good but for the proof. Its claim
	// cnf says what the token is bound to: jkt, the key of a DPoP proof
	// (RFC 9449, section 6.1), or x5t#S256, a client certificate (RFC 8705,
	// section 3.1). A member of cnf that it does not know it refuses. The
	// text of its error is told to the caller.
	Check(r *http.Request, token string, claims *Claims) error
}

// bound holds that a bound token comes with its proof, and under the scheme
// that goes with it: presented as a bearer token, one that is bound to a DPoP
// key would be good for a thief (RFC 9449, section 7.2).
func (g *Guard) bound(r *http.Request, scheme, token string, claims *Claims) error {
	var members map[string]json.RawMessage
	if claims.Has("cnf") {
		if err := claims.Get("cnf", &members); err != nil || len(members) == 0 {
			return bad("The token has no good claim cnf.")
		}
	}
	_, toKey := members["jkt"]
	switch {
	case toKey && scheme != "dpop":
		return &Error{Status: http.StatusUnauthorized, Code: "invalid_token", Description: "The token is bound to a DPoP key and was presented as a bearer token.", dpop: true}
	case !toKey && scheme == "dpop":
		return bad("The token is not bound to a DPoP key and was presented as if it were.")
	case members == nil:
		return nil
	case g.config.Proof == nil:
		return bad("The token is bound to a key, and this API checks no proofs.")
	}
	if err := g.config.Proof.Check(r, token, claims); err != nil {
		code := "invalid_token"
		if toKey {
			code = "invalid_dpop_proof"
		}
		return &Error{Status: http.StatusUnauthorized, Code: code, Description: err.Error(), dpop: toKey}
	}
	return nil
}
