package pages

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
	"github.com/cardea-id/cardea/internal/journey/step"
	"github.com/cardea-id/cardea/internal/pages/view"
	"github.com/cardea-id/cardea/internal/route"
	"github.com/cardea-id/cardea/internal/tenant"
)

// showAccess tells how the customer signs in, and leads to the journeys that
// change it.
func (p *Pages) showAccess(v *visit) (view.Page, error) {
	stored, err := p.Passwords.Password(v.ctx(), v.t.ID, v.who.ID)
	if err != nil {
		return view.Page{}, fmt.Errorf("read whether there is a password: %w", err)
	}
	data := view.Access{Password: stored.Exists(), Changed: stored.ChangedAt, AddURL: p.at(v, addressesPath+"/new"), PasswordURL: p.at(v, passwordPath)}
	phones := v.t.Settings.Phone.Enabled
	if phones {
		data.NumberURL = p.at(v, numbersPath+"/new")
	}
	main, mailed := v.who.Primary(identifier.Email)
	if !mailed || !main.Verified {
		main, data.Phone = v.who.Primary(identifier.Phone)
		data.Phone = data.Phone && main.Verified && customer.Textable(v.t.Settings, main.Key)
	}
	for _, it := range v.who.Identifiers {
		address := view.Address{Value: it.Display, Phone: it.Kind == identifier.Phone, Main: it.ID == main.ID && it.Verified, Unverified: !it.Verified, Returned: it.Undeliverable != ""}
		own := addressesPath + "/" + string(it.ID)
		switch {
		case it.Kind != identifier.Email && (it.Kind != identifier.Phone || !phones): // what the business has given is the business's
		case !it.Verified:
			address.ConfirmURL, address.RemoveURL = p.at(v, own+"/confirm"), p.at(v, own+"/remove")
		default:
			address.ChangeURL = p.at(v, own)
			if address.Returned {
				address.ConfirmURL = p.at(v, own+"/confirm")
			}
			if step.MayRemove(v.t.Settings, v.who, it) {
				address.RemoveURL = p.at(v, own+"/remove")
			}
		}
		data.Addresses = append(data.Addresses, address)
	}
	return view.Page{Data: data}, nil
}

// accessRoutes lead to the journeys that change how the customer signs in.
func (p *Pages) accessRoutes() []route.Route {
	get := func(path string, handle route.Handler) route.Route {
		return route.Route{Method: "GET", Pattern: path, Cookies: true, Handle: handle}
	}
	return []route.Route{
		get(passwordPath, p.opening(p.journeyNamed("change-password", accessPath))),
		get(closePath, p.opening(p.journeyNamed("close-account", accountPath))),
		get(addressesPath+"/new", p.opening(p.journeyNamed("change-address", accessPath))),
		get(numbersPath+"/new", p.opening(p.newNumber)),
		get(addressesPath+"/{identifier}", p.opening(p.changeOf)),
		get(addressesPath+"/{identifier}/confirm", p.opening(p.confirmationOf)),
		get(addressesPath+"/{identifier}/remove", p.opening(p.removalOf)),
	}
}

// opening begins a journey for who is signed in. Where there is none at the
// address, there is nothing.
func (p *Pages) opening(find func(*visit) (journey.Start, bool)) route.Handler {
	return func(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
		v, ok := p.visiting(w, r, t)
		if !ok {
			return
		}
		start, found := find(v)
		if !found {
			v.gone = true
			p.drawPortal(v, view.Page{}, 0)
			return
		}
		start.Client = v.client
		p.Begin(w, r, t, start)
	}
}

// journeyNamed is a journey that is about no address, and returns to a page of
// the account.
func (p *Pages) journeyNamed(name, returns string) func(*visit) (journey.Start, bool) {
	return func(*visit) (journey.Start, bool) {
		return journey.Start{Journey: name, Return: journey.Return{Kind: returnAccount, Params: returns}}, true
	}
}

func (p *Pages) newNumber(v *visit) (journey.Start, bool) {
	start, _ := p.journeyNamed("change-number", accessPath)(v)
	return start, v.t.Settings.Phone.Enabled
}

// changes are the journeys that add an address of a kind, or put one in the place
// of another.
var changes = map[identifier.Kind]string{identifier.Email: "change-address", identifier.Phone: "change-number"}

// named is the address that the path names, if it is one of the customer's that
// is his to change, and the journey that changes it.
func (p *Pages) named(v *visit) (it customer.Identifier, start journey.Start, found bool) {
	about := v.r.PathValue("identifier")
	at := slices.IndexFunc(v.who.Identifiers, func(it customer.Identifier) bool { return string(it.ID) == about })
	if at < 0 {
		return it, start, false
	}
	it = v.who.Identifiers[at]
	start, _ = p.journeyNamed(changes[it.Kind], accessPath)(v)
	return it, start, start.Journey != "" && (it.Kind != identifier.Phone || v.t.Settings.Phone.Enabled)
}

func (p *Pages) changeOf(v *visit) (journey.Start, bool) {
	it, start, found := p.named(v)
	if it.Verified {
		start.Target = it.ID
	} else {
		start.LoginHint = it.Display // it is there, and waits for its proof
	}
	return start, found
}

// confirmationOf has an address proved that is not, or that messages came back
// from. There is nothing to be confirmed of any other.
func (p *Pages) confirmationOf(v *visit) (journey.Start, bool) {
	it, start, found := p.named(v)
	if !it.Verified {
		start.LoginHint = it.Display
		return start, found
	}
	start.Journey, start.Target = "confirm-address", it.ID
	return start, found && it.Undeliverable != ""
}

func (p *Pages) removalOf(v *visit) (journey.Start, bool) {
	it, start, found := p.named(v)
	start.Journey, start.Target = "remove-address", it.ID
	return start, found
}
