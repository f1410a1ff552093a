package pages

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/cardea-id/cardea/internal/customer"
	"github.com/cardea-id/cardea/internal/identifier"
	"github.com/cardea-id/cardea/internal/journey"
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
	main, _ := v.who.Primary(identifier.Email)
	mails := 0
	for _, it := range v.who.Identifiers {
		if it.Verified && it.Kind == identifier.Email {
			mails++
		}
	}
	for _, it := range v.who.Identifiers {
		address := view.Address{Value: it.Display, Main: it.ID == main.ID && it.Verified, Unverified: !it.Verified, Returned: it.Undeliverable != ""}
		own := addressesPath + "/" + string(it.ID)
		switch {
		case it.Kind != identifier.Email: // what the business has given is the business's
		case !it.Verified:
			address.ConfirmURL, address.RemoveURL = p.at(v, own+"/confirm"), p.at(v, own+"/remove")
		default:
			address.ChangeURL = p.at(v, own)
			if mails > 1 {
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
		get(passwordPath, p.opening("change-password")),
		get(closePath, p.opening("close-account")),
		get(addressesPath+"/new", p.opening("change-address")),
		get(addressesPath+"/{identifier}", p.opening("change-address")),
		get(addressesPath+"/{identifier}/confirm", p.opening("change-address")),
		get(addressesPath+"/{identifier}/remove", p.opening("remove-address")),
	}
}

// opening begins a journey for who is signed in, about the address that the
// path names, if it names one of his.
func (p *Pages) opening(name string) route.Handler {
	return func(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
		v, ok := p.visiting(w, r, t)
		if !ok {
			return
		}
		start := journey.Start{Journey: name, Return: journey.Return{Kind: returnAccount, Params: accessPath}, Client: v.client}
		if name == "close-account" {
			start.Return.Params = accountPath
		}
		if about := r.PathValue("identifier"); about != "" {
			at := slices.IndexFunc(v.who.Identifiers, func(it customer.Identifier) bool { return string(it.ID) == about })
			if at < 0 {
				v.gone = true
				p.drawPortal(v, view.Page{}, 0)
				return
			}
			if it := v.who.Identifiers[at]; it.Verified || name == "remove-address" {
				start.Target = it.ID
			} else {
				start.LoginHint = it.Display // it is there, and waits for its proof
			}
		}
		p.Begin(w, r, t, start)
	}
}
