package jose

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// Claims are a token's claims: those of RFC 7519, section 4.1, read, the
// others to be had by Get.
type Claims struct {
	Issuer    string
	Subject   string
	Audience  []string
	ID        string    // jti
	Expires   time.Time // zero if absent, as the two below
	NotBefore time.Time
	IssuedAt  time.Time
	// AudienceIsString tells that aud was a single string, as FAPI 2 wants of
	// client assertions (section 5.3.2.1).
	AudienceIsString bool

	members []member
}

// readClaims reads the claims of a token. A claim of RFC 7519 that has the
// wrong type refuses the token.
func readClaims(payload []byte) (Claims, error) {
	members, err := object(payload)
	if err != nil {
		return Claims{}, err
	}
	c := Claims{members: members}
	for _, m := range members {
		switch m.name {
		case "iss":
			c.Issuer, err = text(m.value)
		case "sub":
			c.Subject, err = text(m.value)
		case "jti":
			c.ID, err = text(m.value)
		case "aud":
			c.Audience, c.AudienceIsString, err = audience(m.value)
		case "exp":
			c.Expires, err = numericDate(m.value)
		case "nbf":
			c.NotBefore, err = numericDate(m.value)
		case "iat":
			c.IssuedAt, err = numericDate(m.value)
		}
		if err != nil {
			return Claims{}, fmt.Errorf("%w: %q: %w", ErrClaim, m.name, err)
		}
	}
	return c, nil
}

func audience(value json.RawMessage) ([]string, bool, error) {
	if value[0] == '"' {
		one, err := text(value)
		return []string{one}, true, err
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(value, &raw); err != nil || isNull(value) {
		return nil, false, fmt.Errorf("%w: neither a string nor strings", ErrMalformed)
	}
	several := make([]string, len(raw))
	for i, one := range raw {
		var err error
		if several[i], err = text(one); err != nil {
			return nil, false, err
		}
	}
	return several, false, nil
}

// numericDate reads seconds since 1970, with or without a fraction.
func numericDate(value json.RawMessage) (time.Time, error) {
	var seconds float64
	if isNull(value) || json.Unmarshal(value, &seconds) != nil {
		return time.Time{}, fmt.Errorf("%w: not a number", ErrMalformed)
	}
	// Up to the year 9999. Before 1970 nobody issued tokens, and zero is how an
	// absent time is told.
	if !(seconds >= 1 && seconds <= 253_402_300_799) {
		return time.Time{}, fmt.Errorf("%w: not a time", ErrMalformed)
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), nil
}

// Has tells whether the claim is there.
func (c Claims) Has(name string) bool {
	_, found := find(c.members, name)
	return found
}

// Get reads a claim by its exact name into what into points to, by
// encoding/json. It answers ErrClaim when the claim is absent, null or of
// another type.
func (c Claims) Get(name string, into any) error {
	value, found := find(c.members, name)
	if !found || isNull(value) {
		return fmt.Errorf("%w: %q is absent", ErrClaim, name)
	}
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("%w: %q: %w", ErrClaim, name, err)
	}
	return nil
}

// Validate judges the claims: exp is there and not past, nbf and iat are not
// in the future, iss is issuer, and audience is among aud. The clocks may
// differ by leeway. An empty issuer or audience is refused: whoever does not
// check them says so by not calling Validate.
func (c Claims) Validate(now time.Time, issuer, audience string, leeway time.Duration) error {
	if err := c.ValidateTimes(now, leeway); err != nil {
		return err
	}
	if issuer == "" || c.Issuer != issuer {
		return ErrIssuer
	}
	if audience == "" || !slices.Contains(c.Audience, audience) {
		return ErrAudience
	}
	return nil
}

// ValidateTimes judges exp, nbf and iat as Validate does.
func (c Claims) ValidateTimes(now time.Time, leeway time.Duration) error {
	if c.Expires.IsZero() {
		return fmt.Errorf("%w: \"exp\" is absent", ErrClaim)
	}
	// RFC 7519, section 4.1.4: "on or after which" it must not be accepted.
	if !now.Before(c.Expires.Add(leeway)) {
		return ErrExpired
	}
	return c.ValidateNotFuture(now, leeway)
}

// ValidateNotFuture judges nbf and iat alone, for what may have expired, such
// as an id_token_hint.
func (c Claims) ValidateNotFuture(now time.Time, leeway time.Duration) error {
	latest := now.Add(leeway)
	if c.NotBefore.After(latest) || c.IssuedAt.After(latest) {
		return ErrNotYet
	}
	return nil
}
