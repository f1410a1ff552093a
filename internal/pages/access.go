package pages

import (
	"fmt"

	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/pages/view"
)

// showAccess tells how the customer signs in, and leads to the journeys that
// change it.
func (p *Pages) showAccess(v *visit) (view.Page, error) {
	stored, err := p.Passwords.Password(v.ctx(), v.t.ID, v.who.ID)
	if err != nil {
		return view.Page{}, fmt.Errorf("read whether there is a password: %w", err)
	}
	data := view.Access{Password: stored.Exists(), Changed: stored.ChangedAt}
	main, _ := v.who.Primary(identifier.Email)
	for _, it := range v.who.Identifiers {
		data.Addresses = append(data.Addresses, view.Address{Value: it.Display, Main: it.ID == main.ID && it.Verified, Unverified: !it.Verified, Returned: it.Undeliverable != ""})
	}
	return view.Page{Data: data}, nil
}
