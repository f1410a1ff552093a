package cardea

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Claims are what a token says. They are shared and not changed.
type Claims struct {
	Issuer   string
	Subject  string // the customer's id, or the application's own where it acts for itself
	Audience []string
	ClientID string // the application that the token was given to
	ID       string // the token's own
	Scopes   []string
	IssuedAt time.Time
	Expires  time.Time

	all map[string]json.RawMessage
}

// HasScopes tells whether the token has all of the scopes.
func (c *Claims) HasScopes(scopes ...string) bool {
	for _, scope := range scopes {
		if !slices.Contains(c.Scopes, scope) {
			return false
		}
	}
	return true
}

// Has tells whether the token has a claim, by its exact name.
func (c *Claims) Has(name string) bool {
	_, has := c.all[name]
	return has
}

// Get reads a claim into what into points to. One that is not there is an
// error: ask Has first.
func (c *Claims) Get(name string, into any) error {
	value, has := c.all[name]
	if !has {
		return fmt.Errorf("cardea: the token has no claim %q", name)
	}
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("cardea: the claim %q: %w", name, err)
	}
	return nil
}

// readClaims reads the payload of a token whose signature is good. What
// RFC 9068, section 2.2, requires has to be there.
func readClaims(payload []byte) (*Claims, error) {
	c := &Claims{}
	if err := json.Unmarshal(payload, &c.all); err != nil || c.all == nil {
		return nil, bad("The token's claims are not a JSON object.")
	}
	var scope string
	for name, into := range map[string]*string{"iss": &c.Issuer, "sub": &c.Subject, "client_id": &c.ClientID, "jti": &c.ID} {
		if err := c.Get(name, into); err != nil || *into == "" {
			return nil, bad("The token has no good claim " + name + ".")
		}
	}
	if c.Has("scope") {
		if err := c.Get("scope", &scope); err != nil {
			return nil, bad("The token has no good claim scope.")
		}
		c.Scopes = strings.Fields(scope)
	}
	if err := c.Get("aud", &c.Audience); err != nil {
		var one string
		if err := c.Get("aud", &one); err != nil {
			return nil, bad("The token has no good claim aud.")
		}
		c.Audience = []string{one}
	}
	for name, into := range map[string]*time.Time{"iat": &c.IssuedAt, "exp": &c.Expires} {
		var err error
		if *into, err = c.date(name); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// date reads a NumericDate (RFC 7519, section 2): seconds, perhaps in part.
func (c *Claims) date(name string) (time.Time, error) {
	var seconds *float64
	const most = 1 << 40 // far beyond what a clock will show
	if err := c.Get(name, &seconds); err != nil || seconds == nil || math.IsNaN(*seconds) || *seconds < 0 || *seconds > most {
		return time.Time{}, bad("The token has no good claim " + name + ".")
	}
	whole, part := math.Modf(*seconds)
	return time.Unix(int64(whole), int64(part*1e9)), nil
}

// valid tells what is wrong with the claims for this API at a time.
func (c *Claims) valid(now time.Time, config *Config) error {
	switch {
	case c.Issuer != config.Issuer:
		return bad("The token is of another issuer.")
	case !slices.Contains(c.Audience, config.Audience):
		return bad("The token is meant for another audience.")
	case !now.Before(c.Expires):
		return bad("The token has expired.")
	case c.IssuedAt.After(now.Add(config.Skew)):
		return bad("The token is from the future.")
	}
	if c.Has("nbf") {
		from, err := c.date("nbf")
		if err != nil {
			return err
		}
		if from.After(now.Add(config.Skew)) {
			return bad("The token is not good yet.")
		}
	}
	return nil
}
