package customer

import (
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/tenant"
)

// Textable tells whether a tenant's text messages are sent to a number: a mobile
// phone's, of a country that the tenant names.
func Textable(s tenant.Settings, number string) bool {
	return s.Phone.Enabled && identifier.TakesTexts(number) && s.TextsTo(identifier.Country(number))
}

// Proved lists every address that messages to the customer can go to: the
// e-mail addresses and the numbers that he has proved, of numbers those that the
// tenant's text messages are sent to.
func (c *Customer) Proved(s tenant.Settings) []Identifier {
	var proved []Identifier
	for _, it := range c.Identifiers {
		if it.Verified && (it.Kind == identifier.Email || it.Kind == identifier.Phone && Textable(s, it.Key)) {
			proved = append(proved, it)
		}
	}
	return proved
}

// Told lists where the customer is told what happens with his account: at every
// e-mail address that he has proved and, where mail reaches him at none of them,
// by text message at every number.
func (c *Customer) Told(s tenant.Settings) []Identifier {
	var told, numbers []Identifier
	mailed := false
	for _, it := range c.Proved(s) {
		if it.Kind == identifier.Phone {
			numbers = append(numbers, it)
			continue
		}
		told = append(told, it)
		mailed = mailed || it.Arrives()
	}
	if mailed {
		return told
	}
	return append(told, numbers...)
}

// Reached tells whether a message finds the customer anywhere, as far as is
// known.
func (c *Customer) Reached(s tenant.Settings) bool {
	for _, it := range c.Proved(s) {
		if it.Arrives() {
			return true
		}
	}
	return false
}

// Arrives tells whether messages to an address arrive as far as is known. Whoever
// says that he does not want them has got them.
func (it Identifier) Arrives() bool { return it.Undeliverable != Bounced }
